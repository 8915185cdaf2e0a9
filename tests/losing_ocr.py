"""What stands for reading pixels in the processes of tests: it fails, crashes or never ends."""

from __future__ import annotations

import dataclasses
import os
import time

from rag.errors import BackendError
from rag.ocr.choose import ChosenEngine
from rag.renderers import worker
from rag.renderers.worker import OcrRequest, ReadPixels


def fails(request: OcrRequest) -> ReadPixels:
    raise BackendError("the engine fails on this page", code="ocr_failed")


def crashes(request: OcrRequest) -> ReadPixels:
    os._exit(9)


def never_ends(request: OcrRequest) -> ReadPixels:
    while True:
        time.sleep(1)


def knows_pixels(request: OcrRequest) -> ReadPixels:
    """Pixels that were read before, and no others."""
    nobody = ChosenEngine("tesseract", ("no_such_language",))
    return worker.read_words(dataclasses.replace(request, engine=nobody))
