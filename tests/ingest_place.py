"""A folder of PDFs and a data folder, and commands run on them: in this process and in others."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rag.apps.cli.app import run
from rag.settings import load_settings
from rag.testing import make_pdf
from rag.types import Principal
from rag.wiring import Engine

OCTAVO = Path(sys.executable).with_name("octavo")
MARK = "OCTAVO_TEST_MARK"


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, str]:
        """The one error said; a second line would not parse."""
        found: dict[str, str] = json.loads(self.err)["error"]
        return found


class Place:
    """A folder of PDFs and a data folder, and the command run on them."""

    def __init__(self, place: Path) -> None:
        self.docs, self.data = place / "docs", place / "data"
        self.docs.mkdir()
        self.mark = uuid.uuid4().hex

    def write(self, name: str, n_pages: int, word: str = "tide") -> None:
        pages = [
            f"# {word} {number}\nThe {word} of {name} on page {number} comes and goes."
            for number in range(1, n_pages + 1)
        ]
        (self.docs / name).write_bytes(make_pdf(pages))

    def here(self, *arguments: str | Path) -> Ended:
        """A command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([*map(str, arguments), "--json", "--data-dir", str(self.data)])
        return Ended(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """A command in a process of its own, at the head of a group as in a terminal."""
        return subprocess.Popen(
            [OCTAVO, *arguments, "--json", "--data-dir", self.data],
            env=os.environ | {MARK: self.mark, "OCTAVO_RENDER__WORKERS": "2"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, happened: Callable[[], bool], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not happened():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    def n_acknowledged(self) -> int:
        """Pages that the manifest holds, seen from outside."""
        return self._counted("select count(*) from pages")

    def is_indexed(self, source: str) -> bool:
        """Whether the manifest says so of the document, seen from outside."""
        return bool(
            self._counted(
                "select count(*) from documents where source = ? and state = 'indexed'", source
            )
        )

    def _counted(self, query: str, *values: str) -> int:
        manifest = self.data / "manifest.sqlite3"
        if not manifest.exists():
            return 0
        with contextlib.closing(sqlite3.connect(manifest, timeout=10)) as connection:
            try:
                return int(connection.execute(query, values).fetchone()[0])
            except sqlite3.OperationalError:  # no tables yet
                return 0

    def processes(self) -> dict[int, str]:
        """Command lines, by id, of all living processes that `start` is the ancestor of."""
        wanted = f"{MARK}={self.mark}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def check_whole(
        self, expected: dict[str, int], word_of: Callable[[str], str] = lambda _: "tide"
    ) -> None:
        """The manifest, the index and the kept files hold these documents, each page once."""
        with Engine(load_settings(overrides={"store": {"data_dir": self.data}})) as engine:
            reader = engine.repository.reader(Principal.owner(), "default")
            documents = reader.documents()
            assert {document.source: document.n_pages for document in documents} == expected
            assert {str(document.state) for document in documents} == {"indexed"}
            ids = reader.ids()
            refs = Counter(page.ref for page in reader.pages(ids).values())
            assert set(refs.values()) == {1}
            assert Counter(ref.document_id for ref in refs) == {
                document.document_id: document.n_pages for document in documents
            }
            # What the index holds beyond what is visible would be left of another version.
            assert engine._index("default").count() == len(ids) == sum(expected.values())
            for document in documents:
                for number in range(1, document.n_pages + 1):
                    text = reader.page(document.document_id, number).text.text
                    said = f"The {word_of(document.source)} of {document.source} on page {number} "
                    assert said in text
            kept = [path.name for path in (self.data / "sources").rglob("*") if path.is_file()]
            assert sorted(kept) == sorted(f"{document.sha256}.pdf" for document in documents)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("OCTAVO_RENDER__WORKERS", "1")  # what runs here starts no more than it needs
    made = Place(tmp_path)
    yield made
    for process in made.processes():
        os.kill(process, signal.SIGKILL)
