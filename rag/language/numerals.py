"""Numbers as other languages write them: 1.234,5 and 1 234,5 are 1234.5."""

from __future__ import annotations

import re

DECIMAL_COMMA = frozenset(
    "bg ca cs da de el es fi fr hu id it nl no pl pt ro ru sv tr uk vi".split()
)
"""Languages, most of whose writers put a comma before the decimals."""

_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:([. '\u2019])\d{3})(?:\1\d{3})*(?:,\d+)?(?![\d.,]?\d)")
_DECIMALS = re.compile(r"(?<![\d.,])\d+,\d+(?![\d.,]?\d)")


def local_numbers(folded: str) -> list[str]:
    """The numbers of a text with a decimal comma, without groups and with a decimal point.

    Args:
        folded: from `rag.language.folding.fold`.
    """
    found = [match.group() for match in _GROUPED.finditer(folded)]
    found += [match.group() for match in _DECIMALS.finditer(folded)]
    return [re.sub(r"[. '\u2019]", "", number).replace(",", ".") for number in found]
