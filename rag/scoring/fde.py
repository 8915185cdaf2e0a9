"""Fixed-dimensional encodings: one vector a page whose dot product ranks nearly like MaxSim.

Source: Dhulipala et al. 2024, MUVERA (arXiv:2405.19504); numbering of cells and the fill rule as in
Google's reference code. The scores estimate repetitions * MaxSim from below: they rank candidates,
and are never thresholded or mixed with MaxSim. Reasons and measurements: docs/adr/0005-fde.md.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from rag.durable_files import new_file, sync_file
from rag.errors import IndexMismatch, IndexUnavailable, ShapeError
from rag.geometry import FloatArray
from rag.scoring import native
from rag.scoring.blas import one_blas_thread

# Raised whenever the same matrices would give other vectors: it is part of the fingerprint.
_VERSION = "octavo-fde-1"
_REBUILD = "Ingest again into a new collection, or restore the file that belongs to this index."


@dataclass(frozen=True)
class FdeSpec:
    """What shapes an encoding.

    Attributes:
        dim: of the rows that go in.
        repetitions: independent partitions of space; more is what helps most.
        simhash_bits: hyperplanes a repetition; 2^bits cells.
        projection_dim: a cell's `dim` is projected to this; None keeps it as it is.
        inner: entries +-1/sqrt(projection_dim) ("dense", the paper) or one +-1 a row ("sketch", the
            reference code). Both leave dot products unbiased.
        fill: a page's empty cells take the nearest row; without it they stay zero.
    """

    dim: int
    repetitions: int = 40
    simhash_bits: int = 5
    projection_dim: int | None = 16
    seed: int = 20240529
    inner: Literal["dense", "sketch"] = "dense"
    fill: bool = True

    def __post_init__(self) -> None:
        if min(self.dim, self.repetitions, self.block_dim) < 1 or not 0 <= self.simhash_bits <= 8:
            raise ShapeError(
                "an FDE wants dim, repetitions and projection_dim of at least 1 and 0 to 8 "
                f"simhash_bits, got {self}"
            )

    @property
    def n_cells(self) -> int:
        return 1 << self.simhash_bits

    @property
    def block_dim(self) -> int:
        """Coordinates of one cell."""
        return self.dim if self.projection_dim is None else self.projection_dim

    @property
    def fde_size(self) -> int:
        return self.repetitions * self.n_cells * self.block_dim


class FdeEncoder:
    """Encodes both sides with the same random matrices. Thread-safe; gives up the GIL in products.

    Attributes:
        spec: what it was drawn from.
        hyperplanes: (repetitions, dim, simhash_bits) float32.
        projections: (repetitions, dim, projection_dim) float32; None where rows stay as they are.
        fingerprint: SHA-256 over version, spec and matrices. Vectors of different fingerprints must
            never meet.
    """

    def __init__(
        self,
        spec: FdeSpec,
        *,
        hyperplanes: FloatArray | None = None,
        projections: FloatArray | None = None,
    ) -> None:
        """Draws the matrices from the seed, unless they are given.

        Raises:
            ShapeError: a given matrix that does not fit the spec.
        """
        # Two streams: drawn from one, hyperplanes and projections would depend on each other.
        for_planes, for_projections = np.random.SeedSequence(spec.seed).spawn(2)
        if hyperplanes is None:
            hyperplanes = _draw_hyperplanes(spec, np.random.default_rng(for_planes))
        if projections is None and spec.projection_dim is not None:
            projections = _draw_projections(spec, np.random.default_rng(for_projections))
        self.spec = spec
        self.hyperplanes = _matrices(
            hyperplanes, (spec.repetitions, spec.dim, spec.simhash_bits), "hyperplanes"
        )
        self.projections = (
            None
            if projections is None
            else _matrices(projections, (spec.repetitions, spec.dim, spec.block_dim), "projections")
        )
        self.fingerprint = self._compute_fingerprint()
        # (dim, repetitions * bits): one product gives every bit of every repetition
        self._planes = np.ascontiguousarray(
            self.hyperplanes.transpose(1, 0, 2).reshape(spec.dim, -1)
        )
        self._prepared: dict[str, native.FdeMatrices] = {}  # by instruction set
        self._cell_offset = np.arange(spec.repetitions) * spec.n_cells
        bits_of_cell = np.arange(spec.n_cells) ^ (np.arange(spec.n_cells) >> 1)
        self._hamming = np.bitwise_count(bits_of_cell[:, None] ^ bits_of_cell).astype(np.int64)

    # --- encoding -------------------------------------------------------------------------------
    def encode_query(self, vectors: FloatArray) -> FloatArray:
        """(n_query, dim) to (fde_size,): rows of a cell are added up, empty cells stay zero.

        Raises:
            ShapeError: no rows, another dim, NaN or infinite values.
        """
        rows = self._rows(vectors)
        if (library := self._library()) is not None:
            return self._encode_natively(library, [rows], is_query=True).ravel()
        with one_blas_thread():
            sums, _ = self._sum_by_cell(rows, self._cells(rows))
            return self._project(sums)

    def encode_page(self, vectors: FloatArray) -> FloatArray:
        """(n_page, dim) to (fde_size,): a cell is the mean of its rows; an empty one is filled.

        An empty cell takes the row whose bits are nearest in Hamming distance to the cell's; of
        several the first.

        Raises:
            ShapeError: no rows, another dim, NaN or infinite values.
        """
        rows = self._rows(vectors)
        if (library := self._library()) is not None:
            return self._encode_natively(library, [rows]).ravel()
        with one_blas_thread():
            cells = self._cells(rows)
            blocks, counts = self._sum_by_cell(rows, cells)
            blocks /= np.maximum(counts, 1)[:, None]
            if self.spec.fill:
                empty = np.flatnonzero(counts == 0)
                blocks[empty] = rows[self._nearest_rows(cells).ravel()[empty]]
            return self._project(blocks)

    def encode_pages(self, pages: Sequence[FloatArray]) -> FloatArray:
        """(n_pages, fde_size); a page gives the same bits alone and in any list.

        Raises:
            ShapeError: as `encode_page`.
        """
        if pages and (library := self._library()) is not None:
            return self._encode_natively(library, [self._rows(page) for page in pages])
        out = np.empty((len(pages), self.spec.fde_size), dtype=np.float32)
        with one_blas_thread():
            for index, page in enumerate(pages):
                out[index] = self.encode_page(page)
        return out

    def _library(self) -> native.Library | None:
        """The kernels, where they are made for these rows."""
        library = native.library()
        return library if library is not None and library.takes_dim(self.spec.dim) else None

    def _encode_natively(
        self, library: native.Library, pages: Sequence[FloatArray], *, is_query: bool = False
    ) -> FloatArray:
        matrices = self._prepared.get(library.isa)
        if matrices is None:
            # What the kernels want: a plane, and a column of a projection, as rows.
            planes = self.hyperplanes.transpose(2, 0, 1).reshape(-1, self.spec.dim)
            projections = self.projections
            if projections is not None:
                projections = np.ascontiguousarray(projections.transpose(0, 2, 1))
            matrices = self._prepared[library.isa] = library.prepare_fde(
                planes, projections, repetitions=self.spec.repetitions
            )
        return library.fde(pages, matrices, is_query=is_query, fill=self.spec.fill)

    def _rows(self, vectors: FloatArray) -> FloatArray:
        if vectors.ndim != 2 or len(vectors) == 0 or vectors.shape[1] != self.spec.dim:
            raise ShapeError(
                f"FDE encoder wants vectors (n >= 1, {self.spec.dim}), got {vectors.shape}"
            )
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        if not np.isfinite(rows).all():
            raise ShapeError(f"FDE encoder got NaN or infinite values in vectors {vectors.shape}")
        return rows

    def _cells(self, rows: FloatArray) -> npt.NDArray[np.intp]:
        """(n, repetitions) cell numbers: the rank of the sign bits in Gray code."""
        spec = self.spec
        positive = (rows @ self._planes > 0).reshape(len(rows), spec.repetitions, spec.simhash_bits)
        cells = np.zeros((len(rows), spec.repetitions), dtype=np.intp)
        for bit in range(spec.simhash_bits):
            cells = (cells << 1) | (positive[:, :, bit] ^ (cells & 1))
        return cells

    def _sum_by_cell(
        self, rows: FloatArray, cells: npt.NDArray[np.intp]
    ) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Sums (repetitions * n_cells, dim) and how many rows went into each.

        Adding up before projecting gives the same (both are linear) and projects 2^bits rows a
        repetition instead of all n. Adding up is a product with a 0/1 matrix: more arithmetic than
        a loop would do, and the quickest way that numpy has.
        """
        n_blocks = self.spec.repetitions * self.spec.n_cells
        block = cells + self._cell_offset  # (n, repetitions)
        member = np.zeros((len(rows), n_blocks), dtype=np.float32)
        member[np.arange(len(rows))[:, None], block] = 1.0
        return member.T @ rows, np.bincount(block.ravel(), minlength=n_blocks)

    def _nearest_rows(self, cells: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        """(repetitions, n_cells) the row that fills each cell, were it empty."""
        spec, n = self.spec, len(cells)
        first = np.full(spec.repetitions * spec.n_cells, n, dtype=np.int64)  # n: nobody there
        # Not `first[block] = ...`: numpy does not say which of several writes to one place is last.
        block = (cells + self._cell_offset).ravel()
        np.minimum.at(first, block, np.repeat(np.arange(n), spec.repetitions))
        first_of = first.reshape(spec.repetitions, 1, spec.n_cells)
        # Distance first, row number second, as one integer; an unoccupied cell is out of reach.
        reach = np.where(first_of < n, self._hamming * n + first_of, np.iinfo(np.int64).max)
        nearest: npt.NDArray[np.int64] = reach.min(axis=2) % n
        return nearest

    def _project(self, blocks: FloatArray) -> FloatArray:
        if self.projections is not None:
            blocks = blocks.reshape(self.spec.repetitions, self.spec.n_cells, self.spec.dim)
            blocks = blocks @ self.projections
        return blocks.ravel()

    # --- the matrices on disk -------------------------------------------------------------------
    def save(self, path: Path) -> None:
        """Write spec and matrices as .npz, so that a reader sees all of it or nothing."""
        arrays = {"hyperplanes": self.hyperplanes}
        if self.projections is not None:
            arrays["projections"] = self.projections
        header = {"spec": asdict(self.spec), "fingerprint": self.fingerprint}
        with new_file(path) as (file, _):
            np.savez(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]  # numpy types ** as allow_pickle
            sync_file(file)

    @classmethod
    def load(cls, path: Path, *, spec: FdeSpec | None = None) -> FdeEncoder:
        """Read what `save` wrote.

        Args:
            path: the .npz.
            spec: what the settings ask for, where that must agree.

        Raises:
            IndexMismatch: the file is damaged, of another version, or of another spec.
            IndexUnavailable: no such file, or it cannot be read.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                header = json.loads(str(stored["header"]))
                found = cls(
                    FdeSpec(**header["spec"]),
                    hyperplanes=stored["hyperplanes"],
                    projections=stored.get("projections"),
                )
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise IndexMismatch(
                f"FDE matrices {path.name!r} are damaged", next_step=_REBUILD
            ) from error
        except OSError as error:
            raise IndexUnavailable(
                f"FDE matrices {path.name!r} cannot be read: {error.strerror}", next_step=_REBUILD
            ) from error
        found.require(header["fingerprint"])
        if spec is not None and spec != found.spec:
            raise IndexMismatch(
                f"FDE matrices {path.name!r} are for {found.spec}, settings ask for {spec}",
                next_step=_REBUILD,
            )
        return found

    def require(self, fingerprint: str) -> None:
        """Raises IndexMismatch unless the vectors at hand were made with these very matrices."""
        if fingerprint != self.fingerprint:
            raise IndexMismatch(
                f"FDE fingerprint {fingerprint[:12]} was expected, "
                f"the matrices at hand have {self.fingerprint[:12]}",
                next_step=_REBUILD,
            )

    def _compute_fingerprint(self) -> str:
        digest = hashlib.sha256(_VERSION.encode())
        digest.update(json.dumps(asdict(self.spec), sort_keys=True).encode())
        for matrices in (self.hyperplanes, self.projections):
            if matrices is not None:
                digest.update(matrices.astype("<f4").tobytes())
        return digest.hexdigest()


def _draw_hyperplanes(spec: FdeSpec, rng: np.random.Generator) -> FloatArray:
    shape = (spec.repetitions, spec.dim, spec.simhash_bits)
    return rng.standard_normal(shape).astype(np.float32)


def _draw_projections(spec: FdeSpec, rng: np.random.Generator) -> FloatArray:
    shape = (spec.repetitions, spec.dim, spec.block_dim)
    if spec.inner == "dense":
        signs = rng.integers(0, 2, shape, dtype=np.int8) * 2 - 1
        return np.asarray(signs / np.sqrt(spec.block_dim), dtype=np.float32)
    column = rng.integers(0, spec.block_dim, shape[:2])
    signs = rng.integers(0, 2, shape[:2], dtype=np.int8) * 2 - 1
    sketch = np.zeros(shape, dtype=np.float32)
    np.put_along_axis(sketch, column[:, :, None], signs[:, :, None].astype(np.float32), axis=2)
    return sketch


def _matrices(given: FloatArray, shape: tuple[int, int, int], name: str) -> FloatArray:
    if given.shape != shape:
        raise ShapeError(f"FDE {name} want shape {shape}, got {given.shape}")
    return np.ascontiguousarray(given, dtype=np.float32)
