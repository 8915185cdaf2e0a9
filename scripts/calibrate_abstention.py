"""Fits the confidence of rag/answer/confidence.py and prints what abstaining by it costs and saves.

Every question is asked within its own document. Answerable are the questions of queries.jsonl,
unanswerable those of unanswerable.jsonl; a logistic of the two features is fitted to those whose
pages hold text (without text there is no answer and no choice), both sides weighing the same, and
cross-validated by leaving out one document at a time. A second, easy set of unanswerable questions
takes no part in the fit: answerable ones, asked of another document.

    octavo ingest DATASET/docs -c NAME --data-dir DIR
    python scripts/calibrate_abstention.py DATASET -c NAME --data-dir DIR
"""

from __future__ import annotations

import argparse
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eval.abstention import Roc, RocPoint, choose_threshold, roc, roc_text
from eval.datasets import Dataset, load_dataset
from rag.answer.confidence import confidence_of, features, has_text
from rag.answer.question import Question
from rag.ask import Asker
from rag.ports import EncodedQuery, Evidence
from rag.settings import load_settings
from rag.types import Answer, Principal
from rag.wiring import Engine

_RIDGE = 1.0  # on standardised features: few questions, so nothing may grow large
_STEPS = 50
_GRID = np.arange(0.05, 1.0, 0.05)
_MAX_MISLED = 0.5
_MIN_ANSWERED = 0.75

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """A question with what was found for it."""

    doc: str
    has_text: bool
    gold_found: bool
    features: tuple[float, float]
    confidence: float


class Recorder:
    """AnswerModel that keeps the evidence it is shown."""

    model_id = "recorder"

    def __init__(self) -> None:
        self.evidence: list[Evidence] = []

    def answer(self, question: str, query: EncodedQuery, evidence: Sequence[Evidence]) -> Answer:
        del question, query
        self.evidence = list(evidence)
        return Answer("", abstained=True, model_id=self.model_id)


class Questioner:
    def __init__(self, engine: Engine, collection: str, dataset: Dataset) -> None:
        self._recorder = Recorder()
        self._asker = Asker(engine.retriever(collection), self._recorder, engine.settings.answer)
        self._reader = engine.reader(Principal.owner(), collection)
        self._dataset = dataset

    def ask(self, text: str, doc: str, *, query_id: str | None = None) -> Asked:
        self._asker.ask(self._reader, text, scope=self._reader.scope(documents=[doc]))
        evidence = self._recorder.evidence
        question = Question(text)
        found = features(question, evidence)
        gold = self._dataset.qrels.get(query_id or "", {})
        return Asked(
            doc=doc,
            has_text=has_text(evidence),
            gold_found=any(
                len(page.text) > 0 and (page.hit.source, page.hit.ref.page_number) in gold
                for page in evidence
            ),
            features=(found.pairs, found.names),
            confidence=confidence_of(question, evidence),
        )


def fit(rows: Array, labels: Array) -> Array:
    """Weights of the features and the intercept: ridge logistic by Newton steps, classes even."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    inputs = np.column_stack([(rows - mean) / scale, np.ones(len(rows))])
    positive = labels == 1
    counts = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()) * len(labels)
    ridge = _RIDGE * np.diag([*np.ones(rows.shape[1]), 0.0])
    weights = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (counts * (chance - labels)) + ridge @ weights
        curvature = (inputs.T * (counts * chance * (1 - chance))) @ inputs + ridge
        weights -= np.linalg.solve(curvature, slope)
    in_units = weights[:-1] / scale
    return np.append(in_units, weights[-1] - in_units @ mean)


def predict(weights: Array, rows: Array) -> Array:
    chances: Array = 1 / (1 + np.exp(-(rows @ weights[:-1] + weights[-1])))
    return chances


def left_out(rows: Array, labels: Array, docs: npt.NDArray[np.str_]) -> Array:
    """Each question's confidence by the fit to all documents but its own."""
    confidences = np.zeros(len(labels))
    for doc in np.unique(docs):
        held_out = docs == doc
        confidences[held_out] = predict(fit(rows[~held_out], labels[~held_out]), rows[held_out])
    return confidences


def rates(threshold: float, answerable: Array, unanswerable: Array) -> RocPoint:
    return RocPoint(
        threshold,
        float((answerable >= threshold).mean()),
        float((unanswerable >= threshold).mean()),
    )


def curve_of(answerable: Array, unanswerable: Array) -> Roc:
    return roc(answerable.tolist(), unanswerable.tolist())


