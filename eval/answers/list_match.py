"""List-aware exact match and F1 of MultimodalQA, by which M3DocVQA ranks systems.

Words that are numbers are numbers ("two" is 2.0), and a span of the gold answer that holds numbers
matches only what holds one of them.

Source: Talmor et al. 2021, MultiModalQA (arXiv:2104.06039), its released evaluation, after that of
DROP (Dua et al. 2019, arXiv:1903.00161).
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import numpy as np

from rag.errors import ConfigError

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_BETWEEN = re.compile(r"[ -]")
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBER_WORDS = {
    **{word: float(value) for value, word in enumerate(_UNITS)},
    **{word: float(10 * value) for value, word in enumerate(_TENS, start=2)},
    "hundred": 1e2,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
}


def list_exact_match(said: Sequence[str], gold: Sequence[str]) -> float:
    """1 where both lists hold the same answers, in whatever order, else 0."""
    ours, theirs = [_normalised(item) for item in said], [_normalised(item) for item in gold]
    return float(len(ours) == len(theirs) and set(ours) == set(theirs))


def list_f1(said: Sequence[str], gold: Sequence[str]) -> float:
    """Mean F1 of words over the best pairing of both lists; items without a partner count 0.

    Returns:
        From 0 to 1, to two decimals as published.

    Raises:
        ConfigError: scipy is missing, where both sides have several items.
    """
    ours = [frozenset(_normalised(item).split()) for item in said]
    theirs = [frozenset(_normalised(item).split()) for item in gold]
    if not ours or not theirs:
        return float(ours == theirs)
    scores = np.array([[_bag_f1(mine, other) for mine in ours] for other in theirs])
    return round(_best_total(scores) / max(len(ours), len(theirs)), 2)


def _best_total(scores: np.ndarray) -> float:
    """Of (n_gold, n_said), each row and column used once at most."""
    if min(scores.shape) == 1:
        return float(scores.max())
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ConfigError(
            "F1 of lists needs scipy, which is not installed",
            code="extra_missing",
            next_step='pip install "octavo[eval]"',
        ) from error
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return float(scores[rows, columns].sum())


def _bag_f1(said: frozenset[str], gold: frozenset[str]) -> float:
    numbers = {word for word in gold if _float(word) is not None}
    if numbers and not numbers & said:
        return 0.0
    if not said or not gold:
        return float(said == gold)
    return 2 * len(said & gold) / (len(said) + len(gold))


def _normalised(text: str) -> str:
    parts = (_normalised_word(word) for word in _BETWEEN.split(text.lower()))
    return " ".join(part for part in parts if part)


def _normalised_word(word: str) -> str:
    bare = word if _float(word) is not None else word.translate(_PUNCTUATION)
    value = _float(bare)
    if value is None:
        value = _NUMBER_WORDS.get(bare)
    plain = bare if value is None else str(value)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
