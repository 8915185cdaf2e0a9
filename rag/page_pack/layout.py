"""The bytes of a packed page and of its entry in the table.

A change here is a new `FORMAT_VERSION`: packs of another version are rebuilt from the index.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring import quantize
from rag.scoring.packed import MAX_DIM, IntArray, takes_dim
from rag.scoring.quantize import ByteArray

FORMAT_VERSION = 2
Table = npt.NDArray[Any]  # of ENTRY

_MAX_FLOAT16 = float(np.finfo(np.float16).max)
# What float16 rounds to zero: a tie between 0 and the least it can hold goes to 0.
_ZERO_IN_FLOAT16 = np.float32(2.0**-25)


class Part(StrEnum):
    """What is kept of a page, each in a file of its own."""

    FP16 = "fp16"
    INT8 = "int8"
    BITS = "bits"
    FDE = "fde"


class EntryState(IntEnum):
    """DEAD: gone, its bytes may still be there. ERASED: its bytes are zeros."""

    LIVE = 1
    DEAD = 2
    ERASED = 3


# 64 bytes, so that an entry never straddles a sector of the disk and is written whole or not.
ENTRY = np.dtype(
    [
        ("record_id", "u1", 16),
        ("first_row", "<u8"),
        ("first_block", "<u8"),
        ("n_rows", "<u4"),
        ("scale", "<f4"),
        ("crc_fp16", "<u4"),
        ("crc_int8", "<u4"),
        ("crc_bits", "<u4"),
        ("crc_fde", "<u4"),
        ("state", "<u4"),
        ("crc", "<u4"),  # of the 60 bytes before
    ]
)
assert ENTRY.itemsize == 64
_CHECKED_BYTES = ENTRY.itemsize - 4


@dataclass(frozen=True)
class PackSpec:
    """What a pack holds; one of another spec cannot be read.

    Attributes:
        dim: of the page vectors; a multiple of 16 from 16 to 8,192.
        fde_size: values of an FDE.
        fde_fingerprint: of the matrices that the FDEs were made with.
    """

    dim: int
    fde_size: int
    fde_fingerprint: str

    def __post_init__(self) -> None:
        if not takes_dim(self.dim) or self.fde_size < 1:
            raise ShapeError(
                f"packed pages want a dim of 16 to {MAX_DIM:,} by 16 and an FDE, "
                f"got dim {self.dim} and an FDE of {self.fde_size}",
                next_step="Choose an encoder of such a dim; one of your own may fill its vectors "
                "up with zeros, which changes no score.",
            )

    def unit_bytes(self, part: Part) -> int:
        """Bytes of a row (fp16, int8), of a block of 32 rows (bits), of a page (fde)."""
        match part:
            case Part.FP16:
                return self.dim * 2
            case Part.INT8:
                return self.dim
            case Part.BITS:
                return self.dim * quantize.BITS_GROUP
            case Part.FDE:
                return -(-self.fde_size // 64) * 8

    def page_bytes(self, n_rows: int) -> int:
        """What a page takes on disk."""
        return (
            n_rows * (self.unit_bytes(Part.FP16) + self.unit_bytes(Part.INT8))
            + n_blocks(n_rows) * self.unit_bytes(Part.BITS)
            + self.unit_bytes(Part.FDE)
            + ENTRY.itemsize
        )


@dataclass(frozen=True, eq=False)
class PackedPage:
    """A page to pack.

    Attributes:
        record_id: a UUID in its usual writing.
        patches: (n, dim) as handed to the index or as read from it: both give the same bytes.
        fde: (fde_size,), also either way; None for a page without patches.
    """

    record_id: str
    patches: FloatArray
    fde: FloatArray | None


@dataclass(frozen=True, eq=False)
class EncodedPage:
    """The bytes of a page: rows (n, dim * 2) and (n, dim), blocks (n, dim * 4), FDE (1, bytes)."""

    record_id: bytes
    fp16: ByteArray
    int8: ByteArray
    scale: float
    bits: ByteArray
    fde: ByteArray

    def data(self, part: Part) -> ByteArray:
        match part:
            case Part.FP16:
                return self.fp16
            case Part.INT8:
                return self.int8
            case Part.BITS:
                return self.bits
            case Part.FDE:
                return self.fde


def n_blocks(n_rows: int) -> int:
    return -(-n_rows // quantize.BITS_BLOCK)


def table_units(table: Table, part: Part) -> tuple[IntArray, IntArray]:
    """(n,) first row, block or page of each entry, and how many it takes."""
    n_rows = table["n_rows"].astype(np.int64)
    match part:
        case Part.FP16 | Part.INT8:
            return table["first_row"].astype(np.int64), n_rows
        case Part.BITS:
            return table["first_block"].astype(np.int64), -(-n_rows // quantize.BITS_BLOCK)
        case Part.FDE:
            return np.arange(len(table), dtype=np.int64), np.ones(len(table), np.int64)


def encode(page: PackedPage, spec: PackSpec) -> EncodedPage:
    """Quantise what float16 keeps of the page, since that is what the index can give back.

    Raises:
        ShapeError: an id that is no UUID; another dim or FDE size; NaN, infinite values or more
            than float16 can hold; a row of zeros; patches without an FDE, or an FDE without them.
    """
    where = f"record {page.record_id!r}"
    record_id = _id_bytes(page.record_id, where)
    patches = page.patches
    if patches.ndim != 2 or patches.shape[1] != spec.dim:
        raise ShapeError(f"patches of {where} want shape (n, {spec.dim}), got {patches.shape}")
    if not np.abs(patches).max(initial=0.0) <= _MAX_FLOAT16:  # written so that NaN fails too
        raise ShapeError(f"patches of {where} hold NaN, infinite values or more than float16 can")
    if not patches.any(axis=1).all():
        raise ShapeError(f"patches of {where} hold a row of zeros; leave it out instead")
    if (page.fde is not None) != (len(patches) > 0):
        has = "no FDE" if page.fde is None else "an FDE"
        raise ShapeError(
            f"{where} has {len(patches)} patches and {has}; both or neither are packed"
        )
    half = np.ascontiguousarray(patches, dtype=np.float16)
    kept = half.astype(np.float32)
    codes, scale = quantize.to_int8(kept)
    return EncodedPage(
        record_id=record_id,
        fp16=half.view(np.uint8),
        int8=codes,
        scale=scale,
        bits=quantize.to_bits(kept),
        fde=np.zeros((1, spec.unit_bytes(Part.FDE)), np.uint8)
        if page.fde is None
        else _fde_signs(page.fde, spec, where),
    )


def entry(page: EncodedPage, *, first_row: int, first_block: int) -> Table:
    """The page's (1,) entry of the table: live, and yet to be sealed."""
    made = np.zeros(1, ENTRY)
    made["record_id"] = np.frombuffer(page.record_id, np.uint8)
    made["first_row"] = first_row
    made["first_block"] = first_block
    made["n_rows"] = len(page.int8)
    made["scale"] = page.scale
    for part in Part:
        made[f"crc_{part}"] = zlib.crc32(page.data(part).data)
    made["state"] = EntryState.LIVE
    return made


