"""Pages and questions encoded by a server somewhere else. What cannot be seen from here is checked
from here: it must find the built-in pages, and what it makes of them is part of its identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rag.encoders.remote_apis import EmbeddingsApi, PoolingApi, ServerApi
from rag.encoders.remote_http import ModelServer, Refused
from rag.encoders.remote_processor import LocalProcessor, find_processor
from rag.encoders.self_test import page_inputs, prove
from rag.errors import ConfigError, InputError
from rag.geometry import FloatArray
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageEncoder, PageInput
from rag.scoring.fingerprint import fingerprint
from rag.settings import EncoderSettings
from rag.types import Json, MultiVector, VectorKind

# Somebody waits for a question: a server that is down is said to be down.
_IMPATIENT_S = 2.0


class RemoteEncoder:
    """PageEncoder over a server of embeddings.

    Where a row looks is known only to the model's processor. Without it here, or where the server
    makes another number of rows of a page than it does, rows count in every search and have no
    place: SPECIAL, with an empty box. A box of the whole page would put a patch's match everywhere.
    """

    wants_image = True

    def __init__(
        self,
        server: ModelServer,
        api: ServerApi,
        *,
        model: str,
        settings: dict[str, str | int | float | bool],
        processor: LocalProcessor | None = None,
    ) -> None:
        self._server = server
        self._api = api
        self._processor = processor
        probed = api.rows(server.post(api.path, api.probe(), retry_s=_IMPATIENT_S), dim=None)
        self._dim = int(probed.shape[1])
        if processor is not None and not self._has_same_rows(processor):
            self._processor = None
        self._identity = EncoderIdentity(
            name="remote",
            revision=model,
            dim=self._dim,
            dense_dim=self._dim,
            settings={**settings, "boxes": "none" if self._processor is None else "processor"},
        )
        watched = _Watched(self)
        prove(watched)
        self._identity.settings["fingerprint"] = fingerprint(watched.items)

    @classmethod
    def connect(cls, settings: EncoderSettings) -> RemoteEncoder:
        """Find the server, and let it prove itself.

        Raises:
            ConfigError: no address; `encoder.model` does not say which of several models.
            ModelFailed: as `ModelServer.post` and `ServerApi.rows` raise it; `self_test_failed`.
        """
        if settings.url is None:
            raise ConfigError(
                "the remote encoder wants the address of its server",
                next_step="Set encoder.url, like http://127.0.0.1:8000.",
            )
        server = ModelServer(
            settings.url,
            api_key=settings.api_key,
            timeout_s=settings.timeout_s,
            retry_s=settings.retry_s,
            requests=settings.requests,
        )
        try:
            model = served_model(server, settings.model)
            made_by: dict[str, str | int | float | bool] = {"api": settings.api}
            api: ServerApi = PoolingApi(model)
            if settings.api == "embeddings":
                api = EmbeddingsApi(model, instruction=settings.instruction)
                if settings.instruction:
                    made_by["instruction"] = settings.instruction
            processor = find_processor(settings) if settings.api == "pooling" else None
            return cls(server, api, model=model, settings=made_by, processor=processor)
        except BaseException:
            server.close()
            raise

    @property
    def identity(self) -> EncoderIdentity:
        return self._identity

    def close(self) -> None:
        self._server.close()

    # --- pages ----------------------------------------------------------------------------------
    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        bodies = [partial(self._api.of_image, _image_of(page)) for page in pages]
        answers = self._server.post_all(self._api.path, bodies)
        return [self._encoded(page, answer) for page, answer in zip(pages, answers, strict=True)]

    def _encoded(self, page: PageInput, answer: Json) -> EncodedPage:
        vectors = self._api.rows(answer, dim=self._dim)
        boxes, kinds = self._places(
            _image_of(page), len(vectors), width=page.width_pt, height=page.height_pt
        )
        seen = vectors[kinds == VectorKind.PATCH]
        return EncodedPage(
            patches=MultiVector(vectors, boxes, kinds),
            patch_words=None,
            dense=_unit_mean(seen if len(seen) else vectors)[None],
            headings=MultiVector(
                np.zeros((0, self._dim), np.float32), np.zeros((0, 4), np.float32)
            ),
        )

    def _places(
        self, image: Image.Image, n_rows: int, *, width: float, height: float
    ) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
        """(n, 4) boxes and (n,) kinds of the rows of one image, in the frame of that size."""
        if self._processor is not None:
            boxes, kinds = self._processor.places(image, width=width, height=height)
            if len(kinds) == n_rows:
                return boxes, kinds
        return (
            np.zeros((n_rows, 4), np.float32),
            np.full(n_rows, VectorKind.SPECIAL, np.uint8),
        )

    def _has_same_rows(self, processor: LocalProcessor) -> bool:
        """Whether the server cuts a page into as many rows as the processor here does."""
        page = page_inputs()[0]
        body = self._api.of_image(_image_of(page))
        answer = self._server.post(self._api.path, body, retry_s=_IMPATIENT_S)
        _, kinds = processor.places(_image_of(page), width=page.width_pt, height=page.height_pt)
        return len(kinds) == len(self._api.rows(answer, dim=self._dim))

    # --- questions ------------------------------------------------------------------------------
    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        text = text.strip()
        if self._processor is None:  # which knows what is markup to the server
            text = text.replace("<|", "< |")
        if not text and image is None:
            raise InputError(
                "the question is empty", code="empty_query", next_step="Ask in words or by image."
            )
        if image is not None and (not text or self._api.takes_text_with_image):
            return _query(self._shown(image, text))
        tokens, labels = self._spoken(text)
        if image is None:
            return _query(tokens, labels)
        # Nothing here reads both as one: a page's score is the sum of both scores.
        return _query(_joined(tokens, self._shown(image, "")))

    def _spoken(self, text: str) -> tuple[MultiVector, tuple[str, ...]]:
        """Rows of a text, and labels where it was written in tokens here."""
        if self._processor is None:
            return MultiVector(self._asked(self._api.of_text(text))), ()
        token_ids = self._processor.query_ids(text)
        vectors = self._asked(self._api.of_text(text, token_ids))
        is_labelled = len(token_ids) == len(vectors)
        return MultiVector(vectors), self._processor.labels(token_ids) if is_labelled else ()

    def _shown(self, image: Image.Image, text: str) -> MultiVector:
        """Rows of an image, boxes in its own pixels; of its patches alone where they are known."""
        vectors = self._asked(self._api.of_image(image, text))
        boxes, kinds = self._places(image, len(vectors), width=image.width, height=image.height)
        seen = kinds == VectorKind.PATCH
        if not seen.any():
            return MultiVector(vectors, boxes, kinds)
        return MultiVector(vectors[seen], boxes[seen], kinds[seen])

    def _asked(self, body: Json) -> FloatArray:
        answer = self._server.post(self._api.path, body, retry_s=_IMPATIENT_S)
        return self._api.rows(answer, dim=self._dim)


class _Watched:
    """Keeps what an encoder made, so that the built-in pages are encoded once for two purposes."""

    def __init__(self, encoder: PageEncoder) -> None:
        self._encoder = encoder
        self.items: list[FloatArray] = []

    @property
    def identity(self) -> EncoderIdentity:
        return self._encoder.identity

    @property
    def wants_image(self) -> bool:
        return self._encoder.wants_image

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        encoded = self._encoder.encode_pages(pages)
        self.items += [page.patches.vectors for page in encoded]
        return encoded

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        query = self._encoder.encode_query(text, image=image)
        self.items.append(query.tokens.vectors)
        return query

    def close(self) -> None:
        self._encoder.close()


def served_model(server: ModelServer, wanted: str | None) -> str:
    """The name by which the server knows the model.

    Args:
        server: asked for its list; one that keeps none is taken at the settings' word.
        wanted: model id, or a folder with the model's files, which the server may know by another
            name.

    Raises:
        ConfigError: the server has several models, and none of them is clearly wanted.
        ModelFailed: as `ModelServer.get` raises it.
    """
    try:
        listed = server.get("/v1/models", retry_s=_IMPATIENT_S).get("data")
    except Refused as error:
        if error.status != 404 or wanted is None:
            raise
        return wanted
    names: dict[str, str] = {}  # by every name a model goes by
    models = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    for model in models:
        name = str(model.get("id", ""))
        for known_as in (model.get("root"), name):
            if isinstance(known_as, str) and known_as:
                names[known_as] = name
    if wanted is None and len(set(names.values())) == 1:
        return next(iter(names.values()))
    if wanted is not None:
        if wanted in names:
            return names[wanted]
        # A folder here is another folder there, or was given a name.
        if Path(wanted).is_dir():
            by_folder = {
                name for known, name in names.items() if Path(known).name == Path(wanted).name
            }
            found = by_folder or set(names.values())
            if len(found) == 1:
                return found.pop()
    served = ", ".join(sorted(set(names.values()))[:8]) or "no model"
    asked = "settings name none" if wanted is None else f"settings ask for {wanted}"
    raise ConfigError(
        f"the embedding server {server.name} has {served}; {asked}",
        code="encoder_refused",
        next_step="Set encoder.model to a name that the server has.",
    )


def _query(tokens: MultiVector, labels: tuple[str, ...] = ()) -> EncodedQuery:
    return EncodedQuery(tokens, _unit_mean(tokens.vectors), labels)


def _joined(text: MultiVector, image: MultiVector) -> MultiVector:
    assert image.boxes is not None
    assert image.kinds is not None
    n = len(text)
    return MultiVector(
        np.concatenate([text.vectors, image.vectors]),
        np.concatenate([np.zeros((n, 4), np.float32), image.boxes]),
        np.concatenate([np.full(n, VectorKind.SPECIAL, np.uint8), image.kinds]),
    )


def _image_of(page: PageInput) -> Image.Image:
    assert page.image is not None, "wants_image"
    return page.image.image


def _unit_mean(vectors: FloatArray) -> FloatArray:
    """(dim,); the first row where opposite rows leave nothing."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(mean)
    unit: FloatArray = (vectors[0] if length < 1e-6 else mean / length).astype(np.float32)
    return unit
