"""The threshold of answers chosen on some documents and measured on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.answers.judged import Decision, Judged
from eval.answers.measures import cited_pages, outcome_figures
from eval.compare import paired_bootstrap
from rag.errors import InputError

Json = dict[str, Any]

# Each is asked for: below a threshold an answer model may take another way.
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class AnsweredAt:
    """All questions of a run, asked with one threshold.

    Attributes:
        answers: of the questions with gold pages.
        unanswerable: id to what was decided, without those that failed.
    """

    answers: Sequence[Judged]
    unanswerable: Mapping[str, Decision]

    def of(self, is_wanted: Callable[[str], bool]) -> AnsweredAt:
        """Only the questions wanted, by id."""
        return AnsweredAt(
            [each for each in self.answers if is_wanted(each.id)],
            {name: each for name, each in self.unanswerable.items() if is_wanted(name)},
        )

    def worth(self) -> float:
        """By Youden's J, the share of answerable questions answered less that of the others; where
        none is without an answer, right less wrong answers.
        """
        if self.answers and self.unanswerable:
            answered = sum(each.is_answered for each in self.answers) / len(self.answers)
            misled = sum(each.is_answered for each in self.unanswerable.values())
            return answered - misled / len(self.unanswerable)
        figures = outcome_figures(self.answers)
        return float(figures["right"] - figures["wrong"])

    def figures(self) -> Json:
        return {
            **outcome_figures(self.answers),
            "refused": sum(not each.is_answered for each in self.answers),
            "page_precision": cited_pages(self.answers)["precision"],
            "unanswerable": len(self.unanswerable),
            "unanswerable_abstained": sum(
                not each.is_answered for each in self.unanswerable.values()
            ),
        }


def best_threshold(at: Mapping[float, AnsweredAt]) -> float:
    """The one that is worth most; of equals the lowest, which answers most."""
    return max(sorted(at), key=lambda threshold: at[threshold].worth())


def fold_answers(
    at: Mapping[float, AnsweredAt], fold_of: Mapping[str, int], *, threshold: float
) -> Json:
    """Figures by fold, with the threshold as it is set and with one chosen on the other folds.

    Args:
        at: threshold to the same questions asked with it.
        fold_of: id of a question to its fold, from 1.
        threshold: as it is set; in `at`.

    Raises:
        InputError: no question counts as right or wrong.
    """
    as_set = at[threshold]
    if not any(each.kind for each in as_set.answers):
        raise InputError("folds of answers want questions whose gold answer counts; there are none")
    folds: list[Json] = []
    answers: list[Judged] = []
    unanswerable: dict[str, Decision] = {}
    for number in sorted({*fold_of.values()}):

        def is_inside(name: str, number: int = number) -> bool:
            return fold_of[name] == number

        def is_outside(name: str, number: int = number) -> bool:
            return fold_of[name] != number

        chosen = best_threshold({each: asked.of(is_outside) for each, asked in at.items()})
        held_out = at[chosen].of(is_inside)
        folds.append(
            {
                "fold": number,
                "threshold": chosen,
                "as_it_is": as_set.of(is_inside).figures(),
                "held_out": held_out.figures(),
            }
        )
        answers += held_out.answers
        unanswerable |= held_out.unanswerable
    against = paired_bootstrap(
        {each.id: each.values for each in as_set.answers if each.kind},
        {each.id: each.values for each in answers if each.kind},
        measures=["right_cited"],
        n_resamples=10_000,
        seed=0,
    )[0]
    return {
        "n": len(folds),
        "chosen_by": "Youden's J" if as_set.unanswerable else "right less wrong",
        "threshold": threshold,
        "thresholds": sorted(at),
        "in_sample_threshold": best_threshold(at),
        "folds": folds,
        "as_it_is": as_set.figures(),
        "held_out": AnsweredAt(answers, unanswerable).figures(),
        "difference": {
            "right_cited": against.difference,
            "low": against.low,
            "high": against.high,
        },
    }
