"""Whether what would be quoted holds what is asked: its time, its names, a figure for "how much".

Words of a question that stand close together on a page are not yet an answer to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.answer.asked_figures.periods import periods_in
from rag.answer.draft import Draft
from rag.answer.question import Question
from rag.answer.tables.periods import matches
from rag.ports import Evidence
from rag.scoring.lexical import is_content_word, terms

_DOUBT = 0.5
_NAMED_ELSEWHERE = 0.7  # a name of the question is not said near the quote
_LATIN = 0x24F  # letters above it make no words that a space tells apart
_HEAD_WORDS = 60  # of a page: its headings
_BEFORE_WORDS = 60  # of a quote: what leads to it
_SMALL_PAGE = 150  # words of a page that is read as one
_LEAST_MATCH = 0.5
_LEAST_COVERED = 0.5  # of the question's words, in passages that are quoted for an answer
_LEAST_OF_FIGURE = 0.67
_ASKED_WITH = frozenset({"many", "much"})  # they ask, and no page repeats them
_WANTS_FIGURE = re.compile(
    r"\bhow (?:much|many|long|old|far|large|big|high|tall|fast|heavy)\b"
    r"|^what (?:is|was|were|are) (?!the (?:name|title|purpose|reason))[^?]*\b(?:19|20)\d\d\b",
    re.IGNORECASE,
)
_WHERE = re.compile(r"^where\b", re.IGNORECASE)
_OF_PAST = re.compile(r"\buntil\b|\bformer(?:ly)?\b|\bresigned\b|\bstepped down\b", re.IGNORECASE)
_WHO_IS = re.compile(r"^who (?:is|are)\b", re.IGNORECASE)


def has_content(asked: Question) -> bool:
    """Whether a question has a word that says what it is about: not "the", not "7"."""
    return any(
        is_content_word(word) and any(map(str.isalpha, word)) and len(word) > 1
        for word in asked.text.split()
    ) or any(ord(char) > _LATIN and char.isalpha() for char in asked.text)


def trust_in_quotes(
    asked: Question, draft: Draft, evidence: Sequence[Evidence], *, is_short: bool
) -> float:
    """1 where quotes hold what is asked, less where they do not.

    Args:
        asked: the question.
        draft: claims that quote.
        evidence: the pages.
        is_short: whether a short answer was read from the quotes: its kind is known to be there.
    """
    quotes = [
        (source.evidence, source.quote, source.near) for c in draft.claims for source in c.sources
    ]
    said = " ".join(quote for _, quote, _ in quotes)
    pages = {page.number: page for page in evidence}
    around = " ".join(
        _context(pages[number], near) for number, _, near in quotes if number in pages
    )
    sources = {term for page in evidence for term in terms(page.hit.source)}
    doubts = (
        not _says_when(asked, said, around, [pages[n] for n, _, _ in quotes if n in pages]),
        _WHO_IS.match(asked.asking) is not None and _OF_PAST.search(said) is not None,
        not _is_about(asked, said, sources)
        if not is_short
        else (
            _WANTS_FIGURE.search(asked.asking) is not None
            and _covered(asked, f"{said} {around}", sources) == 0
        ),
    )
    trust = _DOUBT ** sum(doubts)
    if not _says_names(asked, f"{said} {around}", sources):
        trust *= _NAMED_ELSEWHERE
    return trust


def _context(page: Evidence, near: int | None) -> str:
    words = page.text.words
    if len(words) <= _SMALL_PAGE:
        return " ".join(words)
    before = words[max(0, (near or 0) - _BEFORE_WORDS) : near or 0]
    return " ".join((*words[:_HEAD_WORDS], *before))


def _says_when(asked: Question, said: str, around: str, pages: Sequence[Evidence]) -> bool:
    wanted = [mention.period for mention in periods_in(asked.asking)]
    if not wanted:
        return True
    told = [mention.period for mention in periods_in(said)]
    if not told:
        told = [mention.period for mention in periods_in(around)]
        if not told and any(str(each.year) in page.hit.source for each in wanted for page in pages):
            return all(each.quarter is None for each in wanted)
    years = {each.year for each in told}
    return all(
        each.year in years or any(matches(each, other) > _LEAST_MATCH for other in told)
        for each in wanted
    ) and all(
        each.quarter is None or any(each.quarter == other.quarter for other in told)
        for each in wanted
    )


def _says_names(asked: Question, said: str, sources: set[str]) -> bool:
    names = [name for name in asked.names if not name[0].isdigit()]
    held = {*terms(said), *sources}
    return all(name in held for name in names)


def _covered(asked: Question, said: str, sources: set[str]) -> float:
    """Share of the words of a question, its times and the names of the documents aside."""
    periods = {term for each in periods_in(asked.asking) for term in terms(each.period.text)}
    aside = sources | periods | _ASKED_WITH
    wanted = [term for term in asked.terms if term not in aside]
    held = set(terms(said))
    return sum(term in held for term in wanted) / len(wanted) if wanted else 1.0


def _is_about(asked: Question, said: str, sources: set[str]) -> bool:
    periods = {term for each in periods_in(asked.asking) for term in terms(each.period.text)}
    held = set(terms(said))
    wants_figure = _WANTS_FIGURE.search(asked.asking) is not None
    if _covered(asked, said, sources) < (_LEAST_OF_FIGURE if wants_figure else _LEAST_COVERED):
        return False
    if wants_figure:
        figures = {term for term in held if term[0].isdigit()} - periods - set(asked.terms)
        figures -= {term for each in periods_in(said) for term in terms(each.period.text)}
        return bool(figures)
    if _WHERE.match(asked.asking):
        names = [word for word in said.split()[1:] if word[:1].isupper()]
        return any(set(terms(word)) - set(asked.terms) - sources for word in names)
    return True
