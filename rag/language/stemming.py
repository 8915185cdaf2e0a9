"""What a word has in common with its other forms, in the languages there is a stemmer for.

English is not among them: its terms have a stem of their own (`rag.scoring.lexical`).
"""

# ruff: noqa: RUF001 - letters of other scripts are what it is about

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import cache, lru_cache

from rag.language.folding import fold

_SNOWBALL = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "es": "spanish", "fa": "persian", "fi": "finnish", "fr": "french", "hi": "hindi",
    "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "nl": "dutch",
    "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
LANGUAGES = frozenset({*_SNOWBALL, "he"})
"""ISO 639-1 codes of the languages that `stem` knows."""

_SCRIPTS = (
    (re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]"), frozenset({"el"})),
    (re.compile(r"[\u0400-\u052f]"), frozenset({"ru"})),
    (re.compile(r"[\u0530-\u058f]"), frozenset({"hy"})),
    (re.compile(r"[\u0590-\u05ff]"), frozenset({"he"})),
    (re.compile(r"[\u0600-\u06ff\u0750-\u077f]"), frozenset({"ar", "fa"})),
    (re.compile(r"[\u0900-\u097f]"), frozenset({"hi"})),
    (re.compile(r"[\u0b80-\u0bff]"), frozenset({"ta"})),
    (
        re.compile(r"[a-z\u00df-\u024f\u1e00-\u1eff]"),
        LANGUAGES - set("el ru hy he ar fa hi ta".split()),
    ),
)
# And, the, that, in, to, from, as are written in one word with what follows them.
_HEBREW_PREFIX = re.compile(r"(?:ו?(?:כש|מה|שה|[הבלמשכ])|ו)(?=\w{3})")


def languages_of(word: str) -> frozenset[str]:
    """Languages with a stemmer that write a word with such letters."""
    return next((names for letters, names in _SCRIPTS if letters.search(word)), frozenset())


@cache
def _stemmer(language: str) -> Callable[[str], str]:
    if language == "he":
        return lambda word: _HEBREW_PREFIX.sub("", word, count=1)
    # Not `snowballstemmer.stemmer`: it takes PyStemmer where that is installed, whose rules may be
    # of another version than those the pages were made with.
    name = _SNOWBALL[language]
    module = importlib.import_module(f"snowballstemmer.{name}_stemmer")
    stem: Callable[[str], str] = getattr(module, f"{name.title()}Stemmer")().stemWord
    return stem


@lru_cache(maxsize=200_000)
def stem(word: str, language: str) -> str:
    """The stem, folded.

    Args:
        word: as `rag.language.folding.written` gives it.
        language: one of LANGUAGES.
    """
    return fold(_stemmer(language)(word))
