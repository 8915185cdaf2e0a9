"""The rows of a table: a label of one line or several, the heads it stands under, its cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rag.answer.figures.read import Figure
from rag.answer.tables.blocks import ends_open, is_continuation
from rag.answer.tables.cell_figures import cell_figure
from rag.answer.tables.columns import Band
from rag.answer.tables.lines import Piece, VisualLine, spans_of
from rag.answer.tables.scale import scale_in
from rag.answer.tables.table import Cell, Row, TextCell
from rag.page_text import PageText

_LEADER = re.compile(r"[.\u2026\u00b7_]{2,}|[.\u00b7]")
_LEADER_AT_END = re.compile(r"[.\u2026\u00b7_]{3,}$")
_INDENT = 0.4  # heights
_LEADING = 1.0  # heights between the lines of one label


@dataclass
class _Section:
    name: str
    x0: float
    is_bold: bool
    rows_x0: float | None = None  # of its first row


@dataclass
class _Draft:
    label: tuple[int, ...]
    x0: float
    cells: tuple[Cell, ...]
    texts: tuple[TextCell, ...]
    section: tuple[str, ...]


@dataclass
class RowReader:
    """Reads the lines of one table from the top.

    Attributes:
        columns: of each line, the bands its pieces are in, by the piece's first word.
    """

    text: PageText
    bands: Sequence[Band]
    sections: list[_Section] = field(default_factory=list)
    waiting: list[VisualLine] = field(default_factory=list)
    drafts: list[_Draft] = field(default_factory=list)

    def read(
        self, lines: Sequence[VisualLine], wraps: Sequence[VisualLine] = ()
    ) -> tuple[Row, ...]:
        """Rows from the top; `wraps` are those lines that go on in the cells of a row."""
        last: VisualLine | None = None
        for line in lines:
            if any(line is wrap for wrap in wraps):
                self._go_on(line)
            elif line.figures or self._has_cells(line):
                self._data(line)
                last = line
            elif last is not None and not self.waiting and is_continuation(last, line):
                draft = self.drafts[-1]
                draft.label += line.words
                last = line
            else:
                self.waiting.append(line)
                last = None
        for draft in self.drafts:
            draft.label = tuple(w for w in draft.label if not _LEADER.fullmatch(self.text.words[w]))
        return tuple(
            Row(
                _LEADER_AT_END.sub("", self._said(draft.label)),
                spans_of(draft.label),
                draft.cells,
                draft.section,
                draft.texts,
                self._scale(draft.label),
            )
            for draft in self.drafts
        )

    def _go_on(self, line: VisualLine) -> None:
        """Add words to the cells of words they stand under, and to the label."""
        if not self.drafts:
            return
        draft = self.drafts[-1]
        for piece in line.pieces:
            overlaps = [band.shared_with(piece) for band in self.bands]
            column = max(range(len(overlaps)), key=overlaps.__getitem__)
            if overlaps[column] <= 0.0:
                if abs(piece.box.x0 - draft.x0) <= line.height:
                    draft.label += piece.words
                continue
            draft.texts = tuple(
                TextCell(cell.spans + piece.spans, f"{cell.text} {piece.text}", column)
                if cell.column == column
                else cell
                for cell in draft.texts
            )

    def _scale(self, label: tuple[int, ...]) -> float | None:
        found = [scale_in(self.text, span) for span in spans_of(label)]
        return next((scale.factor for scale in found if scale is not None), None)

    def _has_cells(self, line: VisualLine) -> bool:
        return any(piece in band.pieces.values() for band in self.bands for piece in line.pieces)

    def _data(self, line: VisualLine) -> None:
        column_of = {
            piece.words[0]: number
            for number, band in enumerate(self.bands)
            for piece in band.pieces.values()
        }
        cells: list[Cell] = []
        texts: list[TextCell] = []
        label: list[Piece] = []
        for piece in line.pieces:
            column = column_of.get(piece.words[0], -1)
            figure = self._figure(piece) if piece.is_figure else None
            if figure is not None and column >= 0:
                cells.append(Cell((figure.start, figure.end), figure, column))
            elif column >= 0:
                texts.append(TextCell(piece.spans, piece.text, column))
            else:
                label.append(piece)
        words = tuple(word for piece in label for word in piece.words)
        x0 = label[0].box.x0 if label else line.box.x0
        wrapped = self._wrapped(line, words)
        if wrapped:
            x0 = wrapped[0].box.x0
        self._leave_sections(x0, has_label=bool(words or wrapped))
        section = tuple(section.name for section in self.sections)
        if self.sections and self.sections[-1].rows_x0 is None:
            self.sections[-1].rows_x0 = x0
        words = (*(word for line in wrapped for word in line.words), *words)
        self.drafts.append(_Draft(words, x0, tuple(cells), tuple(texts), section))

    def _figure(self, piece: Piece) -> Figure | None:
        return cell_figure(self.text.words, piece.words[0], piece.words[-1] + 1)

    def _wrapped(self, line: VisualLine, label: tuple[int, ...]) -> list[VisualLine]:
        """The lines before this one that its label began on; the others become sections."""
        wrapped: list[VisualLine] = []
        below, below_words = line, self._said(label)
        while self.waiting:
            before = self.waiting[-1]
            near = below.box.y0 - before.box.y1 <= _LEADING * below.height
            said = before.text
            goes_on = (
                not below_words
                or (below_words[0].islower() and not said.endswith(":"))
                or (ends_open(said) and not said.endswith(":"))
            )
            if not near or not goes_on:
                break
            wrapped.insert(0, self.waiting.pop())
            below, below_words = before, said
        for number, before in enumerate(self.waiting):
            self._enter_section(before, joined=number > 0)
        self.waiting = []
        return wrapped

    def _enter_section(self, line: VisualLine, *, joined: bool) -> None:
        name, x0 = line.text, line.box.x0
        last = self.sections[-1] if self.sections else None
        if (
            joined
            and last is not None
            and last.rows_x0 is None
            and (ends_open(last.name) or name[0].islower())
        ):
            last.name = f"{last.name} {name}"
            return
        is_bold = bool(self.text.bold[list(line.words)].all())
        slack = _INDENT * line.height
        while self.sections:
            above = self.sections[-1]
            stays = x0 > above.x0 + slack or (
                above.x0 >= x0 - slack
                and abs(above.x0 - x0) <= slack
                and (above.rows_x0 is None or (above.is_bold and not is_bold))
            )
            if stays:
                break
            self.sections.pop()
        self.sections.append(_Section(name, x0, is_bold))
        self._slack = slack

    _slack: float = 0.0

    def _leave_sections(self, x0: float, *, has_label: bool) -> None:
        """A row that stands out to the left of a section's rows is not one of them."""
        while self.sections and has_label:
            section = self.sections[-1]
            first = section.rows_x0
            is_outside = x0 < section.x0 - self._slack or (
                first is not None
                and first > section.x0 + self._slack
                and x0 <= section.x0 + self._slack
            )
            if not is_outside:
                return
            self.sections.pop()

    def _said(self, words: Sequence[int]) -> str:
        return " ".join(self.text.words[word] for word in words)
