"""Whether a page's own words will do, or want reading from its pixels.

Works on the small rendering that every page has anyway, and knows no language: what is told apart
are letters that cannot be read from letters that can. What each limit was measured on stands in
docs/adr/0023-hidden-text.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rag.page_text import PageText
from rag.types import RenderedPage

_BoolArray = npt.NDArray[np.bool_]

# --- no words ---
_LEAST_CONTRAST = 16  # out of 255: of a page that shows anything

# --- characters that stand for nothing ---
_LEAST_UNMAPPED = 20
_UNMAPPED_SHARE = 0.1

# --- words that cannot be read ---
_LEADERS = re.compile(r"([.\-_\u00b7\u2026=*~\u2013\u2014])\1{2,}")
_LETTER_WORD = re.compile("[A-Za-z]{4,}")
_EDGES = ".,;:!?()[]{}\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"
_VOWELS = frozenset("aeiouyAEIOUY")
_LEAST_LETTERS = 150
_LEAST_WORDS = 25  # different ones
# Of the letters in words of four and more: 0.30 to 0.44 on pages of prose, tables, code and data
# sheets; 0.03 to 0.22 where a font's codes are shifted.
_FEW_VOWELS = 0.22
_LEAST_CHARS = 100
# Of all characters but leaders: above 0.7 on pages that can be read.
_FEW_LETTERS = 0.35
# Latin letters with marks, of all Latin letters: Vietnamese has a third.
_MOSTLY_MARKED = 0.6

# --- words that the pixels contradict ---
_LEAST_WIDTHS = 40
_SAME_WIDTH = 0.02
_MONOSPACED = 0.4
_NO_AGREEMENT = 0.3  # correlation: above 0.6 on pages that can be read
_ODD_VOWELS = (0.3, 0.5)
_ODD_LETTERS = 0.75

# Widths of Helvetica in thousandths of its size; other typefaces differ less than letters do.
_WIDTHS = {
    char: width
    for width, chars in (
        (222, "ijl'"),
        (278, "!,./:;I[\\]ft"),
        (333, "()-`r"),
        (355, '"'),
        (389, "*"),
        (469, "^"),
        (500, "Jckxyzsv"),
        (556, "#$?0123456789L_abdeghnopqu"),
        (584, "+<=>~"),
        (611, "FTZ"),
        (667, "&ABEKPSVXY"),
        (722, "CDHNRUw"),
        (778, "GOQ"),
        (833, "Mm"),
        (889, "%"),
        (944, "W"),
        (1015, "@"),
    )
    for char in chars
}

# --- pixels with more to read than the words ---
_FEW_WORDS = 30
_LINE_PX = 7  # what is thinner, from left to right, is a stroke of a letter
_STROKE_CONTRAST = 40
_RIM_PX = 1
_TILE_PX = 40
_LEAST_TILE_STROKES = 20  # pixels
# Lines of text leave rows between them; photographs, maps and patterns do not.
_ROWS_BETWEEN = 0.45
_LEAST_TILES = 6


def needs_ocr(text: PageText, small: RenderedPage) -> str | None:
    """Why a page's words want reading from its pixels; None where they do as they are.

    Args:
        text: the words that people see; those that nobody sees say nothing of it.
        small: the page at about 40 dpi.

    Returns:
        `no_text`, `unmapped_glyphs`, `looks_wrong`, `mostly_pixels`, or None.
    """
    if not _shows_anything(small):
        return None
    if not len(text):
        return "no_text"
    if _has_unmapped_glyphs(text.words):
        return "unmapped_glyphs"
    if _looks_wrong(text):
        return "looks_wrong"
    if len(text) <= _FEW_WORDS and _has_more_to_read(text, small):
        return "mostly_pixels"
    return None


def _shows_anything(small: RenderedPage) -> bool:
    extrema = small.image.convert("RGB").getextrema()
    return any(high - low > _LEAST_CONTRAST for low, high in extrema)  # type: ignore[misc]  # a pair a band, as the image is RGB


def _has_unmapped_glyphs(words: Sequence[str]) -> bool:
    """Whether many characters are none; a single one is a bullet or an icon."""
    chars = "".join(word for word in words if len(word) > 1)
    n_unmapped = sum(map(_is_unmapped, chars)) if not chars.isascii() else 0
    return n_unmapped >= _LEAST_UNMAPPED and n_unmapped > _UNMAPPED_SHARE * len(chars)


def _is_unmapped(char: str) -> bool:
    return char == "\ufffd" or unicodedata.category(char) in ("Co", "Cc", "Cn", "Cs")


def _looks_wrong(text: PageText) -> bool:
    chars = _LEADERS.sub("", "".join(text.words))
    letters = sum(map(str.isalnum, chars)) / max(1, len(chars))
    if len(chars) >= _LEAST_CHARS and letters < _FEW_LETTERS:
        return True
    if _is_mostly_marked(chars):
        return True
    vowels = _vowel_share(text.words)
    if vowels is not None and vowels < _FEW_VOWELS:
        return True
    is_odd = letters < _ODD_LETTERS or (
        vowels is not None and not _ODD_VOWELS[0] <= vowels <= _ODD_VOWELS[1]
    )
    if not is_odd:
        return False
    agreement = width_agreement(text)
    return agreement is not None and agreement < _NO_AGREEMENT


def _vowel_share(words: Sequence[str]) -> float | None:
    """Of the letters in words of ASCII letters; None where there are too few to tell."""
    found = [core for word in words if _LETTER_WORD.fullmatch(core := word.strip(_EDGES))]
    joined = "".join(found)
    if len(joined) < _LEAST_LETTERS or len(set(found)) < _LEAST_WORDS:
        return None
    return sum(char in _VOWELS for char in joined) / len(joined)


def _is_mostly_marked(chars: str) -> bool:
    """As other scripts become where a font has the codes of an 8-bit set."""
    if chars.isascii():
        return False
    latin = [char for char in chars if char.isalpha() and ord(char) < 0x250]
    marked = sum(ord(char) > 0x7F for char in latin)
    return len(latin) >= _LEAST_LETTERS and marked > _MOSTLY_MARKED * len(latin)


def width_agreement(text: PageText) -> float | None:
    """How well the boxes of words are as wide as their letters ask for: a correlation.

    Near 0 where the letters are not those that are printed. None where it cannot be told: too few
    words in ASCII, or a typeface that gives every letter one width.
    """
    sides = text.boxes[:, 2:] - text.boxes[:, :2]  # (n_words, 2)
    sizes = np.where(text.sizes_pt > 0, text.sizes_pt, sides[:, 1])
    chosen = [
        place
        for place, word in enumerate(text.words)
        if len(word) >= 3 and word.isascii() and sides[place, 0] >= sides[place, 1]
    ]
    if len(chosen) < _LEAST_WIDTHS:
        return None
    lengths = np.array([len(text.words[place]) for place in chosen])
    asked = np.array(
        [sum(_WIDTHS.get(char, 556) for char in text.words[place]) for place in chosen]
    )
    asked = asked / lengths
    printed = sides[chosen, 0] / lengths / np.maximum(sizes[chosen], 1e-3)
    printed = printed / np.median(printed)
    if np.mean(np.abs(printed - 1) < _SAME_WIDTH) > _MONOSPACED:
        return None
    near = np.abs(printed - 1) < 0.6  # letter-spaced headings
    asked, printed = asked[near], printed[near]
    if len(asked) < _LEAST_WIDTHS or not asked.std() or not printed.std():
        return None
    return float(np.corrcoef(asked, printed)[0, 1])


def _has_more_to_read(text: PageText, small: RenderedPage) -> bool:
    """Whether most strokes of the page are no word's, and lie in rows as text does."""
    strokes = _strokes(np.asarray(small.image.convert("L"), np.int16))
    others = strokes.copy()
    height_px = len(strokes)
    for x0, y0, x1, y1 in (text.boxes * small.px_per_pt).tolist():
        rows = slice(max(0, int(y0) - _RIM_PX), min(height_px, int(y1) + 1 + _RIM_PX))
        others[rows, max(0, int(x0) - _RIM_PX) : int(x1) + 1 + _RIM_PX] = False
    if 2 * others.sum() <= strokes.sum():
        return False
    return _n_tiles_in_rows(others) >= _LEAST_TILES


