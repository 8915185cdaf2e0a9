"""Section `maxsim`: one query of 32 rows against ragged pages that lie in memory.

What a scorer makes of the pages is made before; what it makes of the query is part of its time.
Everybody is held to float64 MaxSim over the same float32 pages first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eval.bench import edge_peers, peers
from eval.bench.contender import Contender, Effort, Entry, Gate, Outcome, race
from eval.bench.machine import Cost, Machine
from eval.bench.made_up import DIM, EASY, MadeUpPages
from rag.geometry import FloatArray
from rag.scoring import native
from rag.scoring.blas import one_blas_thread
from rag.scoring.maxsim import maxsim
from rag.scoring.packed import PackedRows, Storage, maxsim_packed

N_BEST = 10
_SHORTEST, _LONGEST = 700, 1030  # rows of a page
_BLOCK = 8  # pages of one product

# Storage -> bytes of a value, what bounds it, largest relative error, least share of the top ten.
_OURS = {
    Storage.FP32: (4.0, "fp32", 1e-6, 1.0),
    Storage.FP16: (2.0, "fp32", 1e-3, 0.9),
    Storage.BF16: (2.0, "bf16", 1e-2, 0.9),
    Storage.INT8: (1.0, "int8", 3e-3, 0.9),
    Storage.BITS: (0.125, "bits", 2e-2, 0.5),
}


@dataclass(frozen=True)
class Task:
    """Pages, the query, and what is right."""

    pages: Sequence[FloatArray]
    query: FloatArray
    exact: FloatArray

    @property
    def n_rows(self) -> int:
        return sum(map(len, self.pages))

    def cost(self, kind: str, bytes_a_value: float) -> Cost:
        values = float(self.n_rows) * DIM
        return Cost(2.0 * values * len(self.query), kind, values * bytes_a_value)


def make_task(n_pages: int, *, rows: tuple[int, int] = (_SHORTEST, _LONGEST)) -> Task:
    """Pages of `rows` from, to; the first page of the query's is among them."""
    made_up = MadeUpPages(n_pages, rows[1])
    lengths = np.random.default_rng(17).integers(rows[0], rows[1] + 1, n_pages)
    pages = [
        np.ascontiguousarray(made_up.page(number)[:length]) for number, length in enumerate(lengths)
    ]
    query = made_up.queries(1, EASY)[0]
    return Task(pages, query, reference(query, pages))


def reference(query: FloatArray, pages: Sequence[FloatArray]) -> Any:
    """(n_pages,) float64."""
    return np.array([maxsim(query, page) for page in pages])


def gate(
    scores: Any, exact: Any, *, error: float | None, overlap: float, against: Any = None
) -> Gate:
    """Hold scores of all pages to the exact ones.

    Args:
        scores: (n_pages,) higher is better.
        exact: (n_pages,) float64.
        error: largest relative difference; None where scores are of another scale.
        overlap: least share of the exact top ten among the first ten.
        against: what `error` is held to, where that is not `exact`.
    """
    found = np.asarray(scores, dtype=np.float64).ravel()
    if len(found) != len(exact) or not np.isfinite(found).all():
        return Gate(False, {"finite_scores": int(np.isfinite(found).sum()), "pages": len(exact)})
    against = exact if against is None else against
    n_best = min(N_BEST, len(exact))
    share = len(set(best(found, n_best)) & set(best(exact, n_best))) / n_best
    figures = {"top10_overlap": share}
    passed = share >= overlap
    if error is not None:
        figures["max_relative_error"] = float(np.abs(found / against - 1).max())
        passed = passed and figures["max_relative_error"] <= error
    return Gate(passed, figures)


def best(scores: Any, n: int) -> list[int]:
    return [int(number) for number in np.argsort(-np.asarray(scores), kind="stable")[:n]]


def run(
    n_pages: int,
    effort: Effort,
    *,
    say: Callable[[str], object],
    machine: Machine | None = None,
    rows: tuple[int, int] = (_SHORTEST, _LONGEST),
) -> Outcome:
    task = make_task(n_pages, rows=rows)
    status = native.status()
    with tempfile.TemporaryDirectory(prefix="octavo-bench-") as scratch:
        return race(
            f"maxsim_{n_pages}",
            f"one query of {len(task.query)} x {DIM} against {n_pages:,} pages of "
            f"{rows[0]:,} to {rows[1]:,} rows",
            entries(task, Path(scratch)),
            effort,
            say=say,
            machine=machine,
            facts={"native": status.detail, "n_rows": task.n_rows},
        )


def entries(task: Task, scratch: Path) -> list[Entry]:
    """Ours first, then peers."""
    return [
        *(Entry(f"octavo {storage}", partial(ours, task, storage)) for storage in Storage),
        *(Entry(name, partial(make, task)) for name, make in _PEERS.items()),
        *(
            Entry(f"qdrant-edge {kind}", partial(_edge, task, kind, scratch / kind))
            for kind in edge_peers.KINDS
        ),
    ]


