"""Makes sets as LIMIT is made: documents that say what a person likes, questions who likes a thing,
and as relevant every pair of the fewest documents that have that many pairs.

The things and the names are lists of our own, so a set made here has the published shape and not
the published words.

Source: Weller et al. 2025, On the Theoretical Limitations of Embedding-Based Retrieval
(arXiv:2508.21038), and the code beside it (google-deepmind/limit).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib import resources
from itertools import combinations, islice
from pathlib import Path
from typing import Any

from eval.datasets.limit import MADE
from rag.errors import InputError

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels.jsonl"


@dataclass(frozen=True)
class LimitSpec:
    """What shapes a set. The defaults are LIMIT-small.

    Attributes:
        n_documents: of which the first are relevant to something; 50,000 is the full set.
        n_queries: each with a pair of documents of its own.
        n_likes: things a document lists at least; more only where more questions are about it.
        seed: of the order of things, of names, of what lists are filled with.
    """

    n_documents: int = 46
    n_queries: int = 1000
    n_likes: int = 45
    seed: int = 42


SMALL = LimitSpec()
FULL = replace(SMALL, n_documents=50_000)


@dataclass(frozen=True)
class LimitDocument:
    """A person and what they like."""

    name: str
    likes: tuple[str, ...]

    @property
    def text(self) -> str:
        *first, last = self.likes
        return f"{self.name} likes {', '.join(first)} and {last}."


@dataclass(frozen=True)
class LimitQuery:
    """Who likes a thing, and the two that do, by their place among the documents."""

    id: str
    like: str
    pair: tuple[int, int]

    @property
    def text(self) -> str:
        return f"Who likes {self.like}?"


class LimitSet:
    """A set by its seed. Documents are made one by one, as they are asked for."""

    def __init__(self, spec: LimitSpec) -> None:
        """Raises InputError for a set that the words at hand do not suffice for."""
        self.spec = spec
        self._n_dense = dense_documents(spec.n_queries)
        likes = list(all_likes())
        random.Random(f"{spec.seed} likes").shuffle(likes)
        self._asked, self._others = likes[: spec.n_queries], likes[spec.n_queries :]
        first_names, last_names = all_names()
        n_names = len(first_names) * len(last_names)
        for what, wanted, there in (
            ("documents", self._n_dense, spec.n_documents),
            ("names", spec.n_documents, n_names),
            ("things to ask for", spec.n_queries, len(likes)),
            # Twice as many as a list holds, so that lists differ.
            ("things to fill lists with", 2 * spec.n_likes, len(self._others)),
        ):
            if there < wanted:
                raise InputError(
                    f"LIMIT: {spec.n_queries} questions over {spec.n_documents} documents of "
                    f"{spec.n_likes} things want {wanted} {what}, there are {there}",
                    next_step="Make a smaller set, or one with more documents.",
                )
        picked = random.Random(f"{spec.seed} names").sample(range(n_names), spec.n_documents)
        self.names = tuple(
            f"{first_names[at // len(last_names)]} {last_names[at % len(last_names)]}"
            for at in picked
        )

    @cached_property
    def queries(self) -> tuple[LimitQuery, ...]:
        pairs = islice(combinations(range(self._n_dense), 2), self.spec.n_queries)
        return tuple(
            LimitQuery(f"query_{number}", like, pair)
            for number, (like, pair) in enumerate(zip(self._asked, pairs, strict=True))
        )

    @cached_property
    def _likes_of(self) -> dict[int, list[str]]:
        likes: dict[int, list[str]] = {}
        for query in self.queries:
            for index in query.pair:
                likes.setdefault(index, []).append(query.like)
        return likes

    def document(self, index: int) -> LimitDocument:
        """Of what no question asks, as much as its list lacks; all in an order of its own."""
        rng = random.Random(f"{self.spec.seed} document {index}")
        likes = list(self._likes_of.get(index, ()))
        likes += rng.sample(self._others, max(0, self.spec.n_likes - len(likes)))
        rng.shuffle(likes)
        return LimitDocument(self.names[index], tuple(likes))

    def documents(self) -> Iterator[LimitDocument]:
        return (self.document(index) for index in range(self.spec.n_documents))


def dense_documents(n_queries: int) -> int:
    """The fewest documents that have so many pairs: 46 for 1,000."""
    n = 2
    while math.comb(n, 2) < n_queries:
        n += 1
    return n


@cache
def all_likes() -> tuple[str, ...]:
    return tuple(
        " ".join(word[:1].upper() + word[1:] for word in like.split())
        for line in _lines("likes.txt")
        for like in line
    )


@cache
def all_names() -> tuple[Sequence[str], Sequence[str]]:
    """First names and last names."""
    first, last = _lines("people.txt")
    return first, last


def _lines(name: str) -> list[list[str]]:
    text = resources.files("eval.limit").joinpath(name).read_text(encoding="utf-8")
    return [[each.strip() for each in line.split(",")] for line in text.splitlines()]


def write_published(made: LimitSet, folder: Path) -> None:
    """The three files of the published layout, a line a row, and how the set was made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MADE).write_text(json.dumps(asdict(made.spec)) + "\n", encoding="utf-8")
    _write(
        folder / CORPUS, ({"_id": d.name, "title": "", "text": d.text} for d in made.documents())
    )
    _write(folder / QUERIES, ({"_id": query.id, "text": query.text} for query in made.queries))
    _write(
        folder / QRELS,
        (
            {"query-id": query.id, "corpus-id": made.names[index], "score": 1}
            for query in made.queries
            for index in query.pair
        ),
    )


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
