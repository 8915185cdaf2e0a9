"""The rule score of MMLongBench-Doc: a short answer against a gold answer of a known format.

It keeps to what the published script counts, so that figures can be set beside published ones. Only
a gold answer that is no number where one is wanted is compared as text: there that script ends with
an error, or counts 0 whatever was said.

Source: Ma et al. 2024, MMLongBench-Doc (arXiv:2407.01523), section 4.1 and its released scoring.
"""

from __future__ import annotations

import ast
import math
import re
from typing import Literal

from eval.answers.match import edit_distance

AnswerFormat = Literal["Int", "Float", "Str", "List", "None"]
NOT_ANSWERABLE = "Not answerable"
_LEAST_SIMILARITY = 0.5
_TOLERANCE = 0.01

_PARENTHESES = re.compile(r"\s*\([^)]*\)")
_OUTER_QUOTES = re.compile(r"^['\"]|['\"]$")
# What must be right to the letter: telephone numbers and years, days, months, addresses of mail.
_EXACT = tuple(
    re.compile(pattern)
    for pattern in (
        r"\d+(?:-\d+|\s\d+)?",
        r"\d{4}[-\s]\d{2}[-\s]\d{2}",
        r"\d{4}[-\s]\d{2}",
        r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}",
    )
)


def rule_score(said: str, gold: str, answer_format: AnswerFormat) -> float:
    """How right a short answer is, from 0 to 1.

    Int must be equal (a fraction said is cut off); Float within 1 % or equal after rounding, also a
    hundred times or a hundredth of it; Str by edit distance, 0 where half or more is edited, and
    exact for web addresses, file names, pages, telephone numbers, dates, times and e-mail; List of
    equal length, both sorted, the worst of its items counts.

    Args:
        said: the short answer alone. A list is written as in Python or JSON; anything else is a
            list of one.
        gold: as the set has it.
        answer_format: of the gold answer.
    """
    if answer_format == "Int":
        return _int_score(said, gold)
    if answer_format == "Float":
        return _float_score(said, gold)
    if answer_format == "List":
        return _list_score(said, gold)
    return _text_score(_cleaned(said), _cleaned(gold))


def _int_score(said: str, gold: str) -> float:
    wanted, given = _number(gold), _number(said)
    if wanted is None or not wanted.is_integer():
        return _equal_text(said, gold)
    return float(given is not None and math.trunc(given) == wanted)


def _float_score(said: str, gold: str) -> float:
    wanted, given = _number(_cleaned(gold)), _number(_cleaned(said))
    if wanted is None:
        return _equal_text(said, gold)
    if given is None:
        return 0.0
    return float(any(_close(given, item) for item in (wanted / 100, wanted, wanted * 100)))


def _close(given: float, wanted: float) -> bool:
    if math.isclose(given, wanted, rel_tol=_TOLERANCE):
        return True
    digits = max(min(_decimals(given), _decimals(wanted)), 2)
    return round(given, digits) == round(wanted, digits)


def _decimals(value: float) -> int:
    # As written by Python; the published script takes three where the exponent is written.
    _, point, fraction = str(value).partition(".")
    return len(fraction) if point else 3


def _list_score(said: str, gold: str) -> float:
    wanted = sorted(_cleaned(item) for item in items_of(gold))
    given = sorted(_cleaned(item) for item in items_of(said))
    if len(wanted) != len(given):
        return 0.0
    if not wanted:
        return 1.0
    if _number(wanted[0]) is not None or _must_be_exact(wanted[0]):
        return float(wanted == given)
    return min(_similarity(mine, other) for mine, other in zip(given, wanted, strict=True))


def _text_score(said: str, gold: str) -> float:
    return float(said == gold) if _must_be_exact(gold) else _similarity(said, gold)


def _similarity(said: str, gold: str) -> float:
    longest = max(len(said), len(gold))
    if not longest:
        return 1.0
    similarity = 1 - edit_distance(said, gold) / longest
    return similarity if similarity > _LEAST_SIMILARITY else 0.0


def _must_be_exact(gold: str) -> bool:
    return (
        "https://" in gold
        or gold.endswith((".py", "ipynb"))
        or gold.startswith("page")
        or "a.m." in gold
        or "p.m." in gold
        or any(pattern.fullmatch(gold) for pattern in _EXACT)
    )


def _cleaned(text: str) -> str:
    """Lower case, without what stands in parentheses, one outer quote a side, "$" and "%"."""
    bare = _PARENTHESES.sub("", text.lower().strip()).strip()
    bare = _OUTER_QUOTES.sub("", bare).strip()
    return bare.lstrip("$").strip().rstrip("%").strip()


def _equal_text(said: str, gold: str) -> float:
    return float(_cleaned(said) == _cleaned(gold))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def items_of(text: str) -> tuple[str, ...]:
    """Of a list written in Python or JSON; the text alone where it is none."""
    bare = text.strip()
    if bare.startswith("["):
        try:
            read = ast.literal_eval(bare)
        except (
            ValueError,
            TypeError,
            SyntaxError,
            MemoryError,
            RecursionError,
        ):  # all it documents
            return (text,)
        if isinstance(read, list):
            return tuple(str(item) for item in read)
    return (text,)
