"""What is marked on a page, for vectors of words, of places, and of whole pages."""

import numpy as np
import pytest
from fakes import grid_boxes, unit

from rag.heatmap import PlacedVectors
from rag.highlight import highlight
from rag.page_text import PageText, VectorWords
from rag.types import VectorKind
from rag.vector_boxes import VectorBoxes

AXES = np.eye(8, dtype=np.float32)


def printed(n: int, *, per_line: int = 10) -> PageText:
    """Words w0, w1, ... on a page of 600 x 800, in lines from the top."""
    places = [divmod(i, per_line) for i in range(n)]
    return PageText(
        tuple(f"w{i}" for i in range(n)),
        np.array(
            [[60 * x, 20 * y, 60 * x + 50, 20 * y + 12] for y, x in places], np.float32
        ).reshape(-1, 4),
        np.array([y for y, _ in places], np.int32),
        np.full(n, 10, np.float32),
        np.zeros(n, np.bool_),
    )


def gridded(text: PageText, hot: dict[int, float]) -> PlacedVectors:
    """6 x 8 patches, those that are hot by their similarity with the first axis."""
    vectors = np.tile(AXES[1], (48, 1))
    for cell, strength in hot.items():
        vectors[cell] = strength * AXES[0] + np.sqrt(1 - strength**2) * AXES[1]
    kinds = np.full(48, VectorKind.PATCH, np.uint8)
    boxes = VectorBoxes(grid_boxes(600, 800, 6, 8), kinds)
    return PlacedVectors(vectors, 600, 800, text, None, boxes)


def test_patches_mark_their_region_and_name_the_words_under_it():
    # Cell 27 is x 300 to 400, y 400 to 500: the words of lines 20 to 24 at places 5 and 6.
    found = highlight(AXES[:1], gridded(printed(400), {27: 0.9}), "anything")
    assert found.boxes == (((300, 400, 400, 500), 1.0),)
    assert found.words == tuple(f"w{10 * line + x}" for line in range(20, 25) for x in (5, 6))
    assert "w225" in found.snippet
    assert found.snippet.startswith("… ")
    assert len(found.snippet.split()) == 32 + 2


def test_the_snippet_is_where_most_of_the_map_is():
    # One hot patch over the first lines, three over the last.
    found = highlight(AXES[:1], gridded(printed(400), {0: 0.9, 42: 0.8, 43: 0.8, 44: 0.8}), "")
    assert found.boxes[0] == ((0, 0, 100, 100), 1.0)
    assert [box for box, _ in found.boxes][1:] == [(0, 700, 300, 800)]
    words = [int(word[1:]) for word in found.snippet.split() if word.startswith("w")]
    assert words[0] >= 330


def test_patches_of_a_page_without_text_mark_their_region_alone():
    found = highlight(AXES[:1], gridded(PageText.empty(), {27: 0.9}), "anything")
    assert (found.snippet, found.words) == ("", ())
    assert found.boxes == (((300, 400, 400, 500), 1.0),)


def test_no_more_regions_than_a_page_can_bear():
    rng = np.random.default_rng(1)
    page = gridded(printed(100), dict(enumerate(rng.random(48).tolist())))
    found = highlight(AXES[:1], page, "")
    weights = [weight for _, weight in found.boxes]
    assert 1 <= len(weights) <= 24
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 1
    assert weights[-1] > 0


def test_a_vector_of_the_whole_page_marks_the_words_of_the_question():
    boxes = VectorBoxes(np.array([[0, 0, 600, 800]], np.float32), np.zeros(1, np.uint8))
    page = PlacedVectors(AXES[:1], 600, 800, printed(300), None, boxes)
    found = highlight(AXES[:1], page, "Where is W250 beside w12?")
    assert [tuple(box) for box, _ in found.boxes] == [(120, 20, 170, 32), (0, 500, 50, 512)]
    assert found.words == ("w12", "w250")
    assert "w12" in found.snippet
    nowhere = highlight(AXES[:1], page, "unprinted")
    ((box, weight),) = nowhere.boxes
    assert box == (0, 0, 600, 800)
    assert 0 < weight < 0.5
    assert nowhere.snippet.startswith("w0 w1")
    assert highlight(AXES[:1], page, "").boxes == nowhere.boxes


def test_words_are_marked_where_they_are_close_to_the_question():
    text = printed(40)
    vectors = np.tile(AXES[1], (40, 1))
    vectors[35] = AXES[0]
    vectors[7] = unit(AXES[0] + AXES[2])
    words = VectorWords(np.arange(40, dtype=np.int32))
    page = PlacedVectors(vectors, 600, 800, text, words, None)
    found = highlight(AXES[:1], page, "")
    assert [tuple(box) for box, _ in found.boxes] == [(300, 60, 350, 72), (420, 0, 470, 12)]
    assert [weight for _, weight in found.boxes] == pytest.approx([1, 0.707])
    assert found.words == ("w7", "w35")


def test_a_page_without_vectors_shows_its_beginning():
    page = PlacedVectors(np.zeros((0, 8), np.float32), 600, 800, printed(40), None, None)
    found = highlight(AXES[:1], page, "w39")
    assert found.boxes == ()
    assert found.snippet.startswith("w0 w1")
