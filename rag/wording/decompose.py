"""A question of several parts taken apart, so that each part finds its own pages.

The rules split only what is plainly several questions: a part that is none finds pages nobody asked
for, and a question left whole is still searched for as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, assert_never

from rag.chat.choose import require_chat
from rag.chat.replies import parsed
from rag.chat.shown_text import shown
from rag.deadline import Deadline
from rag.ports import ChatMessage, ChatModel
from rag.scoring.lexical import content_terms, is_content_word
from rag.types import Notice
from rag.wording.chat_reading import read_by_chat
from rag.wording.phrases import Phrase, names, periods, replaced, said_in, subject, tidied

DecomposeMethod = Literal["none", "rules", "chat"]

MAX_PARTS = 4
MAX_QUESTION_CHARS = 4_000  # what is longer is a text to look for, not a list of questions
_MAX_PART_CHARS = 500


def parts(
    question: str,
    method: DecomposeMethod,
    chat: ChatModel | None = None,
    deadline: Deadline | None = None,
) -> tuple[tuple[str, ...], tuple[Notice, ...]]:
    """What to search for, one text a part, in the order asked; the question itself where it is one.

    Args:
        question: as it was asked.
        method: none leaves every question whole, and so is one beyond MAX_QUESTION_CHARS.
        chat: asked where the method says so.
        deadline: of the chat model; after it the rules take the question apart.

    Returns:
        1 to MAX_PARTS texts that each stand alone; notices of parts found and of a chat model that
        could not be followed.

    Raises:
        ConfigError: the chat method without a chat model.
        Cancelled: the deadline was.
    """
    whole = (question,)
    if method == "none" or len(question) > MAX_QUESTION_CHARS:
        return whole, ()
    notices: tuple[Notice, ...] = ()
    found: tuple[str, ...] | None = None
    if method == "chat":
        model = require_chat(chat, "retrieval.wording.decompose")
        found, notices = read_by_chat(
            lambda: _by_chat(question, model, deadline),
            code="decompose_by_rules",
            no_use="what the chat model said is no list of its parts",
        )
    elif method != "rules":
        assert_never(method)
    if found is None:
        found = _by_rules(question)
    if len(found) < 2:
        return whole, notices
    said = "; ".join(f"({number}) {part}" for number, part in enumerate(found, start=1))
    return found, (*notices, Notice("decomposed", f"Searched for in {len(found)} parts: {said}"))


# --- rules --------------------------------------------------------------------------------------
_ASKS = r"(?:what|which|who|whom|whose|when|where|why|how)"
_DOES = r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)"
_OPENS_ASKING = re.compile(rf"\s*(?:and\s+)?(?:{_ASKS}|{_DOES})\b", re.IGNORECASE)
_ITEM = re.compile(r"(?:(?<=\s)|^)\(?(\d|[a-d])[.)]\s+", re.IGNORECASE)
# "..., and what was Y": the right side turns around like a question, and is no "and why it did".
_AND_ASKS = re.compile(
    rf"[,;]?\s+and\s+(?=(?:{_ASKS}\s+{_DOES}|how\s+(?:much|many)\b|(?:what|which)\s+(?:\w+\s+){{1,4}}?"
    rf"{_DOES})\b)",
    re.IGNORECASE,
)
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|she|his|her|this|that|these|those|one|ones|there|former"
    r"|latter|same|respectively|if so|if not)\b",
    re.IGNORECASE,
)
_COMPARE = re.compile(
    r"\s*(?:(?:please|can you|could you)\s+)*(?:compare|contrast)\s+(.+?)[.?!\s]*$", re.I | re.S
)
_OWNS = r"(?:['\u2019]s?)?"
_VERSUS = re.compile(rf"{_OWNS}\s+(?:vs\.?|versus)\s+", re.IGNORECASE)
_AND = re.compile(rf"{_OWNS},?\s+(?:and|with|to|against|vs\.?|versus)\s+", re.IGNORECASE)
_AND_OR_COMMA = re.compile(rf"{_OWNS}(?:,|,?\s+and|,?\s+vs\.?|,?\s+versus)\s+", re.I)
_FOR = re.compile(r"(\S*)\s*\b(?:for|of|at|by)(?:\s+both)?\s+$", re.IGNORECASE)
# Words on both sides of an "and" inside one name: "Sales and Marketing", "Health and Safety".
_JOINED = frozenset(
    """research development sales marketing mergers acquisitions property plant equipment cash
    health safety human services service directors officers terms conditions trade industry science
    technology arts education general administrative selling assets liabilities profit loss law
    justice planning budget energy environment food drug control prevention labor labour commerce
    risk compliance audit finance accounting parts features storage transport communications
    securities exchange information data analytics operations supply demand procter gamble johnson
    ernst young standard poor poors marks spencer black decker smith wesson barnes noble society
    culture sports""".split()
)
_SECOND = frozenset("tobago herzegovina wales principe nevis caicos grenadines barbuda".split())


def _by_rules(question: str) -> tuple[str, ...]:
    for rule in (_listed, _several_questions, _joined_questions, _compared, _names_apart):
        found = [tidied(part) for part in rule(question)]
        if len(found) > 1 and all(map(content_terms, found)):
            return _at_most(found)
    return (question,)


def _at_most(found: Sequence[str]) -> tuple[str, ...]:
    """Nothing asked is left out: what is too much is asked for together with the last."""
    kept = tuple(dict.fromkeys(found))
    return (*kept[: MAX_PARTS - 1], " ".join(kept[MAX_PARTS - 1 :])) if kept[MAX_PARTS:] else kept


def _listed(question: str) -> list[str]:
    """Items of a list with numbers or letters, "1. what was revenue? 2. what was net income?"."""
    marks = list(_ITEM.finditer(question))
    if len(marks) < 2:
        return []
    labels = [mark.group(1).lower() for mark in marks]
    if labels not in (list("123456789")[: len(labels)], list("abcd")[: len(labels)]):
        return []
    ends = [mark.start() for mark in marks[1:]] + [len(question)]
    items = [question[mark.end() : end].strip(" ,;") for mark, end in zip(marks, ends, strict=True)]
    items = [re.sub(r"[,;]?\s+and$", "", item) for item in items]
    if not all(map(_says_something, items)):
        return []
    return [_standing_alone(item, question[: marks[0].start()]) for item in items]


def _several_questions(question: str) -> list[str]:
    """Sentences with a question mark each; what else is said with them goes to none."""
    pieces = re.split(r"(?<=[?\uff1f])", question)
    sentences = [each.strip() for each in pieces if each.endswith(("?", "\uff1f"))]
    if len(sentences) < 2 or not all(map(_says_something, sentences)):
        return []
    if any(_POINTS_BACK.search(each) for each in sentences[1:]):
        return []
    asked = [_last_sentence(each) for each in sentences]
    return _each_standing_alone(asked) if all(map(_OPENS_ASKING.match, asked)) else []


def _last_sentence(text: str) -> str:
    return re.split(r"(?<=[.!])\s+(?=[A-Z])", text)[-1]


def _joined_questions(question: str) -> list[str]:
    """Questions with an "and" between: "What was X in 2021 and what was Y in 2022?"."""
    cuts = list(_AND_ASKS.finditer(question))
    if not cuts:
        return []
    edges = [0, *(edge for cut in cuts for edge in cut.span()), len(question)]
    pieces = [question[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    if re.search(rf"\b{_ASKS}\b", pieces[0], re.IGNORECASE) is None:
        return []
    if not all(map(_says_something, pieces)) or any(map(_POINTS_BACK.search, pieces[1:])):
        return []
    return _each_standing_alone(pieces)


def _compared(question: str) -> list[str]:
    """Two sides of a comparison, "Compare A and B" or "X in FY2021 vs FY2022".

    What differs is kept apart, what they share is in both.
    """
    compare = _COMPARE.match(question)
    said = compare.group(1) if compare else question
    join = _AND if compare else _VERSUS
    if len(join.findall(said)) != 1:
        return _apart(said, names(said), join) if compare else []
    for alike in (periods(said), names(said)):
        found = _apart(said, alike, join)
        if found:
            return found
    if not compare:
        return []
    left, right = join.split(said)
    if not (_says_something(left) and _says_something(right)) or _POINTS_BACK.search(right):
        return []
    return _each_standing_alone([left, right])


def _names_apart(question: str) -> list[str]:
    """The same question of several, "... for 3M and Boeing", where their names share no head."""
    found = _apart(question, names(question), _AND_OR_COMMA)
    run = next(_runs(question, names(question), _AND_OR_COMMA), ())
    if not run:
        return []
    before = _FOR.search(question[: run[0].start])
    # "Ministry of Trade and Industry": the preposition is inside a name.
    if before is None or (before.group(1)[:1].isupper() and before.group(1).lower() not in _LEADS):
        return []
    words = [each.text.lower().replace("'s", "").split() for each in run]
    if any(
        right[0] in _SECOND or {left[-1], right[0]} <= _JOINED for left, right in pairwise(words)
    ):
        return []
    if len({each[0] for each in words}) < len(words) or all(
        len(each) == 1 and each[0].endswith("s") for each in words
    ):
        return []
    return found


_LEADS = frozenset("what which compare how for".split())


def _apart(text: str, alike: Sequence[Phrase], join: re.Pattern[str]) -> list[str]:
    """The text once for each phrase of the one run of phrases that only `join` stands between."""
    runs = list(_runs(text, alike, join))
    if len(runs) != 1:
        return []
    run = runs[0]
    if len({each.text.lower() for each in run}) < len(run):
        return []
    end = run[-1].end
    owns = re.match(r"['\u2019]s?", text[end:])
    last = owns.group() if owns else ""
    spanned = Phrase(run[0].start, end + len(last), "")
    head = re.sub(r"\bboth\s+$", "", text[: spanned.start], flags=re.IGNORECASE)
    shift = len(text[: spanned.start]) - len(head)
    text = head + text[spanned.start :]
    spanned = Phrase(spanned.start - shift, spanned.end - shift, "")
    return [replaced(text, [(spanned, each.text + last)]) for each in run]


def _runs(
    text: str, alike: Sequence[Phrase], join: re.Pattern[str]
) -> Iterator[tuple[Phrase, ...]]:
    """Longest runs of two or more neighbours with nothing but a `join` between them."""
    run: list[Phrase] = list(alike[:1])
    # A comma alone joins nothing: "Boeing, 3M and Ford" are three, "in Ohio, Boeing" are not two.
    has_word = False
    for before, after in pairwise(alike):
        joined = join.fullmatch(text, before.end, after.start)
        if joined is None:
            if has_word:
                yield tuple(run)
            run, has_word = [], False
        else:
            has_word = has_word or any(map(str.isalpha, joined.group().replace("'s", "")))
        run.append(after)
    if has_word:
        yield tuple(run)


def _says_something(text: str) -> bool:
    return sum(map(is_content_word, text.split())) >= 1


def _each_standing_alone(pieces: Sequence[str]) -> list[str]:
    """Each with the subject and period that another of them says for all."""
    return [
        _standing_alone(piece, " ".join((*pieces[:number], *pieces[number + 1 :])))
        for number, piece in enumerate(pieces)
    ]


def _standing_alone(piece: str, context: str) -> str:
    """The piece with the context's subject where it names nobody, its period where it has none."""
    piece = piece.strip(" ,;")
    carried: list[str] = []
    about = subject(context)
    if about is not None and not names(piece):
        carried.append(f"for {about.text}")
    when = periods(context)
    if len({each.text.lower() for each in when}) == 1 and not periods(piece):
        carried.append(f"in {when[0].text}")
    if not carried:
        return piece
    bare = piece.rstrip("?. ")
    return " ".join([bare, *carried]) + piece[len(bare) :].strip()


