"""Which evidence a question is answered from: none, words, pixels, both, or a whole document.

A route never decides alone what is found: it weighs the legs and says what an answer is read from.
What cannot be told takes the route of the settings.

Source: Yeo et al. 2025, UniversalRAG (arXiv:2504.20734), the router without training; its released
script takes one token of the reply and calls anything else an error, this one reads more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, assert_never

from rag.chat.choose import require_chat
from rag.chat.shown_text import shown
from rag.deadline import Cancelled, Deadline
from rag.errors import BackendError
from rag.ports import ChatMessage, ChatModel
from rag.settings import LegWeights, RouteSettings
from rag.types import Notice, PageField


class RouteName(StrEnum):
    NONE = "none"
    TEXT_CHUNK = "text-chunk"
    PAGE_IMAGE = "page-image"
    TEXT_IMAGE = "text+image"
    WHOLE_DOCUMENT = "whole-document"


@dataclass(frozen=True)
class Route:
    """What follows from a route.

    Attributes:
        granularity: what is looked for; none is no search, document keeps to the best document.
        shows_text: whether an answer model reads the words of the pages.
        shows_images: whether it sees their pixels.
        leg_factors: what the weights of single legs are multiplied by.
    """

    name: RouteName
    granularity: Literal["none", "page", "document"]
    shows_text: bool
    shows_images: bool
    leg_factors: Mapping[PageField, float] = field(default_factory=dict)

    @property
    def searches(self) -> bool:
        return self.granularity != "none"

    def weights(self, usual: LegWeights) -> LegWeights:
        """The legs as this route weighs them."""
        changed = {
            name.value: getattr(usual, name.value) * by for name, by in self.leg_factors.items()
        }
        return usual.model_copy(update=changed)


# Pixels count for half or for twice as much; words stay, since no route is sure of itself.
_WORDS_FIRST = {PageField.PATCHES: 0.5}
_PIXELS_FIRST = {PageField.PATCHES: 2.0, PageField.CAPTION_WORDS: 2.0, PageField.CAPTIONS: 2.0}
ROUTES: Mapping[RouteName, Route] = {
    route.name: route
    for route in (
        Route(RouteName.NONE, "none", shows_text=False, shows_images=False),
        Route(
            RouteName.TEXT_CHUNK,
            "page",
            shows_text=True,
            shows_images=False,
            leg_factors=_WORDS_FIRST,
        ),
        Route(
            RouteName.PAGE_IMAGE,
            "page",
            shows_text=False,
            shows_images=True,
            leg_factors=_PIXELS_FIRST,
        ),
        Route(RouteName.TEXT_IMAGE, "page", shows_text=True, shows_images=True),
        Route(RouteName.WHOLE_DOCUMENT, "document", shows_text=True, shows_images=True),
    )
}


def choose_route(
    question: str,
    settings: RouteSettings,
    chat: ChatModel | None = None,
    deadline: Deadline | None = None,
) -> tuple[Route, tuple[Notice, ...]]:
    """The route of a question, and what its asker should know of how it was chosen.

    Raises:
        ConfigError: the chat method without a chat model.
        Cancelled: the deadline of the chat model was.
    """
    usual = RouteName(settings.route)
    notices: tuple[Notice, ...] = ()
    match settings.method:
        case "fixed":
            name = usual
        case "rules":
            name = by_wording(question) or usual
        case "chat":
            model = require_chat(chat, "retrieval.route.method")
            found, why = _by_chat(question, model, deadline)
            name = found or usual
            if found is None:
                said = f"The question takes the route {usual.value}: {why}."
                notices = (Notice("route_fallback", said),)
        case other:
            assert_never(other)
    if name is RouteName.NONE:
        said = "The question is taken to want no document; nothing was searched."
        notices = (*notices, Notice("route_none", said))
    return ROUTES[name], notices


def whole_document(
    order: Sequence[tuple[str, float]], document_of: Callable[[str], str]
) -> list[tuple[str, float]]:
    """Of a ranking, the pages of the document of its best page, in their order."""
    if not order:
        return []
    best = document_of(order[0][0])
    return [(record_id, score) for record_id, score in order if document_of(record_id) == best]


# --- by wording ---------------------------------------------------------------------------------
_GREETING = re.compile(
    r"(?:hi|hello|hey|good (?:morning|afternoon|evening)|thanks?(?: you)?(?: very much| a lot)?"
    r"|bye|goodbye|how are you|who are you|what can you do|what(?:'s| is) your name|help)"
    r"(?: there| octavo)?",
    re.IGNORECASE,
)
_SUM_ASKED = re.compile(
    r"\s*(what(?:'s| is)|how much is|calculate|compute|solve)?\s*"
    r"([\d\s.,+\-*/x\u00d7\u00f7^()%]+(?:of[\d\s.,]+)?)\s*=?\s*[?.]?\s*",
    re.IGNORECASE,
)
_OPERATION = re.compile(r"\d[\s%)]*(?:[+*/x\u00d7\u00f7^]|\s-\s|of)[\s(]*\d", re.IGNORECASE)
_DATES = re.compile(r"(?:19|20)\d\d\s*[-/]\s*(?:\d\d){1,2}|\d{1,2}/\d{1,2}/\d{2,4}")
_WHOLE = re.compile(
    r"\b(?:summar(?:y|ies|i[sz]e[sd]?|i[sz]ing)|overview of (?:the|this)|tl;?dr|key takeaways"
    r"|main (?:points|topics|findings|ideas|themes|conclusions?)"
    r"|(?:whole|entire|complete) (?:document|report|paper|file|deck|presentation|guide\w*)"
    r"|what is (?:this|the) (?:document|report|paper|file|deck|presentation|book) about"
    r"|throughout the (?:document|report|paper)|across all pages)\b",
    re.IGNORECASE,
)
_LIST_ALL = re.compile(
    r"\b(?:list|enumerate|name|tell me|mention|give(?: me)?) all\b|\ball (?:the )?pages\b"
    r"|\bwhich pages\b|\bhow many (?:pages|tables|charts|figures|images|pictures) "
    r"(?:are there|does|include|in (?:the|this) (?:document|report|paper))",
    re.IGNORECASE,
)
_IMAGE = re.compile(
    r"\b(?:charts?|graphs?|plots?|diagrams?|flow ?charts?|pictures?|photo(?:s|graphs?)?|images?"
    r"|icons?|logos?|colou?rs?|colou?red|maps?|drawings?|illustrations?|illustrated|cartoons?"
    r"|screenshots?|legends?|histograms?|sketch(?:es)?|signatures?|handwritten|layout|cover"
    r"|(?:left|right)(?:-|\s)(?:hand )?(?:side|corner)|(?:top|bottom|upper|lower)[ -](?:left|right)"
    r"|appears? (?:on|in) (?:the )?(?:page|slide|picture)"
    r"|(?<!key )(?<!sales )(?<!financial )(?<!revenue )(?<!exact )(?<!annual )figures?)\b",
    re.IGNORECASE,
)
_TEXT = re.compile(
    r"\b(?:quote[sd]?|verbatim|(?:exact|precise) (?:words?|wording|text|phrase)|wording"
    r"|defin(?:e|ition)s?(?: of)?(?! as)|what (?:does|do|is meant by) .{1,60}\bmeans?"
    r"|(?:section|clause|article|paragraph|chapter|appendix) (?:\d|[ivx]+\b|[a-f]\b)"
    r"|what does the (?:text|section|clause|article|paragraph))\b",
    re.IGNORECASE,
)


def by_wording(question: str) -> RouteName | None:
    """The route that a question's words speak for; None where they speak for none."""
    text = " ".join(question.split())
    if _GREETING.fullmatch(text.strip(" .!?,")) or _is_sum(text):
        return RouteName.NONE
    asked = text.partition("?")[0]  # what follows says how to write the answer
    for pattern, where, name in (
        (_WHOLE, text, RouteName.WHOLE_DOCUMENT),
        (_LIST_ALL, asked, RouteName.WHOLE_DOCUMENT),
        (_IMAGE, text, RouteName.PAGE_IMAGE),
        (_TEXT, asked, RouteName.TEXT_CHUNK),
    ):
        if pattern.search(where):
            return name
    return None


