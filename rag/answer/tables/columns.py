"""The columns of a table: figures that stand under each other, and the heads over them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rag.answer.tables.lines import Piece, VisualLine

_SAME_EDGE = 0.9  # heights
_OVERLAP = 0.35  # of the narrower: pieces of one column that are not set to one edge
_CENTRED = 0.3  # of the distance between columns: how far a head of several is from their middle
_IS_PERIOD = re.compile(
    r"\b(?:months?|weeks?|quarters?|years?|q[1-4]|ended|fiscal|january|february|march|april|june|july|"
    r"august|september|october|november|december|(?:19|20)\d\d)\b",
    re.IGNORECASE,
)
_WIDER_SPACE = 0.42  # heights: in heads set so close that only this parts them
_PART_WORDS = 16
_LEAST_SINGLES = 3
_SPANS_ALL = 0.6  # of the distance between columns: how far from the middle a head may stand


@dataclass
class Band:
    """A column as it is found: the pieces in it, by the number of their line."""

    pieces: dict[int, Piece] = field(default_factory=dict)
    heads: list[Piece] = field(default_factory=list)  # from the bottom
    is_text: bool = False

    @property
    def x0(self) -> float:
        return min(piece.core.x0 for piece in self.pieces.values())

    @property
    def left(self) -> float:
        """With signs of money at the left of the column."""
        return min(piece.box.x0 for piece in self.pieces.values())

    @property
    def x1(self) -> float:
        return max(piece.core.x1 for piece in self.pieces.values())

    def shared_with(self, piece: Piece) -> float:
        """Width that a piece stands over or under the column; below 0 where it does not."""
        return min(self.x1, piece.core.x1) - max(self.x0, piece.core.x0)

    @property
    def middle(self) -> float:
        return (self.x0 + self.x1) / 2

    @property
    def edge(self) -> float:
        return sum(piece.edge for piece in self.pieces.values()) / len(self.pieces)


def figure_bands(cells: Sequence[tuple[int, Piece]], height: float) -> list[Band]:
    """Columns of the figures of a table, from left to right.

    Args:
        cells: (number of the line, figure).
        height: of a usual word.
    """
    bands: list[Band] = []
    for line, piece in sorted(cells, key=lambda cell: (cell[1].edge, cell[0])):
        fitting = [
            band
            for band in bands[-3:]
            if line not in band.pieces and piece.edge - band.edge <= _SAME_EDGE * height
        ]
        if fitting:
            fitting[-1].pieces[line] = piece
        else:
            bands.append(Band({line: piece}))
    return _merged(bands)


def text_bands(cells: Sequence[tuple[int, Piece]]) -> list[Band]:
    """Columns of words: those that lie under each other."""
    bands: list[Band] = []
    for line, piece in sorted(cells, key=lambda cell: (cell[1].core.x0, cell[0])):
        fitting = [
            band for band in bands if line not in band.pieces and _overlap(band, piece) > _OVERLAP
        ]
        if fitting:
            fitting[0].pieces[line] = piece
        else:
            bands.append(Band({line: piece}, is_text=True))
    return _merged(bands)


def _merged(bands: list[Band]) -> list[Band]:
    """Bands over each other that no line has both of are one column: figures set to the middle."""
    merged = True
    while merged:
        merged = False
        bands.sort(key=lambda band: (-len(band.pieces), band.x0))
        for number, band in enumerate(bands):
            for other in bands[number + 1 :]:
                if band.pieces.keys() & other.pieces.keys():
                    continue
                shared = min(band.x1, other.x1) - max(band.x0, other.x0)
                if shared > _OVERLAP * min(band.x1 - band.x0, other.x1 - other.x0):
                    band.pieces.update(other.pieces)
                    bands.remove(other)
                    merged = True
                    break
            if merged:
                break
    return sorted(bands, key=lambda band: band.middle)


def _overlap(band: Band, piece: Piece) -> float:
    shared = min(band.x1, piece.core.x1) - max(band.x0, piece.core.x0)
    return shared / max(1e-6, min(band.x1 - band.x0, piece.core.width))


def give_heads(bands: Sequence[Band], lines: Sequence[VisualLine], height: float) -> None:
    """Let every column have the pieces that stand over it; a head may stand over several.

    Args:
        bands: the columns, from left to right.
        lines: of heads, from the top.
        height: of a usual word.
    """
    if not bands:
        return
    reach = [(band.left, band.x1) for band in bands]
    for line in reversed(lines):
        claims: dict[int, tuple[float, Piece]] = {}
        over = [
            part
            for piece in line.pieces
            if piece.core.x1 > reach[0][0] - height
            for part in parts_over(piece, reach)
        ]
        for piece in over:
            first, last = _columns_under(piece, over, reach, bands)
            middle = (reach[first][0] + reach[last][1]) / 2
            for column in range(first, last + 1):
                away = abs(piece.middle - middle)
                if column not in claims or away < claims[column][0]:
                    claims[column] = (away, piece)
        for column, (_, piece) in claims.items():
            bands[column].heads.append(piece)
            if sum(other is piece for _, other in claims.values()) == 1:
                x0, x1 = reach[column]
                reach[column] = (min(x0, piece.core.x0), max(x1, piece.core.x1))


def is_period_head(piece: Piece) -> bool:
    return _IS_PERIOD.search(piece.text) is not None


def parts_over(piece: Piece, reach: Sequence[tuple[float, float]]) -> list[Piece]:
    """A piece as heads of several columns, where wider spaces lie between those columns."""
    parts = _parts(piece)
    if len(parts) < 2:
        return [piece]
    middles = [(x0 + x1) / 2 for x0, x1 in reach]

    def nearest(part: Piece) -> int:
        return min(range(len(middles)), key=lambda column: abs(middles[column] - part.middle))

    columns = [nearest(part) for part in parts]
    if len(set(columns)) < len(columns):
        return [piece]
    # Single words of a period are its words, and no heads.
    is_single = all(part.n_words == 1 for part in parts)
    return [piece] if is_single and is_period_head(piece) else parts


def _parts(piece: Piece) -> list[Piece]:
    """A run of few words cut at spaces wider than its narrowest, or at every space."""
    n = piece.n_words
    if piece.is_figure or not 2 <= n <= _PART_WORDS:
        return []
    gaps = [b.x0 - a.x1 for a, b in pairwise(piece.word_boxes)]
    limit = max(_WIDER_SPACE * piece.box.height, 1.4 * min(gaps) if n > 2 else 0.0)
    ends = [place for place, gap in enumerate(gaps, 1) if gap >= limit]
    if not ends:
        ends = list(range(1, n)) if n >= _LEAST_SINGLES else []
    return list(piece.cut((*ends, n))) if ends else []


def _columns_under(
    piece: Piece,
    over: Sequence[Piece],
    reach: Sequence[tuple[float, float]],
    bands: Sequence[Band],
) -> tuple[int, int]:
    """(first, last) column that a head stands over; `over` are all pieces of its line."""
    n = len(reach)
    core = piece.core
    touched = [
        column
        for column, (x0, x1) in enumerate(reach)
        if min(x1, core.x1) - max(x0, core.x0) > 0.15 * min(x1 - x0, core.width)
    ]
    have_heads = n > 1 and all(band.heads for band in bands)
    is_period = is_period_head(piece)
    if have_heads and len(over) == 1 and (is_period or len(touched) > 1):
        middle = (reach[0][0] + reach[-1][1]) / 2
        pitch = (reach[-1][1] - reach[0][0]) / n
        if abs(piece.middle - middle) <= _SPANS_ALL * pitch:
            return 0, n - 1
    if not touched:
        for column in range(n - 1):
            if reach[column][1] <= piece.middle <= reach[column + 1][0] and (
                bands[column].heads and bands[column + 1].heads
            ):
                touched = [column, column + 1]
    if not touched:
        nearest = min(range(n), key=lambda c: abs((reach[c][0] + reach[c][1]) / 2 - piece.middle))
        return nearest, nearest
    first, last = touched[0], touched[-1]
    heads = [band.heads[-1].text for band in bands if band.heads]
    # Heads that come again stand under groups; a group's own head does not come again.
    is_repeated = len({other.text for other in over}) < len(over)
    is_group = is_period or (len(set(heads)) < len(heads) and not is_repeated)
    if have_heads and len(over) < n and (first < last or is_group):
        return _centred_range(piece, over, reach, (first, last), widest=is_group)
    return first, last


def _centred_range(
    piece: Piece,
    over: Sequence[Piece],
    reach: Sequence[tuple[float, float]],
    least: tuple[int, int],
    *,
    widest: bool,
) -> tuple[int, int]:
    """The columns around `least` in whose middle a head stands; none of another head's middle."""
    first, last = least
    others = [other.middle for other in over if other is not piece]
    best = least
    best_away = abs((reach[first][0] + reach[last][1]) / 2 - piece.middle)
    for i in range(first, -1, -1):
        for j in range(last, len(reach)):
            x0, x1 = reach[i][0], reach[j][1]
            if any(x0 < middle < x1 for middle in others):
                continue
            away = abs((x0 + x1) / 2 - piece.middle)
            pitch = (x1 - x0) / (j - i + 1)
            is_wider = j - i > best[1] - best[0]
            if away < 0.5 * best_away or (widest and is_wider and away < _CENTRED * pitch):
                best, best_away = (i, j), away
    return best
