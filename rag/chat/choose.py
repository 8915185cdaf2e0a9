"""Which chat model of a server the settings mean, and whether the server has it."""

from __future__ import annotations

from collections.abc import Mapping

from rag.errors import ConfigError
from rag.ports import ChatModel
from rag.settings import ChatSettings


def chat_model(
    settings: ChatSettings, environ: Mapping[str, str] | None = None
) -> ChatModel | None:
    """The model of the settings, None where they name none. Nothing is asked of it; close it.

    Raises:
        ConfigError: a model without a server.
    """
    if settings.model is None:
        return None
    from rag.chat.openai import OpenAiChat  # a client that only servers want

    return OpenAiChat.connect(settings, environ)


def require_chat(chat: ChatModel | None, setting: str) -> ChatModel:
    """The chat model that a setting, as in "retrieval.route.method", cannot do without.

    Raises:
        ConfigError: there is none.
    """
    if chat is None:
        raise ConfigError(
            f"{setting} asks a chat model, and there is none",
            next_step="Set chat.model with chat.url or chat.provider, or choose another "
            f"{setting}.",
        )
    return chat


def describe(settings: ChatSettings, environ: Mapping[str, str] | None = None) -> str:
    """Model and server in words, once the server was asked whether it has the model.

    Raises:
        ConfigError: no address; a server that has other models.
        ModelFailed: it cannot be asked.
    """
    from rag.chat.openai import OpenAiChat  # a client that only servers want

    chat = OpenAiChat.connect(settings, environ)
    try:
        models = chat.models()
    finally:
        chat.close()
    if models and chat.model_id not in models:
        raise ConfigError(
            f"the chat server {chat.server_name} has {', '.join(sorted(models)[:8])}; settings ask "
            f"for {chat.model_id}",
            next_step="Set chat.model to a name that the server has.",
        )
    known = "" if models else ", which keeps no list of its models"
    return f"{chat.model_id} at {chat.server_name}{known}"
