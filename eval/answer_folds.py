"""The threshold of answers chosen on some documents and measured on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eval.abstention import choose_threshold, roc
from eval.answer_measures import Judged, cited_pages, outcome_figures
from eval.compare import paired_bootstrap
from rag.errors import InputError

Json = dict[str, Any]

_DECIDED = 0.5  # below what is answered, above what is not, once a threshold was applied


def best_threshold(answers: Sequence[Judged], unanswerable: Sequence[float]) -> float:
    """Of 0 to 1: by Youden's J, the share of answerable questions answered less that of the others.

    Where no question is without an answer: by right less wrong answers of the questions that count;
    of equals the lowest, which answers most.
    """
    if answers and unanswerable:
        chosen = choose_threshold(roc([each.score for each in answers], unanswerable))
        return min(max(chosen.threshold, 0.0), 1.0)
    scores = sorted({each.score for each in answers if each.kind is not None and each.score > 0})
    # Half way between two scores, as in `roc`: rounding decides nothing.
    between = [(low + high) / 2 for low, high in zip([0.0, *scores], scores, strict=False)]

    def worth(threshold: float) -> int:
        figures = outcome_figures(answers, threshold)
        return int(figures["right"] - figures["wrong"])

    return max([0.0, *between], key=worth)


def fold_answers(
    answers: Sequence[Judged],
    unanswerable: Mapping[str, float],
    fold_of: Mapping[str, int],
    *,
    threshold: float,
) -> Json:
    """Figures by fold, with the threshold as it is set and with one chosen on the other folds.

    Args:
        answers: of the questions with gold pages.
        unanswerable: id to score.
        fold_of: id of either to its fold, from 1.
        threshold: as it is set.

    Raises:
        InputError: no question counts as right or wrong.
    """
    if not any(each.kind for each in answers):
        raise InputError("folds of answers want questions whose gold answer counts; there are none")
    folds: list[Json] = []
    held_out: list[Judged] = []
    held_out_none: list[float] = []
    for number in sorted({*fold_of.values()}):
        inside = [each for each in answers if fold_of[each.id] == number]
        inside_none = [score for each, score in unanswerable.items() if fold_of[each] == number]
        chosen = best_threshold(
            [each for each in answers if fold_of[each.id] != number],
            [score for each, score in unanswerable.items() if fold_of[each] != number],
        )
        measured = decided(inside, chosen)
        measured_none = [_decide(score, chosen) for score in inside_none]
        folds.append(
            {
                "fold": number,
                "threshold": chosen,
                "as_it_is": _figures(inside, inside_none, threshold),
                "held_out": _figures(measured, measured_none, _DECIDED),
            }
        )
        held_out += measured
        held_out_none += measured_none
    against = paired_bootstrap(
        {each.id: each.values(threshold) for each in answers if each.kind},
        {each.id: each.values(_DECIDED) for each in held_out if each.kind},
        measures=["right_cited"],
        n_resamples=10_000,
        seed=0,
    )[0]
    return {
        "n": len(folds),
        "chosen_by": "Youden's J" if unanswerable else "right less wrong",
        "threshold": threshold,
        "in_sample_threshold": best_threshold(answers, list(unanswerable.values())),
        "folds": folds,
        "as_it_is": _figures(answers, list(unanswerable.values()), threshold),
        "held_out": _figures(held_out, held_out_none, _DECIDED),
        "difference": {
            "right_cited": against.difference,
            "low": against.low,
            "high": against.high,
        },
    }


def decided(answers: Sequence[Judged], threshold: float) -> list[Judged]:
    """The same with the threshold applied: answered is 1, withheld is -1."""
    return [replace(each, score=_decide(each.score, threshold)) for each in answers]


def _decide(score: float, threshold: float) -> float:
    return 1.0 if score >= threshold else -1.0


def _figures(answers: Sequence[Judged], unanswerable: Sequence[float], threshold: float) -> Json:
    return {
        **outcome_figures(answers, threshold),
        "refused": sum(not each.is_answered(threshold) for each in answers),
        "page_precision": cited_pages(answers, threshold)["precision"],
        "unanswerable": len(unanswerable),
        "unanswerable_abstained": sum(_decide(score, threshold) < 0 for score in unanswerable),
    }
