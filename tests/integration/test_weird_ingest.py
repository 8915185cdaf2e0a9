"""Odd PDFs of the wild through `octavo ingest`: each ends with its state, in time and in memory."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest
from watched_ingest import Measured, watched_ingest

from rag.apps.cli.app import run

pytestmark = pytest.mark.devset

MAX_FILE_S = 60.0
MAX_PAGE_S = 0.25  # encoding a page of words on a busy machine; files of 331 and 429 pages need it
MAX_MEMORY_BYTES = 4 << 30
# Of each kind the ones that are read soonest.
ODDEST = [
    "AES256ExposedMeta.pdf",
    "PDFBOX-2725-878725.pdf",
    "StackOverflow_Issue_1122.pdf",
    "T02-01_005_document-catalog-type-key-missing.pdf",
    "T02-02_002_page-tree-kids-links-recursive.pdf",
    "T02-02_007_page-tree-wrong-count.pdf",
    "aes-256-m.pdf",
    "bitmap-halftone-skip-grid-template3.pdf",
    "boxes.pdf",
    "dr-with-indirect-item-out.pdf",
    "encrypted-file.pdf",
    "inspect.pdf",
    "issue-1688b.pdf",
    "issue15150.pdf",
    "issue17056.pdf",
    "issue4875.pdf",
    "jo.pdf",
    "meta.pdf",
    "multiline_diffmap_font.pdf",
    "pike-jp2.pdf",
    "poppler-742-0-fuzzed.pdf",
    "stackoverflow_error.pdf",
]


def ingest(data: Path, paths: list[Path], renderer: str) -> Measured:
    return watched_ingest(data, paths, OCTAVO_RENDER__RENDERER=renderer)


def check(measured: Measured, data: Path, expected: dict[str, dict[str, str]]) -> None:
    assert (measured.code, measured.err) == (3, "")
    events = {event["source"]: event for event in measured.documents}
    assert events.keys() == expected.keys()
    assert len(events) == len(measured.documents)
    for source, event in events.items():
        assert event["state"] in ("indexed", "partial", "failed", "refused")
        assert (event["error"] is None) == (event["state"] in ("indexed", "partial")), event
        assert bool(event["failed_pages"]) <= (event["state"] in ("partial", "failed")), event
        if event["error"]:
            assert event["error"]["code"] not in ("internal", "error"), event
            assert event["error"]["next_step"], event
            assert "/" not in event["error"]["message"], event
        assert all(page["reason"] for page in event["failed_pages"]), event
        row = expected[source]
        if row["mupdf"] == "password":
            assert event["error"]["code"] == "password_required", event
        elif row["mupdf"] == "pages" and row["kind"] != "page_error":
            assert (event["state"], event["pages"]) == ("indexed", int(row["pages"])), event
    pages = measured.totals["pages"]
    assert sum(pages.values()) == sum(event["pages"] for event in events.values())
    assert pages["blank"] == sum(len(event["blank_pages"]) for event in events.values())
    assert pages["failed"] == sum(len(event["failed_pages"]) for event in events.values())
    for source, seconds in measured.file_s.items():
        assert seconds < max(MAX_FILE_S, MAX_PAGE_S * events[source]["pages"]), source
    assert 0 < measured.peak_bytes < MAX_MEMORY_BYTES
    assert listed(data) == {
        source: (event["state"], event["blank_pages"], event["no_text_pages"])
        for source, event in events.items()
    }


def listed(data: Path) -> dict[str, tuple[str, list[int], list[int]]]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run(["list", "--json", "--data-dir", str(data)]) == 0
    return {
        document["source"]: (document["state"], document["blank_pages"], document["no_text_pages"])
        for document in json.loads(out.getvalue())["documents"]
    }


@pytest.fixture(scope="module")
def odd_files(devset: Path) -> dict[str, dict[str, str]]:
    """What is known of each file, by its name."""
    with (devset / "weird" / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}


@pytest.mark.parametrize("renderer", ["auto", "pypdfium2"])
def test_the_oddest_files_end_with_a_state_or_a_reason(
    devset: Path, odd_files: dict[str, dict[str, str]], tmp_path: Path, renderer: str
) -> None:
    docs = devset / "weird" / "docs"
    measured = ingest(tmp_path / "data", [docs / name for name in ODDEST], renderer)
    check(measured, tmp_path / "data", {name: odd_files[name] for name in ODDEST})


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("renderer", ["auto", "pypdfium2"])
def test_so_do_all_of_them(
    devset: Path, odd_files: dict[str, dict[str, str]], tmp_path: Path, renderer: str
) -> None:
    assert len(odd_files) == 61
    measured = ingest(tmp_path / "data", [devset / "weird" / "docs"], renderer)
    check(measured, tmp_path / "data", odd_files)
