"""The embedded encoder on its real weights."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.encoders import minilm
from rag.encoders.minilm import MiniLm, build_graph
from rag.encoders.weights import find_weights
from rag.encoders.words import WordsEncoder, orthogonal_map, windows
from rag.errors import ConfigError, InputError
from rag.page_text import PageText
from rag.ports import PageInput
from rag.scoring.maxsim import maxsim
from rag.types import PageRef

_MAP_CORNER = [[0.0226479, -0.0236954, -0.0195011], [-0.0560201, 0.0360378, 0.0240775]]
_PROSE = (
    "The board proposes a dividend of 1.20 dollars a share . Tidal power output rose by 14 % "
    "while turbine maintenance costs fell . Harbour staff completed safety training in March ."
).split()


def _page(words, *, size_pt=10.0):
    n = len(words)
    boxes = np.array([[10 * i, 0, 10 * i + 9, 10] for i in range(n)], np.float32).reshape(n, 4)
    text = PageText(
        tuple(words),
        boxes,
        (np.arange(n) // 8).astype(np.int32),
        np.full(n, size_pt, np.float32),
        np.zeros(n, np.bool_),
    )
    return PageInput(PageRef("d", 1), 612, 792, text)


@pytest.fixture(scope="module")
def model():
    return MiniLm.load()


@pytest.fixture(scope="module")
def encoder(model):
    return WordsEncoder(model)


def test_int8_agrees_with_float32(model):
    graph = build_graph(find_weights())
    exact = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ids = model.tokenizer.encode(_PROSE * 8, is_pretokenized=True, add_special_tokens=False).ids
    ids = ids[:254]
    quick = model.encode([ids])[0]
    slow = exact.run(None, {"ids": np.array([[101, *ids, 102]], np.int64)})[0][0, 1:-1]
    cosine = (quick * slow).sum(1) / np.linalg.norm(quick, axis=1) / np.linalg.norm(slow, axis=1)
    assert cosine.mean() > 0.98
    assert np.percentile(cosine, 1) > 0.95


def test_a_page_gives_the_same_vectors_alone_and_among_others(encoder):
    long_page, short_page = _page(_PROSE * 20), _page(_PROSE[:3])
    together = encoder.encode_pages([short_page, long_page, _page([]), short_page])
    alone = encoder.encode_pages([long_page])[0]
    np.testing.assert_array_equal(together[1].patches.vectors, alone.patches.vectors)
    np.testing.assert_array_equal(together[1].dense, alone.dense)
    np.testing.assert_array_equal(together[0].patches.vectors, together[3].patches.vectors)


def test_vectors_are_unit_and_carry_the_boxes_of_their_words(encoder):
    page = _page(_PROSE)
    found = encoder.encode_pages([page])[0]
    np.testing.assert_allclose(np.linalg.norm(found.patches.vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.patches.boxes, page.text.boxes[found.patch_words])
    kept = [page.text.words[word] for word in found.patch_words]
    assert "dividend" in kept
    assert "." not in kept
    assert "The" not in kept


def test_every_content_word_of_a_long_page_has_one_vector(encoder):
    page = _page([f"word{i}" for i in range(900)])
    found = encoder.encode_pages([page])[0]
    assert found.patch_words.tolist() == list(range(900))
    assert len(found.dense) > 3


def test_a_page_without_words_has_no_vectors(encoder):
    found = encoder.encode_pages([_page([])])[0]
    assert len(found.patches) == len(found.headings) == len(found.dense) == 0


def test_words_of_odd_characters_do_not_break_a_page(encoder):
    page = _page(["\u200b", "\ufffd", "x" * 5000, "tide", "\u0301", "東京"])
    found = encoder.encode_pages([page])[0]
    assert "tide" in [page.text.words[word] for word in found.patch_words]


@pytest.mark.parametrize("question", ["", "   ", "\u200b", "?!... --- ،"])
def test_a_question_without_words_is_refused(encoder, question):
    with pytest.raises(InputError, match="no word"):
        encoder.encode_query(question)


def test_a_question_of_function_words_still_has_vectors(encoder):
    assert len(encoder.encode_query("who are you").tokens) > 0


def test_a_question_longer_than_a_window_is_read_whole(encoder):
    query = encoder.encode_query(" ".join(f"term{i}" for i in range(400)))
    assert len(query.tokens) == 400


def test_a_paraphrase_scores_above_another_subject(encoder):
    query = encoder.encode_query("payout to shareholders").tokens.vectors
    right, wrong = encoder.encode_pages([_page(_PROSE[:10]), _page(_PROSE[22:])])
    assert maxsim(query, right.patches.vectors) > maxsim(query, wrong.patches.vectors)


@given(st.integers(0, 5000))
def test_windows_cover_everything_and_overlap(n):
    found = windows(n)
    assert (not found) == (n == 0)
    if found:
        assert found[0][0] == 0
        assert found[-1][1] == n
    for (_, end), (start, _) in pairwise(found):
        assert end - start >= 32


@settings(max_examples=10)
@given(st.sampled_from([16, 64, 128, 384]))
def test_the_map_has_orthonormal_columns(n_out):
    mapped = orthogonal_map(384, n_out)
    np.testing.assert_allclose(mapped.T @ mapped, np.eye(n_out), atol=1e-5)


def test_the_map_is_the_same_everywhere():
    # Written down once: another map would make indexes of other machines unreadable.
    np.testing.assert_allclose(
        orthogonal_map(384, 128)[:2, :3],
        _MAP_CORNER,
        atol=1e-6,
    )


def test_weights_of_another_digest_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="expected MiniLM weights"):
        find_weights(tmp_path)


def test_a_damaged_cache_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(minilm, "cache_folder", lambda: tmp_path)
    MiniLm.load().close()
    graph = next(tmp_path.glob("*.onnx"))
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2])
    MiniLm.load().close()
    assert graph.read_bytes() == whole


def test_a_question_does_not_wait_for_the_pages_of_an_ingest():
    encoder = WordsEncoder(MiniLm.load())
    may_go_on = threading.Event()
    model = encoder._model
    for _ in range(8):  # more than it has threads
        model._threads.submit(may_go_on.wait)
    try:
        with ThreadPoolExecutor(1) as asking:
            asked = asking.submit(encoder.encode_query, "Which page is it on?")
            assert len(asked.result(timeout=30).tokens)
    finally:
        may_go_on.set()
        encoder.close()
