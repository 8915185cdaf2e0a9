"""Which reranker the settings mean; each brings its libraries, none is imported for another."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable

from rag.chat.choose import require_chat
from rag.errors import ConfigError
from rag.page_text import PageText
from rag.ports import ChatModel, Reranker, RerankPage
from rag.settings import RerankSettings
from rag.types import PageRef

LOCAL = frozenset({"cross_encoder", "qwen3_vl"})
_METHOD = "retrieval.rerank.method"
# They say how many pages are read and what it counts for, not who reads.
_OF_THE_STAGE = {"pages", "weight"}
_MOST = 8


class Rerankers:
    """The rerankers of one process, each made when it is first asked for. Thread-safe; close it.

    Args:
        own: settings of the process. Its key goes to its address alone, whatever others ask for.
        chat: of the process; stays its owner's to close.
    """

    def __init__(self, own: RerankSettings, chat: Callable[[], ChatModel | None]) -> None:
        self._own = own
        self._chat = chat
        self._made: dict[str, Reranker] = {}
        self._lock = threading.Lock()

    def of(self, settings: RerankSettings) -> Reranker | None:
        """None for the method none.

        Raises:
            ConfigError: as `load_reranker`; `too_many_rerankers`, of this process.
            ModelFailed: as `load_reranker`.
        """
        if settings.method == "none":
            return None
        if settings.url != self._own.url and settings.api_key == self._own.api_key:
            settings = settings.model_copy(update={"api_key": None})
        chat = None if settings.method in {*LOCAL, "http"} else self._chat()
        key = settings.model_dump_json(exclude=_OF_THE_STAGE | {"api_key"})
        if settings.api_key is not None:
            key += settings.api_key.get_secret_value()
        with self._lock:
            if key not in self._made:
                if len(self._made) >= _MOST:
                    raise ConfigError(
                        f"this process has {_MOST} rerankers already",
                        code="too_many_rerankers",
                        next_step="Start it again, with fewer kinds of retrieval.rerank.",
                    )
                self._made[key] = load_reranker(settings, chat)
            return self._made[key]

    def close(self) -> None:
        with self._lock:
            for reranker in self._made.values():
                reranker.close()
            self._made.clear()


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

            return YesNoReranker(require_chat(chat, _METHOD), settings.page_as)
        case "vlm_listwise":
            from rag.rerankers.vlm import ListwiseReranker

            return ListwiseReranker(require_chat(chat, _METHOD), settings.page_as)
        case "cross_encoder":
            _require(_PACKAGES[settings.method], "rerank", settings)
            from rag.rerankers.cross_encoder import CrossEncoderReranker  # brings torch

            return CrossEncoderReranker.load(settings)
        case "qwen3_vl":
            _require(_PACKAGES[settings.method], "vision", settings)
            from rag.rerankers.qwen3_vl import Qwen3VlReranker  # brings torch

            return Qwen3VlReranker.load(settings)


def describe(settings: RerankSettings, chat: ChatModel | None) -> str:
    """Who reads, in words, once it was seen that they could; a server is asked one question.

    Raises:
        ConfigError: as `load_reranker`.
        ModelFailed: weights that are missing or damaged; a server that cannot be asked.
    """
    if settings.method in LOCAL:
        extra = "rerank" if settings.method == "cross_encoder" else "vision"
        _require(_PACKAGES[settings.method], extra, settings)
        from rag.rerankers.local_model import checkpoint_of, own_names  # brings torch

        with own_names():
            checkpoint = checkpoint_of(settings, fetch=False)
        return f"{settings.method}: {checkpoint.name} at {checkpoint.revision}"
    reranker = load_reranker(settings, chat)
    try:
        if settings.method == "http":
            page = RerankPage("doctor", PageRef("doctor", 1), "octavo.pdf", PageText.empty())
            reranker.scores("Does it answer?", [page])
        return f"{settings.method}: {reranker.model_id}"
    finally:
        reranker.close()


_PACKAGES = {"cross_encoder": "sentence_transformers", "qwen3_vl": "colpali_engine"}


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
