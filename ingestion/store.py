"""Step 5: a batch of pages made durable, each with how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from ingestion.embed import EmbeddedPage
from rag.manifest import PageRow, PageState, StagedVersion
from rag.renderers.isolated import PageFailure
from rag.repository import CollectionWriter


def store_batch(
    writer: CollectionWriter,
    version: StagedVersion,
    embedded: Sequence[EmbeddedPage],
    failures: Sequence[PageFailure],
) -> None:
    """Acknowledged when this returns: flushed in the index, then noted in the manifest."""
    rows = [_row(page) for page in embedded] + [
        PageRow(failure.page_number, PageState.FAILED, reason=failure.reason)
        for failure in failures
    ]
    records = [page.record for page in embedded if page.record is not None]
    writer.add_pages(version, records, rows)


def _row(embedded: EmbeddedPage) -> PageRow:
    page = embedded.page
    return PageRow(
        page_number=page.page_number,
        state=PageState.BLANK if embedded.record is None else PageState.INDEXED,
        width_pt=page.width_pt,
        height_pt=page.height_pt,
        content_hash=page.content_hash,
        no_text=embedded.record is not None and not len(page.text),
        record_id=embedded.record.record_id if embedded.record else None,
        text=page.text,
        vector_words=embedded.vector_words,
        vector_boxes=embedded.vector_boxes,
        hidden=page.hidden,
        ocr=page.ocr,
        caption=page.caption,
        input_digest=embedded.input_digest,
        is_reused=embedded.is_reused,
    )
