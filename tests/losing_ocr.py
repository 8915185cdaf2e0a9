"""What stands for reading pixels in tests' processes: it fails, crashes, never ends or guesses."""

from __future__ import annotations

import dataclasses
import os
import time

import numpy as np

from rag.errors import BackendError
from rag.ocr.choose import ChosenEngine
from rag.page_text import PageText
from rag.renderers import worker
from rag.renderers.worker import OcrRequest, ReadPixels


def fails(request: OcrRequest) -> ReadPixels:
    raise BackendError("the engine fails on this page", code="ocr_failed")


def crashes(request: OcrRequest) -> ReadPixels:
    os._exit(9)


def never_ends(request: OcrRequest) -> ReadPixels:
    while True:
        time.sleep(1)


def guesses(request: OcrRequest) -> ReadPixels:
    word = PageText(
        ("Isaarey",),
        np.array([[72, 90, 150, 112]], np.float32),
        np.zeros(1, np.int32),
        np.full(1, 12, np.float32),
        np.zeros(1, np.bool_),
        np.full(1, 0.55, np.float32),
    )
    return ReadPixels("digest", word)


def knows_pixels(request: OcrRequest) -> ReadPixels:
    """Pixels that were read before, and no others."""
    nobody = ChosenEngine("tesseract", ("no_such_language",))
    return worker.read_words(dataclasses.replace(request, engine=nobody))
