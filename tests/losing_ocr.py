"""What stands for reading pixels in the processes of tests: it fails, crashes or never ends."""

from __future__ import annotations

import os
import time

from rag.errors import BackendError
from rag.page_text import PageText
from rag.renderers.worker import OcrRequest


def fails(request: OcrRequest) -> PageText:
    raise BackendError("the engine fails on this page", code="ocr_failed")


def crashes(request: OcrRequest) -> PageText:
    os._exit(9)


def never_ends(request: OcrRequest) -> PageText:
    while True:
        time.sleep(1)