# --- the chat model -----------------------------------------------------------------------------
_TASK = """You take a question apart for a search engine over documents.
Reply with JSON: {"parts": ["...", "..."]}.
If the question asks for one thing, reply with that question as the only part.
If it asks for several things that may stand on different pages, write one part for each, at most 4.
Each part is a question that stands alone: repeat the company, the year and the subject in each.
Use no name and no number that is not in the question. Add nothing, answer nothing."""
_EXAMPLES = (
    (
        "What was 3M's revenue in 2021 and who was its auditor in 2022?",
        '{"parts": ["What was 3M\'s revenue in 2021?", "Who was 3M\'s auditor in 2022?"]}',
    ),
    (
        "What is the ratio of debt to equity of Boeing in FY2020?",
        '{"parts": ["What is the ratio of debt to equity of Boeing in FY2020?"]}',
    ),
)
_SCHEMA = {
    "type": "object",
    "properties": {"parts": {"type": "array", "items": {"type": "string"}}},
    "required": ["parts"],
    "additionalProperties": False,
}


def _by_chat(question: str, chat: ChatModel, deadline: Deadline | None) -> tuple[str, ...] | None:
    """The parts as the model has them; None where they are not the question's."""
    messages = [ChatMessage("system", (_TASK,))]
    for asked, said in _EXAMPLES:
        messages += [ChatMessage("user", (asked,)), ChatMessage("assistant", (said,))]
    messages.append(ChatMessage("user", (shown(question),)))
    came = chat.complete(messages, max_tokens=512, json_schema=_SCHEMA, deadline=deadline)
    reply = parsed(came.text)
    found = reply.get("parts") if isinstance(reply, dict) else reply
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_PARTS:
        return None
    written = [tidied(part) for part in found if isinstance(part, str)]
    if len(written) < len(found) or not all(written):
        return None
    return tuple(dict.fromkeys(written)) if _is_of(question, written) else None


def _is_of(question: str, written: Sequence[str]) -> bool:
    """Whether the parts say what the question says: no number of their own, no name left out."""
    if any(len(part) > _MAX_PART_CHARS or not content_terms(part) for part in written):
        return False
    together = " ".join(written)
    return _numbers(together) == _numbers(question) and all(
        said_in(each.text, together) for each in names(question)
    )


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", text))
