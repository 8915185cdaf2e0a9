"""A process that is set to another encoder than the folder's owner is refused, not answered."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rag.apps.connection import Connection
from rag.apps.requests import answer_request, request_params
from rag.errors import ConfigError, IndexMismatch
from rag.settings import load_settings
from rag.testing import make_pdf

OCTAVO = Path(sys.executable).with_name("octavo")


def settings(folder: Path, **encoder):
    overrides = {"store": {"data_dir": folder / "data"}, "encoder": encoder}
    return load_settings(overrides={**overrides, "render": {"workers": 1}}, environ={})


class Recorder:
    """Stands where the service does."""

    def __init__(self, asked_with):
        self.settings = asked_with

    def search(self, **params):
        return params

    def status(self):
        return {}


@pytest.mark.parametrize("method", ["search", "ask", "chat", "page_png"])
@pytest.mark.parametrize(
    "asked", [{"name": "colpali", "model": "acme/one"}, {"name": "remote", "url": "http://x"}]
)
def test_another_encoder_is_refused_and_both_are_named(tmp_path, asked, method):
    handle = answer_request(Recorder(settings(tmp_path)))
    sent = request_params(method, {}, settings(tmp_path, **asked))
    with pytest.raises(IndexMismatch, match=r"encodes by words, and") as refused:
        handle(method, sent, print)
    assert asked["name"] in refused.value.message


def test_who_names_no_encoder_is_answered_by_the_owners(tmp_path):
    handle = answer_request(Recorder(settings(tmp_path, name="colpali", model="acme/one")))
    assert handle("search", request_params("search", {}, settings(tmp_path)), print) == {}
    words = settings(tmp_path, name="words")
    with pytest.raises(IndexMismatch, match="words was asked for"):
        handle("search", request_params("search", {}, words), print)


def test_the_same_encoder_and_what_needs_none_are_answered(tmp_path):
    handle = answer_request(Recorder(settings(tmp_path)))
    sent = request_params("search", {"query": "q"}, settings(tmp_path, name="words"))
    assert handle("search", sent, print) == {"query": "q"}
    other = settings(tmp_path, name="colpali", model="acme/one")
    assert handle("status", request_params("status", {}, other), print) == {}


def test_a_folder_named_in_two_ways_is_one_model(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    handle = answer_request(Recorder(settings(tmp_path, name="colpali", model="model")))
    absolute = settings(tmp_path, name="colpali", model=str(tmp_path / "model"))
    assert handle("search", request_params("search", {}, absolute), print) == {}


def test_a_real_process_with_another_encoder_is_refused_while_this_one_owns_the_folder(tmp_path):
    (tmp_path / "a.pdf").write_bytes(make_pdf(["Otters eat crab."]))
    with Connection(settings(tmp_path), command="test") as octavo:
        octavo.ingest([tmp_path / "a.pdf"])
        command = [str(OCTAVO), "search", "otters", "--data-dir", str(tmp_path / "data")]
        done = subprocess.run(
            [*command, "--encoder", "colpali:acme/one"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "colpali:acme/one was asked for" in " ".join(done.stderr.split())
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0


# --- search settings ----------------------------------------------------------------------------
def told(folder: Path, **sections):
    overrides = {"store": {"data_dir": folder / "data"}, "render": {"workers": 1}, **sections}
    return load_settings(overrides=overrides, environ={})


def test_search_settings_that_were_set_go_along_with_searches_and_questions_alone(tmp_path):
    asking = told(tmp_path, retrieval={"fusion": "rrf", "weights": {"words": 2}})
    changes = {"fusion": "rrf", "weights": {"words": 2.0}}
    for method in ("search", "ask"):
        assert request_params(method, {"query": "q"}, asking) == {
            "query": "q",
            "retrieval": changes,
        }
    assert request_params("status", {}, asking) == {}
    assert request_params("search", {}, told(tmp_path)) == {}


def test_what_a_request_changes_itself_goes_before_what_its_process_was_told(tmp_path):
    asking = told(tmp_path, retrieval={"fusion": "rrf", "weights": {"words": 2}})
    given = {"retrieval": {"weights": {"dense": 3}, "fusion": "ucmr"}}
    sent = request_params("search", given, asking)["retrieval"]
    assert sent == {"fusion": "ucmr", "weights": {"words": 2.0, "dense": 3}}


def test_a_key_stays_in_its_process(tmp_path):
    asking = told(
        tmp_path,
        retrieval={"rerank": {"method": "http", "api_key": "sesame"}},
        chat={"model": "m", "api_key": "sesame"},
    )
    given = {"retrieval": {"rerank": {"api_key": "sesame"}}}
    for params in ({}, given):
        sent = request_params("search", params, asking)
        assert sent["retrieval"] == {"rerank": {"method": "http"}}
        assert "api_key" not in str(sent)
        assert "sesame" not in str(sent)


def test_a_folder_with_a_reranker_is_found_from_the_owners_folder_too(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    asking = told(tmp_path, retrieval={"rerank": {"method": "cross_encoder", "model": "model"}})
    sent = request_params("search", {}, asking)["retrieval"]["rerank"]
    assert sent == {"method": "cross_encoder", "model": str(tmp_path / "model")}
    on_the_hub = told(tmp_path, retrieval={"rerank": {"model": "acme/one"}})
    assert request_params("search", {}, on_the_hub)["retrieval"]["rerank"]["model"] == "acme/one"


@pytest.mark.parametrize("method", ["ask", "chat"])
def test_what_a_process_was_told_of_answers_holds_for_its_question(tmp_path, method):
    asking = told(tmp_path, answer={"answer_pages": 9, "policy": "flag"})
    sent = request_params(method, {"answering": {"policy": "strict"}}, asking)
    assert sent == {"answering": {"answer_pages": 9, "policy": "strict"}}
    assert request_params("search", {}, asking) == {}


def test_another_chat_model_is_refused_by_name(tmp_path):
    handle = answer_request(Recorder(told(tmp_path, chat={"model": "ours"})))
    assert handle("search", request_params("search", {}, told(tmp_path)), print) == {}
    same = told(tmp_path, chat={"model": "ours", "timeout_s": 9})
    assert handle("search", request_params("search", {}, same), print) == {}
    with pytest.raises(ConfigError, match=r"chat\.model") as refused:
        handle(
            "search", request_params("search", {}, told(tmp_path, chat={"model": "theirs"})), print
        )
    assert refused.value.code == "other_settings"


def test_an_owner_searches_as_the_asking_process_was_told(tmp_path):
    source = tmp_path / "notes.pdf"
    source.write_bytes(make_pdf([f"Lines about lighthouse {i}." for i in range(3)]))
    asking = told(tmp_path, retrieval={"fusion": "rrf"})
    with Connection(told(tmp_path), command="owner").open() as owner:
        owner.ingest([source])
        plain = owner.search("lighthouse")
        assert len(owner.search("lighthouse", retrieval={"top_k": 1})["hits"]) == 1
        process = subprocess.run(
            [
                *(OCTAVO, "search", "lighthouse", "--data-dir", tmp_path / "data", "--json"),
                *("--set", "retrieval.fusion=rrf"),
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
    with Connection(asking, command="alone") as alone:
        expected = alone.search("lighthouse")
    found = json.loads(process.stdout)
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == [hit["score"] for hit in expected["hits"]]
    assert scores != [hit["score"] for hit in plain["hits"]]
