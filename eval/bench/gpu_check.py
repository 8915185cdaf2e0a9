"""Is MaxSim right on this GPU, how fast is it beside others, and how far from the machine's limits?

`make gpu-check` holds every storage and backend to the float64 reference first; what is wrong gets
no time. Pages are made on the device. Runs from a bare checkout with numpy, torch and triton alone;
without CUDA it checks on CPU tensors and takes no times.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from triton.errors import TritonError

from eval import provenance
from eval.bench import peers
from eval.bench.contender import Skipped
from eval.bench.rounds import interleave
from rag.errors import RagError
from rag.geometry import FloatArray
from rag.scoring import quantize
from rag.scoring.maxsim import maxsim
from rag.scoring.maxsim_torch import Backend, ResidentPages
from rag.scoring.packed import PackedRows, Storage
from rag.scoring.resident_layout import RESIDENT_STORAGES
from rag.scoring.torch_device import resolve_device

DIM, N_QUERY = 128, 32
BATCHES = (1, 8, 64)
# late-interaction-kernels counts elements in 32 bits; padded to 1,030 rows these are just below.
N_RACE_PAGES, RACE_ROWS = 16_000, (700, 1_030)
N_SCAN_PAGES, SCAN_ROWS = 300_000, (1_000, 1_060)
GOALS = {"memory_share": 0.7, "scan_300000_ms": 30.0, "times_best_peer": 1.5}
HISTORY = Path("eval/history/gpu.jsonl")
_OWN = " own"  # how names of our contenders end
_SETTLE_S = 0.002
_PRODUCT = 8_192  # rows and columns of the products that stand in for peaks
_COPY_BYTES = 4 << 30
_SPARE_BYTES = 6 << 30  # of the device, for scores and scratch of the scans
_VERSIONS_OF = ("torch", "triton", "late-interaction-kernels", "colpali-engine", "numpy")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all that ran was right; 1: something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default=None, help="as torch names it; default the first GPU")
    parser.add_argument("--budget-s", type=float, default=300.0, help="for timing, about")
    parser.add_argument("--tiles", action="store_true", help="time other tiles of the kernels too")
    parser.add_argument("--history", type=Path, default=HISTORY)
    parsed = parser.parse_args(arguments)
    try:
        device = resolve_device(parsed.device)
    except RagError as error:
        if parsed.device is not None:
            say(f"error: {error.message}\nnext: {error.next_step}")
            return 1
        device = torch.device("cpu")
    on_gpu = device.type == "cuda"
    if not on_gpu:
        os.environ.setdefault("TRITON_INTERPRET", "1")  # before the kernels are made
        say("no CUDA device: the checks run on CPU tensors, the kernels in Triton's interpreter")

    gate, wrong = check(device)
    record: dict[str, Any] = {
        "timed": on_gpu,
        "commit": provenance.commit(),
        "machine": provenance.machine() | _gpu(device),
        "versions": _versions(),
        "gate": gate,
        "wrong": wrong,
    }
    if not on_gpu:
        say("TIMINGS WERE NOT TAKEN: no CUDA device")
        say(json.dumps(record))
        return 1 if wrong else 0

    record["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record["limits"] = limits = measure_limits(device)
    say(_line("limits", limits))
    record["race"], record["skipped"] = race(device, limits, parsed.budget_s * 0.6, wrong)
    record["resident"] = resident_scans(device, limits, parsed.budget_s * 0.4, wrong)
    record["vision"] = vision(device, limits, record["skipped"], wrong)
    if parsed.tiles:
        record["tiles"] = time_tiles(device)
    record["goals"] = _goals(record)
    say(_line("goals", record["goals"]))
    parsed.history.parent.mkdir(parents=True, exist_ok=True)
    with parsed.history.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    say(json.dumps(record))
    return 1 if wrong else 0


# --- right before fast ---------------------------------------------------------------------------


def check(device: Any) -> tuple[dict[str, float], dict[str, str]]:
    """Worst relative error of each storage and backend, and what is wrong with those that fail.

    The reference is float64 MaxSim over the same codes and the same rounding of the query, so what
    remains is the rounding of sums.
    """
    on_gpu = device.type == "cuda"
    rng = np.random.default_rng(0)
    lengths = (1, 0, 31, 32, 33, 700, 1_030, 129) if on_gpu else (1, 0, 31, 32, 33, 70)
    query_lengths = (32, 20, 1, 70) if on_gpu else (20, 3)
    errors: dict[str, float] = {}
    wrong: dict[str, str] = {}
    for dim in (64, 128, 320, 1_024) if on_gpu else (64, 128):
        pages = [_unit(rng, n, dim) for n in lengths]
        queries = [_unit(rng, n, dim) for n in query_lengths]
        for storage in RESIDENT_STORAGES:
            packed = PackedRows.pack(pages, storage)
            reference = np.array(
                [
                    [maxsim(_as_kept(query, storage), packed.page(i)) for i in range(len(pages))]
                    for query in queries
                ]
            )
            kept = ResidentPages.from_packed(packed, budget_bytes=1 << 30, device=str(device))
            for backend in Backend:
                if backend is Backend.LIK and dim > 512:
                    continue  # its tiles are made for smaller ones
                name = f"{storage} {backend} {dim}"
                try:
                    errors[name] = _checked(kept, queries, backend, reference)
                except (RagError, ImportError) as error:
                    say(f"check: {name}: not here ({error!s:.90})")
                    continue
                # Whatever a kernel raises is what the check is for: it is in `wrong`, and the exit
                # code is 1.
                except Exception as error:  # noqa: BLE001  # said as wrong, exit code 1
                    wrong[name] = f"{type(error).__name__}: {error}"[:300]
                if name in wrong or errors[name] > _tolerance(storage):
                    wrong.setdefault(name, f"relative error {errors.get(name)}")
                    say(f"check: {name}: WRONG, {wrong[name]}")
                else:
                    say(f"check: {name}: right, relative error {errors[name]:.1e}")
    return errors, wrong


def _checked(
    kept: ResidentPages, queries: list[FloatArray], backend: Backend, reference: FloatArray
) -> float:
    """Worst error, relative to the highest score; the same bits are an assertion."""
    found = kept.scores(queries, backend=backend)
    if not np.array_equal(np.isinf(found), np.isinf(reference)):
        raise AssertionError(f"a page without rows did not score -inf: {found[0]}")
    if backend is not Backend.LIK:  # its tuning may choose another tile for another call
        order = np.array([len(kept) - 1, 0, 0, 2])
        picked = kept.scores(queries, order, backend=backend)
        if not np.array_equal(picked, found[:, order]):
            raise AssertionError("a page scored other bits among other pages")
        alone = np.vstack([kept.scores([query], backend=backend) for query in queries])
        if kept.storage is not Storage.BF16 and not np.array_equal(alone, found):
            raise AssertionError("a query scored other bits in a batch")
        found = np.where(np.abs(alone - reference) > np.abs(found - reference), alone, found)
    finite = np.isfinite(reference)
    largest = np.abs(reference[finite]).max()
    return float(np.abs(found[finite] - reference[finite]).max() / largest)


def _tolerance(storage: Storage) -> float:
    # Products of codes are exact; those of bf16 are added up in float32 by the matrix unit.
    return 1e-4 if storage is Storage.BF16 else 1e-6


def _as_kept(query: FloatArray, storage: Storage) -> Any:
    if storage is Storage.BF16:
        return quantize.from_bf16(quantize.to_bf16(query))
    codes, scales = quantize.query_to_int8(query)
    return codes.astype(np.float64) * scales[:, None]


# --- what the machine can do ---------------------------------------------------------------------


def measure_limits(device: Any) -> dict[str, float]:
    """Bytes/s of a copy (read and written) and operations/s of products on random numbers."""
    n = _PRODUCT
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device=device).random_(0, 256)
    target = torch.empty_like(source)
    copy_s = min(_seconds(partial(target.copy_, source), repeats=10))
    del source, target
    left = torch.randn((n, n), device=device, dtype=torch.bfloat16)
    right = torch.randn((n, n), device=device, dtype=torch.bfloat16)
    bf16_s = min(_seconds(lambda: left @ right, repeats=10))
    limits = {"copy_bytes_s": 2 * _COPY_BYTES / copy_s, "bf16_ops_s": 2 * n**3 / bf16_s}
    try:
        codes = torch.randint(-127, 128, (n, n), device=device, dtype=torch.int8)
        int8_s = min(_seconds(lambda: torch._int_mm(codes, codes.t()), repeats=10))
        limits["int8_ops_s"] = 2 * n**3 / int8_s
    except (RuntimeError, AttributeError) as error:
        say(f"limits: int8 products not measured ({error!s:.90}); twice bf16 is taken")
        limits["int8_ops_s"] = 2 * limits["bf16_ops_s"]
    torch.cuda.empty_cache()
    return limits


def _seconds(call: Callable[[], Any], *, repeats: int, warm_ups: int = 3) -> list[float]:
    times = []
    for number in range(warm_ups + repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if number >= warm_ups:
            times.append(time.perf_counter() - start)
    return times


# --- pages made on the device --------------------------------------------------------------------


def made_up(
    storage: Storage, n_pages: int, rows_between: tuple[int, int], device: Any
) -> ResidentPages:
    """Random pages of random lengths, both bounds included; every row is about of length 1."""
    low, high = rows_between
    n_rows = np.random.default_rng(1).integers(low, high + 1, n_pages)
    torch.manual_seed(1)
    if storage is Storage.BITS:
        blocks = int((-(-n_rows // quantize.BITS_BLOCK)).sum())
        rows = torch.empty((blocks * 16, DIM // 4), dtype=torch.uint8, device=device)
    else:
        dtype = torch.bfloat16 if storage is Storage.BF16 else torch.int8
        rows = torch.empty((int(n_rows.sum()), DIM), dtype=dtype, device=device)
    for piece in rows.split(1 << 22):
        match storage:
            case Storage.BF16:
                piece.normal_(std=DIM**-0.5)
            case Storage.INT8:
                piece.random_(-127, 128)
            case _:
                piece.random_(0, 256)
    scales = np.full(n_pages, 1 / 830, np.float32) if storage is Storage.INT8 else None
    return ResidentPages(rows, n_rows, storage=storage, dim=DIM, scales=scales)


def _queries(n: int) -> list[FloatArray]:
    rng = np.random.default_rng(2)
    return [_unit(rng, N_QUERY, DIM) for _ in range(n)]


def _unit(rng: np.random.Generator, n: int, dim: int) -> FloatArray:
    rows = rng.standard_normal((n, dim), dtype=np.float32)
    unit: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


# --- beside others -------------------------------------------------------------------------------


def race(
    device: Any, limits: Mapping[str, float], budget_s: float, wrong: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Times by batch and contender on the same ragged pages, and which peers could not take part.

    What goes wrong with one of ours is noted in `wrong`: it is a fault, and no peer to be skipped.
    """
    say(f"race: {N_RACE_PAGES:,} pages of {RACE_ROWS[0]} to {RACE_ROWS[1]} rows, dim {DIM}")
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    pages = {
        storage: made_up(storage, N_RACE_PAGES, RACE_ROWS, device) for storage in RESIDENT_STORAGES
    }
    n_rows = np.random.default_rng(1).integers(RACE_ROWS[0], RACE_ROWS[1] + 1, N_RACE_PAGES)
    for batch in BATCHES:
        queries = _queries(batch)
        expected = pages[Storage.BF16].scores_on_device(queries)
        calls: dict[str, Callable[[], Any]] = {}
        for name, call in _contenders(pages, n_rows, queries, skipped, batch):
            aside = wrong if name.endswith(_OWN) else skipped
            try:
                scores = call()
                torch.cuda.synchronize()
            # Other people's code may raise anything, and must not cost the others their times.
            except Exception as error:  # noqa: BLE001  # said as skipped, or wrong where ours
                aside[f"{name}, batch {batch}"] = f"{type(error).__name__}: {error}"[:200]
                continue
            if name.split()[0] not in ("int8", "bits"):
                off = float((scores.to(expected) - expected).abs().max() / expected.abs().max())
                if off > 2e-2:
                    aside[f"{name}, batch {batch}"] = f"wrong: relative error {off:.1e}"
                    continue
            calls[name] = _synchronized(call)
        times = interleave(
            calls,
            rounds=30,
            budget_s=budget_s / len(BATCHES),
            order=random.Random(0),
            settle_s=_SETTLE_S,
        )
        for name, reason in times.failed.items():
            (wrong if name.endswith(_OWN) else skipped)[f"{name}, batch {batch}"] = reason
        for name, seconds in sorted(times.seconds.items(), key=lambda item: min(item[1])):
            storage = Storage(name.split()[0]) if name.split()[0] in pages else Storage.BF16
            figures = _figures(pages[storage], batch, seconds, limits)
            found[f"{name}, batch {batch}"] = figures
            say(_line(f"batch {batch:2} {name}", figures))
    for name, reason in skipped.items():
        say(f"skipped: {name}: {reason}")
    del pages
    torch.cuda.empty_cache()
    return found, skipped


