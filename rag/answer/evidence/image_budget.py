"""How large images are shown within a number of pixels, and which texts within one of characters.

All of it is pure. What is ranked higher is never left out for what is ranked lower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag.page_text import PageText

# Small print of a letter page is read at 150 dpi, where it has 2.1 million pixels; pages of other
# sizes (slides, posters) are shown with as many at most.
PAGE_DPI = 150.0
PAGE_PX = 2_200_000
_ROUND_PX = 10_000  # so that like questions find their pages rendered


@dataclass(frozen=True)
class WantedImage:
    """An image somebody would like to show.

    Attributes:
        natural_px: more pixels would show nothing more.
        least_px: fewer would not be worth showing; at most `natural_px`.
        is_extra: shown beside a page that is shown already, and left out before any page is.
    """

    natural_px: int
    least_px: int
    is_extra: bool = False


def wanted_page(width_pt: float, height_pt: float, *, min_image_px: int) -> WantedImage:
    """A whole page; one that is small on paper is shown small."""
    # A hair less, as renderers take it: 792 pt at 150 dpi would be 1651 px in floats.
    scale = PAGE_DPI / 72.0 * (1.0 - 1e-9)
    px = min(PAGE_PX, math.ceil(width_pt * scale) * math.ceil(height_pt * scale))
    return WantedImage(px, min(px, min_image_px))


def allot(wanted: Sequence[WantedImage], *, budget_px: int) -> list[int]:
    """Pixels of each image; 0 where it is left out.

    All are shrunk by one factor as far as each may be; then extras are left out, then pages, each
    from the last. One image is always shown, if need be above the budget at its least.

    Args:
        wanted: best first.
        budget_px: of all together.
    """
    kept = list(range(len(wanted)))
    while len(kept) > 1 and sum(wanted[place].least_px for place in kept) > budget_px:
        extras = [place for place in kept if wanted[place].is_extra]
        kept.remove((extras or kept)[-1])
    factor = _common_factor([wanted[place] for place in kept], budget_px)
    px = [0] * len(wanted)
    for place in kept:
        image = wanted[place]
        shrunk = min(image.natural_px, int(factor * image.natural_px))
        if shrunk < image.natural_px:
            shrunk -= shrunk % _ROUND_PX
        px[place] = max(image.least_px, shrunk)
    return px


def _common_factor(images: Sequence[WantedImage], budget_px: int) -> float:
    """The greatest factor, 1 at most, with which images keep their least and fit together."""
    free = list(images)
    left = float(budget_px)
    while free:
        factor = min(1.0, max(0.0, left) / sum(image.natural_px for image in free))
        held = [image for image in free if factor * image.natural_px < image.least_px]
        if not held:
            return factor
        left -= sum(image.least_px for image in held)
        free = [image for image in free if factor * image.natural_px >= image.least_px]
    return 0.0


def n_texts_within(lengths: Sequence[int], *, budget_chars: int) -> int:
    """How many texts, best first, are shown; the best one in any case.

    Args:
        lengths: characters of each.
        budget_chars: of all together.
    """
    total = 0
    for place, length in enumerate(lengths):
        total += length
        if total > budget_chars and place > 0:
            return place
    return len(lengths)


def n_words_within(text: PageText, *, budget_chars: int) -> int:
    """Words of the lines that fit, from the top; of a first line too long, the words that do."""
    ends = np.cumsum([len(word) + 1 for word in text.words]) - 1
    n_fitting = int(np.searchsorted(ends, budget_chars, side="right"))
    if n_fitting == len(text):
        return n_fitting
    whole = [end for _, end in text.line_spans if end <= n_fitting]
    return whole[-1] if whole else n_fitting
