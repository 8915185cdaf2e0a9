"""Whether a page runs over to the next: a sentence that does not end, a table that goes on.

Only the layout and the marks of punctuation are looked at, never what the words mean.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from rag.answer.evidence.page_rows import PageRow, page_rows
from rag.page_text import PageText

RunsOver = Literal["sentence", "table"]

_EDGE_ROWS = 5  # of a page, that may be running heads or feet
_PAGE_NUMBER = re.compile(
    r"\W*(?:(?:page|p\.|[a-z]-)?\s*\d{1,4}|[ivxl]{1,7})(?:\s*(?:of|/)\s*\d{1,4})?\W*", re.I
)
_ENDS = (".", "!", "?", ":", ";", "\u3002", "\uff01", "\uff1f", "\u0964", "\u06d4", "\u061f")
_CLOSING = "\"'\u201d\u2019)]*\u2020\u2021"
_LEAST_WORDS = 5  # of a row of running text
_HEAD_ROWS = 8  # of a table: its title and heads, above its first row of figures
_LABEL_WORDS = 6  # of the head of a section
_TABLE_FIGURES = 2  # in a row of a table
_TABLE_ROWS = 2  # that make one
_TAIL_ROWS = 5  # of a page, and of the table on the next, that are looked at


def runs_over(page: PageText, following: PageText) -> RunsOver | None:
    """What goes on from a page to the next one; None where nothing is seen to."""
    rows, next_rows = page_rows(page), page_rows(following)
    body, next_body = _body(rows, next_rows), _body(next_rows, rows)
    if not body or not next_body:
        return None
    if _table_goes_on(rows, body, next_rows, next_body):
        return "table"
    if _sentence_goes_on(page, body, following, next_body):
        return "sentence"
    return None


# --- running heads and feet ---------------------------------------------------------------------
def _body(rows: Sequence[PageRow], others: Sequence[PageRow]) -> list[PageRow]:
    """Rows without page numbers and what the other page has too, at its top and at its end.

    They are known by their order, not by their place: on pages printed from the web, the foot
    follows the text wherever that ends.
    """
    first = _n_running(rows, others[:_EDGE_ROWS])
    last = _n_running(list(reversed(rows[first:])), others[-_EDGE_ROWS:])
    return list(rows[first : len(rows) - last])


def _n_running(rows: Sequence[PageRow], others: Sequence[PageRow]) -> int:
    """How many rows, from the outermost, are no part of the text."""
    for place, row in enumerate(rows[:_EDGE_ROWS]):
        if not _PAGE_NUMBER.fullmatch(row.text) and not any(
            _is_running(row, other) for other in others
        ):
            return place
    return min(len(rows), _EDGE_ROWS)


def _is_running(row: PageRow, other: PageRow) -> bool:
    """The same words; one of them may be a page number, which differs by one."""
    if len(row.words) != len(other.words):
        return False
    apart = [pair for pair in zip(row.words, other.words, strict=True) if pair[0] != pair[1]]
    return not apart or (
        len(apart) == 1
        and all(word.isascii() and word.isdecimal() and len(word) < 6 for word in apart[0])
        and abs(int(apart[0][0]) - int(apart[0][1])) == 1
    )


# --- sentences ----------------------------------------------------------------------------------
def _sentence_goes_on(
    page: PageText, body: Sequence[PageRow], following: PageText, next_body: Sequence[PageRow]
) -> bool:
    last, first = _last_line(page, body), _first_line(following, next_body)
    if len(last) < _LEAST_WORDS or not first:
        return False
    end = last[-1].rstrip(_CLOSING)
    if not end or end.endswith(_ENDS) or not any(map(str.isalpha, " ".join(last))):
        return False
    begin = first[0].lstrip("\"'\u201c\u2018")
    return begin[:1].islower()


def _last_line(text: PageText, body: Sequence[PageRow]) -> Sequence[str]:
    """The last line of the body in reading order; its words."""
    places = {place for row in body for place in row.places}
    for start, end in reversed(text.line_spans):
        if start in places:
            return text.words[start:end]
    return ()


def _first_line(text: PageText, body: Sequence[PageRow]) -> Sequence[str]:
    places = {place for row in body for place in row.places}
    for start, end in text.line_spans:
        if start in places:
            return text.words[start:end]
    return ()


# --- tables -------------------------------------------------------------------------------------
def _table_goes_on(
    rows: Sequence[PageRow],
    body: Sequence[PageRow],
    next_rows: Sequence[PageRow],
    next_body: Sequence[PageRow],
) -> bool:
    """The page ends in rows of figures, and the next one begins with rows of as many.

    Before these stands nothing, or heads that the page has as well, and below them the label of a
    section at most. Heads with other words or years are those of another table.
    """
    tail = [len(row.last_figures) for row in body[-_TAIL_ROWS:]]
    if tail[-1] < _TABLE_FIGURES or sum(n >= _TABLE_FIGURES for n in tail) < _TABLE_ROWS:
        return False
    first = next(
        (n for n, row in enumerate(next_body) if len(row.last_figures) >= _TABLE_FIGURES), None
    )
    if first is None or first > _HEAD_ROWS:
        return False
    begun = [len(row.last_figures) for row in next_body[first : first + _TAIL_ROWS]]
    if sum(n >= _TABLE_FIGURES for n in begun) < _TABLE_ROWS or not _usual(tail) & _usual(begun):
        return False
    said = {_heading(row) for row in rows}
    heads = list(next_body[:first])
    if heads and _heading(heads[-1]) not in said and _is_label(heads[-1]):
        # A label alone may as well be the title of another table.
        has_heads = first > 1 or any(_heading(row) in said for row in next_rows[:_EDGE_ROWS])
        heads = heads[:-1] if has_heads else heads
    return all(_heading(row) in said for row in heads)


def _is_label(row: PageRow) -> bool:
    return len(row.words) <= _LABEL_WORDS and not any(map(str.isdigit, row.text))


def _heading(row: PageRow) -> str:
    return re.sub(r"\W*\(?cont(?:inued|\.|d)?\.?\)?\W*$", "", row.text.casefold())


def _usual(n_figures: Sequence[int]) -> set[int]:
    """The numbers of figures that most rows have, of those with figures."""
    counts = Counter(n for n in n_figures if n >= _TABLE_FIGURES)
    most = max(counts.values(), default=0)
    return {n for n, count in counts.items() if count == most}
