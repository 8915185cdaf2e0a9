"""How near the words of a question stand to each candidate on a page.

Near is what a reader takes in together: the same sentence, the same row, the head of the column,
the label above a value, the heading; in this order. All of it is read from boxes and lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rag.answer.passages import Passage, PassageKind, Span, cut_passages
from rag.answer.question import OCR_CONFUSED
from rag.geometry import FloatArray
from rag.page_text import PageText
from rag.scoring.lexical import terms

# What a term counts where it stands; chosen by hand on the development set.
_SAME_PASSAGE, _PER_WORD, _FAR_IN_PASSAGE = 1.0, 0.015, 0.75
_SAME_ROW = 0.85
_COLUMN, _FAR_COLUMN, _COLUMN_LINES = 0.7, 0.4, 10
_LABEL = 0.8
_HEADING, _FAR_HEADING = 0.55, 0.35
_PARAGRAPH, _PARAGRAPH_WORDS = 0.6, 50
_PAGE = 0.3
_GAP = 1.3  # of a line's height: wider, and what follows is another cell
_CELL_WORDS = 10
_STEM = 5  # letters: words that begin with as many alike and end otherwise are kin
_SHORT, _ENDING = 4, 3  # letters: a short word may have a short ending
_KIN = 0.8


@dataclass(frozen=True)
class Layout:
    """A page's words by cell and passage.

    Attributes:
        cells: (start, end) of words that stand together on a line, in reading order.
        cell_of: (n_words,) index into `cells`.
        passages: sentences and rows.
        passage_of: (n_words,) index into `passages`; -1 for none.
        is_heading: (n_words,) bool.
    """

    text: PageText
    cells: tuple[Span, ...]
    cell_of: npt.NDArray[np.int32]
    passages: tuple[Passage, ...]
    passage_of: npt.NDArray[np.int32]
    is_heading: npt.NDArray[np.bool_]

    @cached_property
    def word_terms(self) -> list[list[str]]:
        return [terms(word) for word in self.text.words]

    @cached_property
    def vocabulary(self) -> dict[str, list[int]]:
        """Where each term stands, ascending words."""
        places: dict[str, list[int]] = {}
        for word, held in enumerate(self.word_terms):
            is_denied = len(held) > 1 and held[0] == "non"
            for term in [f"non{held[1]}", *held[2:]] if is_denied else held:
                places.setdefault(term, []).append(word)
        return places

    @cached_property
    def heading_of(self) -> npt.NDArray[np.int32]:
        """(n_words,) how many headings begin at or before each word."""
        begins = self.is_heading & ~np.concatenate([[False], self.is_heading[:-1]])
        return np.cumsum(begins, dtype=np.int32)

    @cached_property
    def is_prose(self) -> npt.NDArray[np.bool_]:
        """(n_words,) whether the word stands in a sentence of more words than a cell has."""
        prose = np.zeros(len(self.text), np.bool_)
        for passage in self.passages:
            if passage.kind is PassageKind.SENTENCE and passage.n_words > _CELL_WORDS:
                for start, end in passage.spans:
                    prose[start:end] = True
        return prose

    @cached_property
    def cell_boxes(self) -> FloatArray:
        """(n_cells, 4) page points."""
        boxes = self.text.boxes
        return np.array(
            [
                [*boxes[start:end, :2].min(axis=0), *boxes[start:end, 2:].max(axis=0)]
                for start, end in self.cells
            ],
            np.float32,
        ).reshape(-1, 4)


def lay_out(text: PageText) -> Layout:
    cells: list[Span] = []
    for start, end in text.line_spans:
        first = start
        for word in range(start + 1, end):
            height = max(float(text.boxes[word][3] - text.boxes[word][1]), 1.0)
            gap = float(text.boxes[word][0] - text.boxes[word - 1][2])
            if gap > _GAP * height or gap < -_GAP * height:
                cells.append((first, word))
                first = word
        cells.append((first, end))
    cell_of = np.zeros(len(text), np.int32)
    for number, (start, end) in enumerate(cells):
        cell_of[start:end] = number
    passages = tuple(
        passage for passage in cut_passages(text) if passage.kind is not PassageKind.LINES
    )
    passage_of = np.full(len(text), -1, np.int32)
    for number, passage in enumerate(passages):
        for start, end in passage.spans:
            passage_of[start:end] = number
    return Layout(text, tuple(cells), cell_of, passages, passage_of, _headings(text))


def _headings(text: PageText) -> npt.NDArray[np.bool_]:
    """Words of short lines set larger or bolder than most of the page."""
    found = np.zeros(len(text), np.bool_)
    known = text.sizes_pt[text.sizes_pt > 0]
    body = float(np.median(known)) if len(known) else 0.0
    mostly_bold = len(text) > 0 and bool(text.bold.mean() > 0.5)
    for number, (start, end) in enumerate(text.line_spans):
        if end - start > _CELL_WORDS:
            continue
        is_bold = bool(text.bold[start:end].all()) and not mostly_bold
        is_large = float(text.sizes_pt[start:end].max()) > 1.15 * body > 0
        found[start:end] = is_bold or is_large or number == 0
    return found


def places_of(layout: Layout, term: str) -> list[tuple[int, float]]:
    """Words that say a term, and how well: 1 as it is, less for another word of its stem."""
    exact = layout.vocabulary.get(term)
    if exact is not None:
        return [(word, 1.0) for word in exact]
    if len(term) < _SHORT or term[0].isdigit():
        read = term.translate(OCR_CONFUSED)
        return [
            (word, _KIN)
            for other, words in layout.vocabulary.items()
            if other.translate(OCR_CONFUSED) == read
            for word in words
            if layout.text.is_ocr[word]
        ]
    return [
        (word, _KIN)
        for other, words in layout.vocabulary.items()
        if _are_kin(other, term)
        for word in words
    ]


def _are_kin(first: str, second: str) -> bool:
    """Whether two words share their stem, as far as their beginnings tell: "view", "viewed"."""
    shorter, longer = sorted((first, second), key=len)
    if len(shorter) < _SHORT or len(longer) - len(shorter) > _STEM:
        return False
    n_alike = min(_STEM, len(shorter))
    return shorter[:n_alike] == longer[:n_alike] and (
        len(shorter) > _STEM or len(longer) - len(shorter) <= _ENDING
    )


def nearness(
    layout: Layout, candidates: Sequence[Span], weights: Mapping[str, float]
) -> FloatArray:
    """Share of the question's terms, by weight, that stand near each candidate.

    Args:
        layout: of the page.
        candidates: word spans.
        weights: of the question's terms.

    Returns:
        (n_candidates,) from 0 to 1.
    """
    total = sum(weights.values())
    near = np.zeros(len(candidates), np.float32)
    if not candidates or not total:
        return near
    starts = np.array([start for start, _ in candidates])
    ends = np.array([end for _, end in candidates])
    for term, weight in weights.items():
        found = places_of(layout, term)
        if not found:
            continue
        words = np.array([word for word, _ in found])
        likeness = np.array([like for _, like in found], np.float32)
        near += weight * (_near(layout, starts, ends, words) * likeness).max(axis=1)
    return near / total


def _near(
    layout: Layout,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    words: npt.NDArray[np.int64],
) -> FloatArray:
    """(n_candidates, n_words) what a term at each word counts for each candidate."""
    cell, at = layout.cell_of[starts], layout.cell_of[words]
    box, other = layout.cell_boxes[cell][:, None], layout.cell_boxes[at][None]
    lengths = np.array([end - start for start, end in layout.cells])
    is_short = (lengths[cell] <= _CELL_WORDS)[:, None] & (lengths[at] <= _CELL_WORDS)[None]
    height = np.minimum(box[..., 3] - box[..., 1], other[..., 3] - other[..., 1])
    over_y = np.minimum(box[..., 3], other[..., 3]) - np.maximum(box[..., 1], other[..., 1])
    over_x = np.minimum(box[..., 2], other[..., 2]) - np.maximum(box[..., 0], other[..., 0])
    gap = np.maximum(box[..., 1], other[..., 1]) - np.minimum(box[..., 3], other[..., 3])
    is_above = other[..., 3] <= box[..., 1] + 0.5 * height

    value = np.full((len(starts), len(words)), _PAGE, np.float32)
    heading = layout.is_heading[words][None] & (words[None] < starts[:, None])
    is_last = layout.heading_of[starts][:, None] == layout.heading_of[words][None]
    value = np.where(heading, np.where(is_last, _HEADING, _FAR_HEADING), value)
    in_table = (is_short & ~layout.is_prose[starts][:, None]) & ~layout.is_prose[words][None]
    head = np.where(gap < _COLUMN_LINES * height, _COLUMN, _FAR_COLUMN)
    value = np.where(in_table & is_above & (over_x > 0), np.maximum(value, head), value)
    away = np.maximum(starts[:, None] - words[None], words[None] - ends[:, None] + 1)
    passage, of_word = layout.passage_of[starts][:, None], layout.passage_of[words][None]
    is_prose = layout.is_prose[starts][:, None] & layout.is_prose[words][None]
    paragraph = is_prose & (np.abs(passage - of_word) <= 2) & (away <= _PARAGRAPH_WORDS)
    value = np.where(paragraph, np.maximum(value, _PARAGRAPH), value)
    beside = is_short & (over_x > 0) & (gap < 1.2 * height)
    value = np.where(beside, np.maximum(value, _LABEL), value)
    value = np.where(is_short & (over_y > 0.5 * height), np.maximum(value, _SAME_ROW), value)
    together = ((passage == of_word) & (passage >= 0)) | (cell[:, None] == at[None])
    in_passage = np.maximum(_SAME_PASSAGE - _PER_WORD * np.maximum(away, 0), _FAR_IN_PASSAGE)
    value = np.where(together, np.maximum(value, in_passage), value)
    return value.astype(np.float32)
