"""Questions of several parts: which are taken apart, and which are left as they are."""

import json
import time
from pathlib import Path

import pytest

from rag.errors import ConfigError, ModelFailed
from rag.testing.fake_chat import FakeChat
from rag.wording.decompose import MAX_PARTS, MAX_QUESTION_CHARS, parts


def by_rules(question: str) -> list[str]:
    found, notices = parts(question, "rules")
    assert [each.code for each in notices] == (["decomposed"] if len(found) > 1 else [])
    return list(found)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "What was the revenue of 3M in 2021 and what was the capex of Boeing in 2022?",
            ["What was the revenue of 3M in 2021", "what was the capex of Boeing in 2022?"],
        ),
        (
            "What was the revenue of 3M in 2021 and how much tax was paid?",
            ["What was the revenue of 3M in 2021", "how much tax was paid for 3M in 2021?"],
        ),
        ("Compare 3M and Boeing", ["3M", "Boeing"]),
        (
            "Please compare 3M's and Best Buy's revenue in 2021.",
            ["3M's revenue in 2021", "Best Buy's revenue in 2021"],
        ),
        (
            "Compare the gross margin with the operating margin of Boeing in FY2022",
            [
                "the gross margin for Boeing in FY2022",
                "the operating margin of Boeing in FY2022",
            ],
        ),
        (
            "What was the net income for both 3M and Boeing in 2018?",
            [
                "What was the net income for 3M in 2018?",
                "What was the net income for Boeing in 2018?",
            ],
        ),
        (
            "What were the dividends of Coca Cola, Best Buy and 3M?",
            [
                "What were the dividends of Coca Cola?",
                "What were the dividends of Best Buy?",
                "What were the dividends of 3M?",
            ],
        ),
        (
            "What was the revenue of Johnson & Johnson and Pfizer?",
            ["What was the revenue of Johnson & Johnson?", "What was the revenue of Pfizer?"],
        ),
        (
            "Boeing's margin in FY2021 vs FY2022",
            ["Boeing's margin in FY2021", "Boeing's margin in FY2022"],
        ),
        (
            "What was capex for 3M? How many employees does Boeing have?",
            ["What was capex for 3M?", "How many employees does Boeing have?"],
        ),
        (
            "For 3M in FY2018: 1) what was revenue? 2) what was capex?",
            ["what was revenue for 3M in FY2018?", "what was capex for 3M in FY2018?"],
        ),
        (
            "What is apple? What is bread? What is cheese? What is dill? What is eel?",
            ["What is apple?", "What is bread?", "What is cheese?", "What is dill? What is eel?"],
        ),
    ],
)
def test_several_questions_are_parts_that_stand_alone(question: str, expected: list[str]) -> None:
    assert by_rules(question) == expected


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Compare",
        "dividend 2023",
        "How does Boeing's effective tax rate in FY2022 compare to FY2021?",
        "What is the FY2017 turnover: FY2017 income / (average assets between FY2016 and FY2017)?",
        "What was 3M's revenue in 2021 and what was its capex in 2022?",
        "What was the revenue of 3M in 2021 and how many employees were there?",
        "Explain what EBITDA is and how it is computed.",
        "What drove the margin? If it is not a useful metric, state that and explain why.",
        "How many people in all for Wave I and Wave II?",
        "For the examples of Figure 5 and Figure 6, how many are right?",
        "What did the Ministry of Trade and Industry report?",
        "What is the budget of Research and Development?",
        "What was the growth of Trinidad and Tobago?",
        "What share of Republicans and Democrats agrees?",
        "What was the sale of Procter and Gamble?",
        "In Ohio, Boeing built what?",
        "Version 1.2 of the report, section 2.1?",
        "Was there any drop in Cash & Cash equivalents between FY 2023 and Q2 of FY2024?",
        "2022\u5e74\u306e\u58f2\u4e0a\u3068\u5229\u76ca\u306f?",
    ],
)
def test_one_question_stays_as_it_is(question: str) -> None:
    assert by_rules(question) == [question]


def test_no_method_leaves_everything_whole() -> None:
    assert parts("Compare 3M and Boeing", "none") == (("Compare 3M and Boeing",), ())


@pytest.mark.parametrize("piece", ["a ", "and ", "1+", "? ", "Ab and ", "1) a ", "for Ab, "])
def test_a_long_text_is_read_in_time(piece: str) -> None:
    started = time.process_time()
    parts(f"Compare {piece * 100_000}", "rules")
    parts(f"Compare {piece * 10_000}"[:MAX_QUESTION_CHARS], "rules")
    assert time.process_time() - started < 1.0


@pytest.mark.devset
def test_no_question_of_the_development_set_is_taken_apart(devset: Path) -> None:
    """Each of them asks for one thing, though some for two years or two groups of one table."""
    files = [devset / name / "queries.jsonl" for name in ("finance", "visual")]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    assert len(texts) == 178
    assert [text for text in texts if len(by_rules(text)) > 1] == []


# --- the chat model -----------------------------------------------------------------------------
ASKED = "What was 3M's revenue in 2021 and who is Boeing's auditor?"


def test_the_parts_of_the_chat_model_are_taken() -> None:
    chat = FakeChat(['```json\n{"parts": ["3M revenue 2021", " Who audits\\n Boeing?"]}\n```'])
    found, notices = parts(ASKED, "chat", chat)
    assert found == ("3M revenue 2021", "Who audits Boeing?")
    assert [each.code for each in notices] == ["decomposed"]
    assert chat.asked[0].json_schema is not None
    assert chat.asked[0].messages[-1].parts == (ASKED,)


@pytest.mark.parametrize(
    "said",
    [
        "Sure! Here are the parts",
        "[]",
        '["a", 3]',
        '["", "3M 2021 Boeing"]',
        '{"parts": "3M 2021 Boeing"}',
        '["3M revenue 2021"]',  # Boeing is left out
        '["3M revenue 2021", "Boeing auditor 2022"]',  # a year of its own
        json.dumps(["3M 2021 Boeing"] * (MAX_PARTS + 1)),
        json.dumps(["3M 2021 Boeing " + "x" * 600]),
        "[" * 100_000,
        ModelFailed("the chat server is down", code="chat_unreachable"),
    ],
)
def test_what_is_no_list_of_parts_falls_back_to_the_rules_and_says_so(said: object) -> None:
    found, notices = parts(ASKED, "chat", FakeChat([said]))
    assert list(found) == by_rules(ASKED)
    assert [each.code for each in notices] == ["decompose_by_rules", "decomposed"]


def test_one_part_is_the_question_as_it_was_asked() -> None:
    chat = FakeChat(['{"parts": ["In 2021, 3M revenue; Boeing?"]}'])
    assert parts(ASKED, "chat", chat) == ((ASKED,), ())


def test_the_method_chat_wants_a_chat_model() -> None:
    with pytest.raises(ConfigError, match="decompose"):
        parts(ASKED, "chat", None)
