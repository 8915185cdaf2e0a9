"""Are the answers of one run better than those of another, or was it luck?"""

from __future__ import annotations

from pathlib import Path

from eval.answer_evaluation import MEASURES_FILE, PER_QUERY_FILE
from eval.answer_measures import COMPARED
from eval.compare import Comparison, paired_bootstrap
from eval.runs import read_json, read_json_lines
from rag.errors import InputError


def are_answer_runs(*folders: Path) -> bool:
    """Whether runs are compared by their answers, or else by what they found.

    Raises:
        InputError: a folder without a run, or one run of answers and one of searches.
    """
    for folder in folders:
        if not _is_of_answers(folder) and not _is_of_searches(folder):
            raise InputError(
                f"there is no run in {str(folder)!r}",
                next_step="`octavo eval run --out DIR` writes one; `octavo eval list DIR` names "
                "those of searches.",
            )
    if all(map(_is_of_answers, folders)):
        return True
    if not all(map(_is_of_searches, folders)):
        answers = next(folder for folder in folders if not _is_of_searches(folder))
        raise InputError(
            f"{str(answers)!r} is a run of answers, and the other one of searches",
            next_step="Compare two with --answers, or two without.",
        )
    return False


def _is_of_answers(folder: Path) -> bool:
    return (folder / MEASURES_FILE).exists()


def _is_of_searches(folder: Path) -> bool:
    return (folder / "measures.json").exists()


def compare_answers(
    first: Path, second: Path, *, n_resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """Compare two folders that `evaluate_answers` wrote, on the questions that count.

    Raises:
        InputError: a folder without its files; runs over different datasets, scopes, pages or
            questions; no question that counts.
    """
    heads = [read_json(folder / MEASURES_FILE) for folder in (first, second)]
    for key in ("dataset_digest", "scope", "pages"):
        ours, theirs = (head.get(key) for head in heads)
        if ours != theirs:
            raise InputError(
                f"{first.name} and {second.name} differ in {key}: {ours!r} and {theirs!r}",
                next_step="Compare runs over the same version of one dataset, asked alike.",
            )
    rows = [
        {str(row["id"]): row for row in read_json_lines(folder / PER_QUERY_FILE) if row["kind"]}
        for folder in (first, second)
    ]
    if odd := sorted(rows[0].keys() ^ rows[1].keys()):
        raise InputError(
            f"{first.name} and {second.name} asked different questions: "
            f"{len(odd)} are in one of them only, such as {odd[0]!r}",
            next_step="Run both with the same --limit.",
        )
    asked = "the gold pages given" if heads[0]["pages"] == "gold" else str(heads[0]["scope"])
    return Comparison(
        dataset=str(heads[0]["dataset"]),
        scope=asked,
        n_questions=len(rows[0]),
        n_resamples=n_resamples,
        differences=paired_bootstrap(
            rows[0], rows[1], measures=COMPARED, n_resamples=n_resamples, seed=seed
        ),
    )
