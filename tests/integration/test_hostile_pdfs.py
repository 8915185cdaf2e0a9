"""Files made to harm, through `octavo ingest`: each is decided in time and memory, and heard of."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile_folder import make_deep, make_named, make_special
from watched_ingest import Measured, adds_up, faults, watched_ingest

from rag.apps.cli.app import run
from rag.testing import make_pdf
from rag.testing.hostile_images import hostile_images
from rag.testing.hostile_pdfs import HIDDEN_WORD, hostile_pdfs, hostile_remotes

MAX_FILE_S = 120.0
MAX_MEMORY_BYTES = 8 << 30
# How files end that can end in one way only; the others may be read by one reader and not by
# another.
ENDS = {
    "also-a-zip.pdf": "indexed",
    "also-html.pdf": "indexed",
    "bomb-50000-by-50000.png": "too_many_pixels",
    "claims-2-to-the-31.png": "too_many_pixels",
    "cmyk.jpg": "indexed",
    "content-missing.pdf": "indexed",
    "head-after-1000-bytes.pdf": "indexed",
    "head-after-5000-bytes.pdf": "not_a_pdf",
    "is-html.pdf": "not_a_pdf",
    "is-postscript.png": "damaged",
    "locked-by-a-password.pdf": "password_required",
    "page-of-html.png": "damaged",
    "pages-100000.pdf": "too_many_pages",
    "several.jpg": "indexed",
    "tree-zero-pages.pdf": "zero_pages",
    "words-20000-on-a-page.pdf": "indexed",
}
# Files that people may want to read: as many pages, whatever their trees claim.
N_PAGES = {
    "also-a-zip.pdf": 1,
    "animated.gif": 1,
    "pages-3000.pdf": 3000,
    "several.jpg": 1,
    "tree-one-page-300-times.pdf": 300,
}
# Read in a moment; the others are left to the night.
IN_SUITE = (
    *("also-a-zip", "also-html", "arrays-200000-deep", "filters-a-thousand", "box-10-to-the-38"),
    *("box-14400", "box-nan", "box-negative", "box-user-unit-75000", "colour-of-itself"),
    *("content-missing", "content-of-brackets", "content-of-huge-numbers", "content-of-noise"),
    *("cut-by-200-bytes", "cut-in-half", "cut-in-the-first-object", "fields-in-a-ring"),
    *("filters-of-2-gigacolumns", "filters-of-a-hurt-stream", "font-cjk-not-embedded"),
    *("font-truetype-of-noise", "forms-call-themselves", "glyph-of-itself"),
    *("head-after-1000-bytes", "head-after-5000-bytes", "head-alone", "is-html"),
    *("length-is-the-stream-itself", "locked-by-a-password", "locked-by-an-unknown-handler"),
    *("locked-by-its-own-reference", "names-in-a-ring", "objects-in-their-own-stream"),
    *("outline-its-own-child", "outline-its-own-next", "pages-100000", "picture-negative"),
    *("picture-jbig2-of-noise", "picture-jpx-16-million-wide", "references-in-a-ring"),
    *("rotate-45", "text-of-lone-surrogates", "text-that-steers-a-terminal", "text-turned-round"),
    *("title-that-steers-a-terminal", "title-of-lone-surrogates", "tree-2-to-the-40-pages"),
    *("tree-count-says-2-of-10", "tree-count-negative", "tree-kids-in-a-ring"),
    *("tree-kids-its-own", "tree-parents-in-a-ring", "tree-zero-pages", "xref-its-own-previous"),
    *("xref-tables-in-a-ring", "xref-start-beyond-the-end", "xref-widths-huge", "xref-none"),
)
IMAGES_IN_SUITE = (
    *("16-bit.png", "animated.gif", "bomb-50000-by-50000.png", "checksums-wrong.png"),
    *("claims-2-to-the-31.png", "cmyk.jpg", "cut.tif", "directories-in-a-ring.tif", "cut.png"),
    *("exif-in-a-ring.jpg", "is-postscript.png", "page-of-html.png", "several.jpg"),
    *("profile-bomb.png", "text-bomb.png"),
)


def all_files() -> dict[str, Callable[[], bytes]]:
    return {f"{name}.pdf": make for name, make in hostile_pdfs().items()} | hostile_images()


def written(folder: Path, names: list[str]) -> Path:
    """The folder, with these files of `all_files` in it."""
    folder.mkdir()
    made = all_files()
    for name in names:
        (folder / name).write_bytes(made[name]())
    return folder


def check(measured: Measured, names: list[str]) -> None:
    assert (measured.code in (0, 1, 3), measured.err) == (True, "")
    events = measured.events
    assert sorted(event["source"] for event in measured.documents) == sorted(names)
    assert [(source, faults(event)) for source, event in events.items() if faults(event)] == []
    assert adds_up(measured), measured.totals
    for source, event in events.items():
        ended = event["error"]["code"] if event["error"] else event["state"]
        if ended == "all_pages_failed":
            assert event["pages"] == len(event["failed_pages"]) > 0, event
        assert ended == ENDS.get(source, ended), event
        if event["state"] == "indexed":
            assert event["pages"] == N_PAGES.get(source, event["pages"]), event
    assert {name: s for name, s in measured.file_s.items() if s > MAX_FILE_S} == {}
    assert 0 < measured.peak_bytes < MAX_MEMORY_BYTES


def octavo(data: Path, *arguments: str) -> tuple[int, str]:
    """Exit code of a command in this process, and all it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = run([arguments[0], "--data-dir", str(data), *arguments[1:]])
    return code, out.getvalue()


