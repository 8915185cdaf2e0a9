"""Draws the planned pages as PDFs with reportlab: running text, tables, charts.

Charts have no words, nor have the pages that show nothing else: what they say is in their pixels
alone.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eval.synthetic.plan import Chart, Page, Table
from rag.errors import ConfigError
from rag.testing.palette_encoder import PALETTE, TABLE_TINT

if TYPE_CHECKING:
    from reportlab.graphics.shapes import Drawing
    from reportlab.pdfgen.canvas import Canvas

_WIDTH_PT, _HEIGHT_PT = 595.0, 842.0
_LEFT_PT, _RIGHT_PT = 60.0, 535.0
_SIZE_PT, _LEADING_PT = 10.0, 14.0
_LINE_CHARACTERS = 92
_ROW_PT = 22.0
_INK = (40, 44, 52)
_PLATE_PT, _INSET_PT = (460.0, 520.0), (400.0, 240.0)


def document_pdf(title: str, pages: Sequence[Page]) -> bytes:
    """A PDF; the same bytes for the same pages.

    Raises:
        ConfigError: `extra_missing`, reportlab is not installed.
    """
    try:
        from reportlab.pdfgen.canvas import Canvas
    except ImportError as error:
        raise ConfigError(
            "the synthetic set is drawn with reportlab, which is not installed",
            code="extra_missing",
            next_step='Run `pip install "octavo[eval]"`.',
        ) from error
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(_WIDTH_PT, _HEIGHT_PT), invariant=True, pageCompression=1)
    for page in pages:
        _draw(canvas, title, page)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _draw(canvas: Canvas, title: str, page: Page) -> None:
    if page.is_plate:
        assert page.chart is not None
        _place(canvas, page.chart, _PLATE_PT, y_pt=(_HEIGHT_PT - _PLATE_PT[1]) / 2)
        return
    y_pt = 60.0  # from the top
    if page.has_title:
        _line(canvas, title, y_pt, size_pt=9.0)
    y_pt = _line(canvas, page.heading, y_pt + 34, font="Helvetica-Bold", size_pt=16.0) + 8
    y_pt = _paragraph(canvas, page.sentences, y_pt)
    if page.table is not None and not page.table_below:
        y_pt = _table(canvas, page.table, y_pt)
    if page.chart is not None:
        y_pt += _INSET_PT[1]
        _place(canvas, page.chart, _INSET_PT, y_pt=_HEIGHT_PT - y_pt)
        y_pt += 20
    y_pt = _paragraph(canvas, page.filler, y_pt)
    if page.table is not None and page.table_below:
        _table(canvas, page.table, y_pt)


# --- words --------------------------------------------------------------------------------------
def _line(
    canvas: Canvas, text: str, y_pt: float, *, font: str = "Helvetica", size_pt: float = _SIZE_PT
) -> float:
    canvas.setFont(font, size_pt)
    _fill(canvas, _INK)
    canvas.drawString(_LEFT_PT, _HEIGHT_PT - y_pt, text)
    return y_pt + 1.4 * size_pt


def _paragraph(canvas: Canvas, sentences: Sequence[str], y_pt: float) -> float:
    for line in textwrap.wrap(" ".join(sentences), _LINE_CHARACTERS):
        y_pt = _line(canvas, line, y_pt)
    return y_pt + _LEADING_PT


# --- tables -------------------------------------------------------------------------------------
def _table(canvas: Canvas, table: Table, y_pt: float) -> float:
    if table.caption:
        y_pt = _line(canvas, table.caption[0].upper() + table.caption[1:], y_pt + 6)
    cells = [("", *table.columns), *table.rows]
    column_pt = (_RIGHT_PT - _LEFT_PT) / len(cells[0])
    for index, row in enumerate(cells):
        top_pt = _HEIGHT_PT - y_pt
        for column, text in enumerate(row):
            x_pt = _LEFT_PT + column * column_pt
            if index == 0:
                # Bands lie above the head, so that its words stay black on light.
                _fill(canvas, TABLE_TINT)
                canvas.rect(x_pt, top_pt - _ROW_PT, column_pt, _ROW_PT, stroke=0, fill=1)
            # The longest head fits its column: two that touch are one to whoever reads them.
            canvas.setFont(*(("Helvetica-Bold", 6.5) if index == 0 else ("Helvetica", 8.5)))
            _fill(canvas, _INK)
            canvas.drawString(x_pt + 5, top_pt - _ROW_PT + 7, text)
        canvas.setStrokeColorRGB(0.6, 0.62, 0.66)
        canvas.line(_LEFT_PT, top_pt - _ROW_PT, _RIGHT_PT, top_pt - _ROW_PT)
        y_pt += _ROW_PT
    for index, band in enumerate(table.bands):
        _fill(canvas, PALETTE[band])
        y_pt += _ROW_PT
        canvas.rect(
            _LEFT_PT + index * (_RIGHT_PT - _LEFT_PT) / len(table.bands),
            _HEIGHT_PT - y_pt,
            (_RIGHT_PT - _LEFT_PT) / len(table.bands),
            _ROW_PT,
            stroke=0,
            fill=1,
        )
        y_pt -= _ROW_PT
    return y_pt + (_ROW_PT if table.bands else 0) + 24


# --- charts -------------------------------------------------------------------------------------
def _place(canvas: Canvas, chart: Chart, size_pt: tuple[float, float], *, y_pt: float) -> None:
    _drawing(chart, size_pt).drawOn(canvas, (_WIDTH_PT - size_pt[0]) / 2, y_pt)


def _drawing(chart: Chart, size_pt: tuple[float, float]) -> Drawing:
    from reportlab.graphics.shapes import Drawing

    drawing = Drawing(*size_pt)
    drawing.add({"bars": _bars, "slices": _slices, "lines": _lines}[chart.form](chart, size_pt))
    return drawing


def _bars(chart: Chart, size_pt: tuple[float, float]) -> Any:
    from reportlab.graphics.charts.barcharts import VerticalBarChart

    bars = _within(VerticalBarChart(), size_pt)
    bars.data = [(value,) for value in chart.values]
    bars.barSpacing = 4
    _without_words(bars)
    for index, colour in enumerate(chart.colours):
        bars.bars[index].fillColor = _colour(colour)
        bars.bars[index].strokeColor = None
    return bars


def _slices(chart: Chart, size_pt: tuple[float, float]) -> Any:
    from reportlab.graphics.charts.piecharts import Pie

    pie = _within(Pie(), size_pt)
    pie.width = pie.height = min(size_pt) - 40
    pie.x = (size_pt[0] - pie.width) / 2
    pie.data = list(chart.values)
    pie.labels = None
    for index, colour in enumerate(chart.colours):
        pie.slices[index].fillColor = _colour(colour)
        pie.slices[index].strokeColor = None
    return pie


def _lines(chart: Chart, size_pt: tuple[float, float]) -> Any:
    """Each rises from the ground to its value."""
    from reportlab.graphics.charts.linecharts import HorizontalLineChart

    lines = _within(HorizontalLineChart(), size_pt)
    lines.data = [(value / 4, value / 2, value) for value in chart.values]
    _without_words(lines)
    for index, colour in enumerate(chart.colours):
        lines.lines[index].strokeColor = _colour(colour)
        lines.lines[index].strokeWidth = 9
    return lines


def _within(chart: Any, size_pt: tuple[float, float]) -> Any:
    chart.x = chart.y = 20
    chart.width, chart.height = size_pt[0] - 40, size_pt[1] - 40
    return chart


def _without_words(chart: Any) -> None:
    chart.valueAxis.valueMin, chart.valueAxis.valueMax = 0, 100
    chart.valueAxis.visibleLabels = chart.categoryAxis.visibleLabels = False


def _fill(canvas: Canvas, rgb: tuple[int, int, int]) -> None:
    canvas.setFillColorRGB(*(channel / 255 for channel in rgb))


def _colour(name: str) -> Any:
    from reportlab.lib.colors import Color

    return Color(*(channel / 255 for channel in PALETTE[name]))
