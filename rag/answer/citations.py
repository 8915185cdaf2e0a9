"""Quotes held against the page they are said to stand on.

Nothing is shown as a citation that was not found here, and what is shown are the page's own words.
"""

from __future__ import annotations

from rag.page_text import PageText
from rag.ports import Evidence
from rag.types import Citation

_HYPHENS = ("-", "\u00ad", "\u2010")
_ENDS = ".,;:!?\"'\u201c\u201d\u2018\u2019"
_OPENINGS = "\"'\u201c\u2018"  # no full stop: ".5" is another number than "5"


def locate_quote(text: PageText, quote: str, *, near: int = 0) -> tuple[int, int] | None:
    """The words of a page that a quote repeats.

    White space counts as one space, a word divided at a line's end may be quoted whole, case is
    kept, and punctuation around the quote may be missing or added.

    Args:
        text: the page.
        quote: what is said to stand there.
        near: of several places, the one that starts nearest to this word, the earlier on a tie.

    Returns:
        (start, end) word indices, or None where the page does not say it.
    """
    wanted = quote.split()
    if not wanted:
        return None
    found = _places(text, wanted, is_exact=True) or _places(text, wanted, is_exact=False)
    return min(found, key=lambda span: (abs(span[0] - near), span[0]), default=None)


def cite(evidence: Evidence, quote: str, *, marker: int, near: int = 0) -> Citation | None:
    """The quote as a checked citation of its page; None where the page does not say it."""
    span = locate_quote(evidence.text, quote, near=near)
    if span is None:
        return None
    return Citation(
        marker=marker,
        ref=evidence.hit.ref,
        source=evidence.hit.source,
        quote=evidence.text.span_text(*span),
        boxes=tuple(evidence.text.span_boxes(*span)),
        verified=True,
    )


def _places(text: PageText, wanted: list[str], *, is_exact: bool) -> list[tuple[int, int]]:
    return [
        (start, end)
        for start in range(len(text))
        if (end := _match(text, start, wanted, is_exact=is_exact)) is not None
    ]


def _match(text: PageText, start: int, wanted: list[str], *, is_exact: bool) -> int | None:
    """The end of the words that repeat `wanted` from `start` on, or None."""
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
            return None
        at = end
    return at


def _match_word(
    text: PageText, at: int, wanted: str, *, is_first: bool, is_last: bool
) -> int | None:
    """The end of the word, whole or divided over lines, that starts at `at` and reads `wanted`."""

    def bare(word: str) -> str:
        word = word.lstrip(_OPENINGS) if is_first else word
        return word.rstrip(_ENDS) if is_last else word

    spellings = {""}
    target = bare(wanted) or wanted
    while at < len(text):
        word = text.words[at]
        if any((bare(read + word) or read + word) == target for read in spellings):
            return at + 1
        is_divided = (
            word.endswith(_HYPHENS)
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
