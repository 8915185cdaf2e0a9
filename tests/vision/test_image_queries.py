"""Images, regions and pages as queries of a collection that a vision encoder made."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from rag import Octavo
from rag.apps.cli.app import run
from rag.encoders.self_test import QUERIES, pages
from rag.errors import InputError
from rag.settings import load_settings

FAMILY = "ColQwen2"


def settings_of(checkpoint):
    chosen = {"name": "colpali", "model": str(checkpoint), "device": "cpu"}
    return load_settings(overrides={"encoder": chosen, "render": {"dpi": 72}})


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The self-test's pages as one PDF, 448 points square."""
    file = tmp_path_factory.mktemp("report") / "report.pdf"
    first, *others = pages()
    first.save(file, "PDF", save_all=True, append_images=others, resolution=72)
    return file


@pytest.fixture(scope="module")
def late(tiny, report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("late")
    with Octavo(folder, settings=settings_of(tiny(FAMILY))) as octavo:
        octavo.ingest(report)
        yield octavo


def numbers(hits):
    return [hit["page_number"] for hit in hits]


@pytest.mark.parametrize("number", range(1, len(QUERIES) + 1))
def test_a_pages_own_picture_finds_the_page(late, number):
    found = late.search(image=pages()[number - 1])
    assert found.response["mode"] == "visual"
    assert found.response["image"] is True
    assert numbers(found)[0] == number


def test_pages_like_a_page_and_like_a_part_of_it(late):
    whole = late.search(like=("report.pdf", 1))
    assert sorted(numbers(whole)) == [2, 3, 4]
    part = late.search(like=("report.pdf", 1, (0, 0, 224, 224)))
    assert sorted(numbers(part)) == [2, 3, 4]
    # A smaller part has fewer rows, and each adds at most 1.
    assert part[0]["score"] < whole[0]["score"]
    with pytest.raises(InputError, match="not on page 1"):
        late.search(like=("report.pdf", 1, (0, 0, 500, 500)))


def test_a_question_moved_far_finds_the_other_page(late):
    asked = {"query": QUERIES[0], "mode": "visual"}
    assert numbers(late.search(**asked))[0] == 1
    moving = {"towards": QUERIES[3], "away_from": QUERIES[0]}
    assert numbers(late.search(**asked, **moving, strength=8.0))[0] == 4
    assert list(late.search(**asked, **moving, strength=0.0)) == list(late.search(**asked))


def test_from_the_command_line(tiny, report, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pages()[2].save("circuit.png")
    common = ("--encoder", f"colpali:{tiny(FAMILY)}", "--device", "cpu", "--json")
    assert run(["ingest", str(report), *common]) == 0
    capsys.readouterr()

    def search(*arguments):
        code = run(["search", *arguments, *common])
        captured = capsys.readouterr()
        return json.loads(captured.out) if code == 0 else json.loads(captured.err)

    alone = search("--image", "circuit.png")
    assert (alone["mode"], alone["hits"][0]["page_number"]) == ("visual", 3)
    both = search("circuit diagram", "--image", "circuit.png")
    assert (both["mode"], both["hits"][0]["page_number"]) == ("hybrid", 3)
    # The rows of the text are searched with beside those of the image.
    assert both["hits"][0]["scores"]["maxsim"] > alone["hits"][0]["scores"]["maxsim"]
