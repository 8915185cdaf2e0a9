import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.abstention import choose_threshold, roc, roc_text
from eval.compare import compare_runs, holm, paired_bootstrap
from eval.report import comparison_report
from rag.errors import InputError


def rows(values: Sequence[float], name: str = "nDCG@5") -> dict[str, dict[str, float]]:
    return {f"q{number:03d}": {name: value} for number, value in enumerate(values)}


def bootstrap(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Any:
    (found,) = paired_bootstrap(
        rows(first), rows(second), measures=["nDCG@5"], n_resamples=2000, seed=seed
    )
    return found


# --- paired bootstrap ---------------------------------------------------------------------------
def test_a_run_against_itself_shows_no_difference() -> None:
    found = bootstrap([0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert found.p_value == 1


def test_a_steady_gain_is_no_luck_even_where_questions_differ_much() -> None:
    first = np.linspace(0, 0.9, 40)
    found = bootstrap(first.tolist(), (first + 0.1).tolist())
    assert found.first == pytest.approx(0.45)
    assert found.second == pytest.approx(0.55)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)
    assert found.p_value == pytest.approx(2 / 2001)


def test_one_question_won_and_one_lost_is_no_difference() -> None:
    found = bootstrap([0, 1, 0.5, 0.5], [1, 0, 0.5, 0.5])
    assert found.difference == 0
    assert found.low < 0 < found.high
    assert found.p_value > 0.9


def test_the_interval_is_as_wide_as_theory_says() -> None:
    deltas = np.random.default_rng(3).normal(0.05, 0.2, 400)
    found = bootstrap(np.zeros(400).tolist(), deltas.tolist())
    assert found.difference == pytest.approx(deltas.mean())
    half_width = 1.96 * deltas.std() / np.sqrt(400)
    assert found.low == pytest.approx(deltas.mean() - half_width, abs=0.003)
    assert found.high == pytest.approx(deltas.mean() + half_width, abs=0.003)


def test_the_same_seed_gives_the_same_figures_and_swapped_sides_the_opposite() -> None:
    first, second = [0.1, 0.4, 0.2, 0.9], [0.3, 0.4, 0.1, 1.0]
    assert bootstrap(first, second) == bootstrap(first, second)
    swapped = bootstrap(second, first)
    assert swapped.difference == -bootstrap(first, second).difference
    assert swapped.low == pytest.approx(-bootstrap(first, second).high)
    assert swapped.p_value == bootstrap(first, second).p_value


def test_different_questions_or_none_are_refused() -> None:
    with pytest.raises(InputError, match="same questions"):
        bootstrap([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="at least one"):
        bootstrap([], [])


def test_an_unknown_measure_is_named() -> None:
    with pytest.raises(InputError, match="no measure 'AP'"):
        paired_bootstrap(rows([1]), rows([1]), measures=["AP"], n_resamples=10, seed=0)


def test_holm_correction_of_an_example_by_hand() -> None:
    # In order .01 .03 .04: 3 x .01, 2 x .03, 1 x .04 raised to .06.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


@given(p_values=st.lists(st.floats(0, 1), min_size=1))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(
    p_values: list[float],
) -> None:
    corrected = holm(p_values)
    for raw, new in zip(p_values, corrected, strict=True):
        assert raw <= new <= min(1.0, raw * len(p_values))
    assert [corrected[i] for i in np.argsort(p_values)] == sorted(corrected)


# --- folders of runs ----------------------------------------------------------------------------
def run_folder(
    path: Path, values: Sequence[float], *, digest: str = "d1", scope: str = "corpus"
) -> Path:
    path.mkdir()
    head = {"dataset": "tiny", "dataset_digest": digest, "scope": scope}
    (path / "measures.json").write_text(json.dumps(head))
    lines = [
        json.dumps({"id": name, "type": "plain", "nDCG@5": value, "R@5": 1.0})
        for name, row in rows(values).items()
        for value in row.values()
    ]
    (path / "per_query.jsonl").write_text("\n".join(lines) + "\n")
    return path


def test_two_runs_are_compared_by_their_folders(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "a", [0.1, 0.2, 0.3] * 10)
    second = run_folder(tmp_path / "b", [0.4, 0.5, 0.6] * 10)
    found = compare_runs(first, second, measures=["nDCG@5", "R@5"], n_resamples=1000)
    assert found.n_questions == 30
    better, same = found.differences
    assert better.difference == pytest.approx(0.3)
    assert better.p_holm == pytest.approx(2 * better.p_value)
    assert same.p_holm == 1
    report = comparison_report(found).split("\n")
    assert report[0] == "tiny, scope corpus, 30 questions, 1000 resamples"
    assert "+0.3000" in report[3]
    assert report[3].endswith("*")
    assert not report[4].endswith("*")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": "d2"}, "differ in dataset_digest"),
        ({"scope": "document"}, "differ in scope"),
        ({"values": [0.1]}, "asked different questions: 1 are in one of them only, such as 'q001'"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    first = run_folder(tmp_path / "a", [0.1, 0.2])
    second = run_folder(tmp_path / "b", **({"values": [0.1, 0.2]} | change))
    with pytest.raises(InputError, match=message):
        compare_runs(first, second, measures=["nDCG@5"])


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "a", [0.1])
    with pytest.raises(InputError, match=r"absent/measures.json cannot be read"):
        compare_runs(first, tmp_path / "absent")
    (first / "per_query.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match=r"per_query.jsonl line 1 is not a JSON object"):
        compare_runs(first, first)
    (first / "per_query.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="a row has no 'id'"):
        compare_runs(first, first)


# --- abstention ---------------------------------------------------------------------------------
confidences = st.lists(st.integers(0, 8).map(lambda eighths: eighths / 8), min_size=1, max_size=20)


def test_the_curve_of_an_example_by_hand() -> None:
    curve = roc([0.9, 0.5], [0.5, 0.1])
    assert [(p.threshold, p.answered, p.misled) for p in curve.points] == [
        (np.inf, 0, 0),
        (pytest.approx(0.7), 0.5, 0),
        (pytest.approx(0.3), 1, 0.5),
        (-np.inf, 1, 1),
    ]
    assert curve.auc == pytest.approx(3.5 / 4)  # of four pairs three are right and one is a tie


@given(answerable=confidences, unanswerable=confidences)
def test_the_area_is_the_share_of_pairs_in_the_right_order(
    answerable: list[float], unanswerable: list[float]
) -> None:
    pairs = [(a > u) + (a == u) / 2 for a in answerable for u in unanswerable]
    assert roc(answerable, unanswerable).auc == pytest.approx(np.mean(pairs))
    assert roc(unanswerable, answerable).auc == pytest.approx(1 - np.mean(pairs))


@given(answerable=confidences, unanswerable=confidences)
def test_every_point_is_what_its_threshold_does(
    answerable: list[float], unanswerable: list[float]
) -> None:
    for point in roc(answerable, unanswerable).points:
        assert point.answered == np.mean([a >= point.threshold for a in answerable])
        assert point.misled == np.mean([u >= point.threshold for u in unanswerable])


def test_the_chosen_threshold_separates_best() -> None:
    chosen = choose_threshold(roc([0.8, 0.7, 0.2], [0.4, 0.3, 0.1]))
    assert chosen.threshold == pytest.approx(0.55)
    assert (chosen.answered, chosen.misled) == (pytest.approx(2 / 3), 0)


@pytest.mark.parametrize(
    ("answerable", "unanswerable"), [([], [0.5]), ([0.5], []), ([float("nan")], [0.5])]
)
def test_a_curve_wants_finite_confidences_on_both_sides(
    answerable: list[float], unanswerable: list[float]
) -> None:
    with pytest.raises(InputError, match="a ROC wants"):
        roc(answerable, unanswerable)


def test_the_text_plot_shows_curve_guessing_and_choice() -> None:
    curve = roc([0.9, 0.8, 0.7], [0.3, 0.2, 0.1])
    text = roc_text(curve, chosen=choose_threshold(curve), width=21).split("\n")
    assert text[0] == "answered   AUC 1.000"
    assert text[1] == "   1 |O" + "*" * 20  # straight up, then right
    assert all(line[6] in "*O" for line in text[1:12])
    assert text[6][16] == "."
    assert text[-1] == (
        "threshold 0.500: answers 100% of 3 answerable and 0% of 3 unanswerable questions"
    )