def chosen_threshold(answerable: Array, unanswerable: Array) -> tuple[float, str]:
    """A round threshold that keeps both promises, the highest where several answer as many."""
    kept = [
        point
        for point in (rates(round(float(step), 2), answerable, unanswerable) for step in _GRID)
        if point.misled <= _MAX_MISLED and point.answered >= _MIN_ANSWERED
    ]
    if kept:
        best = max(kept, key=lambda point: (point.answered, point.threshold))
        return best.threshold, f"misled <= {_MAX_MISLED:.0%}, answered >= {_MIN_ANSWERED:.0%}"
    return choose_threshold(curve_of(answerable, unanswerable)).threshold, "Youden's J"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-c", "--collection", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    args = parser.parse_args()
    dataset = load_dataset(args.dataset)
    settings = load_settings(overrides={"store": {"data_dir": args.data_dir}})
    rng = random.Random(0)
    with Engine(settings) as engine:
        questioner = Questioner(engine, args.collection, dataset)
        answerable = [
            questioner.ask(query.text, query.doc, query_id=query.id)
            for query in dataset.counted("document")
            if query.doc is not None
        ]
        unanswerable = [questioner.ask(query.text, query.doc) for query in dataset.unanswerable]
        texts = sorted({asked.doc for asked in answerable if asked.has_text})
        elsewhere = [
            questioner.ask(query.text, rng.choice([doc for doc in texts if doc != query.doc]))
            for query in dataset.counted("corpus")
        ]
    report(dataset.name, answerable, unanswerable, elsewhere)
    print(f"settings: min_confidence {settings.answer.min_confidence}, commit {_commit()}")


def report(
    name: str,
    answerable: Sequence[Asked],
    unanswerable: Sequence[Asked],
    elsewhere: Sequence[Asked],
) -> None:
    asked = [*answerable, *unanswerable]
    used = np.array([question.has_text for question in asked])
    is_answerable = np.array([True] * len(answerable) + [False] * len(unanswerable))[used]
    rows = np.array([question.features for question in asked])[used]
    docs = np.array([question.doc for question in asked])[used]
    labels = is_answerable.astype(np.float64)
    held_out = left_out(rows, labels, docs)
    weights = fit(rows, labels)
    fitted = predict(weights, rows)
    threshold, reason = chosen_threshold(held_out[is_answerable], held_out[~is_answerable])
    curve = curve_of(held_out[is_answerable], held_out[~is_answerable])
    point = rates(threshold, held_out[is_answerable], held_out[~is_answerable])

    print(f"dataset {name}: {len(answerable)} answerable, {len(unanswerable)} unanswerable")
    print(f"with text on the pages found: {is_answerable.sum()} and {(~is_answerable).sum()}")
    print(f"fitted to all of these: pairs {weights[0]:.2f}, names {weights[1]:.2f}, ", end="")
    print(f"intercept {weights[2]:.2f}\n")
    print("cross-validated by document, of those with text:")
    print(roc_text(curve, chosen=point))
    print(f"threshold {threshold:.2f} ({reason}); others:")
    for step in (0.4, 0.45, 0.5, 0.55, 0.6):
        other = rates(step, held_out[is_answerable], held_out[~is_answerable])
        print(f"  {step:.2f}: answered {other.answered:.0%}, misled {other.misled:.0%}")

    in_sample = curve_of(fitted[is_answerable], fitted[~is_answerable])
    at = rates(threshold, fitted[is_answerable], fitted[~is_answerable])
    print(
        f"\nin-sample AUC {in_sample.auc:.3f}, answered {at.answered:.0%}, misled {at.misled:.0%}"
    )
    coded = np.array([question.confidence for question in asked])
    everyone = np.array([True] * len(answerable) + [False] * len(unanswerable))
    at = rates(threshold, coded[everyone], coded[~everyone])
    print("as in the code, in-sample, with those that have no text and are always abstained from:")
    print(f"  answered {at.answered:.0%} of {len(answerable)}, ", end="")
    print(f"misled {at.misled:.0%} of {len(unanswerable)}")
    found = np.array([question.confidence for question in answerable if question.gold_found])
    print(f"  answered {(found >= threshold).mean():.0%} of the {len(found)} answerable ", end="")
    print("whose gold page was found and has text")
    far = np.array([question.confidence for question in elsewhere])
    print(
        f"asked of another document: misled {(far >= threshold).mean():.0%} of {len(far)}, ", end=""
    )
    print(f"AUC {curve_of(fitted[is_answerable], far).auc:.3f}")


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
