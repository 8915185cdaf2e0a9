"""Section `first_stage`: the 100 likeliest of all pages by their encodings.

Times are of one easy query after another. Recall is the share of the exact top ten among the 100,
for easy and hard queries; a contender that finds less than half of it on easy ones is not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from eval.bench import edge_peers, peers
from eval.bench.contender import Contender, Effort, Entry, Gate, Outcome, race
from eval.bench.corpus import NOISE, Corpus
from rag.geometry import FloatArray
from rag.scoring.fde import FdeEncoder
from rag.scoring.fde_signs import pack_signs, scan_signs

N_BEST, N_CANDIDATES = 10, 100
OURS = "octavo signs, 8-bit query"
_LEAST_RECALL = 0.5

# An encoded query to the numbers of the likeliest pages, in any order.
Search = Callable[[FloatArray], list[int]]


def run(
    corpus: Corpus, encoder: FdeEncoder, effort: Effort, *, say: Callable[[str], object]
) -> Outcome:
    fdes = corpus.fdes(encoder, say)
    queries = encoded(corpus, encoder)
    signs = pack_signs(fdes)
    makers: dict[str, Callable[[], Search]] = {
        OURS: lambda: lambda query: _best(scan_signs(query, signs)),
        "numpy signs on both sides": partial(_hamming, fdes),
        "torch fp32, each page": partial(_torch, fdes, half=False),
        "torch bf16, each page": partial(_torch, fdes, half=True),
        **{
            f"qdrant-edge {kind}": partial(_edge, corpus, encoder, fdes, kind)
            for kind in ("fp32", "bits", "graph")
        },
    }
    return race(
        "first_stage",
        f"the best {N_CANDIDATES} of {corpus.n_pages:,} pages by {encoder.spec.fde_size:,} numbers",
        [
            Entry(name, partial(_contender, name, corpus, queries, make))
            for name, make in makers.items()
        ],
        effort,
        say=say,
        facts={"n_pages": corpus.n_pages, "corpus": corpus.source.key},
    )


def encoded(corpus: Corpus, encoder: FdeEncoder) -> dict[str, FloatArray]:
    """(n_queries, fde_size) of each kind."""
    return {
        kind: np.stack([encoder.encode_query(query) for query in corpus.queries[kind]])
        for kind in NOISE
    }


def recall(found: list[list[int]], best: list[list[int]]) -> float:
    """Share of `best` that is in `found`, on average over the queries."""
    return float(
        np.mean(
            [
                len(set(own) & set(right)) / len(right)
                for own, right in zip(found, best, strict=True)
            ]
        )
    )


def _contender(
    name: str,
    corpus: Corpus,
    queries: dict[str, FloatArray],
    make: Callable[[], Search],
) -> Contender:
    search = make()
    asked = cycle(queries["easy"])

    def check(_: Any) -> Gate:
        figures = {
            f"recall_{kind}": recall(
                [search(query) for query in queries[kind]], corpus.exact_best(kind, N_BEST)
            )
            for kind in NOISE
        }
        return Gate(figures["recall_easy"] >= _LEAST_RECALL, figures)

    return Contender(name, lambda: search(next(asked)), check, ours=name == OURS)


def _best(scores: Any) -> list[int]:
    n = min(N_CANDIDATES, len(scores))
    return [int(number) for number in np.argpartition(-scores, n - 1)[:n]]


def _hamming(fdes: FloatArray) -> Search:
    signs = np.packbits(fdes > 0, axis=1)
    words = signs.view(np.uint64) if signs.shape[1] % 8 == 0 else signs

    def search(query: FloatArray) -> list[int]:
        asked = np.packbits(query > 0).view(words.dtype)
        return _best(-np.bitwise_count(words ^ asked).sum(axis=1, dtype=np.int64))

    return search


def _torch(fdes: FloatArray, *, half: bool) -> Search:
    torch = peers.load("torch")
    kept = torch.bfloat16 if half else torch.float32
    rows = torch.from_numpy(np.array(fdes)).to(kept)

    def search(query: FloatArray) -> list[int]:
        with torch.inference_mode():
            scores = rows @ torch.from_numpy(query).to(kept)
            found: list[int] = scores.float().topk(min(N_CANDIDATES, len(rows))).indices.tolist()
            return found

    return search


def _edge(corpus: Corpus, encoder: FdeEncoder, fdes: FloatArray, kind: str) -> Search:
    folder = corpus.folder / f"edge-fde-{kind}-{encoder.fingerprint[:16]}"
    search = edge_peers.first_stage(fdes, kind, folder)
    return lambda query: search(query, N_CANDIDATES)
