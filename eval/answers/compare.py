"""Are the answers of one run better than those of another, or was it luck?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.answers.evaluation import MEASURES_FILE, PER_QUERY_FILE
from eval.answers.judged import COMPARED
from eval.compare import Comparison, check_asked_alike, paired_bootstrap, rows_by_id
from eval.compare_many import RunKind
from eval.runs import read_json
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
                "those that are there.",
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
    first: Path,
    second: Path,
    *,
    measures: Sequence[str] = COMPARED,
    n_resamples: int = 10_000,
    seed: int = 0,
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
        {
            key: row
            for key, row in rows_by_id(folder, MEASURES_FILE, head, PER_QUERY_FILE).items()
            if row["kind"]
        }
        for folder, head in zip((first, second), heads, strict=True)
    ]
    check_asked_alike((first.name, second.name), rows)
    return Comparison(
        dataset=str(heads[0]["dataset"]),
        scope=_asked(heads[0]),
        n_questions=len(rows[0]),
        n_resamples=n_resamples,
        differences=paired_bootstrap(
            rows[0], rows[1], measures=measures, n_resamples=n_resamples, seed=seed
        ),
    )


def _asked(head: Mapping[str, Any]) -> str:
    return "the gold pages given" if head["pages"] == "gold" else str(head["scope"])


ANSWERS = RunKind(
    head_file=MEASURES_FILE,
    rows_file=PER_QUERY_FILE,
    measures=COMPARED,
    scope_of=_asked,
    is_counted=lambda row: bool(row["kind"]),
)
