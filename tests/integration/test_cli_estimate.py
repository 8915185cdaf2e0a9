"""`octavo estimate` through the real command, held to what an ingest of the same files does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from rag.apps.cli.app import run
from rag.testing import PdfPage, make_pdf

PARAGRAPH = (
    "The board proposes a dividend of 1.40 crowns a share for the year, after the turbines of the "
    "northern field ran for 8,100 hours and the harbour paid its share of the cable.\n"
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    (folder / "sub").mkdir()
    pages = [f"# Section {n}\n" + f"Page {n}. " + PARAGRAPH * (1 + n % 7) for n in range(40)]
    (folder / "long.pdf").write_bytes(make_pdf(pages))
    (folder / "sub" / "short.pdf").write_bytes(make_pdf([*pages[:5], PdfPage()]))
    (folder / "sub" / "copy.pdf").write_bytes(make_pdf([*pages[:5], PdfPage()]))
    return folder


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run_here(*arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--data-dir", str(tmp_path / "data")])
        return code, *capsys.readouterr()

    return run_here


def on_disk(folder: Path) -> int:
    """Bytes that are taken; files made longer than they are filled count as filled."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_an_estimate_says_beforehand_what_the_ingest_then_takes(reports, call, tmp_path):
    code, out, err = call("estimate", str(reports), "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert not (tmp_path / "data").exists()
    start = time.monotonic()
    code, out, _ = call("ingest", str(reports), "--json")
    seconds = time.monotonic() - start
    assert code == 0
    totals = json.loads(out.splitlines()[-1])
    assert found["pages"] == sum(totals["pages"].values()) == 52
    assert found["documents"] == totals["documents"]["indexed"] == 3
    assert found["sample"]["pages"] == 48
    data, wanted = tmp_path / "data", found["disk_bytes"]
    collection = data / "collections" / "default"
    assert wanted["packed"] == pytest.approx(on_disk(collection / "packed"), rel=0.15)
    assert wanted["sources"] == sum(
        path.stat().st_size for path in (data / "sources").rglob("*") if path.is_file()
    )
    whole = on_disk(data)
    assert whole / 1.5 < wanted["total"] < 1.5 * whole
    # A shared machine: the order of magnitude is what can be held.
    assert seconds / 5 < 60 * found["minutes"] < 5 * seconds + 2


def test_without_a_sample_only_constants_are_used_and_said(reports, call):
    code, out, err = call("estimate", str(reports), "--no-sample")
    assert code == 0
    assert "52" in out
    assert "all rates are constants" in err
    _, out, _ = call("estimate", str(reports), "--no-sample", "--json")
    found = json.loads(out)
    assert found["sample"] is None
    assert {rate["from"] for rate in found["rates"]} == {"constant"}


def test_files_that_cannot_be_read_are_listed_and_the_rest_is_counted(reports, call, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.pdf").write_bytes(b"this is not a PDF")
    (tmp_path / "in" / "torn.pdf").write_bytes(b"%PDF-1.7\n garbage")
    (tmp_path / "in" / "letter.docx").write_bytes(b"PK")
    (tmp_path / "in" / "locked.pdf").write_bytes(make_pdf(["One page."], password="open"))
    (tmp_path / "in" / "good.pdf").write_bytes(make_pdf(["One page.", "Two pages."]))
    code, out, _ = call("estimate", str(tmp_path / "in"), "--no-sample", "--json")
    found = json.loads(out)
    assert (code, found["pages"], found["documents"]) == (3, 2, 1)
    reasons = {each["source"]: each["error"]["code"] for each in found["unreadable"]}
    assert reasons.keys() == {"broken.pdf", "torn.pdf", "letter.docx", "locked.pdf"}
    assert reasons["broken.pdf"] == "not_a_pdf"
    assert reasons["letter.docx"] == "office_file"
    assert reasons["locked.pdf"] == "password_required"
    password = tmp_path / "password.txt"
    password.write_text("open\n")
    code, out, _ = call(
        *("estimate", str(tmp_path / "in"), "--no-sample", "--password-file", str(password)),
    )
    assert code == 3
    assert "broken.pdf" in out
    assert "locked.pdf" not in out


def test_where_nothing_can_be_read_there_is_nothing_to_estimate(call, tmp_path):
    (tmp_path / "in").mkdir()
    code, _, err = call("estimate", str(tmp_path / "in"), "--json")
    assert (code, json.loads(err)["error"]["code"]) == (1, "empty_folder")
    code, _, err = call("estimate", str(tmp_path / "no such"), "--json")
    assert (code, json.loads(err)["error"]["code"]) == (1, "no_such_path")
    (tmp_path / "in" / "a.pdf").write_bytes(b"nothing")
    code, _, err = call("estimate", str(tmp_path / "in"), "--no-sample", "--json")
    assert (code, json.loads(err)["error"]["code"]) == (1, "not_a_pdf")
    (tmp_path / "in" / "b.pdf").write_bytes(b"nothing")
    code, _, err = call("estimate", str(tmp_path / "in"), "--no-sample", "--json")
    assert (code, json.loads(err)["error"]["code"]) == (1, "nothing_to_ingest")


def test_too_little_disk_is_said_beforehand(reports, call, monkeypatch):
    monkeypatch.setattr("rag.apps.estimation._free_bytes", lambda _: 1000)
    code, _, err = call("estimate", str(reports), "--no-sample")
    assert code == 0
    assert "1,000 are free" in err


def test_pooling_makes_the_estimate_smaller(reports, call, monkeypatch):
    sizes = {}
    for method in ("none", "runs"):
        monkeypatch.setenv("OCTAVO_POOLING__METHOD", method)
        _, out, _ = call("estimate", str(reports), "--json")
        sizes[method] = json.loads(out)["disk_bytes"]["packed"]
    assert sizes["runs"] < 0.6 * sizes["none"]
