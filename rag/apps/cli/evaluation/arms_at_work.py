"""Arms at work in one data folder: each searched with its own encoder, and answered from.

An arm's index is a collection of its own, by dataset and encoder, so that what one command has
ingested another one finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rag.apps.cli import exit_codes
from rag.apps.cli.evaluation.dataset_runs import (
    bring_up_to_date,
    search,
    searched,
    what_could_matter,
)
from rag.apps.cli.flags import Mode, opened
from rag.apps.cli.progress import progress_bar

if TYPE_CHECKING:
    from eval.answers.run import AnswerQuestion, Ask
    from eval.datasets.folder import Dataset
    from eval.paradigms.plan import Arm, Plan
    from eval.paradigms.run import ArmRun
    from eval.questions import Question
    from eval.run_eval import Evaluation, Found
    from rag.settings import Settings
    from rag.types import Json

_WARM_UP = 2
_NO_SUCH_PAGE = 999_999_999


class ArmsAtWork:
    """Arms that search, with one data folder open at a time. Use it as a context manager.

    Attributes:
        is_partial: a document could not be read.
    """

    def __init__(self, command: str, *, workers: int, exact: bool) -> None:
        self.is_partial = False
        self._command = command
        self._workers = workers
        self._exact = exact
        self._stack = ExitStack()
        self._octavo: Any = None
        self._engine_key = ""
        # Collections, of all arms: none changes once it was brought up to date here.
        self._up_to_date: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def search(self, arm: Arm, dataset: Dataset, out: Path) -> Evaluation:
        """A run folder at `out`, taken over as far as it holds the answers already.

        Raises:
            RagError: settings that cannot be had, a folder somebody else is at work in, a model
                that failed.
        """
        from eval.run_eval import evaluate

        assert arm.settings is not None  # an arm that fuses does not search
        octavo, collection = self.ready(arm.settings, dataset)
        how = {"mode": arm.mode, "exact": self._exact}
        asked = searched(octavo, arm.settings, dataset, collection, how)

        def ask(question: Question) -> Found:
            return search(octavo, question, collection, mode=Mode(arm.mode), exact=self._exact)

        with _told(f"{arm.name}, {dataset.name}") as progress:
            return evaluate(
                dataset,
                ask,
                out_dir=out,
                searched=replace(asked, workers=self._workers),
                progress=progress,
                warm_up=_WARM_UP,
            )

    def answer(self, plan: Plan, arm: Arm, run: ArmRun, out: Path) -> Json:
        """The run's questions answered from the pages that its arm gave; `answers.jsonl` and its
        measures go to `out`, the folder of the run.

        Raises:
            RagError: as `search`; every question fails for one reason.
        """
        from eval.answers.evaluation import AnsweredBy, AnswerPlan, Asking, evaluate_answers

        settings = plan.answering_settings(arm)
        octavo, collection = self.ready(settings, run.dataset)
        answering = {
            "evidence": arm.evidence,
            "image_pages": plan.k,
            "neighbours": False,  # what is shown is what the arm found
        }

        def ask_at(threshold: float) -> Ask:
            def ask(question: AnswerQuestion) -> Mapping[str, Any]:
                pages = [list(page) for page in run.pages(question.id)]
                # Without pages a search would be made; in a page that no document has it finds
                # none, and the answer is the one that is given then.
                where: Json = {"from_pages": pages} if pages else {"pages": [_NO_SUCH_PAGE] * 2}
                found: Json = octavo.ask(
                    question=question.text,
                    collection=collection,
                    answering={**answering, "min_confidence": threshold},
                    **where,
                )
                return found

            return ask

        what = what_could_matter(settings, collection)
        with _told(f"{arm.name} answers, {run.dataset.name}") as progress:
            return evaluate_answers(
                run.dataset,
                ask_at,
                AnswerPlan("corpus", settings.answer.min_confidence),
                AnsweredBy(
                    settings.answer.model,
                    run.evaluation.encoder,
                    {
                        "answer": {**what["answer"], **answering},
                        "chat": what["chat"],
                        "pages_of": run.evaluation.config_hash,
                        "k": plan.k,
                    },
                ),
                out_dir=out,
                asking=Asking(workers=self._workers),
                progress=progress,
            )

    def ready(self, settings: Settings, dataset: Dataset) -> tuple[Any, str]:
        """The open folder, and the collection that holds the dataset's pages as they are now."""
        from eval.tuning.sweep_plan import collection_name

        octavo = self._opened(settings)
        collection = collection_name(dataset.name, settings)
        if collection not in self._up_to_date:
            totals = bring_up_to_date(octavo, dataset, collection)
            self.is_partial |= exit_codes.after_ingest(totals["documents"]) != exit_codes.DONE
            self._up_to_date.add(collection)
        return octavo, collection

    def _opened(self, settings: Settings) -> Any:
        from eval.tuning.sweep_plan import engine_key

        if self._octavo is None or self._engine_key != engine_key(settings):
            self._stack.close()
            self._octavo = None
            self._octavo = self._stack.enter_context(opened(settings, self._command))
            self._engine_key = engine_key(settings)
        return self._octavo


@contextmanager
def _told(what: str) -> Iterator[Callable[[int, int], None]]:
    with progress_bar("questions") as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, whole: progress.update(task, completed=done, total=whole)
