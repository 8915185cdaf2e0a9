"""Section `fde`: fixed-dimensional encodings of full pages, 5 bits, 20 repetitions, projection 16.

Ours is held to the definition, a row and a cell at a time. fastembed draws other matrices and fills
empty cells by another rule, so it is held to the definition with its own matrices, where cells have
rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.bench import peers
from eval.bench.contender import Contender, Effort, Entry, Gate, Outcome, race
from eval.bench.machine import Cost, Machine
from eval.bench.made_up import DIM, MadeUpPages
from rag.geometry import FloatArray
from rag.scoring import native
from rag.scoring.fde import FdeEncoder, FdeSpec

SPEC = FdeSpec(dim=DIM, repetitions=20, simhash_bits=5, projection_dim=16)
TOLERANCE = 1e-5
_PEER_PAGES = 2  # a second each; the rest is scaled by count


def by_definition(
    encoder: FdeEncoder, page: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """A page's encoding in float64, one row and one cell at a time.

    Returns:
        (repetitions, n_cells, block_dim), and (repetitions, n_cells) which cells have rows.
    """
    spec = encoder.spec
    blocks = np.zeros((spec.repetitions, spec.n_cells, spec.block_dim))
    has_rows = np.zeros((spec.repetitions, spec.n_cells), dtype=np.bool_)
    rows = page.astype(np.float64)
    for repetition in range(spec.repetitions):
        bits = rows @ encoder.hyperplanes[repetition].astype(np.float64) > 0
        projected = (
            rows
            if encoder.projections is None
            else rows @ encoder.projections[repetition].astype(np.float64)
        )
        for cell in range(spec.n_cells):
            code = cell ^ (cell >> 1)  # cells are numbered in Gray code, the first bit highest
            wanted = [bool(code >> bit & 1) for bit in reversed(range(spec.simhash_bits))]
            distance = [sum(a != b for a, b in zip(row, wanted, strict=True)) for row in bits]
            members = [number for number, bits_off in enumerate(distance) if bits_off == 0]
            has_rows[repetition, cell] = bool(members)
            if members:
                blocks[repetition, cell] = projected[members].mean(axis=0)
            elif spec.fill:
                blocks[repetition, cell] = projected[int(np.argmin(distance))]
    return blocks.astype(np.float32), has_rows


def run(
    n_pages: int,
    effort: Effort,
    *,
    say: Callable[[str], object],
    machine: Machine | None = None,
    n_rows: int = 1030,
) -> Outcome:
    made_up = MadeUpPages(n_pages, n_rows)
    pages = [made_up.page(number) for number in range(n_pages)]
    return race(
        "fde",
        f"{n_pages} pages of {n_rows:,} x {DIM} to {SPEC.fde_size:,} numbers each",
        [
            Entry("octavo", lambda: _ours(pages)),
            Entry("fastembed Muvera", lambda: _fastembed(pages)),
        ],
        effort,
        say=say,
        machine=machine,
        facts={
            "native": native.status().detail,
            "n_pages": n_pages,
            "fastembed": f"timed on {min(_PEER_PAGES, n_pages)} pages, scaled to all by count",
        },
    )


def _cost(n_pages: int, n_rows: int) -> Cost:
    """Every row meets every hyperplane and is added up once a repetition; cells are projected."""
    hashed = 2 * n_rows * DIM * SPEC.repetitions * SPEC.simhash_bits
    added = n_rows * DIM * SPEC.repetitions
    projected = 2 * SPEC.repetitions * SPEC.n_cells * DIM * SPEC.block_dim
    return Cost(float(n_pages * (hashed + added + projected)), "fp32", n_pages * n_rows * DIM * 4.0)


def _ours(pages: list[FloatArray]) -> Contender:
    encoder = FdeEncoder(SPEC)

    def check(encoded: FloatArray) -> Gate:
        expected, _ = by_definition(encoder, pages[0])
        error = float(np.abs(encoded[0] - expected.ravel()).max())
        shaped = encoded.shape == (len(pages), SPEC.fde_size) and bool(np.isfinite(encoded).all())
        return Gate(shaped and error <= TOLERANCE, {"max_error": error})

    return Contender(
        "octavo",
        lambda: encoder.encode_pages(pages),
        check,
        ours=True,
        cost=_cost(len(pages), len(pages[0])),
    )


def _fastembed(pages: list[FloatArray]) -> Contender:
    muvera: Any = peers.load("fastembed", "postprocess").Muvera(
        DIM, SPEC.simhash_bits, SPEC.projection_dim, SPEC.repetitions
    )
    sample = pages[:_PEER_PAGES]

    def check(encoded: list[FloatArray]) -> Gate:
        same = FdeEncoder(
            SPEC,
            hyperplanes=np.stack([each.simhash_vectors for each in muvera.simhash_projections]),
            projections=muvera.dim_reduction_projections / np.sqrt(SPEC.block_dim),
        )
        expected, has_rows = by_definition(same, sample[0])
        found = np.asarray(encoded[0]).reshape(expected.shape)[:, _plain_numbers()]
        error = float(np.abs(found - expected)[has_rows].max())
        return Gate(error <= TOLERANCE, {"max_error": error})

    return Contender(
        "fastembed Muvera",
        lambda: [muvera.process_document(page) for page in sample],
        check,
        scale=len(pages) / len(sample),
        cost=_cost(len(pages), len(pages[0])),
    )


def _plain_numbers() -> list[int]:
    """The number fastembed gives each of our cells: no Gray code, the first bit lowest."""
    numbers = []
    for cell in range(SPEC.n_cells):
        code = cell ^ (cell >> 1)
        numbers.append(int(f"{code:0{SPEC.simhash_bits}b}"[::-1], 2))
    return numbers
