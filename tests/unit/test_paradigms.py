"""Arms side by side: what is planned, how two are fused, and figures reckoned by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from eval.datasets.folder import Dataset, PageKey, Query
from eval.paradigms.figures import arm_values, arms_figures, measures_at, with_answers
from eval.paradigms.fusion import given_pages, interleaved, quotas
from eval.paradigms.plan import (
    Arm,
    planned,
    require_pictures,
    require_words,
    with_captions,
    with_encoder,
)
from eval.paradigms.report import arms_report
from eval.paradigms.run import run_arms
from eval.questions import Question
from eval.run_eval import Evaluation, Found, Searched, evaluate
from eval.runs import Hit, read_json_lines
from eval.unidoc_measures import unidoc_names
from rag.errors import ConfigError, InputError
from rag.settings import Settings, changed_settings

BASE = Settings()


def hits(*pages: str) -> list[Hit]:
    """`a1 a2` as hits whose scores fall."""
    return [Hit(page[0], int(page[1:]), float(-rank)) for rank, page in enumerate(pages)]


def pages(found: list[Hit]) -> list[str]:
    return [f"{hit.doc}{hit.page_number}" for hit in found]


# --- fusion by quota ----------------------------------------------------------------------------
TEXT = hits("a1", "a2", "a3", "a4", "a5", "a6")
IMAGE = hits("b1", "a2", "b3", "a1", "b5", "b6")


def test_five_and_five_are_given_with_what_both_found_twice():
    assert pages(given_pages(TEXT, IMAGE, k=10)) == [
        *("a1", "a2", "a3", "a4", "a5"),
        *("b1", "a2", "b3", "a1", "b5"),
    ]


def test_the_ranking_alternates_and_has_each_page_where_it_came_first():
    # a1 b1 a2 (a2) a3 b3 a4 (a1) a5 b5: what both found leaves eight pages of ten.
    ranking = interleaved(TEXT, IMAGE, k=10)
    assert pages(ranking) == ["a1", "b1", "a2", "a3", "b3", "a4", "a5", "b5"]
    assert [hit.score for hit in ranking] == [-1, -2, -3, -4, -5, -6, -7, -8]


def test_of_an_odd_number_the_first_has_one_more():
    assert quotas(5) == (3, 2)
    assert pages(interleaved(TEXT, IMAGE, k=5)) == ["a1", "b1", "a2", "a3"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], hits("b1", "b2"), ["b1", "b2"]),
        (hits("a1", "a2"), [], ["a1", "a2"]),
        ([], [], []),
        (hits("a1", "a2", "a3"), hits("b1"), ["a1", "b1", "a2", "a3"]),
    ],
)
def test_a_side_that_found_less_leaves_its_places_empty(first, second, expected):
    assert pages(interleaved(first, second, k=10)) == expected


# --- what is planned ----------------------------------------------------------------------------
ARMS = [
    Arm("text", "words", "text", BASE),
    Arm("image", "pictures", "image", BASE, "visual"),
    Arm("fusion", "both", "both", fuses=("text", "image")),
]
MISSING = {"joint": "Give it with --joint-encoder."}


def names(plan) -> list[str]:
    return [arm.name for arm in plan.arms]


def test_a_fusing_arm_brings_the_two_it_takes_from():
    plan = planned(ARMS, MISSING, wanted=["fusion"], k=10)
    assert names(plan) == ["text", "image", "fusion"]
    assert plan.left_out == {}
    assert plan.answering_settings(plan.arm("fusion")) is plan.arm("text").settings


def test_an_arm_without_its_encoder_is_refused_with_the_next_step():
    with pytest.raises(InputError, match="joint has no encoder") as told:
        planned(ARMS, MISSING, wanted=["text", "joint"], k=10)
    assert told.value.next_step == "Give it with --joint-encoder."


def test_all_wants_every_encoder_unless_what_is_missing_is_skipped():
    with pytest.raises(InputError, match="joint has no encoder") as told:
        planned(ARMS, MISSING, wanted=["all"], k=10)
    assert "--skip-missing" in told.value.next_step
    plan = planned(ARMS, MISSING, wanted=["all"], k=10, skips_missing=True)
    assert names(plan) == ["text", "image", "fusion"]
    assert plan.left_out == MISSING


def test_what_is_named_is_not_skipped():
    with pytest.raises(InputError, match="joint has no encoder"):
        planned(ARMS, MISSING, wanted=["all", "joint"], k=10, skips_missing=True)


def test_an_unknown_arm_is_refused_and_those_there_are_named():
    with pytest.raises(InputError, match="there is no 'audio'") as told:
        planned(ARMS, MISSING, wanted=["audio"], k=10)
    assert told.value.next_step == "There are all, text, image, fusion, joint."


def test_another_encoder_keeps_how_the_first_runs_and_nothing_else():
    base = changed_settings(
        BASE, {"encoder": {"weights": "here", "device": "cpu", "threads": 3, "instruction": "x"}}
    )
    other = with_encoder(base, {"name": "colpali", "model": "there"}).encoder
    assert (other.name, other.model, other.device, other.threads) == ("colpali", "there", "cpu", 3)
    assert other.weights is None
    assert other.instruction is None
    with pytest.raises(ConfigError):
        with_encoder(base, {"name": "crayon"})


def test_text_is_searched_by_an_encoder_that_reads_words():
    require_words(BASE)
    with pytest.raises(InputError, match="colpali reads no words"):
        require_words(with_encoder(BASE, {"name": "colpali", "model": "m"}))


def test_descriptions_want_somebody_who_writes_them():
    with pytest.raises(InputError, match=r"chat\.model is not set"):
        with_captions(BASE)
    chatty = changed_settings(BASE, {"chat": {"model": "m"}})
    assert with_captions(chatty).caption.mode == "on"


# --- figures by hand ----------------------------------------------------------------------------
def query(name: str, answer_type: str) -> Query:
    groups = {"answer_type": answer_type, "question_type": "comparison"}
    return Query(id=name, text=name, answer="", type=answer_type, groups=groups)


def dataset(name: str, gold: dict[str, list[str]], folder: Path) -> Dataset:
    queries = {each: query(each, "text_only" if "t" in each else "image_only") for each in gold}
    return Dataset(
        name=name,
        folder=folder,
        documents=("a", "b"),
        queries=queries,
        qrels={
            each: {PageKey(page[0], int(page[1:])): 1 for page in gold_pages}
            for each, gold_pages in gold.items()
        },
        unanswerable=(),
        digest=name,
    )


FOUND = {
    # Part one: q_t wants a1, which text finds first; q_i wants b1 and b2, of which image finds one.
    ("text", "q_t"): hits("a1", "a2", "a3", "a4", "a5"),
    ("image", "q_t"): hits("b9", "a1"),
    ("text", "q_i"): hits("a1"),
    ("image", "q_i"): hits("b1", "b9"),
    # Part two, one question: nobody finds b7 but image, at the second place.
    ("text", "p_i"): [],
    ("image", "p_i"): hits("a8", "b7"),
}


def search(arm: Arm, of: Dataset, out: Path) -> Evaluation:
    def ask(question: Question) -> Found:
        return Found(FOUND[arm.name, question.id])

    return evaluate(of, ask, out_dir=out, searched=Searched(encoder=arm.name))


@pytest.fixture
def measured(tmp_path):
    parts = {
        "one": dataset("one", {"q_t": ["a1"], "q_i": ["b1", "b2"]}, tmp_path),
        "two": dataset("two", {"p_i": ["b7"]}, tmp_path),
    }
    plan = planned(ARMS, {}, wanted=["all"], k=10)
    runs = run_arms(plan, parts, out=tmp_path / "out", search=search)
    told = (*unidoc_names(10), *measures_at(10))
    return plan, runs, arms_figures(plan, runs, told=told, compared=("R@10", "nDCG@10"))


def test_values_of_the_fused_arm_are_those_reckoned_by_hand(measured):
    _, runs, _ = measured
    values = arm_values(runs["fusion"]["one"], 10)
    # q_t: a1 b9 a2 a3 a4 a5 (a1 is found twice); handed over as a1 a2 a3 a4 a5 b9 a1.
    assert values["q_t"]["P@10"] == pytest.approx(1 / 10)
    assert values["q_t"]["nDCG@10"] == values["q_t"]["R@10"] == 1
    assert values["q_t"]["unidoc_P@10"] == pytest.approx(2 / 7)
    assert values["q_t"]["unidoc_R@10"] == values["q_t"]["unidoc_ndcg@10"] == 1
    # q_i: a1 b1 b9, handed over in this order; b1 is one of two.
    ideal = 1 + 1 / math.log2(3)
    assert values["q_i"]["nDCG@10"] == pytest.approx(1 / math.log2(3) / ideal)
    assert values["q_i"]["AP@10"] == pytest.approx(1 / 2 / 2)
    assert values["q_i"]["unidoc_P@10"] == pytest.approx(1 / 3)
    assert values["q_i"]["unidoc_R@10"] == values["q_i"]["R@10"] == 0.5
    # Theirs forgets the page that was not found.
    assert values["q_i"]["unidoc_ndcg@10"] == pytest.approx(1 / math.log2(3))


def test_every_part_is_as_heavy_in_the_mean_and_every_question_within_a_kind(measured):
    _, _, figures = measured
    text, image, fusion = (figures["arms"][name] for name in ("text", "image", "fusion"))
    # R@10 by question: text 1, 0 | 0; image 1, .5 | 1; fusion 1, .5 | 1.
    assert text["macro"]["R@10"] == pytest.approx((0.5 + 0) / 2)
    assert image["macro"]["R@10"] == fusion["macro"]["R@10"] == pytest.approx((0.75 + 1) / 2)
    assert image["by_answer_type"]["image_only"]["R@10"] == pytest.approx((0.5 + 1) / 2)
    assert image["by_answer_type"]["image_only"]["n"] == 2
    assert text["by_answer_type"]["text_only"]["R@10"] == 1
    assert text["by_question_type"]["comparison"]["R@10"] == pytest.approx(1 / 3)
    assert [text["by_part"][part]["n"] for part in ("one", "two")] == [2, 1]


def test_every_two_arms_are_compared_and_all_p_values_corrected_together(measured):
    _, _, figures = measured
    pairs = [(pair["first"], pair["second"]) for pair in figures["comparisons"]]
    assert pairs == [("text", "image"), ("text", "fusion"), ("image", "fusion")]
    differences = [each for pair in figures["comparisons"] for each in pair["differences"]]
    assert [each["measure"] for each in differences] == ["R@10", "nDCG@10"] * 3
    recall = differences[0]
    assert recall["difference"] == pytest.approx(0.875 - 0.25)
    # Six p values were looked at: the smallest is multiplied by six.
    smallest = min(differences, key=lambda each: each["p_value"])
    assert smallest["p_holm"] == pytest.approx(min(1, 6 * smallest["p_value"]))


def test_pages_to_answer_from_are_each_once_in_the_order_they_are_given(measured):
    _, runs, _ = measured
    found = runs["fusion"]["one"].pages("q_t")
    assert found == [
        PageKey(*page) for page in (("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5))
    ] + [PageKey("b", 9)]
    assert runs["text"]["two"].pages("p_i") == []


def test_measures_are_told_where_runs_hold_them():
    assert measures_at(5) == ("P@5", "R@5", "AP@5", "nDCG@5")
    with pytest.raises(InputError, match="not told at 7"):
        measures_at(7)


def test_answers_are_averaged_over_the_parts_that_have_them(measured):
    _, _, figures = measured

    def of_part(f1: float | None) -> dict:
        return {
            **{"answerer": "chat", "n_questions": 1, "all": {}, "by_group": {}, "latency_ms": {}},
            "means": {"F1": {"value": f1, "n": 0 if f1 is None else 1}},
            "errors": {} if f1 is not None else {"chat_failed": {"questions": 2, "message": "no"}},
            "notices": {},
        }

    answers = {name: {"one": of_part(0.5), "two": of_part(None)} for name in figures["arms"]}
    told = with_answers(figures, answers, ["words only"])
    assert told["arms"]["text"]["answers"]["macro"] == {"F1": 0.5}
    assert told["arms"]["text"]["answers"]["n_failed"] == 2
    text = arms_report(told)
    assert "degraded   words only" in text
    assert "0.5000" in text


def test_the_report_says_what_was_left_out_and_why(measured):
    plan, runs, _ = measured
    left = replace(plan, left_out=MISSING)
    text = arms_report(arms_figures(left, runs, told=("R@10",), compared=("R@10",)))
    assert "left out   joint: Give it with --joint-encoder." in text
    assert "2 parts" in text


def test_a_fused_run_tells_the_time_of_both_searches_and_no_notice_of_its_own(measured, tmp_path):
    _, runs, figures = measured
    text, image, fusion = (runs[name]["one"] for name in ("text", "image", "fusion"))
    rows = read_json_lines(tmp_path / "out" / "fusion" / "one" / "per_query.jsonl")
    for row in rows:
        assert row["ms"] == pytest.approx(text.ms[row["id"]] + image.ms[row["id"]], abs=0.002)
    told = figures["arms"]["fusion"]["latency_ms_by_part"]["one"]
    assert told == fusion.evaluation.latency_ms
    assert figures["arms"]["fusion"]["notices"] == {}


@pytest.mark.parametrize(("by_words", "by_pictures"), [(True, False), (False, True), (True, True)])
def test_what_a_side_refused_is_told_of_the_fused_run(tmp_path, by_words, by_pictures):
    def refusing(arm: Arm, of: Dataset, out: Path) -> Evaluation:
        def ask(question: Question) -> Found:
            if {"text": by_words, "image": by_pictures}[arm.name]:
                raise InputError(f"{arm.name} cannot")
            return Found(hits("a1"))

        return evaluate(of, ask, out_dir=out, searched=Searched(encoder=arm.name))

    plan = planned(ARMS, {}, wanted=["all"], k=10)
    parts = {"one": dataset("one", {"q_t": ["a1"]}, tmp_path)}
    runs = run_arms(plan, parts, out=tmp_path / "out", search=refusing)
    fused = runs["fusion"]["one"].evaluation
    if by_words and by_pictures:
        expected = (
            "text refused the question: text cannot; image refused the question: image cannot"
        )
        assert fused.refused == {"q_t": expected}
        text = arms_report(arms_figures(plan, runs, told=("R@10",), compared=("R@10",)))
        assert f"refused    fusion, one: 1 questions, the first: {expected}" in text
    else:
        name = "text" if by_words else "image"
        assert fused.refused == {}
        assert pages(runs["fusion"]["one"].run["q_t"]) == ["a1"]
        assert fused.notices["side_refused"]["message"] == (
            f"{name} refused the question: {name} cannot"
        )


def test_questions_of_one_id_in_two_parts_are_two_in_every_group(tmp_path):
    def find(arm: Arm, of: Dataset, out: Path) -> Evaluation:
        found = hits("a1") if of.name == "one" else hits("b9")
        return evaluate(
            of, lambda _: Found(found), out_dir=out, searched=Searched(encoder=arm.name)
        )

    plan = planned(ARMS, {}, wanted=["text"], k=10)
    parts = {name: dataset(name, {"q_t": ["a1"]}, tmp_path) for name in ("one", "two")}
    runs = run_arms(plan, parts, out=tmp_path / "out", search=find)
    figures = arms_figures(plan, runs, told=("R@10",), compared=("R@10",))
    assert figures["arms"]["text"]["by_type"]["text_only"] == {"n": 2, "R@10": 0.5}
    assert figures["arms"]["text"]["by_answer_type"]["text_only"] == {"n": 2, "R@10": 0.5}


def test_pictures_are_searched_by_an_encoder_that_looks_at_them():
    require_pictures(with_encoder(BASE, {"name": "colpali", "model": "m"}))
    with pytest.raises(InputError, match="words looks at no picture"):
        require_pictures(BASE)
