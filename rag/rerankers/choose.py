"""Which reranker the settings mean; each brings its libraries, none is imported for another."""

from __future__ import annotations

import importlib.util

from rag.chat.choose import require_chat
from rag.errors import ConfigError
from rag.ports import ChatModel, Reranker
from rag.settings import RerankSettings


def load_reranker(settings: RerankSettings, chat: ChatModel | None) -> Reranker:
    """The reranker, its model in memory where it is a local one. Close it.

    Args:
        settings: any method but none.
        chat: of the settings; stays the caller's to close.

    Raises:
        ConfigError: no model, address or chat model; an extra that is not installed; a model that
            is no reranker.
        ModelFailed: weights that are missing, damaged or incomplete.
    """
    match settings.method:
        case "none":
            raise ConfigError(
                "there is no reranker",
                next_step="Set retrieval.rerank.method.",
            )
        case "http":
            from rag.rerankers.http import HttpReranker

            return HttpReranker.connect(settings)
        case "vlm_yes_no":
            from rag.rerankers.vlm import YesNoReranker

            return YesNoReranker(require_chat(chat, "retrieval.rerank.method"), settings.page_as)
        case "vlm_listwise":
            from rag.rerankers.vlm import ListwiseReranker

            return ListwiseReranker(require_chat(chat, "retrieval.rerank.method"), settings.page_as)
        case "cross_encoder":
            _require("sentence_transformers", "rerank", settings)
            from rag.rerankers.cross_encoder import CrossEncoderReranker  # brings torch

            return CrossEncoderReranker.load(settings)
        case "qwen3_vl":
            _require("colpali_engine", "vision", settings)
            from rag.rerankers.qwen3_vl import Qwen3VlReranker  # brings torch

            return Qwen3VlReranker.load(settings)


def _require(package: str, extra: str, settings: RerankSettings) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"the {settings.method} reranker is not installed",
            next_step=f"Install it with pip install 'octavo[{extra}]'.",
        )
    if not settings.model:
        raise ConfigError(
            f"the {settings.method} reranker wants a model",
            next_step="Set retrieval.rerank.model to a model id on the hub or to a folder.",
        )
