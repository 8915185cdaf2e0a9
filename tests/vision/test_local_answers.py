"""Answers of a chat model in this process, from a PDF to a checked citation."""

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from rag import Octavo
from rag.settings import load_settings
from rag.testing.pdfs import make_pdf
from rag.testing.tiny_chat import make_chat

QUOTE = "The north harbour earned 1,377 euros in 2022."
QUESTION = "What did the north harbour earn?"
# What the model says, none of its pieces twice. Each but the first begins where more than one thing
# may follow: what is certain is written in the vocabulary's own way.
PIECES = (
    '{"abstained": ',
    'false, "reason": "',
    '", "claims": [{"text": "The north',
    " harbour earned 1,377 euros in 2022.",
    '", "sources": [{"evidence": 1, "quote": "The nor',
    "th harbour earned 1,377 euros in",
    ' 2022."}], "formula": "',
    '", "expression": "',
    '"}], "short": "1,377 euros"}',
)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    (folder / "harbour.pdf").write_bytes(make_pdf([QUOTE, "The keeper is Ada Brown."]))
    with Octavo(settings=settings(folder)) as octavo:
        octavo.ingest(folder / "harbour.pdf")
    return folder


def settings(folder, model=None, **answer):
    chat = {"provider": "local", "model": str(model), "device": "cpu"}
    chosen = {"store": {"data_dir": folder / "data"}}
    if model is not None:
        chosen |= {"chat": chat, "answer": {"model": "chat", **answer}}
    return load_settings(overrides=chosen, environ={})


@pytest.mark.parametrize("family", ["Qwen2_5VL", "Qwen3VL", "Qwen2"])
def test_what_a_local_model_says_is_an_answer_with_a_checked_citation(folder, tmp_path, family):
    model = make_chat(family, tmp_path / "harbour-chat", says=PIECES)
    heard = []
    with Octavo(settings=settings(folder, model)) as octavo:
        found = octavo.ask(QUESTION, on_event=heard.append)
    assert found.text.startswith(QUOTE[:-1])
    assert "[1]" in found.text
    assert found.citations[0]["verified"]
    assert found.citations[0]["boxes"]
    assert found.response["model_id"] == "harbour-chat"
    assert {event["event"] for event in heard} >= {"search_results", "delta", "citation", "claim"}


def test_nonsense_is_an_error_with_a_name_and_the_pages_stay(folder, tmp_path):
    model = make_chat("Qwen3VL", tmp_path / "babbler")
    with Octavo(settings=settings(folder, model, max_tokens=64)) as octavo:
        found = octavo.ask(QUESTION)
    assert found.error["code"] == "answer_bad_reply"
    assert found.pages


def test_pages_that_are_too_many_for_the_model_are_told_as_such(folder, tmp_path):
    model = make_chat("Qwen3VL", tmp_path / "short", positions=256)
    with Octavo(settings=settings(folder, model)) as octavo:
        found = octavo.ask(QUESTION)
    assert found.error["code"] == "too_much_to_say"
    assert "256 positions" in found.error["message"]
    assert found.pages
