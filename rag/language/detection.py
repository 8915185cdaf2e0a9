"""The language of a text, told by its script and its function words.

Longer texts are surer: a page has many function words, a question few. Nothing that is found with
the help of a language may be lost where it was told wrong (docs/adr/0025-languages.md).
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from rag.language.direction import in_reading_order
from rag.language.folding import TOKEN, fold
from rag.language.function_words import all_function_words

ENGLISH = "en"
_SCRIPTS = {
    "ja": r"\u3040-\u30ff",
    "ko": r"\uac00-\ud7af",
    "zh": r"\u3400-\u4dbf\u4e00-\u9fff",
    "he": r"\u05d0-\u05ea",
    "th": r"\u0e01-\u0e4f",
    "lo": r"\u0e80-\u0edf",
    "km": r"\u1780-\u17df",
    "my": r"\u1000-\u109f",
    "hy": r"\u0561-\u0587",
    "ta": r"\u0b80-\u0bff",
}
# Letters of one kind, of the texts that are of that language's script.
_OF_SCRIPT = {name: re.compile(f"[{letters}]") for name, letters in _SCRIPTS.items()}
_LATIN = re.compile("[a-zA-Z]")
_LETTER = re.compile(r"[^\W\d_]")
_LEAST_SHARE = 0.3  # of its letters: English names and units stand on pages of every language
_LEAST_KANA = 0.05  # of a text with Chinese characters, for Japanese
# A page of one table repeats the same few words, which may be names.
_MOST_OF_A_WORD = 4


@cache
def _evidence() -> dict[str, tuple[tuple[str, ...], float]]:
    """Function word -> languages that have it, and what it says for each: less, the more they are.

    Single letters are no evidence: they are units, initials and the parts of abbreviations.
    """
    languages: dict[str, list[str]] = {}
    for name, words in all_function_words().items():
        for word in words:
            if len(word) > 1:
                languages.setdefault(word, []).append(name)
    return {word: (tuple(names), 1 / len(names)) for word, names in languages.items()}


def page_language(text: str) -> str:
    """ISO 639-1 code; English where nothing says otherwise."""
    return _told(text, least=4.0, least_words=5, margin=0.5)


def question_language(text: str) -> str:
    """As of a page, on the little that a question says."""
    # One word of another language may be a name or an English word: "hat", "war".
    least_words = 2 if _LATIN.search(text) else 1
    return _told(text, least=0.6, least_words=least_words, margin=1.0)


def _told(text: str, *, least: float, least_words: int, margin: float) -> str:
    """The language with most evidence.

    Args:
        text: as written.
        least: evidence a language other than English needs, in words that only it has.
        least_words: different function words it needs.
        margin: how many times the evidence for English it needs.
    """
    folded = fold(in_reading_order(text))
    if not folded.isascii() and (by_script := _by_script(folded)):
        return by_script
    counts = Counter(TOKEN.findall(folded))
    evidence = _evidence()
    scores: dict[str, float] = {}
    n_words: Counter[str] = Counter()
    for word in evidence.keys() & counts.keys():
        names, share = evidence[word]
        for name in names:
            scores[name] = scores.get(name, 0.0) + share * min(counts[word], _MOST_OF_A_WORD)
        n_words.update(names)
    english = scores.get(ENGLISH, 0.0)
    likely = [
        (-score, name)
        for name, score in scores.items()
        if name != ENGLISH
        and score >= least
        and score > margin * english
        and n_words[name] >= least_words
    ]
    return min(likely)[1] if likely else ENGLISH


def _by_script(folded: str) -> str | None:
    """The language of a script that only one has, of those told apart here."""
    n_letters = len(_LETTER.findall(folded))
    counts = {name: len(pattern.findall(folded)) for name, pattern in _OF_SCRIPT.items()}
    east_asian = counts["ja"] + counts["zh"]
    counts["zh"] = east_asian
    counts["ja"] = east_asian if counts["ja"] >= _LEAST_KANA * east_asian else 0
    name = max(counts, key=lambda name: counts[name])
    return name if counts[name] >= max(1.0, _LEAST_SHARE * n_letters) else None
