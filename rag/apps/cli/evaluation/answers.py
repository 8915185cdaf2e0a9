"""`eval run --answers`: a dataset's questions asked for answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.apps.cli.answering import Answerer
from rag.apps.cli.evaluation.dataset_runs import (
    DEFAULT_RUNS,
    bring_up_to_date,
    searched,
    what_could_matter,
)
from rag.apps.cli.evaluation.report import write_beside_run
from rag.apps.cli.flags import Mode, opened
from rag.apps.cli.progress import progress_bar

if TYPE_CHECKING:
    from eval.answers.evaluation import AnswerPlan
    from eval.answers.run import AnswerQuestion, Ask
    from eval.answers.spending import Prices
    from eval.datasets.folder import Dataset
    from rag.settings import Settings
    from rag.types import Json

ANSWER_CACHE = DEFAULT_RUNS / "cache" / "answers"


@dataclass(frozen=True)
class AnswerRun:
    """Where answers come from and where they go.

    Attributes:
        history: where `<dataset>-answers.jsonl` gets a line.
        workers: questions asked at a time.
        cache: where answers are kept for other runs; None is nowhere.
        prices: of the tokens; None tells no cost.
    """

    settings: Settings
    collection: str
    out: Path
    mode: Mode
    history: Path | None = None
    workers: int = 1
    cache: Path | None = None
    prices: Prices | None = None
    writes_report: bool = True


def answered_by(settings: Settings, answerer: Answerer | None) -> Settings:
    """The settings with somebody else answering."""
    if answerer is None:
        return settings
    answer = settings.answer.model_copy(update={"model": answerer.value})
    return settings.model_copy(update={"answer": answer})


def run_answers(run: AnswerRun, dataset: Dataset, plan: AnswerPlan) -> tuple[Json, Json]:
    """The figures, and the totals of bringing the collection up to date.

    Raises:
        RagError: no question in this scope; every question fails for one reason.
    """
    from eval.answers.evaluation import AnsweredBy, Asking, evaluate_answers
    from eval.provenance import code_version

    with opened(run.settings, "eval run") as octavo:
        totals = bring_up_to_date(octavo, dataset, run.collection)
        index = searched(octavo, run.settings, dataset, run.collection, {})

        def ask_at(threshold: float) -> Ask:
            def ask(question: AnswerQuestion) -> Mapping[str, Any]:
                pages = {"from_pages": [list(page) for page in question.pages]}
                found: Json = octavo.ask(
                    question=question.text,
                    collection=run.collection,
                    mode=run.mode.value,
                    documents=None if question.doc is None else [question.doc],
                    answering={"min_confidence": threshold},
                    **(pages if question.pages else {}),
                )
                return found

            return ask

        with progress_bar("questions") as progress:
            task = progress.add_task("answering", total=None)
            figures = evaluate_answers(
                dataset,
                ask_at,
                plan,
                AnsweredBy(
                    run.settings.answer.model,
                    totals["encoder"],
                    {**_what_could_matter(run), "mode": run.mode.value},
                    index.index,
                    index.seeds,
                    code_version(),
                    index.documents,
                ),
                out_dir=run.out,
                asking=Asking(run.workers, run.cache, run.prices),
                progress=lambda done, whole: progress.update(task, completed=done, total=whole),
                history_dir=run.history,
            )
        if run.writes_report:
            write_beside_run(octavo, run.collection, run.out)
    return figures, totals


def _what_could_matter(run: AnswerRun) -> Json:
    """Without the threshold, which the plan names."""
    found = what_could_matter(run.settings, run.collection)
    return {
        **found,
        "answer": {k: v for k, v in found["answer"].items() if k != "min_confidence"},
    }
