"""The processor of a model that runs elsewhere, where its files are here: how a question is written
in tokens, and where on a page each row looks. It needs no weights.
"""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from rag.encoders.local_files import find_file
from rag.encoders.patch_layout import FAMILIES, Kinds, patch_layout
from rag.geometry import FloatArray
from rag.settings import EncoderSettings

# Each of these may say which class wrote it; an adapter of a model has no other word of its family.
_CONFIGS = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
_KEPT_LAYOUTS = 64


class LocalProcessor:
    """Of a family of colpali-engine, from its files alone."""

    def __init__(self, family: str, processor: Any) -> None:
        self._family = family
        self._processor = processor
        self._layouts: dict[tuple[int, int, float, float], tuple[FloatArray, Kinds]] = {}
        self._lock = threading.Lock()  # tokenizers keep their padding in themselves while they run

    def query_ids(self, text: str) -> list[int]:
        """The question's tokens, with the family's prefix and augmentation tokens."""
        with self._lock:
            ids = self._processor.process_queries([text])["input_ids"][0]
        return [int(each) for each in ids]

    def labels(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        return tuple(self._processor.tokenizer.decode([each]) for each in token_ids)

    def places(
        self, image: Image.Image, *, width: float, height: float
    ) -> tuple[FloatArray, Kinds]:
        """(n, 4) boxes in a frame of that size and (n,) kinds, of the rows an image makes."""
        # They depend on the size alone, and the pages of a document share it.
        key = (image.width, image.height, width, height)
        with self._lock:
            if key not in self._layouts:
                self._layouts[key] = self._layout(image.size, width, height)
            return self._layouts[key]

    def _layout(
        self, size: tuple[int, int], width: float, height: float
    ) -> tuple[FloatArray, Kinds]:
        if len(self._layouts) >= _KEPT_LAYOUTS:
            self._layouts.clear()
        inputs = self._processor.process_images([Image.new("RGB", size, "white")])
        return patch_layout(self._family, self._processor, inputs, width_pt=width, height_pt=height)


def find_processor(settings: EncoderSettings) -> LocalProcessor | None:
    """The processor of `encoder.model`; None where its files or the vision extra are not here."""
    folder = _folder(settings)
    name = None if folder is None else _processor_class(folder)
    if folder is None or name is None or _family(name) not in FAMILIES:
        return None
    if importlib.util.find_spec("colpali_engine") is None:
        return None
    from rag.encoders.torchvision_guard import ensure_torchvision

    ensure_torchvision()
    from colpali_engine import models

    limit: dict[str, int] = {}
    if settings.max_patches is not None and name.startswith("ColQwen"):
        limit["max_num_visual_tokens"] = settings.max_patches
    try:
        processor = getattr(models, name).from_pretrained(folder, local_files_only=True, **limit)
    except (OSError, ValueError):  # only some of its files are here, as a cache may have it
        return None
    return LocalProcessor(_family(name), processor)


def _folder(settings: EncoderSettings) -> Path | None:
    if settings.model is None:
        return None
    found = (find_file(settings.model, name, revision=settings.revision) for name in _CONFIGS)
    return next((path.parent for path in found if path is not None), None)


def _processor_class(folder: Path) -> str | None:
    for name in _CONFIGS:
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8")).get("processor_class")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(found, str) and found.startswith("Col"):
            return found
    return None


def _family(processor_class: str) -> str:
    """ColQwen2_5 for ColQwen2_5_Processor, ColGemma3 for ColGemmaProcessor3."""
    return processor_class.replace("_Processor", "").replace("Processor", "")
