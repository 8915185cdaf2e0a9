"""What each question of a run was answered with, kept as it comes: a stopped run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from eval.runs import Hit, write_atomically
from rag.types import Json


@dataclass(frozen=True)
class Answered:
    """Pages found for a question.

    Attributes:
        ms: what the search took when it was asked.
        refusal: why it would not be asked; empty where it was.
        notices: what the search said of itself, by code.
    """

    hits: list[Hit]
    ms: float
    refusal: str = ""
    notices: Mapping[str, str] = field(default_factory=dict)

    def as_row(self) -> Json:
        return {
            "ms": self.ms,
            "refusal": self.refusal,
            "notices": dict(self.notices),
            "hits": self.hits,
        }

    @classmethod
    def of_row(cls, row: Json) -> Answered:
        # Lines of older runs have no notices.
        hits = [Hit(*hit) for hit in row["hits"]]
        return cls(hits, row["ms"], row["refusal"], row.get("notices", {}))


@dataclass
class Journal:
    """`answered.jsonl`: a line with the config hash, then a line for each question once answered.

    A process that dies leaves at most one torn line; whatever line is no answer is asked again.
    """

    path: Path
    config_hash: str
    answered: dict[str, Answered] = field(default_factory=dict)

    def recall(self) -> None:
        """Take over what an earlier run with the same settings has answered."""
        if not self.path.exists():
            return
        header, *lines = self.path.read_bytes().split(b"\n")
        if header != self._header().encode():
            return
        for line in lines[:-1]:  # what follows the last line end is empty or torn
            try:
                row = json.loads(line)
                self.answered[row["id"]] = Answered.of_row(row)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue

    def open(self) -> TextIO:
        """Open for more lines, behind what was recalled and nothing else."""
        lines = [_line(query_id, row) for query_id, row in self.answered.items()]
        write_atomically(self.path, "".join([f"{self._header()}\n", *lines]))
        return self.path.open("a", encoding="utf-8")

    def add(self, file: TextIO, query_id: str, answered: Answered) -> None:
        self.answered[query_id] = answered
        file.write(_line(query_id, answered))
        file.flush()

    def _header(self) -> str:
        return json.dumps({"config_hash": self.config_hash})


def _line(query_id: str, answered: Answered) -> str:
    return json.dumps({"id": query_id, **answered.as_row()}) + "\n"
