"""Settings of answers, and of the chat model that writes what no library can."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from rag.settings.section import Section


class AnswerSettings(Section):
    """Who answers, from what, within which limits (docs/adr/0028-grounded-answers.md)."""

    model: Literal["extractive", "chat"] = Field(
        "extractive", description="Who answers: the pages' own words, or the model of `chat`."
    )
    answer_pages: int = Field(5, ge=1, le=50, description="Pages shown to the answer model.")
    table_pages: int = Field(
        12,
        ge=1,
        le=50,
        description="Pages whose tables the extractive model reads, where these are more.",
    )
    min_confidence: float = Field(
        0.45, ge=0, le=1, description="An answer below this is withheld (docs/calibration.md)."
    )
    evidence: Literal["auto", "text", "image", "both"] = Field(
        "auto",
        description="What of a page a chat model is shown; auto is both where it reads images, "
        "else text.",
    )
    image_pages: int = Field(5, ge=1, le=50, description="Of the pages, those shown as images.")
    neighbours: bool = Field(
        True, description="Show the next page too where a table or a sentence runs over."
    )
    crops: bool = Field(True, description="Show dense tables larger, beside their page.")
    order: Literal["best_first", "best_last", "document"] = Field(
        "best_first",
        description="Order of the pages shown: by rank, by rank with the best once more at the "
        "end where there are more than six, or as they stand in their documents.",
    )
    image_px: int = Field(
        8_000_000, ge=50_000, description="Pixels of all images shown; downscaled before dropped."
    )
    min_image_px: int = Field(
        300_000, ge=10_000, description="No page is shown smaller than this; fewer are shown."
    )
    text_chars: int = Field(
        60_000, ge=500, description="Characters of page text shown in all; the best pages first."
    )
    policy: Literal["strict", "flag"] = Field(
        "strict", description="Statements without support are left out, or shown and marked."
    )
    max_tokens: int = Field(1500, ge=16, description="Tokens of an answer at most.")
    deadline_s: float = Field(
        120.0, gt=0, le=86_400, description="Time an answer may take, with all tries."
    )


class ChatSettings(Section):
    """The chat model, if there is one; nothing is asked of it unless set."""

    provider: str = Field(
        "openai",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="openai: a server that speaks its protocol; local: a folder with a model of "
        "transformers; else a provider that LangChain knows, as in anthropic.",
    )
    url: str | None = Field(
        None,
        description="Address of the server with its /v1; OPENAI_BASE_URL where it is not set.",
    )
    model: str | None = Field(None, description="Name of the model; None is no chat model.")
    api_key: SecretStr | None = Field(None, description="Key; OPENAI_API_KEY where it is not set.")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Where a local model runs."
    )
    tries: int = Field(3, ge=1, le=10, description="Times a request is made at most.")
    timeout_s: float = Field(60.0, gt=0, le=86_400, description="Time one try of a reply may take.")
    retry_s: float = Field(
        60.0, ge=0, le=86_400, description="Time within which a reply may be tried for once more."
    )
    max_tokens: int = Field(
        1024, ge=1, description="Tokens of a reply at most, where its asker names no number."
    )
    requests: int = Field(4, ge=1, le=64, description="Replies under way at a time.")
