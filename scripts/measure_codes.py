"""What codes of page vectors keep of a ranking, by bits a dimension, and what they take.

Pages without words are left out. Rankings are MaxSim over all pages of the folder, nothing else
joined to it; R@10 is the share of the exact first ten that are among the first ten by codes, and
"rescored" the share among the best ten by exact scores of the first 20 and 50 by codes.

    python scripts/measure_codes.py DATASET [--pages 300] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from dataset_pages import encoded_pages

from eval.datasets.folder import load_dataset
from eval.measures import mean, measure_queries
from eval.runs import Hit
from rag.encoders.minilm import MiniLm
from rag.encoders.words import WordsEncoder
from rag.geometry import FloatArray
from rag.scoring.bebr import BitCodes, Rotation, residual_codes, scaled
from rag.scoring.coded_pages import CodedPages
from rag.scoring.maxsim import maxsim_many
from rag.scoring.packed import IntArray, PackedRows, Storage, maxsim_packed

_BITS = (1, 2, 3, 4, 6, 8)
_TIMED = 12
Score = Callable[[FloatArray], FloatArray]  # a query's rows to a score a page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--pages", type=int, help="Only so many pages, spread over all of them.")
    parser.add_argument("--seed", type=int, default=0, help="Of the rotation.")
    chosen = parser.parse_args()
    dataset = load_dataset(chosen.dataset)
    encoder = WordsEncoder(MiniLm.load(None, threads=2))
    encoded = encoded_pages(encoder, chosen.dataset / "docs", dataset.documents)
    pages = {key: page.patches.vectors for key, page in encoded.items()}
    if chosen.pages is not None:
        pages = dict(list(pages.items())[:: max(1, len(pages) // chosen.pages)])
    keys, vectors = list(pages), list(pages.values())
    queries = {
        query.id: encoder.encode_query(query.text).tokens.vectors
        for query in dataset.queries.values()
    }
    dim = vectors[0].shape[1]
    n_rows = sum(map(len, vectors))
    print(
        f"{len(keys)} pages, {n_rows / len(keys):.0f} rows a page of {dim} dimensions, "
        f"{len(queries)} questions; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    exact = {key: maxsim_many(query, vectors) for key, query in queries.items()}
    best = {key: set(_best(scores, 10).tolist()) for key, scores in exact.items()}
    print("codes | bytes a row | R@10 | rescored 20, 50 | nDCG@10")
    for name, n_bytes, score in _codes(vectors, dim, chosen.seed):
        found = {key: score(query) for key, query in queries.items()}
        kept = np.mean([len({*_best(found[key], 10).tolist()} & best[key]) / 10 for key in queries])
        rescored = [
            np.mean([len({*_best(found[key], n).tolist()} & best[key]) / 10 for key in queries])
            for n in (20, 50)
        ]
        run = {
            key: tuple(Hit(*keys[index], 0.0) for index in _best(scores, 10).tolist())
            for key, scores in found.items()
        }
        ndcg = mean(measure_queries(dataset, run, scope="corpus").values())["nDCG@10"]
        print(
            f"{name} | {n_bytes:.0f} | {kept:.3f} | {rescored[0]:.3f}, {rescored[1]:.3f} | "
            f"{ndcg:.3f}"
        )
    _print_times(vectors, list(queries.values())[:_TIMED])


def _print_times(vectors: list[FloatArray], queries: list[FloatArray]) -> None:
    """Of all pages for a question, as a search scores them; the first makes the codes."""
    pages = Snapshot(PackedRows.pack(vectors, Storage.FP16), PackedRows.pack(vectors, Storage.INT8))
    among = np.arange(len(vectors))
    scorers: dict[str, Score] = {"int8": lambda query: maxsim_packed(query, pages.int8)}
    for n_bits in _BITS:
        coded = CodedPages(n_bits)
        scorers[f"bebr {n_bits}"] = partial(_scored, coded, pages, among)
    print("\nms for all pages: first question, median of the others")
    for name, score in scorers.items():
        times = []
        for query in queries:
            start = time.perf_counter()
            score(query)
            times.append((time.perf_counter() - start) * 1000)
        print(f"{name} | {times[0]:.0f}, {np.median(times[1:]):.1f}")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """As much of packed pages as codes read."""

    fp16: PackedRows
    int8: PackedRows
    numbering: object = None


def _scored(coded: CodedPages, pages: Any, among: IntArray, query: FloatArray) -> FloatArray:
    return coded.scores(query, pages, among)


def _codes(vectors: list[FloatArray], dim: int, seed: int) -> list[tuple[str, float, Score]]:
    """Name, bytes a row, and what scores all pages."""
    found: list[tuple[str, float, Score]] = [
        ("float32", 4 * dim, lambda query: maxsim_many(query, vectors))
    ]
    for storage, n_bytes in ((Storage.INT8, dim), (Storage.BITS, dim / 8)):
        packed = PackedRows.pack(vectors, storage)
        found.append((storage.value, n_bytes, lambda q, packed=packed: maxsim_packed(q, packed)))
    rotation = Rotation.drawn(dim, seed=seed)
    turned = [rotation.apply(page) for page in vectors]
    for n_bits in _BITS:
        plain = [residual_codes(page, n_bits) for page in turned]
        right = [scaled(codes, page) for codes, page in zip(plain, turned, strict=True)]
        n_bytes = n_bits * (dim / 8 + 4)  # with a float32 weight a plane
        found += [
            (f"bebr {n_bits}, query coded", n_bytes, _by_coded_query(plain, rotation, n_bits)),
            (f"bebr {n_bits}, by length", n_bytes, _by_query(_unit(plain, turned), rotation)),
            (f"bebr {n_bits}", n_bytes, _by_query(right, rotation)),
        ]
    return found


def _by_query(pages: list[BitCodes], rotation: Rotation) -> Score:
    packed = PackedRows.pack([page.decoded() for page in pages], Storage.FP32)
    return lambda query: maxsim_packed(rotation.apply(query), packed)


def _by_coded_query(pages: list[BitCodes], rotation: Rotation, n_bits: int) -> Score:
    """The published distance: codes on both sides, over the length of the page's."""
    rows = [page.decoded() for page in pages]
    unit = [row / np.linalg.norm(row, axis=1, keepdims=True) for row in rows]
    packed = PackedRows.pack(unit, Storage.FP32)
    return lambda query: maxsim_packed(
        residual_codes(rotation.apply(query), n_bits).decoded(), packed
    )


def _unit(pages: list[BitCodes], rows: list[FloatArray]) -> list[BitCodes]:
    """Codes as long as the rows they stand for."""
    made = []
    for page, row in zip(pages, rows, strict=True):
        factor = np.linalg.norm(row, axis=1) / np.linalg.norm(page.dense(), axis=1)
        weights = (page.weights * factor[:, None]).astype(np.float32)
        made.append(BitCodes(page.dim, page.planes, weights))
    return made


def _best(scores: FloatArray, n: int) -> np.ndarray:
    return np.argsort(-scores, kind="stable")[:n]


if __name__ == "__main__":
    main()
