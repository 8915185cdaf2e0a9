"""Qdrant Edge as others would set it up for these jobs, to be compared with; not our own index."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eval.bench import peers
from rag.geometry import FloatArray

KINDS = ("fp32", "fp16", "bits")
_BATCH = 50


def exact_multi_vectors(
    pages: Sequence[FloatArray], kind: str, folder: Path
) -> Callable[[FloatArray], FloatArray]:
    """Scores of all pages by the store's own MaxSim.

    Args:
        pages: (n, dim) each.
        kind: `fp32`, `fp16`, or `bits`: signs of both sides, without a second look at the floats.
        folder: where the shard is made.
    """
    qe = peers.load("qdrant_edge")
    vectors = {"rows": _multi_vector(qe, pages[0].shape[1], kind)}
    records = ((number, {"rows": page}) for number, page in enumerate(pages))
    shard = _shard(qe, folder, vectors, records)
    if kind == "bits":
        params = qe.SearchParams(
            quantization=qe.QuantizationSearchParams(ignore=False, rescore=False)
        )
    else:
        params = qe.SearchParams(exact=True)

    def search(query: FloatArray) -> FloatArray:
        wanted = qe.Query.Nearest(query.tolist(), using="rows")
        hits = shard.search(qe.SearchRequest(query=wanted, limit=len(pages), params=params))
        scores = np.full(len(pages), np.nan, dtype=np.float32)
        for hit in hits:
            scores[int(hit.id)] = hit.score
        return scores

    return search


def first_stage(
    fdes: FloatArray, kind: str, folder: Path
) -> Callable[[FloatArray, int], list[int]]:
    """The best pages by FDE.

    Args:
        fdes: (n_pages, fde_size).
        kind: `fp32` (each compared), `graph` (HNSW of 16 links, ef 128) or `bits` (page signs
            against the query in 8 bits, without a second look).
        folder: where the shard is, or is made.
    """
    qe = peers.load("qdrant_edge")
    vectors = {"fde": _single_vector(qe, fdes.shape[1], kind)}
    records = ((number, {"fde": fde}) for number, fde in enumerate(fdes))
    shard = _shard(qe, folder, vectors, records)
    params = _fde_params(qe, kind)

    def search(query: FloatArray, limit: int) -> list[int]:
        wanted = qe.Query.Nearest(query.tolist(), using="fde")
        hits = shard.search(qe.SearchRequest(query=wanted, limit=limit, params=params))
        return [int(hit.id) for hit in hits]

    return search


def prefetch_and_rerank(
    fdes: FloatArray, pages: Iterable[FloatArray], folder: Path, *, candidates: int
) -> Callable[[FloatArray, FloatArray, int], list[int]]:
    """One request: candidates by the signs of their FDE, ranked anew by MaxSim over fp16 rows."""
    qe = peers.load("qdrant_edge")
    pages = iter(pages)
    first = next(pages)
    vectors = {
        "fde": _single_vector(qe, fdes.shape[1], "bits"),
        "rows": _multi_vector(qe, first.shape[1], "fp16"),
    }

    def records() -> Iterable[tuple[int, dict[str, FloatArray]]]:
        yield 0, {"fde": fdes[0], "rows": first}
        for number, page in enumerate(pages, start=1):
            yield number, {"fde": fdes[number], "rows": page}

    shard = _shard(qe, folder, vectors, records())

    def search(query: FloatArray, fde: FloatArray, limit: int) -> list[int]:
        prefetch = qe.Prefetch(
            limit=candidates,
            query=qe.Query.Nearest(fde.tolist(), using="fde"),
            params=_fde_params(qe, "bits"),
        )
        hits = shard.query(
            qe.QueryRequest(
                limit=limit,
                query=qe.Query.Nearest(query.tolist(), using="rows"),
                prefetches=[prefetch],
                with_payload=False,
                with_vector=False,
            )
        )
        return [int(hit.id) for hit in hits]

    return search


def _shard(
    qe: Any,
    folder: Path,
    vectors: dict[str, Any],
    records: Iterable[tuple[int, dict[str, FloatArray]]],
) -> Any:
    """The shard in `folder`, made of `records` where there is none yet."""
    if folder.is_dir():
        return qe.EdgeShard.load(str(folder))
    unfinished = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    config = qe.EdgeConfig(
        vectors=vectors, optimizers=qe.EdgeOptimizersConfig(indexing_threshold=1)
    )
    shard = qe.EdgeShard.create(str(unfinished), config)
    remaining = iter(records)
    while batch := list(islice(remaining, _BATCH)):
        points = [
            qe.Point(number, {name: each.tolist() for name, each in rows.items()}, {})
            for number, rows in batch
        ]
        shard.update(qe.UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    shard.close()
    unfinished.rename(folder)
    return qe.EdgeShard.load(str(folder))


def _multi_vector(qe: Any, size: int, kind: str) -> Any:
    settings: dict[str, Any] = {}
    if kind == "bits":
        settings["quantization_config"] = qe.BinaryQuantizationConfig(memory=qe.Memory.Pinned)
    datatype = qe.VectorStorageDatatype.Float16 if kind == "fp16" else None
    return qe.EdgeVectorParams(
        size=size,
        distance=qe.Distance.Dot,
        multivector_config=qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim),
        datatype=datatype or qe.VectorStorageDatatype.Float32,
        hnsw_config=_no_graph(qe),
        **settings,
    )


def _single_vector(qe: Any, size: int, kind: str) -> Any:
    settings: dict[str, Any] = {"hnsw_config": _no_graph(qe)}
    if kind == "graph":
        settings["hnsw_config"] = qe.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10)
    if kind == "bits":
        settings["quantization_config"] = qe.BinaryQuantizationConfig(
            query_encoding=qe.BinaryQuantizationQueryEncoding.Scalar8Bits,
            memory=qe.Memory.Pinned,
        )
    return qe.EdgeVectorParams(size=size, distance=qe.Distance.Dot, **settings)


def _no_graph(qe: Any) -> Any:
    return qe.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10)


def _fde_params(qe: Any, kind: str) -> Any:
    if kind == "graph":
        return qe.SearchParams(hnsw_ef=128)
    if kind == "bits":
        return qe.SearchParams(
            quantization=qe.QuantizationSearchParams(ignore=False, rescore=False)
        )
    return qe.SearchParams(exact=True)
