"""A question through the service: what comes back and what is told meanwhile, in its shapes."""

import json
import subprocess

import pytest
from commands import OCTAVO

from rag.apps.connection import Connection
from rag.errors import ConfigError, InputError, RagError
from rag.settings import load_settings
from rag.testing.pdfs import make_pdf

PAGES = [
    "The north harbour earned 1,204 euros in 2021.",
    "The lighthouse keeper is Ada Brown.",
]
QUESTION = "What did the north harbour earn in 2021?"
# As programs read `ask --json`; more may be there.
ANSWER = {
    "question": str,
    "answer": str,
    "abstained": bool,
    "model_id": str,
    "citations": list,
    "unsupported": list,
    "pages": list,
    "timings_ms": dict,
    "encoder": str,
    "warnings": list,
}
CITATION = {
    "marker": int,
    "document_id": str,
    "source": str,
    "page_number": int,
    "quote": str,
    "boxes": list,
    "verified": bool,
}
PAGE = {"document_id": str, "source": str, "page_number": int, "score": float}


@pytest.fixture(name="settings", scope="module")
def _settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asking")
    (folder / "harbour.pdf").write_bytes(make_pdf(PAGES))
    settings = load_settings(overrides={"store": {"data_dir": folder / "data"}}, environ={})
    with Connection(settings, command="test") as connection:
        connection.ingest([folder / "harbour.pdf"])
    return settings


def assert_has(shown, shape):
    assert {name: type(shown[name]) for name in shape} == shape


def test_an_answer_has_the_shape_that_programs_rely_on(settings):
    events = []
    with Connection(settings, command="test") as connection:
        answer = connection.ask(QUESTION, on_event=events.append)
    assert_has(answer, ANSWER)
    assert (answer["question"], answer["abstained"]) == (QUESTION, False)
    (citation,) = answer["citations"]
    assert_has(citation, CITATION)
    assert (citation["page_number"], citation["quote"], citation["marker"]) == (1, PAGES[0], 1)
    assert f"[{citation['marker']}]" in answer["answer"]
    assert all(len(box) == 4 for box in citation["boxes"])
    for page in answer["pages"]:
        assert_has(page, PAGE)
    assert answer["timings_ms"].keys() >= {"evidence", "answer", "total"}
    assert [event["event"] for event in events] == ["search_results", "delta", "citation", "claim"]
    assert events[0]["pages"] == answer["pages"]
    assert events[2] == {"event": "citation", **citation}


@pytest.mark.parametrize(
    ("scope", "is_inside"),
    [
        ({"documents": ["harbour.pdf"]}, True),
        ({"pages": (1, 1), "filters": {"source": "harbour.pdf"}}, True),
        ({"pages": (2, 3)}, False),
        ({"filters": {"year": 2023}}, False),
    ],
)
def test_pages_to_answer_from_are_within_what_is_asked(settings, scope, is_inside):
    with Connection(settings, command="test") as connection:
        if is_inside:
            answer = connection.ask(QUESTION, from_pages=[["harbour.pdf", 1]], **scope)
            assert [page["page_number"] for page in answer["pages"]] == [1]
            return
        with pytest.raises(InputError, match=r"page 1 of harbour\.pdf") as refused:
            connection.ask(QUESTION, from_pages=[["harbour.pdf", 1]], **scope)
    assert refused.value.code == "page_out_of_scope"


@pytest.mark.parametrize("command", [["ask", QUESTION], ["chat"]], ids=["ask", "chat"])
def test_another_process_hears_the_same_of_the_owner_of_the_folder(settings, command):
    flags = ["--data-dir", str(settings.store.data_dir), "--json", "--stream"]
    with Connection(settings, command="owner") as owner:
        answer = owner.ask(QUESTION)
        done = subprocess.run(
            [str(OCTAVO), *command, *flags],
            input=f"{QUESTION}\n",
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    told = ["search_results", "delta", "citation", "claim", "done"]
    assert [event["event"] for event in events] == told
    assert events[-1]["citations"] == answer["citations"]


def test_a_question_is_searched_as_its_options_say(settings):
    with Connection(settings, command="test") as connection:
        scoped = connection.ask(QUESTION, pages=[2, 2])
        assert [page["page_number"] for page in scoped["pages"]] == [2]
        follow_up = connection.ask("And in 2022?", history=[[QUESTION]])
        assert follow_up["searched_for"] != follow_up["question"]
        assert "searched_for" not in scoped
        timings = {
            mode: connection.ask(QUESTION, mode=mode)["timings_ms"].keys()
            for mode in ("text", "visual")
        }
    assert timings["text"] != timings["visual"]


@pytest.mark.parametrize(
    "option", [{"mode": "x"}, {"answering": {"policy": "x"}}, {"history": ["x"]}], ids=str
)
def test_an_option_that_is_none_is_an_error_of_whoever_asks(settings, option):
    with Connection(settings, command="test") as connection:
        with pytest.raises(RagError) as caught:
            connection.ask(QUESTION, **option)
        assert isinstance(caught.value, InputError | ConfigError)
        assert caught.value.next_step
        if "mode" in option:
            with pytest.raises(InputError):
                connection.search(QUESTION, **option)


def test_a_question_that_fails_names_its_pages_and_is_not_kept(settings):
    broken = {"url": "http://127.0.0.1:9/v1", "model": "m", "tries": 1}
    told = load_settings(
        overrides={
            "store": {"data_dir": settings.store.data_dir},
            "chat": broken,
            "answer": {"model": "chat"},
        },
        environ={},
    )
    with Connection(told, command="test") as connection:
        kept = connection.conversations()
        failed = connection.chat(QUESTION)
        assert failed["error"]["code"] == "chat_unreachable"
        assert failed["error"]["next_step"]
        assert (failed["answer"], failed["abstained"], failed["citations"]) == ("", True, [])
        assert [page["source"] for page in failed["pages"]] == ["harbour.pdf"] * 2
        assert failed["conversation_id"] is None
        assert connection.conversations() == kept
