"""Pages and questions as one vector each, by any single-vector model: a multi-vector of one row.

The row stands for the whole page: its box is the page, and so is its heat map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from rag.encoders.checkpoint import find_checkpoint
from rag.encoders.dense_adapters import DenseAdapter, load_adapter
from rag.encoders.dense_families import family_of
from rag.encoders.encoded import encoded_page, encoded_query, image_of, require_question
from rag.encoders.page_images import grouped
from rag.encoders.self_test import prove
from rag.encoders.torch_runtime import first_batch_size, free_gpu_memory, in_batches
from rag.errors import ConfigError, InputError, ModelFailed
from rag.geometry import FloatArray
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageInput
from rag.settings import EncoderSettings
from rag.types import MultiVector, VectorKind

_STEP = 16  # packed pages have dimensions by 16


class DenseEncoder:
    """PageEncoder over an adapter. Thread-safe, as adapters are."""

    wants_image = True

    def __init__(
        self, adapter: DenseAdapter, *, identity: EncoderIdentity, batch_size: int
    ) -> None:
        self._adapter = adapter
        self._identity = identity
        self._batch_size = batch_size

    @classmethod
    def load(cls, settings: EncoderSettings) -> DenseEncoder:
        """Find the model, load all of its weights, and let it prove itself.

        Raises:
            ConfigError: settings that the model, the machine or each other contradict; as
                `find_checkpoint` and `family_of` raise it.
            ModelFailed: as `find_checkpoint`; `load_failed`, `weights_incomplete`,
                `self_test_failed`, `out_of_memory`, `gpu_lost`.
        """
        checkpoint = find_checkpoint(settings)
        family = family_of(checkpoint)
        adapter = load_adapter(checkpoint, family, settings)
        dim = _kept_dim(settings.dim, adapter.dim, checkpoint.name)
        made_by: dict[str, str | int | float | bool] = {
            "model": checkpoint.name,
            "family": family.name,
            **adapter.made_by,
        }
        if adapter.instruction is not None:
            made_by["instruction"] = adapter.instruction
        if settings.max_patches is not None:
            made_by["max_patches"] = settings.max_patches
        encoder = cls(
            adapter,
            identity=EncoderIdentity(
                name="dense",
                revision=checkpoint.revision,
                dim=dim,
                dense_dim=dim,
                settings=made_by,
            ),
            batch_size=first_batch_size(settings.batch_size, adapter.device),
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
        self._adapter.close()
        free_gpu_memory()

    # --- pages ----------------------------------------------------------------------------------
    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        encoded: dict[int, EncodedPage] = {}
        for places in grouped(pages, mixes_sizes=self._adapter.mixes_sizes):
            rows = in_batches(
                [image_of(pages[place]) for place in places],
                lambda inputs: list(self._adapter.vectors(inputs)),
                size=self._batch_size,
                prepare=self._adapter.prepare_images,
                smaller=self._use_smaller,
            )
            for place, row in zip(places, rows, strict=True):
                page = pages[place]
                vector = self._unit(row, f"page {page.ref.page_number}")
                encoded[place] = encoded_page(_one_row(vector, page.width_pt, page.height_pt))
        return [encoded[place] for place in range(len(pages))]

    def _use_smaller(self, size: int) -> None:
        self._batch_size = min(self._batch_size, size)

    # --- questions ------------------------------------------------------------------------------
    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        text = text.strip()
        require_question(text, image)
        [row] = in_batches([(text, image)], lambda asked: [self._asked(*asked[0])], size=1)
        if row is None:
            raise InputError(
                f"{self._identity.settings['model']} reads words or an image as a question, not "
                "both at once",
                code="query_not_supported",
                next_step="Ask by one of them, or join two questions by arithmetic.",
            )
        vector = self._unit(row, "the question")
        if image is None:
            return encoded_query(MultiVector(vector[None]), (text,))
        tokens = _one_row(vector, image.width, image.height)
        return encoded_query(tokens, (f"image + {text}" if text else "image",))

    def _asked(self, text: str, image: Image.Image | None) -> FloatArray | None:
        if image is None:
            found: FloatArray = self._adapter.encode_texts([text])[0]
            return found
        return self._adapter.encode_mixed(text, image)

    # --- vectors --------------------------------------------------------------------------------
    def _unit(self, row: FloatArray, name: str) -> FloatArray:
        """(dim,) unit: the first of its dimensions, as models of nested sizes are cut.

        Raises:
            ModelFailed: `bad_vectors`.
        """
        kept = row[: self._identity.dim].astype(np.float64)
        length = np.linalg.norm(kept)
        if not (np.isfinite(length) and length > 0):
            raise ModelFailed(
                f"the model made a vector of {name} that is not finite or has no length",
                code="bad_vectors",
                next_step="Set encoder.dtype to bfloat16 or float32; otherwise the weights are "
                "bad.",
            )
        unit: FloatArray = (kept / length).astype(np.float32)
        return unit


def _kept_dim(wanted: int | None, whole: int, name: str) -> int:
    """Raises ConfigError for a size that the model does not have, or packed pages do not take."""
    kept = whole if wanted is None else wanted
    if kept > whole:
        raise ConfigError(
            f"encoder.dim is {kept}, and vectors of {name} have {whole} dimensions",
            next_step=f"Set encoder.dim to {whole} or less, or leave it out.",
        )
    if kept % _STEP or kept < _STEP:
        raise ConfigError(
            f"vectors of {name} would have {kept} dimensions, and an index takes multiples of "
            f"{_STEP}",
            next_step=f"Set encoder.dim to {max(_STEP, kept - kept % _STEP)}.",
        )
    return kept


def _one_row(vector: FloatArray, width: float, height: float) -> MultiVector:
    """The row that stands for all of a page or an image."""
    whole = np.array([[0, 0, width, height]], np.float32)
    return MultiVector(vector[None], whole, np.array([VectorKind.PATCH], np.uint8))
