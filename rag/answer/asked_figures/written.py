"""The words of an answer that is a figure: the value as asked for, the sentence, the sources."""

from __future__ import annotations

import math
import re

from rag.answer.asked_figures.calculate import Calculated
from rag.answer.asked_figures.clause import Writing
from rag.answer.asked_figures.formula import Amount
from rag.answer.asked_figures.names import name_words
from rag.answer.asked_figures.sentences import SentenceFigure
from rag.answer.asked_figures.stated import StatedFigure
from rag.answer.asked_figures.wanted import Wanted
from rag.answer.asked_figures.whose import squashed
from rag.answer.draft import Draft, DraftClaim, Source
from rag.answer.figures.words import CURRENCIES, are_one_currency

_SCALE_WORDS = {1e3: "thousand", 1e5: "lakh", 1e6: "million", 1e7: "crore", 1e9: "billion"}
_SIGNS = "$\u20ac\u00a3\u00a5\u20b9"
_LED = re.compile(r"(?:in|for|at|as|on|during)\b", re.IGNORECASE)
_ORDINAL = re.compile(
    r"(?:first|second|third|fourth|fiscal year|financial year|year|three|six|nine|twelve)\b",
    re.IGNORECASE,
)
_LEAST_OF_SCALE = 0.1  # nobody asks in millions for what comes to less of one
_NIL = "nil"  # what a dash says


def draft_of(wanted: Wanted, found: Calculated) -> Draft:
    short = value_text(wanted, found, with_scale=False)
    told = value_text(wanted, found, with_scale=True)
    claim = DraftClaim(
        _sentence(wanted, found, told),
        _sources(found),
        "" if found.is_figure else found.dated if len(_years(found)) > 1 else found.words,
        "" if found.is_figure else found.expression,
    )
    return Draft((claim,), short)


def is_written_so(wanted: Wanted, found: Calculated) -> bool:
    """Whether the pages write the figures as the question takes it: in that currency and scale, a
    count as no share.

    A value of very few millions, asked for in millions, is of a page that does not say its scale.
    """
    figures = [each.figure for each in found.operands]
    currencies = {CURRENCIES.get(each.currency, each.currency) for each in figures} - {""}
    asked = wanted.writing.currency
    if asked and any(not are_one_currency(asked, each) for each in currencies):
        return False
    if wanted.writing.is_count and any(each.is_percent for each in figures):
        return False
    scale = wanted.writing.scale
    if scale is None or found.is_relative or any(each.scale != 1.0 for each in figures):
        return True
    is_share = any(each.is_percent for each in figures)
    return is_share or found.value == 0 or abs(found.value) >= _LEAST_OF_SCALE * scale


def value_text(wanted: Wanted, found: Calculated, *, with_scale: bool) -> str:
    """The value in the unit and rounding asked for.

    Args:
        wanted: what was asked for, and how it is to be written.
        found: the value.
        with_scale: with the word of scale that the question gave, which its answer need not repeat.
    """
    if found.is_figure and not re.search(r"\d", found.operands[0].figure.figure.text):
        return _NIL
    writing = wanted.writing
    figures = [each.figure for each in found.operands]
    if found.is_relative:
        return _ratio_text(wanted, found)
    if figures and all(figure.is_percent for figure in figures):
        return f"{_number(found.value, writing.decimals, _decimals(found))}%"
    scales = {figure.scale for figure in figures}
    own = scales.pop() if len(scales) == 1 else 1.0
    scale = writing.scale or own
    value = found.value / scale
    decimals = _decimals(found) if scale == own else _exact_decimals(value)
    number = _number(value, writing.decimals, decimals)
    currency = next((figure.currency for figure in figures if figure.currency), "")
    word = _SCALE_WORDS.get(scale, "")
    if writing.scale is not None and not with_scale:
        return number.replace(",", "")
    # Counts of shops stand in tables whose heading speaks of dollars.
    sign = currency if currency and ({scale, own} != {1.0} or _is_money(found)) else ""
    text = f"{sign}{number}" if sign in _SIGNS else f"{sign} {number}"
    if number.startswith("-") and sign and sign in _SIGNS:
        text = f"-{sign}{number[1:]}"
    return f"{text} {word}".strip()


