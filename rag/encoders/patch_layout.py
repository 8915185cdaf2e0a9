"""Where on the page each row of a vision model looks, read from what its processor made of it.

Every processor here stretches the page over whole cells: a cell's box is a fraction of the page.
Counts are compared, never assumed: a box moved by one row would point at the wrong words for good.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.errors import ConfigError, ModelFailed
from rag.geometry import FloatArray
from rag.types import VectorKind

Kinds = npt.NDArray[np.uint8]
Spans = list[tuple[int, int]]

_NEXT_STEP = "Use the processor that came with the weights, and versions that Octavo names."


@dataclass(frozen=True)
class PatchGrid:
    """Equal cells over a rectangle. The one place that knows the order: row by row from the top,
    each from the left, as image towers flatten their patches.
    """

    n_rows: int
    n_columns: int

    def __len__(self) -> int:
        return self.n_rows * self.n_columns

    @classmethod
    def square(cls, n_cells: int) -> PatchGrid:
        """As many rows as columns.

        Raises:
            ModelFailed: `patch_grid_mismatch`, no square number.
        """
        side = isqrt(n_cells)
        if side * side != n_cells or not side:
            raise _mismatch(f"{n_cells} image tokens make no square grid")
        return cls(side, side)

    def boxes(self, width_pt: float, height_pt: float) -> FloatArray:
        """(n_rows * n_columns, 4) float32 boxes of the cells of a whole page."""
        return (self.fractions() * _page_corners(width_pt, height_pt)).astype(np.float32)

    def fractions(self) -> npt.NDArray[np.float64]:
        """(n_rows * n_columns, 4) boxes of the cells in a square of side 1."""
        row, column = np.divmod(np.arange(len(self)), self.n_columns)
        corners = np.stack([column, row, column + 1, row + 1], axis=1).astype(np.float64)
        corners /= (self.n_columns, self.n_rows, self.n_columns, self.n_rows)
        return corners


@dataclass(frozen=True)
class Frame:
    """A picture the model was shown: a part of the page, as fractions of it, and its cells."""

    grid: PatchGrid
    x0: float = 0.0
    y0: float = 0.0
    x1: float = 1.0
    y1: float = 1.0

    def fractions(self) -> npt.NDArray[np.float64]:
        """(n_cells, 4) the cells as fractions of the page."""
        corners = self.grid.fractions()
        corners *= (self.x1 - self.x0, self.y1 - self.y0, self.x1 - self.x0, self.y1 - self.y0)
        corners += (self.x0, self.y0, self.x0, self.y0)
        return corners


@dataclass(frozen=True, eq=False)
class _PageInput:
    """What a processor made of one page, its padding rows left out."""

    processor: Any
    token_ids: npt.NDArray[np.int64]  # (n,)
    image_token_id: int
    grid_thw: npt.NDArray[np.int64] | None  # (1, 3) time, rows, columns before merging
    is_wide: bool

    @property
    def is_image(self) -> npt.NDArray[np.bool_]:
        return np.equal(self.token_ids, self.image_token_id)

    @property
    def spans(self) -> Spans:
        """Unbroken runs of image tokens, [start, end), one for each picture."""
        edges = np.flatnonzero(np.diff(self.is_image.astype(np.int8), prepend=0, append=0))
        return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def patch_layout(
    family: str,
    processor: Any,
    inputs: Mapping[str, Any],
    *,
    width_pt: float,
    height_pt: float,
) -> tuple[FloatArray, Kinds]:
    """Boxes and kinds of the rows a model makes of one page.

    Args:
        family: class name of a model in colpali-engine.
        processor: its processor.
        inputs: what `process_images` returned for this page, or the page's part of a batch.
        width_pt: of the page that the picture shows as a whole.
        height_pt: likewise.

    Returns:
        (n, 4) float32 page points and (n,) kinds of the attended rows, in their order: PATCH for
        an image token, else SPECIAL with an empty box.

    Raises:
        ConfigError: `encoder_family`, another family.
        ModelFailed: `patch_grid_mismatch`, the image tokens are not the cells of the grid.
    """
    if family not in _FAMILIES:
        raise ConfigError(
            f"the patches of a {family} have no known places",
            code="encoder_family",
            next_step=f"Choose a model of one of {', '.join(_FAMILIES)}.",
        )
    image_token_of, frames_of = _FAMILIES[family]
    attended = _one_page(inputs, "attention_mask").astype(bool)
    page = _PageInput(
        processor=processor,
        token_ids=_one_page(inputs, "input_ids")[attended],
        image_token_id=image_token_of(processor),
        grid_thw=np.asarray(inputs["image_grid_thw"]) if "image_grid_thw" in inputs else None,
        is_wide=width_pt >= height_pt,
    )
    frames = frames_of(page)
    expected, found = [len(frame.grid) for frame in frames], [b - a for a, b in page.spans]
    if expected != found:
        raise _mismatch(
            f"{family}: the page's grid has {sum(expected)} cells in {len(expected)} pictures, "
            f"but its input {sum(found)} image tokens in {len(found)}"
        )
    boxes = np.zeros((len(page.token_ids), 4), np.float32)
    fractions = np.concatenate([frame.fractions() for frame in frames])
    boxes[page.is_image] = fractions * _page_corners(width_pt, height_pt)
    kinds = np.where(page.is_image, VectorKind.PATCH, VectorKind.SPECIAL).astype(np.uint8)
    return boxes, kinds


# --- one picture of the whole page --------------------------------------------------------------
def _squashed(page: _PageInput) -> list[Frame]:
    """A square of fixed size, whatever the page's shape: ColPali."""
    return [Frame(PatchGrid.square(page.processor.image_seq_length))]


