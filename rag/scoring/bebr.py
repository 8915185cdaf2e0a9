"""Vectors as stacked planes of signs, so that bits a dimension are a dial (BEBR).

A code of n bits is n sign vectors b_0 ... b_u with a weight each; it stands for their weighted sum.
Networks that were trained make them (`BebrNetworks`, weights 2^-j), or nothing was trained and each
plane takes the signs of what the planes before it leave over (`residual_codes`). Bit 1 is +1, and 0
has the sign -1.

Source: Gan et al. 2023, Binary Embedding-based Retrieval at Tencent (arXiv:2302.08714), for the
recurrence; the weights 2^-j are not verified against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.errors import ConfigError, ShapeError
from rag.geometry import FloatArray
from rag.scoring.quantize import ByteArray

MAX_BITS = 8
_ROTATED_TOGETHER = 512  # dimensions; a dense rotation of more is slow to draw and to keep
_BATCH_NORM_EPSILON = 1e-5
_SIGNS = (2 * (np.arange(256)[:, None] >> np.arange(8) & 1) - 1).astype(np.float32)  # (256, 8)


@dataclass(frozen=True, eq=False)
class BitCodes:
    """Codes of n vectors.

    Attributes:
        dim: signs in a plane.
        planes: (n, n_bits, ceil(dim / 8)), lowest bit first; bits beyond `dim` are 0.
        weights: (n, n_bits) of the planes.
    """

    dim: int
    planes: ByteArray
    weights: FloatArray

    def __len__(self) -> int:
        return len(self.planes)

    @property
    def n_bits(self) -> int:
        return int(self.planes.shape[1])

    def bits(self) -> ByteArray:
        """(n, n_bits, dim) of 0 and 1."""
        return np.unpackbits(self.planes, axis=2, count=self.dim, bitorder="little")

    def dense(self) -> npt.NDArray[np.float64]:
        """(n, dim) that the codes stand for."""
        signs = self.bits().astype(np.float64) * 2 - 1
        found: npt.NDArray[np.float64] = np.einsum("nb,nbd->nd", self.weights, signs)
        return found

    def decoded(self) -> FloatArray:
        """The same in float32 and much faster: eight signs are looked up at a time."""
        n, n_bits, n_bytes = self.planes.shape
        found = np.zeros((n, n_bytes, 8), np.float32)
        for bit in range(n_bits):
            found += _SIGNS[self.planes[:, bit]] * self.weights[:, bit, None, None]
        return found.reshape(n, 8 * n_bytes)[:, : self.dim]


def fixed_weights(n_bits: int) -> FloatArray:
    """(n_bits,) 1, 1/2, 1/4, ...: with them a dimension has 2^n_bits equally spaced values."""
    return np.exp2(-np.arange(n_bits)).astype(np.float32)


def pack(signs: npt.NDArray[Any], weights: FloatArray) -> BitCodes:
    """Codes of signs.

    Args:
        signs: (n, n_bits, dim); what is above 0 becomes bit 1.
        weights: (n, n_bits), or (n_bits,) of all.

    Raises:
        ShapeError: shapes that do not fit, or more than 8 bits.
    """
    if signs.ndim != 3 or not 1 <= signs.shape[1] <= MAX_BITS:
        raise ShapeError(f"codes want signs (n, 1 to {MAX_BITS}, dim), got {signs.shape}")
    n, n_bits, dim = signs.shape
    if weights.shape not in ((n_bits,), (n, n_bits)):
        raise ShapeError(f"{n_bits} planes want a weight each, got {weights.shape}")
    planes = np.packbits(signs > 0, axis=2, bitorder="little")
    return BitCodes(dim, planes, np.broadcast_to(weights, (n, n_bits)).astype(np.float32))


# --- without training ---------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Rotation:
    """A random rotation: signs say most of a vector where its length is spread over dimensions.

    Of more than 512 dimensions, shuffled blocks are rotated each by itself.

    Attributes:
        order: (dim,) in which dimensions are dealt to the blocks.
        blocks: orthogonal (size, size), sizes adding up to dim.
    """

    order: npt.NDArray[np.int64]
    blocks: tuple[FloatArray, ...]

    @classmethod
    def drawn(cls, dim: int, *, seed: int) -> Rotation:
        rng = np.random.default_rng([seed, dim])
        order = rng.permutation(dim)
        blocks = []
        for begin in range(0, dim, _ROTATED_TOGETHER):
            size = min(_ROTATED_TOGETHER, dim - begin)
            q, r = np.linalg.qr(rng.standard_normal((size, size)))
            blocks.append((q * np.sign(np.diag(r))).astype(np.float32))  # evenly distributed
        return cls(order, tuple(blocks))

    def apply(self, rows: FloatArray) -> FloatArray:
        """(n, dim), with the lengths and angles they had."""
        dealt = rows[:, self.order]
        begins = np.cumsum([0, *(len(block) for block in self.blocks)]).tolist()
        turned = [
            dealt[:, begin:end] @ block
            for block, begin, end in zip(self.blocks, begins, begins[1:], strict=False)
        ]
        return np.concatenate(turned, axis=1)


def residual_codes(rows: FloatArray, n_bits: int, weights: FloatArray | None = None) -> BitCodes:
    """Each plane takes the signs of what those before it leave over: e' = e - a sign(e).

    Args:
        rows: (n, dim), rotated.
        n_bits: 1 to 8.
        weights: (n_bits,) as a; None takes mean |e| of each row, with which what is left over never
            grows: it is the projection on the signs that goes.
    """
    left = rows.astype(np.float32)
    planes, used = [], np.zeros((len(rows), n_bits), np.float32)
    for bit in range(n_bits):
        signs = np.where(left > 0, np.float32(1), np.float32(-1))
        used[:, bit] = np.abs(left).mean(axis=1) if weights is None else weights[bit]
        left = left - used[:, bit, None] * signs
        planes.append(signs)
    return pack(np.stack(planes, axis=1), used)


def scaled(codes: BitCodes, rows: FloatArray) -> BitCodes:
    """The same codes with weights that give <row, code> = <row, row>.

    What a code loses in length depends on how many bits it has; this takes it out on average, so
    that scores of codes and scores of vectors can stand in one ranking.

    Args:
        codes: of `rows`.
        rows: (n, dim) that were coded.
    """
    own = np.einsum("nd,nd->n", rows, codes.dense())
    length = np.einsum("nd,nd->n", rows, rows).astype(np.float64)
    factor = np.divide(length, own, out=np.zeros_like(length), where=own > 0)
    return BitCodes(codes.dim, codes.planes, (codes.weights * factor[:, None]).astype(np.float32))


# --- with networks that were trained ------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Network:
    """Linear, batch norm as at inference, ReLU, linear: (n, in) to (n, out)."""

    in_weight: FloatArray  # (hidden, in)
    in_bias: FloatArray  # (hidden,)
    norm_mean: FloatArray  # (hidden,)
    norm_variance: FloatArray  # (hidden,)
    norm_weight: FloatArray  # (hidden,)
    norm_bias: FloatArray  # (hidden,)
    out_weight: FloatArray  # (out, hidden)
    out_bias: FloatArray  # (out,)

    def __call__(self, rows: FloatArray) -> FloatArray:
        hidden = rows @ self.in_weight.T + self.in_bias
        scale = self.norm_weight / np.sqrt(self.norm_variance + _BATCH_NORM_EPSILON)
        hidden = (hidden - self.norm_mean) * scale + self.norm_bias
        found: FloatArray = np.maximum(hidden, 0) @ self.out_weight.T + self.out_bias
        return found


@dataclass(frozen=True, eq=False)
class BebrNetworks:
    """What was trained: `binarize[0]` reads the vector, `binarize[j]` what is left over after j
    planes, `rebuild[j - 1]` turns the code of j planes back into a vector.
    """

    binarize: tuple[Network, ...]
    rebuild: tuple[Network, ...]

    @property
    def n_bits(self) -> int:
        return len(self.binarize)

    @classmethod
    def load(cls, path: Path) -> BebrNetworks:
        """Arrays named as in `binarize0.in_weight` and `rebuild1.out_bias`; no pickles.

        Raises:
            ConfigError: a file that cannot be read, arrays that are missing or do not fit.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found = {name: arrays[name].astype(np.float32) for name in arrays.files}
            n_bits = len({name.partition(".")[0] for name in found if name.startswith("binarize")})
            binarize = [_network(found, f"binarize{j}") for j in range(n_bits)]
            rebuild = [_network(found, f"rebuild{j}") for j in range(1, n_bits)]
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"networks of codes cannot be read from {path.name!r}: {error}",
                next_step="Write arrays binarize0.in_weight, ... with numpy.savez.",
            ) from error
        if not 1 <= n_bits <= MAX_BITS:
            raise ConfigError(
                f"{path.name!r} has networks for {n_bits} bits, wants 1 to {MAX_BITS}"
            )
        return cls(tuple(binarize), tuple(rebuild))

    def codes(self, rows: FloatArray, n_bits: int | None = None) -> BitCodes:
        """(n, dim) of unit length, coded with the first `n_bits` planes."""
        rows = _normalized(rows)
        signs: list[FloatArray] = []
        for bit in range(self.n_bits if n_bits is None else n_bits):
            if bit == 0:
                left = rows
            else:
                weights = fixed_weights(bit)
                code: FloatArray = np.einsum("b,bnd->nd", weights, np.stack(signs))
                left = rows - _normalized(self.rebuild[bit - 1](code))
            found = self.binarize[bit](left)
            signs.append(np.where(found > 0, np.float32(1), np.float32(-1)))
        return pack(np.stack(signs, axis=1), fixed_weights(len(signs)))


