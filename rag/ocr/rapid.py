"""RapidOCR: PP-OCR models on onnxruntime, all of it from pip (docs/adr/0018-ocr.md)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rag.errors import BackendError
from rag.ocr.read_lines import ReadLine, ReadWord, page_text
from rag.page_text import PageText
from rag.types import RenderedPage

# What the recogniser that comes with the package reads: Chinese, English, Japanese and languages
# of Latin letters, but for Vietnamese, of whose letters its model lacks many. Others have models of
# their own, which it would fetch.
LANGUAGES = frozenset(
    "afr aze bos cat ces chi_sim chi_tra cym dan deu eng est eus fin fra gle glg hrv hun ind "
    "isl ita jpn lat lav lit ltz mlt mri msa nld nor oci pol por que ron slk slv spa sqi srp_latn "
    "swa swe tgl tur uzb".split()
)
_LEAST_PX = 10
# A line's box reaches beyond its type, above and below.
_BOX_OF_TYPE = 1.45
_SPACE = " "


def is_installed() -> bool:
    return importlib.util.find_spec("rapidocr") is not None


def describe() -> str:
    return f"rapidocr {importlib.metadata.version('rapidocr')}"


class RapidEngine:
    """OcrEngine over RapidOCR; loaded when made, one thread.

    Raises:
        BackendError: `ocr_failed`, it cannot be loaded.
    """

    name = "rapidocr"

    def __init__(self) -> None:
        self.identity = describe()
        try:
            import cv2
            from rapidocr import RapidOCR

            cv2.setNumThreads(1)
            self._engine: Any = RapidOCR(
                params={
                    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                    "Global.log_level": "critical",
                    # Whether a line stands on its head: pages are shown upright.
                    "Global.use_cls": False,
                }
            )
        except Exception as error:  # what it raises at loading is not documented
            raise BackendError(f"RapidOCR cannot be loaded: {error}", code="ocr_failed") from error

    def read(self, page: RenderedPage) -> PageText:
        if min(page.image.size) < _LEAST_PX:
            return PageText.empty()
        pixels = np.asarray(page.image.convert("RGB"))[:, :, ::-1]  # it wants blue first
        try:
            found = self._engine(pixels, return_word_box=True, return_single_char_box=True)
        except Exception as error:  # what its steps raise is not documented
            raise BackendError(f"RapidOCR fails: {error}", code="ocr_failed") from error
        if found.txts is None:
            return PageText.empty()
        return page_text(list(_lines(found)), page)


def _lines(found: Any) -> Iterator[ReadLine]:
    chars_of = found.word_results if len(found.word_results) == len(found.txts) else ()
    for place, (text, score, box) in enumerate(
        zip(found.txts, found.scores, found.boxes, strict=True)
    ):
        corners = np.asarray(box, np.float64)  # (4, 2), around from the top left
        chars = chars_of[place] if chars_of else ()
        height = float(
            np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])
        )
        words = tuple(_words(text, float(score), corners, chars))
        if words:
            yield ReadLine(words, height / 2 / _BOX_OF_TYPE)


def _words(
    text: str, score: float, corners: np.ndarray[Any, Any], chars: Sequence[Any]
) -> Iterator[ReadWord]:
    """Words of a line; where its characters stand, or are to be thought, tells their boxes.

    Args:
        text: of the line.
        score: 0 to 1.
        corners: (4, 2) of the line in pixels.
        chars: (character, score, corners) of those that are not spaces; not to be relied on.
    """
    known = [np.asarray(each[2], np.float64) for each in chars]
    is_known = len(known) == len(text.replace(_SPACE, ""))
    n_before = 0
    at = 0
    for word in text.split(_SPACE):
        if word:
            if is_known:
                points = np.vstack(known[n_before : n_before + len(word)])
            else:
                first, last = at / len(text), (at + len(word)) / len(text)
                top, bottom = corners[1] - corners[0], corners[2] - corners[3]
                points = np.array(
                    [
                        corners[0] + first * top,
                        corners[0] + last * top,
                        corners[3] + first * bottom,
                        corners[3] + last * bottom,
                    ]
                )
            (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
            yield ReadWord(word, (float(x0), float(y0), float(x1), float(y1)), score)
        n_before += len(word)
        at += len(word) + 1
