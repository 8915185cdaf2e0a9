"""`octavo eval sets` and `octavo eval prepare`, from local copies and from a hub over a socket."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from commands import Commands
from page_copies import beir, picture, vidore_v2, write_table
from unidoc_copies import write_copy

from eval.datasets.folder import load_dataset
from rag.apps.cli.app import run

OCTAVO = Path(sys.executable).with_name("octavo")
PART = "esg_reports"


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def told(self) -> dict[str, Any]:
        assert self.code == 0, self.stderr
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @property
    def error(self) -> dict[str, str]:
        assert self.code != 0, self.stdout
        found: dict[str, str] = json.loads(self.stderr.splitlines()[-1])["error"]
        return found


def octavo(*arguments: object) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(each) for each in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def test_sets_are_listed_with_how_to_get_them():
    table = octavo("eval", "sets").stdout
    assert "octavo eval prepare NAME hub --to DIR" in table
    assert "vidore-v3" in table
    assert "CC-BY-4.0" in table
    by_name = {each["name"]: each for each in octavo("eval", "sets", "--json").told["sets"]}
    assert {"vidore-v1", "vidore-v2", "vidore-v3", "real-mm-rag", "mmeb-v2"} <= by_name.keys()
    assert by_name["mmeb-v2"]["main_measure"] == "nDCG@5"
    assert len(by_name["vidore-v3"]["parts"]) == 8
    assert "corpus_id" in by_name["vidore-v3"]["layout"]


def test_a_local_copy_is_prepared_measured_and_found_unchanged(tmp_path):
    vidore_v2(tmp_path / "copy" / "esg_reports_v2")
    command = ("eval", "prepare", "vidore-v2", tmp_path / "copy", "--to", tmp_path / "to")
    done = octavo(*command)
    assert done.code == 0, done.stderr
    folder = tmp_path / "to" / "vidore-v2-esg_reports"
    assert "3 documents, 3 pages, 2 questions (2 graded)" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["octavo", "eval", "run", str(folder)]
    assert "licence: MIT" in done.stderr
    assert "not in this copy: biomedical_lectures" in done.stderr

    again = octavo(*command, "--json").told["prepared"][0]
    assert (again["state"], again["documents"], again["graded"]) == ("unchanged", 3, 2)
    assert again["origin"]["revision"].startswith("sha256:")

    commands = Commands(tmp_path / "data")
    out, history = tmp_path / "run", tmp_path / "history"
    measured = commands("eval", "run", str(folder), "--out", str(out), "--history", str(history))
    assert measured["out"] == str(out)
    assert (out / "run.tsv").read_text().count("\n") > 2


def test_a_part_a_revision_and_a_sample_can_be_asked_for(tmp_path):
    beir(
        tmp_path / "docvqa",
        pages=[f"page {number}" for number in range(9)],
        qrels=[{"query-id": 0, "corpus-id": 4, "score": 1}],
    )
    done = octavo(
        "eval",
        "prepare",
        "vidore-v1",
        tmp_path / "docvqa",
        "--to",
        tmp_path / "to",
        "--part",
        "docvqa",
        "--revision",
        "v7",
        "--sample",
        3,
        "--seed",
        5,
        "--json",
    )
    told = done.told
    (prepared,) = told["prepared"]
    assert prepared["documents"] == 4
    assert prepared["origin"]["revision"] == "v7"
    assert prepared["origin"]["sampled"] == {"seed": 5, "others": 3}
    assert prepared["folder"].endswith("vidore-v1-docvqa-sample-3-seed-5")
    assert told["parts_missing"] == []
    assert "4.png" in load_dataset(Path(prepared["folder"])).documents


def test_a_sample_of_more_than_there_is_is_called_none(tmp_path):
    vidore_v2(tmp_path / "esg_reports_v2")
    done = octavo(
        *("eval", "prepare", "vidore-v2", tmp_path / "esg_reports_v2", "--part", PART),
        *("--to", tmp_path / "to", "--sample", 1000, "--json"),
    )
    (prepared,) = done.told["prepared"]
    assert prepared["folder"].endswith("/vidore-v2-esg_reports")
    assert prepared["origin"]["sampled"] is None


def test_a_copy_of_some_domains_of_unidoc_bench_goes_on_with_them(tmp_path):
    write_copy(tmp_path / "copy")
    command = ("eval", "prepare", "unidoc-bench", tmp_path / "copy", "--to", tmp_path / "to")
    assert "--option expect=any" in octavo(*command, "--json").error["next_step"]
    done = octavo(*command, "--option", "expect=any")
    assert done.code == 0, done.stderr
    assert "unidoc-bench-legal" in done.stdout
    assert "not in this copy: commerce_manufacturing, construction, crm" in done.stderr


def test_the_revision_of_a_copy_is_its_bytes(tmp_path):
    def revision(name: str) -> str:
        done = octavo(
            "eval",
            "prepare",
            "vidore-v2",
            tmp_path / name,
            "--to",
            tmp_path / f"to-{name}",
            "--json",
        )
        found: str = done.told["prepared"][0]["origin"]["revision"]
        return found

    for name in ("one", "two", "three"):
        vidore_v2(tmp_path / name / "esg_reports_v2")
    (tmp_path / "two" / "esg_reports_v2" / "README.md").write_text("a card that was edited")
    write_table(tmp_path / "three" / "esg_reports_v2" / "more", [{"a": 1}])
    assert revision("one") == revision("two") != revision("three")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["vidore-v9", "copy"], "unknown_set", "vidore-v3"),
        (["vidore-v2", "./nowhere"], "no_source", "OWNER/NAME"),
        (["vidore-v2", "empty"], "no_source", "octavo eval sets"),
        (["vidore-v2", "copy", "--part", "sport"], "unknown_part", "esg_reports"),
        (["vidore-v2", "copy", "--option", "level=1"], "unknown_option", "language"),
        (["vidore-v2", "copy"], "dataset_layout", "corpus/"),
    ],
)
def test_what_cannot_be_prepared_is_told_with_what_there_is(arguments, code, said, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "README.md").write_text("not yet fetched")
    name, source, *rest = arguments
    source = source if source.startswith(".") else tmp_path / source
    done = octavo("eval", "prepare", name, source, "--to", tmp_path / "to", *rest, "--json")
    assert done.error["code"] == code
    assert said in done.error["next_step"]


def test_an_option_without_a_value_is_a_matter_of_usage(tmp_path):
    done = octavo("eval", "prepare", "vidore-v2", tmp_path, "--to", tmp_path, "--option", "x")
    assert done.code == 2


def test_a_run_that_was_killed_leaves_no_dataset_and_the_next_one_is_whole(tmp_path):
    pages = [f"page {number}" for number in range(150)]
    beir(tmp_path / "docvqa_test_subsampled_beir", pages=pages)
    command = [
        "eval",
        "prepare",
        "vidore-v1",
        tmp_path,
        "--to",
        tmp_path / "to",
        "--part",
        "docvqa",
    ]
    running = subprocess.Popen(
        [str(OCTAVO), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    docs = tmp_path / "to" / ".partial" / "vidore-v1-docvqa" / "docs"
    try:
        deadline = time.monotonic() + 60
        while not (docs.is_dir() and len(list(docs.iterdir())) > 3):
            assert time.monotonic() < deadline
            assert running.poll() is None, "it was done before it could be killed"
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait(timeout=20)
    folder = tmp_path / "to" / "vidore-v1-docvqa"
    assert not folder.exists()
    done = octavo(*command)
    assert done.code == 0, done.stderr
    assert len(load_dataset(folder).documents) == 150
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["vidore-v1-docvqa"]


# --- From a hub -----------------------------------------------------------------------------------
COMMIT = "c" * 40
HUB_ID = "vidore/esg_reports_v2"


class Hub(BaseHTTPRequestHandler):
    """What the client asks of a hub, for datasets that lie in a folder."""

    root: Path

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, *, body=True):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "datasets"]:
            return self.of_repository("/".join(parts[2:4]), parts[4:])
        path = self.root.joinpath(*parts[1:3], *parts[5:])
        data = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return self.send(200, data, headers, body=body)

    def of_repository(self, hub_id, rest):
        folder = self.root / hub_id
        if not folder.is_dir():
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT):
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["tree"]:
            found = [
                {
                    "type": "file",
                    "path": path.relative_to(folder).as_posix(),
                    "size": path.stat().st_size,
                    "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
                }
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            ]
            return self.send(200, json.dumps(found).encode())
        told = {"id": hub_id, "sha": COMMIT, "siblings": []}
        return self.send(200, json.dumps(told).encode())

    def send(self, status, data, headers=None, *, body=True):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    vidore_v2(root / HUB_ID)
    vidore_v2(root / "mirror" / "esg")
    (root / HUB_ID / "README.md").write_text("a card")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("AHub", (Hub,), {"root": root}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


# The client reads where its hub is when it is imported, so commands run in a process of their own,
# one after the other.
_EACH = """
import contextlib, io, json, sys
from rag.apps.cli.app import run
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def from_hub(endpoint, tmp_path, *commands) -> list[Done]:
    """How each of the commands ended."""
    environ = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_ETAG_TIMEOUT": "2",
    }
    environ.pop("HF_HUB_OFFLINE", None)
    whole = [["eval", "prepare", "vidore-v2", *each, "--json"] for each in commands]
    done = subprocess.run(
        [sys.executable, "-c", _EACH],
        env=environ,
        input=json.dumps(whole, default=str),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Done(*json.loads(line)) for line in done.stdout.splitlines()]