def _contenders(
    pages: Mapping[Storage, ResidentPages],
    n_rows: Any,
    queries: list[FloatArray],
    skipped: dict[str, str],
    batch: int,
) -> Iterator[tuple[str, Callable[[], Any]]]:
    for storage, kept in pages.items():
        yield f"{storage}{_OWN}", _scan(kept, queries, Backend.TRITON)
    bf16 = pages[Storage.BF16]
    if batch == BATCHES[0]:
        yield "torch", _scan(bf16, queries, Backend.TORCH)
    query = torch.from_numpy(np.stack(queries)).to(bf16.device, torch.bfloat16)
    ragged = bf16.rows.split(n_rows.tolist())
    try:
        lik = peers.load("late_interaction_kernels")
    except Skipped as reason:
        skipped["late-interaction-kernels"] = str(reason)
    else:
        ends = torch.from_numpy(np.concatenate([[0], n_rows.cumsum()]).astype(np.int32))
        ends = ends.to(bf16.device)
        starts = torch.arange(batch + 1, device=bf16.device, dtype=torch.int32) * N_QUERY
        flat = query.flatten(0, 1)
        yield (
            "lik varlen",
            lambda: lik.maxsim_varlen(flat, bf16.rows, starts, ends, N_QUERY, RACE_ROWS[1]),
        )
        padded = torch.nn.utils.rnn.pad_sequence(ragged, batch_first=True)
        counts = torch.from_numpy(n_rows).to(bf16.device)
        mask = torch.arange(padded.shape[1], device=bf16.device)[None, :] < counts[:, None]
        yield "lik padded", lambda: lik.maxsim(query, padded, d_mask=mask)
    try:
        processor = peers.colpali_processor()
    except Skipped as reason:
        skipped["colpali-engine"] = str(reason)
    else:
        os.environ["COLPALI_SCORES_BACKEND"] = "torch"  # its own, not the library above again
        as_list = list(query)
        yield (
            "colpali-engine",
            lambda: processor.score_multi_vector(as_list, ragged, device=bf16.device),
        )