def search(data: Path, words: str) -> list[dict[str, object]]:
    code, printed = octavo(data, "search", words, "--json")
    assert code == 0, printed
    hits: list[dict[str, object]] = json.loads(printed)["hits"]
    return hits


# --- kinds of harm ------------------------------------------------------------------------------
def test_hostile_files_are_decided_in_time_and_memory_and_the_others_are_found(
    tmp_path: Path,
) -> None:
    names = [*(f"{name}.pdf" for name in IN_SUITE), *IMAGES_IN_SUITE]
    folder = written(tmp_path / "files", names)
    (folder / "zz-good.pdf").write_bytes(make_pdf(["The harvest of quinces was plentiful."]))

    measured = watched_ingest(tmp_path / "data", [folder], OCTAVO_RENDER__PAGE_TIMEOUT_S="10")

    check(measured, [*names, "zz-good.pdf"])
    assert search(tmp_path / "data", "harvest of quinces")[0]["source"] == "zz-good.pdf"
    code, printed = octavo(tmp_path / "data", "list", "--json")
    listed = {each["source"]: each["state"] for each in json.loads(printed)["documents"]}
    assert code == 0
    assert listed == {source: event["state"] for source, event in measured.events.items()}


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("renderer", ["auto", "pypdfium2"])
def test_so_are_all_kinds_in_one_run(tmp_path: Path, renderer: str) -> None:
    names = sorted(all_files())
    folder = written(tmp_path / "files", names)

    measured = watched_ingest(tmp_path / "data", [folder], OCTAVO_RENDER__RENDERER=renderer)

    check(measured, names)
    assert search(tmp_path / "data", "a line that is there")


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(all_files()))
def test_so_is_each_kind_alone(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path / "files", [name])

    measured = watched_ingest(tmp_path / "data", [folder])

    check(measured, [name])
    search(tmp_path / "data", "a line that is there")


def test_words_that_nobody_sees_are_told_and_not_found(tmp_path: Path) -> None:
    names = [name for name in all_files() if name.startswith("hidden-")]
    folder = written(tmp_path / "files", names)

    measured = watched_ingest(tmp_path / "data", [folder])

    check(measured, names)
    told = {
        source
        for source, event in measured.events.items()
        if "hidden_text" in {warning["code"] for warning in event["warnings"]}
    }
    # Readers leave out by themselves what lies off the page or in a layer that is off.
    assert told >= {"hidden-white.pdf", "hidden-by-mode-3.pdf", "hidden-at-0.7-points.pdf"}
    assert {event["state"] for event in measured.documents} == {"indexed"}
    hits = search(tmp_path / "data", f"{HIDDEN_WORD} previous instructions")
    assert HIDDEN_WORD not in json.dumps(hits)
    assert len(search(tmp_path / "data", "plainly visible words about revenue")) > 1


# --- what reaches out ---------------------------------------------------------------------------
@contextlib.contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """An address, and who came there by TCP or UDP."""
    came: list[str] = []
    stop = threading.Event()
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        for each in (tcp, udp):
            each.settimeout(0.1)

        def listen() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    tcp.accept()[0].close()
                    came.append("tcp")
                with contextlib.suppress(TimeoutError):
                    udp.recvfrom(2048)
                    came.append("udp")

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"127.0.0.1:{port}", came
        finally:
            stop.set()
            thread.join()


