"""A page with what speaks to a query marked on it: as a picture, and as JSON.

Vectors of words are shown as a text marker shows them, vectors of places as a heat map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from rag.apps.page_drawing import contact_sheet, draw_boxes, draw_heatmap, thumbnail
from rag.errors import InputError
from rag.geometry import Box
from rag.heatmap import HeatMap, PlacedVectors, heat_map
from rag.highlight import Highlight, highlight
from rag.ports import EncodedQuery
from rag.types import Json, RenderedPage

_MOST_TOKENS = 47  # on a sheet, beside the whole query
# What tokenizers put before a word, before or after a part of one.
_WORD_MARKERS = ("▁", "Ġ", "Ċ", "##", "</w>")


@dataclass(frozen=True, eq=False)
class MarkedPage:
    """What a query found on one page; `shown` is of the query rows in `rows`."""

    page: PlacedVectors
    query: EncodedQuery
    heat: HeatMap
    rows: tuple[int, ...]
    shown: Highlight

    def draw(self, picture: RenderedPage) -> Image.Image:
        return self._drawn(picture, self.rows, self.shown)

    def draw_tokens(self, picture: RenderedPage) -> Image.Image:
        """One sheet: the page for the whole query, then for each of its first tokens."""
        small = thumbnail(picture)
        pictures = [("whole query", self.draw(small))]
        for row, label in enumerate(self.heat.labels[:_MOST_TOKENS]):
            word = plain_token(label)
            shown = highlight(self.query.tokens.vectors[[row]], self.page, word)
            tile = self._drawn(small, (row,), shown)
            pictures.append((f"{word}   {self.heat.maxima[row]:.2f}", tile))
        return contact_sheet(pictures)

    def as_dict(self) -> Json:
        return {
            "boxes": [{"box": box.rounded(), "weight": weight} for box, weight in self.shown.boxes],
            "words": list(self.shown.words),
            "tokens": [
                {
                    "token": plain_token(label),
                    "max": round(float(self.heat.maxima[row]), 4),
                    "box": Box(*self.heat.best[row]).rounded(),
                }
                for row, label in enumerate(self.heat.labels)
            ],
            "map": {
                "rows": self.heat.n_rows,
                "columns": self.heat.n_columns,
                "pooled": self.heat.pooled,
                "whole_page": self.heat.whole_page,
            },
        }

    def _drawn(self, picture: RenderedPage, rows: Sequence[int], shown: Highlight) -> Image.Image:
        if self.page.are_words or self.heat.whole_page:
            return draw_boxes(picture, shown.boxes)
        return draw_heatmap(picture, self.heat, rows)


NOTHING_MARKED: Json = {"boxes": [], "words": [], "tokens": [], "map": None}


def mark(
    page: PlacedVectors, query: EncodedQuery, question: str, *, token: str | None = None
) -> MarkedPage:
    """What a query, or one word of it, finds on a page with at least one vector.

    Raises:
        InputError: `unknown_token`, a word the query does not have.
    """
    heat = heat_map(query.tokens.vectors, query.labels, page)
    rows = tuple(range(len(heat.labels))) if token is None else rows_of(token, heat.labels)
    shown = highlight(query.tokens.vectors[list(rows)], page, question if token is None else token)
    return MarkedPage(page, query, heat, rows, shown)


def rows_of(word: str, labels: Sequence[str]) -> tuple[int, ...]:
    """The query rows that make up a word, everywhere it stands; case and punctuation aside.

    Raises:
        InputError: `unknown_token`.
    """
    wanted = _bare(word)
    found = {row for row, label in enumerate(labels) if word and label == word}
    parts = [_bare(label) for label in labels]
    for start, first in enumerate(parts):
        joined, end = first, start + 1
        while first and wanted.startswith(joined):
            if joined == wanted:
                found.update(range(start, end))
                break
            if end == len(parts):
                break
            joined, end = joined + parts[end], end + 1
    if not found:
        named = ", ".join(plain_token(label) for label in labels[:_MOST_TOKENS])
        raise InputError(
            f"the query has no token {word!r}",
            code="unknown_token",
            next_step=f"Its tokens are: {named}",
        )
    return tuple(sorted(found))


def plain_token(label: str) -> str:
    """A token without the marks of its tokenizer, unless it is nothing but marks."""
    plain = label
    for marker in _WORD_MARKERS:
        plain = plain.replace(marker, "")
    return plain.strip() or label


def _bare(label: str) -> str:
    return "".join(filter(str.isalnum, plain_token(label))).casefold()