def ours(task: Task, storage: Storage) -> Contender:
    packed = PackedRows.pack(task.pages, storage)
    bytes_a_value, kind, error, overlap = _OURS[storage]
    against = task.exact
    if (
        storage is Storage.BITS
    ):  # the scores are those of the signs; only the ranking is of the rows
        against = reference(task.query, [packed.page(number) for number in range(len(packed))])

    return Contender(
        f"octavo {storage}",
        lambda: maxsim_packed(task.query, packed),
        lambda scores: gate(scores, task.exact, error=error, overlap=overlap, against=against),
        ours=True,
        cost=task.cost(kind, bytes_a_value),
    )


def _peer(
    task: Task,
    name: str,
    call: Callable[[], Any],
    *,
    error: float | None = 1e-4,
    overlap: float = 0.9,
    kind: str = "fp32",
    bytes_a_value: float = 4.0,
) -> Contender:
    return Contender(
        name,
        call,
        lambda scores: gate(scores, task.exact, error=error, overlap=overlap),
        cost=task.cost(kind, bytes_a_value),
    )


def _colpali(task: Task, *, half: bool) -> Contender:
    processor, torch = peers.colpali_processor(), peers.load("torch")
    kept = torch.bfloat16 if half else torch.float32
    pages = [torch.from_numpy(page).to(kept) for page in task.pages]
    query = torch.from_numpy(task.query)

    def call() -> Any:
        with torch.inference_mode():
            return processor.score_multi_vector([query.to(kept)], pages, device="cpu")[0]

    if half:
        name = "colpali-engine bf16"
        return _peer(task, name, call, error=2e-2, overlap=0.7, kind="bf16", bytes_a_value=2.0)
    return _peer(task, "colpali-engine fp32", call)


def _padded(task: Task) -> tuple[Any, Any]:
    """(n_pages, longest, DIM) rows and (n_pages, longest) which of them are some."""
    torch = peers.load("torch")
    rows = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(page) for page in task.pages], batch_first=True
    )
    lengths = torch.tensor([len(page) for page in task.pages])
    return rows, torch.arange(rows.shape[1])[None] < lengths[:, None]


def _late_interaction_kernels(task: Task) -> Contender:
    scorer = peers.load("late_interaction_kernels").MaxSimScorer(normalize=False)
    torch = peers.load("torch")
    rows, mask = _padded(task)
    query = torch.from_numpy(task.query)

    def call() -> Any:
        with torch.inference_mode():
            return scorer.score(query[None], rows, d_mask=mask)[0]

    return _peer(task, "late-interaction-kernels fp32", call)


def _maxsim_cpu(task: Task) -> Contender:
    library, pages = peers.load("maxsim_cpu"), list(task.pages)
    return _peer(task, "maxsim-cpu fp32", lambda: library.maxsim_scores_variable(task.query, pages))


def _torch_naive(task: Task) -> Contender:
    torch = peers.load("torch")
    rows, mask = _padded(task)
    query = torch.from_numpy(task.query)

    def call() -> Any:
        with torch.inference_mode():
            similarity = torch.einsum("qd,nrd->nqr", query, rows)
            return similarity.masked_fill_(~mask[:, None], -torch.inf).amax(2).sum(1)

    return _peer(task, "torch, one einsum", call)


def _torch_blocked(task: Task) -> Contender:
    torch = peers.load("torch")
    query = torch.from_numpy(task.query)
    blocks = []
    for start in range(0, len(task.pages), _BLOCK):
        pages = task.pages[start : start + _BLOCK]
        blocks.append((torch.from_numpy(np.concatenate(pages)), [len(page) for page in pages]))

    def call() -> Any:
        with torch.inference_mode():
            scores = [
                similarity.amax(0).sum()
                for rows, lengths in blocks
                for similarity in (rows @ query.T).split(lengths)
            ]
            return torch.stack(scores)

    return _peer(task, f"torch, a product each {_BLOCK} pages", call)


def _numpy(task: Task) -> Contender:
    def call() -> Any:
        return np.array([(page @ task.query.T).max(axis=0).sum() for page in task.pages])

    return _peer(task, "numpy, a product a page", call)


def single_loop(task: Task) -> Contender:
    """The plainest program there is, on one thread: what a busy machine is judged by."""

    def call() -> Any:
        with one_blas_thread():
            return np.array([(page @ task.query.T).max(axis=0).sum() for page in task.pages])

    return _peer(task, "plain loop, one thread", call)


def _edge(task: Task, kind: str, folder: Path) -> Contender:
    search = edge_peers.exact_multi_vectors(task.pages, kind, folder)
    name, cost = f"qdrant-edge {kind}", {"fp32": 4.0, "fp16": 2.0}.get(kind, 0.125)
    if kind == "bits":  # of both sides, in a scale of its own
        return _peer(
            task,
            name,
            lambda: search(task.query),
            error=None,
            overlap=0.5,
            kind="bits",
            bytes_a_value=cost,
        )
    error = 1e-4 if kind == "fp32" else 1e-2
    return _peer(task, name, lambda: search(task.query), error=error, bytes_a_value=cost)


_PEERS: dict[str, Callable[[Task], Contender]] = {
    "colpali-engine fp32": partial(_colpali, half=False),
    "colpali-engine bf16": partial(_colpali, half=True),
    "late-interaction-kernels fp32": _late_interaction_kernels,
    "maxsim-cpu fp32": _maxsim_cpu,
    "torch, one einsum": _torch_naive,
    f"torch, a product each {_BLOCK} pages": _torch_blocked,
    "numpy, a product a page": _numpy,
}
