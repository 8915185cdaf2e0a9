"""What to search for beside a question: the statements that have the figures it follows from.

A question for "return on assets" names none of the pages that answer it; the income statement and
the balance sheet do not say "return on assets".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rag.answer.asked_figures.calculate import is_same_name
from rag.answer.asked_figures.formula import Amount, Constant, Formula, Mean, Operation
from rag.answer.asked_figures.measures import Measure, known_measure
from rag.answer.asked_figures.names import Words, name_words
from rag.answer.asked_figures.wanted import Wanted, wanted_of
from rag.answer.asked_figures.whose import is_called, whose
from rag.types import PageHit

_TITLES = {
    "income": "consolidated statements of income operations earnings",
    "balance": "consolidated balance sheets",
    "cash flow": "consolidated statements of cash flows",
}
_OF_YEAR = 2  # pages that a year in the name of a document counts for


def searches_for(question: str) -> tuple[str, ...]:
    """Searches whose pages are to be evidence too, one a statement; none where it needs none.

    Each is to be made in the document that the question is about: `document_of`.
    """
    wanted = wanted_of(question)
    if wanted is None:
        return ()
    names: dict[str, list[str]] = {}
    for measure in _leaves(wanted, wanted.formula, ()):
        rows = names.setdefault(measure.statement, [])
        if measure.name not in rows:
            rows.append(measure.name)
    when = " ".join(dict.fromkeys(str(each.year) for each in wanted.periods if each.year))
    return tuple(
        f"{_TITLES[statement]} {when} {' '.join(rows)}".replace("  ", " ")
        for statement, rows in names.items()
        if statement in _TITLES
    )


def needs_cover(question: str, hits: Sequence[PageHit]) -> bool:
    """Whether a cover has to tell whose the figures are: no file is called after whom it is about.

    Pages of statements seldom say it.
    """
    wanted = wanted_of(question)
    name = "" if wanted is None else whose(question, wanted)
    return bool(name) and not any(is_called(name, hit.source) for hit in hits)


def document_of(question: str, hits: Sequence[PageHit]) -> str | None:
    """Id of the document that the question is most likely about: of the years asked for, with most
    pages.

    A filing is mostly called after its year; where none of them is, the pages decide.
    """
    if not hits:
        return None
    wanted = wanted_of(question)
    periods = () if wanted is None else wanted.periods
    latest = max((each.year for each in periods if each.year), default=None)
    n_pages = Counter(hit.ref.document_id for hit in hits)
    first: dict[str, int] = {}
    of_year: set[str] = set()
    for place, hit in enumerate(hits):
        first.setdefault(hit.ref.document_id, -place)
        if latest and str(latest) in hit.source:
            of_year.add(hit.ref.document_id)
    return max(
        n_pages,
        key=lambda document: (
            n_pages[document] + _OF_YEAR * (document in of_year),
            first[document],
        ),
    )


def _leaves(wanted: Wanted, formula: Formula, within: tuple[Words, ...]) -> Iterator[Measure]:
    """The measures that statements state, of all that the formula needs."""
    match formula:
        case Constant():
            return
        case Mean(parts):
            for part in parts:
                yield from _leaves(wanted, part, within)
        case Operation(_, left, right):
            yield from _leaves(wanted, left, within)
            yield from _leaves(wanted, right, within)
        case Amount(name):
            words = name_words(name)
            measure = known_measure(words)
            own = words if measure is None else measure.asked[0]
            if own in within:
                return
            for defined, stated in wanted.definitions:
                if is_same_name(defined, words, measure):
                    yield from _leaves(wanted, stated, (*within, own))
                    return
            if measure is None:
                return
            if measure.statement:
                yield measure
            elif measure.formulas:
                yield from _leaves(wanted, measure.formulas[0], (*within, own))
