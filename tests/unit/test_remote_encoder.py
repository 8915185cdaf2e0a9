"""The remote encoder without a model at hand, against a server of planted vectors."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from servers import EmbeddingServer, Reply, Request, Served, planted, serving

from rag.apps.doctor import examine
from rag.encoders.parity import check_parity, compare
from rag.encoders.remote import RemoteEncoder
from rag.encoders.self_test import QUERIES, page_inputs, pages
from rag.errors import ConfigError, InputError, ModelFailed
from rag.scoring.fingerprint import is_same_fingerprint
from rag.settings import EncoderSettings, Settings
from rag.types import PageRef, RenderedPage, VectorKind

DIM = 32


def _planted(*, model: str = "tiny", n_rows: int | None = None, seed: int = 0) -> EmbeddingServer:
    text, image = planted(QUERIES, pages(), dim=DIM, seed=seed)
    if n_rows is None:
        return EmbeddingServer(text, image, model=model)
    return EmbeddingServer(
        lambda said: text(said)[:n_rows],
        lambda picture, said: image(picture, said)[:n_rows],
        model=model,
    )


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(_planted()) as running:
        yield running


def _connected(url: str, **options: object) -> RemoteEncoder:
    return RemoteEncoder.connect(EncoderSettings(name="remote", url=url, retry_s=0, **options))


def _failure(answer: Callable[[Request], Reply], **options: object) -> ModelFailed:
    with serving(answer) as running, pytest.raises(ModelFailed) as caught:
        _connected(running.url, **options)
    assert caught.value.next_step
    return caught.value


def _changed(
    server: EmbeddingServer, change: Callable[[np.ndarray], np.ndarray]
) -> EmbeddingServer:
    """The same server with other rows of pages."""
    image = server.image
    server.image = lambda picture, said: change(image(picture, said))
    return server


# --- vectors ------------------------------------------------------------------------------------
def test_pages_and_questions_come_as_unit_rows_in_their_order(served: Served) -> None:
    encoder = _connected(served.url)
    inputs = page_inputs()
    encoded = encoder.encode_pages(inputs)
    _, image = planted(QUERIES, pages(), dim=DIM)
    for page, found in zip(inputs, encoded, strict=True):
        rows = image(page.image.image, "")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(found.patches.vectors, rows, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found.dense, axis=1), 1, atol=1e-6)
        assert found.dense.shape == (1, DIM)
        assert found.headings.vectors.shape == (0, DIM)
    assert encoder.encode_pages([]) == []
    query = encoder.encode_query(QUERIES[0])
    assert query.tokens.vectors.shape == (1 + len(QUERIES[0].split()), DIM)
    encoder.close()


def test_a_page_does_not_depend_on_its_batch_mates(served: Served) -> None:
    encoder = _connected(served.url)
    together = encoder.encode_pages(page_inputs())
    alone = [encoder.encode_pages([page])[0] for page in page_inputs()]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.patches.vectors, other.patches.vectors)
    encoder.close()


def test_without_the_processor_rows_have_no_place(served: Served) -> None:
    encoder = _connected(served.url)
    (page,) = encoder.encode_pages(page_inputs()[:1])
    assert (page.patches.kinds == VectorKind.SPECIAL).all()
    assert not page.patches.boxes.any()
    assert encoder.identity.settings["boxes"] == "none"
    encoder.close()


class SquaresOnly:
    """A processor that makes as many rows of a square as the planted server, else one more."""

    def query_ids(self, text: str) -> list[int]:
        return [QUERIES.index(text)]

    def labels(self, token_ids: list[int]) -> tuple[str, ...]:
        return tuple(map(str, token_ids))

    def places(
        self, image: Image.Image, *, width: float, height: float
    ) -> tuple[np.ndarray, np.ndarray]:
        n_rows = 12 + (image.width != image.height)
        boxes = np.tile(np.float32([0, 0, width, height]), (n_rows, 1))
        return boxes, np.full(n_rows, VectorKind.PATCH, np.uint8)


def _numbered(server: EmbeddingServer) -> EmbeddingServer:
    """The same server, whose tokens are the numbers of the built-in questions."""
    text = server.text
    server.text = lambda said: text(said if isinstance(said, str) else QUERIES[said[0]])
    return server


def test_pages_that_lose_their_places_are_counted_logged_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rag.encoders.remote.find_processor", lambda _: SquaresOnly())
    square = page_inputs()[0]
    picture = RenderedPage(Image.new("RGB", (40, 60), "white"), 40, 60)
    oblong = replace(square, ref=PageRef("report", 7), image=picture, width_pt=40, height_pt=60)
    with serving(_numbered(_planted())) as running:
        encoder = _connected(running.url)
        assert encoder.identity.settings["boxes"] == "processor"
        (placed,) = encoder.encode_pages([square])
        assert (placed.patches.kinds == VectorKind.PATCH).all()
        assert encoder.take_notices() == []
        lost = encoder.encode_pages([oblong, square, oblong])[0]
        encoder.close()
    assert (lost.patches.kinds == VectorKind.SPECIAL).all()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "page 7 of report: 12 rows" in caplog.text
    (notice,) = encoder.take_notices()
    assert notice.code == "places_unknown"
    assert notice.message.startswith("2 pages have another number of rows")
    assert encoder.take_notices() == []


def test_a_processor_that_does_not_load_is_told_apart_from_none_here(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, served: Served
) -> None:
    encoder = _connected(served.url, model="tiny")
    encoder.close()
    assert encoder.take_notices() == []

    def broken(_: EncoderSettings) -> None:
        raise ModelFailed("it is cut off", code="processor_failed", next_step="Fetch it again.")

    monkeypatch.setattr("rag.encoders.remote.find_processor", broken)
    encoder = _connected(served.url)
    encoder.close()
    (notice,) = encoder.take_notices()
    assert notice.code == "processor_failed"
    assert notice.message == "Rows have no places: it is cut off. Fetch it again."
    assert notice.message in caplog.text
    settings = Settings(encoder=EncoderSettings(name="remote", url=served.url))
    (check,) = [each for each in examine(settings)["checks"] if each["name"] == "encoder server"]
    assert "it is cut off" in check["detail"]


def test_one_vector_a_page_from_an_embeddings_server() -> None:
    with serving(_planted(n_rows=1)) as running:
        encoder = _connected(running.url + "/v1", api="embeddings", instruction="find the page")
        (page,) = encoder.encode_pages(page_inputs()[:1])
        assert page.patches.vectors.shape == (1, DIM)
        np.testing.assert_allclose(page.dense, page.patches.vectors, atol=1e-6)
        both = encoder.encode_query("a garden", image=pages()[3])
        assert both.tokens.vectors.shape == (1, DIM)
        assert encoder.identity.settings["instruction"] == "find the page"
        encoder.close()
    asked = [each.body for each in running.requests if each.path == "/v1/embeddings"]
    assert asked[1]["messages"][0]["role"] == "user", "a page"
    texts = [body["messages"] for body in asked if len(body["messages"]) == 2]
    assert texts[-1][0]["content"][0]["text"] == "find the page"


def test_a_question_may_be_an_image_or_both_and_not_nothing(served: Served) -> None:
    encoder = _connected(served.url)
    with pytest.raises(InputError) as empty:
        encoder.encode_query("  ")
    assert empty.value.code == "empty_query"
    by_image = encoder.encode_query("", image=pages()[3])
    (page,) = encoder.encode_pages(page_inputs()[3:])
    np.testing.assert_array_equal(by_image.tokens.vectors, page.patches.vectors)
    by_text = encoder.encode_query("a garden")
    both = encoder.encode_query("a garden", image=pages()[3]).tokens
    np.testing.assert_array_equal(
        both.vectors, np.vstack([by_text.tokens.vectors, by_image.tokens.vectors])
    )
    encoder.close()


def test_markup_of_a_model_in_a_question_is_text(served: Served) -> None:
    encoder = _connected(served.url)
    encoder.encode_query("what is <|image_pad|>?")
    encoder.close()
    assert served.requests[-1].body["input"] == "what is < |image_pad|>?"


# --- what a server may get wrong ----------------------------------------------------------------
def _with_first_row(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        rows[0] = value
        return rows

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_with_first_row(np.nan), "NaN"),
        (_with_first_row(np.inf), "NaN or infinite"),
        (_with_first_row(0.0), "zeros"),
        (lambda rows: rows[:, :-1], "32 numbers"),
        (lambda rows: rows[:0], "0 vectors"),
    ],
)
def test_vectors_that_are_none_are_refused(
    change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    failure = _failure(_changed(_planted(), change))
    assert failure.code == "bad_vectors"
    assert said in failure.message


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": []},
        {"data": [{"data": [[1.0] * DIM]}] * 2},
        {"data": [{"data": [[1.0] * DIM, [1.0]]}]},
        {"data": [{"data": [["a"] * DIM]}]},
        {"data": [{"data": "not base64!"}]},
        {"data": [{"data": None}]},
        {"data": ["x"]},
        {"data": {"data": 1}},
    ],
)
def test_another_shape_of_answer_is_refused(body: dict) -> None:
    fine = _planted()

    def answer(request: Request) -> Reply:
        return Reply(body) if "messages" in (request.body or {}) else fine(request)

    failure = _failure(answer)
    assert failure.code == "bad_vectors"


def test_the_other_api_is_named_where_the_shape_is_its() -> None:
    one_vector = [1.0] * DIM

    def pooled(request: Request) -> Reply:
        if request.path == "/v1/models":
            return Reply({"data": [{"id": "tiny"}]})
        return Reply({"data": [{"data": one_vector, "embedding": [one_vector]}]})

    assert "encoder.api to embeddings" in _failure(pooled).next_step
    assert "encoder.api to pooling" in _failure(pooled, api="embeddings").next_step


def test_a_server_that_ranks_by_chance_fails_the_self_test() -> None:
    server = _planted()
    server.text = lambda said: np.random.default_rng(len(said)).standard_normal((3, DIM))
    assert _failure(server).code == "self_test_failed"


# --- which model --------------------------------------------------------------------------------
def test_the_model_is_the_one_served() -> None:
    with serving(_planted(model="org/served")) as running:
        for wanted in (None, "org/served"):
            encoder = _connected(running.url, model=wanted)
            assert encoder.identity.revision == "org/served"
            assert str(encoder.identity) == "remote@org/served"
            encoder.close()
        with pytest.raises(ConfigError, match=r"has org/served; settings ask for org/other"):
            _connected(running.url, model="org/other")


def test_a_folder_or_its_origin_leads_to_the_name_it_is_served_under(tmp_path) -> None:
    server = _planted(model="short")
    server.root = "org/long-name"
    (tmp_path / "weights").mkdir()
    with serving(server) as running:
        for wanted in ("org/long-name", str(tmp_path / "weights")):
            encoder = _connected(running.url, model=wanted)
            assert encoder.identity.revision == "short"
            encoder.close()


def test_a_server_without_a_list_is_taken_at_the_settings_word() -> None:
    fine = _planted()

    def answer(request: Request) -> Reply:
        return Reply(status=404) if request.path == "/v1/models" else fine(request)

    with serving(answer) as running:
        _connected(running.url, model="tiny").close()
        with pytest.raises(ModelFailed):
            _connected(running.url)


def test_a_wrong_key_is_said_without_the_key() -> None:
    key = "sk-0123456789"
    failure = _failure(
        lambda request: Reply({"error": f"bad {request.headers['Authorization']}"}, status=401),
        api_key=SecretStr(key),
    )
    assert failure.code == "encoder_refused"
    assert key not in f"{failure!r}{failure.as_dict()}"
    assert "OCTAVO_ENCODER__API_KEY" in failure.next_step


def test_no_address_is_a_matter_of_settings() -> None:
    with pytest.raises(ConfigError, match="address"):
        RemoteEncoder.connect(EncoderSettings(name="remote"))


# --- the same server tomorrow -------------------------------------------------------------------
def _fingerprint(server: Callable[[Request], Reply]) -> str:
    with serving(server) as running:
        encoder = _connected(running.url)
        encoder.close()
    return str(encoder.identity.settings["fingerprint"])


def test_the_fingerprint_survives_noise_and_no_other_model() -> None:
    random = np.random.default_rng(5)
    first = _fingerprint(_planted())
    noisy = _changed(
        _planted(), lambda rows: rows * (1 + 1e-3 * random.standard_normal(rows.shape))
    )
    assert is_same_fingerprint(first, _fingerprint(noisy))
    assert not is_same_fingerprint(first, _fingerprint(_planted(seed=1)))


def test_a_server_gone_at_search_time_is_said_in_two_seconds() -> None:
    with serving(_planted()) as running:
        encoder = RemoteEncoder.connect(EncoderSettings(name="remote", url=running.url))
    started = time.monotonic()
    with pytest.raises(ModelFailed) as caught:
        encoder.encode_query("a garden")
    assert time.monotonic() - started < 2.5
    assert caught.value.code == "encoder_unreachable"
    encoder.close()


# --- against weights here -----------------------------------------------------------------------
@pytest.fixture
def reference(served: Served) -> Iterator[RemoteEncoder]:
    encoder = _connected(served.url)
    yield encoder
    encoder.close()


_NO_TENSORS = (2).to_bytes(8, "little") + b"{}"


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A folder that looks like a model's; what is in it is another test's matter."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(_NO_TENSORS)
    return str(tmp_path)


def test_a_server_like_the_weights_passes(reference: RemoteEncoder, weights: str) -> None:
    random = np.random.default_rng(5)
    noisy = _changed(
        _planted(), lambda rows: rows * (1 + 1e-2 * random.standard_normal(rows.shape))
    )
    with serving(noisy) as running:
        remote = _connected(running.url)
        found = check_parity(
            remote,
            EncoderSettings(name="remote", url=running.url, model=weights),
            lambda _: reference,
        )
        remote.close()
    assert found.is_checked
    assert "cosine of 0.99" in found.detail
    assert found.notice().code == "parity_checked"


def test_other_weights_behind_the_server_are_refused(reference: RemoteEncoder) -> None:
    with serving(_planted(seed=1)) as running:
        remote = _connected(running.url)
        with pytest.raises(ModelFailed) as caught:
            compare(reference, remote)
        remote.close()
    assert caught.value.code == "parity_failed"
    assert "built-in page 1" in caught.value.message


def test_questions_written_otherwise_are_seen_in_the_scores(reference: RemoteEncoder) -> None:
    """Another number of rows: they cannot be paired, but their scores can."""
    other = _planted()
    text = other.text
    other.text = lambda said: np.vstack(
        [text(said), np.random.default_rng(1).normal(size=(9, DIM))]
    )
    with serving(other) as running:
        remote = _connected(running.url)
        with pytest.raises(ModelFailed) as caught:
            compare(reference, remote)
        remote.close()
    assert caught.value.code == "parity_failed"
    assert "scores with questions" in caught.value.message


def test_doctor_says_what_the_server_runs_and_whether_it_was_compared(served: Served) -> None:
    settings = Settings(encoder=EncoderSettings(name="remote", url=served.url))
    (check,) = [each for each in examine(settings)["checks"] if each["name"] == "encoder server"]
    assert check["ok"]
    assert check["detail"].startswith("tiny, dim 32, rows without places; not compared: ")


def test_doctor_says_that_the_server_is_down() -> None:
    with serving(_planted()) as gone:
        pass
    settings = Settings(encoder=EncoderSettings(name="remote", url=gone.url))
    found = examine(settings)
    (check,) = [each for each in found["checks"] if each["name"] == "encoder server"]
    assert not check["ok"]
    assert not found["usable"]
    assert "encoder.url" in check["next_step"]


def test_nothing_to_compare_with_is_said_and_no_failure(
    reference: RemoteEncoder, weights: str
) -> None:
    def broken(_: EncoderSettings) -> RemoteEncoder:
        raise ModelFailed("the header is cut off", code="weights_damaged")

    for model, said in (
        (None, "encoder.model"),
        ("org/absent", "the weights of org/absent are not on this machine"),
        ("not an id", "not an id"),
        (weights, "the header is cut off"),
    ):
        found = check_parity(reference, EncoderSettings(name="remote", model=model), broken)
        assert not found.is_checked
        assert said in found.notice().message
        assert found.notice().code == "parity_not_checked"


def test_a_server_is_compared_with_a_whole_model_of_any_layout(
    reference: RemoteEncoder, tmp_path: Path
) -> None:
    def found(model: Path) -> str:
        def load(_: EncoderSettings) -> RemoteEncoder:
            raise ModelFailed("they were loaded")

        settings = EncoderSettings(name="remote", model=str(model))
        return check_parity(reference, settings, load).detail

    sharded = tmp_path / "sharded"
    sharded.mkdir()
    (sharded / "config.json").write_text("{}")
    shards = {"a": "one.safetensors", "b": "two.safetensors"}
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (sharded / "one.safetensors").write_bytes(_NO_TENSORS)
    assert "not complete: two.safetensors" in found(sharded)
    (sharded / "two.safetensors").write_bytes(_NO_TENSORS)
    assert "they were loaded" in found(sharded)
    (sharded / "model.safetensors.index.json").unlink()
    assert "they were loaded" in found(sharded), "files that no index lists"

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(_NO_TENSORS)
    config = {"base_model_name_or_path": "org/base-that-is-not-here"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert "org/base-that-is-not-here are not on this machine" in found(adapter)
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(sharded)})
    )
    assert "they were loaded" in found(adapter)
