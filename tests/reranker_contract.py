"""What holds for every reranker, whoever reads: the sentences of `rag.ports.Reranker`."""

import math
from collections.abc import Callable, Sequence

import pytest
from PIL import Image, ImageDraw
from rerank_pages import page

from rag.ports import Reranker, RerankPage

QUESTION = "What net income does the annual report tell?"


def drawn(text: str, side_px: int) -> Image.Image:
    image = Image.new("RGB", (side_px, side_px), "white")
    pen = ImageDraw.Draw(image)
    for line, word in enumerate(text.split() or ["nothing"]):
        pen.text((8, 8 + 16 * line), word, fill="black")
    pen.rectangle([8, 60, 16 + 9 * len(text), 90], fill=(40 * len(text) % 255, 20, 90))
    return image


def pages() -> list[RerankPage]:
    said = {
        "a": "net income of the year and what the board proposes",
        "b": "cash flow",
        "c": "",
        "d": "annual report net income " + "figures of other things " * 60,
        "e": "the quick brown fox jumps",
    }
    sides = {"a": 160, "b": 96, "c": 224, "d": None, "e": 160}  # one has no image
    return [
        page(name, words, image=None if sides[name] is None else drawn(words, sides[name]))
        for name, words in said.items()
    ]


def scores_are_finite_and_one_a_page(reranker: Reranker, close: Callable) -> None:
    found = reranker.scores(QUESTION, pages())
    assert len(found) == 5
    assert all(isinstance(score, float) and math.isfinite(score) for score in found)
    if reranker.is_probability:
        assert all(0 <= score <= 1 for score in found)
    assert len(set(found)) > 1, "it tells pages apart"


def no_page_has_no_score(reranker: Reranker, close: Callable) -> None:
    assert reranker.scores(QUESTION, []) == []


def one_page_alone_scores_as_among_others(reranker: Reranker, close: Callable) -> None:
    together = reranker.scores(QUESTION, pages())
    alone = [reranker.scores(QUESTION, [each])[0] for each in pages()]
    assert alone == close(together)


def the_order_of_pages_does_not_matter(reranker: Reranker, close: Callable) -> None:
    shuffled = [3, 0, 4, 2, 1]
    found = reranker.scores(QUESTION, [pages()[place] for place in shuffled])
    straight = reranker.scores(QUESTION, pages())
    assert found == close([straight[place] for place in shuffled])


def a_page_given_twice_has_one_score(reranker: Reranker, close: Callable) -> None:
    first = pages()[0]
    found = reranker.scores(QUESTION, [first, pages()[1], first])
    assert found[0] == close(found[2])


def it_has_a_name(reranker: Reranker, close: Callable) -> None:
    assert reranker.model_id


POINTWISE: Sequence[Callable[[Reranker, Callable], None]] = (
    scores_are_finite_and_one_a_page,
    no_page_has_no_score,
    one_page_alone_scores_as_among_others,
    the_order_of_pages_does_not_matter,
    a_page_given_twice_has_one_score,
    it_has_a_name,
)
LISTWISE: Sequence[Callable[[Reranker, Callable], None]] = (
    scores_are_finite_and_one_a_page,
    no_page_has_no_score,
    it_has_a_name,
)


def close(values: Sequence[float] | float, *, within: float = 1e-5) -> object:
    return pytest.approx(values, abs=within)
