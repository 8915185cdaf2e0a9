"""The measures that statements report or that follow from what they report: `measures.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from rag.answer.asked_figures.formula import Formula, parse_formula
from rag.answer.asked_figures.names import Words, name_words


@dataclass(frozen=True)
class Measure:
    """A figure by its names.

    Attributes:
        rows: words of the labels it may stand under, the more usual first.
        formulas: how it follows from other measures, the more usual first.
        statement: "income", "balance", "cash flow" or empty.
        is_cost: whether brackets say so in a table that writes its costs in brackets.
        unlike: a word that makes a label another figure; empty for none.
        is_outflow: whether brackets around it say no more than that money left.
        is_per_share: whether the scale of its table does not apply to it.
        is_percent: whether it is told in percent.
    """

    name: str
    asked: tuple[Words, ...]
    rows: tuple[Words, ...]
    formulas: tuple[Formula, ...] = ()
    statement: str = ""
    is_outflow: bool = False
    is_cost: bool = False
    is_per_share: bool = False
    is_percent: bool = False
    unlike: str = ""


@cache
def measures() -> tuple[Measure, ...]:
    text = resources.files(__package__).joinpath("measures.toml").read_text("utf-8")
    return tuple(
        Measure(
            name,
            tuple(name_words(asked) for asked in (name, *entry["asked"])),
            tuple(name_words(row) for row in entry["rows"]),
            tuple(parse_formula(formula) for formula in entry.get("formulas", ())),
            entry.get("statement", ""),
            entry.get("kind") == "outflow",
            entry.get("kind") == "cost",
            entry.get("kind") == "per share",
            entry.get("is_percent", False),
            entry.get("unlike", ""),
        )
        for name, entry in tomllib.loads(text).items()
    )


@cache
def _by_name() -> dict[Words, Measure]:
    found: dict[Words, Measure] = {}
    for measure in measures():
        for asked in measure.asked:
            found.setdefault(asked, measure)
    return found


# Words that say that a figure is asked for, not which.
_FILLERS = frozenset(
    """amount value figure number total level reported consolidated overall annual yearly ending
    balance ratio rate year end what is was its""".split()
)


_PERCENT = frozenset(("percent", "percentage", "rate"))


def known_measure(name: Words) -> Measure | None:
    """The measure of exactly that name, words that say only "figure" left out."""
    by_name = _by_name()
    if name in by_name:
        return by_name[name]
    bare = tuple(word for word in name if word not in _FILLERS)
    found = by_name.get(bare) or by_name.get((*bare, "ratio"))
    if found is not None and found.statement and not found.is_percent and "rate" in name:
        found = None  # a rate is no amount
    if found is None:
        share = by_name.get(tuple(word for word in bare if word not in _PERCENT))
        found = share if share is not None and share.is_percent else None
    return found
