"""Two encoders without weights that look at pixels: fixtures for tests of visual retrieval.

They see flat colours and a few shapes, and understand the words that name them; nothing else of a
picture, and nothing of a photograph or a scan. Every result made with them says so (the notice
`fixture_encoder`): their figures say that the way from pixels to pages is whole, and nothing about
retrieval.

`late` has a vector for each part of a page that shows something, `joint` a single one that holds
the page's first words beside its colours. In the settings: encoder.name custom, encoder.model
rag.testing.palette_encoder:late.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from rag.encoders.encoded import encoded_page, encoded_query, image_of, require_question
from rag.encoders.self_test import prove
from rag.geometry import FloatArray
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageInput
from rag.scoring.lexical import is_content_word
from rag.settings import EncoderSettings
from rag.types import MultiVector, Notice, VectorKind

PALETTE: dict[str, tuple[int, int, int]] = {
    "crimson": (196, 16, 56),
    "vermilion": (255, 64, 0),
    "orange": (255, 140, 0),
    "gold": (224, 184, 0),
    "yellow": (255, 240, 120),
    "chartreuse": (160, 224, 0),
    "lime": (0, 255, 0),
    "emerald": (0, 200, 112),
    "moss": (30, 140, 50),
    "forest": (16, 80, 24),
    "mint": (144, 248, 200),
    "teal": (0, 128, 136),
    "turquoise": (32, 216, 216),
    "azure": (0, 128, 255),
    "navy": (0, 0, 120),
    "indigo": (80, 32, 176),
    "violet": (152, 80, 255),
    "magenta": (255, 0, 255),
    "plum": (136, 24, 128),
    "rose": (255, 96, 160),
    "salmon": (255, 152, 136),
    "sienna": (152, 80, 32),
    "khaki": (136, 136, 48),
    "maroon": (96, 0, 0),
}
TABLE_TINT = (196, 208, 238)  # of the heads of tables: light, and not white

_BARS, _TINT, _INK, _PAPER = "bars", "tint", "ink", "paper"
_COLOURS = tuple(PALETTE)
_LOOKS = (*_COLOURS, _BARS, _TINT, _INK, _PAPER)
# Words beside the names of colours, and what they look like.
_WORDS = {
    **{name: name for name in _COLOURS},
    **dict.fromkeys(("bar", "bars"), _BARS),
    **dict.fromkeys(("table", "tables"), _TINT),
    **dict.fromkeys(("lamp", "lamps"), "yellow"),
    **dict.fromkeys(("garden", "gardens", "flower", "flowers"), "moss"),
}
# Words of questions about pictures, that stand on no page for what they mean there.
_OF_PICTURES = frozenset(
    "chart charts colour colours ends highest largest line lines shows slice slices tallest".split()
)
_WORD = re.compile(r"[a-z]+")

_NEAR = 12  # of a channel, from 0 to 255: flat colours are exact but for rounding
_COLUMNS = 16  # cells a page is cut into, across
_SEEN_ACROSS_PX = 420  # every so manieth pixel is looked at
_CELL_SHARE = 0.1  # of a cell that a colour has to fill: more than the blended rim of another
_TINT_SHARE = 0.2
_INK_SHARE = 0.004  # of a strip across the page
_EDGE_SHARE = 0.08  # of the page's height that the side of a bar takes
_BAR_SHARE = 0.04  # of the page's width

_HALF = 32
_LATE_DIM = 2 * _HALF
_SAME, _COLOURED = np.sqrt(0.75), 0.5

_WORD_DIMS = 4032
_PLACES = 4  # of a word's vector; two words that share one rarely share more
_WORDS_READ = 36  # of a page: the words below are not in its single vector
_JOINT_DIM = _WORD_DIMS + 64
_REST, _NOTHING = _JOINT_DIM - 1, _JOINT_DIM - 2
_COLOUR_WEIGHT, _SHAPE_WEIGHT = 1.5, 0.4  # a word is 1
_PAGE_LENGTH = _PLACES * _WORDS_READ + len(_LOOKS)  # squared, of a page that shows everything
_VERSION = 1

_FIXTURE = Notice(
    "fixture_encoder",
    "the vectors are of a fixture that sees flat colours and knows their names: figures made with "
    "it tell whether the machinery works, and nothing of how well pages are found",
)


def late(_chosen: EncoderSettings) -> PaletteEncoder:
    """Vectors of the parts of a page; proven on the self-test."""
    return _proven("late")


def joint(_chosen: EncoderSettings) -> PaletteEncoder:
    """One vector a page, of words and colours together; proven on the self-test."""
    return _proven("joint")


def _proven(kind: Literal["late", "joint"]) -> PaletteEncoder:
    encoder = PaletteEncoder(kind)
    prove(encoder)
    return encoder


class PaletteEncoder:
    """PageEncoder over flat colours. Thread-safe: it keeps nothing but what it told."""

    wants_image = True

    def __init__(self, kind: Literal["late", "joint"]) -> None:
        self._kind = kind
        self._notices = [_FIXTURE]

    @property
    def identity(self) -> EncoderIdentity:
        dim = _LATE_DIM if self._kind == "late" else _JOINT_DIM
        return EncoderIdentity(
            name="fixture-palette",
            revision=f"{self._kind}-v{_VERSION}",
            dim=dim,
            dense_dim=dim,
            settings={"kind": self._kind, "colours": len(_COLOURS)},
        )

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        encode = _late_page if self._kind == "late" else _joint_page
        return [encoded_page(encode(page)) for page in pages]

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        """Words by the looks they name; an image by what is seen in it."""
        require_question(text.strip(), image)
        words = _WORD.findall(text.lower())
        named = list(dict.fromkeys(_WORDS[word] for word in words if word in _WORDS))
        if image is not None:
            named += [each.look for each in seen(image) if each.look in _COLOURS]
            named = list(dict.fromkeys(named))
        if self._kind == "joint":
            other = [word for word in words if word not in PALETTE and word not in _OF_PICTURES]
            return encoded_query(MultiVector(_joint_vector(other, named, is_query=True)[None]))
        rows = [_code(look) for look in named] or [_any_colour()]
        return encoded_query(MultiVector(np.stack(rows)), tuple(named or ["any colour"]))

    def take_notices(self) -> list[Notice]:
        told, self._notices = self._notices, []
        return told

    def close(self) -> None:
        pass


# --- what is seen -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Seen:
    """A look and where it is: (4,) x0, y0, x1, y1 as shares of the image's width and height."""

    look: str
    box: tuple[float, float, float, float]


