"""Tasks of mteb as sets, and runs in its form; mteb itself is the judge."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("mteb", reason="needs mteb: make test-torch")

import mteb
from datasets import Dataset
from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, make_score_dict
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.results import TaskResult
from PIL import Image

from eval.datasets.folder import load_dataset
from eval.datasets.mteb_task import (
    find_task,
    load,
    load_task,
    measure_name,
    revision_of,
    score_name,
    task_source,
)
from eval.datasets.published import SetPart, Wanted
from eval.mteb_export import Named, export_run, run_scores
from eval.runs import Hit
from rag.apps.cli.app import run
from rag.errors import BackendError, InputError


def _metadata(name: str, modalities: list[str], category: str) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description="Made in a test.",
        reference=None,
        dataset={"path": "nowhere/at-all", "revision": "0123abc"},
        type="Retrieval" if category == "t2t" else "Any2AnyRetrieval",
        category=category,
        modalities=modalities,
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="recall_at_2",
    )


class TinyTask(AbsTaskRetrieval):
    """Three texts, and a question that nothing answers."""

    metadata = _metadata("TinyRetrieval", ["text"], "t2t")

    def load_data(self, **_rest: Any) -> None:
        data = RetrievalSplitData(
            corpus=Dataset.from_list(
                [
                    {"id": "d 1", "title": "Tea", "text": "Ana likes tea."},
                    {"id": "d2", "title": "", "text": "Ben likes tea."},
                    {"id": "d3", "title": "", "text": "Cid likes rain."},
                ]
            ),
            queries=Dataset.from_list(
                [
                    {"id": "q1", "text": "Who likes tea?", "instruction": "Name both."},
                    {"id": "q2", "text": "Who likes sand?", "instruction": ""},
                ]
            ),
            relevant_docs={"q1": {"d 1": 1, "d2": 2}},
            top_ranked=None,
        )
        self.dataset = {"default": {"test": data, "dev": data}}
        self.data_loaded = True


class TinyImageTask(AbsTaskRetrieval):
    metadata = _metadata("TinyImageRetrieval", ["text", "image"], "it2i")

    def load_data(self, **_rest: Any) -> None:
        image = Image.new("RGB", (5, 4), "red")
        self.dataset = {
            "default": {
                "test": RetrievalSplitData(
                    corpus=Dataset.from_list([{"id": "d1", "image": image}]),
                    queries=Dataset.from_list([{"id": "q1", "text": "Red?", "image": image}]),
                    relevant_docs={"q1": {"d1": 1}},
                    top_ranked=None,
                )
            }
        }
        self.data_loaded = True


class BrokenTask(TinyTask):
    def load_data(self, **_rest: Any) -> None:
        super().load_data()
        self.dataset["default"]["test"]["relevant_docs"] = {"q1": {"d9": 1}}


def one(parts: Any) -> SetPart:
    (part,) = parts
    return part


# --- a task as a set ----------------------------------------------------------------------------
def test_a_task_is_a_set_of_its_texts_questions_and_grades() -> None:
    part = one(load_task(TinyTask(), Wanted()))
    assert (part.name, part.main_measure) == ("TinyRetrieval", "R@2")
    pages = [(document.name, document.pages[0].text) for document in part.documents]
    assert pages[0] == ("d 1", "Tea\nAna likes tea.")
    assert [name for name, _ in pages] == ["d 1", "d2", "d3"]
    (query,) = part.queries
    assert query.text == "Who likes tea? Name both."
    assert part.qrels == {"q1": {"d 1": 1, "d2": 2}}
    assert any("0123abc" in note for note in part.notes)
    assert any("1 questions without" in note for note in part.notes)


def test_another_split_is_taken_when_it_is_named() -> None:
    part = one(load_task(TinyTask(), Wanted(options={"split": "dev"})))
    assert part.name == "TinyRetrieval-dev"
    with pytest.raises(InputError, match="no such part") as found:
        list(load_task(TinyTask(), Wanted(options={"split": "train"})))
    assert "TinyRetrieval-dev" in found.value.next_step


def test_images_of_a_task_are_pages_and_questions() -> None:
    part = one(load_task(TinyImageTask(), Wanted()))
    (document,) = part.documents
    page = document.pages[0]
    assert page.image is not None
    assert Image.open(io.BytesIO(page.image())).size == (5, 4)
    (query,) = part.queries
    assert Image.open(io.BytesIO(part.images[str(query.image)]())).getpixel((0, 0)) == (255, 0, 0)


def test_a_grade_of_nothing_is_named() -> None:
    with pytest.raises(InputError, match="no document 'd9'"):
        list(load_task(BrokenTask(), Wanted()))


def test_a_grade_that_is_not_whole_is_told_and_not_cut() -> None:
    class HalfGraded(TinyTask):
        def load_data(self, **_rest: Any) -> None:
            super().load_data()
            self.dataset["default"]["test"]["relevant_docs"] = {"q1": {"d2": 0.5}}

    with pytest.raises(InputError, match=r"wants whole grades, got 0\.5 of 'd2'"):
        list(load_task(HalfGraded(), Wanted()))


def test_a_hub_out_of_reach_is_no_fault_of_octavo() -> None:
    class Unreached(TinyTask):
        def load_data(self, **_rest: Any) -> None:
            raise ConnectionError("Couldn't reach 'a/b' on the Hub")

    with pytest.raises(BackendError, match=r"cannot fetch .*: Couldn't reach 'a/b'") as found:
        list(load_task(Unreached(), Wanted()))
    assert "HF_HOME" in found.value.next_step


def test_a_name_that_mteb_does_not_know_is_refused_with_one_it_does() -> None:
    with pytest.raises(InputError, match="LIMITSmallRetrieval") as found:
        find_task("LIMITSmalRetrieval")
    assert found.value.code == "unknown_task"
    with pytest.raises(InputError, match="not about retrieval"):
        find_task("Banking77Classification")
    with pytest.raises(InputError, match="knows no task 'nothing'"):
        list(load(Path("nothing"), Wanted()))


def test_a_task_is_prepared_at_the_revision_that_mteb_pins() -> None:
    source = task_source("mteb:LIMITSmallRetrieval")
    assert source.given_revision == revision_of(find_task("LIMITSmallRetrieval"))
    assert str(source.folder) == "LIMITSmallRetrieval"
    with pytest.raises(InputError, match="pins LIMITSmallRetrieval"):
        task_source("LIMITSmallRetrieval", revision="main")


def test_a_task_becomes_a_dataset_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mteb, "get_task", lambda _: TinyTask())
    to = str(tmp_path)
    assert run(["eval", "prepare", "mteb", "mteb:TinyRetrieval", "--to", to, "--json"]) == 0
    (prepared,) = json.loads(capsys.readouterr().out)["prepared"]
    assert prepared["origin"]["revision"] == "0123abc"
    dataset = load_dataset(Path(prepared["folder"]))
    assert list(dataset.documents) == ["d2.pdf", "d3.pdf", "d_1.pdf"]
    assert sorted(dataset.qrels["q1"].values()) == [1, 2]


def test_limit_is_known_to_mteb_by_the_measure_that_we_have() -> None:
    task = find_task("LIMITSmallRetrieval")
    assert measure_name(task.metadata.main_score) == "R@2"
    for measure in ("nDCG@10", "R@2", "AP@10", "RR@10", "P@3", "Success@1"):
        score = score_name(measure)
        assert score is not None
        assert measure_name(score) == measure
    assert score_name("R@5, R@10 of some") is None
    assert measure_name("accuracy") == "accuracy"


# --- a run as a result --------------------------------------------------------------------------
KS = (1, 2, 3, 5, 10, 20, 50, 100)
PAGES = st.integers(0, 14)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, list[Hit]]]:
    """Questions with graded gold and hits with ties; of some questions nothing was found."""
    rows, run = [], {}
    for number in range(draw(st.integers(1, 5))):
        gold = draw(st.dictionaries(PAGES, st.integers(0, 3), min_size=1, max_size=6))
        gold[draw(PAGES)] = draw(st.integers(1, 3))  # mteb leaves out questions without any
        rows.append(
            {
                "id": f"q{number}",
                "text": "?",
                "type": "t",
                "gold_mode": draw(st.sampled_from(["all", "any"])),
                "gold": [[f"d{page}.pdf", 1, grade] for page, grade in gold.items()],
            }
        )
        found = draw(st.lists(PAGES, unique=True, max_size=12))
        scores = sorted((draw(st.integers(0, 3)) for _ in found), reverse=True)
        run[f"q{number}"] = [
            Hit(f"d{page}.pdf", 1, float(score)) for page, score in zip(found, scores, strict=True)
        ]
    return rows, run


def judged_by_mteb(rows: list[dict[str, Any]], run: dict[str, list[Hit]]) -> dict[str, Any]:
    """What mteb says, handed the order in which hits are shown."""
    qrels = {
        row["id"]: {f"{doc}:{page}": grade for doc, page, grade in row["gold"]} for row in rows
    }
    results = {
        query_id: {f"{hit.doc}:{hit.page_number}": -float(rank) for rank, hit in enumerate(hits)}
        for query_id, hits in run.items()
    }
    found = calculate_retrieval_scores(results, qrels, list(KS))
    scores: dict[str, Any] = make_score_dict(
        ndcg=found.ndcg,
        _map=found.map,
        recall=found.recall,
        precision=found.precision,
        mrr=found.mrr,
        naucs={},
        naucs_mrr={},
        hit_rate=found.hit_rate,
        task_scores={},
    )
    return scores


@given(case=cases())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_score_that_is_told_is_mtebs_own(
    case: tuple[list[dict[str, Any]], dict[str, list[Hit]]],
) -> None:
    rows, run = case
    ours, theirs = run_scores(rows, run, scope="corpus"), judged_by_mteb(rows, run)
    assert {"ndcg_at_10", "recall_at_2", "map_at_10", "mrr_at_10", "precision_at_10"} <= set(ours)
    for name, value in ours.items():
        # mteb rounds what trec_eval gives to five digits.
        assert value == pytest.approx(theirs[name], abs=1e-5), name


def test_a_question_that_is_missing_from_the_run_counts_as_found_nothing() -> None:
    rows = [
        {"id": name, "text": "?", "type": "t", "gold": [["d1.pdf", 1, 1]]} for name in ("a", "b")
    ]
    scores = run_scores(rows, {"a": [Hit("d1.pdf", 1, 1.0)]}, scope="corpus")
    assert scores["recall_at_1"] == scores["ndcg_at_10"] == 0.5


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    rows = [{"id": "q", "text": "?", "type": "t", "gold": [["a.pdf", 1, 1], ["b.pdf", 1, 1]]}]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "per_query.jsonl").write_text('{"id": "q", "type": "t", "ms": 250.0}\n')
    (tmp_path / "run.tsv").write_text("q\tb.pdf\t1\t1\t0.5\nq\tc.pdf\t1\t2\t0.5\n")
    origin = {
        "published": "limit", "part": "small", "revision": "sha256:1", "main_measure": "R@2",
    }  # fmt: skip
    measures = {"dataset": "x", "dataset_digest": "ff", "scope": "corpus", "origin": origin}
    (tmp_path / "measures.json").write_text(json.dumps(measures))
    return tmp_path


def test_a_result_is_loaded_by_mteb(run_folder: Path) -> None:
    path = run_folder / "result.json"
    path.write_text(json.dumps(export_run(run_folder)))
    for historic in (True, False):
        result = TaskResult.from_disk(path, load_historic_data=historic)
        assert (result.task_name, result.dataset_revision) == ("LIMITSmallRetrieval", "sha256:1")
        assert result.get_score() == 0.5
        assert result.scores["test"][0]["hf_subset"] == "default"
        assert result.scores["test"][0]["ndcg_at_10"] == pytest.approx(0.613147)
        assert result.evaluation_time == 0.25
        # The set tells no language; mteb knows the code that says so.
        assert result.languages == ["und"]
        assert result.get_score(languages=["und"]) == 0.5


def test_a_result_can_be_named_otherwise(run_folder: Path) -> None:
    named = Named("Other", "deu", "dev", ("deu-Latn",), "ndcg_at_5")
    (scores,) = export_run(run_folder, named)["scores"]["dev"]
    assert (scores["hf_subset"], scores["languages"]) == ("deu", ["deu-Latn"])
    assert scores["main_score"] == scores["ndcg_at_5"]
    with pytest.raises(InputError, match="no score 'ndcg_at_7'"):
        export_run(run_folder, Named(main_score="ndcg_at_7"))
