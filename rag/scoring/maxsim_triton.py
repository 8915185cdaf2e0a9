"""GPU kernels for MaxSim over ragged pages: bf16, int8, and sign bits unpacked in registers.

A program streams the row tiles of one page (or of a slice of it) past a tile of query rows and
keeps the best of each query row; a second kernel adds the bests up, always in the same order. No
padding of pages, no similarity matrix: a tile beyond a page's end reads its last row again, which
changes no maximum. Only rag/scoring/maxsim_torch.py imports this file.
"""

# Triton's constants are in capitals (N803); it reads a kernel's annotations as code, and its
# decorator has no types (mypy).
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, misc, untyped-decorator"

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

from rag.scoring.packed import Storage

# Read when the kernels are made, as Triton itself does.
IS_INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"
_AS_FLOAT = tl.constexpr(IS_INTERPRETED)  # the interpreter has no bf16 products
_NO_BEST_INT = tl.constexpr(-(2**31))  # below every product of codes
SUM_ROWS = 32  # query rows added up side by side: the order of every sum, so a constant
SUM_PAGES = 32
_SAME_ROUNDING = {"enable_fp_fusion": False}  # products and sums round as they do elsewhere


@dataclass(frozen=True)
class Tile:
    """What one program holds.

    Attributes:
        pages_first: page rows are the rows of the matrix unit's result, which pays for few query
            rows; otherwise query rows are.
        n_page_rows: rows of the resident tensor in a tile.
        n_query_rows: query rows in a tile; pages are read again, from the cache, for each tile.
        n_warps: of a program.
        n_stages: tiles in flight.
    """

    pages_first: bool
    n_page_rows: int
    n_query_rows: int
    n_warps: int
    n_stages: int


def default_tile(storage: Storage, n_query_rows: int) -> Tile:
    """Sized for 227 kB of shared memory and 64k registers a multiprocessor (Hopper)."""
    few = max(32, triton.next_power_of_2(n_query_rows))
    match storage:
        case Storage.BF16:
            return Tile(True, 64, few, 4, 4) if few <= 64 else Tile(False, 128, 128, 8, 3)
        case Storage.INT8:
            return Tile(True, 128, few, 4, 4) if few <= 64 else Tile(False, 128, 128, 8, 3)
        case _:
            return Tile(True, 64, min(few, 64), 4, 4)


@triton.jit
def _lowest_bits(codes, IN_WORDS: tl.constexpr):
    """The lowest bit of each byte, 0 or 1."""
    if IN_WORDS:
        # Four bytes an instruction; byte by byte the unpacking would take longer than the products.
        bits = tl.inline_asm_elementwise(
            "and.b32 $0, $1, 0x01010101;", "=r,r", [codes], dtype=tl.int8, is_pure=True, pack=4
        )
    else:
        bits = (codes & 1).to(tl.int8)
    return bits


@triton.jit
def _shifted(codes, N: tl.constexpr, IN_WORDS: tl.constexpr):
    """Each byte moved down by 1 or 4 bits; in words the next byte's bits come in at the top.

    They stay above the lowest bit for the seven moves that a byte takes.
    """
    if IN_WORDS and N == 1:
        codes = tl.inline_asm_elementwise(
            "shr.b32 $0, $1, 1;", "=r,r", [codes], dtype=tl.uint8, is_pure=True, pack=4
        )
    elif IN_WORDS:
        codes = tl.inline_asm_elementwise(
            "shr.b32 $0, $1, 4;", "=r,r", [codes], dtype=tl.uint8, is_pure=True, pack=4
        )
    else:
        codes = codes >> N
    return codes


@triton.jit
def _product(page, query, best, PAGES_FIRST: tl.constexpr):
    """Adds page (R, K) times query (Q, K) to (R, Q), or to (Q, R)."""
    if _AS_FLOAT and page.dtype == tl.bfloat16:
        page = page.to(tl.float32)
        query = query.to(tl.float32)
    if PAGES_FIRST:
        added = tl.dot(page, tl.trans(query), best, out_dtype=best.dtype)
    else:
        added = tl.dot(query, tl.trans(page), best, out_dtype=best.dtype)
    return added