def _merged(page: _PageInput) -> list[Frame]:
    """Patches in a grid near the page's own shape, merged two by two: the Qwen families."""
    if page.grid_thw is None or page.grid_thw.size != 3:
        shape = None if page.grid_thw is None else page.grid_thw.shape
        raise _mismatch(f"one page wants an image_grid_thw of shape (1, 3), got {shape}")
    merge = int(page.processor.image_processor.merge_size)
    pictures, n_rows, n_columns = (int(count) for count in page.grid_thw.reshape(3))
    if pictures != 1 or n_rows % merge or n_columns % merge:
        raise _mismatch(
            f"a grid of {pictures} x {n_rows} x {n_columns} patches cannot be merged by {merge}"
        )
    return [Frame(PatchGrid(n_rows // merge, n_columns // merge))]


# --- several pictures ---------------------------------------------------------------------------
_TILE_NAME = re.compile(r"<row_(\d+)_col_(\d+)>")


def _tiled(page: _PageInput) -> list[Frame]:
    """Tiles row by row, then the whole page once more: Idefics3 and its kin.

    The processor stretches the page over a whole number of tiles, so none lies outside of it, and
    tells of their number only in the words before each tile. A page of one tile has no names.
    """
    within = PatchGrid.square(page.processor.image_seq_len)
    tiles: list[tuple[int, int]] = []
    after = 0
    for start, end in page.spans:
        words = page.processor.tokenizer.decode(page.token_ids[after:start].tolist())
        tiles += [(int(row), int(column)) for row, column in _TILE_NAME.findall(words)]
        after = end
    if not tiles:
        return [Frame(within)]
    by_tile = PatchGrid(*tiles[-1])  # the last one is at the bottom right
    expected = [divmod(tile, by_tile.n_columns) for tile in range(len(by_tile))]
    if tiles != [(row + 1, column + 1) for row, column in expected]:
        raise _mismatch(
            f"{len(tiles)} named tiles, but {by_tile.n_rows} rows of {by_tile.n_columns} have "
            f"{len(by_tile)}"
        )
    return [*(Frame(within, *map(float, cell)) for cell in by_tile.fractions()), Frame(within)]


def _cropped(page: _PageInput) -> list[Frame]:
    """A squashed page, then crops of equal length along its longer side, if any: ColGemma3.

    The processor rounds a crop up to whole pixels; they are taken for equal here, which moves an
    edge by less than a pixel for each crop before it.
    """
    within = PatchGrid.square(page.processor.image_seq_length)
    n_crops = len(page.spans) - 1
    if n_crops < 1:
        return [Frame(within)]
    crops = PatchGrid(1, n_crops) if page.is_wide else PatchGrid(n_crops, 1)
    return [Frame(within), *(Frame(within, *map(float, cell)) for cell in crops.fractions())]


# --- which family is read how -------------------------------------------------------------------
def _own_token(processor: Any) -> int:
    return int(processor.image_token_id)


def _tokenizers_token(processor: Any) -> int:
    # Gemma's processor calls the token that opens an image by this name.
    return int(processor.tokenizer.image_token_id)


_FAMILIES: dict[str, tuple[Callable[[Any], int], Callable[[_PageInput], list[Frame]]]] = {
    "ColPali": (_own_token, _squashed),
    "ColQwen2": (_own_token, _merged),
    "ColQwen2_5": (_own_token, _merged),
    "ColQwen3": (_own_token, _merged),
    "ColQwen3_5": (_own_token, _merged),
    "ColIdefics3": (_own_token, _tiled),
    "ColModernVBert": (_own_token, _tiled),
    "ColGemma3": (_tokenizers_token, _cropped),
}
FAMILIES = tuple(_FAMILIES)


# --- shared -------------------------------------------------------------------------------------
def _one_page(inputs: Mapping[str, Any], name: str) -> npt.NDArray[np.int64]:
    """(n,) of a page given alone or as a batch of one."""
    values = np.asarray(inputs[name])
    if values.ndim == 2 and len(values) == 1:
        values = values[0]
    if values.ndim != 1:
        raise _mismatch(f"a layout is of one page, but {name} has shape {values.shape}")
    return values


def _page_corners(width_pt: float, height_pt: float) -> npt.NDArray[np.float64]:
    return np.array([width_pt, height_pt, width_pt, height_pt], np.float64)


def _mismatch(message: str) -> ModelFailed:
    return ModelFailed(message, code="patch_grid_mismatch", next_step=_NEXT_STEP)
