"""What a version says of itself and its pages, whole: to be written elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from rag.manifest.rows import DocumentState, PageRow, PageState, VersionState
from rag.manifest.schema import page_texts, pages, versions
from rag.page_text import PageText, VectorWords
from rag.types import Json
from rag.vector_boxes import VectorBoxes


def outcome(connection: Connection, version_id: str) -> tuple[DocumentState, Json] | None:
    """How a live version was published, and its features; None where it is not live."""
    row = connection.execute(
        select(versions.c.outcome, versions.c.features)
        .where(versions.c.version_id == version_id)
        .where(versions.c.state == VersionState.LIVE)
    ).first()
    return None if row is None else (DocumentState(row[0]), row[1] or {})


def page_rows(
    connection: Connection, version_id: str, page_numbers: Sequence[int]
) -> list[tuple[PageRow, float]]:
    """(row, prior) of these pages, by number; a page without a row is absent."""
    found = connection.execute(
        select(pages, page_texts)
        .join(
            page_texts,
            (page_texts.c.version_id == pages.c.version_id)
            & (page_texts.c.page_number == pages.c.page_number),
        )
        .where(pages.c.version_id == version_id)
        .where(pages.c.page_number.in_(page_numbers))
        .order_by(pages.c.page_number)
    ).mappings()
    return [
        (
            PageRow(
                page_number=row[pages.c.page_number],
                state=PageState(row[pages.c.state]),
                width_pt=row[pages.c.width_pt],
                height_pt=row[pages.c.height_pt],
                content_hash=row[pages.c.content_hash],
                no_text=row[pages.c.no_text],
                reason=row[pages.c.reason],
                record_id=row[pages.c.record_id],
                text=PageText.from_bytes(row[page_texts.c.words]),
                vector_words=None
                if row[page_texts.c.vector_words] is None
                else VectorWords.from_bytes(row[page_texts.c.vector_words]),
                vector_boxes=None
                if row[page_texts.c.vector_boxes] is None
                else VectorBoxes.from_bytes(row[page_texts.c.vector_boxes]),
                hidden=PageText.empty()
                if row[page_texts.c.hidden] is None
                else PageText.from_bytes(row[page_texts.c.hidden]),
                ocr=row[pages.c.ocr],
                caption=row[page_texts.c.caption],
                vectors_digest=row[pages.c.vectors_digest],
            ),
            row[pages.c.prior],
        )
        for row in found
    ]
