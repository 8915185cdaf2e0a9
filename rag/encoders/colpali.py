"""Pages and questions as vectors of tokens, by any late-interaction model of colpali-engine.

Padding rows end here, and so does everything a batch shares: a page's rows are the same whichever
pages it is encoded with.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from rag.encoders.adapters import apply_adapter, full_weights
from rag.encoders.checkpoint import Checkpoint, find_checkpoint, load_errors, require_loaded
from rag.encoders.colpali_families import Family, family_of, limit_patches
from rag.encoders.encoded import (
    encoded_page,
    encoded_query,
    image_of,
    joined_query,
    only_patches,
    require_question,
    without_markup,
)
from rag.encoders.page_images import grouped, shaped
from rag.encoders.patch_layout import patch_layout
from rag.encoders.self_test import prove
from rag.encoders.torch_runtime import (
    choose_attention,
    choose_device,
    choose_dtype,
    first_batch_size,
    free_gpu_memory,
    in_batches,
)
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.errors import InputError, ModelFailed
from rag.geometry import FloatArray
from rag.page_text import PageText
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageInput
from rag.settings import EncoderSettings
from rag.types import MultiVector, PageRef, RenderedPage

_BATCHES_AT_LEAST = 4
# Rows leave a model with unit length; bfloat16 rounds that by less than this.
_LENGTH_TOLERANCE = 0.05


@dataclass(frozen=True)
class _Prepared:
    """Pages (or one question) as a model's input, and where each attended row looks."""

    names: tuple[str, ...]  # for people
    inputs: Mapping[str, Any]
    layouts: tuple[tuple[FloatArray, npt.NDArray[np.uint8]], ...] = ()


