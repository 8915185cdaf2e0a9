"""`octavo eval judge` over run folders, with a chat model behind a real socket as the judge."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judging import fair, kind, words_of
from servers import ChatServer, Reply, Said, serving

from eval.reports.preferred import preferred
from eval.reports.run_folder import read_run_folder
from rag.apps.cli.app import run
from rag.testing.pdfs import make_pdf

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {}}
GOLD = {
    "q1": "The ship is red. It has two masts.",
    "q2": "The ship was built in 1902.",
    "q3": "Its home is Graz.",
    "q4": "It carries salt.",
    "q5": "",
}
SAID = {
    # One of two claims; one of three stands nowhere.
    "q1": "The ship is red [1]. It has sails [1]. It is fast [2].",
    "q2": "The ship was built in 1902 [1].",
    "q3": "Its home is Graz.",
}


def line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def answered(query_id: str, said: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": query_id, "config_hash": "c", "model_id": "other-chat"}
    if query_id == "q4":
        return {**row, "error": {"code": "chat_timeout", "message": "late"}, "question": "?"}
    is_withheld = query_id not in said
    text = "I cannot tell." if is_withheld else said[query_id]
    return {**row, "answer": text, "abstained": is_withheld, "confidence": 0.5}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "a.pdf").write_bytes(make_pdf(["Of the ship.", "It has sails today."]))
    queries = [
        {"id": name, "text": f"{name}?", "answer": gold, "type": "a" if name < "q3" else "b"}
        for name, gold in GOLD.items()
    ]
    (folder / "queries.jsonl").write_text("".join(map(line, queries)))
    rows = ["query_id\tdoc\tpage\trelevance", *(f"{name}\ta.pdf\t2\t1" for name in GOLD)]
    (folder / "qrels.tsv").write_text("".join(f"{row}\n" for row in rows))
    return folder


def made_run(folder: Path, dataset: Path, said: dict[str, str]) -> Path:
    """A folder as `eval run --answers` leaves it."""
    from eval.datasets.folder import load_dataset
    from eval.questions import write_questions

    read = load_dataset(dataset)
    folder.mkdir()
    write_questions(folder / "questions.jsonl", read, list(read.queries.values()))
    rows = [answered(name, said) for name in GOLD]
    (folder / "answers.jsonl").write_text("".join(map(line, rows)))
    (folder / "answers_per_query.jsonl").write_text("".join(line({"id": name}) for name in GOLD))
    head = {"dataset": "tiny", "dataset_digest": read.digest, "scope": "corpus", "pages": "found"}
    head["n_questions"] = len(GOLD)
    (folder / "answer_measures.json").write_text(json.dumps({**head, "config_hash": "c"}))
    return folder


@pytest.fixture
def answers(tmp_path: Path, dataset: Path) -> Path:
    return made_run(tmp_path / "answers", dataset, {**SAID, "q5": "What?"})


class Judge:
    """Serves a function of what is asked, and keeps what that was."""

    def __init__(self, reply: Callable[[str], str | Said | Reply] = fair) -> None:
        self.reply = reply
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, messages: list[dict[str, Any]]) -> str | Said | Reply:
        words = words_of(messages)
        with self._lock:
            self.asked.append(words)
        said = self.reply(words)
        return Said.text(said, usage=USAGE) if isinstance(said, str) else said


def judged(folder: Path, judge: Judge, *flags: str, code: int = 0) -> dict[str, Any]:
    """The figures, or where there are none the code of the command's error."""
    with serving(ChatServer(judge)) as served:
        url = ["--judge-url", f"{served.url}/v1", "--judge-model", "tiny-chat"]
        quick = ["--set", "chat.retry_s=0.2", "--set", "chat.timeout_s=1", "--set", "chat.tries=2"]
        assert run(["eval", "judge", str(folder), *url, *quick, *flags]) == code
    other = [flags[flags.index("--pairwise") + 1]] if "--pairwise" in flags else []
    name = f"judge_pairwise_{Path(other[0]).name}.json" if other else "judge_measures.json"
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else {}


