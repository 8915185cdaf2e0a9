"""Whether a model says its own rules: long runs of the prompt's words, in a claim or on their way.

A short run is chance, or the manner of speaking that the rules teach; a long one is a copy. What is
said in other words or another language is not seen here.
"""

from __future__ import annotations

import re
from functools import cache

from rag.answer.draft import DraftClaim

RUN_WORDS = 12
_HELD_WORDS = 5  # a run this long waits to be heard until it ends or is a copy
_WORD = re.compile(r"\w+")


class OwnWords:
    """The runs of words of one text."""

    def __init__(self, text: str) -> None:
        words = _words(text)
        self._runs = {
            tuple(words[start : start + length])
            for length in range(_HELD_WORDS, RUN_WORDS + 1)
            for start in range(len(words) - length + 1)
        }

    def are_in(self, text: str) -> bool:
        """Whether RUN_WORDS words in a row of it are the text's."""
        words = _words(text)
        return any(
            tuple(words[start : start + RUN_WORDS]) in self._runs
            for start in range(len(words) - RUN_WORDS + 1)
        )

    def are_in_claim(self, claim: DraftClaim) -> bool:
        quotes = (source.quote for source in claim.sources)
        said = (claim.text, claim.formula, claim.expression, *quotes)
        return any(map(self.are_in, said))

    def run_at_end(self, words: list[str]) -> int:
        """How many of the last words are a run of the text's; 0 for fewer than are held back."""
        for length in range(min(RUN_WORDS, len(words)), _HELD_WORDS - 1, -1):
            if tuple(words[-length:]) in self._runs:
                return length
        return 0


@cache
def own_words(text: str) -> OwnWords:
    """Of a prompt, which is read once a process."""
    return OwnWords(text)


class OwnWordsStream:
    """Lets the text of one claim through as it arrives, but for what is or may become a copy."""

    def __init__(self, own: OwnWords) -> None:
        self._own = own
        self._text = ""
        self._n_let_through = 0
        self._is_copy = False

    def feed(self, text: str) -> str:
        """What may be heard by now, after all that was before."""
        self._text += text
        # The last word may go on; it is let through with the words it follows.
        ended = [each for each in _WORD.finditer(self._text) if each.end() < len(self._text)]
        return self._let_through(ended)

    def close(self) -> str:
        """The rest."""
        return self._let_through(list(_WORD.finditer(self._text)), is_end=True)

    def _let_through(self, words: list[re.Match[str]], *, is_end: bool = False) -> str:
        end = len(self._text)
        self._is_copy = self._is_copy or self._own.are_in(self._text)
        if self._is_copy:
            return ""
        run = self._own.run_at_end([word[0].casefold() for word in words[-RUN_WORDS:]])
        if run and not is_end:
            end = words[-run].start()
        heard = self._text[self._n_let_through : max(end, self._n_let_through)]
        self._n_let_through += len(heard)
        return heard


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]
