"""The words of a page, each with its box, and the lines and headings they make.

Words stay in reading order as the renderer gave them; everything else here is derived from them.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rag.errors import ShapeError
from rag.geometry import Box, FloatArray, as_boxes, union

_FIRST_LINES = 3
_HEADING_WORDS = 60
_HEADING_LINE_WORDS = 25  # a longer line is running text, however it is set
_LARGER_TYPE = 1.15
_WITH_ROWS = b"r"  # no zlib stream begins with it


@dataclass(frozen=True)
class PageText:
    """Words in reading order, as parallel columns.

    Attributes:
        words: the words, without white space.
        boxes: (n_words, 4) page points.
        lines: (n_words,) number of the line a word stands on, not decreasing.
        sizes_pt: (n_words,) font size, 0 where unknown.
        bold: (n_words,) whether the font is bold.
        confidences: (n_words,) 0 to 1 of OCR, NaN for a word of the file's own text; None where all
            words are the file's own.
    """

    words: tuple[str, ...]
    boxes: FloatArray
    lines: npt.NDArray[np.int32]
    sizes_pt: FloatArray
    bold: npt.NDArray[np.bool_]
    confidences: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.words)
        for name, array, shape in (
            ("boxes", self.boxes, (n, 4)),
            ("lines", self.lines, (n,)),
            ("sizes_pt", self.sizes_pt, (n,)),
            ("bold", self.bold, (n,)),
        ):
            if array.shape != shape:
                raise ShapeError(f"{n} words want {name} of shape {shape}, got {array.shape}")
        if self.confidences is not None and self.confidences.shape != (n,):
            raise ShapeError(f"{n} words, but confidences of shape {self.confidences.shape}")

    @classmethod
    def empty(cls) -> PageText:
        return cls(
            (),
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.int32),
            np.zeros(0, np.float32),
            np.zeros(0, np.bool_),
        )

    def __len__(self) -> int:
        return len(self.words)

    @property
    def is_ocr(self) -> npt.NDArray[np.bool_]:
        """(n_words,) whether OCR read the word."""
        if self.confidences is None:
            return np.zeros(len(self), np.bool_)
        return ~np.isnan(self.confidences)

    @property
    def text(self) -> str:
        """Words joined by one space: what "verbatim" means for a quote."""
        return " ".join(self.words)

    @cached_property
    def line_spans(self) -> list[tuple[int, int]]:
        """(start, end) word indices of every line, in reading order."""
        if not self.words:
            return []
        starts = np.flatnonzero(np.diff(self.lines, prepend=self.lines[0] - 1)).tolist()
        return list(zip(starts, [*starts[1:], len(self.words)], strict=True))

    def chosen(self, kept: npt.NDArray[np.bool_]) -> PageText:
        """The words where `kept` (n_words,) holds, in their order."""
        places = np.flatnonzero(kept)
        return PageText(
            tuple(self.words[place] for place in places),
            self.boxes[places],
            self.lines[places],
            self.sizes_pt[places],
            self.bold[places],
            None if self.confidences is None else self.confidences[places],
        )

    def span_text(self, start: int, end: int) -> str:
        return " ".join(self.words[start:end])

    def span_boxes(self, start: int, end: int) -> list[Box]:
        """One box a line for the words start..end, as a highlighter would draw them."""
        drawn: list[Box] = []
        for line_start, line_end in self.line_spans:
            first, last = max(start, line_start), min(end, line_end)
            if first < last:
                drawn.append(union(as_boxes(self.boxes[first:last])))
        return drawn

    def to_bytes(self) -> bytes:
        """Compressed columns, for the manifest."""
        header = json.dumps(self.words, ensure_ascii=False).encode()
        columns = (
            self.boxes.astype("<f4").tobytes()
            + self.lines.astype("<i4").tobytes()
            + self.sizes_pt.astype("<f4").tobytes()
            + self.bold.astype("u1").tobytes()
        )
        if self.confidences is not None:
            columns += self.confidences.astype("<f4").tobytes()
        return zlib.compress(len(header).to_bytes(4, "little") + header + columns, 3)

    @classmethod
    def from_bytes(cls, blob: bytes) -> PageText:
        raw = zlib.decompress(blob)
        header_size = int.from_bytes(raw[:4], "little")
        words = tuple(json.loads(raw[4 : 4 + header_size]))
        n, at = len(words), 4 + header_size

        def column(dtype: str, n_values: int) -> npt.NDArray[np.generic]:
            nonlocal at
            values = np.frombuffer(raw, dtype, n_values, at)
            at += values.nbytes
            return values

        boxes = column("<f4", 4 * n).reshape(n, 4).astype(np.float32)
        lines = column("<i4", n).astype(np.int32)
        sizes_pt = column("<f4", n).astype(np.float32)
        bold = column("u1", n).astype(np.bool_)
        confidences = column("<f4", n).astype(np.float32) if at < len(raw) else None
        return cls(words, boxes, lines, sizes_pt, bold, confidences)


@dataclass(frozen=True, eq=False)
class VectorWords:
    """Which words of its text a page's stored vectors stand for, as pairs of vector and word.

    Attributes:
        words: (n_pairs,) int32 words of the text.
        rows: (n_pairs,) int32 stored vectors; None where pair i is of vector i, as it is on every
            page that was not pooled.
    """

    words: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows.shape != self.words.shape:
            raise ShapeError(f"{len(self.words)} words, but rows of shape {self.rows.shape}")

    def __len__(self) -> int:
        return len(self.words)

    def spread(self, of_vectors: FloatArray) -> FloatArray:
        """(n_pairs, ...): what is known of the stored vectors (n_vectors, ...), for each pair."""
        return of_vectors if self.rows is None else of_vectors[self.rows]

    def to_bytes(self) -> bytes:
        """Compressed, for the manifest; a leading byte tells pairs with rows from those without."""
        words = self.words.astype("<i4").tobytes()
        if self.rows is None:
            return zlib.compress(words, 3)
        return _WITH_ROWS + zlib.compress(words + self.rows.astype("<i4").tobytes(), 3)

    @classmethod
    def from_bytes(cls, blob: bytes) -> VectorWords:
        has_rows = blob.startswith(_WITH_ROWS)
        raw = zlib.decompress(blob.removeprefix(_WITH_ROWS) if has_rows else blob)
        values = np.frombuffer(raw, "<i4").astype(np.int32)
        if not has_rows:
            return cls(values)
        words, rows = values.reshape(2, -1)
        return cls(words, rows)


def heading_spans(text: PageText) -> list[tuple[int, int]]:
    """Lines that say what a page is about: its first lines, and those that stand out in type.

    Returns:
        (start, end) word indices a line, at most about `_HEADING_WORDS` words in all.
    """
    known = text.sizes_pt[text.sizes_pt > 0]
    body_size = float(np.median(known)) if len(known) else 0.0
    mostly_bold = bool(text.bold.mean() > 0.5) if len(text) else False
    spans: list[tuple[int, int]] = []
    n_words = 0
    for number, (start, end) in enumerate(text.line_spans):
        has_word = any(sum(map(str.isalpha, word)) >= 2 for word in text.words[start:end])
        if not has_word or end - start > _HEADING_LINE_WORDS:
            continue
        stands_out = (bool(text.bold[start:end].all()) and not mostly_bold) or float(
            text.sizes_pt[start:end].max()
        ) > _LARGER_TYPE * body_size > 0
        if number < _FIRST_LINES or stands_out:
            spans.append((start, end))
            n_words += end - start
            if n_words >= _HEADING_WORDS:
                break
    return spans
