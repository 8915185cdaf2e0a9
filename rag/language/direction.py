"""Hebrew and Arabic that are held as they are seen from the left: last letter first."""

from __future__ import annotations

import re
import unicodedata

# Letters that Hebrew and Arabic have at the end of words only: no word begins with one.
_FINAL = "\u05da\u05dd\u05df\u05e3\u05e5\u0629\u0649"
_LETTER = re.compile(r"[\u0590-\u05ff\u0600-\u06ff\ufb1d-\ufdff\ufe70-\ufefc]")
_RUN = re.compile(rf"{_LETTER.pattern}{{2,}}")
_LEFT_TO_RIGHT = re.compile(r"[\da-zA-Z][\da-zA-Z.,]*[\da-zA-Z]")  # also within such words
_BEGINS = re.compile(rf"(?<![\u0590-\u06ff])[{_FINAL}](?=[\u0590-\u06ff])")
_ENDS = re.compile(rf"(?<=[\u0590-\u06ff])[{_FINAL}](?![\u0590-\u06ff])")


def in_reading_order(text: str) -> str:
    """The text with its right-to-left words turned around, if they are backwards.

    They are where letters that only end words begin them, more often than they end them. The order
    of the words stays, which terms do not know.
    """
    if text.isascii() or not _RUN.search(text):
        return text
    plain = unicodedata.normalize("NFKC", text)
    if len(_BEGINS.findall(plain)) <= len(_ENDS.findall(plain)):
        return text
    return _RUN.sub(lambda match: match.group()[::-1], plain)


def read_from_the_right(word: str) -> str:
    """A word as it is read, of one as it is seen from the left; one without such letters stays."""
    if word.isascii() or not _LETTER.search(word):
        return word
    return _LEFT_TO_RIGHT.sub(lambda match: match.group()[::-1], word[::-1])
