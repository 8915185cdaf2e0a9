"""The command line's own duties: flags in, exit codes and streams out. The client is a fake."""

from __future__ import annotations

import base64
import io
import json
import os
import shlex
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rag.apps.cli.app import run
from rag.apps.cli.exit_codes import after_ingest
from rag.apps.cli.report import page_list, page_notes
from rag.errors import NotFound

HIT = {
    "rank": 1,
    "document_id": "d1",
    "source": "report.pdf",
    "page_number": 2,
    "score": 21.4,
    "score_normalized": 0.83,
    "snippet": "Celtic Sea 90.3",
    "boxes": [{"box": [72.0, 90.5, 300.2, 101.0], "weight": 0.9}],
    "scores": {"maxsim": 21.4, "words": 9.1},
    "width_pt": 595.0,
    "height_pt": 842.0,
}
SEARCH = {
    "query": "q",
    "collection": "default",
    "mode": "hybrid",
    "exact": False,
    "hits": [HIT],
    "stages": [{"name": "fde", "candidates": 1000, "ms": 1.9}],
    "timings_ms": {"total": 12.3},
    "encoder": "words@1",
    "warnings": [{"code": "no_text", "message": "page 5 has no words"}],
    "explain": {
        "weights": {"words": 1.0, "patches": 0.5, "captions": 0.5},
        "candidates": 12,
        "hits": [
            {
                "rank": 1,
                "document_id": "d1",
                "source": "report.pdf",
                "page_number": 2,
                "score": 21.4,
                "legs": {"words": {"score": 9.1, "rank": 3}, "patches": {"score": 4.0, "rank": 1}},
            }
        ],
        "expected": {"rank": None, "candidate": False},
    },
}
ASK = {
    "question": "q",
    "answer": "The Celtic Sea brought EUR 90.3 million [1].",
    "abstained": False,
    "confidence": 0.97,
    "model_id": "extractive",
    "citations": [
        {
            "marker": 1,
            "document_id": "d1",
            "source": "report.pdf",
            "page_number": 2,
            "quote": "Celtic Sea 90.3",
            "boxes": [[100.0, 100.0, 200.0, 200.0]],
            "verified": True,
            "visual": False,
        }
    ],
    "short": "EUR 90.3 million",
    "claims": [
        {
            "text": "The Celtic Sea brought EUR 90.3 million",
            "state": "supported",
            "markers": [1],
            "reasons": [],
        }
    ],
    "unsupported": [],
    "support": {"citation_precision": 1.0, "citation_recall": 1.0},
    "error": None,
    "pages": [],
    "timings_ms": {"total": 40.2},
    "warnings": [],
}
DOCUMENT = {
    "document_id": "d1",
    "source": "report.pdf",
    "state": "partial",
    "pages": 12,
    "blank_pages": [3],
    "no_text_pages": [5, 6, 7],
    "failed_pages": [{"page_number": 9, "reason": "render_timeout"}],
    "metadata": {"year": 2024},
    "readers": [],
}
EVENT = {"event": "document", "error": None, "warnings": [], **DOCUMENT}
REFUSED = EVENT | {
    "state": "refused",
    "pages": 0,
    "blank_pages": [],
    "no_text_pages": [],
    "failed_pages": [],
    "error": {"code": "not_a_pdf", "message": "not a PDF", "next_step": "Give a PDF."},
}
PAGE = {
    "page_number": 1,
    "state": "failed",
    "reason": "render_timeout",
    "width_pt": 595.0,
    "height_pt": 842.0,
    "words": 0,
    "no_text": True,
    "hidden_words": 3,
    "ocr": "tesseract 5.5.0 eng",
}
COLLECTION = {"name": "default", "documents": 1, "pages": 4, "encoder": "words@1"}
JOB = {
    "job_id": "j",
    "kind": "ingest",
    "state": "done",
    "started_at": 1_700_000_000.0,
    "finished_at": 1_700_000_002.5,
    "totals": {"documents": {"indexed": 3}},
}
DOCTOR = {
    "usable": True,
    "checks": [
        {"name": "renderer", "ok": True, "detail": "pymupdf", "next_step": ""},
        {"name": "poppler", "ok": False, "detail": "no pdftoppm", "next_step": "Get poppler."},
    ],
    "machine": {"cpus": 2},
    "settings": {},
}


