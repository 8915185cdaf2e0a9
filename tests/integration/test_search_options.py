"""What `octavo search` and `octavo ask` can be told of how to search, as users tell it.

One process holds the folder, and commands ask it: so each also shows that settings reach it.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from commands import Commands
from servers import Reply, Request, serving

from rag import Octavo
from rag.apps.cli.app import run
from rag.errors import ConfigError
from rag.settings import RetrievalSettings, load_settings
from rag.testing import make_pdf

SHIPS = [
    "ferries",
    "tugs",
    "liners",
    "tankers",
    "yachts",
    "trawlers",
    "barges",
    "boats",
    "sloops",
    "junks",
]
ACME = [
    "# Acme annual report\nAcme revenue was 5 million in 2021.",
    "# Acme people\nThe auditor of Acme was Brown and Partners.",
    *(f"# Harbour\nThe harbour fee was raised for {ships}." for ships in SHIPS),
]
BOEING = [
    "# Boeing annual report\nBoeing revenue was 70 billion in 2022.",
    "# Boeing people\nThe auditor of Boeing was Green and Sons.",
    "# Boeing factory\nFactories in Everett build aircraft.",
]
AUDITOR = "Who was the auditor of Boeing?"
PORT = "harbour fee of Acme ships, not factories"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    (folder / "acme.pdf").write_bytes(make_pdf(ACME))
    (folder / "boeing.pdf").write_bytes(make_pdf(BOEING))
    return folder


@pytest.fixture(scope="module")
def owner(folder: Path) -> Iterator[Octavo]:
    overrides = {"store": {"data_dir": folder / "data"}, "retrieval": {"device": "cpu"}}
    with Octavo(settings=load_settings(overrides=overrides, environ={})) as opened:
        opened.ingest(folder / "acme.pdf", metadata={"year": 2021})
        opened.ingest(folder / "boeing.pdf", metadata={"year": 2022})
        yield opened


@pytest.fixture(scope="module")
def octavo(folder: Path, owner: Octavo) -> Commands:
    return Commands(folder / "data")


def told(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", f"retrieval.{setting}")]


def places(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(hit["source"], hit["page_number"]) for hit in answer["hits"]]


def codes(answer: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in answer["warnings"]]


def people_read(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints where nobody asks for JSON."""
    assert run([*arguments, "--data-dir", str(folder / "data"), "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    return captured.out + captured.err


def by_words(request: Request) -> Reply:
    """Relevance 1 for texts with a word of the question that is not everywhere, else 0."""
    wanted = {word.strip("?.").lower() for word in request.body["query"].split()}
    wanted &= {"auditor", "revenue", "factories"}
    scores = [float(bool(wanted & set(t.lower().split()))) for t in request.body["documents"]]
    return Reply({"results": [{"index": i, "relevance_score": s} for i, s in enumerate(scores)]})


@pytest.fixture(scope="module")
def reranker() -> Iterator[str]:
    with serving(by_words) as served:
        yield served.url


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# --- how a question is read ---------------------------------------------------------------------
def test_a_follow_up_is_read_with_what_was_asked_before(octavo):
    after = ("--after", "What was Boeing's revenue in 2021?")
    found = octavo("search", "and in 2022?", *after)
    assert found["query"] == "and in 2022?"
    assert found["searched_for"] == "What was Boeing's revenue in 2022?"
    assert places(found)[0] == ("boeing.pdf", 1)
    assert codes(found) == ["follow_up"]
    answer = octavo("ask", "and in 2022?", *after)
    assert "70 billion" in answer["answer"]
    assert answer["searched_for"] == found["searched_for"]
    as_asked = octavo("search", "and in 2022?", *after, *told("wording.dialogue=none"))
    assert "searched_for" not in as_asked


def test_both_parts_of_a_question_find_their_page(octavo):
    question = "What was Acme's revenue in 2021 and who was Boeing's auditor?"
    by_rules = told("wording.decompose=rules")
    found = octavo("search", question, "-k", "2", *by_rules)
    assert sorted(places(found)) == [("acme.pdf", 1), ("boeing.pdf", 2)]
    assert len(found["parts"]) == 2
    assert codes(found) == ["decomposed"]
    assert "parts" in [stage["name"] for stage in found["stages"]]
    assert "parts" not in octavo("search", question)


def test_what_wants_no_document_is_not_searched_for(octavo, folder, capsys):
    by_rules = told("route.method=rules")
    found = octavo("search", "Hello!", "--explain", *by_rules)
    assert (found["hits"], found["route"], codes(found)) == ([], "none", ["route_none"])
    answer = octavo("ask", "Hello!", *by_rules)
    assert answer["abstained"]
    assert "nothing was searched" in answer["answer"]
    read = people_read(folder, capsys, "search", "Hello!", "--explain", *by_rules)
    assert "No page was found." in read
    assert "nothing was searched" in read


# --- what is looked for -------------------------------------------------------------------------
def test_a_page_is_found_by_its_number(octavo):
    where = ("What is on page 7?", "--doc", "acme.pdf", "-k", "3")
    assert places(octavo("search", *where))[0] == ("acme.pdf", 7)
    # Where not every page is scored, it is a candidate by its number.
    few = told("scan_pages=0", "leg_candidates=3", "document_candidates=3", "exact_pages=1")
    assert ("acme.pdf", 7) in places(octavo("search", *where, *few))
    ignored = octavo("search", *where, *few, *told("context.named_page=0"))
    assert ("acme.pdf", 7) not in places(ignored)


def test_documents_are_found_with_their_best_pages(octavo, folder, capsys):
    found = octavo("search", AUDITOR, "--granularity", "document")
    best, other = found["documents"]
    assert (best["rank"], best["source"], other["source"]) == (1, "boeing.pdf", "acme.pdf")
    assert best.keys() == {"rank", "document_id", "source", "score", "pages"}
    assert best["pages"][0] == {"page_number": 2, "score": best["score"]}
    assert places(found)[0] == ("boeing.pdf", 2)
    assert len(found["hits"]) == 2
    assert "documents" not in octavo("search", AUDITOR)
    read = people_read(folder, capsys, "search", AUDITOR, "--granularity", "document")
    assert "boeing.pdf, page 2, " in read


@pytest.mark.parametrize("narrowed", [("--doc", "acme.pdf"), ("--filter", "year=2021")])
def test_documents_are_looked_for_where_one_says(octavo, narrowed):
    found = octavo("search", AUDITOR, "--granularity", "document", *narrowed)
    assert [document["source"] for document in found["documents"]] == ["acme.pdf"]
    assert places(found) == [("acme.pdf", 2)]


def test_so_many_documents_as_were_asked_for(octavo):
    found = octavo("search", AUDITOR, "--granularity", "document", "-k", "1")
    assert [document["source"] for document in found["documents"]] == ["boeing.pdf"]


# --- who reads again ----------------------------------------------------------------------------
def test_a_server_puts_pages_into_its_order_and_explain_shows_what_it_said(
    octavo, folder, reranker, capsys
):
    http = told("rerank.method=http", f"rerank.url={reranker}")
    before = octavo("search", PORT)
    found = octavo("search", PORT, "--explain", *http)
    assert places(before)[0] != places(found)[0] == ("boeing.pdf", 3)
    assert [hit["scores"]["rerank"] for hit in found["hits"]] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert found["explain"]["hits"][0]["legs"]["rerank"] == {"score": 1.0, "rank": 1}
    read = people_read(folder, capsys, "search", PORT, "--explain", *http)
    assert " rerank" in read
    assert "1.000 #1" in read


def test_a_server_that_is_not_there_costs_seconds_and_no_page(octavo, nobody):
    before = octavo("search", AUDITOR)
    http = told("rerank.method=http", f"rerank.url={nobody}", "select.method=up_to_k")
    begin = time.monotonic()
    found = octavo("search", AUDITOR, *http)
    assert time.monotonic() - begin < 20  # it is tried again for 5 s
    assert places(found) == places(before)
    assert codes(found) == ["rerank_failed", "not_selected"]
    assert nobody.removeprefix("http://") in found["warnings"][0]["message"]


def test_only_pages_that_speak_to_the_question_come_back(octavo, reranker):
    up_to_k = told("rerank.method=http", f"rerank.url={reranker}", "select.method=up_to_k")
    found = octavo("search", "auditor", *up_to_k)
    assert sorted(places(found)) == [("acme.pdf", 2), ("boeing.pdf", 2)]
    assert codes(found) == ["not_relevant"]
    none = octavo("search", "zeppelin", *up_to_k)
    assert (none["hits"], codes(none)) == ([], ["not_relevant"])
    answer = octavo("ask", "zeppelin", *up_to_k)
    assert answer["abstained"]
    assert "below a relevance of 0.5" in answer["answer"]


# --- settings -----------------------------------------------------------------------------------
@pytest.mark.parametrize("fusion", get_args(RetrievalSettings.model_fields["fusion"].annotation))
def test_every_fusion_finds_the_page(octavo, fusion):
    found = octavo("search", AUDITOR, "-k", "50", *told(f"fusion={fusion}"))
    assert len(found["hits"]) == 15
    assert places(found)[0] == ("boeing.pdf", 2)
    match = [hit["score_normalized"] for hit in found["hits"]]
    assert all(0 <= each <= 1 for each in match)
    assert all(one >= other for one, other in pairwise(match))


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (("select.method=up_to_k",), "no_relevance", "retrieval.rerank.method"),
        (("rerank.method=http",), "bad_config", "retrieval.rerank.url"),
        (("route.method=chat",), "bad_config", "chat.url"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_what_to_do(octavo, settings, code, said):
    ended, printed = octavo.outcome("search", AUDITOR, *told(*settings))
    error = json.loads(printed.splitlines()[-1])["error"]
    assert (ended, error["code"]) == (1, code)
    assert said in error["next_step"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("fusionn=rrf",), "Did you mean retrieval.fusion?"),
        (("wording.decomposed=rules",), "retrieval.wording.decompose"),
        (("top_k=51",), "at most 50"),
        (("refine=gqr",), "retrieval.refine.method"),
        (('refine={"method": "gqr"}',), "is a section of settings"),
        (("rerank.api_key=x",), "OCTAVO_RETRIEVAL__RERANK__API_KEY"),
    ],
)
def test_a_setting_of_a_flag_that_cannot_be_is_a_mistake_of_usage(octavo, settings, said):
    ended, printed = octavo.outcome("search", AUDITOR, *told(*settings))
    error = json.loads(printed.splitlines()[-1])["error"]
    assert (ended, error["code"]) == (2, "usage")
    assert said in error["message"]
    assert error["next_step"] == "See octavo search --help."


def test_a_setting_of_the_environment_that_cannot_be_is_told_before_one_of_a_flag(
    octavo, monkeypatch
):
    monkeypatch.setenv("OCTAVO_RETRIEVAL__TOP_K", "0")
    ended, printed = octavo.outcome("search", AUDITOR, *told("code_bits=99"))
    error = json.loads(printed.splitlines()[-1])["error"]
    assert (ended, error["code"]) == (1, "bad_config")
    assert "retrieval.top_k" in error["message"]


def test_settings_of_one_search_are_not_those_of_the_next(owner):
    before = owner.search("auditor", top_k=3)
    ranks = owner.search("auditor", top_k=3, retrieval={"fusion": "rrf"})
    assert all(hit["score"] < 1 for hit in ranks)
    refined = owner.search("auditor", top_k=3, retrieval={"refine": {"method": "gqr"}})
    assert "refine" in refined.timings
    after = owner.search("auditor", top_k=3)
    assert [hit["score"] for hit in after] == [hit["score"] for hit in before]
    assert owner.search("auditor", retrieval={"top_k": 1}, top_k=3).response["hits"] == list(after)
    with pytest.raises(ConfigError) as caught:
        owner.search("auditor", retrieval={"weights": {"wordz": 1}})
    assert "retrieval.weights.words" in caught.value.next_step


def test_settings_reach_the_process_that_has_the_folder(octavo, owner):
    found = octavo.process("search", "Hello!", *told("route.method=rules", "fusion=rrf"))
    assert found["route"] == "none"
    assert owner.search("Hello!").response["hits"]


@pytest.mark.parametrize(
    "question",
    ["the of and", "a\0b auditor", "auditor? revenue?", " ".join(f"ship{n}" for n in range(1100))],
    ids=["stop words", "nul", "parts", "long"],
)
def test_everything_at_once(octavo, reranker, question):
    everything = told(
        "fusion=rrf",
        "wording.decompose=rules",
        "route.method=rules",
        "refine.method=gqr",
        "rerank.method=http",
        f"rerank.url={reranker}",
        "select.method=up_to_k",
        "select.threshold=0",
    )
    found = octavo("search", question, "-k", "50", *everything)
    assert len(found["hits"]) == 15
    assert found["query"] == question


def test_emoji_alone_are_no_words_and_that_is_said(octavo):
    error = octavo.refused("search", "\U0001f642 \U0001f6a2", *told("wording.decompose=rules"))
    assert error["code"] == "empty_query"
