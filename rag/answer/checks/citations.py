"""Quotes held against the page they are said to stand on.

Nothing is shown as a citation that was not found here, and what is shown are the page's own words.
"""

from __future__ import annotations

import re
from bisect import bisect_left

from rag.answer.checks.quote_match import ENDS, HYPHENS, OPENINGS, QuotedPage, Span
from rag.page_text import PageText
from rag.ports import Evidence
from rag.types import Citation

_LEFT_OUT = re.compile(
    r"\s*(?:\[\s*(?:\.{3}|\u2026)\s*\]|\(\s*(?:\.{3}|\u2026)\s*\)|\u2026|\.{3,})\s*"
)
_REACH_WORDS = 60  # between the parts of a quote; a sentence is rarely longer
_MOST_PARTS = 8
_MOST_TRIED = 20_000  # words compared for one quote where words are divided over lines


def locate_quote(text: PageText, quote: str, *, near: int = 0) -> Span | None:
    """The words of a page that a quote repeats; of a quote in parts, from its first to its last.

    As `locate_parts`.

    Returns:
        (start, end) word indices, or None where the page does not say it.
    """
    parts = locate_parts(text, quote, near=near)
    return (parts[0][0], parts[-1][1]) if parts else None


def locate_parts(
    text: PageText, quote: str, *, near: int = 0, page: QuotedPage | None = None
) -> list[Span]:
    """The words of a page that a quote repeats.

    White space counts as one space, a word divided at a line's end may be quoted whole, case is
    kept, and punctuation around the quote may be missing or added. A page that nowhere says it so
    may say it in other signs: ligatures, kinds of quotation marks and dashes, white space beside
    marks and digits, the case of the first letter; and in words that OCR read, one letter in eight
    (`rag/answer/checks/quote_match.py`). "..." stands for words left out, not too many, in not more
    than eight parts.

    Args:
        text: the page.
        quote: what is said to stand there.
        near: of several places, the one that starts nearest to this word, the earlier on a tie.
        page: the same page, where more than one quote is looked for on it.

    Returns:
        (start, end) word indices of each part; none where the page does not say it.
    """
    wanted = quote.split()
    if not wanted:
        return []
    page = page or QuotedPage(text)
    whole = _word_for_word(page, wanted) or page.places(wanted)
    if whole:
        return [_nearest(whole, near)]
    parts = [part.split() for part in _LEFT_OUT.split(quote) if part.strip()]
    if not 2 <= len(parts) <= _MOST_PARTS:
        return []
    places: list[list[Span]] = []
    for part in parts:
        found = _word_for_word(page, part) or page.places(part)
        if not found:
            return []
        places.append(found)
    return _in_order(places, near)


def cite(
    evidence: Evidence, quote: str, *, marker: int, near: int = 0, page: QuotedPage | None = None
) -> Citation | None:
    """The quote as a checked citation of its page; None where the page does not say it."""
    text = evidence.text
    parts = locate_parts(text, quote, near=near, page=page)
    if not parts:
        return None
    return Citation(
        marker=marker,
        ref=evidence.hit.ref,
        source=evidence.hit.source,
        quote=" \u2026 ".join(text.span_text(*part) for part in parts),
        boxes=tuple(box for part in parts for box in text.span_boxes(*part)),
        verified=True,
    )


def _nearest(found: list[Span], near: int) -> Span:
    return min(found, key=lambda span: (abs(span[0] - near), span[0]))


def _in_order(places: list[list[Span]], near: int) -> list[Span]:
    """A place for each part, each within reach after the one before."""
    later = [sorted(part) for part in places[1:]]
    for first in sorted(places[0], key=lambda span: (abs(span[0] - near), span[0])):
        chain = [first]
        for part in later:
            end = chain[-1][1]
            at = bisect_left(part, (end, 0))
            if at == len(part) or part[at][0] > end + _REACH_WORDS:
                break
            chain.append(part[at])
        else:
            return chain
    return []


def _word_for_word(page: QuotedPage, wanted: list[str]) -> list[Span]:
    first = wanted[0].lstrip(OPENINGS).rstrip(ENDS) or wanted[0]
    starts = page.starts(first, wanted)
    return _places(page.text, wanted, starts, is_exact=True) or _places(
        page.text, wanted, starts, is_exact=False
    )


def _places(text: PageText, wanted: list[str], starts: list[int], *, is_exact: bool) -> list[Span]:
    found: list[Span] = []
    n_tried = 0
    for start in starts:
        end, at = _match(text, start, wanted, is_exact=is_exact)
        if end is not None:
            found.append((start, end))
            continue
        n_tried += at - start + 1
        if n_tried > _MOST_TRIED:
            break
    return found


def _match(
    text: PageText, start: int, wanted: list[str], *, is_exact: bool
) -> tuple[int | None, int]:
    """The end of the words that repeat `wanted` from `start` on, or None; and how far was read."""
    at = start
    for number, word in enumerate(wanted):
        end = _match_word(
            text,
            at,
            word,
            is_first=not is_exact and number == 0,
            is_last=not is_exact and number == len(wanted) - 1,
        )
        if end is None:
            return None, at
        at = end
    return at, at


def _match_word(
    text: PageText, at: int, wanted: str, *, is_first: bool, is_last: bool
) -> int | None:
    """The end of the word, whole or divided over lines, that starts at `at` and reads `wanted`."""

    def bare(word: str) -> str:
        word = word.lstrip(OPENINGS) if is_first else word
        return word.rstrip(ENDS) if is_last else word

    spellings = {""}
    target = bare(wanted) or wanted
    while at < len(text):
        word = text.words[at]
        if any((bare(read + word) or read + word) == target for read in spellings):
            return at + 1
        is_divided = (
            word.endswith(HYPHENS)
            and len(word) > 1
            and at + 1 < len(text)
            and bool(text.lines[at] != text.lines[at + 1])
        )
        if not is_divided:
            return None
        # "infor-" "mation" is "information", but "long-" "term" is "long-term".
        spellings = {
            spelling
            for read in spellings
            for spelling in (read + word, read + word[:-1])
            if target.startswith(bare(spelling) if is_first else spelling)
        }
        at += 1
    return None
