"""A reranker behind a server with `/rerank`, in the shape that Cohere, Jina, vLLM and others share.

What comes back is somebody else's: each document has to be there once, with a finite score.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rag.errors import ConfigError, ModelFailed
from rag.model_server import ModelServer, ServerKind
from rag.ports import RerankPage
from rag.rerankers.page_words import best_of_each, estimated_costs, passages
from rag.settings import RerankSettings
from rag.types import Json

_KIND = ServerKind(
    name="reranking server",
    section="retrieval.rerank",
    prefix="reranker",
    bad_answer="bad_scores",
    for_status={
        404: "Check retrieval.rerank.url, which is what stands before /rerank, and "
        "retrieval.rerank.model.",
        413: "Lower retrieval.rerank.pages, or raise what the server takes.",
        422: "Check that retrieval.rerank.url is a server that takes query and documents, and "
        "retrieval.rerank.model.",
    },
    otherwise="Check retrieval.rerank.model and retrieval.rerank.url against what the server runs.",
    too_large="Check that retrieval.rerank.url is a reranking server.",
)
_MAX_ANSWER_BYTES = 16_000_000  # some send the documents back
_RETRY_S = 5.0  # a search waits for it
_REQUESTS = 4
# Texts a request: what servers with the smallest limit take. Tokens of one, with the question: the
# oldest models read 512.
_TEXTS = 32
_ROOM = 320
_LARGEST = 1e30


class HttpReranker:
    """Reranker that sends texts of pages. Its scores count as probabilities until one is none."""

    wants_image = False

    def __init__(self, server: ModelServer, model: str | None, timeout_s: float) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._model = model
        self._is_probability = True

    @classmethod
    def connect(cls, settings: RerankSettings) -> HttpReranker:
        """Asks nothing yet. Raises ConfigError where there is no address."""
        if settings.url is None:
            raise ConfigError(
                "the http reranker wants the address of a server",
                next_step="Set retrieval.rerank.url to what stands before /rerank, such as "
                "http://127.0.0.1:8000/v1.",
            )
        server = ModelServer(
            settings.url.strip().rstrip("/").removesuffix("/rerank"),
            kind=_KIND,
            max_answer_bytes=_MAX_ANSWER_BYTES,
            api_key=settings.api_key,
            timeout_s=settings.timeout_s,
            retry_s=_RETRY_S,
            requests=_REQUESTS,
        )
        return cls(server, settings.model, settings.timeout_s)

    @property
    def model_id(self) -> str:
        return f"{self._model or 'reranker'} at {self._server.name}"

    @property
    def is_probability(self) -> bool:
        return self._is_probability

    def scores(self, question: str, pages: Sequence[RerankPage]) -> list[float]:
        """The best of each page's texts.

        Raises:
            ModelFailed: `reranker_unreachable`, `reranker_timeout`, `reranker_refused`,
                `bad_scores`.
        """
        texts = [passages(page, question, costs=estimated_costs, room=_ROOM) for page in pages]
        sent = [text for of_page in texts for text in of_page]
        parts = [sent[start : start + _TEXTS] for start in range(0, len(sent), _TEXTS)]
        answers = self._server.post_all(
            "/rerank",
            [partial(self._body, question, part) for part in parts],
            within_s=self._timeout_s,
        )
        found = [
            score
            for part, answer in zip(parts, answers, strict=True)
            for score in self._checked(answer, len(part))
        ]
        if not all(0 <= score <= 1 for score in found):
            self._is_probability = False
        return best_of_each(texts, found)

    def close(self) -> None:
        self._server.close()

    def _body(self, question: str, texts: Sequence[str]) -> Json:
        asked: Json = {"query": question, "documents": list(texts), "top_n": len(texts)}
        return asked if self._model is None else {"model": self._model, **asked}

    # --- what comes back ------------------------------------------------------------------------
    def _checked(self, answer: Json, n_texts: int) -> list[float]:
        """Scores in the order of the texts."""
        results = answer.get("results")
        if not isinstance(results, list):
            raise self._bad("no list of results")
        found: dict[int, float] = {}
        for result in results:
            index, score = self._pair(result)
            if not 0 <= index < n_texts:
                raise self._bad(f"document {index}, and was sent {n_texts}")
            if index in found:
                raise self._bad(f"document {index} twice")
            found[index] = score
        if len(found) != n_texts:
            raise self._bad(f"{len(found)} scores for {n_texts} documents")
        return [found[index] for index in range(n_texts)]

    def _pair(self, result: Any) -> tuple[int, float]:
        if not isinstance(result, dict):
            raise self._bad("a result that is no object")
        index, score = result.get("index"), result.get("relevance_score")
        if not isinstance(index, int) or isinstance(index, bool):
            raise self._bad("a result without an index")
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise self._bad(f"no relevance_score for document {index}")
        if not abs(score) <= _LARGEST:  # nor is NaN
            raise self._bad(f"a score for document {index} that is no finite number")
        return index, float(score)

    def _bad(self, what: str) -> ModelFailed:
        return ModelFailed(
            f"the reranking server {self._server.name} answers with {what}",
            code="bad_scores",
            next_step="Check that retrieval.rerank.url is a reranking server, and its version.",
        )
