"""Images, regions and pages as queries of a collection that a vision encoder made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from rag import Octavo
from rag.apps.cli.app import run
from rag.encoders.self_test import QUERIES, pages
from rag.errors import InputError
from rag.settings import load_settings

LATE, SINGLE = "ColQwen2", "BiQwen2"


def settings_of(encoder, checkpoint):
    chosen = {"name": encoder, "model": str(checkpoint), "device": "cpu"}
    return load_settings(overrides={"encoder": chosen, "render": {"dpi": 72}})


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The self-test's pages as one PDF, 448 points square."""
    file = tmp_path_factory.mktemp("report") / "report.pdf"
    first, *others = pages()
    first.save(file, "PDF", save_all=True, append_images=others, resolution=72)
    return file


@pytest.fixture(scope="module")
def late_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("late")


@pytest.fixture(scope="module")
def late(tiny, report, late_folder):
    with Octavo(late_folder, settings=settings_of("colpali", tiny(LATE))) as octavo:
        octavo.ingest(report)
        yield octavo


@pytest.fixture(scope="module")
def single(tiny, report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    with Octavo(folder, settings=settings_of("dense", tiny(SINGLE))) as octavo:
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


@pytest.mark.parametrize("number", range(1, len(QUERIES) + 1))
def test_a_picture_finds_its_page_by_single_vectors(single, number):
    assert numbers(single.search(image=pages()[number - 1]))[0] == number


def test_a_model_that_reads_words_or_an_image_refuses_both_but_takes_words_beside_a_page(single):
    with pytest.raises(InputError) as raised:
        single.search("circuit", image=pages()[2])
    assert raised.value.code == "query_not_supported"
    assert sorted(numbers(single.search("circuit", like=("report.pdf", 3)))) == [1, 2, 4]


def test_pages_like_a_page_and_like_a_part_of_it(late):
    whole = late.search(like=("report.pdf", 1))
    assert sorted(numbers(whole)) == [2, 3, 4]
    part = late.search(like=("report.pdf", 1, (0, 0, 224, 224)))
    assert sorted(numbers(part)) == [2, 3, 4]
    # A smaller part has fewer rows, and each adds at most 1.
    assert part[0]["score"] < whole[0]["score"]
    with pytest.raises(InputError, match="not on page 1"):
        late.search(like=("report.pdf", 1, (0, 0, 500, 500)))


def test_pages_like_a_part_of_a_page_of_one_vector(single):
    assert sorted(numbers(single.search(like=("report.pdf", 2)))) == [1, 3, 4]
    part = single.search(like=("report.pdf", 2, (0, 0, 224, 448)))
    assert sorted(numbers(part)) == [1, 3, 4]


def test_a_question_moved_far_finds_the_other_page(late):
    asked = {"query": QUERIES[0], "mode": "visual"}
    assert numbers(late.search(**asked))[0] == 1
    moving = {"towards": QUERIES[3], "away_from": QUERIES[0]}
    assert numbers(late.search(**asked, **moving, strength=8.0))[0] == 4
    assert list(late.search(**asked, **moving, strength=0.0)) == list(late.search(**asked))


def test_from_the_command_line_through_the_process_that_has_the_model(
    late, late_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    pages()[2].save("circuit.png")

    def search(*arguments):
        assert run(["search", *arguments, "--data-dir", str(late_folder), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    alone = search("--image", "circuit.png", "--heatmap", "found.png")
    assert (alone["mode"], alone["hits"][0]["page_number"]) == ("visual", 3)
    assert Path("found.png").read_bytes().startswith(b"\x89PNG")
    both = search("circuit diagram", "--image", "circuit.png")
    assert (both["mode"], both["hits"][0]["page_number"]) == ("hybrid", 3)
    # The rows of the text are searched with beside those of the image.
    assert both["hits"][0]["scores"]["maxsim"] > alone["hits"][0]["scores"]["maxsim"]
