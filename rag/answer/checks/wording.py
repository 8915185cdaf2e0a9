"""What the words of a claim say beside its figures, as far as rules can tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.answer.figures.read import Figure, figures_in
from rag.scoring.lexical import content_terms, terms

_NOT = re.compile(
    r"\b(?:not|no|never|none|neither|nor|without|cannot|nothing|nobody|except|excluding|denie[sd]"
    r"|nicht|kein\w*|nie|ohne|ne|pas|jamais|sans|sin|nunca|non|senza|n\u00e3o|sem)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_CLAUSE_ENDS = re.compile(r"[.;:!?](?=\s|$)")
_RISE = re.compile(
    r"\b(?:increas\w*|grew|grow\w*|rose|rise[ns]?|rising|gain\w*|higher|up|more|improv\w*|expan\w*"
    r"|climb\w*|jump\w*|surg\w*)\b",
    re.IGNORECASE,
)
_FALL = re.compile(
    r"\b(?:decreas\w*|declin\w*|fell|fall\w*|drop\w*|lower|down|reduc\w*|less|fewer|shr[aiu]nk\w*"
    r"|loss\w*|lost|negative|worse\w*|weak\w*)\b",
    re.IGNORECASE,
)
_ARITHMETIC = frozenset(
    term
    for word in (
        "average mean total sum difference ratio change per growth rate percent percentage share "
        "margin increase decrease rise fall number count minimum maximum min max abs absolute "
        "value year years day days month months quarter quarters prior previous current "
        "beginning ending opening closing divided times minus plus less over between "
        "multiplied compound annual"
    ).split()
    for term in terms(word)
)


def says_in_order(text: str, short: str) -> bool:
    """Whether a statement has these words in a row, and denies nothing before them.

    What stands between two full stops or semicolons is one statement.
    """
    wanted = _folded(short)
    if not any(map(str.isalnum, wanted)):
        return False
    said = " ".join(text.casefold().split())
    for match in re.finditer(rf"(?<!\w)(?<!\d[.,]){re.escape(wanted)}(?!\w|[.,]\d)", said):
        before = _CLAUSE_ENDS.split(said[: match.start()])[-1]
        if not _NOT.search(before):
            return True
    return False


def tells_of_a_rise(text: str, figure: Figure) -> bool:
    """Whether a claim says that something went up by a figure of its, and not down.

    The word of direction nearest before the figure tells, else the first after it.
    """
    words = text.split()
    before, after = " ".join(words[: figure.start]), " ".join(words[figure.end :])
    ups = [match.start() for match in _RISE.finditer(before)]
    downs = [match.start() for match in _FALL.finditer(before)]
    if ups or downs:
        return max(ups, default=-1) > max(downs, default=-1)
    up, down = _RISE.search(after), _FALL.search(after)
    return up is not None and (down is None or up.start() < down.start())


def is_worded(formula: str, sayings: Sequence[str]) -> bool:
    """Whether each content word of a formula stands in what was said or is one of arithmetic."""
    known = _ARITHMETIC.union(*map(terms, sayings))
    words = re.sub(r"\d[\d.,]*", " ", formula)
    return all(term in known for term in content_terms(words) if not term.isdigit())


def is_quoted(text: str, quotes: Sequence[str]) -> bool:
    """Whether a claim is nothing but its quotes: the page's own words mean what they mean there.

    Quotes that are joined stand in their order, each whole, and their figures do not run together.
    """
    at, used = 0, list[str]()
    for quote in quotes:
        words = r"\s+".join(map(re.escape, quote.split()))
        found = re.compile(rf"[\W_]*?(?<!\w)({words})(?!\w)").match(text, at) if words else None
        if found is not None:
            at = found.end()
            used.append(quote)
    if not used or any(map(str.isalnum, text[at:])):
        return False
    if len(used) == 1:
        return True
    apart = [_read(each) for quote in used for each in figures_in(quote.split())]
    return [_read(each) for each in figures_in(text.split())] == apart


def _read(figure: Figure) -> tuple[object, ...]:
    return figure.value, figure.scale, figure.unit, figure.day, figure.precision


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'")
