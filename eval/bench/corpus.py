"""Ten thousand pages and their exact ranking, made once and kept on disk.

Pages are made a block at a time: all of them in float32 would be 5 GB. What is kept is float16,
int8 and sign bits of every page, queries of two kinds, and the score of each page for each query by
float32 MaxSim. The float32 pages themselves are made again where they are wanted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from eval.bench.made_up import DIM, EASY, HARD, Pages
from rag.geometry import FloatArray
from rag.scoring import quantize
from rag.scoring.fde import FdeEncoder
from rag.scoring.packed import PackedRows, Storage, maxsim_packed

NOISE = {"easy": EASY, "hard": HARD}
_BLOCK = 100  # pages of 1,030 rows: 53 MB in float32


@dataclass(frozen=True)
class Corpus:
    """What the sections on many pages measure with.

    Attributes:
        folder: of this corpus; other things made of the same pages are kept there too.
        source: makes a page's float32 rows again.
        fp16: all pages.
        int8: all pages.
        bits: all pages.
        queries: `easy` and `hard`: (n_queries, n_query, DIM).
        exact: the same two: (n_queries, n_pages) scores.
    """

    folder: Path
    source: Pages
    fp16: PackedRows
    int8: PackedRows
    bits: PackedRows
    queries: dict[str, FloatArray]
    exact: dict[str, FloatArray]

    @property
    def n_pages(self) -> int:
        return len(self.int8)

    def pages(self) -> Iterator[FloatArray]:
        """Float32 rows, page after page."""
        for block in _blocks(self.source, self.n_pages):
            yield from block

    def exact_best(self, kind: str, n: int) -> list[list[int]]:
        return [
            [int(number) for number in np.argsort(-scores, kind="stable")[:n]]
            for scores in self.exact[kind]
        ]

    def fdes(self, encoder: FdeEncoder, say: Callable[[str], object]) -> FloatArray:
        """(n_pages, fde_size) float32, kept by the encoder's fingerprint."""
        path = self.folder / f"fde-{encoder.fingerprint[:16]}.npy"
        if not path.exists():
            say(f"encoding {self.n_pages:,} pages, once")
            unfinished = path.with_suffix(".new")
            shape = (self.n_pages, encoder.spec.fde_size)
            out = open_memmap(unfinished, mode="w+", dtype=np.float32, shape=shape)
            done = 0
            for block in _blocks(self.source, self.n_pages):
                out[done : done + len(block)] = encoder.encode_pages(block)
                done += len(block)
            out.flush()
            unfinished.rename(path)
        return np.asarray(np.load(path, mmap_mode="r"))


def prepare(
    source: Pages,
    n_pages: int,
    n_rows: int,
    n_queries: int,
    cache: Path,
    say: Callable[[str], object],
) -> Corpus:
    """The corpus in the cache, made first where it is not there.

    Args:
        source: of `n_pages` pages of `n_rows` rows.
        n_pages: of all of it.
        n_rows: of each page.
        n_queries: of each kind.
        cache: folder of all corpora; 4.2 GB for 10,000 pages of 1,030 rows.
        say: told what takes long.
    """
    folder = cache / f"{source.key}-{n_queries}"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        say(f"making {n_pages:,} pages of {n_rows:,} rows and ranking them exactly, once")
        _make(source, n_pages, n_rows, n_queries, unfinished, say)
        unfinished.rename(folder)
    n_blocks = -(-n_rows // quantize.BITS_BLOCK)
    lengths = np.full(n_pages, n_rows, dtype=np.int64)
    numbers = np.arange(n_pages, dtype=np.int64)
    return Corpus(
        folder=folder,
        source=source,
        int8=PackedRows(
            Storage.INT8,
            DIM,
            _resident(folder / "int8.npy"),
            numbers * n_rows,
            lengths,
            np.load(folder / "scales.npy"),
        ),
        fp16=PackedRows(
            Storage.FP16, DIM, _resident(folder / "fp16.npy"), numbers * n_rows, lengths
        ),
        bits=PackedRows(
            Storage.BITS, DIM, _resident(folder / "bits.npy"), numbers * n_blocks, lengths
        ),
        queries={kind: np.load(folder / f"queries-{kind}.npy") for kind in NOISE},
        exact={kind: np.load(folder / f"exact-{kind}.npy") for kind in NOISE},
    )


def _make(
    source: Pages,
    n_pages: int,
    n_rows: int,
    n_queries: int,
    folder: Path,
    say: Callable[[str], object],
) -> None:
    n_blocks = -(-n_rows // quantize.BITS_BLOCK)

    def kept(name: str, dtype: npt.DTypeLike, *shape: int) -> Any:
        return open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)

    fp16 = kept("fp16", np.float16, n_pages * n_rows, DIM)
    int8 = kept("int8", np.uint8, n_pages * n_rows, DIM)
    bits = kept("bits", np.uint8, n_pages * n_blocks, DIM * quantize.BITS_GROUP)
    scales = np.zeros(n_pages, dtype=np.float32)
    queries = {kind: source.queries(n_queries, noise) for kind, noise in NOISE.items()}
    exact = {kind: np.empty((n_queries, n_pages), dtype=np.float32) for kind in NOISE}
    done = 0
    for block in _blocks(source, n_pages):
        for number, page in enumerate(block, start=done):
            fp16[number * n_rows : (number + 1) * n_rows] = page
            codes, scales[number] = quantize.to_int8(page)
            int8[number * n_rows : (number + 1) * n_rows] = codes
            bits[number * n_blocks : (number + 1) * n_blocks] = quantize.to_bits(page)
        packed = PackedRows.pack(block, Storage.FP32)
        for kind, asked in queries.items():
            for index, query in enumerate(asked):
                exact[kind][index, done : done + len(block)] = maxsim_packed(query, packed)
        done += len(block)
        if done % 1000 == 0:
            say(f"{done:,} of {n_pages:,} pages")
    fp16.flush()
    int8.flush()
    bits.flush()
    np.save(folder / "scales.npy", scales)
    for kind in NOISE:
        np.save(folder / f"queries-{kind}.npy", queries[kind])
        np.save(folder / f"exact-{kind}.npy", exact[kind])


def _blocks(source: Pages, n_pages: int) -> Iterator[list[FloatArray]]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, n_pages, _BLOCK):
            yield list(threads.map(source.page, range(start, min(start + _BLOCK, n_pages))))


def _resident(path: Path) -> npt.NDArray[Any]:
    """A mapped file whose bytes are in memory when timing begins."""
    mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    for start in range(0, len(mapped), 1 << 16):
        mapped[start : start + (1 << 16)].max()
    # A plain array over the same memory: code meant for arrays is not slowed by a subclass.
    return mapped.view(np.ndarray)