def test_a_part_is_fetched_from_the_hub_at_the_commit_it_has_now(hub, tmp_path):
    to = ["--to", tmp_path / "to"]
    copy, elsewhere = tmp_path / "to" / "hub-copies", tmp_path / "elsewhere"
    first, again, local, mirrored, ambiguous = from_hub(
        hub,
        tmp_path,
        ["hub", *to, "--part", PART],
        [HUB_ID, *to, "--revision", COMMIT, "--part", PART],
        [copy, "--to", tmp_path / "from-copy"],
        ["mirror/esg", "--to", elsewhere, "--part", PART],
        ["mirror/esg", "--to", elsewhere],
    )
    (prepared,) = first.told["prepared"]
    assert prepared["origin"]["revision"] == COMMIT
    assert prepared["origin"]["source"] == HUB_ID
    dataset = load_dataset(Path(prepared["folder"]))
    assert (dataset.folder / "docs" / "1.png").read_bytes() == picture("beta")
    assert again.told["prepared"][0]["state"] == "unchanged"
    # What was fetched is a local copy in the published layout.
    assert (copy / "esg_reports_v2" / "corpus" / "test-00000-of-00002.parquet").is_file()
    assert local.told["prepared"][0]["questions"] == 2
    # Another repository in the same layout stands for a part that is named.
    assert mirrored.told["prepared"][0]["origin"]["revision"] == COMMIT
    assert mirrored.told["prepared"][0]["origin"]["source"] == "mirror/esg"
    assert ambiguous.error["code"] == "one_repository"


def test_what_the_hub_has_not_is_told(hub, tmp_path):
    to = ["hub", "--to", tmp_path / "to"]
    ended = from_hub(
        hub,
        tmp_path,
        [*to, "--part", PART, "--revision", "gone"],
        [*to, "--part", "economics_reports"],
        [*to, "--revision", COMMIT],
        [*to, "--part", "sport"],
    )
    assert [each.error["code"] for each in ended] == [
        "unknown_revision",
        "unknown_dataset",
        "one_revision",
        "unknown_part",
    ]
    assert not (tmp_path / "to" / "vidore-v2-esg_reports").exists()


def test_without_a_network_it_is_told_how_to_copy_by_hand(tmp_path):
    command = ["hub", "--to", tmp_path / "to", "--part", PART]
    (done,) = from_hub("http://127.0.0.1:9", tmp_path, command)
    assert done.error["code"] == "hub_unreachable"
    assert f"hf download --repo-type dataset {HUB_ID}" in done.error["next_step"]
    assert "corpus/ (corpus-id, image)" in done.error["next_step"]
