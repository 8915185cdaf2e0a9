"""`octavo search` by more than words, as users call it, on a small collection of words."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from rag import Octavo
from rag.apps.cli import flags
from rag.apps.cli.app import run
from rag.testing import make_pdf

PAGES = [
    "# Tidal power\nThe tidal turbine made electricity from the sea.\nThe harbour fee was raised.",
    "# Wave energy\nWave power stations make electricity from the ocean.",
    "# Harbour dues\nShips pay a fee at the port of Stavanger.",
    "# Dividend\nShareholders received a payout from the company profit.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries")
    # A name with a colon in it: what --like names may hold some.
    (folder / "sea: power.pdf").write_bytes(make_pdf(PAGES))
    Image.new("RGB", (64, 64), "red").save(folder / "red.png")
    with Octavo(folder / "data") as octavo:
        octavo.ingest(folder / "sea: power.pdf")
    return folder


@pytest.fixture
def octavo(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def octavo(*arguments):
        code = run([*arguments, "--data-dir", "data", "--json"])
        captured = capsys.readouterr()
        answer = json.loads(captured.out if code == 0 else captured.err)
        return answer if code == 0 else (code, answer.get("error", answer))

    return octavo


def numbers(answer):
    return [hit["page_number"] for hit in answer["hits"]]


def box_of(octavo, word, page):
    hits = octavo("search", word)["hits"]
    return next(hit["boxes"] for hit in hits if hit["page_number"] == page)[0]["box"]


def picture(page):
    return Image.open(io.BytesIO(base64.b64decode(page["png"])))


def test_pages_like_a_page(octavo):
    answer = octavo("search", "--like", "sea: power.pdf:1")
    assert answer["mode"] == "visual"
    assert answer["query"] == ""
    like = answer["like"]
    assert (like["page_number"], like["box"], like["left_out"]) == (1, None, True)
    assert sorted(numbers(answer)) == [2, 3, 4]
    assert numbers(answer)[-1] == 4


def test_pages_like_a_part_of_a_page(octavo):
    electricity = box_of(octavo, "electricity", 1)
    region = ",".join(map(str, electricity))
    assert numbers(octavo("search", "--like", f"sea: power.pdf:1:{region}"))[0] == 2
    x0, y0, x1, y1 = box_of(octavo, "harbour fee", 1)
    answer = octavo("search", "--like", f"sea: power.pdf:1:{x0},{y0},{x1},{y1}")
    assert numbers(answer)[0] == 3
    assert answer["like"]["box"] == [x0, y0, x1, y1]


def test_words_beside_a_page(octavo):
    answer = octavo("search", "dividend payout", "--like", "sea: power.pdf:1")
    assert answer["mode"] == "hybrid"
    assert numbers(answer)[0] == 4


@pytest.mark.parametrize(
    ("region", "code"),
    [
        ("500,10,510,20", "empty_region"),
        ("90,90,20,100", "bad_region"),
        ("0,0,9e3,9", "bad_region"),
    ],
)
def test_a_region_that_is_none_is_refused_with_the_size_of_the_page(octavo, region, code):
    ended, error = octavo("search", "--like", f"sea: power.pdf:1:{region}")
    assert (ended, error["code"]) == (1, code)
    assert "points" in error["next_step"]


def test_an_image_wants_another_encoder_and_says_which(octavo):
    ended, error = octavo("search", "--image", "red.png")
    assert (ended, error["code"]) == (1, "query_not_supported")
    assert "--encoder colpali" in error["next_step"]


@pytest.mark.parametrize("file", ["none.png", "sea: power.pdf"])
def test_an_image_that_is_none_is_refused(octavo, file):
    ended, error = octavo("search", "--image", file)
    assert (ended, error["code"]) == (1, "bad_image")


def test_a_query_moves_towards_and_away(octavo):
    base = octavo("search", "electricity", "--mode", "visual")
    assert numbers(base)[0] in (1, 2)
    moving = ("--mode", "visual", "--towards", "dividend", "--away-from", "turbine")
    moved = octavo("search", "electricity", *moving, "--strength", "3")
    assert numbers(moved)[0] == 4
    assert (moved["towards"], moved["away_from"], moved["strength"]) == ("dividend", "turbine", 3)
    still = octavo("search", "electricity", *moving, "--strength", "0")
    assert still["hits"] == base["hits"]
    assert not {"towards", "strength", "like", "image"} & base.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--towards", "storm"),
        ("tide", "--strength", "2"),
        ("tide", "--towards", "x", "--strength", "11"),
        ("--image", "red.png", "--like", "a.pdf:1"),
        ("--like", "sea: power.pdf"),
        ("--like", "sea: power.pdf:0"),
        ("--like", "sea: power.pdf:1:1,2,3"),
        ("--like", "sea: power.pdf:1:1,2,3,x"),
        ("tide", "--device", "tpu"),
    ],
)
def test_flags_that_say_nothing_together_are_a_usage_error(octavo, arguments):
    ended, error = octavo("search", *arguments)
    assert (ended, error["code"]) == (2, "usage")


def test_the_best_page_is_drawn_with_what_is_like_the_region(octavo, folder):
    region = ",".join(map(str, box_of(octavo, "harbour fee", 1)))
    best = octavo("search", "--like", f"sea: power.pdf:1:{region}", "--heatmap", "best.png")
    page = best["hits"][0]["page_number"]
    with Octavo(folder / "data") as client, Image.open(folder / "best.png") as drawn:
        plain = client._connection.page_png("sea: power.pdf", page)
        assert drawn.tobytes() != picture(plain).tobytes()
        assert drawn.size == picture(plain).size


def test_the_text_mode_takes_words_alone(octavo):
    ended, error = octavo("search", "--like", "sea: power.pdf:1", "--mode", "text")
    assert (ended, error["code"]) == (1, "mode_not_possible")


def test_people_read_which_search_it_was(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert run(["search", "--like", "sea: power.pdf:1", "--data-dir", "data"]) == 0
    captured = capsys.readouterr()
    assert "page 2" in captured.out
    assert "visual search" in captured.err


def test_from_python_too_also_through_the_process_that_has_the_folder(folder):
    with Octavo(folder / "data") as owner, Octavo(folder / "data") as other:
        for octavo in (owner, other):
            hits = octavo.search(like=("sea: power.pdf", 1))
            assert sorted(hit["page_number"] for hit in hits) == [2, 3, 4]
            assert len(octavo.search(like=("sea: power.pdf", 1, (0, 0, 612, 792)), top_k=1)) == 1
            for image in (folder / "red.png", Image.new("RGB", (9, 9))):
                with pytest.raises(Exception, match="cannot read an image"):
                    octavo.search(image=image)


def test_a_device_is_of_the_models_and_of_maxsim():
    settings = flags.Common(device=flags.Device.CPU, encoder="colpali:models/a:b").settings()
    assert (settings.encoder.device, settings.retrieval.device) == ("cpu", "cpu")
    assert (settings.encoder.name, settings.encoder.model) == ("colpali", "models/a:b")
    assert flags.Common(encoder="words:here").settings().encoder.weights == Path("here")