def test_no_file_starts_a_program_or_reaches_out(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with listening() as (address, came):
        made = hostile_remotes(address)
        for name, data in made.items():
            (folder / f"{name}.pdf").write_bytes(data)
        measured = watched_ingest(tmp_path / "data", [folder], cwd=tmp_path)
        for name in ("remote-picture", "remote-form"):
            code, printed = octavo(
                tmp_path / "data", "page", f"{name}.pdf", "1", "-o", str(tmp_path / "page.png")
            )
            assert code == 0, printed
        assert came == []
        host, port = address.split(":")
        socket.create_connection((host, int(port))).close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(b"here", (host, int(port)))
        for _ in range(100):
            if len(came) == 2:
                break
            threading.Event().wait(0.05)
        assert sorted(came) == ["tcp", "udp"]  # who had come would have been noticed

    check(measured, [f"{name}.pdf" for name in made])
    assert {event["state"] for event in measured.documents} == {"indexed"}
    assert not list(tmp_path.rglob("owned"))
    assert not list(tmp_path.rglob("evil.sh"))


# --- names and what is no file ------------------------------------------------------------------
def steering(printed: str) -> list[str]:
    """Characters that steer a terminal, or turn round what follows."""
    return [
        f"{character!r} in {printed[max(0, at - 20) : at + 20]!r}"
        for at, character in enumerate(printed)
        if (unicodedata.category(character) == "Cc" and character != "\n")
        or re.match("[\u202a-\u202e\u2066-\u2069]", character)
    ]


def test_names_that_steer_terminals_are_read_and_shown_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = tmp_path / "files", tmp_path / "data"
    n_files = make_named(folder, make_pdf(["Quinces and medlars."], title="A\x1b[31m title"))
    assert n_files > 20

    monkeypatch.chdir(tmp_path)
    code, printed = octavo(data, "ingest", str(folder))
    assert code == 0, printed
    code, as_json = octavo(data, "ingest", str(folder), "--json")
    events = [json.loads(line) for line in as_json.splitlines()]
    sources = [event["source"] for event in events if event["event"] == "document"]
    shown = [printed, as_json]
    commands = (
        *(("list",), ("list", "--json"), ("search", "quinces", "-k", "50")),
        ("search", "quinces", "-k", "50", "--json"),
        *(("show", "nothing\x1b[31m\u202e.pdf"), ("rm", "\x9bnothing.pdf")),
        *(("show", source) for source in sources[::14] if not source.startswith("-")),
    )
    shown += [octavo(data, *command)[1] for command in commands]

    assert code == 0
    assert len(set(sources)) == n_files  # composed and decomposed names are two documents
    assert {event["state"] for event in events[:-1]} == {"unchanged"}
    assert [found for text in shown for found in steering(text)] == []
    assert len(json.loads(shown[5])["hits"]) == n_files
    code, printed = octavo(data, "rm", "--json", "--", *sources)
    assert code == 0, printed
    assert json.loads(octavo(data, "list", "--json")[1])["documents"] == []
    assert not (tmp_path / "owned").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "files"]


def test_links_pipes_and_devices_are_told_and_not_read(tmp_path: Path) -> None:
    folder, data = tmp_path / "files", tmp_path / "data"
    expected = make_special(folder, make_pdf(["Quinces and medlars."]))

    measured = watched_ingest(data, [folder])

    ended = {
        source: event["error"]["code"] if event["error"] else event["state"]
        for source, event in measured.events.items()
    }
    assert ended == expected
    assert (measured.code, measured.err) == (3, "")
    assert [faults(event) for event in measured.documents if faults(event)] == []
    assert adds_up(measured)
    assert measured.seconds < 60
    assert {hit["source"] for hit in search(data, "quinces")} <= {
        source for source, code in expected.items() if code == "indexed"
    }


def test_a_pipe_or_device_given_by_name_is_refused(tmp_path: Path) -> None:
    make_special(tmp_path / "files", make_pdf(["Quinces and medlars."]))

    for name in ("to the pipe.pdf", "endless.pdf"):
        code, printed = octavo(tmp_path / "data", "ingest", str(tmp_path / "files" / name))
        assert code == 1, printed
        assert "not a file" in printed


def test_folders_too_deep_to_name_are_told(tmp_path: Path) -> None:
    make_deep(tmp_path / "files" / "deep", make_pdf(["Unreachable."]))
    (tmp_path / "files" / "good.pdf").write_bytes(make_pdf(["Quinces and medlars."]))

    measured = watched_ingest(tmp_path / "data", [tmp_path / "files"])

    states = [event["state"] for event in measured.documents]
    assert measured.events["good.pdf"]["state"] == "indexed"
    assert (measured.code, sorted(states)) == (3, ["failed", "indexed"])
    assert [faults(event) for event in measured.documents if faults(event)] == []
