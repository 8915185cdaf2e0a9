"""Why the arms of `octavo eval limit --small` stand where they stand (docs/adr/0041).

python scripts/measure_limit.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from eval.limit.arms import ARMS, BM25, ranked, score_all
from eval.limit.construction import SMALL, LimitQuery, LimitSet
from rag.encoders.minilm import MiniLm
from rag.encoders.words import WordsEncoder
from rag.geometry import FloatArray
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.scoring.lexical import content_terms, terms
from rag.scoring.maxsim import maxsim_many


class Study:
    """LIMIT-small as made by a seed, and its documents' vectors in two readings."""

    def __init__(self, seed: int, encoder: WordsEncoder) -> None:
        self.made = LimitSet(replace(SMALL, seed=seed))
        self.encoder = encoder
        self.documents = list(self.made.documents())
        self.in_lists = [self._rows(document.text) for document in self.documents]
        self.alone = [
            np.concatenate([self._rows(like) for like in document.likes])
            for document in self.documents
        ]

    def _rows(self, text: str) -> FloatArray:
        return self.encoder.encode_query(text).tokens.vectors

    def recall(self, scores: FloatArray, queries: Iterable[LimitQuery] | None = None) -> float:
        """R@2."""
        wanted = list(self.made.queries if queries is None else queries)
        at = {query.id: row for row, query in enumerate(self.made.queries)}
        return fmean(
            len(set(ranked(scores[at[query.id]], k=2)).intersection(query.pair)) / 2
            for query in wanted
        )

    def maxsim(
        self, pages: Sequence[FloatArray], asked: Callable[[LimitQuery], FloatArray]
    ) -> float:
        return self.recall(
            np.stack([maxsim_many(asked(query), pages) for query in self.made.queries])
        )

    def question(self, query: LimitQuery) -> FloatArray:
        return self._rows(query.text)

    def without_likes(self, query: LimitQuery) -> FloatArray:
        encoded = self.encoder.encode_query(query.text)
        kept = [row for row, word in enumerate(encoded.labels) if word.lower() != "likes"]
        return encoded.tokens.vectors[kept]

    def like_alone(self, query: LimitQuery) -> FloatArray:
        return self._rows(query.like)

    def fde(self, spec: FdeSpec) -> float:
        fde = FdeEncoder(spec)
        pages = fde.encode_pages(self.in_lists)
        return self.recall(
            np.stack(
                [pages @ fde.encode_query(self.question(query)) for query in self.made.queries]
            )
        )


def main() -> None:
    encoder = WordsEncoder(MiniLm.load(threads=1))
    study = Study(SMALL.seed, encoder)
    queries = study.made.queries
    texts = [document.text for document in study.documents]
    scores = score_all(texts, [query.text for query in queries], encoder, n_texts=len(texts)).scores
    words = {
        "one word": [query for query in queries if len(query.like.split()) == 1],
        "more words": [query for query in queries if len(query.like.split()) > 1],
    }
    for arm in ARMS:
        told = ", ".join(f"{k} {study.recall(scores[arm], v):.4f}" for k, v in words.items())
        print(f"{arm}: {study.recall(scores[arm]):.4f}; {told}")
    missed = [
        query
        for row, query in enumerate(queries)
        if set(ranked(scores[BM25][row], k=2)) != set(query.pair)
    ]
    page_terms = [set(terms(text)) for text in texts]
    shared = [
        query
        for query in missed
        if sum(set(content_terms(query.text)) <= held for held in page_terms) > 2
    ]
    print(f"bm25 misses {len(missed)}, of which in more than two documents {len(shared)}")
    for told, pages, asked in (
        ("'likes' left out of questions", study.in_lists, study.without_likes),
        ("the thing alone as question", study.in_lists, study.like_alone),
        ("'likes' left out, things of documents encoded alone", study.alone, study.without_likes),
    ):
        print(f"maxsim, {told}: {study.maxsim(pages, asked):.4f}")
    for repetitions, bits, projection in ((40, 5, 16), (100, 5, 16), (40, 5, None), (100, 8, 16)):
        spec = FdeSpec(128, repetitions, bits, projection)
        print(f"fde of {spec.fde_size} dimensions: {study.fde(spec):.4f}")
    for seed in (1, 2, 3):
        other = LimitSet(replace(SMALL, seed=seed))
        texts = [document.text for document in other.documents()]
        found = score_all(
            texts, [query.text for query in other.queries], encoder, n_texts=len(texts)
        ).scores
        told = ", ".join(
            f"{arm} "
            + format(
                fmean(
                    len(set(ranked(found[arm][row], k=2)).intersection(query.pair)) / 2
                    for row, query in enumerate(other.queries)
                ),
                ".4f",
            )
            for arm in ARMS
        )
        print(f"seed {seed}: {told}")
    encoder.close()


if __name__ == "__main__":
    main()
