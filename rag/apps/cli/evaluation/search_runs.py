"""`eval run` without `--answers`: a dataset's questions searched for, and measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rag.apps.cli.evaluation.dataset_runs import Scope, bring_up_to_date, search, searched
from rag.apps.cli.evaluation.report import write_beside_run
from rag.apps.cli.flags import Mode, opened
from rag.apps.cli.progress import progress_bar

if TYPE_CHECKING:
    from eval.datasets.folder import Dataset
    from eval.questions import Question
    from eval.run_eval import Evaluation, Found
    from rag.settings import Settings
    from rag.types import Json


@dataclass(frozen=True)
class SearchRun:
    """How questions are searched for, and where what was found goes.

    Attributes:
        history: where `<dataset>.jsonl` gets a line; None is nowhere.
        cache: where answers are kept for other runs; None is nowhere.
        workers: questions asked at a time.
    """

    settings: Settings
    collection: str
    out: Path
    scope: Scope
    mode: Mode
    exact: bool = False
    history: Path | None = None
    cache: Path | None = None
    workers: int = 1
    writes_report: bool = True


def run_search(run: SearchRun, dataset: Dataset) -> tuple[Evaluation, Json]:
    """The figures, and the totals of bringing the collection up to date.

    Raises:
        RagError: no question in this scope; a folder somebody else is at work in; a model that
            failed.
    """
    from eval.provenance import code_version
    from eval.run_eval import evaluate

    with opened(run.settings, "eval run") as octavo:
        totals = bring_up_to_date(octavo, dataset, run.collection)
        how = {"mode": run.mode.value, "exact": run.exact}
        asked = searched(octavo, run.settings, dataset, run.collection, how)

        def ask(question: Question) -> Found:
            return search(octavo, question, run.collection, mode=run.mode, exact=run.exact)

        with progress_bar("questions") as progress:
            task = progress.add_task(f"asking {dataset.name}", total=None)
            evaluation = evaluate(
                dataset,
                ask,
                out_dir=run.out,
                scope=run.scope.value,
                searched=replace(asked, workers=run.workers, code=code_version()),
                progress=lambda done, whole: progress.update(task, completed=done, total=whole),
                history_dir=run.history,
                cache_dir=run.cache,
            )
        if run.writes_report:
            write_beside_run(octavo, run.collection, run.out)
    return evaluation, totals
