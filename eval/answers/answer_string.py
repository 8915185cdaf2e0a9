"""Does a page say an answer? The string match by which Wiki-SS counts a page as found.

Words are runs of letters, digits and marks; any other sign that is seen is a word of its own; case
does not count, and the words of an answer stand one behind the other.

Source: Ma et al. 2024, Document Screenshot Embedding (arXiv:2406.11251), section 4.1, after
Karpukhin et al. 2020, DPR (arXiv:2004.04906).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice

N_WORDS = 500  # of a page's text, by white space


def says_answer(text: str, answers: Iterable[str], *, n_words: int | None = N_WORDS) -> bool:
    """Whether the first words of a text hold any of the answers.

    Args:
        text: of the page.
        answers: any of which will do.
        n_words: how many words are looked at, by white space; None for all.
    """
    matcher = AnswerMatcher({"": tuple(answers)})
    return bool(matcher.said_in(text, n_words=n_words))


class AnswerMatcher:
    """The answers of many questions, looked for in one pass over a text.

    An answer without a word is never found.
    """

    def __init__(self, answers: Mapping[str, Sequence[str]]) -> None:
        """Take question id to its answers, any of which will do."""
        self._question_ids: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._lengths: dict[str, set[int]] = defaultdict(set)  # by first word
        for question_id, texts in answers.items():
            for text in texts:
                if words := tuple(_words(text)):
                    self._question_ids[words].add(question_id)
                    self._lengths[words[0]].add(len(words))

    def said_in(self, text: str, *, n_words: int | None = N_WORDS) -> set[str]:
        """Ids of the questions that the first words of a text answer."""
        words = list(_words(_first_words(text, n_words)))
        found: set[str] = set()
        for start, word in enumerate(words):
            for length in self._lengths.get(word, ()):
                found |= self._question_ids.get(tuple(words[start : start + length]), set())
        return found


def _first_words(text: str, n_words: int | None) -> str:
    if n_words is None:
        return text
    return " ".join(found.group() for found in islice(re.finditer(r"\S+", text), n_words))


def _words(text: str) -> Iterator[str]:
    for found in _word_pattern().finditer(unicodedata.normalize("NFD", text)):
        yield found.group().lower()


@cache
def _word_pattern() -> re.Pattern[str]:
    # Python's \w knows no marks, which stand apart in NFD; the classes are made from categories.
    words = _class_of("LNM")
    unseen = _class_of("ZC")
    return re.compile(rf"[{words}]+|[^{unseen}]")


def _class_of(kinds: str) -> str:
    """Ranges of the characters whose general category begins with one of the letters."""
    ranges: list[str] = []
    start: int | None = None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code))[0] in kinds
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            ranges.append(f"{re.escape(chr(start))}-{re.escape(chr(code - 1))}")
            start = None
    return "".join(ranges)
