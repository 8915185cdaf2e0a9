"""Answers of chat models that speak through their own packages of LangChain, over a real socket."""

import json

import pytest
from langchain_openai import ChatOpenAI
from servers import ChatServer, serving

from rag import Octavo
from rag.errors import DataFolderBusy, InputError
from rag.settings import load_settings
from rag.testing.pdfs import make_pdf

QUOTE = "The north harbour earned 1,377 euros in 2022."
REPLY = {
    "abstained": False,
    "reason": "",
    "claims": [
        {
            "text": "The north harbour earned 1,377 euros in 2022.",
            "sources": [{"evidence": 1, "quote": QUOTE}],
            "formula": "",
            "expression": "",
        }
    ],
    "short": "1,377 euros",
}


@pytest.fixture(name="settings", scope="module")
def _settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("langchain")
    (folder / "harbour.pdf").write_bytes(make_pdf([QUOTE, "The keeper is Ada Brown."]))
    settings = load_settings(overrides={"store": {"data_dir": folder / "data"}}, environ={})
    with Octavo(settings=settings) as octavo:
        octavo.ingest(folder / "harbour.pdf")
    return settings


def chat_openai(url):
    return ChatOpenAI(model="tiny-chat", base_url=f"{url}/v1", api_key="sesame", max_retries=0)


def test_any_chat_model_of_langchain_answers_with_checked_citations(settings):
    with serving(ChatServer(lambda _: json.dumps(REPLY), key="sesame")) as served:
        with Octavo(settings=settings, chat_model=chat_openai(served.url)) as octavo:
            heard = []
            found = octavo.ask("What did the north harbour earn?", on_event=heard.append)
        (request,) = [each.body for each in served.requests]
    assert found.text.startswith(QUOTE[:-1])
    assert "[1]" in found.text
    assert found.citations[0]["verified"]
    assert found.citations[0]["boxes"]
    assert found.response["model_id"] == "tiny-chat"
    assert {event["event"] for event in heard} >= {"search_results", "delta", "citation", "claim"}
    # Held to the shape, with page text and pixels in OpenAI's own form.
    assert request["response_format"]["type"] == "json_schema"
    assert request["stream"] is True
    parts = [
        part
        for each in request["messages"]
        if isinstance(each["content"], list)
        for part in each["content"]
    ]
    assert {part["type"] for part in parts} == {"text", "image_url"}


def test_a_server_that_refuses_leaves_the_pages(settings):
    with (
        serving(ChatServer(lambda _: "", key="another")) as served,
        Octavo(settings=settings, chat_model=chat_openai(served.url)) as octavo,
    ):
        found = octavo.ask("What did the north harbour earn?")
    assert found.error["code"] == "chat_refused"
    assert "sesame" not in found.error["message"]
    assert found.pages


def test_the_model_of_one_process_is_not_taken_for_another(settings):
    model = chat_openai("http://127.0.0.1:1")
    with Octavo(settings=settings), pytest.raises(DataFolderBusy, match="chat model of this one"):
        Octavo(settings=settings, chat_model=model)


def test_what_is_no_chat_model_is_refused(settings):
    with pytest.raises(InputError, match="got str"):
        Octavo(settings=settings, chat_model="gpt")
