"""Datasets asked of a data folder: brought up to date, searched, and with which settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rag.apps.cli import exit_codes, output
from rag.apps.cli.flags import Mode, opened
from rag.apps.cli.progress import progress_bar, reporting

if TYPE_CHECKING:
    from eval.datasets.folder import Dataset
    from eval.questions import Question
    from eval.run_eval import Evaluation, Found, Searched
    from rag.settings import Settings

DEFAULT_RUNS = Path("eval-runs")
DEFAULT_CACHE = DEFAULT_RUNS / "cache" / "searches"
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
    listed = octavo.list_documents(collection=collection)["documents"]
    if stale := _stale(listed, dataset, collection):
        octavo.delete(documents=stale, collection=collection)
    return totals


def _stale(listed: Sequence[Mapping[str, Any]], dataset: Dataset, collection: str) -> list[str]:
    """Ids of documents that the dataset no longer has, or that have its names and were ingested
    from another folder: each page of theirs would be found twice.
    """
    from ingestion.source import document_id

    docs = (dataset.folder / "docs").absolute()
    times = Counter(document["source"] for document in listed)
    return [
        document["document_id"]
        for document in listed
        if document["source"] not in dataset.documents
        or (
            times[document["source"]] > 1
            and document["document_id"] != document_id(collection, docs, document["source"])
        )
    ]


def ended(totals: Mapping[str, Any], notices: Mapping[str, Any]) -> int:
    """The exit code of a run: partial too where a gold page is in no document."""
    from eval.documents_read import PAGE_MISSING

    of_ingest = exit_codes.after_ingest(totals["documents"])
    is_partial = of_ingest == exit_codes.DONE and PAGE_MISSING in notices
    return exit_codes.PARTIAL if is_partial else of_ingest


def search(
    octavo: Any,
    question: Question,
    collection: str,
    *,
    mode: Mode,
    exact: bool,
    retrieval: Mapping[str, Any] | None = None,
) -> Found:
    """One question; `retrieval` changes search settings for it."""
    from eval.run_eval import Found
    from eval.runs import HITS_PER_QUERY, Hit

    result = octavo.search(
        query=question.text,
        image=question.image,
        collection=collection,
        top_k=HITS_PER_QUERY,
        mode=mode.value,
        exact=exact,
        explain=False,
        highlights=False,
        filters=None,
        documents=None if question.doc is None else [question.doc],
        pages=None,
        **({} if retrieval is None else {"retrieval": retrieval}),
    )
    return Found(
        [Hit(hit["source"], hit["page_number"], hit["score"]) for hit in result["hits"]],
        {warning["code"]: warning["message"] for warning in result.get("warnings", ())},
    )


def searched(
    octavo: Any, settings: Settings, dataset: Dataset, collection: str, how: Mapping[str, Any]
) -> Searched:
    """What a run over a collection that is up to date says it searched; `how` is the flags."""
    from eval.documents_read import DocumentsRead
    from eval.run_eval import Searched

    listed = octavo.list_documents(collection=collection)["documents"]
    documents = DocumentsRead.of(dataset, listed)
    (index,) = octavo.collections(only=collection)["collections"]
    return Searched(
        config={**what_could_matter(settings, collection), **how},
        encoder=index["encoder"],
        index={
            "collection": collection,
            "documents": index["documents"],
            "pages": index["pages"],
            "documents_digest": dataset.documents_digest,
            "identity": index["identity"],
            "bytes_per_page": round(index["size_bytes"] / max(1, index["pages"])),
            "failed": documents.unread(),
        },
        seeds={"fde": settings.fde.seed},
        documents=documents,
    )


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
        from eval.tuning.sweep_plan import collection_name

        collection = collection_name(dataset.name, settings)
        octavo = self._opened(settings)
        if collection not in self._totals:
            self._totals[collection] = bring_up_to_date(octavo, dataset, collection)
        totals = self._totals[collection]
        retrieval = settings.retrieval.model_dump(mode="json", exclude_unset=True)
        # Masked in JSON; the folder was opened with the key itself.
        retrieval.get("rerank", {}).pop("api_key", None)

        def ask(question: Question) -> Found:
            return search(
                octavo,
                question,
                collection,
                mode=self._mode,
                exact=self._exact,
                retrieval=retrieval,
            )

        evaluation = evaluate(
            dataset,
            ask,
            out_dir=out,
            scope=scope.value,
            searched=searched(
                octavo,
                settings,
                dataset,
                collection,
                {"mode": self._mode.value, "exact": self._exact},
            ),
            progress=progress,
            history_dir=history,
            warm_up=_WARM_UP,
        )
        return evaluation, totals

    def _opened(self, settings: Settings) -> Any:
        from eval.tuning.sweep_plan import engine_key

        if self._octavo is None or self._engine_key != engine_key(settings):
            self._stack.close()
            self._octavo, self._totals = None, {}
            # Search settings go with every request: those of one run must not stay for the next.
            here = settings.model_copy(update={"retrieval": self._base.retrieval})
            self._octavo = self._stack.enter_context(opened(here, self._command))
            self._engine_key = engine_key(settings)
        return self._octavo
