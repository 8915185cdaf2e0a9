"""How long the embedded index takes to write pages and to answer, on pages made up at random.

`python -m eval.bench.index_latency [--pages 2851] [--dim 128]` prints a table; a quiet machine or
its load is part of the figure, so the load is printed too. Random vectors cost what real ones do;
they say nothing about what is found.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from rag.filters import Condition, Filter
from rag.geometry import FloatArray
from rag.index.edge import EdgeIndex
from rag.ports import IndexSpec
from rag.scoring.fde import FdeSpec
from rag.types import PageField, PageRecord, SparseVector

N_PATCHES, N_HEADING_TOKENS, N_QUERY = 400, 30, 20
BATCH_PAGES = 64


def _unit(rng: np.random.Generator, *shape: int) -> FloatArray:
    rows = rng.standard_normal(shape, dtype=np.float32)
    unit: FloatArray = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


def _terms(rng: np.random.Generator, n: int, vocabulary: int) -> SparseVector:
    """About n distinct terms, low ids being frequent."""
    indices = np.unique((vocabulary * rng.random(n) ** 3).astype(np.uint32))
    return SparseVector(indices, rng.random(len(indices), dtype=np.float32) + 0.1)


def _record(rng: np.random.Generator, number: int, spec: IndexSpec) -> PageRecord:
    document = f"document-{number // 50}"
    return PageRecord(
        str(uuid.UUID(bytes=rng.bytes(16))),
        {
            PageField.PATCHES: _unit(rng, N_PATCHES, spec.dim),
            PageField.FDE: _unit(rng, spec.fde_size),
            PageField.DENSE: _unit(rng, 2, spec.dense_dim),
            PageField.HEADINGS: _unit(rng, N_HEADING_TOKENS, spec.dim),
            PageField.WORDS: _terms(rng, 250, 20_000),
            PageField.HEADING_WORDS: _terms(rng, 20, 5_000),
        },
        {
            "collection": "default",
            "document_id": document,
            "version_id": document,
            "page_number": number % 50 + 1,
            "source": f"{document}.pdf",
            "readers": ["*"],
            "metadata": {"year": 2000 + number % 20},
        },
    )


def _report(name: str, call: Callable[[], object], *, repeats: int = 15) -> None:
    call()
    times_ms = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - start) * 1e3)
    sys.stdout.write(
        f"{name:44} min {min(times_ms):7.1f}  p50 {np.median(times_ms):7.1f}"
        f"  max {max(times_ms):7.1f} ms\n"
    )


def _write(index: EdgeIndex, n_pages: int, spec: IndexSpec) -> None:
    rng = np.random.default_rng(0)
    upsert_s = flush_s = 0.0
    for start in range(0, n_pages, BATCH_PAGES):
        batch = [_record(rng, i, spec) for i in range(start, min(start + BATCH_PAGES, n_pages))]
        before = time.perf_counter()
        index.upsert(batch)
        between = time.perf_counter()
        index.flush()
        upsert_s += between - before
        flush_s += time.perf_counter() - between
    n_batches = -(-n_pages // BATCH_PAGES)
    sys.stdout.write(
        f"write: {n_pages / (upsert_s + flush_s):.0f} pages/s in batches of {BATCH_PAGES}; a batch "
        f"{upsert_s / n_batches * 1e3:.0f} ms upsert + {flush_s / n_batches * 1e3:.0f} ms flush\n"
    )


def _search(index: EdgeIndex, spec: IndexSpec) -> None:
    rng = np.random.default_rng(1)
    everything = index.ids()
    n_pages = len(everything)
    tokens, fde = _unit(rng, N_QUERY, spec.dim), _unit(rng, spec.fde_size)
    dense = _unit(rng, 1, spec.dense_dim)
    terms = SparseVector(
        np.array([1, 10, 100, 500, 1000, 2000, 5000, 9000], np.uint32), np.ones(8, np.float32)
    )
    pool = everything[:200]
    where = Filter(
        must=(Condition("readers", "$in", ("*", "user:anna")),),
        must_not=(Condition("version_id", "$in", tuple(f"document-{i}" for i in range(5))),),
    )
    legs: list[tuple[PageField, FloatArray | SparseVector, int]] = [
        (PageField.DENSE, dense, n_pages),
        (PageField.HEADINGS, tokens, n_pages),
        (PageField.WORDS, terms, n_pages),
        (PageField.HEADING_WORDS, terms, n_pages),
    ]
    _report("ids of all", index.ids)
    _report("fde, best 200", lambda: index.search(PageField.FDE, fde, limit=200))
    for page_field, query, limit in legs:
        _report(f"{page_field}, all", partial(index.search, page_field, query, limit=limit))
    _report(
        "patches of 200",
        lambda: index.search(PageField.PATCHES, tokens, limit=200, record_ids=pool),
    )
    _report(
        "patches, all", lambda: index.search(PageField.PATCHES, tokens, limit=n_pages), repeats=5
    )
    _report("the four legs, all, in one request", lambda: index.search_many(legs))
    _report(
        "the same under readers and hidden versions", lambda: index.search_many(legs, where=where)
    )
    _report("the same for 200 record ids", lambda: index.search_many(legs, record_ids=pool))
    _report("payloads of 200", lambda: index.payloads(pool))
    _report("patches read back, 5 pages", lambda: index.vectors(pool[:5], PageField.PATCHES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2851)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--dense-dim", type=int, default=384)
    parser.add_argument("--fde-size", type=int, default=FdeSpec(128).fde_size)
    arguments = parser.parse_args()
    spec = IndexSpec(arguments.dim, arguments.dense_dim, arguments.fde_size)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "index"
        index = EdgeIndex.open(folder, spec)
        _write(index, arguments.pages, spec)
        sys.stdout.write(f"load {os.getloadavg()[0]:.1f}\n-- as written\n")
        _search(index, spec)
        start = time.perf_counter()
        index.optimize()
        sys.stdout.write(f"-- optimized in {time.perf_counter() - start:.1f} s\n")
        index.close()
        start = time.perf_counter()
        index = EdgeIndex.open(folder, spec)
        sys.stdout.write(f"opened in {time.perf_counter() - start:.2f} s\n")
        _search(index, spec)
        index.close()
        used = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
        sys.stdout.write(
            f"{used / arguments.pages:,.0f} bytes a page; load {os.getloadavg()[0]:.1f}\n"
        )


if __name__ == "__main__":
    main()
