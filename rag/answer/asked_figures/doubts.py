"""What speaks against a figure that was found: whose it is, of when, and what kind of figure.

The name and the time that are asked for must be said where the figure stands, not only somewhere on
its page; what is expected is no result; an amount is no share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from rag.answer.asked_figures.calculate import Calculated
from rag.answer.asked_figures.cells import TableFigure
from rag.answer.asked_figures.formula import Amount, amounts_of
from rag.answer.asked_figures.measures import known_measure, measures
from rag.answer.asked_figures.names import Words, name_words
from rag.answer.asked_figures.periods import periods_in
from rag.answer.asked_figures.sentences import SentenceFigure
from rag.answer.asked_figures.stated import StatedFigure
from rag.answer.asked_figures.wanted import Wanted
from rag.answer.asked_figures.whose import squashed
from rag.answer.tables.periods import matches
from rag.answer.tables.table import Period

_DOUBT = 0.4  # below every confidence that is shown, whatever the figure's score
_HEAD_WORDS = 60  # of a page: what says of when all of it is
_LEAST_MATCH = 0.5
_SHARE = re.compile(
    r"\b(?:share|percent\w*|proportion|fraction) of\b|\b(?:rate|margin|percent\w*)\b|%",
    re.IGNORECASE,
)
_OTHER_RATE = re.compile(r"\b(?:exchange|interest) rates?\b", re.IGNORECASE)
_PER_SHARE = re.compile(r"\bper\s+(?:\w+\s+)?(?:share|unit)\b|\bEPS\b", re.IGNORECASE)
_EXPECTED = re.compile(
    r"\b(?:expect\w*|forecast\w*|guidance|targets?|targeted|outlook|anticipat\w*|project(?:s|ed)"
    r"|propos(?:e|es|ed|al)|intends?|plans? to|planned|budget\w*|will|should|may)\b",
    re.IGNORECASE,
)
_TO_OTHERS = re.compile(r"\b(?:to|from|with)\s+(?:[A-Z][\w.&\-]*\s*)+")
_ANDED = re.compile(r"\s*,?\s+and\s+|\s*,\s*", re.IGNORECASE)
_AND = re.compile(
    r"\s*(?:,|and|&|,\s*and|or|as well as)\s*(?:in|for|of|at|fiscal)?\s*(?:year)?\s*", re.IGNORECASE
)


def trust(question: str, wanted: Wanted, found: Calculated, name: str, *, is_named: bool) -> float:
    """1 where nothing speaks against a figure, less where something does.

    Args:
        question: as asked.
        wanted: what it asks for.
        found: the figure, or what follows from several.
        name: whom the question is about, see `whose`; empty for nobody.
        is_named: whether the pages are of documents that name that one.
    """
    figures = [each.figure for each in found.operands]
    asks_what_is_expected = _EXPECTED.search(question) is not None
    doubts = (
        bool(name) and not is_named and not all(map(partial(_says_whose, name), figures)),
        not asks_what_is_expected and any(map(_is_expected, figures)),
        _is_of_another_kind(question, wanted, found),
        any(not _says_when(each, wanted.periods) for each in figures),
        is_one_of_several(wanted),
        wanted.name.startswith("share of") and len(set(map(_place, figures))) > 1,
        any(isinstance(each, SentenceFigure) for each in figures)
        and (len({each.scale for each in figures}) > 1 or not _says_asides(wanted, figures)),
    )
    return _DOUBT ** sum(doubts)


# --- when ---------------------------------------------------------------------------------------
def _says_when(figure: StatedFigure, asked: Sequence[Period]) -> bool:
    """Whether a time is said of the figure: over its column, in its row, in its sentence, by the
    title of its table, or as the one time at the top of its page.
    """
    if not asked or figure.period is not None:
        return True
    title = figure.page_table.table.title if isinstance(figure, TableFigure) else ""
    for text in (title, " ".join(figure.evidence.text.words[:_HEAD_WORDS])):
        told = [mention.period for mention in periods_in(text)]
        if told:
            is_one = len({period.year for period in told}) == 1
            return is_one and any(
                matches(period, each) > _LEAST_MATCH and (period.quarter == each.quarter)
                for period in asked
                for each in told
            )
    return False


def is_one_of_several(wanted: Wanted) -> bool:
    """Whether one figure is looked up for a question that names several years."""
    if not isinstance(wanted.formula, Amount):
        return False
    return len({(period.year, period.quarter) for period in wanted.periods if period.year}) > 1


def each_of(question: str, wanted: Wanted) -> tuple[Wanted, ...]:
    """What is wanted, a look-up each: of every time in a list, of every measure in a list."""
    amount = wanted.formula
    if not isinstance(amount, Amount):
        return (wanted,)
    names = _ANDED.split(wanted.name)
    if known_measure(name_words(wanted.name)) is not None or not all(
        known_measure(name_words(name)) for name in names
    ):
        names = [wanted.name]
    periods = wanted.periods if is_one_of_several(wanted) and _are_listed(question) else ()
    return tuple(
        replace(
            wanted,
            name=name,
            formula=replace(amount, name=name, period=period or amount.period),
            periods=wanted.periods if period is None else (period,),
        )
        for name in names
        for period in periods or (None,)
    )


def _are_listed(question: str) -> bool:
    """Whether the times of a question are a list: "in 2022 and 2020"."""
    mentions = periods_in(question)
    return len(mentions) > 1 and all(
        _AND.fullmatch(question[first.end : second.start]) for first, second in pairwise(mentions)
    )


def _is_expected(figure: StatedFigure) -> bool:
    """Whether the words about a figure speak of what is to come, and not of what was."""
    if not isinstance(figure, SentenceFigure):
        return _EXPECTED.search(figure.heading) is not None
    words = figure.evidence.text.words
    start, end = figure.span
    if figure.period is not None:
        commas = [at for at in range(start, end) if words[at].endswith((",", ";"))]
        start = max((at + 1 for at in commas if at < figure.place), default=start)
        end = min((at + 1 for at in commas if at >= figure.place), default=end)
    return _EXPECTED.search(" ".join(words[start:end])) is not None


def _says_whose(name: str, figure: StatedFigure) -> bool:
    """Whether a figure is said to be somebody's where it stands: "Sales to Acme" are another's."""
    return name in squashed(_TO_OTHERS.sub(" ", _around(figure)))


def _place(figure: StatedFigure) -> int:
    return figure.page_table.number if isinstance(figure, TableFigure) else -1


def _says_asides(wanted: Wanted, figures: Sequence[StatedFigure]) -> bool:
    """Whether sentences, or what heads them, name what tells figures apart."""
    asides = [word for each in amounts_of(wanted.formula) for word in name_words(each.aside)]
    for figure in figures:
        head = " ".join(figure.evidence.text.words[:_HEAD_WORDS])
        said = squashed(f"{figure.evidence.hit.source} {_around(figure)} {head}")
        if not all(word in said for word in asides):
            return False
    return True


# --- what kind ----------------------------------------------------------------------------------
def _is_of_another_kind(question: str, wanted: Wanted, found: Calculated) -> bool:
    """A share where an amount is asked for, or the other way round; a sum where it is by share."""
    figures = [each.figure for each in found.operands]
    is_share = found.is_relative or all(each.is_percent for each in figures)
    measure = found.measure
    asks_share = _SHARE.search(_OTHER_RATE.sub(" ", wanted.name)) is not None or (
        _SHARE.search(question) is not None and wanted.writing.is_percent
    )
    if asks_share and not is_share:
        return True
    if is_share and not asks_share and found.is_figure and measure is None and _is_amount(wanted):
        return True
    if found.is_figure and _PER_SHARE.search(wanted.name):
        is_by_share = measure is not None and measure.is_per_share
        said = _PER_SHARE.search(_around(figures[0])) is not None and figures[0].scale == 1.0
        return not is_by_share and not said
    return False


def _is_amount(wanted: Wanted) -> bool:
    """Whether what is asked for ends in the name of a sum of money: "worldwide sales"."""
    name = name_words(wanted.name)
    return any(name[-len(each) :] == each for each in _amounts())


def _amounts() -> list[Words]:
    return [
        asked
        for measure in measures()
        if measure.statement and not measure.is_per_share
        for asked in measure.asked
    ]


def _around(figure: StatedFigure) -> str:
    """All that is said of which figure it is: its heads and title, or its sentence."""
    if isinstance(figure, TableFigure):
        table = figure.page_table.table
        return " ".join((figure.heading, *figure.row.section, table.title))
    return figure.heading
