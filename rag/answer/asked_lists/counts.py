"""How many items a list has, which list of two has more, and what stands where in a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rag.answer.asked_lists.asking import Choice, Counted, Neighbour, Place
from rag.answer.asked_lists.enumerations import Enumeration, Item
from rag.answer.asked_lists.naming import held_terms, is_held, name_terms, share_held
from rag.answer.asked_lists.said import count_claim, source_of, unmarked
from rag.answer.checks.arithmetic import COUNT_OF_SOURCES
from rag.answer.draft import Draft, DraftClaim, Proposal
from rag.answer.passages import Span
from rag.page_text import PageText
from rag.ports import Evidence

_LEAST = 0.6  # of the question's terms: what the words above a list must hold
_APART = 0.15  # of that share: nearer, two lists may both be meant
_NEAREST = 0.2  # what the nearest line above counts more than the one over it
_CUT = 0.45  # a list that may go on over a page that is not shown
_SURE = 0.9
_SURE_OF_CAPTIONS = 0.6
_ITEM_WORDS = 12
_CAPTIONS = 3  # so many, of so much of the page's words
_MOSTLY = 0.7


def list_asked(counted: Counted, lists: Sequence[Enumeration]) -> tuple[Enumeration, float] | None:
    """The one list that the question means, and how much of it the words above say, 0 to 1."""
    found = [
        (_speaks(counted, each), number)
        for number, each in enumerate(lists)
        if counted.is_any or _names(counted.noun, each)
    ]
    found.sort(key=lambda each: (-each[0], each[1]))
    if not found or found[0][0] < _LEAST:
        return None
    best, number = found[0]
    others = [each for each in found[1:] if len(lists[each[1]].items) != len(lists[number].items)]
    if others and best - others[0][0] < _APART:
        return None
    return lists[number], min(1.0, best) * (_CUT if lists[number].may_go_on else 1.0)


def _names(noun: Sequence[str], found: Enumeration) -> bool:
    """Whether the words above name what is listed: the last word of the noun is its head."""
    return is_held(noun[-1], held_terms(found.above))


def _speaks(counted: Counted, found: Enumeration) -> float:
    if not counted.terms:
        return 1.0 if not counted.is_any else 0.0
    above = share_held(counted.terms, held_terms(found.above))
    return above + _NEAREST * (share_held(counted.terms, held_terms(found.heading)) - 1)


def count_of_items(
    counted: Counted, lists: Sequence[Enumeration], evidence: Sequence[Evidence]
) -> Proposal | None:
    chosen = list_asked(counted, lists)
    if chosen is None:
        return None
    found, share = chosen
    claim = count_claim(evidence, "items", found)
    return Proposal(Draft((claim,), short=str(len(found.items))), _SURE * share)


def longer_list(
    choice: Choice, lists: Sequence[Enumeration], evidence: Sequence[Evidence]
) -> Proposal | None:
    """Which of two lists has more items, where items are what is compared."""
    compared = Counted(choice.terms, ())
    if not compared.is_any:
        return None
    first, second = name_terms(choice.first), name_terms(choice.second)
    of_first = list_asked(Counted(compared.noun, tuple(sorted(first))), lists)
    of_second = list_asked(Counted(compared.noun, tuple(sorted(second))), lists)
    if of_first is None or of_second is None or of_first[0] is of_second[0]:
        return None
    (one, one_share), (other, other_share) = of_first, of_second
    if len(one.items) == len(other.items):
        return None
    is_first = (len(one.items) > len(other.items)) == choice.wants_more
    if is_first:
        name, chosen, rest = told_apart(choice.first, second), one, other
    else:
        name, chosen, rest = told_apart(choice.second, first), other, one
    said = count_claim(evidence, "items", chosen)
    claims = (replace(said, text=f"{name}: {said.text}"), count_claim(evidence, "items", rest))
    return Proposal(Draft(claims, short=name), _SURE * min(one_share, other_share))


def captions_counted(counted: Counted, evidence: Sequence[Evidence]) -> Proposal | None:
    """How many captions name the thing, on a page that is made of little else."""
    if counted.is_any or share_held(counted.terms, counted.noun) < _LEAST:
        return None
    found: list[tuple[int, list[Span]]] = []
    for page, each in enumerate(evidence):
        text = each.text
        naming = [
            span
            for span in _blocks(text)
            if span[1] - span[0] <= _ITEM_WORDS
            and _is_caption(text.span_text(*span), counted.noun[-1])
        ]
        n_words = sum(end - start for start, end in naming)
        if len(naming) >= _CAPTIONS and n_words >= _MOSTLY * len(text):
            found.append((page, naming))
    if len(found) != 1:
        return None
    ((page, spans),) = found
    said = "; ".join(evidence[page].text.span_text(*span) for span in spans)
    claim = DraftClaim(
        f"{len(spans)} captions name {counted.noun[-1]}: {said}",
        tuple(source_of(evidence, page, span) for span in spans),
        f"captions that name {counted.noun[-1]}",
        COUNT_OF_SOURCES,
    )
    return Proposal(Draft((claim,), short=str(len(spans))), _SURE_OF_CAPTIONS)


def _blocks(text: PageText) -> list[Span]:
    """Lines set right below each other, as one span each."""
    blocks: list[Span] = []
    for start, end in text.line_spans:
        left, top, _, _ = text.boxes[start]
        if blocks and blocks[-1][1] == start:
            first, last = blocks[-1]
            bottom = float(text.boxes[last - 1][3])
            height = bottom - float(text.boxes[last - 1][1])
            right, other = float(text.boxes[end - 1][2]), text.boxes[_first_of_line(text, last - 1)]
            is_below = -0.5 * height < top - bottom <= 0.5 * height
            if is_below and left < text.boxes[last - 1][2] and right > other[0]:
                blocks[-1] = (first, end)
                continue
        blocks.append((start, end))
    return blocks


def _first_of_line(text: PageText, word: int) -> int:
    """The first word of a word's line."""
    return next(start for start, end in text.line_spans if start <= word < end)


