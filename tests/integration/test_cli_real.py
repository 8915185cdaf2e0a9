"""The `octavo` command as users have it: its own process, a real data folder, real PDFs.

Process starts are few because each costs a second; what needs none runs in this process.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rag.apps.cli.app import run
from rag.testing import PdfPage, make_pdf

OCTAVO = Path(sys.executable).with_name("octavo")
SAMPLE = Path(__file__).parents[2] / "examples" / "sample-report.pdf"


class Installed:
    """The command with a data folder of its own, and a folder of PDFs that was ingested once."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.reports = place / "reports"
        (self.reports / "old years").mkdir(parents=True)
        shutil.copy(SAMPLE, self.reports)
        pages = ["# Harbour fees\nThe harbour of Stavanger asked 41 crowns a day.", PdfPage()]
        (self.reports / "old years" / "fees 1987.pdf").write_bytes(make_pdf(pages))
        (self.reports / "broken.pdf").write_bytes(b"this is not a PDF")
        self.ingested = self.run("ingest", "reports", "--json", "--metadata", "year=2024")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [OCTAVO, *arguments],
            cwd=self.place,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def here(self, *arguments: str) -> int:
        """The same in this process."""
        return run([*arguments, "--data-dir", str(self.place / "octavo-data")])


@pytest.fixture(scope="module")
def octavo(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("place"))


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_ingest_with_one_bad_file_is_partial_and_accounts_for_every_page(octavo):
    done = octavo.ingested
    assert (done.returncode, done.stderr) == (3, "")
    *documents, totals = lines(done.stdout)
    assert {each["source"]: each["state"] for each in documents} == {
        "sample-report.pdf": "indexed",
        "old years/fees 1987.pdf": "indexed",
        "broken.pdf": "refused",
    }
    (broken,) = (each for each in documents if each["error"])
    assert broken["error"]["code"] == "not_a_pdf"
    assert totals["documents"] == {"indexed": 2, "refused": 1}
    assert totals["pages"] == {"indexed": 5, "blank": 1, "failed": 0}


def test_the_same_folder_again_changes_nothing(octavo, capsys):
    assert octavo.here("ingest", str(octavo.reports)) == 3
    out = capsys.readouterr().out
    assert out.count("unchanged ") == 2
    assert re.search(r"^refused +broken\.pdf$", out, re.MULTILINE)
    assert "2 unchanged" in out


def test_search_finds_the_page_and_marks_it(octavo):
    done = octavo.run(
        "search", "revenue in the Celtic Sea", "-k", "2", "--json", "--heatmap", "h.png"
    )
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = lines(done.stdout)
    assert len(found["hits"]) == 2
    best = found["hits"][0]
    assert (best["source"], best["page_number"]) == ("sample-report.pdf", 2)
    assert 0 <= best["score_normalized"] <= 1
    assert best["boxes"]
    with Image.open(octavo.place / "h.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert any(red > 200 and green > 150 and blue < 80 for _, (red, green, blue) in colours)


def test_ask_answers_with_a_citation_and_the_cited_page(octavo):
    done = octavo.run(
        "ask", "What did the harbour of Stavanger ask a day?", "--heatmap", "cited.png"
    )
    assert done.returncode == 0, done.stderr
    assert "41 crowns" in done.stdout
    assert '[1] old years/fees 1987.pdf, page 1: "' in done.stdout
    assert (octavo.place / "cited.png").exists()


def test_search_stays_within_the_document_pages_and_filter_it_is_given(octavo, capsys):
    def found(*flags: str) -> set[tuple[str, int]]:
        assert octavo.here("search", "revenue", "--json", *flags) == 0
        (answer,) = lines(capsys.readouterr().out)
        return {(hit["source"], hit["page_number"]) for hit in answer["hits"]}

    assert found("--doc", "sample-report.pdf", "--pages", "3-4") == {
        ("sample-report.pdf", 3),
        ("sample-report.pdf", 4),
    }
    assert found("--filter", "year=1999") == set()
    assert ("sample-report.pdf", 2) in found("--filter", "year=2024", "--mode", "text")


def test_list_show_and_page_agree_on_what_is_there(octavo, capsys):
    assert octavo.here("list", "--json") == 0
    (listed,) = lines(capsys.readouterr().out)
    sources = {each["source"]: each for each in listed["documents"]}
    assert sources["old years/fees 1987.pdf"]["blank_pages"] == [2]
    assert sources["sample-report.pdf"]["metadata"] == {"year": 2024}
    assert octavo.here("show", "old years/fees 1987.pdf", "--json") == 0
    (shown,) = lines(capsys.readouterr().out)
    assert [page["state"] for page in shown["page_list"]] == ["indexed", "blank"]
    picture = octavo.place / "page.png"
    assert octavo.here("page", "sample-report.pdf", "4", "-o", str(picture), "--dpi", "50") == 0
    with Image.open(picture) as png:
        assert png.width == pytest.approx(595 * 50 / 72, abs=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "x", "-c", "no-such-collection"),
        ("search", ""),
        ("show", "no-such.pdf"),
        ("page", "sample-report.pdf", "99", "-o", "x.png"),
        ("rm", "no-such.pdf"),
        ("ingest", "no-such-folder"),
        ("search", "x", "--config", "no-such.toml"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said_in_json_and_exits_with_1(octavo, capsys, arguments):
    assert octavo.here(*arguments, "--json") == 1
    out, err = capsys.readouterr()
    said = json.loads(err)["error"] if err else lines(out)[0]["error"]
    assert said["message"]
    assert said["code"] not in ("error", "internal")


def test_ctrl_c_during_an_ingest_is_one_line_and_what_was_reported_stays(octavo, tmp_path, capsys):
    many = [
        "# Page\nThe ferry leaves at seven in the morning and again at noon." for _ in range(60)
    ]
    (tmp_path / "a.pdf").write_bytes(make_pdf(many[:1]))
    (tmp_path / "b.pdf").write_bytes(make_pdf(many))
    process = subprocess.Popen(
        [OCTAVO, "ingest", tmp_path, "-c", "stopped", "--json"],
        cwd=octavo.place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert (first["source"], first["state"]) == ("a.pdf", "indexed")
    assert process.returncode == 130
    assert json.loads(errors)["error"]["code"] == "interrupted"
    assert octavo.here("list", "-c", "stopped", "--json") == 0
    (listed,) = lines(capsys.readouterr().out)
    assert [each["source"] for each in listed["documents"]] == ["a.pdf"]


def test_rm_leaves_nothing(octavo, capsys):
    assert octavo.here("rm", "sample-report.pdf", "old years/fees 1987.pdf", "--json") == 0
    (removed,) = lines(capsys.readouterr().out)
    assert len(removed["deleted"]) == 2
    assert set(removed["left"].values()) == {0}
    assert octavo.here("list", "--json") == 0
    (listed,) = lines(capsys.readouterr().out)
    assert [each["source"] for each in listed["documents"]] == ["broken.pdf"]
