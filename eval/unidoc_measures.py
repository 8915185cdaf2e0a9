"""UniDoc-Bench's own measures, for figures that are set beside theirs and nowhere else.

They are not what their names say elsewhere, so they have names of their own: precision divides by
what was found and counts a page each time it is found, and nDCG measures the order of the gold
pages that were found, so a run that misses others can still reach 1. P@k, R@k and nDCG@k of
`eval.measures` are told with them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from eval.datasets.folder import PageKey

Values = dict[str, float]
CUTOFF = 10  # of the paper


def unidoc_names(k: int = CUTOFF) -> tuple[str, str, str]:
    """The keys of `unidoc_values`."""
    return f"unidoc_P@{k}", f"unidoc_R@{k}", f"unidoc_ndcg@{k}"


def unidoc_values(hits: Sequence[PageKey], gold: Collection[PageKey], *, k: int) -> Values:
    """Precision, recall and nDCG of one question, as UniDoc-Bench's script reckons them.

    Args:
        hits: page of each chunk or image found, best first; of chunks and images of one page it is
            there several times. All of one domain, so (document, page) tells what their
            `domain/doc/page` does. A chunk over two pages is one of them here: theirs can gain
            both at one rank.
        gold: pages of the answer.
        k: how many hits count.

    Returns:
        {"unidoc_P@k": share of the first k hits on a gold page, repeats counted, of no more hits
        than there are; "unidoc_R@k": share of the gold pages among them, each counted once;
        "unidoc_ndcg@k": gains where a gold page is found for the first time, over the same gains
        sorted to the top}. All 0 where nothing was found, which their script leaves out of the
        mean, or nothing is gold.

    Source: src/evaluation/retrieval_eval.py of UniDoc-Bench (arXiv:2510.03663).
    """
    shown = hits[:k]
    wanted = frozenset(gold)
    seen: set[PageKey] = set()
    is_new_gold = []
    for page in shown:
        is_new_gold.append(page in wanted and page not in seen)
        seen.add(page)
    n_new = sum(is_new_gold)
    precision, recall, ndcg = unidoc_names(k)
    return {
        precision: sum(page in wanted for page in shown) / max(1, len(shown)),
        recall: n_new / max(1, len(wanted)),
        ndcg: _discounted(is_new_gold) / _discounted([True] * n_new) if n_new else 0.0,
    }


def _discounted(is_gain: Sequence[bool]) -> float:
    return sum(1 / math.log2(rank + 1) for rank, gain in enumerate(is_gain, start=1) if gain)
