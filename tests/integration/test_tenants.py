"""A chat model that knows the pages of others, and a reader who may not see them."""

import json

import pytest
from servers import ChatServer, serving

from rag.apps.service import Service
from rag.settings import load_settings
from rag.testing.pdfs import make_pdf
from rag.types import Principal
from rag.wiring import Engine

SECRET = "The bid of Acme Works is 4,711 euros."
PUBLIC = "The harbour tender closes on 3 May 2024."


def claim(text, evidence, quote):
    source = {"evidence": evidence, "quote": quote}
    return {"text": text, "sources": [source], "formula": "", "expression": ""}


def reply(*claims):
    return json.dumps(
        {"abstained": False, "reason": "", "claims": list(claims), "short": "4,711 euros"}
    )


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tenants")
    with Engine(
        load_settings(overrides={"store": {"data_dir": folder / "data"}}, environ={})
    ) as engine:
        for name, text, readers in (
            ("secret.pdf", SECRET, ["user:ann"]),
            ("public.pdf", PUBLIC, ["*"]),
        ):
            (folder / name).write_bytes(make_pdf([text]))
            Service(engine, Principal.owner()).ingest(
                paths=[folder / name], collection="bids", readers=readers
            )
    return folder


def asked(folder, subject, said, **options):
    """The answer to somebody whose chat model says `said`, the events, and what it was shown."""
    heard = []
    with serving(ChatServer(lambda _: said)) as served:
        settings = load_settings(
            overrides={
                "store": {"data_dir": folder / "data"},
                "answer": {"model": "chat"},
                "chat": {"url": f"{served.url}/v1", "model": "tiny-chat"},
            },
            environ={},
        )
        with Engine(settings) as engine:
            answer = Service(engine, Principal(subject)).ask(
                question="What does Acme Works bid for the harbour?",
                collection="bids",
                on_event=heard.append,
                **options,
            )
        shown = json.dumps([request.body for request in served.requests])
    return answer, heard, shown


@pytest.mark.parametrize("evidence", [1, 2, 7])
@pytest.mark.parametrize("policy", ["strict", "flag"])
def test_a_page_that_somebody_may_not_see_is_neither_shown_nor_cited(folder, evidence, policy):
    said = reply(claim("The bid is 4,711 euros.", evidence, SECRET))
    answer, heard, shown = asked(folder, "bob", said, answering={"policy": policy})
    assert "4,711" not in shown
    assert "secret.pdf" not in shown
    assert "harbour tender" in shown
    assert answer["citations"] == []
    assert [page["source"] for page in answer["pages"]] == ["public.pdf"]
    assert not [event for event in heard if event["event"] == "citation"]
    assert answer["claims"][0]["state"] == "unsupported"
    if policy == "strict":
        assert answer["abstained"]
        assert "4,711" not in answer["answer"]


def test_who_may_see_it_gets_it_cited(folder):
    said = reply(claim("The bid is 4,711 euros.", 1, SECRET))
    answer, _, shown = asked(folder, "ann", said, documents=["secret.pdf"])
    assert SECRET.split()[-2] in shown
    assert [citation["source"] for citation in answer["citations"]] == ["secret.pdf"]
    assert answer["short"] == "4,711 euros"