def _is_caption(said: str, noun: str) -> bool:
    """Names one of them, and is no heading of them all nor a sentence."""
    words = {word.strip(".,;:").casefold() for word in said.split()}
    return noun in words and len(said.split()) > 1 and not said.endswith((".", "?", "!"))


def told_apart(name: str, other: frozenset[str]) -> str:
    """The words of a name from the first to the last that the other does not have."""
    words = name.split()
    own = [n for n, word in enumerate(words) if name_terms(word) - other - {"the", "to", "a"}]
    return " ".join(words[own[0] : own[-1] + 1]).strip(" ?.,") if own else name


def item_at(
    place: Place, lists: Sequence[Enumeration], evidence: Sequence[Evidence]
) -> Proposal | None:
    """The second step, the last item."""
    chosen = list_asked(place.of, lists)
    if chosen is None:
        return None
    found, share = chosen
    number = place.number if place.number > 0 else len(found.items)
    if number > len(found.items):
        return None
    return _told(found.items[number - 1], evidence, _SURE * share)


def neighbour_of(
    asked: Neighbour, lists: Sequence[Enumeration], evidence: Sequence[Evidence]
) -> Proposal | None:
    """What a list has between two items, or right before or after one."""
    found: dict[str, tuple[Item, tuple[Item, ...]]] = {}
    for each in lists:
        after = _place_of(asked.after, each) if asked.after else None
        before = _place_of(asked.before, each) if asked.before else None
        if (asked.after and after is None) or (asked.before and before is None):
            continue
        if after is not None and before is not None and abs(before - after) != 2:
            continue
        if after is not None and before is not None:
            place = (after + before) // 2
        else:
            place = after + 1 if after is not None else (before or 0) - 1
        if not 0 <= place < len(each.items):
            continue
        beside = tuple(each.items[at] for at in (after, before) if at is not None)
        found[each.items[place].text] = (each.items[place], beside)
    if len(found) != 1:
        return None
    ((item, beside),) = found.values()
    return _told(item, evidence, _SURE, *beside)


def _place_of(name: str, found: Enumeration) -> int | None:
    """The one item that begins with the name, or that has all of it."""
    wanted = name_terms(name)
    if not wanted:
        return None
    places = [
        place
        for place, item in enumerate(found.items)
        if all(is_held(term, held_terms(item.text)) for term in wanted)
    ]
    return places[0] if len(places) == 1 else None


def _told(item: Item, evidence: Sequence[Evidence], sure: float, *beside: Item) -> Proposal | None:
    line = unmarked(evidence, item)
    short = re.split(r"(?<=\w)[:\u2013\u2014] |(?<=\w)\. ", line)[0]
    if not short or len(short.split()) > _ITEM_WORDS:
        return None
    sources = tuple(source_of(evidence, each.page, each.line) for each in (item, *beside))
    claim = DraftClaim(" \u2026 ".join(source.quote for source in sources), sources)
    return Proposal(Draft((claim,), short=short), sure)