def seen(image: Image.Image) -> list[Seen]:
    """Colours by cells, bars as a whole, tints by cells, ink by strips; in the order of `_LOOKS`.

    The image itself, as paper, is not among them.
    """
    step = max(1, round(image.width / _SEEN_ACROSS_PX))
    size = max(1, image.width // step), max(1, image.height // step)
    # Every so manieth pixel as it is: a mean of several would be a colour that nobody drew.
    looked_at = image.convert("RGB").resize(size, Image.Resampling.NEAREST)
    coarse = (np.asarray(looked_at) >> 2).astype(np.int32)  # (height, width, 3)
    rgb = (coarse[..., 0] << 12) | (coarse[..., 1] << 6) | coarse[..., 2]
    of = _kinds_of_pixels()
    found = [*_colour_cells(_nearest()[rgb]), *_bars(of.vivid[rgb])]
    return [*found, *_tint_cells(of.tint[rgb]), *_ink_strips(of.ink[rgb])]


def _colour_cells(names: npt.NDArray[np.int64]) -> list[Seen]:
    cells, n_rows = _cells(names.shape)
    n = len(_COLOURS) + 1
    counts = np.bincount((cells * n + names).ravel(), minlength=n_rows * _COLUMNS * n)
    whole = np.maximum(np.bincount(cells.ravel(), minlength=n_rows * _COLUMNS), 1)
    shares = counts.reshape(-1, n)[:, :-1] / whole[:, None]  # (n_cells, n_colours)
    return [
        Seen(_COLOURS[colour], _cell_box(cell, names.shape))
        for colour, cell in zip(*np.nonzero(shares.T >= _CELL_SHARE), strict=True)
    ]


@dataclass(frozen=True)
class _KindsOfPixels:
    """(64**3,) whether a coarse red, green and blue are vivid, a light tint, or ink."""

    vivid: npt.NDArray[np.bool_]
    tint: npt.NDArray[np.bool_]
    ink: npt.NDArray[np.bool_]


@cache
def _kinds_of_pixels() -> _KindsOfPixels:
    channel = np.arange(64) * 4 + 2
    rgb = np.stack(np.meshgrid(channel, channel, channel, indexing="ij"), axis=-1).reshape(-1, 3)
    low, high = rgb.min(axis=1), rgb.max(axis=1)
    spread = high - low
    return _KindsOfPixels(
        vivid=spread >= 60,
        tint=(low >= 180) & (spread >= 20) & (spread < 60),
        ink=(high < 100) & (spread < 40),
    )


@cache
def _nearest() -> npt.NDArray[np.int64]:
    """(64**3,) the colour that a coarse red, green and blue are, or the number of colours."""
    channel = np.arange(64) * 4 + 2
    table = np.full((64, 64, 64), len(_COLOURS), np.int64)
    for index, rgb in enumerate(PALETTE.values()):
        near = [np.flatnonzero(abs(channel - value) <= _NEAR) for value in rgb]
        table[np.ix_(*near)] = index
    return table.ravel()


def _tint_cells(is_tint: npt.NDArray[np.bool_]) -> list[Seen]:
    cells, _ = _cells(is_tint.shape)
    whole = np.maximum(np.bincount(cells.ravel()), 1)
    shares = np.bincount(cells.ravel(), is_tint.ravel()) / whole
    return [
        Seen(_TINT, _cell_box(int(cell), is_tint.shape))
        for cell in np.flatnonzero(shares >= _TINT_SHARE)
    ]


def _bars(is_vivid: npt.NDArray[np.bool_]) -> list[Seen]:
    """One for all bars: vivid areas with a long upright side, wider than a stroke."""
    height, width = is_vivid.shape
    thick = max(2, round(_BAR_SHARE * width))
    if width <= thick + 1:
        return []
    inside = is_vivid[:, 1 : width - thick]
    is_side = inside & ~is_vivid[:, : width - thick - 1]
    for deeper in (thick // 2, thick):
        is_side &= is_vivid[:, 1 + deeper : width - thick + deeper]
    columns = np.flatnonzero(is_side.sum(axis=0) >= _EDGE_SHARE * height)
    if not len(columns):
        return []
    rows = np.flatnonzero(is_side[:, columns].any(axis=1))
    right = (columns[-1] + 1 + thick) / width
    return [
        Seen(_BARS, ((columns[0] + 1) / width, rows[0] / height, right, (rows[-1] + 1) / height))
    ]


def _ink_strips(is_ink: npt.NDArray[np.bool_]) -> list[Seen]:
    height, width = is_ink.shape
    side = _cell_px(width)
    found = []
    for top in range(0, height, side):
        strip = is_ink[top : top + side]
        if strip.mean() >= _INK_SHARE:
            columns = np.flatnonzero(strip.any(axis=0))
            bottom = min(top + side, height)
            left, right = columns[0] / width, (columns[-1] + 1) / width
            found.append(Seen(_INK, (left, top / height, right, bottom / height)))
    return found


def _cell_px(width: int) -> int:
    return max(1, -(-width // _COLUMNS))


def _cells(shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], int]:
    """(height, width) the square cell of each pixel, row by row; how many rows there are."""
    side = _cell_px(shape[1])
    rows, columns = np.arange(shape[0]) // side, np.arange(shape[1]) // side
    return rows[:, None] * _COLUMNS + columns, int(rows[-1]) + 1


def _cell_box(cell: int, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    (height, width), side = shape[:2], _cell_px(shape[1])
    row, column = divmod(int(cell), _COLUMNS)
    right, bottom = min((column + 1) * side, width), min((row + 1) * side, height)
    return column * side / width, row * side / height, right / width, bottom / height


# --- vectors ------------------------------------------------------------------------------------
def _late_page(page: PageInput) -> MultiVector:
    """A row for each look in its place, and one for the paper, which is everywhere."""
    looks = seen(image_of(page))
    size = np.array([page.width_pt, page.height_pt] * 2)
    boxes = [np.array(each.box) * size for each in looks] + [np.zeros(4)]
    kinds = [VectorKind.PATCH] * len(looks) + [VectorKind.SPECIAL]
    return MultiVector(
        np.stack([_code(each.look) for each in looks] + [_code(_PAPER)]),
        np.array(boxes, np.float32),
        np.array(kinds, np.uint8),
    )


def _joint_page(page: PageInput) -> MultiVector:
    words = [word for text in page.text.words for word in _WORD.findall(text.lower())]
    content = [word for word in words if is_content_word(word)][:_WORDS_READ]
    looks = {each.look for each in seen(image_of(page))} - {_INK}
    vector = _joint_vector(content, looks, is_query=False)
    whole = np.array([[0, 0, page.width_pt, page.height_pt]], np.float32)
    return MultiVector(vector[None], whole, np.array([VectorKind.PATCH], np.uint8))


def _code(look: str) -> FloatArray:
    """(64,) of one look: unlike looks are orthogonal in the first half, colours agree in the other.

    Every number is one of two sizes, so that signs and bytes lose nothing of a score's order.
    """
    own = _hadamard()[_LOOKS.index(look)] * _SAME
    shared = np.full(_HALF, _COLOURED if look in PALETTE else -_COLOURED)
    return np.asarray(np.concatenate([own, shared]) / np.sqrt(_HALF), np.float32)


def _any_colour() -> FloatArray:
    """What is looked for where no word names a look: pages with any colour on them."""
    return np.repeat(np.array([0, 1 / np.sqrt(_HALF)], np.float32), _HALF)


@cache
def _hadamard() -> FloatArray:
    """(32, 32) of 1 and -1, rows orthogonal. Sylvester's construction."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < _HALF:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _joint_vector(words: Iterable[str], looks: Iterable[str], *, is_query: bool) -> FloatArray:
    """(4096,) unit: the set of words, hashed, and the set of looks.

    A page's score is a sum over what it shares with the question, whatever else stands on it: the
    length that its own words and looks leave goes to a place that no question has.
    """
    vector = np.zeros(_JOINT_DIM)
    for word in words:
        if is_content_word(word):
            vector[[zlib.crc32(f"{i} {word}".encode()) % _WORD_DIMS for i in range(_PLACES)]] = 1
    vector[[_WORD_DIMS + _LOOKS.index(look) for look in looks]] = 1
    if not is_query:
        vector[_REST] = np.sqrt(_PAGE_LENGTH - vector @ vector)
    else:
        vector *= _query_weights()
        if not vector.any():  # function words alone: like nothing
            vector[_NOTHING] = 1
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


@cache
def _query_weights() -> FloatArray:
    """(4096,) what each place counts for in a question."""
    weights = np.full(_JOINT_DIM, 1 / _PLACES)
    for index, look in enumerate(_LOOKS):
        weights[_WORD_DIMS + index] = _COLOUR_WEIGHT if look in PALETTE else _SHAPE_WEIGHT
    return weights
