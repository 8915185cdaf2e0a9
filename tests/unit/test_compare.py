import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answers.abstention import choose_threshold, roc, roc_text
from eval.compare import compare_runs, holm, paired_bootstrap, paired_bootstrap_of_many
from eval.compare_many import compare_many
from eval.report import comparison_report, many_compared_report
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
    with pytest.raises(InputError, match=r"no measure 'AP' .* there are nDCG@5$") as caught:
        paired_bootstrap(rows([1]), rows([1]), measures=["AP"], n_resamples=10, seed=0)
    assert "measures anew" in str(caught.value.next_step)
    named: Any = {"q": {"id": "q", "nDCG@5": 1.0}}
    with pytest.raises(InputError, match="no measure 'id'"):
        paired_bootstrap(named, named, measures=["id"], n_resamples=10, seed=0)


def test_blocks_of_draws_give_what_all_draws_at_once_do(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = np.random.default_rng(7).random((2, 30)).tolist()
    at_once = bootstrap(first, second)
    monkeypatch.setattr("eval.compare._CELLS_AT_ONCE", 30 * 7)
    assert bootstrap(first, second) == at_once


def test_several_runs_are_held_against_the_first_as_each_would_be_alone() -> None:
    sides = [rows(side) for side in np.random.default_rng(8).random((3, 25)).tolist()]
    options: Any = {"measures": ["nDCG@5"], "n_resamples": 500, "seed": 4}
    together = paired_bootstrap_of_many([sides[0]], [[side] for side in sides[1:]], **options)
    alone = [paired_bootstrap(sides[0], side, **options) for side in sides[1:]]
    corrected = holm([each.p_value for (each,) in alone])
    for (ours,), (theirs,), p_holm in zip(together, alone, corrected, strict=True):
        assert replace(ours, p_holm=0) == replace(theirs, p_holm=0)
        assert ours.p_holm == p_holm


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
    path: Path, values: Sequence[float], *, digest: str = "d1", scope: str = "corpus", **head: Any
) -> Path:
    path.mkdir(parents=True)
    about = {"dataset": "tiny", "dataset_digest": digest, "scope": scope}
    head = {**about, "n_questions": len(values)} | head
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
        ({"measures_version": 2}, "a was measured by version 1 of the rules, b by version 2"),
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
    with pytest.raises(InputError, match="row 1 has no 'id'"):
        compare_runs(first, first)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda text: text.replace("0.4", "NaN"),
            "b/per_query.jsonl: nDCG@5 of question 'q001' is",
        ),
        (lambda text: text.replace("0.4", "Infinity"), "is inf, no number"),
        (
            lambda text: "".join(text.splitlines(keepends=True)[:2]),
            "b/per_query.jsonl has 2 questions, and b/measures.json tells of 3",
        ),
        (lambda text: text + text.splitlines()[0], "has question 'q000' twice"),
    ],
)
def test_rows_that_are_not_those_of_their_run_are_refused_by_file(
    tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    whole = run_folder(tmp_path / "a", [0.1, 0.2, 0.3])
    cut = run_folder(tmp_path / "b", [0.3, 0.4, 0.5])
    rows_file = cut / "per_query.jsonl"
    rows_file.write_text(damage(rows_file.read_text()))
    for compared in (
        lambda: compare_runs(whole, cut, measures=["nDCG@5"]),
        lambda: compare_many([whole, cut], measures=["nDCG@5"], n_resamples=10),
    ):
        with pytest.raises(InputError, match=message) as refused:
            compared()
        assert "again with the same --out" in refused.value.next_step


# --- several systems ----------------------------------------------------------------------------
def system(path: Path, crm: Sequence[float], legal: Sequence[float], **changes: Any) -> Path:
    run_folder(path / "crm", crm, digest="c1", dataset="crm")
    run_folder(path / "legal", legal, **({"digest": "l1", "dataset": "legal"} | changes))
    return path


def test_systems_are_held_against_the_first_or_the_one_named(tmp_path: Path) -> None:
    worst = run_folder(tmp_path / "worst", [0.1, 0.2, 0.3] * 10)
    better = run_folder(tmp_path / "better", [0.4, 0.5, 0.6] * 10)
    same = run_folder(tmp_path / "same", [0.1, 0.2, 0.3] * 10)
    found = compare_many([worst, better, same], measures=["nDCG@5", "R@5"], n_resamples=1000)
    assert [each.name for each in found.systems] == ["worst", "better", "same"]
    assert found.systems[0].differences == ()
    gain = found.systems[1].differences[0]
    assert (gain.measure, gain.difference) == ("nDCG@5", pytest.approx(0.3))
    # Two systems by two measures, three of which never differ.
    assert found.n_corrected == 4
    assert gain.p_holm == pytest.approx(4 * gain.p_value)
    assert {each.p_holm for each in found.systems[2].differences} == {1}

    turned = compare_many([worst, better, same], baseline=better, measures=["nDCG@5"])
    assert [each.name for each in turned.systems] == ["better", "worst", "same"]
    assert turned.systems[1].differences[0].difference == pytest.approx(-0.3)
    beside = compare_many([worst, same], baseline=better, measures=["nDCG@5"])
    assert beside == turned


def test_over_several_datasets_each_is_as_heavy_as_any_other(tmp_path: Path) -> None:
    first = system(tmp_path / "first", [0.0] * 30, [0.0] * 10)
    second = system(tmp_path / "second", [0.2] * 30, [0.4] * 10)
    found = compare_many([first, second], measures=["nDCG@5"], n_resamples=1000)
    assert [(part.dataset, part.n_questions) for part in found.parts] == [
        ("crm", 30),
        ("legal", 10),
    ]
    assert found.systems[1].means["nDCG@5"] == pytest.approx(0.3)  # 0.25 over the questions
    assert [each["nDCG@5"] for each in found.systems[1].of_parts] == pytest.approx([0.2, 0.4])
    (gain,) = found.systems[1].differences
    assert (gain.difference, gain.low, gain.high) == pytest.approx((0.3, 0.3, 0.3))


def test_a_comparison_of_many_reads_as_tables(tmp_path: Path) -> None:
    first = system(tmp_path / "first", [0.0] * 30, [0.0] * 10)
    second = system(tmp_path / "second", [0.2] * 30, [0.4] * 10)
    found = compare_many([first, second], measures=["nDCG@5", "R@5"], n_resamples=1000)
    head, gains, same, parts, notes = many_compared_report(found).split("\n\n")
    assert head == "crm (30), legal (10) questions, scope corpus"
    assert [line.split()[0] for line in gains.split("\n")] == ["nDCG@5", "first", "second"]
    assert "+0.3000" in gains
    assert gains.endswith("*")
    assert same.split("\n")[0].startswith("R@5")
    assert parts.split("\n")[2].split() == ["legal,", "scope", "corpus", "0.0000", "0.4000"]
    assert "corrected for all 2 differences" in notes
    assert "no corrected p" not in notes
    few = compare_many([first, second], measures=["nDCG@5", "R@5"], n_resamples=50)
    assert "no corrected p is below 0.08" in many_compared_report(few)


def test_the_json_of_many_names_baseline_parts_and_systems(tmp_path: Path) -> None:
    first, second = (run_folder(tmp_path / name, [0.1, 0.2]) for name in "ab")
    found = json.loads(json.dumps(compare_many([first, second], measures=["R@5"]).as_dict()))
    assert found["baseline"] == "a"
    assert found["parts"] == [
        {"dataset": "tiny", "dataset_digest": "d1", "scope": "corpus", "n_questions": 2}
    ]
    assert found["systems"][1]["differences"][0]["measure"] == "R@5"


def test_systems_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    first, second = (run_folder(tmp_path / name / "run", [0.1, 0.2]) for name in "ab")
    found = compare_many([first, second], measures=["R@5"])
    assert [each.name for each in found.systems] == [str(first), str(second)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "l2"}, r"second has no run over 'legal' \(digest l1, .*, but one over .*l2"),
        ({"scope": "document"}, r"second has no run over 'legal' .* but one over .*document"),
        ({"digest": "x", "dataset": "x"}, r"second has no run over 'legal' .*which first has$"),
        ({"digest": "c1"}, r"second holds two runs over 'legal' .*: crm and legal"),
        ({"measures_version": 3}, "first was measured by version 1 of the rules, second by"),
        ({"legal": [0.1]}, "asked different questions: 1 are in one of them only"),
    ],
)
def test_systems_that_cannot_be_compared_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    first = system(tmp_path / "first", [0.1, 0.2], [0.1, 0.2])
    second = system(tmp_path / "second", [0.1, 0.2], changes.pop("legal", [0.1, 0.2]), **changes)
    with pytest.raises(InputError, match=message):
        compare_many([first, second], measures=["nDCG@5"], n_resamples=10)


def test_fewer_than_two_systems_or_one_twice_is_refused(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "a", [0.1])
    for folders in ([], [first]):
        with pytest.raises(InputError, match="two runs at least"):
            compare_many(folders)
    with pytest.raises(InputError, match="named twice"):
        compare_many([first, first.parent / "." / "a"])
    with pytest.raises(InputError, match="there is no run in"):
        compare_many([first, tmp_path / "absent"])
    with pytest.raises(InputError, match="two runs at least"):
        compare_many([first], baseline=first)


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
