"""LIMIT read from its published files, searched by all arms, drawn."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from eval.datasets.limit import load
from eval.datasets.published import Wanted
from eval.limit.arms import ARMS, BM25, DENSE, HYBRID, MAXSIM, ranked, score_all
from eval.limit.construction import LimitSet, LimitSpec, write_published
from eval.limit.plot import recall_svg
from eval.limit.report import stress_report
from eval.limit.stress import Stress, Texts, stress, texts_made, texts_of
from rag.encoders.minilm import MiniLm
from rag.encoders.words import WordsEncoder
from rag.errors import ConfigError, InputError
from rag.ports import EncodedQuery
from rag.ranking.legs import summed_zscores
from rag.settings import RetrievalSettings

SPEC = LimitSpec(n_documents=12, n_queries=15, n_likes=8, seed=7)


@pytest.fixture(scope="module")
def encoder() -> WordsEncoder:
    return WordsEncoder(MiniLm.load(threads=1))


@pytest.fixture(scope="module")
def result(encoder: WordsEncoder) -> Stress:
    return stress(texts_made(LimitSet(SPEC)), encoder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_published(LimitSet(SPEC), tmp_path / "limit")
    return tmp_path / "limit"


def test_what_was_written_is_read_as_it_was_made(folder: Path) -> None:
    (part,) = load(folder, Wanted())
    assert texts_of(part, name="limit-made-12") == texts_made(LimitSet(SPEC))
    assert (part.name, part.main_measure) == ("full", "R@2")  # 12 documents, 6 of which answer
    assert '"seed": 7' in part.notes[1]
    names = [document.name for document in part.documents]
    assert names == list(LimitSet(SPEC).names) == [d.name for d in part.documents]


@pytest.mark.parametrize("name", ["LIMIT-small", "limit-small"])
def test_parts_lie_in_folders_as_the_hub_and_the_authors_name_them(
    tmp_path: Path, name: str
) -> None:
    write_published(LimitSet(SPEC), tmp_path / name)
    assert [part.name for part in load(tmp_path, Wanted())] == ["small"]
    assert [part.name for part in load(tmp_path, Wanted(parts=("small",)))] == ["small"]
    with pytest.raises(InputError):
        list(load(tmp_path, Wanted(parts=("full",))))
    with pytest.raises(InputError, match="no part 'large'"):
        list(load(tmp_path, Wanted(parts=("large",))))


@pytest.mark.parametrize("name", ["corpus", "queries", "qrels"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / f"{name}.jsonl").unlink()
    with pytest.raises(InputError, match=f"{name}.jsonl" if name != "corpus" else "LIMIT") as found:
        load(folder, Wanted())
    assert found.value.code == "dataset_layout"


def _edit(path: Path, at: int, **changes: object) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[at] = {key: value for key, value in {**rows[at], **changes}.items() if value is not None}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("qrels", {"corpus-id": "Nobody"}, "'Nobody' is not in corpus.jsonl"),
        ("qrels", {"score": "high"}, "field 'score'"),
        ("qrels", {"query-id": "query_99"}, "'query_99' is not in queries.jsonl"),
        ("queries", {"text": None}, "field 'text'"),
        ("queries", {"text": " "}, "field 'text': is empty"),
        ("queries", {"_id": "query_99"}, "'query_99' has no line in qrels.jsonl"),
        ("queries", {"_id": "query_1"}, "row 2: field '_id': 'query_1' is used twice"),
        ("corpus", {"_id": LimitSet(SPEC).names[1]}, "row 2: field '_id': .* is used twice"),
    ],
)
def test_a_row_that_is_wrong_is_named(
    folder: Path, file: str, change: dict[str, object], said: str
) -> None:
    _edit(folder / f"{file}.jsonl", 0, **change)
    with pytest.raises(InputError, match=said) as found:
        load(folder, Wanted())
    assert found.value.code == "dataset_field"


def test_every_arm_ranks_every_text_and_words_find_both(result: Stress) -> None:
    assert tuple(result.runs) == ARMS
    for arm in ARMS:
        for hits in result.runs[arm].values():
            assert len({hit.doc for hit in hits}) == len(hits) == SPEC.n_documents
            assert all(a.score > b.score for a, b in pairwise(hits))
    means = result.means()
    assert means[BM25]["R@2"] > 0.9
    assert means[BM25]["R@2"] >= means[MAXSIM]["R@2"] > means[DENSE]["R@2"]
    assert means[HYBRID]["R@10"] == 1.0


def test_the_arms_score_as_oracles_do(encoder: WordsEncoder) -> None:
    texts = ["Ana likes Old Maps and Tea.", "Ben likes Tea and New Maps.", "Cid likes Rain."]
    scored = score_all(texts, ["Who likes maps?"], encoder, n_texts=3).scores
    query = encoder.encode_query("Who likes maps?").tokens.vectors.astype(np.float64)
    word = [encoder.encode_query(text).tokens.vectors.astype(np.float64) for text in texts]
    by_hand = [(query @ rows.T).max(axis=1).sum() for rows in word]
    np.testing.assert_allclose(scored[MAXSIM][0], by_hand, atol=1e-5)
    # BM25 by hand: "map" in two of three, "like" in all, lengths against 400 terms.
    idf = {"map": np.log(1.5 / 2.5 + 1), "like": np.log(0.5 / 3.5 + 1)}

    def part(length: int) -> float:
        return 2.2 / (1 + 1.2 * (0.25 + 0.75 * length / 400))

    expected = [
        (idf["map"] + idf["like"]) * part(6),
        (idf["map"] + idf["like"]) * part(6),
        idf["like"] * part(3),
    ]
    np.testing.assert_allclose(scored[BM25][0], expected, rtol=1e-5)


def test_texts_in_batches_score_as_they_do_at_once(encoder: WordsEncoder) -> None:
    made = LimitSet(LimitSpec(n_documents=70, n_queries=3, n_likes=5))
    texts, questions = [d.text for d in made.documents()], [q.text for q in made.queries]
    whole = score_all(texts, questions, encoder, n_texts=70).scores
    alone = score_all(texts[64:], questions, encoder, n_texts=6).scores
    for arm in (MAXSIM, DENSE, "fde"):
        np.testing.assert_allclose(whole[arm][:, 64:], alone[arm], atol=1e-4)


def test_ties_fall_to_the_lower_id_and_what_is_not_found_is_left_out() -> None:
    scores = np.array([1.0, 2.0, 2.0, -np.inf, 1.0], np.float32)
    assert ranked(scores, k=10) == [1, 2, 0, 4]
    assert ranked(scores, k=2) == [1, 2]
    assert ranked(np.tile(np.array([0.0, 1.0], np.float32), 50), k=100) == [
        *range(1, 100, 2),
        *range(0, 100, 2),
    ]


def test_a_text_without_words_is_found_by_no_arm_of_vectors(encoder: WordsEncoder) -> None:
    texts = Texts(
        "tiny", ["a", "b"], ["Ana likes Tea.", ""], {"q": "Who likes Tea?"}, {"q": {"a": 1}}
    )
    result = stress(texts, encoder)
    for arm in (BM25, MAXSIM, DENSE, "fde"):
        assert [hit.doc for hit in result.runs[arm]["q"]] == ["a"]


def test_recall_beyond_the_number_of_texts_is_told_to_say_nothing(result: Stress) -> None:
    assert "R@100 says nothing" in stress_report(result.as_dict())


def test_one_vector_that_finds_half_of_a_large_set_is_told_as_a_leak(result: Stress) -> None:
    class Large(Stress):
        def means(self) -> dict[str, dict[str, float]]:
            return {arm: {"R@100": 0.6} for arm in ARMS}

    texts = Texts("full", ["a"] * 50_000, [], {}, {})
    (note,) = Large(texts, result.scored, {}, {}, 0.0).notes()
    assert "leak" in note
    assert "0.600" in note


def test_the_drawing_has_a_line_an_arm_and_names_apart(result: Stress) -> None:
    root = ElementTree.fromstring(recall_svg(result.as_dict()))
    space = "{http://www.w3.org/2000/svg}"
    lines = {each.get("class"): each.get("points") for each in root.iter(f"{space}polyline")}
    assert set(lines) == set(ARMS)
    assert lines[BM25] is not None
    assert len(lines[BM25].split()) == 2  # 2 and 10 of 12 texts
    names = [
        float(str(each.get("y")))
        for each in root.iter(f"{space}text")
        if str(each.text).rsplit(" ", 1)[0].replace(" ", "_") in ARMS
    ]
    assert len(names) == len(ARMS)
    assert min(np.diff(sorted(names))) >= 15


def test_without_documents_or_questions_there_is_nothing_to_stress(folder: Path) -> None:
    (part,) = load(folder, Wanted())
    (folder / "corpus.jsonl").write_text("")
    with pytest.raises(InputError, match="0 texts and 15 questions"):
        texts_of(part, name="limit")


def test_an_id_with_a_blank_is_one_that_a_dataset_folder_takes(folder: Path) -> None:
    _edit(folder / "queries.jsonl", 0, _id="query 0")
    for at in (0, 1):
        _edit(folder / "qrels.jsonl", at, **{"query-id": "query 0"})
    (part,) = load(folder, Wanted())
    assert part.queries[0].id == "query%200"
    assert len(part.qrels["query%200"]) == 2


def test_progress_is_told_text_by_text_to_the_last(encoder: WordsEncoder) -> None:
    told: list[tuple[int, int]] = []
    made = LimitSet(LimitSpec(n_documents=70, n_queries=3, n_likes=5))
    stress(texts_made(made), encoder, progress=lambda done, whole: told.append((done, whole)))
    assert told == [(64, 70), (70, 70)]


def test_hybrid_finds_what_any_leg_finds_and_adds_their_z_scores(encoder: WordsEncoder) -> None:
    texts = ["Ana likes Tea.", "", "Ben likes Rain.", "Cid likes Tea and Rain."]
    scored = score_all(texts, ["Who likes Tea?", "rain"], encoder, n_texts=4).scores
    assert np.isneginf(scored[HYBRID]).tolist() == [[False, True, False, False]] * 2
    weights = RetrievalSettings().weights.model_dump()
    for row in range(2):
        legs = {
            leg: np.where(np.isfinite(scored[arm][row]), scored[arm][row], np.nan).astype(float)
            for leg, arm in (("words", BM25), ("dense", DENSE), ("patches", MAXSIM))
        }
        expected = summed_zscores(legs, weights)
        held = [0, 2, 3]
        np.testing.assert_allclose(scored[HYBRID][row, held], expected[held], rtol=1e-5)


def test_a_question_without_a_word_is_named(encoder: WordsEncoder) -> None:
    with pytest.raises(InputError, match=r"question '\?\?': the question holds no word"):
        score_all(["Ana likes Tea."], ["Who likes Tea?", "??"], encoder, n_texts=1)


def test_an_encoder_without_a_pooled_vector_of_questions_is_refused(encoder: WordsEncoder) -> None:
    class Late(WordsEncoder):
        def encode_query(self, question: str) -> EncodedQuery:
            return replace(super().encode_query(question), dense=None)

    with pytest.raises(ConfigError, match="gives questions no pooled vector"):
        score_all(["Ana likes Tea."], ["tea"], Late(MiniLm.load(threads=1)), n_texts=1)
