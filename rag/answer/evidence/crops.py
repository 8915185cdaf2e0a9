"""Dense tables, whose small figures a page's image would show too small to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag.answer.evidence.page_rows import PageRow, page_rows
from rag.geometry import Box, union
from rag.page_text import PageText
from rag.ports import PageCrop
from rag.types import RenderedPage

# Heights of figures, not of lines: a figure is 0.7 of its type size high.
LEGIBLE_PX = 9.0
CROP_PX = 13.0
_FIGURE_OF_SIZE = 0.7
_FIGURE_OF_BOX = 0.55  # boxes of words reach from the lowest descender to the highest letter
_LEAST_FIGURES = 24  # of a table that counts as dense
_ROW_FIGURES = 2
_LOOSE_ROWS = 2  # without figures, between rows of one table
_HEAD_ROWS = 3  # above the first row of figures, shown with it
_FAR_APART = 2.5  # of a row's height: what is further from a table is none of it
_MARGIN_PT = 2.0
_MAX_CROPS = 2  # of a page
_MAX_CROP_PX = 2_200_000
_MAX_RENDER_PX = 16_000_000  # of the page that a crop is cut from
_LEAST_GAIN = 1.25  # of a crop over its page


@dataclass(frozen=True)
class DenseTable:
    """Where a table of many figures stands, and how high its figures are."""

    box: Box
    figure_pt: float


@dataclass(frozen=True)
class CropPlan:
    """Tables of one page to be cut out of one rendering of it.

    Attributes:
        px_per_pt: of that rendering, where their figures are well read.
        least_px_per_pt: where they are just legible.
    """

    tables: tuple[DenseTable, ...]
    px_per_pt: float
    least_px_per_pt: float


def plan_crops(
    text: PageText, *, width_pt: float, height_pt: float, px_per_pt: float
) -> CropPlan | None:
    """What should be shown larger of a page whose image has `px_per_pt`; None for nothing."""
    tables = tuple(
        table
        for table in dense_tables(text, width_pt=width_pt, height_pt=height_pt)
        if table.figure_pt * px_per_pt < LEGIBLE_PX
    )
    if not tables:
        return None
    scale = min(
        max(CROP_PX / table.figure_pt for table in tables),
        *((_MAX_CROP_PX / table.box.area) ** 0.5 for table in tables),
        (_MAX_RENDER_PX / (width_pt * height_pt)) ** 0.5,
    )
    if scale < _LEAST_GAIN * px_per_pt:
        return None
    least = max(LEGIBLE_PX / CROP_PX * scale, _LEAST_GAIN * px_per_pt)
    return CropPlan(tables, scale, min(least, scale))


def dense_tables(text: PageText, *, width_pt: float, height_pt: float) -> list[DenseTable]:
    """Those with the most figures, two at most, from the top of the page.

    A single one that is too large to be shown well in one piece is cut in two.
    """
    runs = sorted(_runs(page_rows(text)), key=_n_figures, reverse=True)
    found = [run for run in runs if _n_figures(run) >= _LEAST_FIGURES]
    tables = [_table(text, run, width_pt, height_pt) for run in found[:_MAX_CROPS]]
    if len(found) == 1 and _well_shown_px(tables[0]) > _MAX_CROP_PX:
        half = len(found[0]) // 2
        tables = [
            _table(text, run, width_pt, height_pt) for run in (found[0][:half], found[0][half:])
        ]
    return sorted(tables, key=lambda table: table.box.y0)


def cut(page: RenderedPage, table: DenseTable, *, px_per_pt: float) -> PageCrop:
    """The table out of its page, with no more pixels than it has at `px_per_pt`."""
    box, scale = table.box, min(px_per_pt, page.px_per_pt)
    width, height = max(1, int(box.width * scale)), max(1, int(box.height * scale))
    left = min(int(box.x0 * page.px_per_pt), max(0, page.image.width - width))
    top = min(int(box.y0 * page.px_per_pt), max(0, page.image.height - height))
    return PageCrop(box, page.image.crop((left, top, left + width, top + height)))


def _runs(rows: Sequence[PageRow]) -> list[list[PageRow]]:
    """Rows that make a table: those with figures, few others close between them, heads above."""
    runs: list[list[PageRow]] = []
    last = -1  # row with figures
    for place, row in enumerate(rows):
        if len(row.figures) < _ROW_FIGURES:
            continue
        start = place
        while start > last + 1 and _are_close(rows[start - 1], rows[start]):
            start -= 1
        is_next = runs and start == last + 1 and _are_close(rows[last], rows[start])
        if is_next and place - last <= _LOOSE_ROWS + 1:
            runs[-1] += rows[start : place + 1]
        else:
            runs.append(list(rows[max(start, place - _HEAD_ROWS) : place + 1]))
        last = place
    return runs


def _are_close(above: PageRow, below: PageRow) -> bool:
    return below.box.y0 - above.box.y1 <= _FAR_APART * max(above.box.height, below.box.height)


def _n_figures(run: Sequence[PageRow]) -> int:
    return sum(len(row.figures) for row in run)


def _well_shown_px(table: DenseTable) -> float:
    return float(table.box.area * (CROP_PX / table.figure_pt) ** 2)


def _table(text: PageText, run: list[PageRow], width_pt: float, height_pt: float) -> DenseTable:
    box = union(row.box for row in run)
    places = [place for row in run for place in row.figures] or [
        place for row in run for place in row.places
    ]
    sizes = text.sizes_pt[places]
    heights = text.boxes[places, 3] - text.boxes[places, 1]
    figure_pt = np.where(sizes > 0, _FIGURE_OF_SIZE * sizes, _FIGURE_OF_BOX * heights)
    return DenseTable(
        Box(
            max(0.0, box.x0 - _MARGIN_PT),
            max(0.0, box.y0 - _MARGIN_PT),
            min(width_pt, box.x1 + _MARGIN_PT),
            min(height_pt, box.y1 + _MARGIN_PT),
        ),
        float(max(0.5, np.median(figure_pt))),
    )
