"""`octavo ask` and `octavo chat` as people and programs see them; the client is a table."""

import io
import json
import logging
import sys

import pytest
from commands import talk_to

from rag.apps.cli import logs
from rag.apps.cli.app import run
from rag.errors import InputError, NotFound

CITATION = {
    "marker": 1,
    "document_id": "d1",
    "source": "report.pdf",
    "page_number": 2,
    "quote": "Celtic Sea 90.3",
    "boxes": [[100.0, 100.0, 200.0, 200.0]],
    "verified": True,
    "visual": False,
}
CLAIM = {"text": "It brought 90.3", "state": "supported", "markers": [1], "reasons": []}
PAGE = {"document_id": "d1", "source": "report.pdf", "page_number": 2, "score": 3.0}
ANSWER = {
    "question": "q",
    "answer": "It brought 90.3 [1].",
    "short": "90.3",
    "abstained": False,
    "confidence": 0.9712,
    "model_id": "says",
    "citations": [CITATION],
    "claims": [CLAIM],
    "unsupported": [],
    "support": None,
    "pages": [PAGE],
    "error": None,
    "timings_ms": {"total": 40.2},
    "warnings": [],
}
EVENTS = (
    {"event": "search_results", "pages": [PAGE], "question": "q", "searched_for": "q"},
    {"event": "delta", "text": "It brought "},
    {"event": "delta", "text": "90.3"},
    {"event": "citation", **CITATION},
    {"event": "claim", **CLAIM},
)
FAILED = ANSWER | {
    "answer": "",
    "abstained": True,
    "citations": [],
    "claims": [],
    "error": {"code": "chat_timeout", "message": "it took too long", "next_step": "Wait."},
}


class Client:
    def __init__(self):
        self.calls = []
        self.events = EVENTS
        self.answer = ANSWER
        self.gone = set()

    def ask(self, *, on_event=None, **options):
        self.calls.append(options)
        for event in self.events:
            on_event(event)
        return self.answer

    def chat(self, **options):
        if "bad" in options["question"]:
            self.calls.append(options)
            raise InputError("no such question")
        if "stop" in options["question"]:
            raise KeyboardInterrupt
        if options["conversation"] in self.gone:
            raise NotFound("it is gone", code="unknown_conversation")
        return self.ask(**options) | {"conversation_id": "c1", "turn": len(self.calls)}

    def conversations(self):
        kept = {"conversation_id": "c9", "collection": "default", "title": "About tides"}
        return {"conversations": [kept | {"turns": 2, "created_at": 0.0, "updated_at": 86_400.0}]}

    def conversation(self, *, conversation):
        if conversation in self.gone:
            raise NotFound("it is gone", code="unknown_conversation")
        return {
            "conversation_id": conversation,
            "collection": "tides" if conversation == "c5" else "default",
            "exchanges": [ANSWER | {"turn": 1}],
        }

    def list_documents(self, *, collection):
        if collection == "nope":
            raise NotFound("no collection 'nope'", code="unknown_collection")
        return {"documents": []}

    def delete_conversation(self, *, conversation):
        return {"deleted": conversation}


@pytest.fixture(name="client")
def _client(monkeypatch):
    client = Client()
    talk_to(monkeypatch, client)
    return client


