"""A question that might go into a starter set, and what a person decided of it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Kind(StrEnum):
    """What a candidate was made of; the `type` of its question."""

    HEADING = "heading"
    TABLE = "table"
    MODEL = "model"


class Decision(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Candidate(BaseModel):
    """One question with its page.

    Attributes:
        doc: file name below docs/.
        context: words of the page that answer it, for whoever decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^\S+$")
    text: str = Field(min_length=1)
    answer: str
    kind: Kind
    doc: str
    page_number: int = Field(ge=1)
    context: str = ""
    decision: Decision = Decision.PENDING
    is_edited: bool = False