def test_answers_are_judged_claim_by_claim(answers, dataset, capsys):
    judge = Judge()
    figures = judged(answers, judge, "--dataset", str(dataset))
    # q1 says one of two needed claims; of its three one is gold, one on the page, one nowhere.
    # q2 and q3 are whole. q4 failed, q5 has no gold answer: neither is judged.
    assert figures["completeness"] == {"value": pytest.approx(2.5 / 3), "n": 3}
    assert figures["faithfulness"] == {"value": pytest.approx((2 / 3 + 2) / 3), "n": 3}
    assert (figures["n_questions"], figures["failed"], figures["no_gold"]) == (5, 1, 1)
    assert figures["by_type"]["a"]["completeness"] == {"value": 0.75, "n": 2}
    assert figures["failures"] == {
        "completeness": {"unparsed": 0, "no_claims": 0},
        "faithfulness": {"unparsed": 0, "no_claims": 0},
    }
    # Three questions, two measures, a call for the claims and three readings.
    assert figures["calls"] == len(judge.asked) == 3 * 2 * 4
    assert figures["tokens"] == {"prompt": 2400, "completion": 240, "cached": 0, "n": 24}
    assert figures["cost"] is None
    # In the figures: 2 + 1 + 1 needed, 3 + 1 + 1 said.
    assert figures["disagreement"] == {"value": 0.0, "n": 9}
    assert figures["judge"]["model_id"] == "tiny-chat"
    assert (figures["same_family"], figures["notices"]) == (False, {})
    said = capsys.readouterr().out
    assert "0.833 of 3" in said
    assert "tiny-chat" in said


def test_an_abstention_is_incomplete_and_makes_no_claims(tmp_path, dataset):
    folder = made_run(tmp_path / "run", dataset, {"q2": SAID["q2"], "q5": "What?"})
    figures = judged(folder, Judge(), "--dataset", str(dataset))
    assert figures["abstained"] == 2
    assert figures["completeness"] == {"value": pytest.approx(1 / 3), "n": 3}
    assert figures["completeness_of_answered"] == {"value": 1.0, "n": 1}
    assert figures["faithfulness"] == {"value": 1.0, "n": 1}


def test_without_the_words_of_pages_faithfulness_is_not_judged_and_that_is_said(answers):
    judge = Judge()
    figures = judged(answers, judge)
    assert "faithfulness" not in figures
    assert figures["completeness"]["value"] == pytest.approx(2.5 / 3)
    assert "no_page_words" in figures["notices"]
    assert {kind(words) for words in judge.asked} == {"needed", "held"}


def test_what_was_judged_is_not_asked_again_until_judge_votes_or_answer_change(answers, dataset):
    judge = Judge()
    flags = ["--dataset", str(dataset)]
    first = judged(answers, judge, *flags)
    judge.asked.clear()
    again = judged(answers, judge, *flags)
    assert (len(judge.asked), again["taken_over"]) == (0, 3)
    assert again["completeness"] == first["completeness"]
    assert again["tokens"] == first["tokens"]
    # A torn line, and an answer that is another now.
    journal = answers / "judge.jsonl"
    journal.write_text(journal.read_text()[:-30])
    rows = [answered(name, {**SAID, "q1": "The ship is red.", "q5": "What?"}) for name in GOLD]
    (answers / "answers.jsonl").write_text("".join(map(line, rows)))
    assert judged(answers, judge, *flags)["taken_over"] == 1
    assert [json.loads(row)["id"] for row in journal.read_text().splitlines()] == ["q1", "q2", "q3"]
    judge.asked.clear()
    assert judged(answers, judge, *flags, "--votes", "1")["taken_over"] == 0
    assert len(judge.asked) == 3 * 2 * 2


def test_replies_that_are_no_verdict_are_counted_and_left_out_of_the_mean(answers):
    def broken(words: str) -> str:
        return "Sure! 10/10" if "1902" in words and kind(words) == "held" else fair(words)

    figures = judged(answers, Judge(broken))
    assert figures["completeness"] == {"value": 0.75, "n": 2}
    assert figures["failures"]["completeness"] == {"unparsed": 1, "no_claims": 0}
    assert figures["readings_unparsed"] == 3