def _strokes(grey: npt.NDArray[np.int16]) -> _BoolArray:
    """(height, width) what is darker or lighter than its ground to the left and to the right."""
    dark = _least(_most(grey)) - grey
    light = grey - _most(_least(grey))
    found: _BoolArray = (dark > _STROKE_CONTRAST) | (light > _STROKE_CONTRAST)
    return found


def _most(grey: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Each pixel as the greatest of those about it in its row, `_LINE_PX` of them."""
    width_px = grey.shape[1]
    wide = np.pad(grey, ((0, 0), (_LINE_PX // 2, _LINE_PX // 2)), mode="edge")
    most = wide[:, :width_px]
    for shift in range(1, _LINE_PX):
        most = np.maximum(most, wide[:, shift : shift + width_px])
    return most


def _least(grey: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    return -_most(-grey)


def _n_tiles_in_rows(strokes: _BoolArray) -> int:
    """Squares of the page with strokes in some of their rows and none in the others."""
    height_px, width_px = strokes.shape
    n_down, n_across = height_px // _TILE_PX, width_px // _TILE_PX
    whole = strokes[: n_down * _TILE_PX, : n_across * _TILE_PX]
    tiles = whole.reshape(n_down, _TILE_PX, n_across, _TILE_PX)
    in_rows = tiles.sum(axis=3)  # (n_down, _TILE_PX, n_across)
    is_filled = in_rows.sum(axis=1) >= _LEAST_TILE_STROKES
    has_gaps = (in_rows == 0).mean(axis=1) >= _ROWS_BETWEEN
    return int((is_filled & has_gaps).sum())
