"""A collection whose page vectors were pooled at ingest: found, marked and cited as without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ingestion.embed
from ingestion.embed import Embedder
from rag.apps.service import Service
from rag.errors import ConfigError, IndexMismatch
from rag.geometry import Box
from rag.page_text import PageText
from rag.ports import ScannedPage
from rag.settings import PoolingSettings, load_settings
from rag.testing import covers, make_pdf
from rag.types import PageField, Principal
from rag.wiring import Engine

PAGES = [
    """# Otters
Otters hold hands while they sleep, so that the tide parts no pair of otters.
A grown otter eats eleven kilograms of crab each day.""",
    """# Herons
Herons stand still in shallow water and wait for fish.
The grey heron nests in colonies high in old trees.""",
    """# Harbour fees
The harbour charges 37 euros for each night at the northern pier.
Boats under six metres pay half of the fee.""",
]
METHODS = [
    {"method": "hierarchical", "factor": 2},
    {"method": "hierarchical", "factor": 3},
    {"method": "runs", "factor": 2},
    {"method": "carve", "min_similarity": 0.6},
]


@contextmanager
def opened(folder: Path, pooling: dict[str, Any]) -> Iterator[Engine]:
    settings = load_settings(
        overrides={
            "store": {"data_dir": folder},
            "render": {"workers": 1},
            "pooling": pooling,
        },
        environ={},
    )
    with Engine(settings) as engine:
        yield engine


class Pooled:
    """The pages of one PDF in a collection pooled in one way."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        (folder / "shore.pdf").write_bytes(make_pdf(PAGES))
        self.service = Service(engine, Principal.owner())
        self.totals = self.service.ingest(paths=[folder / "shore.pdf"], collection="shore")
        self.reader = engine.reader(Principal.owner(), "shore")
        (self.document,) = self.reader.documents()
        self.encoder = engine.encoder
        self.fde = engine.fde("shore")

    def page(self, number: int) -> Any:
        return self.reader.page(self.document.document_id, number)

    def stored(self, number: int, page_field: PageField = PageField.PATCHES) -> Any:
        record_id = self.page(number).record_id
        return self.reader.vectors([record_id], page_field)[record_id]

    def word_boxes(self, number: int, *words: str) -> list[Box]:
        text = self.page(number).text
        return [
            Box(*map(float, text.boxes[index]))
            for index, word in enumerate(text.words)
            if word.strip(".,").lower() in words
        ]


@pytest.fixture(
    scope="module", params=METHODS, ids=lambda pooling: "-".join(map(str, pooling.values()))
)
def pooled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pooled]:
    folder = tmp_path_factory.mktemp("pooled")
    with opened(folder / "data", request.param) as engine:
        yield Pooled(engine, folder)


def test_a_pooled_page_stores_fewer_vectors_than_it_has_words(pooled: Pooled) -> None:
    for number in (1, 2, 3):
        words = pooled.page(number).vector_words
        stored = pooled.stored(number)
        assert words.rows is not None
        assert len(stored) < len(words)
        assert set(words.rows.tolist()) == set(range(len(stored)))
        assert words.words.tolist() == sorted(set(words.words.tolist()))
        np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-3)  # float16


def test_the_fde_is_that_of_the_pooled_vectors(pooled: Pooled) -> None:
    # The store gives an FDE back in the few bits it keeps, if at all; so the embedder is asked.
    text = pooled.page(1).text
    page = ScannedPage(1, 612, 792, text, has_ink=True, content_hash="")
    settings = pooled.service._engine.settings.pooling
    (embedded,) = Embedder(pooled.encoder, pooled.fde, settings).embed("d", "v", [page])
    assert embedded.record is not None
    vectors = embedded.record.vectors
    (expected,) = pooled.fde.encode_pages([vectors[PageField.PATCHES]])
    np.testing.assert_array_equal(vectors[PageField.FDE], expected)
    np.testing.assert_allclose(vectors[PageField.PATCHES], pooled.stored(1), atol=1e-3)