def _network(arrays: dict[str, FloatArray], name: str) -> Network:
    fields = Network.__dataclass_fields__
    return Network(**{field: arrays[f"{name}.{field}"] for field in fields})


def _normalized(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


# --- how near codes are -------------------------------------------------------------------------
def dot_by_planes(queries: BitCodes, pages: BitCodes) -> npt.NDArray[np.float64]:
    """(n_queries, n_pages) dot products by XOR and counting bits, a pair of planes at a time.

    Two planes that differ in h of m signs have the dot product m - 2 h.
    """
    _same_dim(queries, pages)
    total = np.zeros((len(queries), len(pages)))
    for a in range(queries.n_bits):
        for b in range(pages.n_bits):
            differing = queries.planes[:, None, a] ^ pages.planes[None, :, b]
            hamming = np.bitwise_count(differing).sum(axis=2, dtype=np.int64)
            weight = np.outer(
                queries.weights[:, a].astype(np.float64), pages.weights[:, b].astype(np.float64)
            )
            total += weight * (queries.dim - 2 * hamming)
    return total


def dot_by_table(queries: BitCodes, pages: BitCodes) -> npt.NDArray[np.float64]:
    """The same for codes with weights 2^-j, by a table of the products of two levels.

    A dimension's bits are one number, its level; of two levels of n bits there are 4^n products,
    all whole numbers once the weights are multiplied by 2^(n - 1).

    Raises:
        ShapeError: other weights, for which there is no common table.
    """
    _same_dim(queries, pages)
    n_bits = queries.n_bits
    for codes in (queries, pages):
        if codes.n_bits != n_bits or (codes.weights != fixed_weights(n_bits)).any():
            raise ShapeError("a table wants as many bits on both sides, and the weights 2^-j")
    odd = 2 * np.arange(2**n_bits, dtype=np.int64) - (2**n_bits - 1)
    products = np.multiply.outer(odd, odd)  # (levels, levels)
    of_pages = _levels(pages)
    total = np.empty((len(queries), len(pages)))
    for index, levels in enumerate(_levels(queries)):
        total[index] = products[levels[None], of_pages].sum(axis=1)
    return total * 4.0 ** (1 - n_bits)


def _levels(codes: BitCodes) -> npt.NDArray[np.int64]:
    """(n, dim): the bits of a dimension as a number, the first plane the highest."""
    powers = 1 << np.arange(codes.n_bits - 1, -1, -1)
    found: npt.NDArray[np.int64] = np.einsum("nbd,b->nd", codes.bits().astype(np.int64), powers)
    return found


def _same_dim(queries: BitCodes, pages: BitCodes) -> None:
    if queries.dim != pages.dim:
        raise ShapeError(f"codes of {queries.dim} dimensions met codes of {pages.dim}")
