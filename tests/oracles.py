"""Oracles that several tests share: slow, written from the definitions, obviously right."""

from __future__ import annotations

import numpy as np

from rag.geometry import FloatArray
from rag.scoring.fde import FdeEncoder


def fde_by_the_letter(encoder: FdeEncoder, vectors: FloatArray, *, is_page: bool) -> FloatArray:
    """The definition, one row and one cell at a time: projects every row, adds up afterwards."""
    spec, out = encoder.spec, []
    for repetition in range(spec.repetitions):
        bits, cells, projected = [], [], []
        for row in vectors.astype(np.float64):
            products = row @ encoder.hyperplanes[repetition].astype(np.float64)
            bits.append([1 if product > 0 else 0 for product in products])
            cell = 0
            for bit in bits[-1]:
                cell = 2 * cell + (bit ^ (cell % 2))
            cells.append(cell)
            projected.append(
                row if encoder.projections is None else row @ encoder.projections[repetition]
            )
        for cell in range(2**spec.simhash_bits):
            digits = f"{cell ^ (cell // 2):0{spec.simhash_bits}b}" if spec.simhash_bits else ""
            members = [p for p, own in zip(projected, cells, strict=True) if own == cell]
            block = np.sum(members, axis=0) if members else np.zeros(spec.block_dim)
            if is_page and members:
                block = block / len(members)
            elif is_page and spec.fill:
                distances = [
                    sum(bit != int(digit) for bit, digit in zip(row_bits, digits, strict=True))
                    for row_bits in bits
                ]
                block = projected[distances.index(min(distances))]
            out.append(block)
    return np.concatenate(out)
