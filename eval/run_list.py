"""Which runs a folder holds, with the head of each: searches, answers, sets of several parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from eval.answers.evaluation import MEASURES_FILE as ANSWERS_FILE
from eval.runs import read_json
from rag.errors import InputError
from rag.types import Json

PARTS_FILE = "parts.json"
SEARCHES_FILE = "measures.json"


@dataclass(frozen=True)
class Listed:
    """Runs, newest first; and folders with a file that cannot be read, with what is wrong."""

    runs: list[Json]
    damaged: dict[str, str]


def listed_runs(folder: Path) -> Listed:
    """Runs right below a folder.

    Returns:
        Of each run "out" (the folder), "kind" and what the run's own file holds. "search" is
        `measures.json`, "answers" `answer_measures.json`; a folder may hold both. "parts" is
        `parts.json`, of a run over several datasets, with "parts_are", the kind of its parts, the
        sum of their "n_questions", the latest "finished_at" and, of answers, the mean "headline".
    """
    found: list[Json] = []
    damaged: dict[str, str] = {}
    for run in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            found += [{"out": str(run), **head} for head in _heads(run)]
        except InputError as error:
            damaged[str(run)] = error.message
    newest_first = sorted(found, key=lambda each: str(each.get("finished_at", "")), reverse=True)
    return Listed(newest_first, damaged)


def _heads(run: Path) -> Iterator[Json]:
    if (run / PARTS_FILE).is_file():
        told = read_json(run / PARTS_FILE)
        yield {"kind": "parts", **told, **_of_parts(told.get("parts", ()))}
    for kind, name in (("search", SEARCHES_FILE), ("answers", ANSWERS_FILE)):
        if (run / name).is_file():
            yield {"kind": kind, **read_json(run / name)}


def _of_parts(parts: Sequence[Json]) -> Json:
    return {
        **_headline([part["headline"] for part in parts if "headline" in part]),
        "scope": ", ".join(sorted({str(part.get("scope", "")) for part in parts})),
        "n_questions": sum(part.get("n_questions", 0) for part in parts),
        "finished_at": max((str(part.get("finished_at", "")) for part in parts), default=""),
    }


def _headline(of_parts: Sequence[Json]) -> Json:
    """Each part as heavy as any other; those without a question that counts are in no mean."""
    if not of_parts:
        return {"parts_are": "search"}
    shares = [each["right_cited"] for each in of_parts if each["right_cited"] is not None]
    return {
        "parts_are": "answers",
        "headline": {"right_cited": fmean(shares) if shares else None, "n_parts": len(shares)},
    }
