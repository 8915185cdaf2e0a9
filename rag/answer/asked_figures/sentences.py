"""Figures in sentences: "totaled $396 million in 2018, $411 million in 2017"."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rag.answer.asked_figures.cells import PageTable
from rag.answer.asked_figures.measures import Measure
from rag.answer.asked_figures.names import Words, name_words
from rag.answer.asked_figures.periods import PeriodMention, periods_in
from rag.answer.asked_figures.stated import Found, quote_source
from rag.answer.draft import Source
from rag.answer.figures.read import Figure, figures_in
from rag.answer.figures.words import CURRENCIES
from rag.answer.orders import gives_orders
from rag.answer.passages import PassageKind, Span, cut_passages
from rag.answer.tables.periods import matches
from rag.answer.tables.table import Period
from rag.ports import Evidence

SENTENCE = 0.85  # what a sentence says of a figure is less plain than a row under its heads
_OF_MEASURE = 0.75  # and what statements have rows for is best taken from there
_COVERED = 0.55  # share of what the name tells that a sentence must say
_NO_TIME = 0.8  # no time is said, or none was asked for and this is not the latest
_NEAR_WORDS = 30.0  # a figure so far from the words of its name is half as likely meant
_PLAIN_WORDS = 50  # one of more is a table that was read as prose, or says much besides
_SAYS_NOTHING = frozenset(name_words("be have has had do does did"))  # of which figure is meant
_CHANGED = (
    0.5  # "increased $3 million" is a change, "up to $3 million" a limit; "increased to" is none
)
_CURRENCIES = frozenset(CURRENCIES.values())
_YEARS = range(1900, 2101)


@dataclass(frozen=True, eq=False)
class SentenceFigure:
    """A figure of a sentence.

    Attributes:
        called: how the question calls it: sentences have no labels.
        is_outright: the sentence has every word of that.
    """

    evidence: Evidence
    figure: Figure
    span: Span
    period: Period | None
    place: int
    called: str = ""
    is_outright: bool = False

    @property
    def name(self) -> str:
        return self.called

    @property
    def head_name(self) -> str:
        return ""

    @property
    def heading(self) -> str:
        return self.evidence.text.span_text(*self.span)

    @property
    def is_percent(self) -> bool:
        return self.figure.unit == "%"

    @property
    def scale(self) -> float:
        return self.figure.scale

    @property
    def currency(self) -> str:
        return self.figure.unit if self.figure.unit in _CURRENCIES else ""

    def sources(self) -> tuple[Source, ...]:
        return (quote_source(self.evidence, self.span),)


@dataclass(frozen=True)
class _Sentence:
    evidence: Evidence
    span: Span

    @cached_property
    def terms(self) -> frozenset[str]:
        return frozenset(name_words(self.evidence.text.span_text(*self.span)))

    @property
    def is_plain(self) -> bool:
        start, end = self.span
        return end - start <= _PLAIN_WORDS and self.evidence.text.words[end - 1][-1] in ".?!"

    def places(self, name: Words) -> list[int]:
        """The words of it that say one of a name."""
        start, end = self.span
        words = self.evidence.text.words[start:end]
        return [place for place, word in enumerate(words) if set(name_words(word)) & set(name)]


class Sentences:
    """The sentences of the evidence that have figures, to be searched; read when first asked."""

    def __init__(self, evidence: Sequence[Evidence], tables: Sequence[PageTable] = ()) -> None:
        self._evidence = evidence
        self._tables = tables

    @cached_property
    def _sentences(self) -> list[_Sentence]:
        rows: dict[int, list[Span]] = {}
        for each in self._tables:
            spans = rows.setdefault(each.evidence.number, [])
            spans += [cell.span for row in each.table.rows for cell in row.cells]
        return [
            sentence
            for page in self._evidence
            for sentence in _sentences(page)
            if not any(
                sentence.span[0] <= start < sentence.span[1]
                for start, _ in rows.get(page.number, ())
            )
            and not gives_orders(page.text.span_text(*sentence.span))
        ]

    @cached_property
    def _with(self) -> Counter[str]:
        return Counter(term for each in self._sentences for term in each.terms)

    def find(
        self, called: str, name: Words, measure: Measure | None, *, period: Period | None
    ) -> list[Found]:
        """Figures that may be meant, best first.

        Args:
            called: how the question calls the figure.
            name: the words of that.
            measure: what it is, where that is known.
            period: when; None for the latest of a sentence.
        """
        found: list[Found] = []
        trust = SENTENCE if measure is None else _OF_MEASURE
        name = _telling(name, called)
        names = [name] if measure is None else [*measure.asked, *measure.rows]
        for sentence in self._sentences:
            terms = sentence.terms
            covered = [(self._coverage(terms, each), each) for each in names]
            share, said = max(covered, key=lambda each: (each[0], len(each[1])))
            if share < (_COVERED if measure is None else 1.0):
                continue
            places = sentence.places(said) or [0]
            is_outright = len(said) > 1 and set(said) <= terms and sentence.is_plain
            for figure in _figures(sentence, called, is_outright=is_outright):
                time = _time(figure, period)
                if time == 0 or not _is_of_kind(figure, called, measure):
                    continue
                away = min(abs(figure.place - sentence.span[0] - place) for place in places)
                time *= _CHANGED if _is_change(figure) else 1.0
                near = 1 / (1 + away / _NEAR_WORDS)
                found.append(Found(figure, trust * share * time * near))
        return sorted(found, key=lambda each: -each.score)

    def _coverage(self, terms: frozenset[str], name: Words) -> float:
        """Share of what the words of a name tell that is said, rare words telling more."""
        told = {word: self._weight(word) for word in name}
        total = sum(told.values())
        return sum(told[word] for word in told if word in terms) / total if total else 0.0

    def _weight(self, word: str) -> float:
        return math.log(1 + (1 + len(self._sentences)) / (1 + self._with[word])) + 0.1


def _sentences(page: Evidence) -> Iterator[_Sentence]:
    """Sentences with digits.

    A line that ends in figures looks like a row; where it goes on, it begins a sentence.
    """
    spans = sorted(
        (passage.spans[0], passage.kind)
        for passage in cut_passages(page.text)
        if len(passage.spans) == 1 and passage.kind is not PassageKind.LINES
    )
    begun: int | None = None
    for number, ((start, end), kind) in enumerate(spans):
        first = start if begun is None else begun
        goes_on = number + 1 < len(spans) and spans[number + 1][0][0] == end
        if kind is PassageKind.ROW and goes_on and page.text.words[end][:1].islower():
            begun = first
            continue
        begun = None
        if any(char.isdigit() for word in page.text.words[first:end] for char in word):
            yield _Sentence(page, (first, end))


def _figures(sentence: _Sentence, called: str, *, is_outright: bool) -> Iterator[SentenceFigure]:
    """The numbers of a sentence, each with the time it is of."""
    start, end = sentence.span
    words = sentence.evidence.text.words[start:end]
    text = " ".join(words)
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    mentions = periods_in(text)
    figures = [
        figure
        for figure in figures_in(words)
        if figure.value is not None
        and not any(
            mention.start <= starts[figure.start] < mention.end
            or mention.start < starts[figure.end] - 1 <= mention.end
            for mention in mentions
        )
        and not (figure.value in _YEARS and not figure.unit and figure.scale == 1.0)
    ]
    respective = "respectively" in text.lower()
    for number, figure in enumerate(figures):
        if respective and len(mentions) > 1 and len(figures) % len(mentions) == 0:
            mention: PeriodMention | None = mentions[number % len(mentions)]
        else:
            follows = starts[figures[number + 1].start] if number + 1 < len(figures) else len(text)
            mention = _mention_of(mentions, starts[figure.start], follows)
        yield SentenceFigure(
            sentence.evidence,
            figure,
            sentence.span,
            None if mention is None else mention.period,
            start + figure.start,
            called,
            is_outright,
        )


def _mention_of(mentions: list[PeriodMention], at: int, follows: int) -> PeriodMention | None:
    """The time said after a figure and before the next one, else the last one said before it."""
    after = next((each for each in mentions if at < each.start < follows), None)
    before = next((each for each in reversed(mentions) if each.start < at), None)
    return after or before


def _time(figure: SentenceFigure, wanted: Period | None) -> float:
    if wanted is None:
        return 1.0 if figure.period is None else 0.95
    if figure.period is not None:
        return matches(wanted, figure.period)
    year = str(wanted.year)
    return _NO_TIME if any(year in word for word in figure.evidence.text.words) else 0.6


_ROSE = re.compile(
    r"\b(?:increased?|decreased?|declined?|rose|fell|grew|down|up|up\s+to|as\s+much\s+as)\s+(?:by\s+)?(?:approximately\s+)?$",
    re.IGNORECASE,
)


def _is_change(figure: SentenceFigure) -> bool:
    words = figure.evidence.text.words[max(figure.span[0], figure.place - 3) : figure.place]
    return _ROSE.search(f"{' '.join(words)} ") is not None


_ASKS_SHARE = re.compile(r"\b(?:percent\w*|proportion|share of|rate)\b|%", re.IGNORECASE)


def _telling(name: Words, called: str) -> Words:
    """The words that say which figure is meant: "%" beside it says that it is a share."""
    is_share = _ASKS_SHARE.search(called) is not None
    words = tuple(
        word
        for word in name
        if word not in _SAYS_NOTHING and not (is_share and _ASKS_SHARE.match(word))
    )
    return words or name


def _is_of_kind(figure: SentenceFigure, called: str, measure: Measure | None) -> bool:
    """Whether it is money where the measure is money, a share where a share is asked for."""
    if measure is not None:
        if measure.is_percent:
            return figure.is_percent
        return bool(figure.currency) or (figure.scale > 1.0 and not figure.figure.unit)
    return figure.is_percent if _ASKS_SHARE.search(called) else True