def seal(table: Table) -> Table:
    """The same entries with their checksums."""
    sealed = table.copy()
    sealed["crc"] = _checksums(table)
    return sealed


def intact(table: Table) -> npt.NDArray[np.bool_]:
    """(n,) which entries are as they were sealed."""
    return np.asarray(table["crc"] == _checksums(table))


def record_ids(table: Table) -> list[str]:
    """In their usual writing, whatever the entry's state."""
    text = np.ascontiguousarray(table["record_id"]).tobytes().hex()
    return [
        f"{text[i : i + 8]}-{text[i + 8 : i + 12]}-{text[i + 12 : i + 16]}"
        f"-{text[i + 16 : i + 20]}-{text[i + 20 : i + 32]}"
        for i in range(0, len(text), 32)
    ]


def _checksums(table: Table) -> npt.NDArray[np.uint32]:
    data = memoryview(table.tobytes())
    return np.array(
        [
            zlib.crc32(data[start : start + _CHECKED_BYTES])
            for start in range(0, len(data), ENTRY.itemsize)
        ],
        dtype=np.uint32,
    )


def _id_bytes(record_id: str, where: str) -> bytes:
    try:
        parsed = uuid.UUID(record_id)
    except ValueError as error:
        raise ShapeError(f"{where}: the id must be a UUID") from error
    if str(parsed) != record_id:
        raise ShapeError(f"{where}: the id must be written {str(parsed)!r}")
    return parsed.bytes


def _fde_signs(fde: FloatArray, spec: PackSpec, where: str) -> ByteArray:
    """(1, FDE bytes): bit i, lowest first, is set where value i is above 0 in float16."""
    if fde.shape != (spec.fde_size,):
        raise ShapeError(f"the FDE of {where} wants shape ({spec.fde_size},), got {fde.shape}")
    if not np.isfinite(fde).all():
        raise ShapeError(f"the FDE of {where} holds NaN or infinite values")
    signs = np.zeros((1, spec.unit_bytes(Part.FDE)), np.uint8)
    packed = np.packbits(fde > _ZERO_IN_FLOAT16, bitorder="little")
    signs[0, : len(packed)] = packed
    return signs