def _scan(
    kept: ResidentPages, queries: list[FloatArray], backend: Backend, n_pages: int | None = None
) -> Callable[[], Any]:
    """A call that scores the first pages; queries are on the device already."""
    prepared = kept.prepare(queries)
    places = kept.everything[:n_pages]
    return lambda: kept.scan(prepared, places, backend)


def _synchronized(call: Callable[[], Any]) -> Callable[[], None]:
    def whole() -> None:
        call()
        torch.cuda.synchronize()

    return whole


def _figures(
    kept: ResidentPages,
    batch: int,
    seconds: Sequence[float],
    limits: Mapping[str, float],
    share: float = 1.0,
) -> dict[str, float]:
    """Times and rates; shares of the limits are of the least the work asks of the machine."""
    n_pages = round(kept.n_resident * share)
    best = min(seconds)
    vectors = len(kept.rows) * (2 if kept.storage is Storage.BITS else 1) * share
    ops_s = limits["bf16_ops_s" if kept.storage is Storage.BF16 else "int8_ops_s"]
    return {
        "n_pages": n_pages,
        "rounds": len(seconds),
        "min_ms": round(best * 1e3, 4),
        "median_ms": round(median(seconds) * 1e3, 4),
        "pages_s": round(n_pages / best),
        "query_pages_s": round(batch * n_pages / best),
        "memory_share": round(kept.size_bytes * share / best / limits["copy_bytes_s"], 4),
        "compute_share": round(2 * vectors * DIM * N_QUERY * batch / best / ops_s, 4),
    }


