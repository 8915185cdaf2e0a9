"""`octavo ingest` in its own process: its time and memory, and what must hold of its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from process_memory import Memory

OCTAVO = Path(sys.executable).with_name("octavo")
STATES = frozenset({"indexed", "partial", "failed", "refused", "unchanged", "replaced"})


@dataclass
class Measured:
    """One ingest: what it told, how long each file took, and the most memory it had."""

    code: int
    err: str
    seconds: float
    documents: list[dict[str, Any]]
    totals: dict[str, Any]
    file_s: dict[str, float] = field(repr=False)
    peak_bytes: int

    @property
    def events(self) -> dict[str, dict[str, Any]]:
        """Of documents, by source."""
        return {event["source"]: event for event in self.documents}


def watched_ingest(
    data: Path, paths: Sequence[Path], *, cwd: Path | None = None, **environment: str
) -> Measured:
    """Ingest into `data`, with these settings in the environment."""
    started = time.monotonic()
    with data.with_suffix(".err").open("w+") as err:
        with subprocess.Popen(
            [OCTAVO, "ingest", "--json", "--data-dir", data, "--", *paths],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            cwd=cwd,
        ) as process:
            memory = Memory(process.pid)
            lines: list[dict[str, Any]] = []
            times: list[float] = []
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    lines.append(json.loads(line))
                    times.append(time.monotonic())
            finally:
                peak_bytes = memory.stop()
        err.seek(0)
        told = err.read()
    assert lines, told
    *documents, totals = lines
    assert totals["event"] == "totals", told
    times.insert(0, times[-1] - totals["seconds"])  # without what the program takes to start
    return Measured(
        code=process.returncode,
        err=told,
        seconds=time.monotonic() - started,
        documents=documents,
        totals=totals,
        file_s={
            event["source"]: end - begin
            for event, begin, end in zip(documents, times, times[1:], strict=False)
        },
        peak_bytes=peak_bytes,
    )


def faults(event: Mapping[str, Any]) -> list[str]:
    """What is wrong in how a document's end is told."""
    found = []
    error, failed = event["error"], [page["page_number"] for page in event["failed_pages"]]
    if event["state"] not in STATES:
        found.append(f"ends as {event['state']}")
    if (error is None) == (event["state"] in ("failed", "refused")):
        found.append(f"{event['state']} with the error {error}")
    if error and (error["code"] in ("internal", "error") or not error["next_step"]):
        found.append(f"no typed error: {error}")
    if error and ("Traceback" in error["message"] or "/" in _beside(event)):
        found.append(f"the message tells of our insides: {error['message']}")
    if bool(failed) != (event["state"] == "partial" or _all_failed(error)):
        found.append(f"{event['state']} with {len(failed)} failed pages")
    numbered = [*failed, *event["blank_pages"]]
    if len(set(numbered)) != len(numbered) or not set(numbered) <= set(
        range(1, event["pages"] + 1)
    ):
        found.append(f"pages {sorted(numbered)} of {event['pages']}")
    if not all(page["reason"] for page in event["failed_pages"]):
        found.append("a page failed without a reason")
    return found


def _beside(event: Mapping[str, Any]) -> str:
    """The message, without the name of the file."""
    message: str = event["error"]["message"]
    source: str = event["source"]
    return message.replace(source, "").replace(source.rsplit("/", 1)[-1], "")


def _all_failed(error: Mapping[str, str] | None) -> bool:
    return error is not None and error["code"] == "all_pages_failed"


def adds_up(measured: Measured) -> bool:
    """Whether the totals are those of the documents."""
    counted = [event for event in measured.documents if event["state"] != "refused"]
    blank = sum(len(event["blank_pages"]) for event in counted)
    failed = sum(len(event["failed_pages"]) for event in counted)
    n_pages = sum(event["pages"] for event in counted)
    states = [event["state"] for event in measured.documents]
    return measured.totals["pages"] == {
        "indexed": n_pages - blank - failed,
        "blank": blank,
        "failed": failed,
    } and measured.totals["documents"] == {state: states.count(state) for state in set(states)}
