"""A run's figures as mteb writes the result of a task, for its leaderboards and tools.

The scores are worked out anew from what the run found and what its questions had as gold, as mteb
does it: recall is never counted as met by any one page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from eval.answers.evaluation import MEASURES_FILE as ANSWERS_FILE
from eval.datasets.folder import Dataset, PageKey, Query, Scope
from eval.datasets.mteb_task import NAME as MTEB
from eval.datasets.mteb_task import score_name
from eval.measures import ALL_NAMES, mean, measure_queries
from eval.questions import QUESTIONS_FILE
from eval.run_list import SEARCHES_FILE
from eval.runs import Run, read_json, read_json_lines, read_run
from rag.errors import InputError

MAIN_SCORE = "ndcg_at_10"  # of a set that says nothing else
SPLIT, SUBSET = "test", "default"
# What mteb calls parts of sets that are no tasks of its own here.
_TASKS = {("limit", "small"): "LIMITSmallRetrieval", ("limit", "full"): "LIMITRetrieval"}
# As published sets spell the groups of their questions.
_LANGUAGES = {
    "english": "eng-Latn",
    "french": "fra-Latn",
    "german": "deu-Latn",
    "italian": "ita-Latn",
    "portuguese": "por-Latn",
    "spanish": "spa-Latn",
}
UNDETERMINED = "und"
_DIGITS = 6  # as mteb rounds


@dataclass(frozen=True)
class Named:
    """What mteb calls what was measured.

    Attributes:
        task: None takes the name of the set.
        languages: as mteb writes them; none takes those that the questions are grouped by, or "und"
            (undetermined, ISO 639-3) where a question tells none that is known.
        main_score: None takes the set's own main measure.
    """

    task: str | None = None
    subset: str = SUBSET
    split: str = SPLIT
    languages: Sequence[str] = ()
    main_score: str | None = None


def export_run(folder: Path, named: Named = Named()) -> dict[str, Any]:
    """The content of a result file of mteb (`TaskResult`).

    Args:
        folder: of a run of the search.
        named: what mteb calls it.

    Raises:
        InputError: a run folder that lacks a file, or a line of it is wrong; a main score that is
            not among the scores.
    """
    try:
        return _exported(folder, named)
    except KeyError as error:
        raise InputError(
            f"the files of the run {folder.name!r} say nothing of {error}",
            next_step="A run of an older version, or one that was edited, is run again: "
            "`octavo eval run` with the same --out asks nothing twice.",
        ) from error


def _exported(folder: Path, named: Named) -> dict[str, Any]:
    if not (folder / SEARCHES_FILE).exists():
        raise _no_searches(folder)
    measures = read_json(folder / SEARCHES_FILE)
    rows = read_json_lines(folder / QUESTIONS_FILE)
    origin = measures.get("origin") or {}
    scores = run_scores(rows, read_run(folder / "run.tsv"), scope=measures["scope"])
    main_score = named.main_score or score_name(origin.get("main_measure", "")) or MAIN_SCORE
    if main_score not in scores:
        raise InputError(
            f"there is no score {main_score!r}", next_step=f"There are {', '.join(scores)}."
        )
    return {
        "dataset_revision": origin.get("revision") or measures["dataset_digest"],
        "task_name": named.task or _task_name(measures["dataset"], origin),
        "mteb_version": None,  # not mteb's doing
        "scores": {
            named.split: [
                {
                    **{name: round(value, _DIGITS) for name, value in scores.items()},
                    "main_score": round(scores[main_score], _DIGITS),
                    "hf_subset": named.subset,
                    "languages": list(named.languages) or _languages(rows),
                }
            ]
        },
        "evaluation_time": _seconds(folder),
        "kg_co2_emissions": None,
    }


def run_scores(rows: Sequence[Mapping[str, Any]], run: Run, *, scope: Scope) -> dict[str, float]:
    """Mean scores over all questions, by mteb's names.

    Args:
        rows: of `questions.jsonl`.
        run: what was found; a question that is not in it counts 0.
        scope: of the run.
    """
    dataset = _dataset(rows)
    values = measure_queries(dataset, run, scope=scope)
    means = mean(values.values(), ALL_NAMES)
    scores = {score: means[name] for name in ALL_NAMES if (score := score_name(name)) is not None}
    return scores | {"accuracy": scores["recall_at_1"]}


def _dataset(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    queries, qrels = {}, {}
    for row in rows:
        queries[row["id"]] = Query(
            id=row["id"],
            text=row["text"] or "-",
            answer="",
            type=row["type"],
            doc=row.get("doc"),
            scope=cast(Scope, row.get("scope", "corpus")),
            gold_mode="all",
        )
        qrels[row["id"]] = {PageKey(doc, page): grade for doc, page, grade in row["gold"]}
    return Dataset(
        name="",
        folder=Path(),
        documents=(),
        queries=queries,
        qrels=qrels,
        unanswerable=(),
        digest="",
    )


def _task_name(dataset: str, origin: Mapping[str, Any]) -> str:
    published, part = origin.get("published", ""), origin.get("part", "")
    if published == MTEB and part:
        return str(part)
    return _TASKS.get((published, part), dataset)


def _languages(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    told = (str((row.get("groups") or {}).get("language", "")).casefold() for row in rows)
    return sorted({_LANGUAGES.get(name, UNDETERMINED) for name in told})


def _no_searches(folder: Path) -> InputError:
    if (folder / ANSWERS_FILE).exists():
        return InputError(
            f"{str(folder)!r} is a run of answers, and mteb's form is of searches",
            next_step="Run the dataset without --answers, and export that run.",
        )
    return InputError(
        f"there is no run in {str(folder)!r}: it has no {SEARCHES_FILE}",
        next_step="`octavo eval run --out DIR` writes one; `octavo eval list DIR` names those that "
        "are there.",
    )


def _seconds(folder: Path) -> float:
    rows = read_json_lines(folder / "per_query.jsonl")
    return round(sum(float(row["ms"]) for row in rows) / 1e3, 3)
