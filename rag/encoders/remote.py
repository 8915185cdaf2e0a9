"""Pages and questions encoded by a server somewhere else. What cannot be seen from here is checked
from here: it must find the built-in pages, and what it makes of them is part of its identity.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rag.encoders.encoded import (
    encoded_page,
    encoded_query,
    image_of,
    joined_query,
    only_patches,
    require_question,
)
from rag.encoders.remote_apis import EmbeddingsApi, PoolingApi, ServerApi
from rag.encoders.remote_http import ModelServer, Refused
from rag.encoders.remote_processor import LocalProcessor, find_processor
from rag.encoders.self_test import page_inputs, prove
from rag.errors import ConfigError, ModelFailed
from rag.geometry import FloatArray
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageEncoder, PageInput
from rag.scoring.fingerprint import fingerprint
from rag.settings import EncoderSettings
from rag.types import Json, MultiVector, Notice, VectorKind

_log = logging.getLogger(__name__)

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
        notices: Sequence[Notice] = (),
    ) -> None:
        self._server = server
        self._api = api
        self._processor = processor
        self._notices = list(notices)
        self._unplaced_pages = 0
        self._telling = threading.Lock()
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
        recorded = _Recorded(self)
        prove(recorded)
        self._identity.settings["fingerprint"] = fingerprint(recorded.items)

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
            processor, notices = None, []
            if settings.api == "pooling":
                try:
                    processor = find_processor(settings)
                except ModelFailed as error:  # the server makes the vectors without it
                    message = f"Rows have no places: {error.message}. {error.next_step}"
                    _log.warning(message)
                    notices = [Notice(error.code, message)]
            return cls(
                server, api, model=model, settings=made_by, processor=processor, notices=notices
            )
        except BaseException:
            server.close()
            raise

    @property
    def identity(self) -> EncoderIdentity:
        return self._identity

    def take_notices(self) -> list[Notice]:
        """Why rows have no places, each told once."""
        with self._telling:
            notices, self._notices = self._notices, []
            n_pages, self._unplaced_pages = self._unplaced_pages, 0
        if n_pages:
            notices.append(
                Notice(
                    "places_unknown",
                    f"{n_pages} page{' has' if n_pages == 1 else 's have'} another number of rows "
                    "from the embedding server than the processor here makes. They are found, and "
                    "nothing is marked on them. Serve the model with the image size of its own "
                    "processor (vLLM: --mm-processor-kwargs), then ingest them again with --force.",
                )
            )
        return notices

    def close(self) -> None:
        self._server.close()

    # --- pages ----------------------------------------------------------------------------------
    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        bodies = [partial(self._api.of_image, image_of(page)) for page in pages]
        answers = self._server.post_all(self._api.path, bodies)
        return [self._encoded(page, answer) for page, answer in zip(pages, answers, strict=True)]

    def _encoded(self, page: PageInput, answer: Json) -> EncodedPage:
        vectors = self._api.rows(answer, dim=self._dim)
        boxes, kinds = self._places(
            image_of(page), len(vectors), width=page.width_pt, height=page.height_pt
        )
        if self._processor is not None and not (kinds == VectorKind.PATCH).any():
            self._say_unplaced(page, len(vectors))
        return encoded_page(MultiVector(vectors, boxes, kinds))

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

    def _say_unplaced(self, page: PageInput, n_rows: int) -> None:
        with self._telling:
            self._unplaced_pages += 1
        _log.warning(
            "page %d of %s: %d rows from the server, another number from the processor here; they "
            "have no places",
            page.ref.page_number,
            page.ref.document_id,
            n_rows,
        )

    def _has_same_rows(self, processor: LocalProcessor) -> bool:
        """Whether the server cuts a page into as many rows as the processor here does."""
        page = page_inputs()[0]
        body = self._api.of_image(image_of(page))
        answer = self._server.post(self._api.path, body, retry_s=_IMPATIENT_S)
        _, kinds = processor.places(image_of(page), width=page.width_pt, height=page.height_pt)
        return len(kinds) == len(self._api.rows(answer, dim=self._dim))

    # --- questions ------------------------------------------------------------------------------
    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        text = text.strip()
        if self._processor is None:  # which knows what is markup to the server
            text = text.replace("<|", "< |")
        require_question(text, image)
        if image is not None and (not text or self._api.takes_text_with_image):
            return encoded_query(self._image_rows(image, text))
        query = self._text_query(text)
        return query if image is None else joined_query(query, self._image_rows(image, ""))

    def _text_query(self, text: str) -> EncodedQuery:
        """Rows of a text, and labels where it was written in tokens here."""
        if self._processor is None:
            return encoded_query(MultiVector(self._rows(self._api.of_text(text))))
        token_ids = self._processor.query_ids(text)
        vectors = self._rows(self._api.of_text(text, token_ids))
        is_labelled = len(token_ids) == len(vectors)
        return encoded_query(
            MultiVector(vectors), self._processor.labels(token_ids) if is_labelled else ()
        )

    def _image_rows(self, image: Image.Image, text: str) -> MultiVector:
        """Rows of an image, boxes in its own pixels; of its patches alone where they are known."""
        vectors = self._rows(self._api.of_image(image, text))
        boxes, kinds = self._places(image, len(vectors), width=image.width, height=image.height)
        return only_patches(MultiVector(vectors, boxes, kinds))

    def _rows(self, body: Json) -> FloatArray:
        answer = self._server.post(self._api.path, body, retry_s=_IMPATIENT_S)
        return self._api.rows(answer, dim=self._dim)


class _Recorded:
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