# Another number of query rows must not cost another compilation.
_SIZES = ["n_query", "n_slices", "slice_rows"]


@triton.jit(do_not_specialize=_SIZES)
def _best_rows(
    rows,  # (n, DIM) bf16 or int8
    query,  # (n_query, DIM) of the same type
    maxima,  # (n_places * n_slices, n_query) float32 or int32
    first,  # (n_pages,) int64
    n_rows,  # (n_pages,) int32
    among,  # (n_places,) int64
    n_query,
    n_slices,
    slice_rows,
    DIM: tl.constexpr,
    IS_INT: tl.constexpr,
    PAGES_FIRST: tl.constexpr,
    R: tl.constexpr,
    Q: tl.constexpr,
    K: tl.constexpr,
    STAGES: tl.constexpr,
):
    program = tl.program_id(0)
    # The query tiles of one page run side by side, so that its rows come from memory once.
    n_tiles = tl.cdiv(n_query, Q)
    slot = program // n_tiles
    page = tl.load(among + slot // n_slices)
    begin = (slot % n_slices) * slice_rows
    length = tl.load(n_rows + page)
    end = tl.minimum(begin + slice_rows, length)
    base = rows + tl.load(first + page) * DIM

    query_row = (program % n_tiles) * Q + tl.arange(0, Q)
    query_row_read = tl.minimum(query_row, n_query - 1)
    column = tl.arange(0, K)
    result: tl.constexpr = tl.int32 if IS_INT else tl.float32
    nothing = _NO_BEST_INT if IS_INT else float("-inf")
    shape: tl.constexpr = (R, Q) if PAGES_FIRST else (Q, R)
    best = tl.full(shape, nothing, result)

    if K >= DIM:
        query_tile = tl.load(
            query + query_row_read[:, None] * DIM + column[None, :],
            mask=(column < DIM)[None, :],
            other=0,
        )
        for start in tl.range(begin, end, R, num_stages=STAGES):
            row = tl.minimum(start + tl.arange(0, R), length - 1)
            page_tile = tl.load(
                base + row[:, None] * DIM + column[None, :],
                mask=(column < DIM)[None, :],
                other=0,
            )
            similarity = _product(page_tile, query_tile, tl.zeros(shape, result), PAGES_FIRST)
            best = tl.maximum(best, similarity)
    else:
        # Rows and pieces of the dimensions in one loop, so that loads run ahead across rows too.
        n_pieces: tl.constexpr = (DIM + K - 1) // K
        similarity = tl.zeros(shape, result)
        for step in tl.range(0, tl.cdiv(end - begin, R) * n_pieces, num_stages=STAGES):
            piece = step % n_pieces
            row = tl.minimum(begin + (step // n_pieces) * R + tl.arange(0, R), length - 1)
            at = piece * K + column
            page_tile = tl.load(
                base + row[:, None] * DIM + at[None, :], mask=(at < DIM)[None, :], other=0
            )
            query_tile = tl.load(
                query + query_row_read[:, None] * DIM + at[None, :],
                mask=(at < DIM)[None, :],
                other=0,
            )
            similarity = tl.where(piece == 0, tl.zeros(shape, result), similarity)
            similarity = _product(page_tile, query_tile, similarity, PAGES_FIRST)
            is_whole = piece == n_pieces - 1
            best = tl.where(is_whole, tl.maximum(best, similarity), best)

    found = tl.max(best, axis=0 if PAGES_FIRST else 1)
    tl.store(maxima + slot.to(tl.int64) * n_query + query_row, found, mask=query_row < n_query)


@triton.jit(do_not_specialize=_SIZES)
def _best_signs(
    rows,  # (n, WIDTH) uint8: four signs each of two rows a byte
    query,  # (n_query, 4, WIDTH) int8: dimensions 4 i + p at [:, p, i]
    maxima,  # (n_places * n_slices, n_query) int32: sums of the codes where the sign is +
    first,  # (n_pages,) int64, in rows of `rows`
    n_rows,  # (n_pages,) int32, in rows of `rows`
    among,
    n_query,
    n_slices,
    slice_rows,
    WIDTH: tl.constexpr,
    IN_WORDS: tl.constexpr,
    R: tl.constexpr,
    Q: tl.constexpr,
    K: tl.constexpr,
    STAGES: tl.constexpr,
):
    program = tl.program_id(0)
    n_tiles = tl.cdiv(n_query, Q)
    slot = program // n_tiles
    page = tl.load(among + slot // n_slices)
    begin = (slot % n_slices) * slice_rows
    length = tl.load(n_rows + page)
    end = tl.minimum(begin + slice_rows, length)
    base = rows + tl.load(first + page) * WIDTH

    query_row = (program % n_tiles) * Q + tl.arange(0, Q)
    query_base = query + tl.minimum(query_row, n_query - 1)[:, None] * (4 * WIDTH)
    column = tl.arange(0, K)
    best = tl.full((R, Q), _NO_BEST_INT, tl.int32)
    for start in tl.range(begin, end, R, num_stages=STAGES):
        row = tl.minimum(start + tl.arange(0, R), length - 1)
        for half in tl.static_range(2):  # two rows share a byte
            sums = tl.zeros((R, Q), tl.int32)
            for piece in tl.static_range(0, WIDTH, K):
                inside = (piece + column < WIDTH)[None, :]
                codes = tl.load(
                    base + row[:, None] * WIDTH + (piece + column)[None, :], mask=inside, other=0
                )
                if half == 1:
                    codes = _shifted(codes, 4, IN_WORDS)
                for plane in tl.static_range(4):
                    query_tile = tl.load(
                        query_base + plane * WIDTH + (piece + column)[None, :],
                        mask=inside,
                        other=0,
                    )
                    bits = _lowest_bits(codes, IN_WORDS)
                    sums = tl.dot(bits, tl.trans(query_tile), sums, out_dtype=tl.int32)
                    codes = _shifted(codes, 1, IN_WORDS)
            best = tl.maximum(best, sums)
    tl.store(
        maxima + slot.to(tl.int64) * n_query + query_row,
        tl.max(best, axis=0),
        mask=query_row < n_query,
    )


@triton.jit(do_not_specialize=["n_query", "n_slices", "n_places", "stride"])
def _add_up(
    maxima,  # (n_places * n_slices, n_query)
    factor,  # (n_query,) float32
    offset,  # (n_query,) int32, taken from twice the maximum of signs
    page_factor,  # (n_pages,) float32
    n_rows,
    among,
    query_first,  # (n_queries,) int32
    query_rows,  # (n_queries,) int32
    scores,  # (n_queries, row stride) float32, from the first place of this call
    n_places,
    n_slices,
    n_query,
    stride,
    IS_SIGNS: tl.constexpr,
    P: tl.constexpr,
    Q: tl.constexpr,
):
    which = tl.program_id(1)
    place = tl.program_id(0) * P + tl.arange(0, P)
    is_place = place < n_places
    page = tl.load(among + place, mask=is_place, other=0)
    begin = tl.load(query_first + which)
    length = tl.load(query_rows + which)
    total = tl.zeros((P, Q), tl.float32)
    for start in range(0, length, Q):
        row = start + tl.arange(0, Q)
        inside = is_place[:, None] & (row < length)[None, :]
        at = (place.to(tl.int64) * n_slices * n_query)[:, None] + (begin + row)[None, :]
        best = tl.load(maxima + at, mask=inside, other=0)
        for piece in range(1, n_slices):
            best = tl.maximum(best, tl.load(maxima + at + piece * n_query, mask=inside, other=0))
        if IS_SIGNS:
            taken = tl.load(offset + begin + row, mask=row < length, other=0)
            best = 2 * best - taken[None, :]
        scale = tl.load(factor + begin + row, mask=row < length, other=0.0)
        total += tl.where(inside, best.to(tl.float32) * scale[None, :], 0.0)
    score = tl.sum(total, axis=1) * tl.load(page_factor + page, mask=is_place, other=0.0)
    is_empty = tl.load(n_rows + page, mask=is_place, other=0) == 0
    tl.store(
        scores + which.to(tl.int64) * stride + place,
        tl.where(is_empty, float("-inf"), score),
        mask=is_place,
    )


def scan(
    storage: Storage,
    *,
    rows: Any,
    first: Any,
    n_rows: Any,
    page_factor: Any,
    query: Any,
    factor: Any,
    offset: Any,
    query_first: Any,
    query_rows: Any,
    places: Any,
    scores: Any,
    longest: int,
    n_processors: int,
    scratch_bytes: int,
    tile: Tile | None = None,
) -> None:
    """Fills `scores` (n_queries, n_places) float32; all tensors on one device, nothing checked.

    Args:
        storage: bf16, int8 or bits; layouts as in `ResidentPages`.
        rows: (n, width) rows of all pages.
        first: (n_pages,) int64 row at which a page begins.
        n_rows: (n_pages,) int32 rows of `rows` that a page takes.
        page_factor: (n_pages,) float32, what a page's score is multiplied by.
        query: (n_query, dim) rows of all queries, bfloat16 or int8; of bits (n_query, 4, dim / 4),
            dimension 4 i + p at [:, p, i].
        factor: (n_query,) float32, what a row's products are multiplied by.
        offset: (n_query,) int32 sums of a row's codes.
        query_first: (n_queries,) int32; query_rows likewise.
        query_rows: rows of each query.
        places: (n_places,) int64 page numbers.
        scores: written.
        longest: rows of the longest page.
        n_processors: multiprocessors of the device.
        scratch_bytes: bests of query rows kept at a time.
        tile: None is the default.
    """
    n_query, n_queries = len(query), len(query_first)
    tile = tile or default_tile(storage, n_query)
    n_tiles = triton.cdiv(n_query, tile.n_query_rows)
    n_slices, slice_rows = _slices(len(places) * n_tiles, longest, tile.n_page_rows, n_processors)
    step = max(16, scratch_bytes // (4 * n_query * n_slices) // 16 * 16)  # keeps slices aligned
    like = factor if storage is Storage.BF16 else offset  # float32 or int32
    maxima = like.new_empty((min(step, len(places)) * n_slices, n_query))
    for begin in range(0, len(places), step):
        among = places[begin : begin + step]
        n_places = len(among)
        grid = (n_places * n_slices * n_tiles,)
        where = (rows, query, maxima, first, n_rows, among, n_query, n_slices, slice_rows)
        kernel, sizes = _kernel(storage, rows.shape[1], tile)
        kernel[grid](
            *where,
            **sizes,
            R=tile.n_page_rows,
            Q=tile.n_query_rows,
            STAGES=tile.n_stages,
            num_warps=tile.n_warps,
            **_SAME_ROUNDING,
        )
        _add_up[(triton.cdiv(n_places, SUM_PAGES), n_queries)](
            maxima,
            factor,
            offset,
            page_factor,
            n_rows,
            among,
            query_first,
            query_rows,
            scores[:, begin : begin + n_places],
            n_places,
            n_slices,
            n_query,
            scores.stride(0),
            IS_SIGNS=storage is Storage.BITS,
            P=SUM_PAGES,
            Q=SUM_ROWS,
            num_warps=4,
            **_SAME_ROUNDING,
        )


def _kernel(storage: Storage, width: int, tile: Tile) -> tuple[Any, dict[str, Any]]:
    """The kernel of a storage, and its sizes beside the tile's.

    A product takes all dimensions at once up to 128, else pieces that waste little: powers of two,
    of 8-bit codes at least 32.
    """
    power = triton.next_power_of_2(width)
    if storage is Storage.BITS:
        piece = max(32, min(64, power))
        return _best_signs, {"WIDTH": width, "IN_WORDS": not IS_INTERPRETED, "K": piece}
    piece = max(32, power) if width <= 128 else 128 if width % 128 == 0 else 64
    return _best_rows, {
        "DIM": width,
        "IS_INT": storage is Storage.INT8,
        "PAGES_FIRST": tile.pages_first,
        "K": piece,
    }


def _slices(n_programs: int, longest: int, tile_rows: int, n_processors: int) -> tuple[int, int]:
    """Pieces a page is cut into, so that few pages fill the device too, and rows of a piece."""
    wanted = -(-4 * n_processors // max(1, n_programs))
    tiles = max(1, -(-longest // tile_rows))
    tiles_of_slice = -(-tiles // min(wanted, tiles))
    return -(-tiles // tiles_of_slice), tiles_of_slice * tile_rows
