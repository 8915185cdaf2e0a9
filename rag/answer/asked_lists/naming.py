"""Whether a question and a page name the same thing, for words that OCR misread or that are cut."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from rag.answer.question import OCR_CONFUSED
from rag.scoring.lexical import content_terms, terms

_ONES = re.compile(r"(?<!\S)[Il|]{1,3}(?!\S)")  # a Roman number below four, as OCR reads it
_CUT = re.compile(r"\b([A-Za-z]{3,})\.")  # "Prec.": a word that stands for a longer one
_STEM = 5  # letters: "course" and "coursework" are one, "car" and "carbon" are two
_ENDING = 4  # letters that one may have more than the other
_LONG = 8  # letters: one of them may be wrong
_TITLES = frozenset("mr mrs ms dr prof the".split())
_ARTICLE = re.compile(r"\b(?:a|an)\b")  # a capital A is a name
_NAME = r"(?:[A-Z][\w.&'\u2019-]*|\d+)(?:\s+(?:of\s+)?(?:[A-Z][\w.&'\u2019-]*|\d+(?![\w%])|I+\b))*"
_SEVERAL = re.compile(rf"({_NAME}(?:,\s*(?:and\s+)?{_NAME})*)\s*,?\s+(?:and|or|&)\s+({_NAME})")


def plain_terms(text: str) -> list[str]:
    """Terms in order; a lone "|" or "Il" is the Roman number it was, "I" or "II"."""
    return terms(_ONES.sub(lambda found: "I" * len(found[0]), text))


def asked_terms(text: str) -> list[str]:
    return content_terms(_ONES.sub(lambda found: "I" * len(found[0]), text))


def held_terms(*texts: str) -> frozenset[str]:
    """Terms of a page's words, words that a full stop cuts short marked by it."""
    joined = " ".join(texts)
    return frozenset(plain_terms(joined)) | {f"{cut.lower()}." for cut in _CUT.findall(joined)}


def is_held(term: str, held: Collection[str]) -> bool:
    """Whether a term is among those of a page, or one that means the same."""
    return term in held or any(_are_one(term, other) for other in held)


def share_held(wanted: Sequence[str], held: Collection[str]) -> float:
    """Share of the terms that are held; 0 for none."""
    return sum(is_held(term, held) for term in wanted) / len(wanted) if wanted else 0.0


def _are_one(first: str, second: str) -> bool:
    if second.endswith("."):
        return len(first) > len(second) - 1 and first.startswith(second[:-1])
    short, long = sorted((first, second), key=len)
    if any(map(str.isdigit, short + long)):
        return False
    if len(short) >= _STEM and long.startswith(short) and len(long) - len(short) <= _ENDING:
        return True
    if len(first) > 2 and first.translate(OCR_CONFUSED) == second.translate(OCR_CONFUSED):
        return True
    return len(short) >= _LONG and _differ_in_one(short, long)


def _differ_in_one(short: str, long: str) -> bool:
    """One letter too many, too few or another."""
    if len(long) - len(short) > 1:
        return False
    same = next((n for n, char in enumerate(short) if char != long[n]), len(short))
    rest = short[same:] if len(short) < len(long) else short[same + 1 :]
    return long[same + 1 :] == rest


def name_terms(name: str) -> frozenset[str]:
    """What tells a name from others: without titles and articles."""
    found = frozenset(plain_terms(_ARTICLE.sub(" ", name)))
    return found - _TITLES or found


def names_in(text: str) -> tuple[str, ...]:
    """Names that a question puts side by side: "A, B and C"; empty where it puts none.

    A part that all have is written once: "Recruiter A and B" are Recruiter A and Recruiter B.
    """
    found = _SEVERAL.search(text)
    if found is None:
        return ()
    names = [*re.split(r",\s*(?:and\s+)?", found[1]), found[2]]
    first = names[0].split()
    return tuple(
        " ".join([*first[: len(first) - len(name.split())], *name.split()])
        if len(name.split()) < len(first) and len(name) <= 2
        else name
        for name in (part.strip().rstrip("?.,") for part in names)
    )


def unique(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))
