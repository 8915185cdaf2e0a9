"""Two rankings as one by quota: so many pages of each, no score mixed with another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from eval.runs import Hit


def quotas(k: int) -> tuple[int, int]:
    """Pages of the first and of the second ranking; the first has one more of an odd k."""
    return (k + 1) // 2, k // 2


def given_pages(first: Sequence[Hit], second: Sequence[Hit], *, k: int) -> list[Hit]:
    """What an answer model is handed: the best of the first, then the best of the second.

    A page that both found is in it twice, as UniDoc-Bench counts it.
    """
    n_first, n_second = quotas(k)
    return [*first[:n_first], *second[:n_second]]


def interleaved(first: Sequence[Hit], second: Sequence[Hit], *, k: int) -> list[Hit]:
    """The same pages as a ranking: by rank in their own list, the first list's before the second's.

    A page stands where it came first, and no other one takes the place of its second time: what
    both found leaves the ranking shorter than k. Scores are ranks, as those of the two lists are of
    no common scale.
    """
    n_first, n_second = quotas(k)
    pages = dict.fromkeys(
        hit.page
        for pair in zip_longest(first[:n_first], second[:n_second])
        for hit in pair
        if hit is not None
    )
    return [
        Hit(page.doc, page.page_number, -float(rank)) for rank, page in enumerate(pages, start=1)
    ]