# --- as many pages as fit ------------------------------------------------------------------------


def resident_scans(
    device: Any, limits: Mapping[str, float], budget_s: float, wrong: dict[str, str]
) -> dict[str, Any]:
    """Exact scans of all resident pages; pages at the far end are held to the reference first."""
    found: dict[str, Any] = {}
    for storage in RESIDENT_STORAGES:
        free, _ = torch.cuda.mem_get_info(device)
        row_bytes = {Storage.BF16: 2 * DIM, Storage.INT8: DIM}.get(storage, DIM / 8)
        page_bytes = SCAN_ROWS[1] * row_bytes * (1.02 if storage is Storage.BITS else 1)
        n_pages = int((free - _SPARE_BYTES) * 0.97 / page_bytes)
        say(f"resident: {n_pages:,} {storage} pages of {SCAN_ROWS[0]} to {SCAN_ROWS[1]} rows")
        try:
            kept = made_up(storage, n_pages, SCAN_ROWS, device)
            error = _far_error(kept)
        except (RagError, RuntimeError) as failure:
            wrong[f"{storage} resident"] = f"{type(failure).__name__}: {failure}"[:300]
            say(f"resident: {storage}: {wrong[f'{storage} resident']}")
            torch.cuda.empty_cache()
            continue
        if error > _tolerance(storage):
            wrong[f"{storage} resident"] = f"relative error {error:.1e}"
            say(f"resident: {storage}: WRONG, relative error {error:.1e}")
        else:
            sizes = {n_pages} | ({N_SCAN_PAGES} if n_pages > N_SCAN_PAGES else set())
            jobs = {
                (batch, n): _synchronized(_scan(kept, _queries(batch), Backend.TRITON, n))
                for batch in BATCHES
                for n in sizes
                if batch == 1 or n == n_pages
            }
            for job in jobs.values():
                job()
            times = interleave(
                {f"{batch} {n}": job for (batch, n), job in jobs.items()},
                rounds=20,
                budget_s=budget_s / len(RESIDENT_STORAGES),
                order=random.Random(0),
                settle_s=_SETTLE_S,
            )
            for batch, n in jobs:
                seconds = times.seconds[f"{batch} {n}"]
                name = f"{storage}, batch {batch}, {n} pages"
                found[name] = _figures(kept, batch, seconds, limits, n / n_pages)
                say(_line(name, found[name]))
        del kept
        jobs = {}
        torch.cuda.empty_cache()
    return found