class ColPaliEncoder:
    """PageEncoder over a model and its processor, both of one family.

    Thread-safe: the processor and the model each serve one caller at a time.
    """

    wants_image = True

    def __init__(
        self,
        model: Any,
        processor: Any,
        family: Family,
        *,
        identity: EncoderIdentity,
        batch_size: int,
    ) -> None:
        self._model = model
        self._processor = processor
        self._family = family
        self._identity = identity
        self._batch_size = batch_size
        self._max_tokens = _positions(model.config)
        # Fast tokenizers are not to be used by two threads, and some models keep positions
        # between calls.
        self._processing, self._running = threading.Lock(), threading.Lock()

    @classmethod
    def load(cls, settings: EncoderSettings) -> ColPaliEncoder:
        """Find the model, load all of its weights, and let it prove itself.

        Raises:
            ConfigError: settings that the model, the machine or each other contradict; as
                `find_checkpoint` and `family_of` raise it.
            ModelFailed: as `find_checkpoint`; `load_failed`, `weights_incomplete`,
                `self_test_failed`, `out_of_memory`, `gpu_lost`.
        """
        checkpoint = find_checkpoint(settings)
        family = family_of(checkpoint)
        device = choose_device(settings.device)
        if device.type == "cpu":
            torch.set_num_threads(settings.threads)
        dtype = choose_dtype(settings.dtype, device)
        attention = choose_attention(settings.attention, device, dtype)
        model = _load_model(checkpoint, family, dtype=dtype, attention=attention)
        processor = _load_processor(checkpoint, family)
        made_by: dict[str, str | int | float | bool] = {
            "model": checkpoint.name,
            "family": family.name,
        }
        if settings.max_patches is not None:
            limit_patches(family, processor, settings.max_patches)
            made_by["max_patches"] = settings.max_patches
        with load_errors(checkpoint):
            model = model.to(device).eval()
        encoder = cls(
            model,
            processor,
            family,
            identity=EncoderIdentity(
                name="colpali",
                revision=checkpoint.revision,
                dim=int(model.dim),
                dense_dim=int(model.dim),
                settings=made_by,
            ),
            batch_size=first_batch_size(settings.batch_size, device),
        )
        prove(encoder)
        return encoder

    @property
    def identity(self) -> EncoderIdentity:
        return self._identity

    @property
    def batch_size(self) -> int:
        """Pages a forward pass at most; smaller than at first where memory was short."""
        return self._batch_size

    def close(self) -> None:
        # The weights go with the last reference to them; a GPU keeps the memory for its next user.
        self._model = None
        free_gpu_memory()

    # --- pages ----------------------------------------------------------------------------------
    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        encoded: dict[int, EncodedPage] = {}
        for places in grouped(pages, mixes_sizes=self._family.mixes_sizes):
            rows = in_batches(
                [pages[place] for place in places],
                self._rows_of,
                # Several batches of what was handed in: one is prepared while the last is run.
                size=min(self._batch_size, -(-len(places) // _BATCHES_AT_LEAST)),
                prepare=self._prepared,
                smaller=self._use_smaller,
            )
            for place, (vectors, (boxes, kinds)) in zip(places, rows, strict=True):
                encoded[place] = encoded_page(MultiVector(vectors, boxes, kinds))
        return [encoded[place] for place in range(len(pages))]

    def _prepared(self, pages: Sequence[PageInput]) -> _Prepared:
        images = [shaped(image_of(page)) for page in pages]
        with self._processing:
            inputs = self._processor.process_images(images)
            layouts = tuple(
                patch_layout(
                    self._family.name,
                    self._processor,
                    _of_one(inputs, place),
                    width_pt=page.width_pt,
                    height_pt=page.height_pt,
                )
                for place, page in enumerate(pages)
            )
        names = tuple(f"page {page.ref.page_number}" for page in pages)
        return _Prepared(names, inputs, layouts)

    def _use_smaller(self, size: int) -> None:
        self._batch_size = min(self._batch_size, size)

    # --- questions ------------------------------------------------------------------------------
    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        """A query of words, of an image (`text` is empty), or of both together.

        These models read no text and image as one: see `joined_query`.

        Raises:
            InputError: `empty_query`; `query_too_long`, more tokens than the model has positions.
        """
        text = text.strip()
        require_question(text, image)
        if image is None:
            return self._text_query(text)
        rows = self._image_rows(image)
        return joined_query(self._text_query(text), rows) if text else encoded_query(rows)

    def _text_query(self, text: str) -> EncodedQuery:
        """A row and a label for each token, the augmentation tokens with them."""
        with self._processing:
            tokenizer = self._processor.tokenizer
            inputs = self._processor.process_queries([without_markup(text, tokenizer)])
            token_ids = inputs["input_ids"][0][inputs["attention_mask"][0].bool()].tolist()
            labels = tuple(tokenizer.decode([each]) for each in token_ids)
        if len(token_ids) > self._max_tokens:
            raise InputError(
                f"the question has {len(token_ids):,} tokens, and the model reads "
                f"{self._max_tokens:,}",
                code="query_too_long",
                next_step="Ask in fewer words.",
            )
        question = _Prepared(("the question",), inputs)
        [(vectors, _)] = in_batches([question], lambda batch: self._rows_of(batch[0]), size=1)
        return encoded_query(MultiVector(vectors), labels)

    def _image_rows(self, image: Image.Image) -> MultiVector:
        """Rows of the image's patches, with boxes in its own pixels."""
        page = PageInput(
            ref=PageRef("query", 1),
            width_pt=image.width,
            height_pt=image.height,
            text=PageText.empty(),
            image=RenderedPage(image, image.width, image.height),
        )
        [(vectors, (boxes, kinds))] = in_batches(
            [page], self._rows_of, size=1, prepare=self._prepared
        )
        return only_patches(MultiVector(vectors, boxes, kinds))

    # --- the model ------------------------------------------------------------------------------
    def _rows_of(
        self, prepared: _Prepared
    ) -> list[tuple[FloatArray, tuple[FloatArray, npt.NDArray[np.uint8]]]]:
        """(n, dim) unit rows of each page without padding, with their layout where there is one."""
        attended = prepared.inputs["attention_mask"].bool().numpy()
        with self._running, torch.inference_mode():
            on_device = {
                name: value.to(
                    self._model.device,
                    # As the model's own first step would, after copying twice the bytes.
                    self._model.dtype if value.is_floating_point() else None,
                )
                for name, value in prepared.inputs.items()
                if name != "labels"  # a processor made for training adds what its loss compares
            }
            found = self._model(**on_device).float().cpu().numpy()  # (n_pages, n_rows, dim)
        nowhere = (np.zeros((0, 4), np.float32), np.zeros(0, np.uint8))
        return [
            (
                _unit_rows(found[place][attended[place]], name),
                prepared.layouts[place] if prepared.layouts else nowhere,
            )
            for place, name in enumerate(prepared.names)
        ]


# --- loading ------------------------------------------------------------------------------------
def _load_model(
    checkpoint: Checkpoint, family: Family, *, dtype: torch.dtype, attention: str
) -> Any:
    ensure_torchvision()
    from colpali_engine import models
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what it reports of missing keys is an error here
    with load_errors(checkpoint):
        model, loaded = getattr(models, family.name).from_pretrained(
            checkpoint.model_folder,
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in what it reports, by name
            local_files_only=True,
            use_safetensors=True,
        )
    require_loaded(loaded, checkpoint.name, given=full_weights(checkpoint))
    if checkpoint.adapter is not None:
        apply_adapter(model, checkpoint)
    if family.name == "ColPali":
        # Only hidden states are looked at: without the head, a page saves a vocabulary for each
        # token. It has no weights either, in a checkpoint made for retrieval.
        model.model.lm_head = torch.nn.Identity()
    unloaded = [name for name, weight in model.named_parameters() if weight.is_meta]
    require_loaded({"missing_keys": unloaded}, checkpoint.name)
    return model


def _load_processor(checkpoint: Checkpoint, family: Family) -> Any:
    from colpali_engine import models

    with load_errors(checkpoint):
        return getattr(models, family.processor).from_pretrained(
            checkpoint.processor_folder, local_files_only=True
        )


def _positions(config: Any) -> int:
    """Tokens the language model has positions for."""
    text = getattr(config, "text_config", config)
    return int(getattr(text, "max_position_embeddings", 0) or 2**31)


# --- one page -----------------------------------------------------------------------------------
def _of_one(inputs: Mapping[str, Any], place: int) -> dict[str, Any]:
    names = ("input_ids", "attention_mask", "image_grid_thw")
    return {name: inputs[name][place : place + 1] for name in names if name in inputs}


def _unit_rows(rows: FloatArray, name: str) -> FloatArray:
    """Raises ModelFailed `bad_vectors` for rows that no trained model makes."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # NaN is in no range.
    if not (np.abs(lengths - 1) < _LENGTH_TOLERANCE).all():
        raise ModelFailed(
            f"the model made rows of {name} that are not finite or not of unit length",
            code="bad_vectors",
            next_step="Set encoder.dtype to bfloat16 or float32; otherwise the weights are bad.",
        )
    return cast("FloatArray", rows / lengths)
