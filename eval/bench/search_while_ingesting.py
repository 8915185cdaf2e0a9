"""Searches beside an ingest at full speed, and beside other programs that keep as much busy.

`python -m eval.bench.search_while_ingesting` has one process own a data folder and asks it through
its socket, as `octavo search` does. In turns, as many processes multiply matrices as an ingest was
seen to have threads that run or wait for a core, or the owner ingests as fast as it can, into the
collection that is searched. Goal: the 95th percentile of a search is at most twice as long. A line
goes to the history.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from eval.bench import record
from rag.testing import make_pdf

GOAL = 2.0
_MORE_DOCUMENTS = 40  # of 50 pages, more than a spell takes in
_UNTIL_PAGES_FLOW_S = 3.0
_SAMPLE_S = 0.1
_HISTORY = Path("eval/history/search_while_ingesting.jsonl")
_QUERIES = ("which words are indexed", "what does a page cost", "license", "numbers of a report")
_OWNER = """
import sys
from rag import Octavo
if __name__ == "__main__":
    with Octavo(sys.argv[1]) as octavo:
        octavo.search("warm")
        print("ready", flush=True)
        if sys.argv[2] == "ingests":
            octavo.ingest(sys.argv[3])
            sys.exit("the documents to ingest did not last")
        sys.stdin.read()
"""
_SEARCHER = """
import json, sys, time
from rag import Octavo
if __name__ == "__main__":
    data, spell_s, queries = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
    seconds = []
    with Octavo(data) as octavo:
        print("ready", flush=True)
        started = time.monotonic()
        while time.monotonic() - started < spell_s:
            asked = time.perf_counter()
            octavo.search(queries[len(seconds) % len(queries)])
            seconds.append(time.perf_counter() - asked)
            time.sleep(0.1)  # or the searches would be most of the load
    print(json.dumps(seconds), flush=True)
"""
_FIRST_INGEST = """
import sys
from rag import Octavo
if __name__ == "__main__":
    with Octavo(sys.argv[1]) as octavo:
        octavo.ingest(sys.argv[2])
"""
_BURNER = """
import os
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
import numpy
each = numpy.ones((400, 400), numpy.float32)
print("ready", flush=True)
while True:
    each @ each
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2000, help="in the collection searched")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="of searches a spell")
    parser.add_argument("--history", type=Path, help=f"default {_HISTORY}, where it can be")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = folder / "data"
        _prepare(folder, options.pages, n_spells=options.rounds + 1)
        with _owner(data, "ingests", folder / "more-0") as owner:
            time.sleep(_UNTIL_PAGES_FLOW_S)
            _, n_threads = _searched(data, options.seconds / 3, owner.pid)
        rounds = []
        for number in range(1, options.rounds + 1):
            rounds.append(_round(data, folder / f"more-{number}", options.seconds, n_threads))
            n_threads = rounds[-1]["ingest_threads"]
    ratios = [each["ingesting_p95_ms"] / each["burning_p95_ms"] for each in rounds]
    run = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "pages": options.pages,
        "rounds": rounds,
        "ratio_min": round(min(ratios), 2),
        "ratio_median": round(float(np.median(ratios)), 2),
        "goal": GOAL,
    }
    sys.stdout.write(json.dumps(run, indent=1) + "\n")
    history = options.history or (_HISTORY if _HISTORY.parent.is_dir() else None)
    if history is not None:
        record.append(run, history)
    return 0 if run["ratio_median"] <= GOAL else 1


def _prepare(folder: Path, n_pages: int, *, n_spells: int) -> None:
    """A collection to search, and documents to ingest meanwhile."""
    rng = np.random.default_rng(0)
    vocabulary = [f"word{number}" for number in range(5000)]
    vocabulary += " ".join(_QUERIES).split() * 20

    def write(into: Path, n_documents: int) -> None:
        into.mkdir()
        for number in range(n_documents):
            pages = [" ".join(rng.choice(vocabulary, 120)) for _ in range(50)]
            (into / f"{number}.pdf").write_bytes(make_pdf(pages))

    write(folder / "docs", max(1, n_pages // 50))
    for number in range(n_spells):
        write(folder / f"more-{number}", _MORE_DOCUMENTS)
    command = [sys.executable, "-c", _FIRST_INGEST, str(folder / "data"), str(folder / "docs")]
    subprocess.run(command, check=True)


def _round(data: Path, more: Path, spell_s: float, n_threads: float) -> dict[str, float]:
    n_burners = max(1, round(n_threads))
    with ExitStack() as stack:  # first: the ingest leaves more pages to search
        stack.enter_context(_owner(data, "waits", more))
        for _ in range(n_burners):
            stack.enter_context(_started([sys.executable, "-c", _BURNER]))
        burning, _ = _searched(data, spell_s, None)
    with _owner(data, "ingests", more) as owner:
        time.sleep(_UNTIL_PAGES_FLOW_S)
        ingesting, n_threads = _searched(data, spell_s, owner.pid)
    return {
        "burners": n_burners,
        "ingest_threads": round(n_threads, 2),
        "ingesting_n": len(ingesting),
        "ingesting_p50_ms": _ms(ingesting, 50),
        "ingesting_p95_ms": _ms(ingesting, 95),
        "burning_n": len(burning),
        "burning_p50_ms": _ms(burning, 50),
        "burning_p95_ms": _ms(burning, 95),
    }


def _searched(data: Path, spell_s: float, tree: int | None) -> tuple[list[float], float]:
    """Seconds of each search, and how many threads of a process and its children were busy."""
    n_busy: list[int] = []
    command = [sys.executable, "-c", _SEARCHER, str(data), str(spell_s), *_QUERIES]
    with _started(command) as searcher:
        assert searcher.stdout is not None
        while not select.select([searcher.stdout], [], [], _SAMPLE_S)[0]:
            if tree is not None:
                n_busy.append(_n_busy_threads(tree))
        seconds: list[float] = json.loads(searcher.stdout.readline())
    return seconds, float(np.mean(n_busy or [0]))


def _n_busy_threads(pid: int) -> int:
    process = psutil.Process(pid)
    n_busy = 0
    for each in (process, *process.children(recursive=True)):
        for stat in Path(f"/proc/{each.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):  # it has ended
                n_busy += stat.read_text().rpartition(")")[2].split()[0] == "R"
    return n_busy


@contextmanager
def _owner(data: Path, doing: str, more: Path) -> Iterator[subprocess.Popen[str]]:
    with _started([sys.executable, "-c", _OWNER, str(data), doing, str(more)]) as owner:
        yield owner


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("a process of the measurement ended before it was ready")
        try:
            yield process
        finally:
            process.kill()


def _ms(seconds: Sequence[float], percentile: float) -> float:
    return round(float(np.percentile(seconds, percentile)) * 1e3, 1)


def _commit() -> str:
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
