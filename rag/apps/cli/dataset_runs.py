"""Datasets asked of a data folder: brought up to date, searched, and with which settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rag.apps.cli import output
from rag.apps.cli.flags import Mode, opened
from rag.apps.cli.progress import progress_bar, reporting

if TYPE_CHECKING:
    from eval.datasets import Dataset, Query
    from eval.run_eval import Evaluation, Found
    from rag.settings import Settings

DEFAULT_RUNS = Path("eval-runs")
_WARM_UP = 2


class Scope(StrEnum):
    """Whether a question is asked of all documents, or of the one it is about."""

    CORPUS = "corpus"
    DOCUMENT = "document"


def bring_up_to_date(octavo: Any, dataset: Dataset, collection: str) -> dict[str, Any]:
    """Ingest what is new or changed, delete what the dataset no longer has."""

    def on_document(event: Mapping[str, Any]) -> None:
        if event["error"]:
            output.warnings([{"message": f"{event['source']}: {event['error']['message']}"}])

    with progress_bar("pages") as progress:
        totals: dict[str, Any] = octavo.ingest(
            paths=[(dataset.folder / "docs").absolute()],
            collection=collection,
            metadata={},
            readers=None,
            force=False,
            dry_run=False,
            password=None,
            on_event=reporting(progress, on_document),
        )
    stale = [
        document["document_id"]
        for document in octavo.list_documents(collection=collection)["documents"]
        if document["source"] not in dataset.documents
    ]
    if stale:
        octavo.delete(documents=stale, collection=collection)
    return totals


def search(
    octavo: Any,
    query: Query,
    collection: str,
    scope: Scope,
    *,
    mode: Mode,
    exact: bool,
    retrieval: Mapping[str, Any] | None = None,
) -> Found:
    """One question; `retrieval` changes search settings for it."""
    from eval.run_eval import Found
    from eval.runs import HITS_PER_QUERY, Hit

    result = octavo.search(
        query=query.text,
        collection=collection,
        top_k=HITS_PER_QUERY,
        mode=mode.value,
        exact=exact,
        explain=False,
        highlights=False,
        filters=None,
        documents=documents_of(query.doc, scope),
        pages=None,
        **({} if retrieval is None else {"retrieval": retrieval}),
    )
    return Found(
        [Hit(hit["source"], hit["page_number"], hit["score"]) for hit in result["hits"]],
        {warning["code"]: warning["message"] for warning in result.get("warnings", ())},
    )


def documents_of(doc: str | None, scope: Scope) -> list[str] | None:
    return [doc] if scope is Scope.DOCUMENT and doc is not None else None


def what_could_matter(settings: Settings, collection: str) -> dict[str, Any]:
    """The settings that can change what is found, tuned ones among them; where the index lies
    cannot.
    """
    from rag.tuned import read_tuning, tuning_path, with_tuning

    tuning = read_tuning(tuning_path(settings.store.data_dir, collection))
    used = settings.model_copy(update={"retrieval": with_tuning(settings.retrieval, tuning)})
    return used.model_dump(mode="json", exclude={"store"})


class DatasetRuns:
    """Runs over datasets, each with settings of its own, in one data folder.

    The folder stays open from run to run, and is opened anew only where a run wants other settings
    than those of a search. Close it, or use it as a context manager.
    """

    def __init__(self, base: Settings, command: str, *, mode: Mode, exact: bool) -> None:
        self._base = base
        self._command = command
        self._mode = mode
        self._exact = exact
        self._stack = ExitStack()
        self._octavo: Any = None
        self._engine_key = ""
        self._totals: dict[str, dict[str, Any]] = {}  # by collection, of the open folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self,
        dataset: Dataset,
        settings: Settings,
        scope: Scope,
        out: Path,
        progress: Callable[[int, int], None],
        history: Path | None = None,
    ) -> tuple[Evaluation, dict[str, Any]]:
        """A run folder at `out`, taken over where it holds the answers already.

        Returns:
            The figures, and the totals of bringing the collection up to date.

        Raises:
            RagError: settings that cannot be had, a folder somebody else is at work in, a model
                that failed.
        """
        from eval.run_eval import evaluate
        from eval.sweep_plan import collection_name

        collection = collection_name(dataset.name, settings)
        octavo = self._opened(settings)
        if collection not in self._totals:
            self._totals[collection] = bring_up_to_date(octavo, dataset, collection)
        totals = self._totals[collection]
        retrieval = settings.retrieval.model_dump(mode="json", exclude_unset=True)
        # Masked in JSON; the folder was opened with the key itself.
        retrieval.get("rerank", {}).pop("api_key", None)

        def ask(query: Query) -> Found:
            return search(
                octavo,
                query,
                collection,
                scope,
                mode=self._mode,
                exact=self._exact,
                retrieval=retrieval,
            )

        evaluation = evaluate(
            dataset,
            ask,
            out_dir=out,
            scope=scope.value,
            config={
                **what_could_matter(settings, collection),
                "mode": self._mode.value,
                "exact": self._exact,
            },
            encoder=totals["encoder"],
            progress=progress,
            history_dir=history,
            warm_up=_WARM_UP,
        )
        return evaluation, totals

    def _opened(self, settings: Settings) -> Any:
        from eval.sweep_plan import engine_key

        if self._octavo is None or self._engine_key != engine_key(settings):
            self._stack.close()
            self._octavo, self._totals = None, {}
            # Search settings go with every request: those of one run must not stay for the next.
            here = settings.model_copy(update={"retrieval": self._base.retrieval})
            self._octavo = self._stack.enter_context(opened(here, self._command))
            self._engine_key = engine_key(settings)
        return self._octavo
