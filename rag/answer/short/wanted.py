"""What kind of short answer a question wants: a count, a share, a year, a person, a name, none.

Read from the question's words alone, without knowing any subject.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from rag.answer.question import Question
from rag.scoring.lexical import is_content_word, terms

_WORD = r"[\w'\u2019&.\-]+"


class Kind(StrEnum):
    COUNT = "count"  # how many of something
    STEPS = "steps"  # how many items a numbered list has
    PERCENT = "percent"
    YEAR = "year"
    DATE = "date"
    NUMBER = "number"  # a measured value or an amount
    CODE = "code"  # a number that names: of a case, a telephone, a licence
    PERSON = "person"
    PLACE = "place"
    NAME = "name"  # which or what thing of a sort
    TITLE = "title"
    NONE = "none"  # a list, a reason, a calculation, or something to be seen and not read


# What words do not tell: colours, and how many things are drawn.
_LOOKS = re.compile(
    r"\bcolou?r(?:s|ed)?\b|\bhow many (?:\w+ ){0,3}(?:images?|pictures?|photos?|photographs?"
    r"|figures?|icons?|charts?|graphs?|diagrams?|tables?|screenshots?|logos?|drawings?|symbols?"
    r"|arrows?|bars?|lines?|colou?rs?|signatures?)\b|\bhow many\b.*\bappear",
)
# Several values at once, or one that has to be calculated.
_SEVERAL = re.compile(
    r"\brespectively\b|^(?:list|enumerate|mention|name all|give all|tell me all)\b|\blist all\b"
    r"|\b(?:which|what)(?: are| were| is)?(?: the)? "
    r"(?:two|three|four|five|six|seven|eight|nine|ten)\b"
    r"|^(?:what|which|who) (?:are|were)\b|^where are\b"
)
_CALCULATED = re.compile(
    r"\bhow (?:much|many) (?:more|less|fewer|higher|lower|greater|larger|smaller)\b"
    r"|\bhow much\b.*\b(?:increase|decrease|grow|fall|rise|drop)\b|\bdifference (?:between|in)\b"
    r"|\bby (?:how much|what percent\w*)\b|\bcollectively\b|\bin all\b|\bsum of\b|\baverage of\b"
    r"|\bcombined\b|\bcompared to\b|\bgrowth rate\b|\bratio\b"
)
_YES_NO = re.compile(
    r"^(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)\b"
    r"|\byes(?:'|\")? or (?:'|\")?no\b"
)
_TITLE = re.compile(
    r"\b(?:title|heading) of (?:the|this|these) (?:\w+ )?"
    r"(?:slides?|documents?|reports?|presentation|deck|paper|article|guide\w*|brochure|book|manual)"
    r"\s*\?*$"
)
_STEPS = re.compile(r"\bhow many steps\b|\bnumber of steps\b")
_PERCENT = re.compile(r"\bpercent\w*\b|%|\b(?:what|which) (?:\w+ )?(?:proportion|share|fraction)\b")
_COUNT = re.compile(
    rf"\b(?:how many|(?:what (?:is|was) )?the (?:total )?number of)\s+((?:{_WORD}\s*)+)"
)
_YEAR = re.compile(r"\b(?:what|which) (?:fiscal |calendar )?years?\b|\bin (?:what|which) year\b")
_DATE = re.compile(r"\bwhen\b|\b(?:what|which) (?:\w+ ){0,2}(?:date|day|month|deadline)\b")
_PERSON = re.compile(r"\bwho\b|\bwhom\b|\bby whom\b|\bwhose\b")
ROLES = frozenset(
    """agent analyst architect artist author chair chairman chairperson ceo cfo coach defendant
    director doctor editor engineer executive founder governor inventor judge lawyer leader manager
    mayor minister nominee officer owner partner person plaintiff player politician presenter
    president professor scientist secretary senator speaker spokesperson student teacher
    winner writer""".split()
)
MAKERS = frozenset({"presenter", "author", "speaker", "writer", "lecturer", "instructor"})
FIRST_PARTY = frozenset({"plaintiff", "petitioner", "appellant", "claimant", "complainant"})
SECOND_PARTY = frozenset({"defendant", "respondent", "appellee"})
_PLACE = re.compile(r"^where\b|\b(?:what|which) (?:country|city|town|state|region|address|venue)\b")
_NUMBER = re.compile(
    r"\bhow (?:much|long|old|far|large|big|high|tall|wide|deep|fast|heavy|often)\b"
    r"|\b(?:what|which) (?:\w+ ){0,6}(?:amount|value|price|cost|size|length|width|height|weight"
    r"|temperature|voltage|current|speed|capacity|duration|hours|minutes|score|rate|total|revenue"
    r"|income|sales|profit|fee|maximum|minimum)\b"
)
_MEASURED = re.compile(rf"\b(?:what|which)(?: is| was| are| were)? (?:the )?((?:{_WORD}\s*)+)")
_CODE = re.compile(
    r"\b(?:no|number|id|code|phone|telephone|fax|isbn|zip|postcode|e-?mail|website|url|version)\b"
    r"(?! of (?!the\b|this\b))(?! of the (?:\w+s)\b)"
)
_NAME = re.compile(rf"\b(?:which|what)\s+((?:{_WORD}\s*)+)")
_NAME_OF = re.compile(rf"\bname of (?:the |a |an )?((?:{_WORD}\s*)+)")
_PAST = re.compile(r"\w{3,}ed")
_VERB = frozenset(
    """is are was were be been do does did has have had can could will would should may might must
    more less most least than in of on at by for from to with that which who does used per during
    among under include included show shown need needed require required use uses there""".split()
)


@dataclass(frozen=True)
class Wanted:
    """What a short answer would be.

    Attributes:
        noun: terms of what is counted or chosen from, as in "districts" of "how many districts".
    """

    kind: Kind
    noun: tuple[str, ...] = ()


def wanted_of(question: Question) -> Wanted:
    """The first kind that fits; NONE where a short answer cannot be read off a page."""
    asked = " ".join(question.asking.casefold().replace("\u2019", "'").split())
    if _LOOKS.search(asked) or _SEVERAL.search(asked) or _YES_NO.search(asked):
        return Wanted(Kind.NONE)
    if _TITLE.search(asked):
        return Wanted(Kind.TITLE)
    if _STEPS.search(asked):
        return Wanted(Kind.STEPS)
    if _CALCULATED.search(asked):
        return Wanted(Kind.NONE)
    noun = _noun(asked)
    if _PERCENT.search(asked):
        return Wanted(Kind.PERCENT)
    if (counted := _COUNT.search(asked)) is not None:
        return Wanted(Kind.COUNT, _head(counted[1]))
    for kind, pattern in ((Kind.YEAR, _YEAR), (Kind.DATE, _DATE)):
        if pattern.search(asked):
            return Wanted(kind)
    if _PERSON.search(asked) or ROLES & set(noun):
        return Wanted(Kind.PERSON, noun or tuple(t for t in terms(asked) if t in ROLES))
    if _PLACE.search(asked):
        return Wanted(Kind.PLACE, noun)
    if _CODE.search(asked):
        return Wanted(Kind.CODE)
    if _NUMBER.search(asked):
        measured = _MEASURED.search(asked)
        return Wanted(Kind.NUMBER, () if measured is None else _head(measured[1]))
    return Wanted(Kind.NAME, noun) if noun else Wanted(Kind.NONE)


def asks_of_cover(question: Question) -> bool:
    """Whether the first page of a document would tell: its title, who made it, whose case it is."""
    wanted = wanted_of(question)
    return wanted.kind is Kind.TITLE or (
        wanted.kind is Kind.PERSON and bool({*wanted.noun} & (MAKERS | FIRST_PARTY | SECOND_PARTY))
    )


def _noun(asked: str) -> tuple[str, ...]:
    found = _NAME_OF.search(asked) or _NAME.search(asked)
    return () if found is None else _head(found[1])


def _head(phrase: str) -> tuple[str, ...]:
    """Terms before the first verb or preposition: "age group" of "age group has the highest"."""
    kept: list[str] = []
    for word in phrase.split():
        bare = word.strip("?.,")
        if bare in _VERB or bare[:1].isdigit() or (kept and _PAST.fullmatch(bare)):
            break
        if is_content_word(word):
            kept += terms(word)
    return tuple(kept[:4])
