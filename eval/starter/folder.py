"""A starter set on its way: `candidates.jsonl` with every decision, and the dataset folder made of
those that were accepted. After each decision both are whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from eval.runs import read_json_lines, write_atomically, write_json_lines
from eval.starter.candidate import Candidate, Decision
from rag.errors import InputError

CANDIDATES_FILE = "candidates.jsonl"


def read_candidates(folder: Path) -> list[Candidate]:
    """None where nothing was proposed yet.

    Raises:
        InputError: a file that is not of candidates.
    """
    path = folder / CANDIDATES_FILE
    if not path.exists():
        return []
    try:
        return [Candidate.model_validate(row) for row in read_json_lines(path)]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(
            f"{folder.name}/{CANDIDATES_FILE}: {first['loc'][-1]!r}: {first['msg']}",
            next_step="Mend the line, or remove the file and let questions be proposed again.",
        ) from error


def write_starter(folder: Path, candidates: Sequence[Candidate]) -> None:
    """The candidates, and queries.jsonl and qrels.tsv of the accepted ones."""
    accepted = [each for each in candidates if each.decision is Decision.ACCEPTED]
    write_json_lines(
        folder / CANDIDATES_FILE, (each.model_dump(mode="json") for each in candidates)
    )
    rows = [
        {
            "id": each.id,
            "text": each.text,
            "answer": each.answer,
            "type": each.kind.value,
            "doc": each.doc,
            "groups": {"edited": "yes" if each.is_edited else "no"},
        }
        for each in accepted
    ]
    write_atomically(
        folder / "queries.jsonl",
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
    )
    grades = [f"{each.id}\t{each.doc}\t{each.page_number}\t1\n" for each in accepted]
    write_atomically(folder / "qrels.tsv", "".join(["query_id\tdoc\tpage\trelevance\n", *grades]))


def keep_documents(folder: Path, files: Mapping[str, Path]) -> None:
    """Copy the documents into docs/, where no editor of the originals changes them; one that is
    there is replaced.

    Args:
        folder: of the set.
        files: name below docs/ to the file.

    Raises:
        InputError: a document that cannot be kept.
    """
    docs = folder / "docs"
    for name, path in files.items():
        kept = docs / name
        try:
            docs.mkdir(parents=True, exist_ok=True)
            if kept.resolve() == path.resolve():
                continue
            kept.unlink(missing_ok=True)  # not written into: it may be another name of the original
            shutil.copyfile(path, kept)
        except OSError as error:
            raise InputError(
                f"{name} cannot be kept in {folder.name}/docs: {error.strerror}",
                next_step="Choose another folder with --to.",
            ) from error
