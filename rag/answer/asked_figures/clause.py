"""The sentences of a question told apart: what asks, what defines, and how to write the value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag.answer.asked_figures.formula import Formula, NoFormulaError, parse_formula
from rag.answer.asked_figures.names import Words, name_words
from rag.answer.asked_figures.periods import periods_in
from rag.answer.figures.words import SCALES

_COUNTS = {"no": 0, "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_MOST_LEAD_WORDS = 12  # more words before a question word are about how to answer


@dataclass(frozen=True)
class Writing:
    """How the value is to be written.

    Attributes:
        scale: 1e6 for "in millions"; None where the question does not say.
        is_percent: whether percent are asked for.
        decimals: digits after the point; None where the question does not say.
        is_count: whether a number of things is asked for.
        currency: one of the names in `CURRENCIES`; empty where the question does not say.
    """

    scale: float | None = None
    is_percent: bool = False
    decimals: int | None = None
    currency: str = ""
    is_count: bool = False


STATEMENTS = {
    "income": r"income statement|statements? of (?:consolidated )?(?:income|operations|earnings)"
    r"|p\s?&\s?l\b|profit and loss",
    "balance": r"balance sheet|statements? of (?:consolidated )?financial (?:position|condition)",
    "cash flow": r"cash[- ]flows? statement|statements? of (?:consolidated )?cash flows?",
}
_SENTENCE_END = re.compile(
    r"(?<=[A-Za-z\d)\]%])(?:(?<!\bInc)(?<!\bCorp)(?<!\bCo)(?<!\bLtd)\.(?=\s+[A-Z]|\s*$)|;\s)"
    r"|\?(?=\s|$|[A-Z])"
)
_DEFINES = re.compile(
    r"^\s*(?:define\s+(?P<define>[^:=]+?)\s+as\s*:?\s+"
    r"|(?P<defined>[^:=]+?)\s+(?:is|are|can be|should be)\s+(?:defined|calculated|computed)\s+"
    r"(?:as|by)\s*:?\s*"
    r"|(?P<equals>[\w&% \-]+?)\s+=\s+)(?P<formula>.+)$",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\b(?:(?:by )?how (?:much|many|high|low|large)|(?:by )?what|calculate|compute)\b",
    re.IGNORECASE,
)
_MONEY = r"(?:usd|us\s?\$|\$|us dollars?|dollars?|eur|euros?|rupees|rs\.?)"
_IN_SCALE = re.compile(
    rf"\b(?:in|as)\s+(?:units? of\s+)?(?:the\s+)?(?:{_MONEY}\s+)?(?:in\s+)?"
    rf"(?P<told>thousand|million|billion|lac|lakh|crore)s?\b(?:\s+of\s+{_MONEY})?"
    r"|\bhow (?:many|much)(?: more| less| fewer)? "
    r"(?P<counted>thousand|million|billion|lac|lakh|crore)s?\b"
    rf"|\((?:{_MONEY}\s+)?(?:in\s+)?(?P<aside>thousand|million|billion|lac|lakh|crore)s?\)",
    re.IGNORECASE,
)
_IN_MONEY = re.compile(rf"\b(?:in|as)\s+(?:units? of\s+)?(?:\w+ of )?({_MONEY})", re.IGNORECASE)
_CALLED = {"us": "USD", "$": "$", "do": "$", "eu": "EUR", "ru": "INR", "rs": "INR"}
_IN_ONES = re.compile(r"\(\s*in (?:usd|us dollars|dollars|eur|euros?|rupees)\s*\)", re.IGNORECASE)
_PERCENT = re.compile(
    r"\b(?:in|units? of|as an?|by (?:what|how many))\s+(?:percent\w*|%)|percentage term"
    r"|%\s*(?:change|growth)\b|\bas (?:a )?(?:%|percent)|growth rate|\bcagr\b",
    re.IGNORECASE,
)
_COUNT = re.compile(r"\bhow many (?!percent|times)|\bnumber of\b", re.IGNORECASE)
_DECIMALS = re.compile(
    r"\b(?P<count>no|zero|one|two|three|four|five|\d)[- ]decimals?\b|(?P<whole>nearest whole"
    r"|(?:an|nearest) integer|integer format)",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\s*\([^()]*\)")
_END_OF = re.compile(
    r"\b(?:at|by|as (?:of|at)) (?:the )?end of (?:the )?"
    r"(?=(?:fiscal |financial )?(?:year |FY ?)?\d{4}\b)",
    re.IGNORECASE,
)
# Words and no verb of asking or telling.
_NAMES_A_FIGURE = re.compile(
    r"(?!(?:who|whom|whose|where|when|why|which|how|is|are|was|were|do|does|did|has|have|had|can|could"
    r"|will|would|should|if|and|or|but|list|name|give|show|tell|explain|describe|compare|summari[sz]e"
    r"|find|please)\b)(?:[\w&.,'\u2019()/-]+ ){1,11}[\w&.,'\u2019()/-]+\??$",
    re.IGNORECASE,
)
_OF_REPORT = re.compile(
    r"\b(?:at|by|within|as of|for|in)\s+the\s+(?:end of the\s+)?(?:last\s+|reporting\s+|whole\s+)?"
    r"(?:period|year)\b(?:\s+end\b)?(?!\s+end)(?:\s+listed)?(?:\s+in\s+(?:the\s+)?(?:annual\s+)?report)?"
    r"|\b(?:at\s+)?year[- ]?end\b|\baccording to (?:the|this) [\w ]*?report\b,?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Clauses:
    """A question taken apart.

    Attributes:
        asking: the clause that asks, without asides and how to write the value.
        lead: what stands before it and says where or when.
        definitions: formulas that the question gives, by the words of their names.
        statements: "income", "balance", "cash flow", as far as they are named.
    """

    asking: str
    lead: str
    writing: Writing
    definitions: tuple[tuple[Words, Formula], ...] = ()
    statements: tuple[str, ...] = ()


def clauses_of(text: str) -> Clauses | None:
    """Take a question apart; None where nothing in it asks for a figure."""
    definitions: list[tuple[Words, Formula]] = []
    asking: dict[bool, tuple[str, str]] = {}
    for sentence, is_question in _sentences(text):
        if defined := _definition(sentence):
            definitions.append(defined)
        elif found := _asking(sentence):
            asking.setdefault(is_question, found)
    if not asking and _NAMES_A_FIGURE.match(text.strip()) and periods_in(text):
        asking[True] = _plain(text.strip(" ?.")), ""  # "Net profit of Acme in 2022"
    if not asking:
        return None
    clause, lead = asking[max(asking)]
    statements = tuple(
        name for name, said in STATEMENTS.items() if re.search(said, text, re.IGNORECASE)
    )
    return Clauses(clause, lead, _writing(text), tuple(definitions), statements)


def _sentences(text: str) -> list[tuple[str, bool]]:
    """Sentences, and whether each ends in a question mark."""
    found: list[tuple[str, bool]] = []
    at = 0
    for end in _SENTENCE_END.finditer(text):
        found.append((text[at : end.start()].strip(), end[0] == "?"))
        at = end.end()
    return [*found, (text[at:].strip(), False)]


def _definition(sentence: str) -> tuple[Words, Formula] | None:
    found = _DEFINES.match(sentence)
    if found is None:
        return None
    name = found["define"] or found["defined"] or found["equals"]
    stated = re.sub("|".join(STATEMENTS.values()), " ", found["formula"], flags=re.IGNORECASE)
    stated = re.sub(r"[(\[]\s*(?:from|in|on)\s+(?:the\s+)?[)\]]|\bfrom (?:the\s*)?$", " ", stated)
    try:
        return name_words(name), parse_formula(stated.strip())
    except NoFormulaError:
        return None


def _asking(sentence: str) -> tuple[str, str] | None:
    """The sentence from its question word on, and what of the words before belongs to it."""
    found = _ASKS.search(sentence)
    if found is None:
        return None
    lead = sentence[: found.start()].strip(" ,:")
    is_about_pages = any(re.search(said, lead, re.IGNORECASE) for said in STATEMENTS.values())
    if len(lead.split()) > _MOST_LEAD_WORDS or is_about_pages:
        lead = " ".join(mention.period.text for mention in periods_in(lead))
    return _plain(sentence[found.start() :]), _plain(lead)


def _plain(text: str) -> str:
    bare = _END_OF.sub("in ", _IN_SCALE.sub(_counted, _ASIDE.sub(" ", text)))
    return " ".join(_OF_REPORT.sub(" ", bare).split())


def _counted(found: re.Match[str]) -> str:
    """Nothing for "in millions"; "how many millions" asks, and stays."""
    return found[0] if found["counted"] else " "


def _writing(text: str) -> Writing:
    scale: float | None = 1.0 if _IN_ONES.search(text) else None
    if said := _IN_SCALE.search(text):
        scale = SCALES[(said["told"] or said["counted"] or said["aside"]).lower()]
    decimals: int | None = None
    if found := _DECIMALS.search(text):
        count = (found["count"] or "no").lower()
        decimals = int(count) if count.isdigit() else _COUNTS[count]
    money = _IN_MONEY.search(text)
    currency = "" if money is None else _CALLED[money[1].lower()[:2]]
    is_percent = _PERCENT.search(text) is not None
    is_count = not is_percent and _COUNT.search(text) is not None
    return Writing(scale, is_percent, decimals, currency, is_count)
