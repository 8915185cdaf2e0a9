"""Questions that a chat model writes of a page, each with a quote that is looked for there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eval.starter.candidate import Candidate, Kind
from eval.starter.from_pages import Document, candidate_id
from rag.answer.checks.plain_text import plain
from rag.answer.checks.quote_match import QuotedPage
from rag.chat.replies import parsed
from rag.chat.shown_text import shown_page
from rag.page_text import PageText
from rag.ports import ChatMessage, ChatModel
from rag.types import Notice, RenderedPage

_PROMPT = "questions-1.md"
_QUESTIONS_A_PAGE = 2
_MAX_TOKENS = 1_500
_MAX_PAGE_CHARS = 12_000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Written(_Part):
    question: str = Field(min_length=1, max_length=500)
    answer: str = Field(min_length=1, max_length=500)
    quote: str = Field(max_length=1_500)


class _Reply(_Part):
    questions: list[_Written] = Field(max_length=20)


@dataclass
class ModelQuestions:
    """Asks a chat model, page by page, and counts what came of it.

    Attributes:
        dropped: why questions or replies were left out, to how many.
    """

    chat: ChatModel
    dropped: Counter[str] = field(default_factory=Counter)

    def of_page(
        self, document: Document, page_number: int, image: RenderedPage | None
    ) -> list[Candidate]:
        """None where the reply is not of the shape asked for.

        Raises:
            BackendError: as ChatModel.
        """
        text = document.pages[page_number]
        reply = self.chat.complete(
            _messages(document, text, image if self.chat.reads_images else None),
            max_tokens=_MAX_TOKENS,
            json_schema=_Reply.model_json_schema(),
        )
        try:
            written = _Reply.model_validate(parsed(reply.text)).questions
        except ValidationError:
            self.dropped["reply of another shape"] += 1
            return []
        page = QuotedPage(text)
        return [
            Candidate(
                id=candidate_id(document, page_number, f"m{number}"),
                text=plain(each.question),
                answer=plain(each.answer),
                kind=Kind.MODEL,
                doc=document.name,
                page_number=page_number,
                context=plain(each.quote),
            )
            for number, each in enumerate(written[:_QUESTIONS_A_PAGE])
            if self._is_of_page(each, page, saw_image=image is not None)
        ]

    def notices(self) -> list[Notice]:
        if not self.dropped:
            return []
        reasons = ", ".join(f"{n} x {why}" for why, n in sorted(self.dropped.items()))
        return [Notice("questions_dropped", f"of the chat model's questions: {reasons}")]

    def _is_of_page(self, written: _Written, page: QuotedPage, *, saw_image: bool) -> bool:
        if not plain(written.question):
            self.dropped["no question in plain text"] += 1
            return False
        if not written.quote.strip():
            if not saw_image:
                self.dropped["no quote"] += 1
            return saw_image
        if page.places(written.quote.split()):
            return True
        self.dropped["a quote that is not on the page"] += 1
        return False


def _messages(
    document: Document, text: PageText, image: RenderedPage | None
) -> Sequence[ChatMessage]:
    asked = _prompt().replace("{number}", str(_QUESTIONS_A_PAGE)).replace("{title}", document.title)
    shown = f"The text of the page:\n{shown_page(text)[:_MAX_PAGE_CHARS]}"
    parts = (shown,) if image is None else (image.image, shown)
    return [ChatMessage("system", (asked,)), ChatMessage("user", parts)]


@cache
def _prompt() -> str:
    return (resources.files("eval.starter") / "prompts" / _PROMPT).read_text(encoding="utf-8")
