"""The remote encoder against a server that runs tiny checkpoints, in both shapes of answer."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs torch: make test-torch")

from servers import EmbeddingServer, Served, serving

from rag.encoders.torchvision_guard import ensure_torchvision

ensure_torchvision()
import colpali_engine.models as engine

from rag.encoders.parity import check_parity
from rag.encoders.remote import RemoteEncoder
from rag.encoders.self_test import QUERIES, page_inputs, pages
from rag.errors import ModelFailed
from rag.scoring.fingerprint import is_same_fingerprint
from rag.scoring.maxsim import maxsim
from rag.settings import EncoderSettings
from rag.types import VectorKind
from rag.wiring import load_encoder


class EngineModel:
    """A checkpoint run by colpali-engine alone, as a server would."""

    def __init__(self, family: str, folder: Path) -> None:
        mapping = {"key_mapping": {}} if family == "BiQwen2" else {}
        self.model = getattr(engine, family).from_pretrained(folder, **mapping).eval()
        self.processor = getattr(engine, f"{family}Processor").from_pretrained(folder)

    def text(self, said: str | list[int]) -> np.ndarray:
        if isinstance(said, str):
            return self._rows(self.processor.process_queries([said]))
        ids = torch.tensor([said])
        return self._rows({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def image(self, image: Image.Image, _: str = "") -> np.ndarray:
        return self._rows(self.processor.process_images([image]))

    def _rows(self, inputs: Any) -> np.ndarray:
        with torch.no_grad():
            rows = self.model(**inputs)
        return rows.reshape(-1, rows.shape[-1]).float().numpy()


@pytest.fixture(scope="module")
def colqwen(tiny: Callable[[str], Path]) -> tuple[Path, EngineModel]:
    folder = tiny("ColQwen2")
    return folder, EngineModel("ColQwen2", folder)


@pytest.fixture(scope="module")
def pooling(colqwen: tuple[Path, EngineModel]) -> Iterator[Served]:
    _, model = colqwen
    with serving(EmbeddingServer(model.text, model.image, model="colqwen")) as running:
        yield running


def _connected(url: str, **options: object) -> RemoteEncoder:
    return RemoteEncoder.connect(EncoderSettings(name="remote", url=url, retry_s=5, **options))


def _settings(served: Served, folder: Path, **options: object) -> EncoderSettings:
    return EncoderSettings(name="remote", url=served.url, model=str(folder), **options)


# --- token vectors ------------------------------------------------------------------------------
def test_pages_and_questions_are_the_model_s_own(
    pooling: Served, colqwen: tuple[Path, EngineModel]
) -> None:
    _, model = colqwen
    encoder = _connected(pooling.url)
    for page, image in zip(encoder.encode_pages(page_inputs()), pages(), strict=True):
        np.testing.assert_allclose(page.patches.vectors, model.image(image), atol=1e-5)
    for text in QUERIES:
        rows = encoder.encode_query(text).tokens.vectors
        np.testing.assert_allclose(rows, model.text(text), atol=1e-5)
    encoder.close()


def test_scores_are_the_engine_s(pooling: Served, colqwen: tuple[Path, EngineModel]) -> None:
    _, model = colqwen
    encoder = _connected(pooling.url)
    encoded = encoder.encode_pages(page_inputs())
    for text in QUERIES:
        query = encoder.encode_query(text)
        expected = model.processor.score(
            [torch.tensor(model.text(text))],
            [torch.tensor(model.image(image)) for image in pages()],
            device="cpu",
        )[0]
        found = [maxsim(query.tokens.vectors, page.patches.vectors) for page in encoded]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    encoder.close()


def test_with_the_processor_here_rows_have_their_places(
    pooling: Served, colqwen: tuple[Path, EngineModel]
) -> None:
    folder, model = colqwen
    encoder = _connected(pooling.url, model=str(folder))
    assert encoder.identity.settings["boxes"] == "processor"
    for page, given in zip(encoder.encode_pages(page_inputs()), page_inputs(), strict=True):
        patches = page.patches
        placed = patches.boxes[patches.kinds == VectorKind.PATCH]
        sizes = placed[:, 2:] - placed[:, :2]
        area = sizes.prod(axis=1).sum()
        assert area == pytest.approx(given.width_pt * given.height_pt, rel=1e-3)
        assert not patches.boxes[patches.kinds == VectorKind.SPECIAL].any()
    query = encoder.encode_query(QUERIES[0])
    assert len(query.labels) == len(query.tokens)
    asked = [each.body["input"] for each in pooling.requests if "input" in (each.body or {})]
    assert isinstance(asked[-1], list), "as tokens, with those the processor adds"
    np.testing.assert_allclose(query.tokens.vectors, model.text(QUERIES[0]), atol=1e-5)
    encoder.close()


def test_a_server_that_cuts_pages_otherwise_gets_no_places(
    colqwen: tuple[Path, EngineModel],
) -> None:
    folder, model = colqwen

    def shorter(image: Image.Image, said: str) -> np.ndarray:
        return model.image(image, said)[:-1]

    with serving(EmbeddingServer(model.text, shorter)) as running:
        encoder = _connected(running.url, model=str(folder))
        assert encoder.identity.settings["boxes"] == "none"
        (page,) = encoder.encode_pages(page_inputs()[:1])
        assert (page.patches.kinds == VectorKind.SPECIAL).all()
        encoder.close()


def test_a_processor_whose_files_are_damaged_is_said(
    pooling: Served, colqwen: tuple[Path, EngineModel], tmp_path: Path
) -> None:
    folder = shutil.copytree(colqwen[0], tmp_path / "damaged")
    (folder / "tokenizer.json").write_text("{")
    encoder = _connected(pooling.url, model=str(folder))
    encoder.close()
    assert encoder.identity.settings["boxes"] == "none"
    (notice,) = encoder.take_notices()
    assert notice.code == "processor_failed"
    assert "octavo models pull" in notice.message


# --- against the weights here -------------------------------------------------------------------
def test_the_same_checkpoint_here_and_there_agrees(
    pooling: Served, colqwen: tuple[Path, EngineModel]
) -> None:
    settings = _settings(pooling, colqwen[0])
    encoder = RemoteEncoder.connect(settings)
    found = check_parity(encoder, settings, load_encoder)
    encoder.close()
    assert found.is_checked, found.detail
    assert "cosine of 1.0000" in found.detail


def test_another_checkpoint_there_is_refused_and_known_for_another(
    pooling: Served, colqwen: tuple[Path, EngineModel], tmp_path: Path
) -> None:
    from rag.testing.checkpoints import make_checkpoint

    other = EngineModel("ColQwen2", make_checkpoint("ColQwen2", tmp_path / "other", seed=1))
    first = _connected(pooling.url)
    first.close()
    with serving(EmbeddingServer(other.text, other.image, model="colqwen")) as running:
        settings = _settings(running, colqwen[0])
        encoder = RemoteEncoder.connect(settings)
        with pytest.raises(ModelFailed) as caught:
            check_parity(encoder, settings, load_encoder)
        encoder.close()
    assert caught.value.code == "parity_failed"
    assert not is_same_fingerprint(
        str(first.identity.settings["fingerprint"]), str(encoder.identity.settings["fingerprint"])
    )


def test_bfloat16_there_and_float32_here_are_one_model(
    pooling: Served, colqwen: tuple[Path, EngineModel]
) -> None:
    folder, _ = colqwen
    half = EngineModel("ColQwen2", folder)
    half.model = half.model.to(torch.bfloat16)
    first = _connected(pooling.url)
    first.close()
    with serving(EmbeddingServer(half.text, half.image, model="colqwen")) as running:
        settings = _settings(running, folder)
        encoder = RemoteEncoder.connect(settings)
        assert check_parity(encoder, settings, load_encoder).is_checked
        encoder.close()
    assert is_same_fingerprint(
        str(first.identity.settings["fingerprint"]), str(encoder.identity.settings["fingerprint"])
    )


# --- one vector ---------------------------------------------------------------------------------
def test_an_embeddings_server_gives_one_vector_a_page(tiny: Callable[[str], Path]) -> None:
    folder = tiny("BiQwen2")
    model = EngineModel("BiQwen2", folder)
    with serving(EmbeddingServer(model.text, model.image, model="biqwen")) as running:
        settings = _settings(running, folder, api="embeddings")
        encoder = RemoteEncoder.connect(settings)
        encoded = encoder.encode_pages(page_inputs())
        for page, image in zip(encoded, pages(), strict=True):
            np.testing.assert_allclose(page.patches.vectors, model.image(image), atol=1e-5)
            np.testing.assert_allclose(page.dense, page.patches.vectors, atol=1e-6)
        encoder.close()
