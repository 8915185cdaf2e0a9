"""The two shapes in which servers take pages and questions and give vectors: vLLM's pooling, one
row a token, and OpenAI's embeddings, one row in all. One input a request, as pages must be sent.

Sources: docs.vllm.ai, "Pooling models" and "Multi-modal late interaction models";
platform.openai.com, "Create embeddings", with vLLM's `messages` for images.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from PIL import Image

from rag.errors import ModelFailed
from rag.geometry import FloatArray
from rag.types import Json

_MAX_ROWS = 65_536
_VANISHING = 1e-6


class ServerApi(Protocol):
    """What to send, and what the answer means."""

    path: str
    takes_text_with_image: bool

    def probe(self) -> Json:
        """A request whose answer tells the dimension: in base64 its rows have no bounds."""
        ...

    def of_text(self, text: str, token_ids: Sequence[int] | None = None) -> Json:
        """A question; as tokens where it is known how the model wants it written."""
        ...

    def of_image(self, image: Image.Image, text: str = "") -> Json: ...

    def rows(self, answer: Json, *, dim: int | None) -> FloatArray:
        """The unit rows of the one input, (n, dim).

        Args:
            answer: as the server sent it.
            dim: what each row must have; None where it is still to be learnt.

        Raises:
            ModelFailed: `bad_vectors`.
        """
        ...


class PoolingApi:
    """vLLM's `/pooling`: the vectors of all tokens, of text and image."""

    path = "/pooling"
    takes_text_with_image = False

    def __init__(self, model: str) -> None:
        self._common = {"model": model, "task": "token_embed", "encoding_format": "base64"}

    def probe(self) -> Json:
        return {**self.of_text("page"), "encoding_format": "float"}

    def of_text(self, text: str, token_ids: Sequence[int] | None = None) -> Json:
        return {**self._common, "input": text if token_ids is None else list(token_ids)}

    def of_image(self, image: Image.Image, text: str = "") -> Json:
        # The words that the models of this kind were trained with beside every page.
        return {**self._common, "messages": [_message(image, text or "Describe the image.")]}

    def rows(self, answer: Json, *, dim: int | None) -> FloatArray:
        found = _only_item(answer).get("data")
        if isinstance(found, list) and found and not isinstance(found[0], list):
            raise _bad(
                "one vector where the vectors of all tokens were asked for",
                "Set encoder.api to embeddings, or let the server run the model's token_embed "
                "task.",
            )
        return _unit_rows(_decoded(found, dim), dim)


class EmbeddingsApi:
    """OpenAI's `/v1/embeddings`, with images in `messages` as vLLM takes them."""

    path = "/v1/embeddings"
    takes_text_with_image = True

    def __init__(self, model: str, *, instruction: str | None = None) -> None:
        self._common = {"model": model, "encoding_format": "base64"}
        self._instruction = instruction

    def probe(self) -> Json:
        return {**self.of_text("page"), "encoding_format": "float"}

    def of_text(self, text: str, token_ids: Sequence[int] | None = None) -> Json:
        if token_ids is not None:
            return {**self._common, "input": list(token_ids)}
        # As messages, like pages: the server writes both the way its chat template says.
        messages = [_message(None, text)]
        if self._instruction:
            said = {"type": "text", "text": self._instruction}
            messages.insert(0, {"role": "system", "content": [said]})
        return {**self._common, "messages": messages}

    def of_image(self, image: Image.Image, text: str = "") -> Json:
        return {**self._common, "messages": [_message(image, text)]}

    def rows(self, answer: Json, *, dim: int | None) -> FloatArray:
        found = _only_item(answer).get("embedding")
        if isinstance(found, list) and found and isinstance(found[0], list):
            raise _bad(
                "several vectors where one was asked for",
                "Set encoder.api to pooling, or serve a model of single vectors.",
            )
        rows = _decoded([found] if isinstance(found, list) else found, dim)
        if len(rows) != 1:
            raise _bad(
                f"{len(rows)} vectors of dimension {dim} where one was asked for",
                "See that one model alone runs behind encoder.url.",
            )
        return _unit_rows(rows, dim)


def _message(image: Image.Image | None, text: str) -> Json:
    content: list[Json] = []
    if image is not None:
        content.append({"type": "image_url", "image_url": {"url": _data_uri(image)}})
    if text:
        content.append({"type": "text", "text": text})
    return {"role": "user", "content": content}


def _data_uri(image: Image.Image) -> str:
    """Without loss, so that the server sees the pixels a local model would."""
    written = BytesIO()
    image.convert("RGB").save(written, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


# --- reading an answer --------------------------------------------------------------------------
def _only_item(answer: Json) -> Json:
    data = answer.get("data")
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
        n_items = len(data) if isinstance(data, list) else 0
        raise _bad(
            f"{n_items} results for one input",
            "Check encoder.api: pooling is vLLM's, embeddings is OpenAI's.",
        )
    item: Json = data[0]
    return item


def _decoded(found: Any, dim: int | None) -> FloatArray:
    """(n, dim) float32 as sent: nested lists, or base64 of little-endian float32."""
    try:
        if isinstance(found, str):
            if dim is None:
                raise _bad("base64 before its dimension is known", "Update the server.")
            raw = base64.b64decode(found, validate=True)
            return np.frombuffer(raw, "<f4").reshape(-1, dim).astype(np.float32)
        if isinstance(found, list):
            rows = np.array(found, np.float32)
            if rows.ndim == 2:
                return rows
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise _no_rows(dim) from error
    raise _no_rows(dim)


def _unit_rows(rows: FloatArray, dim: int | None) -> FloatArray:
    if not 0 < len(rows) <= _MAX_ROWS or not rows.shape[1]:
        raise _bad(f"{len(rows)} vectors for one input", "See what the server logs of it.")
    if dim is not None and rows.shape[1] != dim:
        raise _bad(
            f"vectors of dimension {rows.shape[1]}, where earlier ones had {dim}",
            "See that one model alone runs behind encoder.url.",
        )
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise _bad("vectors with NaN or infinite values", _LOSS)
    if lengths.min() < _VANISHING:
        raise _bad("vectors of zeros", _LOSS)
    unit: FloatArray = (rows / lengths).astype(np.float32)
    return unit


_LOSS = "Serve the model in bfloat16 or float32, and see what the server logs."


def _no_rows(dim: int | None) -> ModelFailed:
    shape = "rows of numbers" if dim is None else f"rows of {dim} numbers"
    return _bad(f"something other than {shape}", "Check encoder.api against what the server runs.")


def _bad(what: str, next_step: str) -> ModelFailed:
    return ModelFailed(
        f"the embedding server answers with {what}", code="bad_vectors", next_step=next_step
    )