def _far_error(kept: ResidentPages) -> float:
    """Worst relative error of pages from end to end, by float64 on the CPU."""
    places = np.unique(np.linspace(0, len(kept) - 1, 7).astype(np.int64))
    query = _queries(1)[0]
    found = kept.scores([query], backend=Backend.TRITON)[0, places]
    whole = kept.scores([query], places, backend=Backend.TRITON)[0]
    if not np.array_equal(found, whole):
        raise RuntimeError("a page scored other bits among candidates than in the whole scan")
    wanted = np.array([maxsim(_as_kept(query, kept.storage), kept.page(int(i))) for i in places])
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


# --- a vision encoder ----------------------------------------------------------------------------


def vision(
    device: Any, limits: Mapping[str, float], skipped: dict[str, str], wrong: dict[str, str]
) -> dict[str, Any]:
    """Figures of `eval.bench.vision_gpu`; none where its libraries are missing, or it is wrong."""
    try:
        peers.colpali_engine()
    except Skipped as reason:
        skipped["vision encoder"] = str(reason)
        return {}
    from eval.bench import vision_gpu

    faults = vision_gpu.check(str(device))
    wrong |= faults
    return {} if faults else vision_gpu.measure(str(device), limits, say)


# --- other tiles ---------------------------------------------------------------------------------


