"""Whether words of a page read as words: headings that are sentences, and what OCR made of a
picture, are nothing to ask about.
"""

from __future__ import annotations

import re
import unicodedata

_SENTENCE_WORDS = 9  # a heading of more that has a verb is a sentence
# Without "may", which is a month in the heads of reports.
_VERBS = frozenset(
    {
        *("is", "are", "was", "were", "be", "been", "has", "have", "had", "do", "does", "did"),
        *("will", "would", "can", "could", "might", "must", "should", "shall"),
        *("ist", "sind", "war", "waren", "wird", "werden", "hat", "haben", "kann", "muss"),
        *("est", "sont", "ont", "sera", "peut"),
    }
)
_ENDS_IN_A_STOP = ("inc.", "ltd.", "co.", "corp.", "llc.", "etc.", "u.s.", "u.k.", "no.", "st.")
_UNITS = frozenset(
    {"mm", "cm", "km", "kg", "mg", "ml", "ft", "lb", "lbs", "hr", "hrs", "pts", "kwh"}
)
_JOINS = frozenset("&-+/%$#*()|") | {"\u2013", "\u2014", "\u20ac", "\u00a3"}
_MOST_LETTERS_OF_AN_ACRONYM = 5


def is_sentence(heading: str) -> bool:
    """By its full stop, or a verb among many words.

    Args:
        heading: with the sign it ends in.
    """
    words = heading.casefold().split()
    if not words:
        return False
    if words[-1].endswith(".") and not words[-1].endswith(_ENDS_IN_A_STOP):
        return True
    return len(words) > _SENTENCE_WORDS and any(word.strip(",;:") in _VERBS for word in words)


def is_made_of_words(text: str, *, wants_one: bool) -> bool:
    """More words than rubbish; figures and signs that join words count as neither.

    Args:
        text: of a page.
        wants_one: whether figures alone will not do, as they do in the head of a column.
    """
    parts = [part for part in text.split() if not _is_neutral(part)]
    n_words = sum(map(_is_word, parts))
    return 2 * n_words > len(parts) if parts else not wants_one


def _is_neutral(part: str) -> bool:
    is_figure = any(map(str.isdigit, part)) and not any(map(str.isalpha, part))
    return part in _JOINS or is_figure


def _is_word(part: str) -> bool:
    """Of two letters or more with a vowel among them, or an acronym, a unit, or such as Q3, R&D."""
    bare = part.strip(".,;:!?()[]{}\"'\u201c\u201d\u2018\u2019*%")
    if re.fullmatch(r"[A-Za-z]{1,3}\d{1,4}|[A-Z](?:[.&][A-Z])+", bare):
        return True
    letters = "".join(filter(str.isalpha, unicodedata.normalize("NFKD", bare)))
    longest = max(map(len, re.split(r"[-/.&]", bare)))  # 1 in L-J
    if longest < 2 or len(letters) < 0.7 * len(bare) or any(map(str.isdigit, bare)):
        return False
    if not letters.isascii() or letters.casefold() in _UNITS:
        return True
    is_acronym = letters.isupper() and len(letters) <= _MOST_LETTERS_OF_AN_ACRONYM
    return is_acronym or re.search("[aeiouy]", letters, re.IGNORECASE) is not None
