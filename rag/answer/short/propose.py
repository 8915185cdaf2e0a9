"""The value, date or name a question asks for, read off a page without a model.

Candidates of the kind that is asked for are scored by how near the question's words stand to them;
nothing here knows a subject.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rag.answer.confidence import confidence_of
from rag.answer.draft import Draft, DraftClaim, Proposal, Source
from rag.answer.passages import PassageKind, Span, column_heads
from rag.answer.question import Question
from rag.answer.ranking import RankedPassage, term_weights
from rag.answer.short.candidates import Candidate, candidates_of
from rag.answer.short.layout_answers import Read, length_of_list, party_of, speaker_of, title_of
from rag.answer.short.nearness import Layout, lay_out, nearness
from rag.answer.short.wanted import Kind, Wanted, wanted_of
from rag.ports import Evidence
from rag.scoring.lexical import terms

# Weights of a candidate's score beside the nearness of the question, 0 to 1; chosen by hand on the
# development set.
_FITS = 0.25
_NOUN = 0.2
_RANK = 0.06
_REPEATED = 0.5  # share of the candidate's terms that the question has said
_COMMON = 0.05
_PASSAGE = 0.2  # a point of score of the passage it stands in
_QUOTE_WORDS = 40
_FROM_LAYOUT = 0.2  # what is read off the layout counts before what is only near
_LIST_SHARE = 0.5  # of the question's terms: what a list must be of to be counted
_LEAST, _TIE = 0.6, 0.015  # of score: below, the passages speak for themselves
_LEAST_OF_BEST = 0.55  # of a near one in the very passage that would be quoted without it,
_PLAIN_NAME = 0.9  # where its form says that it is a name
_NAME_NEAR = 0.45  # many words are names; only near ones may be said
_LEAST_FITS = 0.5
_CERTAIN = 0.7  # confidence in what the layout says outright
_NAMES = (Kind.NAME, Kind.PLACE, Kind.PERSON)
_EXTREME = re.compile(
    r"\b(?:most|more|least|fewer|(?:high|low|great|large|small|big|long|short|old|young|fast|slow)"
    r"est)\b(?! than)"
)
# Words of asking, which say nothing about where the answer stands.
_SAYS_LITTLE = frozenset(
    """many much name called used use using shown show given following mentioned listed document
    require required need needed take step report paper slide page according state said
    kind type""".split()
)
# A bound is compared with, not looked for.
_BOUND = re.compile(
    r"\b(?:more|less|fewer|greater|higher|lower) than (\S+)|\b(?:over|above|below|at least) (\d\S*)"
)


@dataclass(frozen=True)
class ShortAnswer:
    """The best candidate and what is known of it.

    Attributes:
        page: index into the evidence.
        spans: words to quote, in reading order; the answer's are among them.
        near: nearness of the question's terms, 0 to 1.
        fits: agreement of its form with what is asked for, 0 to 1.
        noun: whether what is counted or chosen from stands with it, 0 to 1.
        gap: of score, to the best candidate that says something else.
        is_in_best: it stands in the passage that speaks most to the question.
        is_certain: read off the layout; whether the question's words stand on the page tells
            nothing of it.
    """

    page: int
    spans: tuple[Span, ...]
    value: str
    kind: Kind
    near: float
    fits: float
    noun: float
    score: float
    gap: float = 1.0
    is_in_best: bool = False
    is_certain: bool = False


def short_proposal(
    question: Question, ranked: Sequence[RankedPassage], evidence: Sequence[Evidence]
) -> Proposal | None:
    """The short answer as one claim that quotes where it stands; None where there is none, or
    where two are as good. As sure as the pages speak of what is asked.

    Args:
        question: as asked.
        ranked: passages of the pages, best first.
        evidence: pages, best first.
    """
    found = read_short_answer(question, ranked, evidence)
    if found is None or not _is_worth_saying(found):
        return None
    page = evidence[found.page]
    said = {term for span in found.spans for term in terms(page.text.span_text(*span))}
    if found.kind in _NAMES and not {*_EXTREME.findall(question.asking.casefold())} <= said:
        return None  # which is the most of all is to be stated, or calculated
    quotes = [(page.text.span_text(*span), span[0]) for span in found.spans]
    claim = DraftClaim(
        " ".join(quote for quote, _ in quotes),
        tuple(Source(page.number, quote, near) for quote, near in quotes),
    )
    sure = confidence_of(question, evidence)
    draft = Draft((claim,), short=found.value)
    return Proposal(draft, max(sure, _CERTAIN) if found.is_certain else sure)


def _is_worth_saying(found: ShortAnswer) -> bool:
    if found.is_certain:
        return True
    if found.kind in (Kind.NAME, Kind.PLACE) and found.near < _NAME_NEAR:
        return False
    # Plain names alone: which of the numbers or the headings of a passage is meant is less plain.
    is_plain_name = found.kind in _NAMES and found.fits >= _PLAIN_NAME
    is_near_best = found.is_in_best and is_plain_name and found.near >= _NAME_NEAR
    least = _LEAST_OF_BEST if is_near_best else _LEAST
    return found.score >= least and found.gap >= _TIE and found.fits >= _LEAST_FITS


def read_short_answer(
    question: Question, ranked: Sequence[RankedPassage], evidence: Sequence[Evidence]
) -> ShortAnswer | None:
    """The best candidate on the pages, or None where a few words cannot be the answer."""
    wanted = wanted_of(question)
    if wanted.kind is Kind.NONE:
        return None
    layouts = {
        index: lay_out(evidence[index].text)
        for index in _pages_asked(question, evidence)
        if len(evidence[index].text)
    }
    weights = _weights(question, list(layouts.values()))
    off_layout = list(_off_layout(layouts, evidence, wanted, weights))
    if wanted.kind in (Kind.TITLE, Kind.STEPS) or off_layout:
        return max(off_layout, key=lambda each: each.score, default=None)
    passages = _passage_scores(ranked)
    best = [(each.page, span) for each in ranked[:1] for span in each.passage.spans]
    found = [
        each
        for index, layout in layouts.items()
        for each in _scored(index, layout, question, wanted, weights, passages, best)
    ]
    return _best(found, layouts)


# --- read off the layout ------------------------------------------------------------------------
def _off_layout(
    layouts: Mapping[int, Layout],
    evidence: Sequence[Evidence],
    wanted: Wanted,
    weights: Mapping[str, float],
) -> Iterator[ShortAnswer]:
    cover = next((index for index in layouts if evidence[index].hit.ref.page_number == 1), None)
    for index, layout in layouts.items():
        read: Read | None = None
        if wanted.kind is Kind.TITLE:
            read = title_of(layout) if index == cover else None
        elif wanted.kind in (Kind.STEPS, Kind.COUNT):
            read = length_of_list(layout, weights)
            if read is not None and read.share < _LIST_SHARE:
                read = None
        elif wanted.kind is Kind.PERSON and wanted.noun:
            read = party_of(layout, wanted.noun[-1])
            if read is None and index == cover:
                read = speaker_of(layout, wanted.noun[-1])
        if read is not None:
            yield ShortAnswer(
                page=index,
                spans=read.spans,
                value=read.value,
                kind=wanted.kind,
                near=read.share,
                fits=1.0,
                noun=1.0,
                score=_FROM_LAYOUT + read.share - _RANK * index,
                is_certain=wanted.kind in (Kind.TITLE, Kind.PERSON),
            )


# --- near what is asked -------------------------------------------------------------------------
def _scored(
    index: int,
    layout: Layout,
    question: Question,
    wanted: Wanted,
    weights: Mapping[str, float],
    passages: Mapping[tuple[int, Span], float],
    best: Sequence[tuple[int, Span]] = (),
) -> Iterator[ShortAnswer]:
    in_question = set(terms(question.text))
    candidates = [
        candidate
        for candidate in candidates_of(layout, wanted.kind)
        if set(terms(candidate.value)) - in_question
    ]
    near = nearness(layout, [candidate.span for candidate in candidates], weights)
    said = Counter(candidate.value.casefold() for candidate in candidates)
    is_name = wanted.kind in _NAMES
    for candidate, value in zip(candidates, near.tolist(), strict=True):
        noun = _noun_beside(layout, candidate, wanted)
        own = terms(candidate.value)
        repeated = sum(term in in_question for term in own) / len(own) if is_name else 0.0
        passage = layout.passage_of[candidate.span[0]]
        of_passage = (
            passages.get((index, layout.passages[passage].spans[0]), -1.0) if passage >= 0 else -1.0
        )
        yield ShortAnswer(
            page=index,
            spans=(candidate.span,),
            value=candidate.value,
            kind=wanted.kind,
            near=value,
            fits=candidate.fits,
            noun=noun,
            is_in_best=any(
                page == index and start <= candidate.span[0] < end for page, (start, end) in best
            ),
            score=value
            + _FITS * candidate.fits
            + _NOUN * noun
            + _PASSAGE * of_passage
            - _RANK * index
            - _REPEATED * repeated
            - _COMMON * math.log(said[candidate.value.casefold()]),
        )


def _passage_scores(ranked: Sequence[RankedPassage]) -> dict[tuple[int, Span], float]:
    """Of each sentence and row, by its first words, how far it is behind the best; 0 or below."""
    best = ranked[0].score if ranked else 0.0
    scores: dict[tuple[int, Span], float] = {}
    for found in ranked:
        if found.passage.kind is not PassageKind.LINES:
            place = (found.page, found.passage.spans[0])
            scores[place] = max(scores.get(place, -1.0), found.score - best)
    return scores


def _noun_beside(layout: Layout, candidate: Candidate, wanted: Wanted) -> float:
    """Whether what is counted or chosen from stands with it: "31 districts", "Districts | 31".

    Returns:
        1 right beside it or in its row, 0 where it does not.
    """
    if not wanted.noun:
        return 0.0
    start, end = candidate.span
    head = wanted.noun[-1]
    after = range(end, min(len(layout.text), end + 3))
    before = range(max(0, start - 2), start)
    if any(head in layout.word_terms[place] for place in (*before, *after)):
        return 1.0
    if any(head in layout.word_terms[place] for place in range(start, end)):
        return 1.0 if candidate.value[0].isdigit() else 0.6
    passage = layout.passages[layout.passage_of[start]] if layout.passage_of[start] >= 0 else None
    if passage is not None and passage.kind is PassageKind.ROW:
        held = {t for span in passage.spans for w in range(*span) for t in layout.word_terms[w]}
        return 0.9 if head in held else 0.0
    return 0.0


def _weights(question: Question, layouts: Sequence[Layout]) -> dict[str, float]:
    bounds = {term for found in _BOUND.findall(question.asking) for term in terms(" ".join(found))}
    wanted = set(question.terms) - _SAYS_LITTLE - bounds or set(question.terms)
    return term_weights(
        [term for term in question.terms if term in wanted],
        [
            {
                term
                for start, end in passage.spans
                for word in layout.word_terms[start:end]
                for term in word
            }
            & wanted
            for layout in layouts
            for passage in layout.passages
        ],
    )


def _pages_asked(question: Question, evidence: Sequence[Evidence]) -> list[int]:
    """Pages the question names by number, where they are among those found; else all."""
    numbers = question.page_numbers
    named = [index for index, page in enumerate(evidence) if page.hit.ref.page_number in numbers]
    return named or list(range(len(evidence)))


def _best(found: Sequence[ShortAnswer], layouts: Mapping[int, Layout]) -> ShortAnswer | None:
    ordered = sorted(found, key=lambda each: (-each.score, each.page, each.spans))
    if not ordered:
        return None
    best = ordered[0]
    other = next((each for each in ordered if each.value != best.value), None)
    gap = best.score - other.score if other is not None else 1.0
    return replace(best, gap=gap, spans=_quoted(layouts[best.page], best.spans[0]))


# --- quotes -------------------------------------------------------------------------------------
def _quoted(layout: Layout, span: Span) -> tuple[Span, ...]:
    """The sentence or row around the words, a row below the heads of its columns; the words' own
    line where that is long.
    """
    number = int(layout.passage_of[span[0]])
    if number < 0 or layout.passage_of[span[1] - 1] != number:
        return (_around(layout, span),)
    passage = layout.passages[number]
    if passage.n_words > _QUOTE_WORDS:
        return (_around(layout, span),)
    if passage.kind is PassageKind.ROW:
        heads = column_heads(layout.text, passage)
        if heads is not None and heads not in passage.spans:
            return (heads, *passage.spans)
    return passage.spans


def _around(layout: Layout, span: Span) -> Span:
    """The lines that hold the words."""
    lines = layout.text.line_spans
    start = next(start for start, end in lines if start <= span[0] < end)
    end = next(end for start, end in lines if start < span[1] <= end)
    return start, end
