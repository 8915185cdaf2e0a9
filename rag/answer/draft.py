"""What an answer model says before anything of it was checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where a claim is said to stand.

    Attributes:
        evidence: number of the page, as it was shown.
        quote: its words; empty for what was seen in the image.
        near: of several places that say so, the one that starts nearest to this word is meant.
    """

    evidence: int
    quote: str = ""
    near: int = 0


@dataclass(frozen=True)
class DraftClaim:
    """One statement with its sources.

    Attributes:
        text: a sentence, without markers.
        formula: what was calculated, in words; empty where nothing was.
        expression: the same in figures as the pages write them, as in "19,378 - 13,997".
    """

    text: str
    sources: tuple[Source, ...] = ()
    formula: str = ""
    expression: str = ""


@dataclass(frozen=True)
class Draft:
    """An answer of claims, or an abstention with its reason.

    Attributes:
        short: the value, date or name alone that was asked for.
    """

    claims: tuple[DraftClaim, ...] = ()
    short: str = ""
    abstained: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Proposal:
    """A draft made from the pages' own words, and how sure its maker is of it, 0 to 1."""

    draft: Draft
    confidence: float
