"""Words of a page that could be a short answer, by what is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.answer.figures.read import Figure, figures_in
from rag.answer.passages import Span, ends_sentence
from rag.answer.short.nearness import Layout
from rag.answer.short.wanted import ROLES, Kind
from rag.scoring.lexical import is_content_word

_CELL_WORDS = 7
_NAME_WORDS = 5
_CAPITAL = re.compile(r"[\W_]*[A-Z][\w'\u2019.&\-]*\W*")
_INITIAL = re.compile(r"(?:[A-Z]\.)+(?:[A-Z]\.?)?|[A-Z]")
_PERSON_WORD = re.compile(r"[A-Z][a-z\u00c0-\u024f'\u2019\-]+(?:[A-Z][a-z]+)?")
_TITLES = frozenset("mr mrs ms miss dr prof professor sir agent officer judge hon".split())
_JOINS = frozenset("of the de van von la le du da di and &".split())
_ENDS = ".,;:!?)\"'\u201d\u2019]"
_OPENINGS = "(\"'\u201c\u2018["
_CODE = re.compile(r"(?=.*\d)[\w#][\w\-./:@#]*[\w]|\d")
_DASHES = ("-", "\u2013", "\u2014", "~", "by", "By")
_ENUMERATOR = re.compile(r"\(?\d{1,2}[.)]")
_REFERENCES = frozenset(
    """table tables figure figures fig fig. section sections chapter page pages p. pp. step appendix
    annex annexure exhibit note notes item article equation eq. eq no. slide part level""".split()
)
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), start=1
    )
}


@dataclass(frozen=True)
class Candidate:
    """A span of words that could be the answer.

    Attributes:
        value: as it is to be said, without the marks around it.
        fits: how well its form agrees with what is asked for, 0 to 1.
    """

    span: Span
    value: str
    fits: float


def candidates_of(layout: Layout, kind: Kind) -> list[Candidate]:
    words = layout.text.words
    if kind is Kind.CODE:
        return list(_codes(words))
    if kind is Kind.PERSON:
        return list(persons_of(layout))
    if kind in (Kind.NAME, Kind.PLACE):
        return list(_names(layout))
    return list(_figures(layout, kind))


def _figures(layout: Layout, kind: Kind) -> Iterator[Candidate]:
    words = layout.text.words
    line_starts = {start for start, _ in layout.text.line_spans}
    for figure in figures_in(words):
        fits = _figure_fits(figure, kind)
        if fits > 0 and not _is_ordinal(layout, figure, line_starts):
            yield Candidate((figure.start, figure.end), unmarked(figure.text), fits)
    if kind is Kind.COUNT:
        for place, word in enumerate(words):
            bare = word.strip(_ENDS + _OPENINGS).casefold()
            if bare in _NUMBER_WORDS:
                yield Candidate((place, place + 1), bare, 0.8)


def _is_page_number(layout: Layout, figure: Figure) -> bool:
    """Alone in the first or last line of the page."""
    lines = layout.text.line_spans
    return (figure.start, figure.end) in (lines[0], lines[-1])


def _is_ordinal(layout: Layout, figure: Figure, line_starts: set[int]) -> bool:
    """A number that only counts lines, or points elsewhere: "4." of a list, "Table 1"."""
    words = layout.text.words
    word = words[figure.start]
    if figure.end - figure.start == 1 and figure.start in line_starts:
        following = words[figure.end] if figure.end < len(words) else ""
        if _ENUMERATOR.fullmatch(word) and figure.end not in line_starts and following:
            return True
    if _is_page_number(layout, figure):
        return True
    before = words[figure.start - 1].strip(_OPENINGS).casefold() if figure.start else ""
    return before in _REFERENCES and figure.day is None


def _figure_fits(figure: Figure, kind: Kind) -> float:
    is_date = figure.day is not None
    if figure.text.strip(_OPENINGS + _ENDS).startswith("00"):
        return 0.0  # "in '000": a scale
    is_year = is_date and figure.precision == "year"
    looks_year = (
        figure.value is not None
        and figure.unit == ""
        and figure.decimals == 0
        and 1900 <= figure.value <= 2099
        and "," not in figure.text
    )
    match kind:
        case Kind.YEAR:
            return 1.0 if is_year or looks_year else 0.3 if is_date else 0.0
        case Kind.DATE:
            return 0.6 if is_year or looks_year else 1.0 if is_date else 0.0
        case Kind.PERCENT:
            return 0.0 if is_date else 1.0 if figure.unit == "%" else 0.3
        case Kind.COUNT:
            if is_date or figure.value is None or figure.unit == "%" or figure.decimals:
                return 0.0
            return 0.4 if looks_year or figure.unit else 1.0
        case _:
            return 0.0 if is_date else 0.5 if looks_year else 1.0


def _codes(words: Sequence[str]) -> Iterator[Candidate]:
    for place, word in enumerate(words):
        bare = word.strip(_ENDS + _OPENINGS)
        if _CODE.fullmatch(bare):
            n_digits = sum(map(str.isdigit, bare))
            yield Candidate((place, place + 1), bare, min(1.0, 0.2 * n_digits))


def persons_of(layout: Layout) -> Iterator[Candidate]:
    """Two to four capitalised words of one cell, initials and titles among them."""
    words = layout.text.words
    lowercase = {word.strip(_ENDS + _OPENINGS) for word in words if word[0].islower()}
    for cell_start, cell_end in layout.cells:
        for start, end in _capitalised(words, cell_start, cell_end, joins=frozenset()):
            bare = [words[place].strip(_ENDS + _OPENINGS) for place in range(start, end)]
            is_name = [
                _PERSON_WORD.fullmatch(word) is not None
                or _INITIAL.fullmatch(words[place].strip(_OPENINGS + ",;:")) is not None
                for place, word in zip(range(start, end), bare, strict=True)
            ]
            if not 2 <= end - start <= _NAME_WORDS or not all(is_name):
                continue
            if not is_content_word(bare[0]) or not _are_proper(bare, lowercase):
                continue
            if bare[-1].casefold() in ROLES:
                continue
            fits = 0.6
            has_title = bare[0].casefold() in _TITLES
            before = words[start - 1] if start else ""
            if has_title or before.strip(_ENDS).casefold() in _TITLES:
                fits = 1.0
            elif before in _DASHES or (start == cell_start and end == cell_end):
                fits = 0.85
            yield Candidate((start, end), _join(words, start, end), fits)


def _are_proper(bare: Sequence[str], lowercase: set[str]) -> bool:
    """Whether none is a word that the page also writes small: "Federal Case", "Net Income"."""
    return not any(word.casefold() in lowercase for word in bare if len(word) > 2)


def _names(layout: Layout) -> Iterator[Candidate]:
    """Names in running text, whole short cells, and words of letters and digits."""
    words = layout.text.words
    lowercase = {word.strip(_ENDS + _OPENINGS) for word in words if word[0].islower()}
    begins = {start for passage in layout.passages for start, _ in passage.spans}
    found: dict[Span, float] = {}

    def offer(span: Span, fits: float) -> None:
        found[span] = max(found.get(span, 0.0), fits)

    for start, end in layout.cells:
        is_whole = not layout.is_prose[start] and end - start <= _CELL_WORDS
        span = _trimmed(words, start, end)
        if is_whole and span[0] < span[1] and not words[span[0]].lstrip(_OPENINGS)[0].islower():
            offer(span, 0.7)
        for span in _capitalised(words, start, end, joins=_JOINS):
            if span[1] - span[0] > _NAME_WORDS:
                continue
            bare = [words[place].strip(_ENDS + _OPENINGS) for place in range(*span)]
            is_lone = span[1] - span[0] == 1
            if is_lone and (not is_content_word(bare[0]) or span[0] in begins):
                continue  # a sentence begins with a capital, whatever its first word
            is_unsure = span[0] in begins or not _are_proper(bare, lowercase)
            offer(span, 0.6 if is_unsure else 0.9)
        for place in range(start, end):
            bare_word = words[place].strip(_ENDS + _OPENINGS)
            if any(map(str.isdigit, bare_word)) and any(map(str.isupper, bare_word)):
                offer((place, place + 1), 0.9)
    for span, fits in found.items():
        yield Candidate(span, _join(words, *span), fits)


def _capitalised(
    words: Sequence[str], start: int, end: int, *, joins: frozenset[str]
) -> Iterator[Span]:
    """Runs of capitalised words; one ends at punctuation, small joining words may stand inside."""
    first: int | None = None
    last = start
    for place in range(start, end):
        word = words[place]
        is_capital = _CAPITAL.fullmatch(word) is not None
        if first is not None and (word[0] in _OPENINGS or not (is_capital or word in joins)):
            yield first, last
            first = None
        if is_capital:
            first = place if first is None else first
            last = place + 1
            following = words[place + 1] if place + 1 < end else ""
            if word[-1] in ',;:!?)"\u201d' or (following and ends_sentence(word, following)):
                yield first, last
                first = None
    if first is not None:
        yield first, last


def _trimmed(words: Sequence[str], start: int, end: int) -> Span:
    """Without marks of lists and rules at either end."""
    while start < end and not any(map(str.isalnum, words[start])):
        start += 1
    while end > start and not any(map(str.isalnum, words[end - 1])):
        end -= 1
    return start, end


def _join(words: Sequence[str], start: int, end: int) -> str:
    return unmarked(" ".join(words[start:end]))


def unmarked(text: str) -> str:
    bare = text.strip().lstrip(_OPENINGS)
    while bare and bare[-1] in _ENDS:
        if bare[-1] == ")" and "(" in bare:
            break
        if bare[-1] == "." and _INITIAL.fullmatch(bare.split()[-1]):
            break
        bare = bare[:-1]
    return bare