def blank_png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (60, 80), "white").save(stream, format="PNG")
    return stream.getvalue()


def totals(**documents: int) -> dict[str, Any]:
    return {
        "event": "totals",
        "job_id": "j",
        "documents": documents,
        "pages": {"indexed": 10, "blank": 1, "failed": 1},
        "seconds": 4.0,
        "encoder": "words@1",
        "warnings": [],
    }


VERSION = {
    "version_id": "v1",
    "published_at": 1_700_000_000.0,
    "ended_at": None,
    "pages": 12,
    "reused_pages": 3,
    "ingested_by": "owner",
    "sha256": 64 * "0",
}


class FakeOctavo:
    """Answers from a table and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.commands: list[str] = []
        self.settings: Any = None
        self.during_ingest: Callable[[Callable[[dict[str, Any]], None]], None] | None = None
        self.answers: dict[str, Any] = {
            "search": SEARCH,
            "ask": ASK,
            "ingest": totals(indexed=1),
            "list_documents": {"documents": [DOCUMENT]},
            "show": {**DOCUMENT, "page_list": [PAGE], "versions": [VERSION, VERSION]},
            "page_png": {
                "png": base64.b64encode(blank_png()).decode(),
                "boxes": [],
                "width_px": 60,
                "width_pt": 600.0,
                "height_pt": 800.0,
            },
            "delete": {"deleted": ["d1"], "left": {"pages": 0, "records": 0}},
            "status": {"collections": [COLLECTION], "jobs": [JOB]},
            "collections": {"collections": [COLLECTION]},
            "doctor": DOCTOR,
        }

    def __getattr__(self, name: str) -> Any:
        def method(**arguments: Any) -> Any:
            on_event = arguments.pop("on_event", None)
            self.calls.append((name, arguments))
            if on_event is not None and self.during_ingest is not None:
                self.during_ingest(on_event)
            answer = self.answers[name]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return method


@pytest.fixture
def octavo(monkeypatch: pytest.MonkeyPatch) -> FakeOctavo:
    fake = FakeOctavo()

    @contextmanager
    def connect(settings: Any, *, command: str) -> Iterator[FakeOctavo]:
        fake.settings = settings
        fake.commands.append(command)
        yield fake

    def examine(settings: Any, *, tuning_fault: Any) -> Any:
        fake.settings = settings
        return fake.answers["doctor"]

    for name, stand_in in (("connection", {"connect": connect}), ("doctor", {"examine": examine})):
        module = types.SimpleNamespace(**stand_in)
        monkeypatch.setitem(sys.modules, f"rag.apps.{name}", module)
    return fake


COMMANDS = {
    "search": ["search", "dividend"],
    "ask": ["ask", "How much?"],
    "ingest": ["ingest", "a.pdf"],
    "list_documents": ["list"],
    "show": ["show", "report.pdf"],
    "delete": ["rm", "report.pdf"],
    "status": ["status"],
    "collections": ["collections"],
    "doctor": ["doctor"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_the_clients_answer_and_all_that_stands_on_stdout(octavo, capsys, name):
    assert run([*COMMANDS[name], "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == octavo.answers[name]
    assert err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_without_json_every_command_prints_for_people(octavo, capsys, name):
    assert run(COMMANDS[name]) == 0
    out = capsys.readouterr().out
    assert out.strip()
    assert not out.lstrip().startswith("{")


def test_search_shows_source_page_score_and_words(octavo, capsys):
    run(["search", "dividend"])
    out, err = capsys.readouterr()
    for part in ("report.pdf, page 2", "21.40", "83 %", "Celtic Sea 90.3"):
        assert part in out
    assert "warning: page 5 has no words" in err


def test_search_without_a_hit_says_so(octavo, capsys):
    octavo.answers["search"] = SEARCH | {"hits": []}
    assert run(["search", "dividend"]) == 0
    assert "No page was found." in capsys.readouterr().out


def test_explain_shows_stages_and_the_parts_of_each_score(octavo, capsys):
    run(["search", "dividend", "--explain"])
    out = capsys.readouterr().out
    for part in (
        "fde",
        "1000",
        "9.100 #3",
        "4.000 #1",
        "0.5",
        "The expected page was no candidate",
    ):
        assert part in out
    assert "captions" not in out  # it says nothing of the pages shown


def test_ask_shows_the_answer_then_numbered_citations(octavo, capsys):
    run(["ask", "How much?"])
    out = capsys.readouterr().out
    assert out.index("90.3 million") < out.index('[1] report.pdf, page 2: "Celtic Sea 90.3"')


def test_ask_names_what_it_left_out(octavo, capsys):
    octavo.answers["ask"] = ASK | {"unsupported": ["Celtic Sea 91.3"]}
    run(["ask", "How much?"])
    out = capsys.readouterr().out
    assert out.index('[1] report.pdf, page 2: "Celtic Sea 90.3"') < out.index(
        'left out, not supported: "Celtic Sea 91.3"'
    )


def test_list_names_blank_wordless_and_failed_pages(octavo, capsys):
    run(["list"])
    out = " ".join(capsys.readouterr().out.split())
    for part in ("blank 3", "no text 5-7", "failed 9 (render_timeout)", "year=2024"):
        assert part in out


@pytest.mark.parametrize(
    ("pages", "note"), [([1, 2, 3, 7], "read by OCR: pages 1-3, 7"), ([4], "read by OCR: page 4")]
)
def test_what_ocr_read_is_named_as_pages(pages, note):
    assert page_notes({"ocr_pages": pages}) == [note]


def test_flags_of_search_reach_the_client(octavo):
    run(
        shlex.split(
            "search dividend -k 7 --mode text --exact --explain --expect b:c.pdf:4 -c books"
            " --doc a.pdf --doc b.pdf --pages 3-7 --filter year=2023"
            " --granularity document --after 'and before?'"
        )
    )
    assert octavo.commands == ["octavo search"]
    assert octavo.calls == [
        (
            "search",
            {
                "query": "dividend",
                "collection": "books",
                "top_k": 7,
                "mode": "text",
                "exact": True,
                "explain": True,
                "expect": ("b:c.pdf", 4),
                "granularity": "document",
                "history": [["and before?"]],
                "filters": {"year": 2023},
                "documents": ["a.pdf", "b.pdf"],
                "pages": (3, 7),
            },
        )
    ]


def test_the_same_filter_key_twice_must_hold_twice(octavo):
    run(["ask", "q", "--filter", "tag=a", "--filter", "tag=b", "--filters", '{"y": {"$gt": 1}}'])
    assert octavo.calls[0][1]["filters"] == {
        "$and": [{"tag": "a"}, {"tag": "b"}, {"y": {"$gt": 1}}]
    }


def test_without_k_the_settings_say_how_many_pages_come_back(octavo, tmp_path):
    (tmp_path / "s.toml").write_text("[retrieval]\ntop_k = 9\n")
    run(["search", "q", "--config", str(tmp_path / "s.toml")])
    assert octavo.calls[0][1]["top_k"] == 9


def test_flags_win_over_environment_and_file(octavo, tmp_path, monkeypatch):
    (tmp_path / "s.toml").write_text('[store]\ndata_dir = "from-file"\nbatch_pages = 3\n')
    monkeypatch.setenv("OCTAVO_DATA_DIR", "from-environment")
    run(["status", "--config", str(tmp_path / "s.toml"), "--data-dir", "from-flag"])
    assert octavo.settings.store.data_dir == Path("from-flag")
    assert octavo.settings.store.batch_pages == 3
    run(["status", "--config", str(tmp_path / "s.toml")])
    assert octavo.settings.store.data_dir == Path("from-environment")


def test_flags_of_ingest_reach_the_client(octavo, tmp_path):
    secret = tmp_path / "password.txt"
    secret.write_text("open sesame\r\nsecond line\n")
    run(
        shlex.split(
            "ingest 'a b.pdf' /c --metadata year=2024 --metadata 'who=Best Buy'"
            f" --readers group:finance --force --dry-run --password-file '{secret}'"
        )
    )
    assert octavo.calls == [
        (
            "ingest",
            {
                "paths": [Path.cwd() / "a b.pdf", Path("/c")],
                "collection": "default",
                "metadata": {"year": 2024, "who": "Best Buy"},
                "readers": ["group:finance"],
                "force": True,
                "retry_failed": False,
                "dry_run": True,
                "password": "open sesame",
            },
        )
    ]


def test_page_and_heatmap_write_the_picture(octavo, tmp_path, capsys):
    assert run(["page", "report.pdf", "2", "-o", str(tmp_path / "p.png"), "--json"]) == 0
    assert (tmp_path / "p.png").read_bytes() == blank_png()
    assert "png" not in json.loads(capsys.readouterr().out)
    assert run(["search", "dividend", "--heatmap", str(tmp_path / "h.png")]) == 0
    assert (tmp_path / "h.png").read_bytes() == blank_png()
    assert octavo.calls[-1][1] | {"dpi": 0} == {
        "document": "d1",
        "page_number": 2,
        "query": "dividend",
        "collection": "default",
        "dpi": 0,
    }


def test_ask_writes_the_cited_page_with_its_evidence_marked(octavo, tmp_path):
    assert run(["ask", "How much?", "--heatmap", str(tmp_path / "cited.png")]) == 0
    assert octavo.calls[-1][1] | {"dpi": 0} == {
        "document": "d1",
        "page_number": 2,
        "collection": "default",
        "dpi": 0,
    }
    with Image.open(tmp_path / "cited.png") as picture:
        # The box is 100 to 200 points of 600, so 10 to 20 pixels of 60.
        assert picture.getpixel((15, 15)) != (255, 255, 255)
        assert picture.getpixel((40, 40)) == (255, 255, 255)


def test_an_answer_without_citations_writes_no_picture(octavo, tmp_path):
    octavo.answers["ask"] = ASK | {"citations": [], "abstained": True}
    assert run(["ask", "How much?", "--heatmap", str(tmp_path / "cited.png")]) == 0
    assert not (tmp_path / "cited.png").exists()


def test_show_lists_each_page_with_what_went_wrong(octavo, capsys):
    run(["show", "report.pdf"])
    out = capsys.readouterr().out
    for part in ("render_timeout", "595 x 842"):
        assert part in out


def test_status_lists_collections_and_jobs(octavo, capsys):
    run(["status"])
    out = capsys.readouterr().out
    for part in ("default", "words@1", "2.5", "3 indexed"):
        assert part in out


def test_doctor_shows_what_is_missing_and_the_settings_that_were_changed(octavo, capsys):
    run(["doctor", "--data-dir", "elsewhere"])
    out = capsys.readouterr().out
    for part in ("ok      renderer", "missing poppler", "next: Get poppler.", "elsewhere"):
        assert part in out
    assert "rrf" not in out


def test_a_picture_that_cannot_be_written_is_an_error_in_one_line(octavo, tmp_path, capsys):
    assert run(["page", "report.pdf", "2", "-o", str(tmp_path / "no" / "p.png")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write")
    assert "Name a file in a folder that is there" in " ".join(said.split())


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"indexed": 2}, 0),
        ({"unchanged": 1, "replaced": 1}, 0),
        ({}, 1),
        ({"refused": 1}, 1),
        ({"failed": 1, "refused": 1}, 1),
        ({"indexed": 1, "refused": 1}, 3),
        ({"partial": 1}, 3),
        ({"partial": 1, "failed": 1}, 3),
    ],
)
def test_ingest_ends_with_the_code_of_what_happened(octavo, states, expected):
    octavo.answers["ingest"] = totals(**states)
    assert run(["ingest", "folder"]) == expected == after_ingest(states)


def test_ingest_json_is_out_as_each_document_is_durable(octavo, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    seen: list[str] = []

    def during(on_event: Callable[[dict[str, Any]], None]) -> None:
        on_event({"event": "progress", "pages_done": 1, "pages_total": 2, "source": "report.pdf"})
        on_event(EVENT)
        seen.append(out.getvalue())

    octavo.during_ingest = during
    assert run(["ingest", "folder", "--json"]) == 0
    assert [json.loads(line) for line in seen[0].splitlines()] == [EVENT]
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == [
        "document",
        "totals",
    ]


def test_ingest_says_why_a_document_was_refused_and_what_to_do(octavo, capsys):
    octavo.during_ingest = lambda on_event: on_event(REFUSED)
    octavo.answers["ingest"] = totals(refused=1)
    assert run(["ingest", "a.pdf"]) == 1
    out = capsys.readouterr().out
    for part in ("refused", "report.pdf", "not a PDF", "next: Give a PDF."):
        assert part in out


def test_rm_fails_when_anything_is_left(octavo):
    octavo.answers["delete"] = {"deleted": ["d1"], "left": {"pages": 0, "records": 4}}
    assert run(["rm", "report.pdf"]) == 1


def test_doctor_fails_when_the_installation_is_not_usable(octavo):
    octavo.answers["doctor"] = DOCTOR | {"usable": False}
    assert run(["doctor"]) == 1


USAGE = [
    ["serch", "x"],
    ["search"],
    ["search", "x", "--bogus"],
    ["search", "x", "-k", "0"],
    ["search", "x", "-k", "51"],
    ["search", "x", "--mode", "psychic"],
    ["search", "x", "--pages", "7-3"],
    ["search", "x", "--pages", "0"],
    ["search", "x", "--pages", "three"],
    ["search", "x", "--pages", "9" * 5000],
    ["search", "x", "--explain", "--expect", "a.pdf:" + "9" * 5000],
    ["search", "x", "--set", "retrieval.top_k=" + "[" * 100_000],
    ["search", "x", "--filter", "year"],
    ["search", "x", "--filters", "{year"],
    ["search", "x", "--filters", "[1]"],
    ["search", "x", "--filters", '{"year": {"$near": 1}}'],
    ["search", "x", "--explain", "--expect", "a.pdf"],
    ["search", "x", "--explain", "--expect", "a.pdf:0"],
    ["search", "x", "--expect", "a.pdf:1"],
    ["ingest"],
    ["ingest", "a.pdf", "--metadata", "=1"],
    ["ingest", "a.pdf", "--password-file", "no-such-file"],
    ["page", "a.pdf", "0", "-o", "x.png"],
    ["page", "a.pdf", "1"],
    ["rm"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=lambda words: " ".join(words)[:60])
def test_a_wrong_flag_is_a_usage_error_before_anything_is_opened(octavo, capsys, arguments):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "next: See octavo" in err
    assert run([*arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == "usage"
    assert octavo.commands == []


def test_an_error_raised_on_purpose_is_two_lines_and_exit_code_1(octavo, capsys):
    octavo.answers["search"] = NotFound("no collection 'x'", next_step="Try octavo collections.")
    assert run(["search", "q"]) == 1
    assert capsys.readouterr() == (
        "",
        "error: no collection 'x'\nnext: Try octavo collections.\n",
    )
    assert run(["search", "q", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {
        "error": {
            "code": "not_found",
            "message": "no collection 'x'",
            "next_step": "Try octavo collections.",
        }
    }


def test_a_fault_of_ours_is_one_line_unless_the_traceback_is_asked_for(octavo, capsys, monkeypatch):
    octavo.answers["search"] = KeyError("hits")
    assert run(["search", "q", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "internal"
    monkeypatch.setenv("OCTAVO_TRACEBACK", "1")
    with pytest.raises(KeyError):
        run(["search", "q"])


def test_ctrl_c_ends_with_130_and_no_traceback(octavo, capsys):
    octavo.answers["ingest"] = KeyboardInterrupt()
    assert run(["ingest", "folder"]) == 130
    assert capsys.readouterr().err.startswith("error: interrupted\n")


def test_words_of_a_document_cannot_steer_the_terminal(octavo, capsys):
    hostile = "a\x1b[2J\x9b31m\u202egpj.exe\r\nb"
    octavo.answers["search"] = SEARCH | {"hits": [HIT | {"source": hostile, "snippet": hostile}]}
    octavo.answers["ask"] = ASK | {"answer": hostile, "abstained": True}
    octavo.answers["show"] = {
        "title": hostile,
        "page_list": [PAGE | {"reason": hostile}],
        "versions": [VERSION, VERSION | {"ingested_by": hostile}],
    }
    for command in ("search", "ask", "show"):
        run(COMMANDS[command])
        out = capsys.readouterr().out
        assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(out), command


def test_a_file_name_that_is_not_utf8_does_not_end_a_listing(octavo, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))
    octavo.answers["list_documents"] = {"documents": [DOCUMENT | {"source": "a\udce4.pdf"}]}
    assert run(["list"]) == 0
    assert run(["list", "--json"]) == 0
    sys.stdout.flush()
    assert b"a\\udce4.pdf" in raw.getvalue()


def test_page_lists_are_short():
    assert page_list([7, 3, 5, 6]) == "3, 5-7"
    assert page_list([]) == ""


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from rag.apps.cli.app import run; code = run(['search', '--help']);"
        "heavy = {'numpy', 'PIL', 'rag.settings', 'sqlalchemy', 'onnxruntime', 'qdrant_client',"
        " 'torch', 'pymupdf', 'pypdfium2', 'numba'} & set(sys.modules);"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


PROGRAM = (
    "import sys, types, contextlib; from rag.apps.cli.app import run;"
    "sys.modules['rag.apps.connection'] = types.SimpleNamespace(connect=lambda s, command:"
    " contextlib.nullcontext(types.SimpleNamespace(collections=lambda: {'collections': []},"
    " list_documents=lambda collection: {'documents': []})));"
    "sys.exit(run(sys.argv[1:]))"
)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-", ">&- <&-"])
@pytest.mark.parametrize("arguments", ["collections", "collections --json", "--version"])
def test_an_output_that_takes_nothing_is_an_error_in_one_line(arguments, where, unbuffered):
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {arguments} {where}', sys.executable, PROGRAM],
        env=dict(os.environ) | {"PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    said, *rest = done.stderr.splitlines()
    assert "stdout cannot be written: " in said
    assert len(rest) == ("--json" not in arguments)


@pytest.mark.parametrize(
    ("command", "code"), [("chat <&-", 0), ("collections 2>&-", 0), ("collections >&- 2>&-", 1)]
)
def test_a_closed_input_has_ended_and_a_closed_stderr_hears_nothing(command, code):
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {command}', sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize(
    "arguments", [["collections"], ["collections", "--json"], ["--version"]], ids=" ".join
)
def test_a_reader_that_has_gone_gets_no_complaint(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            # With buffers, as users have it: some of it is only written at the end.
            env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
