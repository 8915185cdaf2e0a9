"""Tables read from the boxes of a page's words, the file's own or those of OCR.

No ruling line and no order of words in the file is looked at: what stands under and beside what
says it all. Every cell is a span of the page's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from rag.answer.tables.blocks import Block, blocks_of, is_prose, usual_height, with_tails_cut
from rag.answer.tables.columns import (
    Band,
    figure_bands,
    give_heads,
    is_period_head,
    text_bands,
)
from rag.answer.tables.key_values import key_values
from rag.answer.tables.lines import Piece, VisualLine, spans_of
from rag.answer.tables.periods import period_in
from rag.answer.tables.rows import RowReader
from rag.answer.tables.scale import Scale, scale_in
from rag.answer.tables.table import Column, Row, Table
from rag.answer.tables.zones import zones_of
from rag.page_text import PageText

_SCALE_WORDS = 14
_HEAD_WORDS = 10
_RUNNING_WORDS = 5
_TITLE_LINES = 4
_TITLE_WORDS = 40


def read_tables(text: PageText) -> list[Table]:
    """All tables of a page that have figures, from the top; none for a page of prose."""
    if not text.words:
        return []
    zones = [with_tails_cut(lines) for lines in zones_of(text)]
    blocks = [blocks_of(lines) for lines in zones]
    starts = [
        lines[number].box.y0
        for lines, of_zone in zip(zones, blocks, strict=True)
        for block in of_zone
        for number in (block.above or block.body)[:1]
    ]
    top = min(starts, default=0.0)
    page_scale = _page_scale(text, [line for lines in zones for line in lines if line.box.y1 < top])
    tables: list[Table] = []
    above: VisualLine | None = None  # of the part of the page before, its last line
    for lines, of_zone in zip(zones, blocks, strict=True):
        taken: set[int] = set()
        for block in of_zone:
            table = _table(text, lines, block, page_scale)
            if table is not None:
                table = _with_title(table, lines, block, above)
                tables.append(_with_scale(table, tables))
                taken |= {*block.body, *block.above}
        tables += key_values(text, [line for n, line in enumerate(lines) if n not in taken])
        if lines and (above is None or lines[0].box.y0 >= above.box.y1):
            above = lines[-1]
    return tables


def _with_scale(table: Table, before: Sequence[Table]) -> Table:
    """A table that says no scale has that of the last one with the same heads, as a part of it."""
    heads = [column.head for column in table.columns]
    if table.scale_span is not None or not any(heads):
        return table
    for other in reversed(before):
        if other.scale_span is not None and [column.head for column in other.columns] == heads:
            return replace(
                table,
                scale=other.scale,
                currency=table.currency or other.currency,
                scale_span=other.scale_span,
            )
    return table


def _with_title(
    table: Table, lines: Sequence[VisualLine], block: Block, above: VisualLine | None
) -> Table:
    """The line above two tables that stand side by side is the title of both."""
    first = lines[block.above[0] if block.above else block.body[0]]
    is_near = above is not None and 0 <= first.box.y0 - above.box.y1 <= 4 * first.height
    if table.title or above is None or not is_near:
        return table
    return replace(table, title=above.text, title_spans=spans_of(above.words))


def _table(
    text: PageText, lines: Sequence[VisualLine], block: Block, page_scale: Scale | None
) -> Table | None:
    n_figures = sum(len(lines[number].figures) for number in block.data)
    if n_figures < 2:
        return None
    height = usual_height([lines[number] for number in block.data])
    bands = _bands(lines, block, height)
    if not bands:
        return None
    zone = min(band.left for band in bands)
    heads, labels, stubs, titles = _above(text, lines, block, zone, height)
    if len(block.data) < 2 and not heads:
        return None
    give_heads(bands, [lines[number] for number in heads], height)
    stub = [
        word
        for number in heads
        for piece in lines[number].pieces
        if not any(piece is head for band in bands for head in band.heads)
        for word in piece.words
    ]
    stub += [word for number in stubs for word in lines[number].words]
    rows = RowReader(text, bands).read(
        [lines[number] for number in (*labels, *block.body)],
        [lines[number] for number in block.wraps],
    )
    if not any(row.label for row in rows):
        return None
    title_words = [word for number in titles for word in lines[number].words]
    stub_text = _said(text, stub)
    title = _said(text, title_words)
    columns = tuple(
        _column(text, band, rows, place, f"{stub_text} {title}") for place, band in enumerate(bands)
    )
    beside = [number for number in block.above if number not in heads]
    own = [*stub, *(word for number in beside for word in lines[number].words)]
    scale = _scale_in_words(text, own) or page_scale
    return Table(
        rows,
        columns,
        title,
        spans_of(title_words),
        scale.factor if scale else 1.0,
        (scale.currency if scale else "") or _currency(rows),
        scale.span if scale else None,
        stub_text,
        spans_of(stub),
        period_in(stub_text, title) or period_in(title),
    )


def _bands(lines: Sequence[VisualLine], block: Block, height: float) -> list[Band]:
    """The columns of a table, the labels' own left out, from left to right."""
    cells: list[tuple[int, Piece]] = []
    texts: list[tuple[int, Piece]] = []
    lefts = [lines[number].texts[0] for number in block.data if lines[number].texts]
    label_end = median(piece.box.x1 for piece in lefts) if lefts else 0.0
    label_start = min((piece.box.x0 for piece in lefts), default=0.0)
    for number in block.data:
        label: Piece | None = next(
            (piece for piece in lines[number].pieces if not piece.is_figure), None
        )
        figures = lines[number].figures
        if (
            label is None
            and len(figures) > 1
            and figures[0].is_year
            and not all(f.is_year for f in figures)
        ):
            label = figures[0]
        elif label is None and len(figures) > 1 and label_start - height <= figures[0].core.x0:
            # A number in the place of the labels is one.
            label = figures[0] if figures[0].core.x1 < label_end else None
        for piece in lines[number].pieces:
            if piece is label:
                continue
            (cells if piece.is_figure else texts).append((number, piece))
    bands = figure_bands(cells, height)
    inside = []
    for number, piece in texts:
        over = [
            band
            for band in bands
            if number not in band.pieces
            and min(band.x1, piece.core.x1) - max(band.x0, piece.core.x0)
            > 0.5 * min(band.x1 - band.x0, piece.core.width)
        ]
        if over and piece.n_words <= 3:
            over[0].pieces[number] = piece
        else:
            inside.append((number, piece))
    found = text_bands(inside)
    return sorted(
        [*bands, *(band for band in found if len(band.pieces) > 1)], key=lambda b: b.middle
    )