def _ratio_text(wanted: Wanted, found: Calculated) -> str:
    writing: Writing = wanted.writing
    is_percent = (
        writing.is_percent
        or wanted.is_growth
        or (found.measure is not None and found.measure.is_percent and writing.decimals is None)
    )
    value = found.value * 100 if is_percent else found.value
    least = 2
    if value:
        # Three digits that count, so that a small share is told from nothing.
        least = max(2, 2 - math.floor(math.log10(abs(value))))
    return f"{_number(value, writing.decimals, min(least, 6))}{'%' if is_percent else ''}"


def _number(value: float, asked: int | None, own: int) -> str:
    decimals = own if asked is None else asked
    text = f"{round(value, decimals) + 0.0:,.{decimals}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text


def _decimals(found: Calculated) -> int:
    own = max((each.figure.figure.decimals for each in found.operands), default=0)
    return own if found.binding in (9, 1) else max(own, 2)


def _exact_decimals(value: float) -> int:
    return next((n for n in range(3) if math.isclose(value, round(value, n), abs_tol=1e-9)), 3)


def _is_money(found: Calculated) -> bool:
    is_signed = any(each.figure.figure.unit not in ("", "%") for each in found.operands)
    is_per_one = any(" per " in f" {each.figure.name.casefold()} " for each in found.operands)
    return is_signed or is_per_one or (found.measure is not None and found.measure.is_per_share)


def _sources(found: Calculated) -> tuple[Source, ...]:
    sources = [source for each in found.operands for source in each.figure.sources()]
    return tuple(dict.fromkeys(sources))


def _sentence(wanted: Wanted, found: Calculated, value: str) -> str:
    if found.is_figure and found.measure is None:
        figure = found.operands[0].figure
        if isinstance(figure, SentenceFigure):
            return figure.heading if figure.heading.endswith(".") else f"{figure.heading}."
        return f"{figure.heading}: {value}."
    name = wanted.name[:1].upper() + wanted.name[1:]
    aside = wanted.formula.aside if isinstance(wanted.formula, Amount) else ""
    if not all(_names(each.figure, aside) for each in found.operands):
        aside = ""  # a name of the question is said of figures only where the pages say it
    whose = f" of {aside}" if aside else ""
    verb = "were" if name.endswith("s") and not name.endswith("ss") else "was"
    # A page that calls it otherwise is quoted; who reads it should know that word.
    label = found.operands[0].figure.name if found.is_figure else ""
    is_named = not set(name_words(label)) - set(name_words(f"{name} {aside}"))
    called = "" if is_named else f" ({label})"
    return f"{name}{called}{whose}{_when(wanted, found)} {verb} {value}."


def _names(figure: StatedFigure, aside: str) -> bool:
    page = figure.evidence
    said = squashed(f"{page.hit.source} {page.text.text}")
    return all(squashed(word) in said for word in aside.split())


def _when(wanted: Wanted, found: Calculated) -> str:
    """The times asked for, else the year of the figures."""
    if found.is_figure and found.operands[0].figure.period is None:
        return ""  # what is not said with the figure is not said of it
    asked = [period.text for period in wanted.periods]
    if len(asked) > 1:
        asked = [each.text for each in sorted(wanted.periods, key=lambda each: each.year or 0)]
        return f" from {asked[0]} to {asked[-1]}"
    if asked:
        if _LED.match(asked[0]):
            return f" {asked[0]}"
        the = "the " if _ORDINAL.match(asked[0]) else ""
        return f" in {the}{asked[0]}"
    years = _years(found)
    return f" in {years.pop()}" if len(years) == 1 else ""


def _years(found: Calculated) -> set[int]:
    periods = [each.figure.period for each in found.operands]
    return {period.year for period in periods if period is not None and period.year is not None}
