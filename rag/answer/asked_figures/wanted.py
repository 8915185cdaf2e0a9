"""What a question wants of tables: a formula of named figures, their times, and its words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from rag.answer.asked_figures.clause import Writing, clauses_of
from rag.answer.asked_figures.formula import (
    Amount,
    Constant,
    Formula,
    Mean,
    Operation,
    without,
    years_before,
)
from rag.answer.asked_figures.measures import known_measure
from rag.answer.asked_figures.names import Words, name_words
from rag.answer.asked_figures.periods import PeriodMention, periods_in
from rag.answer.tables.table import Period


@dataclass(frozen=True)
class Wanted:
    """A question for a figure.

    Attributes:
        name: of what is asked, in the question's words.
        formula: how it follows from figures that pages may state.
        periods: that the question names, in its order.
        definitions: formulas that the question itself gives, by the words of their names.
        statements: "income", "balance", "cash flow", as far as the question names them.
        is_relative: whether the value is a share or a relative change.
        is_growth: whether it is a relative change, which is told in percent.
    """

    name: str
    formula: Formula
    writing: Writing = field(default_factory=Writing)
    periods: tuple[Period, ...] = ()
    definitions: tuple[tuple[Words, Formula], ...] = ()
    statements: tuple[str, ...] = ()
    is_relative: bool = False
    is_growth: bool = False


_RANGE = re.compile(r"\s*(?:-|\u2013|\u2014|to|through|until)\s*", re.IGNORECASE)
_VERB = r"(?:is|are|was|were|do|does|did|has|have|had)"
_LEAD = re.compile(
    rf"^(?:(?:by )?(?:how (?:much|many)|what)(?:'s)?\b|calculate|compute|{_VERB}\b|there\b"
    r"|the\b|an?\b|of\b"
    r"|(?:total )?(?:value|number|amount|percent\w*|proportion|share)s? of\b"
    r"|total (?=number|amount)"
    r"|us dollars?\b|dollars?\b|usd\b|percent\w*(?: points?)?\b|%"
    r"|in\b(?= rupees| dollars| usd)|rupees\b"
    r"|(?:thousand|million|billion)s?(?: of (?:us )?dollars)?\b)[\s,:]*",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"[\s,]*\b(?:is|are|was|were|have|has|had|did|does|do|in|for|of|at|as|on|by|from|to|between|and"
    r"|during|over|the|until|ending|ended)$",
    re.IGNORECASE,
)
_SPAN_OF_YEARS = re.compile(r"\b(?:\d+|two|three|four|five)[- ]years?\b", re.IGNORECASE)
_CAGR = re.compile(
    r"(?P<name>.*?)\s*\b(?:cagr|compound(?:ed)? annual growth rate)\b"
    r"(?:\s+of)?(?P<more>.*)",
    re.IGNORECASE,
)
_AVERAGE = re.compile(r"\baverage(?:\s+(?:of|value of|for))?\b", re.IGNORECASE)
_GROWTH = re.compile(
    r"(?:\b(?:year[- ]over[- ]year|yoy|annual|relative)\s+)?"
    r"\b(?:growth rate|rate of growth|(?:percent\w*|year[- ]over[- ]year|yoy) "
    r"(?:change|growth|increase|decrease)|growth)\b(?:\s+(?:of|in))?"
    r"|%\s*(?:change|growth|increase|decrease)(?:\s+(?:of|in))?",
    re.IGNORECASE,
)
_YEARLY = re.compile(r"\b(?:year[- ]over[- ]year|yoy|year[- ]on[- ]year)\b", re.IGNORECASE)
_BY_HOW_MUCH = re.compile(r"\bby (?:how much|what|how many)|how much did", re.IGNORECASE)
_POINTS = re.compile(r"\bpercent(?:age)? points?\b", re.IGNORECASE)
_GREW = re.compile(
    r"\b(?:grow|grew|grown|increased?|decreased?|declined?|rise|rose|risen|fall|fell|fallen"
    r"|drop(?:ped)?|changed?|shrink|shrank)\b",
    re.IGNORECASE,
)
_FELL = re.compile(r"\b(?:decrease|decline|fall|fell|drop|shr[ia]nk)", re.IGNORECASE)
_MORE = re.compile(
    r"\bhow (?:much|many)\s+(?P<more>more|less|fewer|higher|lower|greater|larger|smaller|bigger)\b",
    re.IGNORECASE,
)
_LESS = re.compile(r"less|fewer|lower|smaller", re.IGNORECASE)
_THAN = re.compile(
    r",?\s*\b(?:than|(?:as )?compared (?:to|with)|versus|vs\.?|relative to)\s+(?:in\s+|for\s+)?",
    re.IGNORECASE,
)
_DIFFERENCE = re.compile(r"\b(?:difference|change) (?:in|between|of)\b", re.IGNORECASE)
_MINUS = re.compile(r"\bminus\b", re.IGNORECASE)
_TOTAL = re.compile(
    r"\b(?:in all|in total|altogether|combined|collectively"
    r"|(?:sum|total)(?: number| amount)?(?: of)?)\b",
    re.IGNORECASE,
)
_BOTH = re.compile(
    r"\b(?:for|of|by|from|in|both)\s+(?P<first>[A-Z][\w.]*(?:\s+[A-Z\d][\w.]*)*)\s+and\s+"
    r"(?:for\s+)?(?P<second>[A-Z][\w.]*(?:\s+[A-Z\d][\w.]*)*)"
)
_SHARE_OF = re.compile(
    r"^(?P<top>.+?)\s+as\s+an?\s+(?:%|percent\w*|share|proportion)\s+of\s+(?P<bottom>.+)$",
    re.IGNORECASE,
)
_ASKING = re.compile(r"^(?:(?:what|is|was|were|are|the|an?)\b\s*)+", re.IGNORECASE)
_SHARE_IN = re.compile(
    r"^(?:share|percent\w*|proportion)\s+of\s+(?:"
    r"(?P<bottom>.+?)\s+(?:is|was|were|are|came\s+from)\s+(?P<top>.+)"
    r"|(?:the\s+)?(?P<first>.+?)\s+(?:in|of)\s+(?:the\s+)?(?P<second>total\b.+))$",
    re.IGNORECASE,
)
_RATIO = re.compile(
    r"^(?:ratio\s+(?:of|between)\s+(?P<top>.+?)\s+(?:to|and)\s+(?P<bottom>.+)"
    r"|(?P<first>.+?)\s+to\s+(?P<second>.+?)\s+ratio)\b(?P<more>.*)$",
    re.IGNORECASE,
)
_NAME = r"[A-Z\d](?:[\w.&\u2019']|-(?=[A-Z]))*"
_NAMES = rf"{_NAME}(?:(?:,?\s+|\s+(?:&|and|of)\s+){_NAME})*"
_NAMED = re.compile(
    rf"\s*\b(?i:for|of|by|at|does|do|did)\s+(?:the\s+)?(?P<name>{_NAMES})(?=[\s,]|$)"
)
_OWNED = re.compile(
    rf"(?P<name>(?:\b{_NAME}\s+)*\b[A-Z\d](?:[\w.&]|-(?=[A-Z]))*?)(?:['\u2019]s|(?<=s)['\u2019])\s+"
)


def wanted_of(text: str) -> Wanted | None:
    """Read a question; None where it asks for no figure."""
    clauses = clauses_of(text)
    if clauses is None:
        return None
    asking = _SPAN_OF_YEARS.sub(" ", clauses.asking)
    if periods_in(clauses.lead) or _THAN.search(clauses.lead):
        asking = f"{asking}, {clauses.lead}"
    mentions = periods_in(asking)
    found = _read(asking, clauses.writing, mentions)
    if found is None:
        return None
    return replace(
        found,
        writing=clauses.writing,
        periods=tuple(mention.period for mention in mentions),
        definitions=clauses.definitions,
        statements=clauses.statements,
    )


def _read(asking: str, writing: Writing, mentions: list[PeriodMention]) -> Wanted | None:
    bare = without(asking, mentions)
    periods = tuple(mention.period for mention in mentions)
    if found := _CAGR.search(bare):
        quantity = _quantity(f"{found['name']} {found['more']}")
        return quantity and _cagr(quantity, periods)
    if len(periods) > 1 and (found := _AVERAGE.search(bare)):
        quantity = _quantity(f"{bare[: found.start()]} {bare[found.end() :]}")
        over = _years(asking, mentions)
        return quantity and replace(
            quantity, formula=Mean(tuple(at(quantity.formula, period) for period in over))
        )
    if found := _MORE.search(bare):
        return _more(asking, mentions, is_less=_LESS.match(found["more"]) is not None)
    grew = _GREW.search(bare) if _BY_HOW_MUCH.search(bare) else None
    if (growth := _GROWTH.search(bare)) or grew:
        bare = _YEARLY.sub(" ", bare)
        growth, grew = _GROWTH.search(bare), _GREW.search(bare) if grew else None
        changed = growth or grew
        assert changed is not None
        quantity = _quantity(f"{bare[: changed.start()]} {bare[changed.end() :]}")
        is_relative = growth is not None or (writing.is_percent and not _POINTS.search(asking))
        return quantity and _change(
            quantity,
            periods,
            is_relative=is_relative,
            is_fall=grew is not None and _FELL.search(bare) is not None,
        )
    if len(periods) == 2 and (found := _DIFFERENCE.search(bare)):
        quantity = _quantity(f"{bare[: found.start()]} {bare[found.end() :]}")
        return quantity and _change(quantity, periods, is_relative=False, is_fall=False)
    if len(periods) == 2 and (found := _MINUS.search(bare)):
        quantity = _quantity(f"{bare[: found.start()]} {bare[found.end() :]}")
        return quantity and _change(quantity, periods, is_relative=False, is_fall=False)
    if _TOTAL.search(bare) and (found := _BOTH.search(bare)):
        return _sum(bare, found, periods)
    quantity = _quantity(bare)
    if quantity is None:
        return None
    return replace(quantity, formula=at(quantity.formula, periods[0] if periods else None))


def at(formula: Formula, period: Period | None) -> Formula:
    """The same, each figure at that time."""
    match formula:
        case Amount():
            return formula if formula.period is not None else replace(formula, period=period)
        case Operation(operator, left, right):
            return Operation(operator, at(left, period), at(right, period))
        case Mean(parts):
            return Mean(tuple(at(part, period) for part in parts))
        case Constant():
            return formula


def _quantity(phrase: str) -> Wanted | None:
    """A named figure, or a share or ratio of two."""
    text = " ".join(phrase.split()).strip(" ,;:")
    if share := _SHARE_IN.match(_ASKING.sub("", text)):
        part, whole = share["top"] or share["first"], share["bottom"] or share["second"]
        first, second = _quantity(part), _quantity(whole)
        if first is None or second is None:
            return None
        ratio = Operation("/", first.formula, second.formula)
        return Wanted(
            f"share of {first.name} in {second.name}", ratio, is_relative=True, is_growth=True
        )
    while (shorter := _TAIL.sub("", _LEAD.sub("", text)).strip(" ,;:")) != text:
        text = shorter
    asides: list[str] = []
    for pattern in (_OWNED, _NAMED):
        while found := pattern.search(text):
            around = f"{text[: found.start()]} {text[found.end() :]}".strip()
            if not name_words(around) or known_measure(name_words(found["name"])):
                break
            asides.append(found["name"].strip(" ,"))
            text = around
    while (shorter := _TAIL.sub("", _LEAD.sub("", text)).strip(" ,;:")) != text:
        text = shorter
    text = " ".join(text.split())
    if not name_words(text):
        return None
    aside = " ".join(asides)
    if known_measure(name_words(text)) is None:
        found = _SHARE_OF.match(text) or _RATIO.match(text)
        if found is not None:
            groups = found.groupdict()
            top = groups.get("top") or groups.get("first") or ""
            bottom = groups.get("bottom") or groups.get("second") or ""
            return Wanted(
                text, Operation("/", _part(top, aside), _part(bottom, aside)), is_relative=True
            )
        top, to, bottom = text.partition(" to ")
        if to and _is_known(top) and _is_known(bottom):
            return Wanted(
                text, Operation("/", _part(top, aside), _part(bottom, aside)), is_relative=True
            )
    return Wanted(text, Amount(text, aside))


_MEAN_OF = re.compile(r"^average\s+", re.IGNORECASE)


def _is_known(name: str) -> bool:
    return known_measure(name_words(_MEAN_OF.sub("", name))) is not None


def _part(name: str, aside: str) -> Formula:
    """A figure of a ratio: "average total debt" is the mean of two year ends."""
    if mean := _MEAN_OF.match(name):
        now = Amount(name[mean.end() :], aside)
        return Mean((replace(now, years_before=1), now))
    return Amount(name, aside)


def _years(asking: str, mentions: list[PeriodMention]) -> list[Period]:
    """The times named, those between the ends of a range included."""
    first, last = mentions[0], mentions[-1]
    between = asking[first.end : last.start]
    start, end = first.period.year, last.period.year
    if len(mentions) == 2 and start and end and start < end and _RANGE.fullmatch(between):
        years = [Period(f"FY{year}", year) for year in range(start, end + 1)]
        return [first.period, *years[1:-1], last.period]
    return [mention.period for mention in mentions]


def _ends(periods: tuple[Period, ...]) -> tuple[Period | None, Period | None] | None:
    """The earlier and the later of the times, in the order of time where years are known."""
    if len(periods) < 2:
        return None
    first, last = periods[0], periods[-1]
    if first.year and last.year and first.year > last.year:
        return last, first
    return first, last


def _cagr(quantity: Wanted, periods: tuple[Period, ...]) -> Wanted | None:
    ends = _ends(periods)
    if ends is None or ends[0] is None or ends[1] is None:
        return None
    n_years = (ends[1].year or 0) - (ends[0].year or 0)
    if n_years <= 0:
        return None
    growth = Operation("/", at(quantity.formula, ends[1]), at(quantity.formula, ends[0]))
    root = Operation("**", growth, Operation("/", Constant("1"), Constant(str(n_years))))
    return Wanted(
        f"{quantity.name} CAGR",
        Operation("-", root, Constant("1")),
        is_relative=True,
        is_growth=True,
    )


def _change(
    quantity: Wanted, periods: tuple[Period, ...], *, is_relative: bool, is_fall: bool
) -> Wanted:
    ends = _ends(periods)
    now = quantity.formula
    if ends is not None:
        before, after = at(now, ends[0]), at(now, ends[1])
    else:
        period = periods[0] if periods else None
        before, after = years_before(at(now, period), 1), at(now, period)
    if is_relative:
        change = Operation("/", Operation("-", after, before), before)
        return Wanted(f"growth of {quantity.name}", change, is_relative=True, is_growth=True)
    difference = Operation("-", before, after) if is_fall else Operation("-", after, before)
    return Wanted(f"change in {quantity.name}", difference)


def _more(asking: str, mentions: list[PeriodMention], *, is_less: bool) -> Wanted | None:
    """How much higher was A in 2002 than in 2001; how many more A did X have than Y."""
    start = _MORE.search(asking)
    than = _THAN.search(asking, start.end() if start else 0)
    if start is None or than is None:
        return None
    said, compared = asking[start.end() : than.start()], asking[than.end() :]
    common = _quantity(without(said, periods_in(said)))
    if common is None:
        return None
    first_periods, second_periods = periods_in(said), periods_in(compared)
    second_name = without(compared, second_periods)
    first, second = common.formula, common.formula
    if first_periods and second_periods:
        # What stands after the second time is of both: "than 2001 for the group".
        first = at(first, first_periods[0].period)
        second = at(second, second_periods[0].period)
    else:
        told = _told_apart(said, second_name)
        shared = [mention.period for mention in mentions]
        period = shared[0] if shared else None
        if told is None:
            other = _quantity(second_name)
            if other is None:
                return None
            first, second = at(first, period), at(other.formula, period)
        else:
            name = _quantity(without(told[1], periods_in(told[1])))
            if name is None:
                return None
            first = at(Amount(name.name, told[0]), period)
            second = at(Amount(name.name, second_name), period)
    difference = Operation("-", second, first) if is_less else Operation("-", first, second)
    return Wanted(f"difference in {common.name}", difference)


_CAPITALS = re.compile(r"\b(?:the\s+)?[A-Z][\w.]*(?:\s+[A-Z\d][\w.]*)*")


def _told_apart(said: str, compared: str) -> tuple[str, str] | None:
    """What the first stands for where the second is `compared`, and the words common to both."""
    if not re.match(r"(?:the\s+)?[A-Z]", compared):
        return None
    runs = list(_CAPITALS.finditer(said))
    if not runs:
        return None
    words = set(compared.split())
    best = max(runs, key=lambda run: (len(words & set(run[0].split())), run.start()))
    return best[0], f"{said[: best.start()]} {said[best.end() :]}"


def _sum(bare: str, both: re.Match[str], periods: tuple[Period, ...]) -> Wanted | None:
    around = _TOTAL.sub(" ", f"{bare[: both.start()]} {bare[both.end() :]}")
    name = _quantity(around)
    if name is None:
        return None
    first, second = both["first"].split(), both["second"].split()
    if len(second) < len(first):  # "Recruiter A and B"
        second = [*first[: len(first) - len(second)], *second]
    period = periods[0] if periods else None
    total = Operation(
        "+",
        at(Amount(name.name, " ".join(first)), period),
        at(Amount(name.name, " ".join(second)), period),
    )
    return Wanted(f"total {name.name}", total)
