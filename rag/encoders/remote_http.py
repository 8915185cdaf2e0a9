"""A server of embeddings: what it is called when it fails, and what to do then."""

from __future__ import annotations

from pydantic import SecretStr

from rag import model_server
from rag.model_server import Refused, ServerKind

__all__ = ["MAX_ANSWER_BYTES", "ModelServer", "Refused"]

# The largest page in sight: 4,000 rows of 2,560 dimensions as base64 are 55 MB.
MAX_ANSWER_BYTES = 128_000_000
_EMBEDDINGS = ServerKind(
    name="embedding server",
    section="encoder",
    prefix="encoder",
    bad_answer="bad_vectors",
    for_status={
        404: "Check encoder.url, encoder.model, and encoder.api: pooling is vLLM's, embeddings is "
        "OpenAI's."
    },
    otherwise="Check encoder.model and encoder.api against what the server runs.",
    too_large="Check that encoder.url is an embedding server, and lower the visual tokens it makes "
    "of a page.",
)


class ModelServer(model_server.ModelServer):
    """An embedding server; a trailing `/v1` of its address is left out, as paths carry it."""

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr | None = None,
        timeout_s: float = 60.0,
        retry_s: float = 120.0,
        requests: int = 4,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        super().__init__(
            model_server.checked_address(url, _EMBEDDINGS).removesuffix("/v1"),
            kind=_EMBEDDINGS,
            max_answer_bytes=max_answer_bytes,
            api_key=api_key,
            timeout_s=timeout_s,
            retry_s=retry_s,
            requests=requests,
        )
