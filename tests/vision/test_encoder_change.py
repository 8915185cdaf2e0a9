"""Three encoders and one collection: none mixes with what another made, and migrations change it.

The tests take the collection from words to a tiny ColQwen2 and back; each brings it where it
starts from.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from commands import Commands

from rag.apps.ownership import read_owner
from rag.testing.checkpoints import make_checkpoint

SAMPLE = Path(__file__).parents[2] / "examples" / "sample-report.pdf"
QUESTION = "revenue in the Celtic Sea"


def digests(data: Path) -> dict[str, str]:
    """Of every file: index and its log, packed vectors, sources and manifest.

    Left out is `owner.*`, by which processes find each other, and the inventory, which says when
    files were looked at: every command writes there.
    """
    return {
        str(file.relative_to(data)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(data.rglob("*"))
        if file.is_file() and not file.name.startswith(("owner.", "inventory."))
    }


class Place:
    """A data folder that words made, and the commands over it by each of the encoders."""

    def __init__(self, data: Path, ours: Path, other: Path) -> None:
        self.data = data
        self.model = f"colpali:{ours}"
        self.by_words = Commands(data, "--encoder", "words")
        self.by_vision = Commands(data, "--encoder", self.model)
        self.by_another = Commands(data, "--encoder", f"colpali:{other}")
        self.by_words("ingest", str(SAMPLE))

    def made_by(self) -> str:
        """The encoder of the collection, which any encoder may ask."""
        (collection,) = self.by_words("collections")["collections"]
        return str(collection["encoder"])

    def change(self, kind: str) -> dict[str, Any]:
        """Have the collection made by `words` or `colpali`."""
        if self.made_by().startswith(kind):
            return {}
        if kind == "words":
            return self.by_vision("migrate", "--to-encoder", "words")
        return self.by_words("migrate", "--to-encoder", self.model)

    def refuses(self, commands: Commands, *arguments: str) -> tuple[str, str]:
        """The encoders of the collection and of the settings, as a refusal names them."""
        before = digests(self.data)
        error = commands.refused(*arguments)
        assert digests(self.data) == before
        assert error["code"] == "index_mismatch"
        assert error["next_step"]
        ours, theirs = re.findall(r"encoder '([^']+)'", error["message"])
        return ours, theirs


@pytest.fixture(scope="module")
def place(tiny, loaded_here, tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("change")
    other = make_checkpoint("ColQwen2", folder / "other", seed=1)
    return Place(folder / "data", tiny("ColQwen2"), other)


@pytest.mark.parametrize("arguments", [("search", QUESTION), ("ingest", str(SAMPLE))])
def test_what_words_made_is_refused_to_a_vision_model(place, arguments):
    place.change("words")
    ours, theirs = place.refuses(place.by_vision, *arguments)
    assert ours == place.made_by()
    assert ours.startswith("words@")
    assert theirs.startswith("colpali@")


@pytest.mark.parametrize("arguments", [("search", QUESTION), ("ingest", str(SAMPLE))])
def test_what_a_vision_model_made_is_refused_to_words_and_to_other_weights(place, arguments):
    place.change("colpali")
    made_by = place.made_by()
    by_words = place.refuses(place.by_words, *arguments)
    assert by_words[0] == made_by
    assert by_words[1].startswith("words@")
    # Of one family and of one shape, with other weights.
    by_another = place.refuses(place.by_another, *arguments)
    assert by_another[0] == made_by
    assert by_another[1].startswith("colpali@")
    assert by_another[1] != made_by
    assert place.by_vision("search", QUESTION)["encoder"] == made_by


def serves(process: subprocess.Popen[str], data: Path) -> bool:
    owner = read_owner(data)
    return owner is not None and owner.pid == process.pid and bool(owner.socket)


def test_searches_go_on_while_another_process_migrates(place):
    place.change("words")
    by_words = place.made_by()
    before = place.by_words("search", QUESTION)
    with place.by_words.started("migrate", "--to-encoder", place.model) as migrating:
        while not serves(migrating, place.data) and migrating.poll() is None:
            time.sleep(0.05)
        answers = []
        while migrating.poll() is None:
            code, printed = place.by_words.outcome("search", QUESTION)
            answers.append((code, json.loads(printed.splitlines()[-1])))
        printed, errors = migrating.communicate()
    assert migrating.returncode == 0, errors
    told = json.loads(printed.splitlines()[-1])
    assert (told["switched"], told["encoder_before"]) == (True, by_words)
    assert told["pages"] == {"indexed": 4, "blank": 0, "failed": 0}
    assert told["encoder"] == place.made_by() != by_words

    refused = [answer["error"]["code"] for code, answer in answers if code != 0]
    found = [answer for code, answer in answers if code == 0 and answer["encoder"] == by_words]
    assert len(found) >= 3
    assert all(answer["hits"] == before["hits"] for answer in found)
    # What came after the switch; by words there is no search any more.
    assert [answer for _, answer in answers[: len(found)]] == found
    assert set(refused) <= {"index_mismatch"}


def test_after_a_migration_pages_are_found_and_drawn_by_the_new_model(place, tmp_path):
    place.change("colpali")
    found = place.by_vision(
        "search", QUESTION, "--mode", "visual", "--heatmap", str(tmp_path / "m")
    )
    assert sorted(hit["page_number"] for hit in found["hits"]) == [1, 2, 3, 4]
    assert (tmp_path / "m").stat().st_size > 0
    (document,) = place.by_vision("list")["documents"]
    assert document["source"] == SAMPLE.name
    assert len(list((place.data / "collections").iterdir())) == 1


def test_and_back_to_words(place):
    place.change("colpali")
    told = place.change("words")
    assert told["switched"]
    assert told["encoder_before"].startswith("colpali@")
    assert place.by_words("search", QUESTION)["hits"][0]["page_number"] == 2
    place.refuses(place.by_vision, "search", QUESTION)
    assert place.by_words("ingest", str(SAMPLE))["documents"] == {"unchanged": 1}
