"""Collections of one vector a page, of more dimensions than the kernels take: nothing differs but
the numbers' places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import DIM, PageVectorEncoder
from PIL import Image

from rag.apps.service import Service
from rag.errors import IndexMismatch
from rag.geometry import Box, FloatArray
from rag.page_pack import PackSpec
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageEncoder, PageInput
from rag.scoring import native
from rag.scoring.maxsim import maxsim
from rag.scoring.packed import PackedRows, Storage, maxsim_packed
from rag.settings import load_settings
from rag.testing import PdfPage, PdfText, make_pdf
from rag.types import MultiVector, PageField, Principal
from rag.wiring import Engine

WIDE = 2048
# Lengths and angles stay as they are.
_INTO = np.linalg.qr(np.random.default_rng(3).standard_normal((WIDE, DIM)))[0].T


class WideEncoder(PageVectorEncoder):
    identity = EncoderIdentity("wide", "1", WIDE, WIDE)

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        found = super().encode_query(text, image=image)
        return EncodedQuery(_widened(found.tokens), _wide(found.dense), found.labels)

    def _encoded(self, page: PageInput) -> EncodedPage:
        narrow = super()._encoded(page)
        return EncodedPage(
            _widened(narrow.patches), None, _wide(narrow.dense), _widened(narrow.headings)
        )


def _wide(vectors: FloatArray) -> FloatArray:
    return (vectors @ _INTO).astype(np.float32)


def _widened(of: MultiVector) -> MultiVector:
    return MultiVector(_wide(of.vectors), of.boxes, of.kinds)


def pages() -> list[PdfPage]:
    """Ever more ink, and a word that no other page has."""
    return [
        PdfPage([PdfText(f"page{number}", 20, 20)], [Box(60, 60, 60 + 110 * number, 600)], 600, 780)
        for number in range(1, 5)
    ]


@contextmanager
def searched(folder: Path, encoder: PageEncoder, **retrieval: Any) -> Iterator[Service]:
    chosen = {
        "store": {"data_dir": folder},
        "render": {"workers": 1},
        "retrieval": {"device": "cpu", **retrieval},
    }
    with (
        pytest.MonkeyPatch.context() as patch,
        Engine(load_settings(overrides=chosen, environ={})) as engine,
    ):
        patch.setattr("rag.wiring.engine.load_encoder", lambda _: encoder)
        yield Service(engine, Principal.owner())


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with the same pages, by narrow and by wide vectors."""
    folder = tmp_path_factory.mktemp("single")
    (folder / "ink.pdf").write_bytes(make_pdf(pages()))
    encoders = {"narrow": PageVectorEncoder(), "wide": WideEncoder()}
    for name, encoder in encoders.items():
        with searched(folder / name, encoder) as service:
            totals = service.ingest(paths=[folder / "ink.pdf"], collection="c")
            assert totals["pages"] == {"indexed": 4, "blank": 0, "failed": 0}
    return {name: folder / name for name in encoders}


@pytest.mark.parametrize("stages", [{}, {"candidates": 4, "int8_candidates": 3, "scan_rows": 0}])
def test_wide_pages_rank_and_score_as_narrow_ones(
    places: dict[str, Path], stages: dict[str, int]
) -> None:
    found = {}
    for name, encoder in (("narrow", PageVectorEncoder()), ("wide", WideEncoder())):
        with searched(places[name], encoder, **stages) as service:
            hits = service.search(query="black block", collection="c", top_k=4)["hits"]
            found[name] = {hit["page_number"]: hit["score"] for hit in hits}
    assert next(iter(found["wide"])) == 4
    assert found["wide"].keys() == found["narrow"].keys()
    for page, score in found["narrow"].items():
        assert found["wide"][page] == pytest.approx(score, abs=2e-3)


def test_wide_pages_are_in_the_index_over_a_restart(places: dict[str, Path]) -> None:
    with searched(places["wide"], WideEncoder()) as service:
        engine = service._engine
        index = engine._index("c")
        kept = index.vectors(index.ids(), PageField.PATCHES)
        assert [rows.shape for rows in kept.values()] == [(1, WIDE)] * 4
        assert len(engine.pack("c")) == 4


@pytest.mark.parametrize("storage", list(Storage))
@pytest.mark.parametrize("dim", [16, 128, 1024, 2048, 3584])
def test_pages_of_one_row_score_by_numpy_as_by_the_definition(storage: Storage, dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows = [rng.standard_normal((n, dim)).astype(np.float32) for n in (1, 1, 3, 0, 1, 40, 1)]
    rows = [page / np.linalg.norm(page, axis=1, keepdims=True) for page in rows]
    packed = PackedRows.pack(rows, storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", lambda: None)
        for n_query in (1, 4, 5):
            query = rng.standard_normal((n_query, dim)).astype(np.float32)
            scores = maxsim_packed(query, packed)
            assert scores[3] == -np.inf
            for index in (0, 1, 2, 4, 5, 6):
                expected = maxsim(query, packed.page(index))
                # Of int8 pages the query is rounded too.
                allowed = 1e-4 if storage is not Storage.INT8 else 0.01 * n_query * dim**0.5
                assert scores[index] == pytest.approx(expected, abs=allowed)
            few = np.array([6, 2, 0])
            np.testing.assert_array_equal(maxsim_packed(query, packed, few), scores[few])


def test_kernels_are_not_handed_what_they_do_not_take() -> None:
    rng = np.random.default_rng(0)
    packed = PackedRows.pack([rng.standard_normal((2, WIDE)).astype(np.float32)], Storage.FP32)
    query = rng.standard_normal((2, WIDE)).astype(np.float32)
    assert maxsim_packed(query, packed)[0] == pytest.approx(maxsim(query, packed.page(0)), rel=1e-5)
    library = native.library()
    assert library is None or not library.takes(query)
    assert PackSpec(4096, 100, "f").dim == 4096


def test_vectors_of_another_size_are_refused_by_the_names_of_both_encoders(
    places: dict[str, Path],
) -> None:
    with (
        searched(places["narrow"], WideEncoder()) as service,
        pytest.raises(IndexMismatch) as refused,
    ):
        service.search(query="black block", collection="c", top_k=4)
    for named in ("single@1", "wide@1", f"dim {DIM}", f"dim {WIDE}"):
        assert named in refused.value.message
    with searched(places["narrow"], PageVectorEncoder()) as service:
        found = service.search(query="black block", collection="c", top_k=4)
    assert len(found["hits"]) == 4


def test_a_collection_moves_to_vectors_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "ink.pdf").write_bytes(make_pdf(pages()))
    with searched(tmp_path / "data", PageVectorEncoder()) as old:
        old.ingest(paths=[tmp_path / "ink.pdf"], collection="c")
        with searched(tmp_path / "data", WideEncoder()) as new:
            assert old.migrate(collection="c", to=new._engine)["switched"]
    with searched(tmp_path / "data", WideEncoder()) as service:
        found = service.search(query="black block", collection="c", top_k=4)
    assert found["hits"][0]["page_number"] == 4
