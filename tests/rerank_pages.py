"""Pages for rerankers, of words alone, and a reranker without a model."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from rag.errors import BackendError
from rag.page_text import PageText
from rag.ports import RerankPage
from rag.types import PageRef, RenderedPage


def text_of(words: Sequence[str], *, words_a_line: int = 10) -> PageText:
    n = len(words)
    places = np.arange(n)
    x, y = places % words_a_line, places // words_a_line
    boxes = np.stack([x, y, x + 1, y + 1], axis=1)
    return PageText(
        tuple(words),
        boxes.astype(np.float32),
        y.astype(np.int32),
        np.full(n, 10, np.float32),
        np.zeros(n, np.bool_),
    )


def page(
    name: str, words: str = "", *, source: str = "report.pdf", image: Image.Image | None = None
) -> RerankPage:
    return RerankPage(
        record_id=name,
        ref=PageRef(f"document-{name}", 1),
        source=source,
        text=text_of(words.split()),
        image=None if image is None else RenderedPage(image, image.width, image.height),
    )


class WordReranker:
    """Scores are the number of words of the question that stand on the page."""

    model_id = "words"
    is_probability = False

    def __init__(self, *, wants_image: bool = False, fails: BackendError | None = None) -> None:
        self.wants_image = wants_image
        self._fails = fails
        self.asked: list[tuple[str, list[str]]] = []

    def scores(self, question: str, pages: Sequence[RerankPage]) -> list[float]:
        self.asked.append((question, [page.record_id for page in pages]))
        if self._fails is not None:
            raise self._fails
        return [float(sum(word in page.text.words for word in question.split())) for page in pages]

    def close(self) -> None: ...
