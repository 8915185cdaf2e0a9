"""Whether a figure is told with the sign that its page writes it with.

English alone; in other languages a sign is held against a sign.
"""

from __future__ import annotations

import re

_GAINS = re.compile(
    r"\b(?:profits?|profitab\w*|incomes?|gain\w*|surplus\w*|earn\w*|inflows?|positive)\b",
    re.IGNORECASE,
)
_RISES = re.compile(
    r"\b(?:increas\w*|grew|grow\w*|rose|rise|rises|risen|rising|up|higher)\b", re.IGNORECASE
)
_LOSSES = re.compile(
    r"\b(?:loss|losses|deficits?|outflows?|negative|minus|decrement\w*"
    r"|expens\w*|costs?|charges?|charged|deduct\w*|used|spent|paid|payments?|provisions?"
    r"|impairments?|depreciation|amorti[sz]ation|repurchases?)\b",
    re.IGNORECASE,
)
_FALLS = re.compile(
    r"\b(?:decreas\w*|declin\w*|reduc\w*|fell|fall\w*|drop\w*|down|lower\w*|less)\b", re.IGNORECASE
)
# What costs money, where nothing is said to be earned.
_COSTS = re.compile(r"\b(?:tax\w*|interest|dividends?|pay\w*|depreciat\w*|amorti\w*)\b", re.I)
_TAKEN = (
    r"(?:income |corporate |corporation )?(?:tax(?:es|ation)?|interest|depreciation|amorti[sz]ation"
    r"|impairments?|costs?|expenses?|charges?|provisions?|dividends?|deductions?|losses|loss|items)"
)
# "profit before interest and tax", "after-tax profit", "income net of costs": still a profit.
_ASIDE = re.compile(
    rf"\b(?:before|after|pre|post|net of|less|excluding|without|not an?|no|from|despite)[\s-]+"
    rf"(?:the |all |any |its |an? )*{_TAKEN}(?:(?:,| and|, and| or| &) (?:the )?{_TAKEN})*\b",
    re.IGNORECASE,
)
_EITHER = re.compile(
    r"\b(?:profit|income|gain|surplus|earnings)(?: ?/ ?| or | )"
    r"\(?(?:loss|losses|deficit|expenses?)\b",
    re.IGNORECASE,
)
_TAX = re.compile(r"\bincome[\s-]tax(?:es)?\b", re.IGNORECASE)  # is no income
_CLAUSE = re.compile(r"[;:.!?,](?=\s|$)|\b(?:but|while|whereas|although|though)\b", re.IGNORECASE)
# What the figure is after these is a level, and no change.
_LEVEL = re.compile(
    r"\b(?:to|at|was|were|is|are|being|reached|reaching|totall?ed|came to)\s*(?:an? )?"
    r"(?:(?:about|around|approximately|nearly|some|almost|over|only)\s*)*$",
    re.IGNORECASE,
)
_BY = (
    r"(?:\s+(?:by|of|was|is|were|about|approximately|around|nearly|almost|some|over|US)|\s*\W)*\s*"
)
_FALL_BEFORE = re.compile(
    rf"\b(?:loss|losses|deficits?|outflows?|negative|minus|decreas\w*|declin\w*|reduc\w*|fell"
    rf"|fall\w*|drop\w*|down|lower){_BY}$",
    re.IGNORECASE,
)
_FALL_AFTER = re.compile(
    r"\s*(?:in )?(?:(?:year-over-year|annual|net)\s+)?"
    r"(?:decrease|decline|drop|reduction|loss|lower|fall|deficit|negative|outflow)\b",
    re.IGNORECASE,
)


def is_told_as_loss(before: str, after: str) -> bool:
    """Whether a statement may mean a negative amount by a figure that it writes without its sign.

    A figure of which the statement says "profit", "income", "gain" or "increase" is negative only
    where a loss or a cost is spoken of before, or where it is the amount by which a profit fell.

    Args:
        before: the statement up to the figure.
        after: the rest.
    """
    start = max((match.end() for match in _CLAUSE.finditer(before)), default=0)
    stop = _CLAUSE.search(after)
    clause = _bare(before[start:] + " " + after[: stop.start() if stop else len(after)])
    whole = _bare(before + " " + after)
    if not (_GAINS.search(clause) or _RISES.search(clause)):
        if _LOSSES.search(clause) or _FALLS.search(clause) or _COSTS.search(clause):
            return True
        return not (_GAINS.search(whole) or _RISES.search(whole)) or _speaks_of_loss(whole)
    if _speaks_of_loss(clause):
        return True
    if _GAINS.search(clause):
        return _FALLS.search(clause) is not None and _LEVEL.search(before) is None
    return _COSTS.search(clause) is not None or _FALLS.search(clause) is not None


def _speaks_of_loss(text: str) -> bool:
    """Whether the first thing named is a loss or a cost, or either of two as "profit/loss"."""
    loss, gain = _LOSSES.search(text), _GAINS.search(text)
    if loss is None:
        return False
    return gain is None or loss.start() < gain.start() or _EITHER.search(text) is not None


def is_written_as_loss(before: str, after: str) -> bool:
    """Whether words right beside a page's figure say that it is a loss or a fall."""
    return bool(_FALL_BEFORE.search(before) or _FALL_AFTER.match(after))


def _bare(text: str) -> str:
    return _TAX.sub("tax", _ASIDE.sub(" ", text))
