"""Drafts of answers about lists: what was compared or counted is quoted, and told in one claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rag.answer.asked_lists.enumerations import Enumeration, Item
from rag.answer.checks.arithmetic import COUNT_OF_SOURCES
from rag.answer.draft import DraftClaim, Source
from rag.answer.passages import Span
from rag.ports import Evidence

_ENDS = " .,;:"


def source_of(evidence: Sequence[Evidence], page: int, span: Span) -> Source:
    return Source(evidence[page].number, evidence[page].text.span_text(*span), span[0])


def unmarked(evidence: Sequence[Evidence], item: Item) -> str:
    """An item's first line without its mark."""
    start, end = item.line
    return evidence[item.page].text.span_text(start + 1, end).rstrip(_ENDS)


def count_claim(evidence: Sequence[Evidence], what: str, found: Enumeration) -> DraftClaim:
    """States how many items a list has; each is named and cited."""
    items = "; ".join(unmarked(evidence, item) for item in found.items)
    heading = found.heading.rstrip(_ENDS)
    about = f'{what} under "{heading}"' if heading else what
    return DraftClaim(
        f"{len(found.items)} {about}: {items}",
        tuple(source_of(evidence, item.page, item.line) for item in found.items),
        f"number of {what}",
        COUNT_OF_SOURCES,
    )


def quoted(evidence: Sequence[Evidence], page: int, spans: Iterable[Span]) -> tuple[Source, ...]:
    """The spans as sources, those that follow each other on one line as one."""
    text = evidence[page].text
    joined: list[Span] = []
    for start, end in sorted(set(spans)):
        if joined and joined[-1][1] >= start and text.lines[joined[-1][0]] == text.lines[start]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(source_of(evidence, page, span) for span in joined)
