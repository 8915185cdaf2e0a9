"""What `octavo search --explain --expect DOC:PAGE` says of a page that did not come back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import OCTAVO, Commands
from servers import Reply, Request, serving

from rag import Octavo
from rag.apps.cli.app import run
from rag.settings import load_settings
from rag.testing import make_pdf
from rag.types import Principal

PAGES = [
    "# Acme annual report\nAcme revenue was 5 million in 2021.",
    "# Acme people\nThe auditor of Acme was Brown and Partners.",
    "",
    *(f"# Harbour {n}\nThe harbour fee was raised for ships of kind {n}." for n in range(9)),
]
OTHER = ["# Boeing\nThe auditor of Boeing was Green and Sons.", "# Boeing\nFactories in Everett."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("expected")


@pytest.fixture(scope="module")
def owner(folder: Path) -> Iterator[Octavo]:
    (folder / "acme.pdf").write_bytes(make_pdf(PAGES))
    (folder / "boeing.pdf").write_bytes(make_pdf(OTHER))
    (folder / "short.pdf").write_bytes(make_pdf(["# Long\nfirst", "# Long\nsecond"]))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of the kind")
    overrides = {"store": {"data_dir": folder / "data"}, "retrieval": {"device": "cpu"}}
    with Octavo(settings=load_settings(overrides=overrides, environ={})) as opened:
        opened.ingest(folder / "acme.pdf", metadata={"year": 2021})
        opened.ingest(folder / "boeing.pdf", metadata={"year": 2022})
        opened.ingest(folder / "short.pdf")
        (folder / "short.pdf").write_bytes(make_pdf(["# Long\nfirst alone"]))
        opened.ingest(folder / "short.pdf")
        opened.ingest(folder / "broken.pdf")
        yield opened


@pytest.fixture(scope="module")
def octavo(folder: Path, owner: Octavo) -> Commands:
    return Commands(folder / "data")


def expected(octavo: Commands, page: str, *flags: str, query: str = "auditor") -> dict[str, Any]:
    found = octavo("search", query, "--explain", "--expect", page, *flags)
    return found["explain"]["expected"]


@pytest.mark.parametrize(
    ("page", "flags", "outcome", "said"),
    [
        ("acme.pdf:2", (), "returned", "came back at rank"),
        ("nobody.pdf:1", (), "unknown_document", "No document 'nobody.pdf'"),
        ("acme.pdf:99", (), "unknown_page", "acme.pdf has 12 pages, and no page 99"),
        ("acme.pdf:3", (), "page_blank", "Page 3 of acme.pdf is blank"),
        ("broken.pdf:1", (), "document_failed", "could not be ingested"),
        ("short.pdf:2", (), "version_replaced", "which had page 2, was replaced"),
        ("acme.pdf:2", ("--filter", "year=2022"), "filtered", "year $eq 2022"),
        ("acme.pdf:2", ("--doc", "boeing.pdf"), "filtered", "document_id"),
        ("acme.pdf:2", ("--pages", "5-7"), "filtered", "page_number $gte 5"),
        ("acme.pdf:9", ("-k", "2"), "below_cut", "the best 2 came back"),
    ],
)
def test_every_way_to_lose_a_page_is_named(octavo, page, flags, outcome, said):
    found = expected(octavo, page, *flags)
    assert found["outcome"] == outcome
    assert said in found["why"]


def test_only_the_filter_that_a_page_fails_is_named(octavo):
    found = expected(octavo, "acme.pdf:2", "--pages", "1-3", "--filter", "year=2022")
    assert found["by"] == ["year $eq 2022"]


def test_a_page_that_no_leg_handed_on_is_told_with_its_scores_and_those_of_the_last(octavo):
    few = ("scan_pages=0", "leg_candidates=1", "document_candidates=1", "top_documents=0")
    told = [part for setting in few for part in ("--set", f"retrieval.{setting}")]
    found = expected(octavo, "acme.pdf:8", "-k", "1", *told)
    assert (found["outcome"], found["rank"], found["candidate"]) == ("no_candidate", None, False)
    legs = found["legs_cut"]
    assert {"words", "patches"} <= legs.keys()
    assert legs["patches"]["handed_on"] == 1
    assert legs["patches"]["score"] < legs["patches"]["cut"]
    assert found["packed"]


def test_a_page_below_the_cut_is_told_with_its_rank_its_score_and_the_cut(octavo):
    found = expected(octavo, "acme.pdf:9", "-k", "2")
    assert found["rank"] > found["cut"]["rank"] == 2
    assert found["score"] < found["cut"]["score"]
    assert found["stage"] == "fusion"


def test_a_page_that_a_better_one_of_its_document_stands_for_is_told_so(octavo):
    found = expected(octavo, "boeing.pdf:2", "--granularity", "document")
    assert found["outcome"] == "same_document"


def test_a_page_that_was_not_relevant_enough_is_told_with_its_relevance(octavo):
    def by_words(request: Request) -> Reply:
        scores = [float("auditor" in text.lower()) for text in request.body["documents"]]
        return Reply(
            {"results": [{"index": i, "relevance_score": s} for i, s in enumerate(scores)]}
        )

    with serving(by_words) as served:
        http = ("rerank.method=http", f"rerank.url={served.url}", "select.method=up_to_k")
        told = [part for setting in http for part in ("--set", f"retrieval.{setting}")]
        found = expected(octavo, "acme.pdf:9", *told)
    assert (found["outcome"], found["relevance"], found["threshold"]) == ("not_relevant", 0.0, 0.5)


def test_a_question_that_wants_no_document_says_so_of_the_page(octavo):
    found = expected(octavo, "acme.pdf:2", "--set", "retrieval.route.method=rules", query="Hello!")
    assert found["outcome"] == "not_searched"


def test_what_one_may_not_see_is_told_in_the_words_of_what_is_not_there(owner):
    from rag.apps.service import Service

    stranger = Service(owner._connection._service._engine, Principal(subject="eve"))
    told = []
    for name in ("acme.pdf", "gone.pdf"):
        try:
            found = stranger.search(
                collection="default", top_k=3, query="x", explain=True, expect=(name, 2)
            )["explain"]["expected"]
            told.append({key: str(value).replace(name, "NAME") for key, value in found.items()})
        except Exception as error:  # noqa: BLE001  the class and words are compared
            told.append((type(error).__name__, str(error).replace(name, "NAME")))
    assert told[0] == told[1]


def test_a_document_on_its_way_in_is_not_published_yet(tmp_path):
    (tmp_path / "slow.pdf").write_bytes(make_pdf(["# One\none", "# Two\ntwo"]))
    (tmp_path / "first.pdf").write_bytes(make_pdf(["# First\nfirst"]))
    octavo = Commands(tmp_path / "data")
    octavo("ingest", str(tmp_path / "first.pdf"))
    killed = subprocess.run(
        [OCTAVO, "ingest", tmp_path / "slow.pdf", "--data-dir", tmp_path / "data"],
        env={**os.environ, "OCTAVO_FAILPOINT": "upserted"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode < 0
    assert expected(octavo, "slow.pdf:1")["outcome"] == "not_published"


def test_people_read_the_reason_in_one_sentence(folder, owner, capsys):
    data = folder / "data"
    command = ["search", "auditor", "--explain", "--expect", "acme.pdf:3", "--data-dir", str(data)]
    assert run([*command, "--device", "cpu"]) == 0
    assert "The expected page: Page 3 of acme.pdf is blank" in capsys.readouterr().out
