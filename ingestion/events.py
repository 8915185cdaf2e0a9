"""What an ingest says while it works and at its end, in the shapes of the interface."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from ingestion.source import printable
from rag.errors import RagError
from rag.manifest import Incoming
from rag.renderers.ocr_pages import missing_message
from rag.repository import DocumentSummary
from rag.types import Json, Notice

OnEvent = Callable[[Json], None]


# States of documents of which no page was read this time.
_NO_PAGE_READ = frozenset({"unchanged", "refused", "changed", "moved", "missing", "deleted"})


class Progress:
    """Tells how far one of several documents has come."""

    def __init__(self, on_event: OnEvent, number: int, n_documents: int) -> None:
        self._on_event = on_event
        self._place = {"document": number, "documents": n_documents}

    def __call__(self, incoming: Incoming, pages_done: int, pages_total: int) -> None:
        self._on_event(
            {
                "event": "progress",
                "source": incoming.source,
                "document_id": incoming.document_id,
                "pages_done": pages_done,
                "pages_total": pages_total,
                **self._place,
            }
        )


class Totals:
    """Adds up the events of documents."""

    def __init__(self) -> None:
        self._documents: Counter[str] = Counter()
        self._pages: Counter[str] = Counter({"indexed": 0, "blank": 0, "failed": 0})
        self._n_missing_ocr = self._n_reused = 0

    def add(self, event: Json) -> None:
        self._documents[event["state"]] += 1
        self._n_reused += event["reused_pages"]
        codes = {warning["code"] for warning in event["warnings"]}
        self._n_missing_ocr += "ocr_missing" in codes
        was_begun = event["state"] == "refused" and event["failed_pages"]  # and then quarantined
        if event["state"] not in _NO_PAGE_READ or was_begun:
            failed, blank = len(event["failed_pages"]), len(event["blank_pages"])
            self._pages.update(indexed=event["pages"] - failed - blank, blank=blank, failed=failed)

    def event(
        self,
        *,
        job_id: str | None,
        seconds: float,
        encoder: str | None,
        busy_s: Mapping[str, float] | None = None,
    ) -> Json:
        """The totals; with `busy_s`, how long each stage worked, also the throughput."""
        totals: Json = {
            "event": "totals",
            "job_id": job_id,
            "documents": dict(self._documents),
            "pages": dict(self._pages),
            "reused_pages": self._n_reused,
            "seconds": round(seconds, 3),
            "encoder": encoder,
            "warnings": [notice.as_dict() for notice in self._notices()],
        }
        if busy_s is not None:
            totals["throughput"] = _throughput(sum(self._pages.values()), seconds, busy_s)
        return totals

    def _notices(self) -> Iterator[Notice]:
        if self._n_missing_ocr:
            yield Notice(
                "ocr_missing",
                f"{self._n_missing_ocr} documents have pages whose words can only be read from "
                f"their pixels. {missing_message()} Then ingest them again.",
            )


def _throughput(n_pages: int, seconds: float, busy_s: Mapping[str, float]) -> Json:
    seconds = max(seconds, 1e-9)
    return {
        "pages_per_s": round(n_pages / seconds, 2),
        **{f"{stage}_busy": round(busy / seconds, 3) for stage, busy in busy_s.items()},
    }


def document_event(
    *,
    source: str,
    document_id: str | None,
    state: str,
    error: RagError | None = None,
    failed_pages: Mapping[int, str] | None = None,
    n_pages: int = 0,
) -> Json:
    """A document of which nothing is in the index: refused, failed, or not tried."""
    return {
        "event": "document",
        "source": source,
        "document_id": document_id,
        "state": state,
        "pages": n_pages,
        "blank_pages": [],
        "no_text_pages": [],
        "ocr_pages": [],
        "failed_pages": [
            {"page_number": number, "reason": reason}
            for number, reason in (failed_pages or {}).items()
        ],
        "reused_pages": 0,
        "error": None
        if error is None
        else {key: printable(text) for key, text in error.as_dict().items()},
        "warnings": [],
    }


def stored_document_event(
    summary: DocumentSummary,
    state: str,
    *,
    crowded: Sequence[int] = (),
    page_notices: Sequence[tuple[int, Notice]] = (),
    misses_ocr: bool = False,
    lost_outline: bool = False,
    n_reused: int = 0,
) -> Json:
    """A document as it stands now.

    Args:
        summary: of the document.
        state: how its ingest ended.
        crowded: pages with more words than vectors.
        page_notices: (page number, notice) of what its pages have to say.
        misses_ocr: words should be read from pixels, and nobody is installed who could.
        lost_outline: its bookmarks could not be read.
        n_reused: pages that were not encoded again.
    """
    shown = summary.as_dict()
    notices = [*_notices(summary, crowded, misses_ocr=misses_ocr), *_of_pages(page_notices)]
    if lost_outline:
        notices.append(
            Notice(
                "bookmarks_unread",
                "The file's bookmarks cannot be read; its pages are not found by the titles of "
                "their sections. Another reader may read them: render.renderer = pypdfium2.",
            )
        )
    return {
        "event": "document",
        "source": summary.source,
        "document_id": summary.document_id,
        "state": state,
        "pages": summary.n_pages,
        "blank_pages": shown["blank_pages"],
        "no_text_pages": shown["no_text_pages"],
        "ocr_pages": list(summary.ocr_pages),
        "failed_pages": shown["failed_pages"],
        "reused_pages": n_reused,
        "error": None,
        "warnings": [notice.as_dict() for notice in _once_each(notices)],
    }


def _notices(
    summary: DocumentSummary, crowded: Sequence[int], *, misses_ocr: bool
) -> Iterator[Notice]:
    if summary.is_repaired:
        yield Notice("repaired", "The file is damaged and was mended; pages may be missing.")
    if summary.hidden_text_pages:
        pages = ", ".join(map(str, summary.hidden_text_pages))
        yield Notice(
            "hidden_text",
            f"Page {pages}: words that nobody sees on the page (white, covered, tiny or off it) "
            "were left out.",
        )
    if summary.no_text_pages:
        n = len(summary.no_text_pages)
        start, their, found, them, shown = (
            ("1 page shows something but holds", "its", "it is", "it", "it shows")
            if n == 1
            else (f"{n} pages show something but hold", "their", "they are", "them", "they show")
        )
        yield Notice(
            "no_text_pages",
            f"{start} no text layer, and no words were read from {their} pixels; {found} not "
            f"found by {their} words. "
            f"An encoder that looks at pages finds {them} by what {shown}.",
        )
        if misses_ocr:
            yield Notice("ocr_missing", missing_message())
    if crowded:
        yield Notice(
            "crowded_pages",
            f"Page {', '.join(map(str, crowded))}: more words than one page has vectors for; the "
            "last of them are found by their spelling only.",
        )


def _of_pages(notices: Sequence[tuple[int, Notice]]) -> Iterator[Notice]:
    """Equal ones once, with their pages."""
    pages: dict[Notice, list[int]] = {}
    for number, notice in notices:
        pages.setdefault(notice, []).append(number)
    for notice, numbers in pages.items():
        places = ", ".join(map(str, sorted(numbers)))
        yield Notice(notice.code, f"Page {places}: {notice.message}")


def _once_each(notices: Sequence[Notice]) -> Iterator[Notice]:
    """The last of a code that names its pages stands for the one that does not."""
    last = {notice.code: notice for notice in notices if notice.code == "ocr_missing"}
    for notice in notices:
        if last.get(notice.code, notice) is notice:
            yield notice