def test_a_server_that_is_busy_or_late_is_told_and_asked_again_the_next_time(answers, capsys):
    def busy(words: str) -> str | Reply:
        if "Graz" in words:
            return Reply({"error": {"message": "rate limit"}}, status=429)
        return fair(words)

    figures = judged(answers, Judge(busy), code=3)
    assert figures["completeness"] == {"value": 0.75, "n": 2}
    (error,) = figures["errors"].values()
    assert error["questions"] == 1
    assert "error" in capsys.readouterr().out

    def late(words: str) -> str | Reply:
        return Reply({}, after_s=1.5) if "Graz" in words else fair(words)

    figures = judged(answers, Judge(late), code=3)
    assert list(figures["errors"]) == ["chat_timeout"]
    judge = Judge()
    figures = judged(answers, judge)
    assert (figures["errors"], figures["taken_over"]) == ({}, 2)
    assert all("Graz" in words for words in judge.asked)


def test_five_failures_from_the_beginning_end_it(tmp_path, dataset, capsys):
    queries = [
        {"id": f"q{n}", "text": "What?", "answer": "X.", "type": "t", "doc": "a.pdf"}
        for n in range(9)
    ]
    (dataset / "queries.jsonl").write_text("".join(map(line, queries)))
    rows = ["query_id\tdoc\tpage\trelevance", *(f"q{n}\ta.pdf\t1\t1" for n in range(9))]
    (dataset / "qrels.tsv").write_text("".join(f"{row}\n" for row in rows))
    folder = made_run(tmp_path / "run", dataset, {})
    rows = [
        {"id": f"q{n}", "answer": "X.", "abstained": False, "confidence": 1.0} for n in range(9)
    ]
    (folder / "answers.jsonl").write_text("".join(map(line, rows)))
    judge = Judge(lambda _words: Reply({"error": {"message": "who are you?"}}, status=401))
    assert judged(folder, judge, code=1) == {}
    assert len(judge.asked) == 5
    assert "chat" in capsys.readouterr().err


def test_readings_that_disagree_are_told(answers):
    def moody(words: str) -> str:
        is_second = "in reading 2 of 3" in words and "1902" in words
        return fair(words).replace("true", "false") if is_second else fair(words)

    figures = judged(answers, Judge(moody))
    assert figures["completeness"]["value"] == pytest.approx(2.5 / 3)
    assert figures["disagreement"] == {"value": 0.25, "n": 4}


def test_a_judge_of_the_same_family_is_told(answers, capsys):
    rows = [json.loads(row) for row in (answers / "answers.jsonl").read_text().splitlines()]
    for row in rows:
        row["model_id"] = "maker/tiny-large"
    (answers / "answers.jsonl").write_text("".join(map(line, rows)))
    figures = judged(answers, Judge())
    assert figures["same_family"] is True
    assert "maker/tiny-large" in figures["notices"]["judge_of_same_family"]
    assert "judge_of_same_family" in capsys.readouterr().out


def test_prices_make_a_cost_and_half_of_them_a_mistake(answers):
    flags = ["--price-prompt", "2", "--price-completion", "8"]
    figures = judged(answers, Judge(), *flags)
    calls = 3 * 4
    assert figures["cost"]["value"] == pytest.approx(calls * (100 * 2 + 10 * 8) / 1e6)
    judged(answers, Judge(), "--price-prompt", "2", code=2)


