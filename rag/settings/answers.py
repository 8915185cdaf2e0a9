"""Settings of answers, and of the chat model that writes what no library can."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from rag.settings.section import Section


class AnswerSettings(Section):
    model: Literal["extractive"] = Field("extractive", description="Who answers.")
    answer_pages: int = Field(5, ge=1, le=50, description="Pages shown to the answer model.")
    min_confidence: float = Field(
        0.45, ge=0, le=1, description="An answer below this is withheld (docs/calibration.md)."
    )


class ChatSettings(Section):
    """A chat model behind an OpenAI-compatible server; nothing is asked of it unless set."""

    url: str | None = Field(
        None,
        description="Address of the server with its /v1; OPENAI_BASE_URL where it is not set.",
    )
    model: str | None = Field(None, description="Name of the model; None is no chat model.")
    api_key: SecretStr | None = Field(None, description="Key; OPENAI_API_KEY where it is not set.")
    timeout_s: float = Field(60.0, gt=0, le=86_400, description="Time one try of a reply may take.")
    retry_s: float = Field(
        60.0, ge=0, le=86_400, description="Time within which a reply may be tried for once more."
    )
    max_tokens: int = Field(
        1024, ge=1, description="Tokens of a reply at most, where its asker names no number."
    )
    requests: int = Field(4, ge=1, le=64, description="Replies under way at a time.")
