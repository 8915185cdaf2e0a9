"""Folds: what stays together, what is chosen where, and that nothing leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.datasets.folder import Dataset, PageKey, Query
from eval.folds import (
    Choice,
    assign_folds,
    cross_validate,
    document_groups,
    question_groups,
    settings_of,
)
from eval.report import folds_report
from eval.tuning.sweep_plan import Axis
from rag.errors import InputError

M = "nDCG@10"


def alone(*questions: str) -> dict[str, frozenset[str]]:
    return {question: frozenset({question.upper()}) for question in questions}


# --- dealing ------------------------------------------------------------------------------------
groupings = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.frozensets(st.sampled_from("ABCDEFGHIJ"), min_size=1, max_size=2),
    min_size=1,
    max_size=30,
)


@given(groups_of=groupings, seed=st.integers(0, 9), n_folds=st.integers(2, 4))
def test_questions_of_one_group_are_in_one_fold(groups_of, seed, n_folds):
    try:
        folds = assign_folds(groups_of, n_folds, seed=seed)
    except InputError:
        return
    assert list(folds) == list(groups_of)
    assert {*folds.values()} == {*range(1, n_folds + 1)}
    for one, groups in groups_of.items():
        for other, theirs in groups_of.items():
            if groups & theirs:
                assert folds[one] == folds[other]


@given(seed=st.integers(0, 9))
def test_folds_hang_on_seed_and_questions_alone(seed):
    groups = alone(*(f"q{i}" for i in range(12)))
    backwards = dict(reversed(groups.items()))
    assert assign_folds(groups, 5, seed=seed) == assign_folds(backwards, 5, seed=seed)


def test_another_seed_deals_otherwise():
    groups = alone(*(f"q{i}" for i in range(20)))
    dealt = {tuple(assign_folds(groups, 5, seed=seed).values()) for seed in range(5)}
    assert len(dealt) == 5


def test_folds_are_about_as_large_as_each_other():
    groups_of = {f"q{i}": frozenset({f"D{i % 13}"}) for i in range(78)}  # 13 documents of 6
    sizes = [[*assign_folds(groups_of, 5).values()].count(fold) for fold in range(1, 6)]
    assert sorted(sizes) == [12, 12, 18, 18, 18]


def test_fewer_documents_than_folds_are_refused():
    with pytest.raises(InputError, match="there are 3"):
        assign_folds(alone("a", "b", "c"), 5)
    tied = {"a": frozenset({"X", "Y"}), "b": frozenset({"Y", "Z"}), "c": frozenset({"Z"})}
    with pytest.raises(InputError, match="there are 1"):
        assign_folds(tied, 2)


# --- groups -------------------------------------------------------------------------------------
DOCS = ("ACME_2022.pdf", "acme-2023.pdf", "BOLT 2023.pdf", "2023.a.pdf", "2023.b.pdf")


def dataset(folder: Path, qrels: Mapping[str, Any]) -> Dataset:
    queries = {
        key: Query(id=key, text="?", answer="x", type="t", doc=doc)
        for key, (doc, _) in qrels.items()
    }
    grades = {key: {PageKey(doc, 1): 1 for doc in gold} for key, (_, gold) in qrels.items()}
    return Dataset("tiny", folder, DOCS, queries, grades, (), "0")


def test_a_document_is_a_group_of_its_own(tmp_path):
    assert document_groups(dataset(tmp_path, {})) == {doc: doc for doc in DOCS}


def test_names_that_begin_alike_are_a_group_where_that_is_asked_for(tmp_path):
    groups = document_groups(dataset(tmp_path, {}), by_name=True)
    assert groups["ACME_2022.pdf"] == groups["acme-2023.pdf"]
    assert len({*groups.values()}) == 4  # a year is no name


def test_a_column_of_docs_tsv_goes_before_names(tmp_path):
    rows = ["file\tpages\tgroup", "ACME_2022.pdf\t3\tone", "BOLT 2023.pdf\t3\tone", "2023.a.pdf"]
    (tmp_path / "docs.tsv").write_text("\n".join(rows) + "\n")
    groups = document_groups(dataset(tmp_path, {}), by_name=True)
    assert groups["ACME_2022.pdf"] == groups["BOLT 2023.pdf"] == "one"
    (tmp_path / "docs.tsv").write_text("file\tpages\nACME_2022.pdf\t3\n")
    assert document_groups(dataset(tmp_path, {}))["ACME_2022.pdf"] == "ACME_2022.pdf"
    (tmp_path / "docs.tsv").write_text("name\tgroup\nACME_2022.pdf\tone\n")
    with pytest.raises(InputError, match="names the document"):
        document_groups(dataset(tmp_path, {}))


def test_a_question_is_about_its_document_and_those_of_its_gold_pages(tmp_path):
    asked = {"q1": (None, DOCS[:2]), "q2": (DOCS[2], DOCS[2:3]), "q3": (DOCS[0], DOCS[3:4])}
    found = question_groups(dataset(tmp_path, asked), "corpus", {doc: doc for doc in DOCS})
    assert found == {
        "q1": frozenset(DOCS[:2]),
        "q2": frozenset(DOCS[2:3]),
        "q3": frozenset({DOCS[0], DOCS[3]}),
    }


def test_a_page_of_grade_0_ties_no_documents(tmp_path):
    """Sets that grade every page that was looked at would be one fold."""
    one = dataset(tmp_path, {"q1": (None, DOCS[:1])})
    graded = {"q1": {**one.qrels["q1"], PageKey(DOCS[1], 1): 0}}
    found = question_groups(replace(one, qrels=graded), "corpus", {doc: doc for doc in DOCS})
    assert found == {"q1": frozenset(DOCS[:1])}


# --- choosing -----------------------------------------------------------------------------------
ONE_AXIS: list[Axis] = [("retrieval.fusion", ("zscore", "rrf"))]
QUESTIONS = ("a", "b", "c", "d")
FOLDS = {"a": 1, "b": 1, "c": 2, "d": 2}


def table(*rows: tuple[float, ...]):
    """Values of each question by the first axis, where there is but one."""

    def values(choice: Choice) -> dict[str, dict[str, float]]:
        return {key: {M: value} for key, value in zip(QUESTIONS, rows[choice[0]], strict=True)}

    return values


def test_what_is_measured_on_a_fold_was_chosen_on_the_others():
    # On a and b the second value is better, on c and d the first: each fold gets the wrong one.
    found = cross_validate(
        ONE_AXIS,
        table((0.1, 0.1, 0.9, 0.9), (0.8, 0.8, 0.2, 0.2)),
        FOLDS,
        alone(*QUESTIONS),
        measure=M,
    )
    assert [fold.choice for fold in found.folds] == [(0,), (1,)]
    assert {key: row[M] for key, row in found.held_out.items()} == {
        "a": 0.1,
        "b": 0.1,
        "c": 0.2,
        "d": 0.2,
    }
    assert [fold.held_out for fold in found.folds] == [0.1, 0.2]
    assert [fold.chosen_at for fold in found.folds] == pytest.approx([0.9, 0.8])
    assert found.in_sample == (0,)
    assert found.in_sample_values["a"][M] == 0.1
    assert settings_of(ONE_AXIS, found.in_sample) == {"retrieval.fusion": "zscore"}


quarters = st.integers(0, 4).map(lambda n: n / 4)


@given(
    values=st.lists(st.tuples(*[quarters] * 6), min_size=6, max_size=6),
    others=st.lists(st.tuples(*[quarters] * 6), min_size=6, max_size=6),
    fold=st.sampled_from([1, 2, 3]),
    largest_grid=st.sampled_from([1, 64]),
)
def test_nothing_of_a_fold_reaches_its_own_choice(values, others, fold, largest_grid):
    questions = [f"q{i}" for i in range(6)]
    folds = {question: 1 + i % 3 for i, question in enumerate(questions)}
    axes: list[Axis] = [("retrieval.rrf_k", (1, 2)), ("retrieval.code_bits", (1, 2, 3))]

    def choices(*, is_changed: bool) -> list[Choice]:
        def ask(choice: Choice) -> dict[str, dict[str, float]]:
            row = 3 * choice[0] + choice[1]
            return {
                key: {M: (others if is_changed and folds[key] == fold else values)[row][i]}
                for i, key in enumerate(questions)
            }

        found = cross_validate(
            axes, ask, folds, alone(*questions), measure=M, largest_grid=largest_grid
        )
        return [each.choice for each in found.folds]

    assert choices(is_changed=True)[fold - 1] == choices(is_changed=False)[fold - 1]


@given(values=st.lists(st.tuples(*[quarters] * 4), min_size=3, max_size=3))
def test_choosing_on_all_questions_never_looks_worse_than_held_out(values):
    axes: list[Axis] = [("retrieval.rrf_k", (1, 2, 3))]
    found = cross_validate(axes, table(*values), FOLDS, alone(*QUESTIONS), measure=M)
    in_sample = sum(row[M] for row in found.in_sample_values.values())
    assert in_sample >= sum(row[M] for row in found.held_out.values())


def test_of_equal_choices_the_first_wins_and_each_is_asked_once():
    asked: list[Choice] = []

    def ask(choice: Choice) -> dict[str, dict[str, float]]:
        asked.append(choice)
        return {key: {M: 0.5} for key in QUESTIONS}

    axes: list[Axis] = [("retrieval.rrf_k", (1, 2)), ("retrieval.code_bits", (1, 2))]
    for largest_grid in (64, 1):
        asked.clear()
        found = cross_validate(
            axes, ask, FOLDS, alone(*QUESTIONS), measure=M, largest_grid=largest_grid
        )
        assert {fold.choice for fold in found.folds} == {(0, 0)}
        assert len(asked) == len({*asked}) == found.n_tried
        assert found.is_greedy == (largest_grid == 1)
    assert len(asked) == 3  # one axis at a time: the corner opposite is not tried


def test_a_large_grid_is_searched_one_axis_at_a_time():
    axes: list[Axis] = [(f"axis{i}", tuple(range(5))) for i in range(4)]
    goal = (4, 0, 3, 2)

    def ask(choice: Choice) -> dict[str, dict[str, float]]:
        off = sum(abs(a - b) for a, b in zip(choice, goal, strict=True))
        return {key: {M: 1 - off / 20} for key in QUESTIONS}

    found = cross_validate(axes, ask, FOLDS, alone(*QUESTIONS), measure=M)
    assert found.is_greedy
    assert found.in_sample == goal
    assert found.n_tried < 50 < 5**4


def test_without_axes_folds_show_the_spread():
    def ask(choice: Choice) -> dict[str, dict[str, float]]:
        return {key: {M: value} for key, value in zip(QUESTIONS, (0, 0, 1, 1), strict=True)}

    found = cross_validate([], ask, FOLDS, alone(*QUESTIONS), measure=M)
    assert [fold.held_out for fold in found.folds] == [0, 1]
    assert found.in_sample == ()


def test_the_report_sets_held_out_beside_in_sample():
    fold = {"fold": 1, "questions": 4, "groups": ["x"], "settings": {"retrieval.rrf_k": 20}}
    text = folds_report(
        {
            **{"n": 5, "seed": 0, "measure": M, "n_questions": 4, "groups": 3, "combinations": 81},
            **{"axes": {"retrieval.rrf_k": [20]}, "tried": 9, "search": "one axis at a time"},
            "baseline": {M: 0.4},
            "in_sample": {"settings": {"retrieval.rrf_k": 20}, "measures": {M: 0.6}},
            "held_out": {M: 0.5},
            "held_out_difference": {"value": 0.1, "low": -0.02, "high": 0.2},
            "folds": [fold | {"chosen_at": 0.61, "held_out": 0.5, "baseline": 0.4}],
            "degraded": {"rrf_k=20": {"rerank_failed": 3}},
        }
    )
    assert "9 of 81 tried, one axis at a time" in text
    assert "in sample  0.6000   retrieval.rrf_k=20" in text
    assert "held out   0.5000   +0.1000 [-0.0200, +0.2000] from as it is" in text
    assert "degraded   rrf_k=20: rerank_failed at 3 questions" in text
