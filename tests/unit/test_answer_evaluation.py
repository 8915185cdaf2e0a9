"""A run of answers from dataset folder to files: what it tells of itself, and takes over."""

import json
from dataclasses import asdict, replace

import pytest

from eval.answers.evaluation import AnsweredBy, AnswerPlan, Asking, evaluate_answers
from eval.answers.spending import Prices
from eval.datasets.folder import load_dataset

BY = AnsweredBy("chat", "words@1", {"k": 1}, {"pages": 9}, {"fde": 7}, code="abc")
PLAN = AnswerPlan(scope="corpus", threshold=0.45)
SECRET = ("hidden.pdf", "goldword", "otherword", "kindword", "domainword", "4711")


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "tiny"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "hidden.pdf").write_bytes(b"%PDF-1.4")
    (folder / "images").mkdir()
    (folder / "images" / "i.png").write_bytes(b"png")
    queries = [
        {
            "id": f"q{n}",
            "text": f"Which {n}?",
            "answer": "goldword",
            "answers": ["otherword"],
            "type": "kindword",
            "doc": "hidden.pdf",
            "groups": {"domain": "domainword"},
            **({"image": "i.png"} if n == 2 else {}),
        }
        for n in range(3)
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    rows = ["query_id\tdoc\tpage\trelevance", *(f"q{n}\thidden.pdf\t4711\t1" for n in range(3))]
    (folder / "qrels.tsv").write_text("".join(f"{row}\n" for row in rows))
    origin = {
        "published": "set",
        "source": "org/set",
        "revision": "r1",
        "licence": "MIT",
        "main_measure": "F1",
    }
    (folder / "dataset.json").write_text(json.dumps(origin))
    return load_dataset(folder)


class Answers:
    def __init__(self):
        self.asked = []

    def __call__(self, _threshold):
        def ask(question):
            self.asked.append(question)
            usage = {"prompt_tokens": 1000, "completion_tokens": 10, "cached_tokens": 0}
            return {
                "answer": "Otherword",
                "short": "Otherword",
                "abstained": False,
                "confidence": 0.9,
                "model_id": "m-1",
                "usage": usage,
            }

        return ask


@pytest.mark.parametrize("workers", [1, 3])
def test_who_answers_is_told_nothing_that_gives_the_answer_away(dataset, tmp_path, workers):
    answers = Answers()
    asking = Asking(workers=workers)
    evaluate_answers(dataset, answers, PLAN, BY, out_dir=tmp_path / "out", asking=asking)
    told = " ".join(json.dumps(asdict(question)) for question in answers.asked)
    assert "Which 0?" in told
    assert not [secret for secret in SECRET if secret in told]
    # In its document it is told that document, and from the gold pages those pages.
    within = Answers()
    in_document = replace(PLAN, scope="document")
    evaluate_answers(dataset, within, in_document, BY, out_dir=tmp_path / "in")
    assert {question.doc for question in within.asked} == {"hidden.pdf"}
    assert "4711" not in json.dumps([asdict(question) for question in within.asked])


def test_a_run_says_where_its_figures_come_from(dataset, tmp_path):
    out = tmp_path / "out"
    asking = Asking(prices=Prices(2.0, 8.0))
    figures = evaluate_answers(dataset, Answers(), PLAN, BY, out_dir=out, asking=asking)
    assert figures["origin"]["revision"] == "r1"
    assert (figures["index"], figures["config"]) == ({"pages": 9}, {"k": 1})
    assert figures["seeds"] == {"folds": 0, "fde": 7}
    assert figures["models"] == ["m-1"]
    assert figures["means"]["EM"] == {"value": 1.0, "n": 3}  # the other gold answer
    assert figures["by_group"]["domain"]["domainword"]["n"] == 3
    assert figures["tokens"]["prompt"] == 3000
    assert figures["cost"]["value"] == pytest.approx(3 * (1000 * 2 + 10 * 8) / 1e6)
    assert figures["notices"]["image_not_asked"]["questions"] == 1
    assert figures == json.loads((out / "answer_measures.json").read_text())
    (first, *_) = map(json.loads, (out / "questions.jsonl").read_text().splitlines())
    assert (first["answer"], first["gold"]) == ("goldword", [["hidden.pdf", 4711, 1]])


def test_other_folders_take_answers_over_where_code_settings_and_documents_are_the_same(
    dataset, tmp_path
):
    def asked(name, *, by=BY, plan=PLAN, of=dataset):
        answers = Answers()
        asking = Asking(cache_dir=tmp_path / "cache")
        out = tmp_path / name
        figures = evaluate_answers(of, answers, plan, by, out_dir=out, asking=asking)
        return len(answers.asked), figures["from_cache"]

    assert asked("first", plan=replace(PLAN, limit=2)) == (2, 0)
    assert asked("more") == (1, 2)
    assert asked("again") == (0, 3)
    assert asked("again") == (0, 0)  # its own file
    # Other questions over the same documents.
    assert asked("asked anew", of=replace(dataset, digest="other")) == (0, 3)
    for name, changed in {
        "by": {"by": replace(BY, config={"k": 2})},
        "a page that failed": {"by": replace(BY, index={"pages": 8})},
        "encoder": {"by": replace(BY, encoder="words@2")},
        "code": {"by": replace(BY, code="def")},
        "edited": {"by": replace(BY, code="")},
        "threshold": {"plan": replace(PLAN, threshold=0.5)},
        "scope": {"plan": replace(PLAN, scope="document")},
        "documents": {"of": replace(dataset, documents_digest="other")},
        "unknown": {"of": replace(dataset, documents_digest="")},
    }.items():
        assert asked(name, **changed) == (3, 0), name
