"""Run folders for tests of reports: written by hand, with figures small enough to check."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from eval.reports.gather import labelled, report_of
from eval.reports.parts import read_system
from eval.reports.write import write_report

Json = dict[str, Any]


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def search_run(folder: Path, questions: Sequence[Json], **head: Any) -> Path:
    """A question is {"id", "text", "type", "gold": [[doc, page, grade]], "found": [[doc, page]],
    measure: value, ...}; what else it holds goes to questions.jsonl.
    """
    folder.mkdir(parents=True)
    own = {"dataset": "tiny", "dataset_digest": "d1", "scope": "corpus", "encoder": "words@1"}
    own |= {"config_hash": "c1", "commit": "abc", "machine": {"cpu": "a CPU", "cores": 2}}
    own |= {"n_questions": len(questions)}
    (folder / "measures.json").write_text(json.dumps({**own, **head}))
    measured = [
        {"id": each["id"], "type": each.get("type", "t"), "ms": each.get("ms", 10.0)}
        | {name: value for name, value in each.items() if "@" in name}
        for each in questions
    ]
    (folder / "per_query.jsonl").write_text(lines(measured))
    told = [
        {
            "text": f"Question {each['id']}?",
            "type": "t",
            "gold": [],
            **{k: v for k, v in each.items() if k not in ("found", "ms") and "@" not in k},
        }
        for each in questions
    ]
    (folder / "questions.jsonl").write_text(lines(told))
    hits = [
        f"{each['id']}\t{doc}\t{page}\t{rank}\t{-rank}.0\n"
        for each in questions
        for rank, (doc, page) in enumerate(each.get("found", ()), start=1)
    ]
    (folder / "run.tsv").write_text("".join(hits))
    return folder


def answer_run(folder: Path, questions: Sequence[Json], **head: Any) -> Path:
    """A question is {"id", "text", "gold", "answer", "outcome", "said", "citations", ...}; a run of
    searches may be there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {"dataset": "tiny", "dataset_digest": "d1", "scope": "document", "pages": "found"}
    own |= {"answerer": "extractive", "config_hash": "c1", "n_questions": len(questions)}
    (folder / "answer_measures.json").write_text(json.dumps({**own, **head}))
    rows, told, answered = [], [], []
    for each in questions:
        outcome = each.get("outcome", "wrong")
        values = {
            name: float(outcome == name or (name == "right" and outcome == "right_cited"))
            for name in ("right_cited", "right", "wrong", "abstained")
        }
        kind = each.get("kind", "number")
        row = {"id": each["id"], "type": "t", "kind": kind, "said": each.get("said", "")}
        rows.append({**row, "outcome": outcome, **values, "EM": 0.0, "F1": 0.5, "ANLS": 0.0})
        told.append({k: each[k] for k in ("id", "text", "answer", "gold") if k in each})
        answered.append(
            {
                "id": each["id"],
                "question": each.get("text", ""),
                "answer": each.get("said", ""),
                "confidence": 0.5,
                "citations": each.get("citations", []),
                "pages": [{"source": "a.pdf", "page_number": 1}],
                "error": each.get("error"),
                "timings_ms": {"total": 30.0},
            }
        )
    (folder / "answers_per_query.jsonl").write_text(lines(rows))
    (folder / "questions.jsonl").write_text(lines(told))
    (folder / "answers.jsonl").write_text(lines(answered))
    return folder


class Drawing:
    """Draws every page as a rectangle, and keeps what it was asked for; noise fills files."""

    def __init__(self, *, noisy: bool = False) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._noisy = noisy

    def __call__(
        self, doc: str, page_number: int, query: str | None, boxes: Sequence[Any], width_px: int, /
    ) -> bytes:
        self.asked.append((doc, page_number, query, tuple(boxes)))
        size = (width_px, round(width_px * 1.4))
        image = Image.new("RGB", size, "ivory")
        if self._noisy:
            image = Image.effect_noise(size, 90).convert("RGB")
        ImageDraw.Draw(image).rectangle((20, 20, 200, 60), fill="white" if query else "navy")
        stream = io.BytesIO()
        image.save(stream, format="PNG")
        return stream.getvalue()


def plain(n: int = 4) -> list[dict[str, Any]]:
    """Questions q0.. with one gold page each; the first is found at rank 2, the others at 1."""
    return [
        {
            "id": f"q{i}",
            "type": "table" if i % 2 else "text",
            "gold": [["a.pdf", i + 1, 1]],
            "found": [["b.pdf", 9], ["a.pdf", i + 1]] if i == 0 else [["a.pdf", i + 1]],
            "nDCG@10": 0.63 if i == 0 else 1.0,
            "R@1": 0.0 if i == 0 else 1.0,
            "ms": 5.0 + i,
        }
        for i in range(n)
    ]


def report(*folders: Path, **options: Any):
    return report_of(labelled([read_system(folder) for folder in folders]), **options)


def html(*folders: Path, tmp_path: Path, **options: Any) -> str:
    out = tmp_path / "report.html"
    write_report(folders, out, **options)
    return out.read_text(encoding="utf-8")


class PageSeen(HTMLParser):
    """Tags with their attributes, and the words between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._is_style = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._is_style = tag == "style"

    def handle_endtag(self, tag):
        self._is_style = False

    def handle_data(self, data):
        if not self._is_style:
            self.words += data


def of_two_parts(folder: Path, worse: float = 0.0) -> Path:
    for part, n in (("one", 1), ("two", 3)):
        asked = plain(n)
        asked[0]["nDCG@10"] = 0.5 - worse
        notices = {"slow": {"questions": n, "message": "slow"}}
        index = {"pages": 10 * n, "bytes_per_page": 100 * n, "collection": part}
        head = {"dataset": part, "dataset_digest": part, "notices": notices, "index": index}
        search_run(folder / part, asked, **head)
    return folder
