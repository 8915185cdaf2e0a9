"""Words of a page's document in the index, through a real ingest, also one that goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag.apps.service import Service
from rag.ports import PdfInfo
from rag.scoring.lexical import query_vector
from rag.settings import load_settings
from rag.testing import make_pdf
from rag.types import PageField, Principal
from rag.wiring import Engine

PAGES = [
    "# Harbour Lights Handbook\nPublished by Tidewater Institute in 2019.",
    "# Warranty\nTerms of the guarantee follow below, in the usual order of such things.",
    "Two years from the day of purchase, for every lamp that was never opened by anybody else.",
    "# Repairs\nTable 4: Prices of glass and wicks, by size, before tax and delivery to the quay.",
    "Ask for the keeper, who has spare parts of all the usual lamps and some of the others too.",
]


Found = dict[str, dict[int, float]]  # term -> page number -> score


class _StoppedError(Exception):
    """Somebody ended the ingest."""


def found_by(engine: Engine, term: str) -> dict[int, float]:
    """Page number -> BM25 over context words."""
    reader = engine.reader(Principal.owner(), "default")
    wanted = [(PageField.CONTEXT_WORDS, query_vector([term]), 50)]
    (candidates,) = reader.search_many(wanted)
    pages = reader.pages([each.record_id for each in candidates])
    return {pages[each.record_id].ref.page_number: each.score for each in candidates}


def ingest(data: Path, file: Path, *, stop_after: int | None = None) -> Found:
    settings = load_settings(overrides={"store": {"data_dir": data, "batch_pages": 1}})

    def on_event(event: dict[str, Any]) -> None:
        if stop_after is not None and event.get("pages_done", 0) >= stop_after:
            raise _StoppedError

    with Engine(settings) as engine:
        Service(engine, Principal.owner()).ingest(
            paths=[file], collection="default", on_event=on_event
        )
        return {
            term: found_by(engine, term)
            for term in ("tidewater", "harbour", "warranty", "repair", "2019", "4")
        }


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("docs") / "handbook.pdf"
    file.write_bytes(make_pdf(PAGES))
    return file


@pytest.fixture(scope="module")
def at_once(handbook: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return ingest(tmp_path_factory.mktemp("at_once"), handbook)


def test_a_page_is_found_by_its_document_its_section_and_its_table(at_once: Found) -> None:
    everywhere = {1, 2, 3, 4, 5}
    assert at_once["tidewater"].keys() == at_once["harbour"].keys() == everywhere
    assert at_once["2019"].keys() == everywhere
    assert at_once["warranty"].keys() == {3, 4}  # the heading before, on the pages after it
    assert at_once["repair"].keys() == {5}
    assert at_once["4"].keys() == {4}


def test_an_ingest_that_was_stopped_goes_on_with_the_same_words(
    at_once: Found, handbook: Path, tmp_path: Path
) -> None:
    with pytest.raises(_StoppedError):
        ingest(tmp_path, handbook, stop_after=3)
    resumed = ingest(tmp_path, handbook)
    for term, pages in at_once.items():
        assert resumed[term] == pytest.approx(pages)


def test_an_ingest_tells_of_bookmarks_that_could_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "handbook.pdf"
    file.write_bytes(make_pdf(PAGES[:1]))
    settings = load_settings(overrides={"store": {"data_dir": tmp_path / "data"}}, environ={})
    events: list[Any] = []
    with Engine(settings) as engine:
        read = engine.isolated.open

        def without_outline(path: Path, **options: Any) -> PdfInfo:
            return replace(read(path, **options), lost_outline=True)

        engine.isolated.open = without_outline  # type: ignore[method-assign]  # as on an odd file
        Service(engine, Principal.owner()).ingest(
            paths=[file], collection="default", on_event=events.append
        )
    (document,) = (event for event in events if event["event"] == "document")
    assert [each["code"] for each in document["warnings"]] == ["bookmarks_unread"]
    assert document["state"] == "indexed"