def time_tiles(device: Any) -> dict[str, float]:
    """Least milliseconds of the race's pages by storage, batch and tile, to choose defaults by."""
    found: dict[str, float] = {}
    for storage in RESIDENT_STORAGES:
        kept = made_up(storage, N_RACE_PAGES, RACE_ROWS, device)
        for batch in (1, 8):
            prepared = kept.prepare(_queries(batch))
            for tile in _tiles(storage, batch):
                name = f"{storage}, batch {batch}, {tile}"
                try:
                    call = partial(kept.scan, prepared, kept.everything, Backend.TRITON, tile=tile)
                    found[name] = round(min(_seconds(call, repeats=8, warm_ups=2)) * 1e3, 4)
                except (TritonError, RuntimeError) as error:  # more than the device has room for
                    say(f"tile: {name}: {error!s:.90}")
                else:
                    say(f"tile: {name}: {found[name]:.3f} ms")
        del kept
        torch.cuda.empty_cache()
    return found


def _tiles(storage: Storage, batch: int) -> list[Any]:
    from rag.scoring.maxsim_triton import Tile

    n_query_rows = min(128, N_QUERY * batch)
    pages_first = [
        Tile(True, n_page_rows, n_query_rows, n_warps, n_stages)
        for n_page_rows in (64, 128)
        for n_warps in (4, 8)
        for n_stages in (2, 3, 4, 6)
    ]
    if batch == 1 or storage is Storage.BITS:
        return pages_first
    return pages_first[:4] + [
        Tile(False, n_page_rows, n_query_rows, n_warps, n_stages)
        for n_page_rows in (64, 128)
        for n_query_rows in (64, 128, 256)
        for n_warps in (4, 8)
        for n_stages in (2, 3)
    ]


# --- what is said --------------------------------------------------------------------------------


def _goals(record: Mapping[str, Any]) -> dict[str, Any]:
    """Each goal's figure, None where it could not be measured, and whether it is met."""
    race_, resident = record["race"], record["resident"]
    ours = race_.get("bf16 own, batch 1")
    peers = [
        figures["min_ms"]
        for name, figures in race_.items()
        if name.endswith(", batch 1")
        and not name.split(",")[0].endswith("own")
        and not name.startswith("torch")
    ]
    scan = resident.get(f"bf16, batch 1, {N_SCAN_PAGES} pages")
    shares = [
        figures["memory_share"]
        for name, figures in resident.items()
        if name.startswith("bf16, batch 1,")
    ]
    values = {
        "memory_share": max(shares, default=None),
        "scan_300000_ms": scan and scan["min_ms"],
        "times_best_peer": round(min(peers) / ours["min_ms"], 3) if ours and peers else None,
    }
    met = {
        name: None
        if value is None
        else value <= GOALS[name]
        if name.endswith("_ms")
        else value >= GOALS[name]
        for name, value in values.items()
    }
    return values | {"met": met}


def _line(name: str, figures: Mapping[str, Any]) -> str:
    return f"{name:34} " + "  ".join(
        f"{key} {value:,.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in figures.items()
    )


def _gpu(device: Any) -> dict[str, Any]:
    if device.type != "cuda":
        return {"gpu": None}
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": properties.name,
        "gpu_memory_bytes": properties.total_memory,
        "n_processors": properties.multi_processor_count,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONS_OF:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


if __name__ == "__main__":
    sys.exit(main())
