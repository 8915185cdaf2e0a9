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

from rag.encoders.colpali_families import FAMILIES, Family, limit_patches
from rag.encoders.encoded import without_markup
from rag.encoders.library_reasons import library_reason
from rag.encoders.local_files import find_file
from rag.encoders.patch_layout import Kinds, patch_layout
from rag.errors import ModelFailed
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
            words = without_markup(text, self._processor.tokenizer)
            ids = self._processor.process_queries([words])["input_ids"][0]
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
    """The processor of `encoder.model`; None where its files or the vision extra are not here.

    Raises:
        ConfigError: `encoder.max_patches` is set, and the family's number is fixed.
        ModelFailed: `processor_failed`, files of it are here and do not load.
    """
    folder = _folder(settings)
    family = None if folder is None else _family(folder)
    if folder is None or family is None or importlib.util.find_spec("colpali_engine") is None:
        return None
    from rag.encoders.torchvision_guard import ensure_torchvision

    ensure_torchvision()
    from colpali_engine import models

    try:
        processor = getattr(models, family.processor).from_pretrained(folder, local_files_only=True)
    except Exception as error:
        # Libraries for tokenizers and images share no base of their errors. Some of its files may
        # be all that a cache has of it.
        assert settings.model is not None
        raise ModelFailed(
            f"the processor of {settings.model} does not load: "
            f"{library_reason(error, {folder: settings.model})}",
            code="processor_failed",
            next_step="Fetch the model again with `octavo models pull`, and set encoder.model to "
            "its folder.",
        ) from error
    if settings.max_patches is not None:
        limit_patches(family, processor, settings.max_patches)
    return LocalProcessor(family.name, processor)


def _folder(settings: EncoderSettings) -> Path | None:
    if settings.model is None:
        return None
    found = (find_file(settings.model, name, revision=settings.revision) for name in _CONFIGS)
    return next((path.parent for path in found if path is not None), None)


def _family(folder: Path) -> Family | None:
    """Of the class that wrote the processor; None where it is of no family."""
    for name in _CONFIGS:
        try:
            written_by = json.loads((folder / name).read_text(encoding="utf-8"))["processor_class"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for family in FAMILIES:
            if written_by == family.processor:
                return family
    return None
