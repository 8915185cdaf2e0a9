"""Octavo from Python, as README shows it."""

import asyncio
from pathlib import Path

import pytest

from rag import AsyncOctavo, Octavo
from rag.errors import InputError, NotFound
from rag.testing import make_pdf


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    reports = folder / "reports"
    reports.mkdir()
    (reports / "tide.pdf").write_bytes(
        make_pdf(["# Tides\nThe tidal turbine made 42 GWh in 2024.", "The board paid a dividend."])
    )
    (reports / "storm.pdf").write_bytes(make_pdf(["# Storms\nThe storm closed the harbour."]))
    return folder


@pytest.fixture(scope="module")
def octavo(folder):
    with Octavo(folder / "data") as opened:
        opened.ingest(str(folder / "reports"), metadata={"year": 2024})
        yield opened


def test_hits_are_a_sequence_of_pages(octavo):
    hits = octavo.search("dividend", top_k=2)
    assert len(hits) == 2
    assert hits[0]["source"] == "tide.pdf"
    assert hits[0]["page_number"] == 2
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert hits.timings["total"] > 0


def test_filters_narrow_a_search(octavo):
    assert len(octavo.search("dividend", filters={"year": {"$gte": 2024}})) > 0
    assert len(octavo.search("dividend", filters={"year": {"$lt": 2024}})) == 0
    with pytest.raises(InputError, match="unknown filter operator"):
        octavo.search("dividend", filters={"year": {"$near": 2024}})


def test_an_answer_carries_its_citations(octavo):
    answer = octavo.ask("How much did the tidal turbine make in 2024?")
    assert not answer.abstained
    assert 0.5 < answer.confidence == answer.response["confidence"] <= 1
    assert answer.short == answer.response["short"]
    assert answer.citations[0]["source"] == "tide.pdf"
    assert answer.citations[0]["quote"] in "# Tides The tidal turbine made 42 GWh in 2024."
    assert answer.pages
    assert answer.timings["total"] > 0


def test_documents_come_and_go(folder):
    with Octavo(folder / "other") as octavo:
        octavo.ingest([folder / "reports" / "storm.pdf"])
        assert [document["source"] for document in octavo.documents()] == ["storm.pdf"]
        left = octavo.delete("storm.pdf")["left"]
        assert set(left.values()) == {0}
        assert octavo.documents() == []
        with pytest.raises(NotFound):
            octavo.delete("storm.pdf")


def test_two_openings_of_one_folder_share_it(octavo, folder):
    with Octavo(folder / "data") as second:
        assert second.search("dividend")[0]["page_number"] == 2


def test_calls_can_be_awaited(octavo):
    async def ask_twice():
        shared = AsyncOctavo(octavo)
        return await asyncio.gather(shared.search("storm"), shared.search("dividend"))

    storm, dividend = asyncio.run(ask_twice())
    assert storm[0]["source"] == "storm.pdf"
    assert dividend[0]["source"] == "tide.pdf"


def test_a_collection_name_cannot_lead_out_of_the_folder(folder):
    with (
        Octavo(folder / "third", collection="../evil") as octavo,
        pytest.raises((InputError, NotFound)),
    ):
        octavo.ingest(folder / "reports" / "storm.pdf")
    with Octavo(folder / "third", collection="x" * 300) as octavo, pytest.raises(InputError):
        octavo.ingest(folder / "reports" / "storm.pdf")


def test_a_question_with_bytes_that_are_no_text_is_searched(octavo):
    assert len(octavo.search("dividend light\udcffhouse", top_k=1)) == 1


def test_a_row_of_a_table_is_quoted_under_its_heads_and_the_heads_alone_are_no_answer(tmp_path):
    sample = Path(__file__).parents[2] / "examples" / "sample-report.pdf"
    with Octavo(tmp_path / "data") as octavo:
        octavo.ingest(sample)
        quotes = [citation["quote"] for citation in octavo.ask("Total revenue 2024").citations]
    # The part of the head that names the years, which is what says whose figure 325.0 is.
    assert quotes == ["Total 232.2 264.3 325.0 +23.0 %", "2022 2023 2024 Change 2024"]