def _is_sum(text: str) -> bool:
    """Numbers to be reckoned with and nothing else: no document is needed for "12 * 7"."""
    found = _SUM_ASKED.fullmatch(text)
    return bool(
        found and _OPERATION.search(found.group(2)) and not _DATES.search(found.group(2).strip())
    )


# --- by a chat model ----------------------------------------------------------------------------
_CRITERIA = {
    RouteName.NONE: (
        "needs no document: a greeting, arithmetic",
        ("Hello, who are you?", "What is 12 times 7?"),
    ),
    RouteName.TEXT_CHUNK: (
        "a passage of text answers it: a definition, a quote, a statement",
        ("How does the contract define force majeure?", "What does section 4.2 say of notice?"),
    ),
    RouteName.PAGE_IMAGE: (
        "only the look of a page answers it: a chart, a picture, a colour, a layout",
        ("What colour is the line for Europe?", "How many icons are in the diagram?"),
    ),
    RouteName.TEXT_IMAGE: (
        "a page with its tables or both its text and its pictures answers it",
        ("What was the net income of Boeing in 2022?", "Which sensor is the most accurate?"),
    ),
    RouteName.WHOLE_DOCUMENT: (
        "many pages of a document are needed: a summary, a full list, an overview",
        ("Summarise the annual report.", "List all risks that the report mentions."),
    ),
}
_TASK = "Which kind of evidence does a question to a collection of documents want?\n" + "\n".join(
    f"{name.value}: {criterion}. Examples: {' / '.join(examples)}"
    for name, (criterion, examples) in _CRITERIA.items()
)
_MAX_TOKENS = 8  # the longest label has six at most
_LEAST_PREFIX = 3  # "no" is a word of its own


def _by_chat(
    question: str, chat: ChatModel, deadline: Deadline | None
) -> tuple[RouteName | None, str]:
    """The model's label, or why there is none."""
    asked = f"Question: {shown(question)}\nAnswer with the label only."
    messages = [ChatMessage("system", (_TASK,)), ChatMessage("user", (asked,))]
    try:
        reply = chat.complete(messages, max_tokens=_MAX_TOKENS, deadline=deadline).text
    except Cancelled:
        raise
    except BackendError as error:
        return None, error.message
    return label(reply), "what the chat model said is none of the routes"


def label(reply: str) -> RouteName | None:
    """The route that a reply names, whole or by a beginning that no other has."""
    said = re.sub(r"[\s_-]+", "-", re.sub(r"\s*\+\s*", "+", reply.lower().strip()))
    said = said.strip("-.,:;!?\"'`*()[]{}<>+")
    if len(said) < _LEAST_PREFIX:
        return None
    found = [name for name in RouteName if name.value.startswith(said)]
    return found[0] if len(found) == 1 else None
