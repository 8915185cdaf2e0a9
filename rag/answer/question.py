"""What a question asks for, read without knowing any subject."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from rag.answer.passages import ends_sentence
from rag.scoring.lexical import content_terms, is_content_word, terms

_ASKS_FIGURE = re.compile(
    r"\b(?:how (?:much|many|long|often|old|far|large|big|high|tall|wide|deep|fast|heavy)"
    r"|when|what (?:year|date|time|day|month|percent\w*|proportion|share|number|amount|value|price)"
    r"|which (?:year|date|day|month)|number of|amount of|value of|percent\w*|rate|ratio)\b|%",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\([^()]*\)|(?<=\w)['\u2019]s\b")
_WORD = re.compile(r"\w[\w.,\-]*\w|\w")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)", re.IGNORECASE)
# Where to look, and no name of anything, however they are written.
_PLACES_OF_A_DOCUMENT = frozenset({"page", "slide"})
_PAGE_NUMBER = re.compile(r"\b(?:pages?|slides?)\s+(\d{1,4})\b", re.IGNORECASE)
_HOW_TO_WRITE = re.compile(
    r"(?:please |kindly )?(?:your answer|the answer|answer|write|format|round|reply|respond"
    r"|directly answer)\b",
    re.IGNORECASE,
)
OCR_CONFUSED = str.maketrans("l1|0", "iiio")  # what OCR takes for each other
_UNIT_LETTERS = 2  # "FY2022", "3M", "Q2": letters so few say less than the digits beside them


@dataclass(frozen=True)
class Question:
    """A question as asked, and what of it says where an answer stands."""

    text: str

    @cached_property
    def asking(self) -> str:
        """The sentences that ask, without how to write the answer and without asides."""
        words = self.text.split()
        sentences: list[list[str]] = [[]]
        for number, word in enumerate(words):
            sentences[-1].append(word)
            if number + 1 < len(words) and ends_sentence(word, words[number + 1]):
                sentences.append([])
        said = [" ".join(words) for words in sentences if words]
        asked = [sentence for sentence in said if sentence.endswith("?")] or [
            sentence for sentence in said if not _HOW_TO_WRITE.match(sentence)
        ]
        bare = " ".join(_ASIDE.sub(" ", " ".join(asked) or self.text).split())
        return bare if content_terms(bare) else self.text

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Content terms, each once, in order."""
        return tuple(dict.fromkeys(content_terms(self.asking)))

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Content terms that follow each other, function words left out; a lone one with itself."""
        found = content_terms(self.asking)
        pairs = [pair for pair in pairwise(found) if pair[0] != pair[1]]
        return tuple(dict.fromkeys(pairs or [(term, term) for term in found[:1]]))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Terms written with a capital inside the question, or with a digit: which one is meant."""
        found: list[str] = []
        for number, word in enumerate(_WORD.findall(self.asking)):
            has_digit = any(map(str.isdigit, word))
            if word.casefold().rstrip("s") in _PLACES_OF_A_DOCUMENT or _ORDINAL.fullmatch(word):
                continue
            if is_content_word(word) and (has_digit or (number > 0 and word[0].isupper())):
                found += [
                    term
                    for term in terms(word)
                    if not has_digit or term[0].isdigit() or len(term) > _UNIT_LETTERS
                ]
        return tuple(dict.fromkeys(found))

    @cached_property
    def page_numbers(self) -> tuple[int, ...]:
        """Pages that the question names by their number."""
        return tuple(dict.fromkeys(int(number) for number in _PAGE_NUMBER.findall(self.asking)))

    @cached_property
    def asks_figure(self) -> bool:
        return _ASKS_FIGURE.search(self.asking) is not None