def test_labels_of_people_are_held_against_the_judge(answers, tmp_path, capsys):
    labels = tmp_path / "labels.jsonl"
    given = {"q1": False, "q2": True, "q3": False, "q4": True}
    labels.write_text("".join(line({"id": k, "complete": v}) for k, v in given.items()))
    figures = judged(answers, Judge(), "--labels", str(labels))
    found = figures["agreement"]["complete"]
    # The judge says no, yes, yes: two of three agree, by chance (1/3)(2/3) + (2/3)(1/3) do.
    assert found["kappa"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert (found["n"], found["without_verdict"], found["validated"]) == (3, 1, False)
    assert "takes 50" in capsys.readouterr().out
    labels.write_text(line({"id": "q99", "complete": True}))
    judged(answers, Judge(), "--labels", str(labels), code=1)
    assert "q99" in capsys.readouterr().err


def test_pairs_are_judged_in_both_orders_with_an_interval(answers, dataset, tmp_path, capsys):
    better = {**SAID, "q1": GOLD["q1"], "q3": "Its home is Wien.", "q5": "What?"}
    other = made_run(tmp_path / "other", dataset, better)
    judge = Judge()
    flags = ["--pairwise", str(other), "--dataset", str(dataset), "--votes", "1"]
    figures = judged(answers, judge, *flags)
    assert (figures["n_judged"], figures["left_out"]) == (3, 2)
    assert (figures["first_better"], figures["second_better"], figures["ties"]) == (1, 1, 1)
    # q2 is the same in both and not asked about; the others in both orders.
    assert len(judge.asked) == 4
    by_name = {each["measure"]: each for each in figures["differences"]}
    assert by_name["preferred"]["difference"] == 0
    assert by_name["preferred"]["low"] < 0 < by_name["preferred"]["high"]
    # A report of the run shows the same.
    (shown,) = preferred("run", read_run_folder(answers))
    assert (shown.second, shown.judge, shown.n_judged) == ("other", "tiny-chat", 3)
    assert (shown.n_first, shown.n_second, shown.n_ties, shown.n_left_out) == (1, 1, 1, 2)
    assert [each.difference for each in shown.differences] == [
        each["difference"] for each in figures["differences"]
    ]
    # The other way round every figure is turned over.
    turned = judged(other, Judge(), "--pairwise", str(answers), *flags[2:])
    assert (turned["first_better"], turned["second_better"]) == (1, 1)
    mirrored = {each["measure"]: each["difference"] for each in turned["differences"]}
    assert mirrored == {name: -each["difference"] for name, each in by_name.items()}
    assert "orders     disagree in 0.000 of 3 pairs" in capsys.readouterr().out


def test_a_judge_that_likes_the_first_place_finds_only_ties(answers, dataset, tmp_path):
    def partial(words: str) -> str:
        sides = json.loads(fair(words))
        met = dict.fromkeys(sides["first"], True)
        return json.dumps({"first": met, "second": dict.fromkeys(met, False)})

    other = made_run(tmp_path / "other", dataset, {**SAID, "q1": "No.", "q3": "No.", "q5": "?"})
    figures = judged(answers, Judge(partial), "--pairwise", str(other))
    assert (figures["ties"], figures["n_judged"]) == (3, 3)
    assert figures["orders_disagree"] == {"value": pytest.approx(2 / 3), "n": 3}


def test_what_cannot_be_judged_is_refused(answers, dataset, tmp_path, capsys):
    assert run(["eval", "judge", str(tmp_path / "none"), "--judge-model", "m"]) == 1
    assert run(["eval", "judge", str(answers)]) == 1
    assert "--judge-model" in capsys.readouterr().err
    (dataset / "queries.jsonl").write_text(
        (dataset / "queries.jsonl").read_text().replace("q1?", "q1 now?")
    )
    judged(answers, Judge(), "--dataset", str(dataset), code=1)
    assert "another version" in capsys.readouterr().err
    other = made_run(tmp_path / "other", dataset, SAID)
    judged(answers, Judge(), "--pairwise", str(other), code=1)
    assert "dataset_digest" in capsys.readouterr().err


def test_the_key_is_not_told_to_another_server_than_its_own():
    from rag.apps.cli.evaluation.judge import judging_chat
    from rag.settings import ChatSettings

    chat = ChatSettings(model="m", url="http://one/v1", api_key="secret")
    assert judging_chat(chat, "j", None).api_key == chat.api_key
    assert judging_chat(chat, None, "http://one/v1").api_key == chat.api_key
    assert judging_chat(chat, "j", "http://two/v1").api_key is None
    assert judging_chat(chat, "j", "http://two/v1").model == "j"
