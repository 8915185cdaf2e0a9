"""Lists that a page writes with numbers or bullets, one item below the other, page after page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rag.answer.passages import Span
from rag.geometry import Box
from rag.page_text import PageText
from rag.ports import Evidence

_NUMBERED = re.compile(r"\(?(\d{1,2})[.)]")
_BULLET = re.compile(r"[\u2022\u25aa\u25cf\u25e6\u2023\u00b7\uf0b7\u25cb\u25a0\u2713\u27a2*]")
_BESIDE = 0.7  # heights that marks of one list may differ in where they begin
_ABOVE = 3.0  # heights between an item and what heads it
_HEAD_LINES = 2
_ITEM_WORDS = 30
_FAR = 12.0  # heights between two items: further apart, bullets are of two lists


@dataclass(frozen=True)
class Item:
    """One entry: where its mark stands and its first line.

    Attributes:
        page: index into the evidence.
        line: words of its first line, the mark included.
        text: its words without the mark, those of the lines it goes on over included.
    """

    page: int
    line: Span
    box: Box
    text: str


@dataclass(frozen=True)
class Enumeration:
    """A list with the words right above it.

    Attributes:
        heading: the nearest line above; empty where none is near.
        above: `heading` and what stands over it.
        is_numbered: whether its marks are numbers that count from 1.
        may_go_on: its page ends with it, and the next page is not shown.
    """

    items: tuple[Item, ...]
    heading: str
    above: str
    is_numbered: bool
    may_go_on: bool = False


@dataclass(frozen=True)
class _Mark:
    """A mark that begins a line; `left` is where the leftmost line since the mark before begins."""

    item: Item
    number: int  # 0 for a bullet
    left: float


def enumerations_of(evidence: Sequence[Evidence]) -> list[Enumeration]:
    """All lists of two items and more; one that goes on over a page is one list."""
    found: list[Enumeration] = []
    ordered = sorted(
        range(len(evidence)),
        key=lambda at: (evidence[at].hit.ref.document_id, evidence[at].hit.ref.page_number),
    )
    previous: int | None = None
    for index in ordered:
        page = evidence[index]
        goes_on = previous is not None and _follows(evidence[previous], page)
        before = [
            number
            for number, each in enumerate(found)
            if goes_on and each.items[-1].page == previous
        ]
        for number in before:
            found[number] = replace(found[number], may_go_on=False)
        previous = index
        for run in _runs(_marks(page.text, index)):
            if run[0].number <= 1:
                found.append(_listed(page.text, run))
                continue
            # It began on the page before, where it stopped one short of this.
            left = run[0].item.box.x0
            began = min(
                (
                    number
                    for number in before
                    if found[number].is_numbered and len(found[number].items) == run[0].number - 1
                ),
                key=lambda number: abs(found[number].items[0].box.x0 - left),
                default=None,
            )
            if began is not None:
                items = (*found[began].items, *(mark.item for mark in run))
                found[began] = replace(
                    found[began], items=items, may_go_on=_runs_out(page.text, items[-1])
                )
    return [each for each in found if len(each.items) > 1]


def _marks(text: PageText, page: int) -> list[_Mark]:
    marks: list[_Mark] = []
    lines = text.line_spans
    left = float("inf")
    for line, (start, end) in enumerate(lines):
        left = min(left, float(text.boxes[start][0]))
        numbered = _NUMBERED.fullmatch(text.words[start])
        if end - start < 2 or not (numbered or _BULLET.fullmatch(text.words[start])):
            continue
        item = Item(page, (start, end), _box(text, start), _said(text, lines, line))
        marks.append(_Mark(item, int(numbered[1]) if numbered else 0, left))
        left = float("inf")
    return marks


def _said(text: PageText, lines: Sequence[Span], number: int) -> str:
    """An item's words: its line, and those below that begin right of its mark."""
    start, end = lines[number]
    words = list(text.words[start + 1 : end])
    first, below = _box(text, start), _box(text, start)
    for next_start, next_end in lines[number + 1 :]:
        box = _box(text, next_start)
        if (
            _NUMBERED.fullmatch(text.words[next_start])
            or _BULLET.fullmatch(text.words[next_start])
            or box.x0 < first.x0 + 0.5 * first.height
            or not 0 < box.y0 - below.y0 < 2 * first.height
            or len(words) > _ITEM_WORDS
        ):
            break
        words += text.words[next_start:next_end]
        below = box
    return " ".join(words)


def _runs(marks: Sequence[_Mark]) -> Iterator[list[_Mark]]:
    """Marks under each other that count on, or that are bullets close by."""
    open_runs: list[list[_Mark]] = []
    for mark in marks:
        box = mark.item.box
        run = next((run for run in reversed(open_runs) if _goes_on(run[-1], mark)), None)
        if run is not None:
            run.append(mark)
            continue
        beside = [run for run in open_runs if _is_under(run[-1].item.box, box)]
        for closed in beside:
            open_runs.remove(closed)
            yield closed
        open_runs.append([mark])
    yield from open_runs


def _is_under(above: Box, below: Box) -> bool:
    return abs(above.x0 - below.x0) <= _BESIDE * above.height


def _goes_on(before: _Mark, mark: _Mark) -> bool:
    first, second = before.item.box, mark.item.box
    if not _is_under(first, second):
        return False
    if before.number or mark.number:
        return mark.number == before.number + 1 and bool(before.number)
    # What begins left of bullets has ended their list.
    is_inside = mark.left >= first.x0 - _BESIDE * first.height
    return is_inside and 0 < second.y0 - first.y0 <= _FAR * first.height


def _listed(text: PageText, run: Sequence[_Mark]) -> Enumeration:
    first = run[0].item
    over = [
        (start, end)
        for start, end in text.line_spans
        if (box := _box(text, start)).y1 <= first.box.y0 + 0.3 * box.height
        and first.box.y0 - box.y1 <= _ABOVE * max(box.height, first.box.height)
        and _overlaps(text, (start, end), first)
    ]
    over = sorted(over, key=lambda span: -_box(text, span[0]).y0)[:_HEAD_LINES]
    said = [text.span_text(*span) for span in over]
    return Enumeration(
        tuple(mark.item for mark in run),
        said[0] if said else "",
        " ".join(reversed(said)),
        run[0].number > 0,
        _runs_out(text, run[-1].item),
    )


def _follows(page: Evidence, other: Evidence) -> bool:
    first, second = page.hit.ref, other.hit.ref
    return first.document_id == second.document_id and first.page_number + 1 == second.page_number


def _runs_out(text: PageText, last: Item) -> bool:
    """Whether all that follows an item on its page is set right of its mark, as its own words are.

    A lone number is the page's.
    """
    return all(
        float(text.boxes[start][0]) > last.box.x0 + 0.5 * last.box.height
        or (end - start == 1 and text.words[start].isdigit())
        for start, end in text.line_spans
        if start > last.line[0]
    )


def _overlaps(text: PageText, span: Span, item: Item) -> bool:
    """Whether a line stands over the item, or begins left of it as a heading does."""
    left, right = _box(text, span[0]).x0, _box(text, span[1] - 1).x1
    item_right = _box(text, item.line[1] - 1).x1
    return right > item.box.x0 and left < item_right


def _box(text: PageText, word: int) -> Box:
    return Box(*map(float, text.boxes[word]))