@pytest.mark.parametrize("mode", ["visual", "hybrid"])
@pytest.mark.parametrize(
    ("query", "number", "word"),
    [("sleeping otters", 1, "otters"), ("heron nests", 2, "heron"), ("harbour fees", 3, "harbour")],
)
def test_the_page_is_found_and_the_words_of_a_vector_are_marked_alike(
    pooled: Pooled, mode: str, query: str, number: int, word: str
) -> None:
    found = pooled.service.search(query=query, collection="shore", top_k=3, mode=mode)
    best = found["hits"][0]
    assert best["page_number"] == number
    assert word in best["snippet"].lower()
    weights = {tuple(entry["box"]): entry["weight"] for entry in best["boxes"]}
    assert 0 < len(weights) < 24  # 24 are shown at most
    assert any(tuple(box.rounded()) in weights for box in pooled.word_boxes(number, word))
    page = pooled.page(number)
    for row in range(len(pooled.stored(number))):
        boxes = page.text.boxes[page.vector_words.words[page.vector_words.rows == row]]
        shown = {weights.get(tuple(Box(*map(float, box)).rounded())) for box in boxes}
        assert len(shown) == 1
    drawn = pooled.service.page_png(
        document="shore.pdf", page_number=number, collection="shore", query=query, dpi=50
    )
    assert drawn["boxes"] == best["boxes"]


def test_a_question_is_answered_with_a_citation_that_covers_its_words(pooled: Pooled) -> None:
    told = pooled.service.ask(
        question="How much does the harbour charge for each night?", collection="shore"
    )
    assert not told["abstained"]
    assert "37 euros" in told["answer"]
    (citation, *_) = told["citations"]
    assert (citation["page_number"], citation["verified"]) == (3, True)
    boxes = [Box(*box) for box in citation["boxes"]]
    (amount,) = pooled.word_boxes(3, "37")
    assert any(covers(box, amount, tolerance_pt=0.1) for box in boxes)


# --- settings -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("held", "asked", "named"),
    [
        ({"method": "runs"}, {}, "pooling.method 'runs'"),
        ({}, {"method": "runs"}, "pooling.method 'runs'"),
        ({"method": "runs"}, {"method": "hierarchical"}, "pooling.method 'hierarchical'"),
        ({"method": "runs"}, {"method": "runs", "factor": 4}, "pooling.factor 3"),
        ({"method": "carve"}, {"method": "carve", "min_similarity": 0.8}, "min_similarity 0.7"),
    ],
)
def test_a_collection_pooled_otherwise_is_refused(
    tmp_path: Path, held: dict[str, Any], asked: dict[str, Any], named: str
) -> None:
    with opened(tmp_path / "data", held) as engine:
        engine.writer(Principal.owner(), "shore")
    with opened(tmp_path / "data", asked) as engine:
        with pytest.raises(IndexMismatch, match=named):
            engine.writer(Principal.owner(), "shore")
        with pytest.raises(IndexMismatch, match=named):
            engine.reader(Principal.owner(), "shore")


def test_settings_that_pool_nothing_open_what_was_never_pooled(tmp_path: Path) -> None:
    for pooling in ({}, {"method": "none", "factor": 2}, {"method": "runs", "factor": 1}):
        with opened(tmp_path / "data", pooling) as engine:
            engine.writer(Principal.owner(), "shore")


def test_pooling_by_grid_is_refused_for_an_encoder_of_words_and_leaves_no_collection(
    tmp_path: Path,
) -> None:
    (tmp_path / "shore.pdf").write_bytes(make_pdf(PAGES))
    with opened(tmp_path / "data", {"method": "grid_rows"}) as engine:
        service = Service(engine, Principal.owner())
        with pytest.raises(ConfigError, match="grid") as caught:
            service.ingest(paths=[tmp_path / "shore.pdf"], collection="shore")
        assert "runs" in caught.value.next_step
        assert service.collections() == {"collections": []}


def test_what_does_not_fit_after_pooling_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tuple(
        f"{name}{place}" for place in "abcde" for name in ("otter", "heron", "pier", "crab")
    )
    n = len(words)
    text = PageText(
        words,
        np.tile(np.array([0, 0, 9, 9], np.float32), (n, 1)),
        np.zeros(n, np.int32),
        np.full(n, 10, np.float32),
        np.zeros(n, np.bool_),
    )
    page = ScannedPage(1, 612, 792, text, has_ink=True, content_hash="")
    with opened(tmp_path / "data", {}) as engine:
        monkeypatch.setattr(ingestion.embed, "MAX_MULTI_VECTOR_FLOATS", 4 * 128)
        fde = engine.fde("shore")
        unpooled, pooled = (
            Embedder(engine.encoder, fde, PoolingSettings(method=method, factor=4)).embed(
                "d", "v", [page]
            )[0]
            for method in ("none", "runs")
        )
    assert (len(unpooled.vector_words), unpooled.n_left_out) == (4, n - 4)
    assert unpooled.vector_words.rows is None
    # Five runs of four words, of which four fit.
    assert (len(pooled.vector_words), pooled.n_left_out) == (16, n - 16)
    assert pooled.vector_words.rows.tolist() == [row for row in range(4) for _ in range(4)]
