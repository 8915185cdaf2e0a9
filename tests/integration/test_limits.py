"""Limits and quarantine through the command line: each is on, is a setting, and says what to do."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

import hostile_reader
import psutil
import pytest
from ingest_place import Ended, Place

from rag.manifest.fatal_files import KeptFatalFiles
from rag.quarantine import MOST_TIMES
from rag.renderers import worker
from rag.renderers.isolated import IsolatedReader
from rag.settings import RenderSettings, StoreSettings
from rag.testing import PdfPage, make_pdf

ENDLESS = PdfPage(endless=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("OCTAVO_RENDER__WORKERS", "1")
    monkeypatch.setenv("OCTAVO_RENDER__RENDERER", "pypdfium2")
    monkeypatch.setenv("OCTAVO_OCR__MODE", "off")
    # One reader, unless a test says otherwise: its second would read what ended the first.
    monkeypatch.setattr("rag.renderers.isolated.fallback_renderers", lambda name: [name])
    return Place(tmp_path)


def documents(ended: Ended) -> dict[str, dict[str, Any]]:
    """Events by file name, after the pages have been counted."""
    *events, totals = ended.json
    for event in events:
        failed = [page["page_number"] for page in event["failed_pages"]]
        assert len(failed) == len(set(failed))
        assert not set(failed) & set(event["blank_pages"])
    assert sum(totals["pages"].values()) == sum(event["pages"] for event in events)
    assert totals["pages"]["failed"] == sum(len(event["failed_pages"]) for event in events)
    assert totals["pages"]["blank"] == sum(len(event["blank_pages"]) for event in events)
    return {event["source"]: event for event in events}


def reasons(event: dict[str, Any]) -> Counter[str]:
    return Counter(page["reason"] for page in event["failed_pages"])


def test_the_limits_are_on() -> None:
    render, store = RenderSettings(), StoreSettings()
    assert render.max_file_bytes == 200_000_000
    assert render.max_pages == 10_000
    assert render.max_px == 36_000_000
    assert render.page_timeout_s == 30
    assert render.stall_timeout_s == 600
    assert render.worker_memory_bytes == 1_500_000_000
    assert render.files_per_process == 200
    assert render.sandbox == "auto"
    assert store.disk_reserve_bytes is None  # made from the size of the disk; 0 would be none


@pytest.mark.parametrize(
    ("setting", "code"), [("MAX_FILE_BYTES", "too_large"), ("MAX_PAGES", "too_many_pages")]
)
def test_what_is_too_much_is_refused_with_the_setting_to_raise(
    place: Place, monkeypatch: pytest.MonkeyPatch, setting: str, code: str
) -> None:
    place.write("a.pdf", 3)
    monkeypatch.setenv(f"OCTAVO_RENDER__{setting}", "2")
    ended = place.here("ingest", place.docs / "a.pdf")
    event = documents(ended)["a.pdf"]
    assert (ended.code, event["state"], event["error"]["code"]) == (1, "refused", code)
    assert f"render.{setting.lower()}" in event["error"]["next_step"]
    monkeypatch.delenv(f"OCTAVO_RENDER__{setting}")
    assert documents(place.here("ingest", place.docs))["a.pdf"]["state"] == "indexed"


def test_pages_too_long_to_read_fail_by_number_and_the_rest_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTAVO_RENDER__PAGE_TIMEOUT_S", "1")
    (place.docs / "a.pdf").write_bytes(make_pdf(["one", ENDLESS, "three", PdfPage()]))
    event = documents(place.here("ingest", place.docs))["a.pdf"]
    assert event["failed_pages"] == [{"page_number": 2, "reason": "render_timeout"}]
    assert (event["state"], event["pages"], event["blank_pages"]) == ("partial", 4, [4])


def test_a_file_without_progress_is_read_no_further_and_others_are(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTAVO_RENDER__STALL_TIMEOUT_S", "1")
    (place.docs / "a.pdf").write_bytes(make_pdf(["one", ENDLESS, "three", "four"]))
    place.write("b.pdf", 2)
    found = documents(place.here("ingest", place.docs))
    assert found["b.pdf"]["state"] == "indexed"
    assert found["a.pdf"]["state"] == "partial"
    assert reasons(found["a.pdf"]) == {"document_stalled": 3}


def test_a_file_of_which_no_page_is_read_is_given_up_in_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = ["one", *["lost"] * 400]
    (place.docs / "a.pdf").write_bytes(make_pdf(pages))
    monkeypatch.setenv("OCTAVO_RENDER__PAGE_TIMEOUT_S", "0.5")
    monkeypatch.setattr(worker, "scan_page", hostile_reader.scan_or_fail_slowly)
    event = documents(place.here("ingest", place.docs))["a.pdf"]
    assert event["pages"] == 401
    found = reasons(event)
    assert found["render_failed"] + found["document_too_slow"] == 400
    assert found["document_too_slow"] > 300


# --- quarantine ---------------------------------------------------------------------------------
def deadly(n_pages: int) -> bytes:
    return make_pdf([f"{hostile_reader.DEADLY} page {number}" for number in range(n_pages)])


def test_a_file_that_ends_three_processes_is_refused_until_it_is_forced(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.docs / "a.pdf").write_bytes(deadly(9))
    place.write("b.pdf", 2)
    with monkeypatch.context() as broken:
        broken.setattr(worker, "scan_page", hostile_reader.scan_or_die)
        first = place.here("ingest", place.docs)
        found = documents(first)
        assert first.code == 3
        assert found["b.pdf"]["state"] == "indexed"
        assert (found["a.pdf"]["state"], found["a.pdf"]["pages"]) == ("refused", 9)
        assert reasons(found["a.pdf"]) == {"render_crashed": 3, "quarantined": 6}
        error = found["a.pdf"]["error"]
        assert error["code"] == "quarantined"
        assert "3 processes" in error["message"]
        assert "--force" in error["next_step"]

        broken.setattr(worker, "open_document", hostile_reader.is_not_opened)
        again = documents(place.here("ingest", place.docs / "a.pdf"))["a.pdf"]
        assert (again["state"], again["error"]["code"]) == ("refused", "quarantined")

    (shown,) = place.here("list").json
    states = {each["source"]: each["state"] for each in shown["documents"]}
    assert states == {"a.pdf": "refused", "b.pdf": "indexed"}
    forced = documents(place.here("ingest", place.docs / "a.pdf", "--force"))["a.pdf"]
    assert (forced["state"], forced["failed_pages"]) == ("indexed", [])


def test_what_is_counted_stays_and_one_page_costs_one_page(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = ["one", hostile_reader.DEADLY, "three", PdfPage(), "five"]
    (place.docs / "a.pdf").write_bytes(make_pdf(pages))
    monkeypatch.setattr(worker, "scan_page", hostile_reader.scan_or_die)
    event = documents(place.here("ingest", place.docs))["a.pdf"]
    assert event["failed_pages"] == [{"page_number": 2, "reason": "render_crashed"}]
    assert (event["state"], event["blank_pages"]) == ("partial", [4])
    sha256 = sha256_of_only(place)
    with contextlib.closing(KeptFatalFiles.in_folder(place.data)) as kept:
        found = kept.of(sha256)
    assert found is not None
    assert (found.n_times, found.reason) == (1, "render_crashed")


def sha256_of_only(place: Place) -> str:
    (kept,) = (path for path in (place.data / "sources").rglob("*.pdf"))
    return kept.stem


def test_pages_that_another_reader_reads_count_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pymupdf", reason="pymupdf is not installed", exc_type=ImportError)
    (place.docs / "a.pdf").write_bytes(deadly(8))
    monkeypatch.setattr(
        "rag.renderers.isolated.fallback_renderers", lambda _: ["pypdfium2", "pymupdf"]
    )
    monkeypatch.setattr(worker, "scan_page", hostile_reader.scan_or_die_by_pypdfium2)
    event = documents(place.here("ingest", place.docs))["a.pdf"]
    assert (event["state"], event["failed_pages"]) == ("indexed", [])
    with contextlib.closing(KeptFatalFiles.in_folder(place.data)) as kept:
        assert kept.of(sha256_of_only(place)) is None


def test_the_count_outlives_the_process_and_adds_up(tmp_path: Path) -> None:
    for n_times in range(1, MOST_TIMES + 1):
        with contextlib.closing(KeptFatalFiles.in_folder(tmp_path)) as kept:
            assert kept.add("ab", 1, "render_timeout").n_times == n_times
    with contextlib.closing(KeptFatalFiles.in_folder(tmp_path)) as kept:
        kept.forget("ab")
        assert kept.of("ab") is None


# --- processes ----------------------------------------------------------------------------------
def test_processes_are_new_after_some_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.pdf" for number in range(5)]
    for path in paths:
        path.write_bytes(make_pdf(["one"]))
    settings = RenderSettings(renderer="pypdfium2", workers=1, files_per_process=2)
    with IsolatedReader(settings) as reader:
        reader.will_read([tmp_path])
        pids = []
        for path in paths:
            reader.open(path)
            request = worker.ReadRequest(path, ())
            pids.append(reader._result(reader._started(hostile_reader.process_id, request)))
    assert pids[0] == pids[1]
    assert pids[2] == pids[3]
    assert len(set(pids)) == 3
    assert not any(map(psutil.pid_exists, pids))


@pytest.mark.parametrize("step_s", [-86_400, pytest.param(365 * 86_400, marks=pytest.mark.nightly)])
def test_a_clock_that_is_set_ends_no_page_and_spares_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(make_pdf(["one", ENDLESS, "three"]))
    now = time.time
    with IsolatedReader(RenderSettings(renderer="pypdfium2", page_timeout_s=2)) as reader:
        outcomes = reader.scan(path, [1, 2, 3])
        next(outcomes)
        monkeypatch.setattr(time, "time", lambda: now() + step_s)
        started = time.monotonic()
        told = [getattr(outcome, "reason", "read") for outcome in outcomes]
    assert told == ["render_timeout", "read"]
    assert time.monotonic() - started < 100
