"""What token pooling costs and saves on real pages: time, vectors left, bytes of words, ranking.

Pages without words are left out. Rankings are exact MaxSim over all pages of the folder, nothing
else joined to it; "top 10 kept" is the share of the unpooled first ten that stay there, over all
questions of the folder.

    python scripts/measure_pooling.py DATASET [--pages 300]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from dataset_pages import encoded_pages

from eval.datasets.folder import PageKey, load_dataset
from eval.measures import mean, measure_queries
from eval.runs import Hit
from rag.encoders.minilm import MiniLm
from rag.encoders.words import WordsEncoder
from rag.geometry import FloatArray
from rag.page_text import VectorWords
from rag.ports import EncodedPage
from rag.scoring.maxsim import maxsim_many
from rag.scoring.pool import Pooled, page_pooling
from rag.settings import PoolingSettings

_CHOICES = {
    "none": PoolingSettings(),
    "hierarchical 2": PoolingSettings(method="hierarchical", factor=2),
    "hierarchical 3": PoolingSettings(method="hierarchical", factor=3),
    "runs 2": PoolingSettings(method="runs", factor=2),
    "runs 3": PoolingSettings(method="runs", factor=3),
    "carve 0.8": PoolingSettings(method="carve", min_similarity=0.8),
    "carve 0.7": PoolingSettings(method="carve", min_similarity=0.7),
    "carve 0.6": PoolingSettings(method="carve", min_similarity=0.6),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--pages", type=int, help="Only so many pages, spread over all of them.")
    chosen = parser.parse_args()
    dataset = load_dataset(chosen.dataset)
    encoder = WordsEncoder(MiniLm.load(None, threads=2))
    pages = encoded_pages(encoder, chosen.dataset / "docs", dataset.documents)
    if chosen.pages is not None:
        step = max(1, len(pages) // chosen.pages)
        pages = dict(list(pages.items())[::step])
    queries = {
        query.id: encoder.encode_query(query.text).tokens.vectors
        for query in dataset.queries.values()
    }
    rows = [len(page.patches) for page in pages.values()]
    print(
        f"{len(pages)} pages, rows a page: median {np.median(rows):.0f}, mean {np.mean(rows):.0f}, "
        f"most {max(rows)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    print("method | ms a page: median, p95, most | rows left | word bytes a page | nDCG@10 | kept")
    unpooled: dict[str, list[PageKey]] = {}
    for name, settings in _CHOICES.items():
        pool = page_pooling(settings)
        times, vectors, n_bytes = [], [], []
        for page in pages.values():
            start = time.perf_counter()
            pooled = pool(page.patches) if pool else None
            times.append((time.perf_counter() - start) * 1000)
            vectors.append(pooled.vectors if pooled else page.patches.vectors)
            n_bytes.append(_stored_bytes(page, pooled))
        ranked = {key: _ranked(list(pages), vectors, query) for key, query in queries.items()}
        unpooled = unpooled or ranked
        run = {key: tuple(Hit(*page, 0.0) for page in found) for key, found in ranked.items()}
        ndcg = mean(measure_queries(dataset, run, scope="corpus").values())["nDCG@10"]
        kept = np.mean([len({*ranked[key]} & {*unpooled[key]}) / 10 for key in ranked])
        left = sum(map(len, vectors)) / sum(rows)
        print(
            f"{name} | {np.median(times):.1f}, {np.quantile(times, 0.95):.1f}, {max(times):.1f} | "
            f"{left:.3f} | {np.mean(n_bytes):.0f} | {ndcg:.3f} | {kept:.3f}"
        )


def _ranked(keys: list[PageKey], pages: list[FloatArray], query: FloatArray) -> list[PageKey]:
    best = np.argsort(-maxsim_many(query, pages), kind="stable")[:10]
    return [keys[index] for index in best]


def _stored_bytes(page: EncodedPage, pooled: Pooled | None) -> int:
    assert page.patch_words is not None
    return len(VectorWords(page.patch_words, pooled.cluster_of if pooled else None).to_bytes())


if __name__ == "__main__":
    main()
