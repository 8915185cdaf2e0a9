"""What every paradigm has to find of the synthetic set, told from how the set is made.

Nothing here was read off a run. The ranks below follow from what stands on the pages (plan.py), how
BM25 adds up (the text paradigm runs with --mode text), what the fixture encoders see
(rag/testing/palette_encoder.py), and that a fusion of ten pages takes five of each ranking, the
text's first. Why each holds is in docs/adr/0042-synthetic-set.md. A broken arm, fusion, page number
or measure gives other figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from eval.synthetic.plan import ANSWER_TYPES, SURVEY_PAGES, Kind

Paradigm = Literal["text", "image", "fusion", "joint"]
Outcome = Literal["right_cited", "wrong", "abstained"]

K = 10
N_GOLD: Mapping[Kind, int] = dict.fromkeys(Kind, 1) | {
    Kind.SURVEY: SURVEY_PAGES,
    Kind.APART: 2,
}
_SURVEYED = tuple(range(1, SURVEY_PAGES + 1))

# Ranks at which the gold pages stand, from 1; a gold page that is not named is not among the ten.
RANKS: Mapping[Paradigm, Mapping[Kind, tuple[int, ...]]] = {
    "text": {
        Kind.FACT: (1,),  # its name stands nowhere else
        Kind.SURVEY: _SURVEYED,  # seven pages have the name
        Kind.CELL: (1,),
        Kind.BANDED: (2,),  # behind the page that says the same words more often
        Kind.PLATE: (),  # no word of the question stands on any page
        Kind.NEGATED: (),
        Kind.APART: (1,),  # the plate has no words
        Kind.TOGETHER: (1,),
    },
    "image": {
        Kind.FACT: (),  # ten pages and more show a colour, this one none
        Kind.SURVEY: (),
        Kind.CELL: (),
        Kind.BANDED: (1,),  # no other page has three of its colours
        Kind.PLATE: (1,),
        Kind.NEGATED: (2,),  # behind the plate that has all four colours named
        Kind.APART: (1,),  # the page of words shows no colour
        Kind.TOGETHER: (1,),
    },
    "fusion": {
        Kind.FACT: (1,),
        Kind.SURVEY: (1, 3, 5, 7, 9),  # five of the text, between five of the image
        Kind.CELL: (1,),
        Kind.BANDED: (2,),  # second of the text, first of the image: the text's first stands before
        Kind.PLATE: (1,),  # the text gave nothing
        Kind.NEGATED: (2,),
        Kind.APART: (1, 2),
        Kind.TOGETHER: (1,),  # of both, told once
    },
    "joint": {
        Kind.FACT: (1,),
        Kind.SURVEY: _SURVEYED,
        Kind.CELL: (),  # below the words it reads; pages with the title share one more word
        Kind.BANDED: (1,),  # words as many as the other page, and colours
        Kind.PLATE: (1,),
        Kind.NEGATED: (2,),
        Kind.APART: (1, 2),  # in either order
        Kind.TOGETHER: (1,),
    },
}

# What the extractive answerer makes of those pages, where that follows: it reads tables by row and
# column, so the figure of a row that stands on one page found is the answer.
OUTCOMES: Mapping[Paradigm, Mapping[Kind, Outcome]] = {
    "text": {
        Kind.CELL: "right_cited",
        Kind.BANDED: "wrong",  # the row of the page found first has another figure
        Kind.PLATE: "abstained",  # there is no page to answer from
        Kind.NEGATED: "abstained",
    },
    "image": {Kind.BANDED: "right_cited"},  # the page with the other figure shows no colour
    "fusion": {Kind.CELL: "right_cited"},
    "joint": {},
}
# Share of the facts told in a sentence that are right at least. Which sentence of a page is quoted
# is said by a trained model, so no count follows.
FACTS_RIGHT_AT_LEAST = 0.8
FACTS_FOUND_BY: tuple[Paradigm, ...] = ("text", "fusion", "joint")


def values(paradigm: Paradigm, kind: Kind) -> dict[str, float]:
    """R@10, P@10, nDCG@10 and Success@1 of a question of this kind."""
    ranks, n_gold = RANKS[paradigm][kind], N_GOLD[kind]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, n_gold + 1))
    return {
        "R@10": len(ranks) / n_gold,
        "P@10": len(ranks) / K,
        "nDCG@10": sum(1 / math.log2(rank + 1) for rank in ranks) / ideal,
        "Success@1": float(1 in ranks),
    }


def values_by_answer_type(paradigm: Paradigm) -> dict[str, dict[str, float]]:
    """Their means over the questions of each answer type, of which there are two kinds each."""
    return {
        answer_type: _mean(
            [values(paradigm, kind) for kind in Kind if ANSWER_TYPES[kind] == answer_type]
        )
        for answer_type in sorted(set(ANSWER_TYPES.values()))
    }


def values_of_all(paradigm: Paradigm) -> dict[str, float]:
    """Their means over all questions: every kind is asked as often as the others."""
    return _mean([values(paradigm, kind) for kind in Kind])


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