def said(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


# --- ask ----------------------------------------------------------------------------------------
def test_a_streamed_answer_is_shown_once_with_its_marks_then_its_citations(client, capsys):
    assert run(["ask", "q", "--stream"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("It brought 90.3 [1]\n")
    assert out.count("It brought") == 1
    assert '[1] report.pdf, page 2: "Celtic Sea 90.3"' in out


def test_a_streamed_answer_that_lost_a_statement_is_shown_again_as_it_stands(client, capsys):
    refused = {**CLAIM, "text": "It doubled", "state": "unsupported", "markers": []}
    client.events = ({"event": "delta", "text": "It doubled"}, {"event": "claim", **refused})
    client.answer = ANSWER | {"claims": [refused, CLAIM], "unsupported": ["It doubled"]}
    run(["ask", "q", "--stream"])
    out = capsys.readouterr().out
    assert out.startswith("It doubled (no support found)\n")
    assert out.index("(no support found)") < out.index("It brought 90.3 [1].")
    assert 'left out, not supported: "It doubled"' in out


def test_what_steers_a_terminal_does_not_reach_it_from_a_stream(client, capsys):
    client.events = ({"event": "delta", "text": "\x1b[2Jgone\u202e"},)
    run(["ask", "q", "--stream"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_events_are_lines_of_json_and_the_answer_is_the_last(client, capsys):
    run(["ask", "q", "--stream", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[:-1] == list(EVENTS)
    assert lines[-1] == {"event": "done", **ANSWER}


def test_without_stream_programs_get_one_object(client, capsys):
    run(["ask", "q", "--json"])
    assert json.loads(capsys.readouterr().out) == ANSWER


def test_flags_of_answers_are_settings_of_this_question(client):
    run(["ask", "q", "--answerer", "chat", "--evidence", "text", "--policy", "flag"])
    assert client.calls[0]["answering"] == {"model": "chat", "evidence": "text", "policy": "flag"}
    run(["ask", "q"])
    assert client.calls[1]["answering"] == {}


def test_pages_to_answer_from_are_named_by_document_and_number(client, capsys):
    run(["ask", "q", "--from", "a:b.pdf:3", "--from", "c.pdf:1"])
    assert client.calls[0]["from_pages"] == [["a:b.pdf", 3], ["c.pdf", 1]]
    assert run(["ask", "q", "--from", "c.pdf"]) == 2
    assert "DOC:PAGE" in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_model_that_fails_leaves_the_pages_and_ends_in_1(client, capsys, as_json):
    client.events, client.answer = (), FAILED
    assert run(["ask", "q", *(["--json"] if as_json else [])]) == 1
    out, err = capsys.readouterr()
    assert "it took too long" in err
    if as_json:
        assert json.loads(out) == FAILED
        assert json.loads(err)["error"]["code"] == "chat_timeout"
    else:
        assert "report.pdf, page 2" in out
        assert "Wait." in err


STEERS = "m\x1b[31m\u202e\x9b2J"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_name_that_steers_a_terminal_reaches_none(client, capsys, as_json):
    said = {"code": "chat_refused", "message": f"no model {STEERS}", "next_step": ""}
    client.answer = FAILED | {"model_id": STEERS, "error": said}
    client.events = ()
    run(["ask", "q", *(["--json"] if as_json else [])])
    told = capsys.readouterr()
    assert not any(steers in told.out + told.err for steers in "\x1b\u202e\x9b")
    if as_json:
        assert json.loads(told.err)["error"] == said
        assert json.loads(told.out)["model_id"] == STEERS


def test_logs_are_for_people_and_leave_the_error_of_a_program_alone(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.delenv("OCTAVO_TRACEBACK", raising=False)
    logs.tell(as_json=True)
    logging.getLogger("rag.ask").warning("no answer by %s", STEERS)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(root, "handlers", [])
    logs.tell(as_json=False)
    logging.getLogger("rag.ask").warning("no answer by %s", STEERS)
    told = capsys.readouterr().err
    assert told.startswith("no answer by m")
    assert not any(steers in told for steers in "\x1b\u202e\x9b")


def test_arithmetic_is_shown_with_its_formula(client, capsys):
    worked = {"formula": "a - b", "expression": "5 - 3", "value": 2.0}
    client.answer = ANSWER | {"claims": [{**CLAIM, "calculation": worked}]}
    run(["ask", "q"])
    assert "worked out: a - b: 5 - 3 = 2" in capsys.readouterr().out


def test_what_was_seen_and_not_read_says_so(client, capsys):
    seen = CITATION | {"quote": "", "verified": False, "visual": True, "boxes": []}
    client.answer = ANSWER | {"citations": [seen]}
    run(["ask", "q"])
    out = capsys.readouterr().out
    assert "[1] report.pdf, page 2 (seen in the image)" in out
    assert "not verified" not in out


def test_the_last_line_says_how_sure_the_answer_is(client, capsys):
    run(["ask", "q"])
    assert "says, confidence 0.97, 40 ms" in capsys.readouterr().err
    client.events, client.answer = (), FAILED
    run(["ask", "q"])
    assert "says, 40 ms" in capsys.readouterr().err


def test_a_picture_that_there_is_nothing_to_draw_for_is_named(client, capsys, tmp_path):
    client.answer = ANSWER | {"citations": [], "claims": [], "abstained": True}
    assert run(["ask", "q", "--heatmap", str(tmp_path / "cited.png")]) == 0
    assert "cited.png is not written" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["ask", "search"])
def test_a_question_word_by_word_is_to_be_quoted(client, capsys, command):
    assert run([command, "what", "was", "revenue"]) == 2
    assert f'Quote the question, as in octavo {command} "' in capsys.readouterr().err
    run([command, "revenue", "--bogus"])
    assert "Quote" not in capsys.readouterr().err


def test_pages_are_said_to_count_from_1(client, capsys):
    assert run(["ask", "q", "--from", "big.pdf:0"]) == 2
    assert "a page from 1" in capsys.readouterr().err


# --- chat ---------------------------------------------------------------------------------------
def test_every_line_is_a_question_of_one_conversation(client, capsys, monkeypatch):
    said(monkeypatch, "first\n\n  second  \n/quit\nthird\n")
    assert run(["chat", "--policy", "flag"]) == 0
    assert [call["question"] for call in client.calls] == ["first", "second"]
    assert [call["conversation"] for call in client.calls] == [None, "c1"]
    assert client.calls[0]["answering"] == {"policy": "flag"}
    assert "octavo chat --conversation c1" in capsys.readouterr().err


def test_a_question_that_cannot_be_asked_does_not_end_the_talk(client, capsys, monkeypatch):
    said(monkeypatch, "bad one\ngood one\n")
    assert run(["chat", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["conversation_id"] == "c1"
    assert "no such question" in err


def test_a_conversation_is_gone_on_with(client, monkeypatch):
    said(monkeypatch, "more\n")
    run(["chat", "--conversation", "c7"])
    said(monkeypatch, "more\n")
    run(["chat", "--continue"])
    assert [call["conversation"] for call in client.calls] == ["c7", "c9"]


@pytest.mark.parametrize("flags", [["--conversation", "c5"], ["--continue"]])
@pytest.mark.parametrize("other", ["other", "default"])
def test_a_conversation_about_another_collection_is_refused(
    client, capsys, monkeypatch, flags, other
):
    client.conversations = lambda: {"conversations": [client.conversation(conversation="c5")]}
    said(monkeypatch, "more\n")
    assert run(["chat", *flags, "-c", other]) == 1
    assert "'tides'" in capsys.readouterr().err
    assert client.calls == []
    for named in ([], ["-c", "tides"]):
        said(monkeypatch, "more\n")
        assert run(["chat", *flags, *named]) == 0
    assert [call["collection"] for call in client.calls] == ["tides", "tides"]


def test_a_collection_that_is_not_there_is_told_before_a_question(client, capsys, monkeypatch):
    said(monkeypatch, "")
    assert run(["chat", "-c", "nope"]) == 1
    assert "no collection 'nope'" in capsys.readouterr().err


def test_a_talk_ends_with_its_conversation(client, capsys, monkeypatch):
    def questions():
        yield "first\n"
        client.gone.add("c1")
        yield "second\n"
        yield "third\n"

    lines = questions()
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "readline", lambda: next(lines), raising=False)
    assert run(["chat", "--json"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert [json.loads(each)["error"]["code"] for each in err.splitlines()] == [
        "unknown_conversation"
    ]


def test_a_conversation_that_was_deleted_after_its_last_question_is_not_kept(
    client, capsys, monkeypatch
):
    client.gone.add("c1")
    said(monkeypatch, "first\n")
    assert run(["chat"]) == 0
    assert "Kept" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("questions", "way_on"),
    [
        ("first\nstop\n", "octavo chat --conversation c1 goes on from there."),
        ("stop\n", "`octavo chat` begins a new conversation."),
    ],
)
def test_who_interrupts_a_talk_is_told_how_to_go_on(client, capsys, monkeypatch, questions, way_on):
    said(monkeypatch, questions)
    assert run(["chat"]) == 130
    assert way_on in capsys.readouterr().err


def test_an_input_that_cannot_be_read_is_said(client, capsys, tmp_path, monkeypatch):
    with (tmp_path / "written").open("w") as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert run(["chat", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "input_unreadable"


def test_bytes_that_are_no_text_do_not_end_a_talk(client, monkeypatch):
    raw = io.BytesIO(b"r\xe9venue\nsecond\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw, encoding="utf-8"))
    assert run(["chat"]) == 0
    assert [call["question"] for call in client.calls] == ["r\udce9venue", "second"]


def test_conversations_are_named_shown_and_deleted(client, capsys):
    assert run(["chat", "--list"]) == 0
    out = capsys.readouterr().out
    assert "c9" in out
    assert "About tides" in out
    assert run(["chat", "--show", "c9"]) == 0
    out = capsys.readouterr().out
    assert out.index("> q") < out.index("It brought 90.3 [1].") < out.index("report.pdf, page 2")
    assert run(["chat", "--delete", "c9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": "c9"}


@pytest.mark.parametrize(
    "flags", [["--list", "--show", "c9"], ["--conversation", "c9", "--continue"]]
)
def test_flags_that_exclude_each_other_are_a_mistake_of_usage(client, flags):
    assert run(["chat", *flags]) == 2


# --- doctor -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sets", "is_usable", "said"),
    [
        (["answer.model=chat"], False, "there is no chat model"),
        (["answer.model=chat", "chat.model=m", "chat.provider=nobody"], False, "nobody"),
        (
            ["answer.model=chat", "chat.model=m", "chat.provider=azure_openai"],
            False,
            "azure_openai cannot be used",
        ),
        (["chat.model=m", "chat.provider=nobody"], True, "nobody"),
    ],
)
def test_doctor_says_whether_the_chat_model_can_be_asked(
    sets, is_usable, said, capsys, tmp_path, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    flags = [part for each in sets for part in ("--set", each)]
    run(["doctor", "--json", "--data-dir", str(tmp_path), *flags])
    found = json.loads(capsys.readouterr().out)
    assert found["usable"] is is_usable
    (check,) = [each for each in found["checks"] if each["name"] == "chat model"]
    assert not check["ok"]
    assert said in check["detail"]
