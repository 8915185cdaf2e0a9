"""Several readings of the same question to a judge, what they come to, and how far they agree."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ballot:
    """What the readings said of one claim, or of one criterion of one answer; at least one."""

    votes: tuple[bool, ...]

    @property
    def holds(self) -> bool:
        """By more than half of the readings: a tie does not hold."""
        return 2 * sum(self.votes) > len(self.votes)

    @property
    def is_split(self) -> bool:
        return len(set(self.votes)) > 1


def orders(n_items: int, n_votes: int, *, seed: int, of: str) -> list[list[int]]:
    """In which order each reading is shown the items, as their indices; the first as they stand.

    At temperature 0 the same words would be answered alike: the order, and the number of the
    reading in the prompt, is all that varies.

    Args:
        n_items: claims.
        n_votes: readings.
        seed: of the orders.
        of: what is read, so that another question has other orders.
    """
    asked = []
    for vote in range(n_votes):
        order = list(range(n_items))
        if vote:
            random.Random(f"{seed}-{of}-{vote}").shuffle(order)
        asked.append(order)
    return asked


def cohens_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Agreement of two raters beyond chance: 1 is always, 0 is as by chance; None where chance
    alone would always agree, or nothing was rated.

    Source: Cohen 1960, A coefficient of agreement for nominal scales.
    """
    n = len(first)
    if not n:
        return None
    agreed = sum(one == other for one, other in zip(first, second, strict=True)) / n
    ours, theirs = Counter(first), Counter(second)
    by_chance = sum(ours[label] * theirs[label] for label in ours) / (n * n)
    return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)
