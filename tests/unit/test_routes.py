"""Routes: which evidence a question is answered from, by its wording or by a chat model."""

import json
from pathlib import Path

import pytest

from eval.routes import accuracy, oracle_route, routed_mean
from rag.errors import ConfigError, InputError, ModelFailed
from rag.ranking.route import (
    ROUTES,
    RouteName,
    by_wording,
    choose_route,
    label,
    whole_document,
)
from rag.settings import LegWeights, RouteSettings
from rag.testing.fake_chat import FakeChat

RULES, CHAT = RouteSettings(method="rules"), RouteSettings(method="chat")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Hello there!", "none"),
        ("what is 12 * 7?", "none"),
        ("15% of 200", "none"),
        ("How does the contract define force majeure?", "text-chunk"),
        ("What does section 4.2 say of notice?", "text-chunk"),
        ("What color is the car on the cover?", "page-image"),
        ("In figure 5, which line has no intersection?", "page-image"),
        ("Summarise the charts of the report", "whole-document"),
        ("List all risks that the report mentions.", "whole-document"),
    ],
)
def test_the_wording_speaks_for_a_route(question: str, expected: str) -> None:
    assert by_wording(question) == expected
    route, notices = choose_route(question, RULES)
    assert route.name == expected
    assert [each.code for each in notices] == (["route_none"] if expected == "none" else [])


@pytest.mark.parametrize(
    "question",
    [
        "What was the net income of Boeing in 2022?",
        "key figures 2022",
        "dividend 2013-2014",
        "2013-2014",
        "12/31/2023",
        "What is the ROA? ROA is defined as: income / assets.",
        "What is the capital? Define capital as assets less liabilities. List all steps.",
        "Which paragraph follows?",
        "",
    ],
)
def test_a_wording_that_speaks_for_none_takes_the_route_of_the_settings(question: str) -> None:
    assert by_wording(question) is None
    assert choose_route(question, RULES)[0].name == "text+image"
    other = RouteSettings(method="rules", route="text-chunk")
    assert choose_route(question, other)[0].name == "text-chunk"


def test_a_fixed_route_reads_no_question() -> None:
    assert choose_route("Hello", RouteSettings())[0] == ROUTES[RouteName.TEXT_IMAGE]


def test_the_usual_route_weighs_the_legs_as_ever_and_others_do_not() -> None:
    usual = LegWeights()
    assert set(ROUTES) == set(RouteName)
    assert ROUTES[RouteName.TEXT_IMAGE].weights(usual) == usual
    assert ROUTES[RouteName.PAGE_IMAGE].weights(usual).patches == 2 * usual.patches
    assert ROUTES[RouteName.TEXT_CHUNK].weights(usual).patches == usual.patches / 2
    assert [name for name, route in ROUTES.items() if not route.searches] == ["none"]


def test_a_whole_document_is_that_of_the_best_page() -> None:
    order = [("a2", 3.0), ("b1", 2.5), ("a1", 1.0)]
    assert whole_document(order, lambda record_id: record_id[0]) == [("a2", 3.0), ("a1", 1.0)]
    assert whole_document([], str) == []


@pytest.mark.devset
def test_questions_of_the_development_set_that_want_pixels_are_told_from_others(
    devset: Path,
) -> None:
    """By the labels of where the evidence stands; a question sent to the pixels wrongly costs."""
    lines = (devset / "visual" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [query for query in map(json.loads, lines) if query["modality"]]
    sent = [query for query in queries if by_wording(query["text"]) == "page-image"]
    right = [query for query in sent if {"figure", "chart"} & set(query["modality"])]
    assert len(right) >= 25
    assert len(right) >= 0.85 * len(sent)
    assert not any(by_wording(query["text"]) == "none" for query in queries)


# --- the chat model -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("page-image", "page-image"),
        (" **Page-Image**.\n", "page-image"),
        ("whole document", "whole-document"),
        ("TEXT + image", "text+image"),
        ("text-chu", "text-chunk"),
        ("none", "none"),
        ("text", None),
        ("no", None),
        ("", None),
        ("The question wants page-image", None),
        ("paragraph", None),
    ],
)
def test_a_reply_is_a_label_or_its_unique_beginning(said: str, expected: str | None) -> None:
    assert label(said) == expected
    route, notices = choose_route("How is it?", CHAT, FakeChat([said]))
    assert route.name == (expected or "text+image")
    codes = {None: ["route_fallback"], "none": ["route_none"]}.get(expected, [])
    assert [each.code for each in notices] == codes


def test_the_chat_model_is_told_every_label_and_given_room_for_one() -> None:
    chat = FakeChat(["none"])
    choose_route("How is it?", CHAT, chat)
    assert all(name.value in chat.asked[0].text for name in RouteName)
    assert "How is it?" in chat.asked[0].text
    assert chat.asked[0].max_tokens is not None
    assert chat.asked[0].max_tokens >= 4


def test_a_chat_model_that_is_down_leaves_the_usual_route() -> None:
    down = FakeChat([ModelFailed("the chat server is down", code="chat_unreachable")])
    route, notices = choose_route("What color?", CHAT, down)
    assert route.name == "text+image"
    assert "the chat server is down" in notices[0].message
    with pytest.raises(ConfigError, match="route"):
        choose_route("What color?", CHAT)


# --- what routing could gain --------------------------------------------------------------------
VALUES = {
    "text": {"q1": 1.0, "q2": 0.0, "q3": 0.5},
    "image": {"q1": 0.0, "q2": 0.6, "q3": 0.5},
}


def test_the_oracle_takes_the_best_route_of_each_question() -> None:
    oracle = oracle_route(VALUES)
    assert oracle.best == {"q1": "text", "q2": "image", "q3": "text"}
    assert oracle.mean == pytest.approx((1.0 + 0.6 + 0.5) / 3)
    assert oracle.fixed == pytest.approx({"text": 0.5, "image": 1.1 / 3})
    assert oracle.best_fixed == "text"


def test_a_router_is_between_nothing_and_the_oracle() -> None:
    chosen = {"q1": "text", "q2": "text", "q3": "image"}
    assert routed_mean(VALUES, chosen) == pytest.approx(0.5)
    assert routed_mean(VALUES, oracle_route(VALUES).best) == oracle_route(VALUES).mean
    assert accuracy(chosen, {"q1": "text", "q2": "image"}) == 0.5


def test_routes_that_were_not_asked_the_same_are_not_compared() -> None:
    with pytest.raises(InputError):
        oracle_route({"text": {"q1": 1.0}, "image": {"q2": 1.0}})
    for empty in ({}, {"text": {}}):
        with pytest.raises(InputError):
            oracle_route(empty)
    with pytest.raises(InputError):
        routed_mean(VALUES, {"q1": "video"})
    with pytest.raises(InputError):
        accuracy({}, {"q1": "text"})
