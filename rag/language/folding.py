"""One writing for what a script can write in several ways, and where words begin and end.

A mark is dropped where its script also writes the word without it (accents of Latin, Greek and
Cyrillic letters, Hebrew and Arabic vowel signs), and kept where the word needs it (Indic vowel
signs, Thai tones, the voiced kana).
"""

# ruff: noqa: RUF001 - letters of other scripts are what it is about

from __future__ import annotations

import re
import unicodedata

# Accents; Hebrew points; Arabic vowel signs, hamza and madda; nukta of the Indic scripts.
_OPTIONAL_MARKS = re.compile(
    r"[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f"
    r"\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u093c\u09bc\u0a3c\u0abc\u0b3c\u0ccc]"
)
# Of these, the ones that stemmers do without too.
_VOWEL_SIGNS = re.compile(
    r"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u0652\u0656-\u065f"
    r"\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]"
)
# Soft hyphen, tatweel, joiners, marks of direction: they say nothing.
_UNSPOKEN = re.compile("[\u00ad\u0640\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")

_SAME_LETTERS = {
    "ß": "ss", "ı": "i", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th",
    "ħ": "h", "ŧ": "t",
    "ς": "σ",
    # Arabic letters written for one another, and those of Persian keyboards.
    "ى": "ي", "ی": "ي", "ې": "ي", "ک": "ك", "ة": "ه", "ۀ": "ه", "ہ": "ه", "ھ": "ه", "ە": "ه",
    "ٱ": "ا",
    "ँ": "ं",  # chandrabindu is often written as anusvara
    "٬": ",", "٫": ".",
}  # fmt: skip


class _Letters(dict[int, str]):
    """For `str.translate`: same letters, and the digits of any script as 0 to 9."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        digit = unicodedata.decimal(char, None)
        self[code] = folded = _SAME_LETTERS.get(char, char) if digit is None else str(digit)
        return folded


_LETTERS = _Letters()


def fold(text: str) -> str:
    """Lower case, one form of every letter, without marks that may as well be left out.

    Ligatures, full-width and presentation forms are opened, digits of any script are 0 to 9. The
    same for what is already folded.
    """
    if text.isascii():
        return text.lower()
    bare = _OPTIONAL_MARKS.sub("", _UNSPOKEN.sub("", unicodedata.normalize("NFKD", text)))
    # Composed again: Hangul syllables and voiced kana are letters. Lower case can bring a mark.
    lowered = unicodedata.normalize("NFKC", bare).lower().replace("\u0307", "")
    return lowered.translate(_LETTERS)


def written(text: str) -> str:
    """Lower case as a stemmer wants it: with its accents, without vowel signs."""
    if text.isascii():
        return text.lower()
    bare = _VOWEL_SIGNS.sub("", _UNSPOKEN.sub("", unicodedata.normalize("NFKC", text)))
    return bare.lower().replace("i\u0307", "i")


# Letters, and the marks of scripts whose words are not whole without: Python's \w knows no mark.
_MARKS = (
    r"\u0300-\u036f\u0900-\u0963\u0970-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc"
    r"\u0ec8-\u0ece\u0f71-\u0f84\u0f8d-\u0fbc\u102b-\u103e\u1056-\u1060\u1062-\u108f\u17b4-\u17d3"
    r"\u17dd\u3099\u309a\uaa7b-\uaa7d"
)
TOKEN = re.compile(rf"\d[\d.,]*|(?:[^\W\d_]|[{_MARKS}])+")
"""A number or a run of letters, in folded or written text."""

_HAN = r"\u1100-\u11ff\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_HAN += r"\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
_BRAHMIC = r"\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f"
_BRAHMIC_CHAR = re.compile(f"[{_BRAHMIC}]")
_UNSPACED = re.compile(rf"[{_HAN}{_BRAHMIC}]")
_RUN = re.compile(rf"(?P<unspaced>[{_HAN}]+|[{_BRAHMIC}]+)|[^{_HAN}{_BRAHMIC}]+")
# Thai and its kin: a consonant with the vowel written before it, those after it, tones and what is
# written below; one character of them says too little.
_CLUSTER = re.compile(
    r"[เ-ไເ-ໄ]?[^เ-ไເ-ໄ](?:[\u1039\u17d2].|[ะ-\u0e3aๅ\u0e47-\u0e4eະ-\u0ebcໆ\u0ec8-\u0ece"
    r"\u102b-\u103e\u1056-\u1060\u17b4-\u17d1\u17d3\u17dd])*|."
)


def is_unspaced(token: str) -> bool:
    """Whether it holds writing without spaces between words."""
    return not token.isascii() and _UNSPACED.search(token) is not None


def runs(token: str) -> list[tuple[str, bool]]:
    """A token with writing without spaces, cut where the kind of writing changes: (run, is so)."""
    return [(match.group(), match["unspaced"] is not None) for match in _RUN.finditer(token)]


def characters(run: str) -> list[str]:
    """What a reader of such a run counts as one: a character, or a letter with its marks."""
    return _CLUSTER.findall(run) if _BRAHMIC_CHAR.match(run) else list(run)
