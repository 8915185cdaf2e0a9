"""`--encoder custom:module:function`: encoders of one's own, through the real commands."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from commands import OCTAVO, Commands
from place_encoders import N_PLACES, marked_page

from rag.encoders.custom import load_custom_encoder
from rag.errors import ConfigError, ModelFailed
from rag.settings import EncoderSettings
from rag.testing import make_pdf

# What somebody might write: sixteen letters are seen, by how often a page says them.
OWN = """
import numpy as np

from rag.geometry import Box
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity
from rag.types import MultiVector, VectorKind


LETTERS = "klmnopqrstuvwxyz"


def rows_of(text):
    counts = np.array([[text.lower().count(letter) for letter in LETTERS]], np.float32) + 0.01
    return (counts / np.linalg.norm(counts)).astype(np.float32)


class Letters:
    wants_image = False

    def __init__(self, settings):
        self.identity = EncoderIdentity("letters", settings.revision or "1", 16, 16)

    def encode_pages(self, pages):
        nothing = MultiVector(np.zeros((0, 16), np.float32), np.zeros((0, 4), np.float32))
        encoded = []
        for page in pages:
            rows = rows_of(" ".join(page.text.words))
            boxes = np.float32([[0, 0, page.width_pt, page.height_pt]])
            seen = MultiVector(rows, boxes, np.full(1, VectorKind.PATCH, np.uint8))
            encoded.append(EncodedPage(seen, None, rows, nothing))
        return encoded

    def encode_query(self, text, *, image=None):
        rows = rows_of(text)
        return EncodedQuery(MultiVector(rows), rows[0])

    def close(self):
        pass


def letters(settings):
    return Letters(settings)


def failing(settings):
    raise KeyError("weights.bin")


def refusing(settings):
    from rag.errors import ModelFailed

    raise ModelFailed("the weights are damaged", next_step="Fetch them again.")


def nothing(settings):
    return None


class WithoutQueries(Letters):
    encode_query = None


class WithoutIdentity(Letters):
    def __init__(self, settings):
        self.identity = "letters"


class OfThree(Letters):
    def __init__(self, settings):
        self.identity = EncoderIdentity("letters", "1", 3, 3)


class Undecided(Letters):
    wants_image = "sometimes"


a_value = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name; a new one for each test, as modules are imported once."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / f"{name}.py").write_text(OWN)
    (tmp_path / "code" / f"{name}_broken.py").write_text("import (")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    return name


def pdfs(folder: Path) -> list[str]:
    files = []
    for word in ("xxxx", "yyyy", "zzzz"):
        files.append(str(folder / f"{word}.pdf"))
        Path(files[-1]).write_bytes(make_pdf([f"{word} {word} stands here"]))
    return files


def test_pages_are_ingested_and_found_by_an_encoder_of_ones_own(
    tmp_path: Path, module: str
) -> None:
    """In processes of their own, as a user runs them: the module is found by PYTHONPATH."""
    octavo = [OCTAVO, "--data-dir", str(tmp_path / "data"), "--encoder", f"custom:{module}:letters"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "code")}

    def printed(command: str, *arguments: str) -> str:
        head, *flags = octavo
        done = subprocess.run(
            [head, command, *arguments, *flags, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert '"letters@1"' in printed("ingest", *pdfs(tmp_path))
    found = printed("search", "yyyy", "--mode", "visual", "--top-k", "1")
    assert '"source": "yyyy.pdf"' in found


def test_the_function_is_given_the_settings_of_the_encoder(module: str) -> None:
    chosen = EncoderSettings(name="custom", model=f"{module}:letters", revision="7")
    assert str(load_custom_encoder(chosen).identity) == "letters@7"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("", "is not written as module:function"),
        ("MODULE", "is not written as module:function"),
        ("MODULE:", "is not written as module:function"),
        (":letters", "is not written as module:function"),
        ("not_there:letters", "cannot be loaded: ModuleNotFoundError"),
        (".MODULE:letters", "cannot be loaded: TypeError"),
        ("MODULE_broken:letters", "cannot be loaded: SyntaxError"),
        ("MODULE:numbers", "cannot be loaded: AttributeError"),
        ("MODULE:a_value", "cannot be loaded: TypeError"),
        ("MODULE:failing", "cannot be loaded: KeyError: 'weights.bin'"),
        ("MODULE:nothing", "is no encoder: it has no method encode_pages"),
        ("MODULE:WithoutQueries", "is no encoder: it has no method encode_query"),
        ("MODULE:WithoutIdentity", "is no encoder: its identity is no"),
        ("MODULE:Undecided", "is no encoder: its wants_image"),
    ],
)
def test_what_gives_no_encoder_is_named_with_the_way_to_write_it(
    module: str, named: str, said: str
) -> None:
    chosen = EncoderSettings(name="custom", model=named.replace("MODULE", module))
    with pytest.raises(ConfigError, match=said) as refused:
        load_custom_encoder(chosen)
    assert "module:function" in refused.value.next_step
    assert "PYTHONPATH" in refused.value.next_step


def test_an_error_of_ours_that_the_function_raises_stays_what_it_is(module: str) -> None:
    with pytest.raises(ModelFailed, match="damaged"):
        load_custom_encoder(EncoderSettings(name="custom", model=f"{module}:refusing"))


def test_a_command_ends_with_the_error_of_its_encoder(tmp_path: Path, module: str) -> None:
    octavo = Commands(tmp_path / "data", "--encoder", f"custom:{module}:failing")
    error = octavo.refused("ingest", *pdfs(tmp_path))
    assert "KeyError: 'weights.bin'" in error["message"]
    assert "module:function" in error["next_step"]
    octavo = Commands(tmp_path / "data", "--encoder", f"custom:{module}:OfThree")
    assert "zeros" in octavo.refused("ingest", *pdfs(tmp_path))["next_step"]
    octavo = Commands(tmp_path / "data", "--encoder", "custom")
    assert "module:function" in octavo.refused("ingest", *pdfs(tmp_path))["message"]


def test_another_encoder_of_ones_own_finds_no_vectors_of_the_first(
    tmp_path: Path, module: str
) -> None:
    ours = Commands(tmp_path / "data", "--encoder", f"custom:{module}:letters")
    assert ours("ingest", *pdfs(tmp_path))["documents"]["indexed"] == 3
    other = Commands(tmp_path / "data", "--encoder", "custom:place_encoders:places")
    assert "letters@1" in other.refused("search", "yyyy")["message"]


def test_questions_asked_several_at_a_time_find_what_they_find_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "marks"
    (folder / "docs").mkdir(parents=True)
    rows = ["query_id\tdoc\tpage\trelevance"]
    questions = []
    for place in range(1, N_PLACES + 1):
        (folder / "docs" / f"d{place}.pdf").write_bytes(make_pdf([marked_page(place)]))
        question = {"id": f"q{place}", "text": f"place {place}", "answer": "", "type": "mark"}
        questions.append(json.dumps(question))
        rows.append(f"q{place}\td{place}.pdf\t1\t1")
    (folder / "queries.jsonl").write_text("\n".join(questions))
    (folder / "qrels.tsv").write_text("\n".join(rows))
    octavo = Commands(tmp_path / "data", "--encoder", "custom:place_encoders:places")
    found = {}
    for workers in ("1", "4"):
        flags = ("--workers", workers, "--no-cache", "--no-report", "--out", workers)
        told = octavo("eval", "run", str(folder), *flags)
        assert (told["workers"], told["measures"]["Success@1"]) == (int(workers), 1.0)
        found[workers] = (tmp_path / workers / "run.tsv").read_text()
    assert found["1"] == found["4"]
