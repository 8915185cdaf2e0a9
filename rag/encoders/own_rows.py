"""Late interaction by a model with code of its own, such as jina-embeddings-v4 where it is asked
for several vectors.

Its code does not say where its rows look: they count in every search and have no place.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from rag.encoders.checkpoint import find_checkpoint
from rag.encoders.dense_adapters import LoadingPlan
from rag.encoders.dense_families import own_code
from rag.encoders.dense_remote_code import asked, load_own_code
from rag.encoders.encoded import encoded_page, encoded_query, image_of, require_question
from rag.encoders.page_images import rgb
from rag.encoders.self_test import QUERIES, prove
from rag.encoders.torch_runtime import free_gpu_memory, in_batches
from rag.errors import ConfigError, InputError, ModelFailed
from rag.geometry import FloatArray
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageInput
from rag.settings import EncoderSettings
from rag.types import MultiVector, VectorKind

_SEVERAL = "return_multivector"


class OwnRowsEncoder:
    """PageEncoder over `encode_text` and `encode_image` that make a row a token."""

    wants_image = True

    def __init__(self, model: Any, family: str, *, identity: EncoderIdentity) -> None:
        self._model = model
        self._for_text, self._for_image = asked(model, family)
        self._running = threading.Lock()
        self._identity = identity
        dim = self._rows(model.encode_text, QUERIES[0], self._for_text).shape[1]
        self._identity = EncoderIdentity(
            identity.name, identity.revision, dim, dim, identity.settings
        )

    @classmethod
    def load(cls, settings: EncoderSettings) -> OwnRowsEncoder:
        """Find the model, load it by its own code, and let it prove itself.

        Raises:
            ConfigError: as `find_checkpoint` and `own_code`; `encoder_family`, it makes one vector.
            ModelFailed: as `find_checkpoint` and `load_own_code`; `self_test_failed`.
        """
        checkpoint = find_checkpoint(settings)
        family = own_code(checkpoint)
        model = load_own_code(checkpoint, settings, LoadingPlan(settings))
        for method in (model.encode_text, model.encode_image):
            if _SEVERAL not in inspect.signature(method).parameters:
                raise ConfigError(
                    f"the code of {checkpoint.name} makes one vector a page",
                    code="encoder_family",
                    next_step="Set encoder.name to dense for this model.",
                )
        made_by: dict[str, str | int | float | bool] = {"model": checkpoint.name, "family": family}
        identity = EncoderIdentity("colpali", checkpoint.revision, 0, 0, made_by)
        encoder = cls(model, family, identity=identity)
        prove(encoder)
        return encoder

    @property
    def identity(self) -> EncoderIdentity:
        return self._identity

    def close(self) -> None:
        self._model = None
        free_gpu_memory()

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        # One at a time: nobody here knows which rows of a batch its code fills up.
        return [self._encoded(page) for page in pages]

    def _encoded(self, page: PageInput) -> EncodedPage:
        return encoded_page(_placeless(self._image_rows(image_of(page))))

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        text = text.strip()
        require_question(text, image)
        if text and image is not None:
            raise InputError(
                f"{self._identity.settings['model']} reads words or an image as a question, not "
                "both at once",
                code="query_not_supported",
                next_step="Ask by one of them, or join two questions by arithmetic.",
            )
        if image is not None:
            return encoded_query(_placeless(self._image_rows(image)))
        [rows] = in_batches(
            [text],
            lambda batch: [self._rows(self._model.encode_text, batch[0], self._for_text)],
            size=1,
        )
        return encoded_query(MultiVector(rows))

    def _image_rows(self, image: Image.Image) -> FloatArray:
        [rows] = in_batches(
            [rgb(image)],
            lambda batch: [self._rows(self._model.encode_image, batch[0], self._for_image)],
            size=1,
        )
        return rows

    def _rows(self, encode: Any, item: Any, options: dict[str, str]) -> FloatArray:
        """(n, dim) unit rows. Raises ModelFailed `bad_vectors`."""
        with self._running, torch.inference_mode():
            [found] = encode([item], **options, **{_SEVERAL: True})
            rows = torch.as_tensor(found).float().cpu().numpy()
        lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
        if rows.ndim != 2 or not len(rows) or not (np.isfinite(lengths) & (lengths > 0)).all():
            raise ModelFailed(
                f"the code of {self._identity.settings['model']} made no rows, or rows that are "
                "not finite or have no length",
                code="bad_vectors",
                next_step="Set encoder.dtype to bfloat16 or float32; otherwise the weights are "
                "bad.",
            )
        return cast("FloatArray", rows / lengths)


def _placeless(rows: FloatArray) -> MultiVector:
    n = len(rows)
    kinds = np.full(n, VectorKind.SPECIAL, np.uint8)
    return MultiVector(rows, np.zeros((n, 4), np.float32), kinds)
