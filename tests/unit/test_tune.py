"""Questions for a tuning, and its drawing."""

import xml.etree.ElementTree as ET

import pytest

from eval.tuning.tune_plot import tuning_svg
from eval.tuning.tune_questions import read_questions, sample_questions
from eval.tuning.tune_run import TuneRequest
from rag.errors import InputError
from rag.page_text import PageText

SVG = "{http://www.w3.org/2000/svg}"


def setting(first: str = "fde", **changed):
    return {
        "first": first,
        "candidates": 300,
        "int8_candidates": 60,
        "scan_rows": 0,
        "recall": 0.95,
        "recall_low": 0.9,
        "recall_high": 1.0,
        "ndcg_loss": 0.01,
        "median_ms": 2.5,
        "p95_ms": 3.0,
        "hot_bytes": 8000.0,
        "mapped_bytes": 120_000.0,
        **changed,
    }


def result(settings, chosen=None, **changed):
    return {
        "collection": "reports",
        "pages": 1234,
        "questions": {"from": "sampled", "n": 50, "seed": 0},
        "k": 10,
        "target_recall": 0.99,
        "settings": settings,
        "current": settings[0],
        "chosen": chosen,
        **changed,
    }


# --- questions ----------------------------------------------------------------------------------
def test_a_text_file_holds_a_question_a_line(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_bytes("\ufeffHow much?\r\n\n  Who paid?  \nHow much?\n".encode())
    assert read_questions(path) == ["How much?", "Who paid?"]


def test_a_jsonl_file_holds_objects_with_text(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text('{"id": "1", "text": "How much?", "answer": "4"}\n\n{"text": "Who?"}\n')
    assert read_questions(path) == ["How much?", "Who?"]


@pytest.mark.parametrize("row", ['{"id": 1}', "[]", '{"text": 3}', '{"text": " "}', "not json"])
def test_a_row_without_a_question_is_refused_by_its_line(tmp_path, row):
    path = tmp_path / "queries.jsonl"
    path.write_text('{"text": "Who?"}\n' + row + "\n")
    with pytest.raises(InputError, match=r"queries\.jsonl line 2") as caught:
        read_questions(path)
    assert caught.value.code == "bad_questions"
    assert '{"text": ' in caught.value.next_step


@pytest.mark.parametrize(
    ("name", "line"),
    [("q.txt", "word " * 300_000), ("q.txt", "w" * 10_001), ("q.jsonl", " " * 1_000_001)],
)
def test_a_question_longer_than_anybody_asks_is_refused_by_its_line(tmp_path, name, line):
    path = tmp_path / name
    path.write_text('{"text": "Who?"}\n' + line + "\n")
    with pytest.raises(InputError, match=rf"{name} line 2 is longer than 1") as caught:
        read_questions(path)
    assert (caught.value.code, bool(caught.value.next_step)) == ("bad_questions", True)


def test_a_question_may_have_ten_thousand_characters(tmp_path):
    path = tmp_path / "q.txt"
    path.write_text("w" * 10_000)
    assert read_questions(path) == ["w" * 10_000]


def test_half_a_surrogate_pair_is_a_question_mark_as_in_a_search(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"text": "Who \\ud800 paid"}\n')
    assert read_questions(path) == ["Who ? paid"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "bad_questions"),
        (b"", "no_questions"),
        (b" \n", "no_questions"),
        (b"caf\xe9", "bad_questions"),
    ],
)
def test_a_file_without_questions_says_what_to_do(tmp_path, content, code):
    path = tmp_path / "questions.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_questions(path)
    assert (caught.value.code, bool(caught.value.next_step)) == (code, True)


def test_pages_without_words_cannot_be_sampled():
    with pytest.raises(InputError) as caught:
        sample_questions([PageText.empty()], 3, seed=0)
    assert caught.value.code == "no_words"
    assert "--queries" in caught.value.next_step


def test_no_more_pages_are_read_than_needed(tmp_path):
    def pages():
        for words in (["tide", "power", "grows"], ["harbour", "fees", "fall"]):
            yield lines(words)
        raise AssertionError("read too far")

    found = sample_questions(pages(), 2, seed=0)
    assert found == ["tide power grows", "harbour fees fall"]


def lines(words):
    import numpy as np

    n = len(words)
    return PageText(
        tuple(words),
        np.zeros((n, 4), np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.float32),
        np.zeros(n, np.bool_),
    )


@pytest.mark.parametrize("target", [0.0, -1.0, 1.01, float("nan")])
def test_a_target_that_is_no_share_is_refused(target):
    with pytest.raises(InputError) as caught:
        TuneRequest(target_recall=target)
    assert caught.value.code == "bad_target"


@pytest.mark.parametrize(
    "count", [{"n_questions": 0}, {"k": 0}, {"k": -3}, {"n_questions": 10**23}]
)
def test_a_tuning_of_nothing_or_too_much_is_refused_with_what_to_give(count):
    with pytest.raises(InputError) as caught:
        TuneRequest(**count)
    assert caught.value.code == "bad_count"
    assert "--n-queries" in caught.value.next_step


# --- the drawing --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "settings",
    [
        [setting()],
        [setting(), setting("bits", median_ms=2.6), setting("int8", median_ms=40.0, recall=1.0)],
        [setting(recall=1.0, recall_low=1.0, ndcg_loss=0.0, hot_bytes=1.0)],
        [setting(median_ms=0.0004), setting("int8", median_ms=9000.0, recall=0.0, recall_low=0.0)],
    ],
)
@pytest.mark.parametrize("met", [True, False])
def test_the_drawing_is_svg_with_a_marker_a_setting_in_each_panel(settings, met):
    drawn = ET.fromstring(tuning_svg(result(settings, settings[-1] if met else None)))
    groups = drawn.findall(f"{SVG}g")
    assert len(groups) == 2 * len(settings)
    assert all(group.find(f"{SVG}title") is not None for group in groups)
    words = " ".join(text.text for text in drawn.iter(f"{SVG}text"))
    for part in ("recall@10", "nDCG@10 lost", "milliseconds", "target 0.99", "1,234 pages"):
        assert part in words
    assert ("none meets the target" in words) is not met


def test_everything_drawn_lies_on_the_paper():
    settings = [setting(), setting("int8", median_ms=90.0, recall=0.2, recall_low=0.1)]
    drawn = ET.fromstring(tuning_svg(result(settings, settings[0])))
    _, _, width, height = map(float, drawn.attrib["viewBox"].split())
    for element in drawn.iter():
        for names, limit in ((("x", "x1", "x2", "cx"), width), (("y", "y1", "y2", "cy"), height)):
            for name in names:
                assert 0 <= float(element.get(name, 0)) <= limit


def test_names_of_collections_are_words_and_not_markup():
    drawn = tuning_svg(result([setting()], collection="<b>&"))
    assert "<b>" not in drawn
    ET.fromstring(drawn)
