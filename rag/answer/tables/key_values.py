"""Names and what they are, line by line: "Bar No. 239516", "Population: 251,160,124"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.answer.tables.cell_figures import cell_figure, closes, is_number, opens
from rag.answer.tables.lines import Piece, VisualLine, spans_of
from rag.answer.tables.table import Cell, Column, Row, Table
from rag.page_text import PageText

_NAME_WORDS = 8
_NAMES = re.compile(r".*(?::|\b(?:no|nos|number|num)\.?|#)", re.IGNORECASE)
_BULLET_CHARS = "\u2022\u25aa\u25cf\u25e6\u2023\u00b7\uf0b7"


def key_values(text: PageText, lines: Sequence[VisualLine]) -> list[Table]:
    """One table without heads for all such lines; none where there are none."""
    rows = [row for line in lines for row in _rows(text, line)]
    return [Table(tuple(rows), (Column("", ()),))] if rows else []


def _rows(text: PageText, line: VisualLine) -> list[Row]:
    rows: list[Row] = []
    for place, piece in enumerate(line.pieces):
        if piece.is_figure:
            continue
        after: Piece | None = line.pieces[place + 1] if place + 1 < len(line.pieces) else None
        row = _row(text, piece, after)
        if row is not None:
            rows.append(row)
    return rows


def _row(text: PageText, piece: Piece, after: Piece | None) -> Row | None:
    """The name that a run of words begins with, and the figure after it or beside the run."""
    for place in range(min(_NAME_WORDS, piece.n_words)):
        if _NAMES.fullmatch(text.words[piece.words[place]]) is None:
            continue
        name = piece.words[: place + 1]
        if text.words[name[0]] in _BULLET_CHARS:
            name = name[1:]
        if not any(any(map(str.isalpha, text.words[word])) for word in name):
            return None
        if place + 1 == piece.n_words:
            figure = after.words if after is not None and after.is_figure else ()
        else:
            figure = _figure_words(text, piece.words[place + 1 :])
        found = cell_figure(text.words, figure[0], figure[-1] + 1) if figure else None
        if found is None or not any(map(str.isdigit, found.text)):
            return None
        if (
            found.text.endswith(")")
            and "(" not in found.text
            and not any("(" in text.words[word] for word in name)
        ):
            return None  # the number of a list: "as follows: 1)"
        said = " ".join(text.words[word] for word in name)
        return Row(said, spans_of(name), (Cell((found.start, found.end), found, 0),))
    return None


def _figure_words(text: PageText, words: Sequence[int]) -> tuple[int, ...]:
    """The figure that begins a run of words, with its marks; none where it begins with none."""
    end = 0
    if words and text.words[words[0]].startswith("("):
        # "(2014)", "(July 2013 est.)": when, and not what.
        while end < len(words) and not text.words[words[end]].endswith(")"):
            end += 1
        words, end = words[end + 1 :], 0
    while end < len(words) and opens(text.words[words[end]]):
        end += 1
    if end == len(words) or not is_number(text.words[words[end]]):
        return ()
    end += 1
    if end < len(words) and closes(text.words[words[end]]):
        end += 1
    chosen = tuple(words[:end])
    return chosen if chosen == tuple(range(chosen[0], chosen[0] + len(chosen))) else ()
