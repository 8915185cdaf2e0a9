"""Measures of MMDocIR: how much of the gold layout was retrieved, and their mean average precision.

Boxes are parts of a page, from 0 to 1 of its width and height, so that boxes of a PDF, of its
picture and of patches can be set against each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from rag.geometry import Box


class PageBox(NamedTuple):
    """A part of a page: page number from 1; box as shares of the page's width and height."""

    page_number: int
    box: Box


def layout_recall(retrieved: Iterable[PageBox], gold: Iterable[PageBox]) -> float:
    """The share of the gold area that retrieved boxes cover, from 0 to 1; 0 without gold area.

    Area counts once. The published script adds up overlaps box by box, so that boxes over one
    another give more than 1, and adds up gold boxes that are listed twice.

    Source: Dong et al. 2025, MMDocIR (arXiv:2501.08828), section 5.
    """
    found, wanted = _by_page(retrieved), _by_page(gold)
    gold_area = sum(_area(boxes) for boxes in wanted.values())
    if not gold_area:
        return 0.0
    covered = sum(
        _area([mine.intersection(other) for mine in found[page] for other in boxes])
        for page, boxes in wanted.items()
        if page in found
    )
    return min(covered / gold_area, 1.0)  # areas are sums of floats


def _by_page(boxes: Iterable[PageBox]) -> dict[int, list[Box]]:
    pages: dict[int, list[Box]] = defaultdict(list)
    for page_number, box in boxes:
        pages[page_number].append(box)
    return pages


def _area(boxes: Sequence[Box]) -> float:
    """Of all boxes together: strips between the left and right edges, each with what is in it."""
    filled = [box for box in boxes if not box.is_empty]
    edges = sorted({edge for box in filled for edge in (box.x0, box.x1)})
    return sum(
        (right - left) * _length([box for box in filled if box.x0 <= left and right <= box.x1])
        for left, right in pairwise(edges)
    )


def _length(boxes: Iterable[Box]) -> float:
    """Of the vertical intervals together."""
    total = 0.0
    reached = float("-inf")
    for top, bottom in sorted((box.y0, box.y1) for box in boxes):
        total += max(0.0, bottom - max(top, reached))
        reached = max(reached, bottom)
    return total


def map_mmdocir(ranking: Sequence[Hashable], relevant: Collection[Hashable], *, k: int) -> float:
    """Average precision over the relevant that were found, not over all: MMDocIR's own.

    Finding one of many at rank 1 gives 1; trec's AP divides by all that are relevant.

    Args:
        ranking: best first.
        relevant: all that are.
        k: ranks that are looked at.
    """
    precisions: list[float] = []
    for rank, item in enumerate(ranking[:k], start=1):
        if item in relevant:
            precisions.append((len(precisions) + 1) / rank)
    return sum(precisions) / len(precisions) if precisions else 0.0
