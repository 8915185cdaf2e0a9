"""Queries as the faces hand them in, words and JSON, and how results say they were read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from PIL import Image

from rag.errors import InputError, NotFound
from rag.filters import Condition, Filter, require_readers
from rag.geometry import Box
from rag.page_region import PageRegion
from rag.query import Query
from rag.ranking.expected import unknown
from rag.ranking.legs import Mode
from rag.ranking.route import RouteName
from rag.repository import CollectionReader
from rag.retrieve import SearchResult
from rag.types import Json, PageRef
from rag.wording.dialogue import Turn

# What a terminal takes as an order: ESC [ ... letter, ESC ] ... BEL, and ESC with one character.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)


def spoken(text: str) -> str:
    """A question as text, without escape sequences and control characters.

    Bytes of a terminal that are no UTF-8 become question marks.
    """
    words = _ESCAPE.sub("", text.encode("utf-8", "replace").decode("utf-8"))
    return "".join(
        each if each in "\t\n\r" or unicodedata.category(each) != "Cc" else " " * each.isspace()
        for each in words
    )


def query_asked(
    reader: CollectionReader,
    text: str,
    *,
    image: Image.Image | None = None,
    like: Sequence[Any] | None = None,
    towards: str = "",
    away_from: str = "",
    strength: float = 1.0,
) -> Query:
    """A query of what a caller gave.

    Args:
        reader: knows the documents of `like`.
        text: words.
        image: decoded, which comes first: a bad one should not wait for a model.
        like: document, page number, and a box in page points or None.
        towards: words.
        away_from: words.
        strength: see `Query`.

    Raises:
        InputError: `bad_region`, and as `Query` and `resolve_document` raise it.
    """
    return Query(
        spoken(text),
        image=image,
        like=None if like is None else _region(reader, *like),
        towards=spoken(towards),
        away_from=spoken(away_from),
        strength=strength,
    )


def pages_given(
    reader: CollectionReader, pages: Sequence[Sequence[Any]], scope: Filter | None
) -> tuple[PageRef, ...]:
    """Pages named by document and number.

    Raises:
        InputError: `bad_page`, something else; `page_out_of_scope`, one that the scope leaves out.
        NotFound: a document or page that is not there.
    """
    found: list[PageRef] = []
    for page in pages:
        is_page = isinstance(page, list | tuple) and len(page) == 2
        if not is_page or not isinstance(page[1], int):
            raise InputError(
                "a page to answer from wants its document and its number",
                code="bad_page",
                next_step='Give a list such as [["report.pdf", 12]].',
            )
        found.append(PageRef(reader.resolve_document(str(page[0])), page[1]))
    if scope is not None:
        for ref in found:
            _require_inside(reader, ref, scope)
    return tuple(found)


def _require_inside(reader: CollectionReader, ref: PageRef, scope: Filter) -> None:
    page = reader.page(ref.document_id, ref.page_number)
    its_own = (
        Condition("document_id", "$eq", ref.document_id),
        Condition("page_number", "$eq", ref.page_number),
    )
    # A page that is blank is in no index, and says nothing.
    if page.record_id is not None and not reader.n_pages(Filter(must=(scope, *its_own))):
        raise InputError(
            f"page {ref.page_number} of {page.source} is to be answered from, and the documents, "
            "pages or filters asked for leave it out",
            code="page_out_of_scope",
            next_step="Name pages to answer from, or narrow a search; the one leaves nothing to "
            "the other.",
        )


def turns(history: Sequence[Sequence[str]]) -> tuple[Turn, ...]:
    """Questions before and their answers, oldest first; an answer may be left out.

    Raises:
        InputError: `bad_history`, something else.
    """
    found: list[Turn] = []
    for turn in history:
        is_turn = isinstance(turn, list | tuple) and 1 <= len(turn) <= 2
        if not is_turn or not all(map(_is_text, turn)):
            raise InputError(
                "a turn of the history wants a question and its answer",
                code="bad_history",
                next_step='Give a list such as [["What was revenue in 2021?", "5 million"]].',
            )
        found.append((spoken(turn[0]), spoken(turn[1]) if len(turn) > 1 else ""))
    return tuple(found)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def understood(text: str, found: SearchResult) -> Json:
    """How a question was read, where that is not as it was asked."""
    shown: Json = {}
    if found.question != spoken(text):
        shown["searched_for"] = found.question
    if found.parts:
        shown["parts"] = list(found.parts)
    if found.route.name is not RouteName.TEXT_IMAGE:
        shown["route"] = found.route.name.value
    return shown


def beyond_text(query: Query) -> Json:
    """What a search was made with besides words; nothing for words alone."""
    shown: Json = {}
    if query.image is not None:
        shown["image"] = True
    if query.like is not None:
        shown["like"] = {
            "document_id": query.like.ref.document_id,
            "page_number": query.like.ref.page_number,
            "box": None if query.like.box is None else list(query.like.box),
            "left_out": True,  # a page is most like itself, which nobody asks
        }
    if query.towards or query.away_from:
        shown |= {
            "towards": query.towards,
            "away_from": query.away_from,
            "strength": query.strength,
        }
    return shown


def _region(
    reader: CollectionReader, document: str, page_number: int, box: Sequence[float] | None = None
) -> PageRegion:
    ref = PageRef(reader.resolve_document(str(document)), int(page_number))
    if box is None:
        return PageRegion(ref)
    if len(box) != 4:
        raise InputError(
            f"a region wants 4 numbers, got {len(box)}",
            code="bad_region",
            next_step="Give x0, y0, x1, y1 in page points, or no region for the whole page.",
        )
    return PageRegion(ref, Box(*map(float, box)))


def mode_asked(mode: str) -> Mode:
    """Raises InputError for one that there is not."""
    try:
        return Mode(mode)
    except ValueError as error:
        known = ", ".join(each.value for each in Mode)
        raise InputError(f"there is no mode {mode!r}", next_step=f"Use one of {known}.") from error


def is_by_document(granularity: str) -> bool:
    if granularity not in ("page", "document"):
        raise InputError(
            f"there is no granularity {granularity!r}", next_step="Use page or document."
        )
    return granularity == "document"


def scope_asked(
    reader: CollectionReader,
    filters: Json | None,
    documents: Sequence[str] | None,
    pages: Sequence[int] | None,
) -> Filter | None:
    """What a search is narrowed to; None is everything. Raises as `CollectionReader.scope`."""
    if not filters and not documents and pages is None:
        return None
    span = None if pages is None else (int(pages[0]), int(pages[1]))
    return reader.scope(filters, documents, span)


def readers_asked(readers: Sequence[str] | None) -> tuple[str, ...] | None:
    """Raises InputError as `require_readers`."""
    if not readers:
        return None
    require_readers(readers)
    return tuple(sorted(set(readers)))


def page_expected(
    reader: CollectionReader, expect: Sequence[Any] | None
) -> tuple[PageRef | None, Json | None]:
    """The page that a search should follow, or why it cannot be followed.

    Raises:
        InputError: `ambiguous_document`.
    """
    if expect is None:
        return None, None
    name, page_number = str(expect[0]), int(expect[1])
    try:
        return PageRef(reader.resolve_document(name), page_number), None
    except NotFound as error:
        filled = reader.source_being_filled(name)
        lost = unknown(error)
        if filled is not None:
            why = f"{filled} is being ingested, and not visible yet."
            lost = {"outcome": "not_published", "why": why}
        return None, {"rank": None, "candidate": False, **lost}