def _says_scale(text: PageText, line: VisualLine) -> bool:
    return line.n_words <= _SCALE_WORDS and _scale_in_words(text, line.words) is not None


def _above(
    text: PageText, lines: Sequence[VisualLine], block: Block, zone: float, height: float
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Lines over a table: heads of its columns, labels under those, words beside them, titles."""
    left = min(lines[number].box.x0 for number in block.data)
    right = max(lines[number].box.x1 for number in block.data)
    middle = (left + right) / 2
    heads: list[int] = []
    labels: list[int] = []
    stubs: list[int] = []
    titles: list[int] = []
    for number in reversed(block.above):
        line = lines[number]
        if titles or is_prose(line):
            titles.append(number)
            continue
        is_head = any(piece.core.x1 > zone - height for piece in line.pieces)
        if len(line.pieces) == 1:
            piece = line.pieces[0]
            zone_middle = (zone + right) / 2
            is_title = (
                abs(piece.middle - middle) < 1.5 * height < abs(zone_middle - middle) - height
            )
            is_left = piece.box.x0 < zone - 2 * height
            is_head = is_head and (piece.middle > zone or not is_left) and not is_title
            begins_left = is_left and not is_period_head(piece)
            is_running = piece.text[0].islower() and piece.n_words >= _RUNNING_WORDS
            if is_head and (piece.n_words > _HEAD_WORDS or begins_left or is_running):
                is_head = False
            if _says_scale(text, line) and (is_head or (not heads and line.box.x1 <= zone)):
                stubs.append(number)
                continue
        if is_head:
            heads.append(number)
        elif heads:
            titles.append(number)
        else:
            labels.append(number)
    if not heads:
        titles, labels = [*labels, *titles], []
    chosen: list[int] = []
    n_words = 0
    is_named = False  # "(in millions)" names no table: what names it stands above
    for number in titles[:_TITLE_LINES]:
        n_words += lines[number].n_words
        if chosen and (n_words > _TITLE_WORDS or (is_named and is_prose(lines[number]))):
            break
        is_named = is_named or not _says_scale(text, lines[number])
        chosen.append(number)
    return heads[::-1], labels[::-1], stubs[::-1], chosen[::-1]


def _column(text: PageText, band: Band, rows: Sequence[Row], place: int, context: str) -> Column:
    words = [word for piece in reversed(band.heads) for word in piece.words]
    head = _said(text, words)
    cells = [cell for row in rows for cell in row.cells if cell.column == place]
    n_percent = sum(cell.figure.unit == "%" for cell in cells)
    has_sign = any(sign in head for sign in ("%", "percent", "Percent"))
    is_percent = bool(cells) and (has_sign or n_percent == len(cells))
    period = period_in(head, context)
    scale = _scale_in_words(text, words)
    return Column(
        head,
        spans_of(words),
        period,
        "%" if is_percent else "",
        scale.factor if scale is not None else None,
    )


def _scale_in_words(text: PageText, words: Sequence[int]) -> Scale | None:
    for span in spans_of(words):
        scale = scale_in(text, span)
        if scale is not None:
            return scale
    return None


def _page_scale(text: PageText, lines: Sequence[VisualLine]) -> Scale | None:
    """What the page says of all its figures: in a short line, or in brackets."""
    for line in lines:
        if not line.figures and (not is_prose(line) or "(" in line.text):
            scale = _scale_in_words(text, line.words)
            if scale is not None:
                return scale
    return None


def _currency(rows: Sequence[Row]) -> str:
    for row in rows:
        for cell in row.cells:
            if cell.figure.unit and not cell.figure.unit[0].islower() and cell.figure.unit != "%":
                return cell.figure.unit
    return ""


def _said(text: PageText, words: Sequence[int]) -> str:
    return " ".join(text.words[word] for word in words)
