"""`python -m eval.bench.scale`: a whole evaluation over as many pages as UniDoc-Bench has.

The pages are made up and packed as a collection's are, 128 vectors each, and every question goes
the way of `octavo eval run`: cascade, run file, measures, report. Encoding, Qdrant and the reading
of PDFs are left out. It runs at a quarter, half and all of the pages, so that the growth of each
step shows: an exponent of 1 is linear, of 2 quadratic.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from eval.bench import record
from eval.bench.made_up import DIM, EASY, MadeUpPages
from eval.datasets.folder import Dataset, PageKey, Query
from eval.provenance import commit, machine
from eval.questions import Question
from eval.reports.write import write_report
from eval.run_eval import Found, Searched, evaluate
from eval.runs import HITS_PER_QUERY, Hit
from rag.page_pack import PackedPage, PackSpec, PagePack
from rag.scoring.cascade import Cascade
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.settings import FdeSettings, RetrievalSettings
from rag.types import Json
from rag.wiring import cascade_widths, fde_spec

_HISTORY = Path("eval/history/scale.jsonl")
_BLOCK = 256  # pages packed at a time: 17 MB in float32
_PAGES_A_DOCUMENT = 12
_SAMPLE_S = 0.1
_QUICK_SHARE = 8  # of the questions are asked at the smaller sizes


@dataclass
class Step:
    """What a step took at one size.

    Attributes:
        units: pages or questions that it had to do with.
        cpu_s: of all threads; what else runs on the machine hardly shows in it.
    """

    name: str
    n_pages: int
    n_questions: int
    units: int
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_pss_mb: float = 0.0


@dataclass
class _Meter:
    """Seconds, and the largest share of memory (PSS: mapped files too) while each step ran."""

    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, n_pages: int, n_questions: int, units: int) -> Iterator[None]:
        step = Step(name, n_pages, n_questions, units)
        stopped = threading.Event()

        def watch() -> None:
            while not stopped.wait(_SAMPLE_S):
                step.peak_pss_mb = max(step.peak_pss_mb, _pss_mb())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        start, cpu_start = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            step.seconds = round(time.perf_counter() - start, 3)
            step.cpu_s = round(time.process_time() - cpu_start, 3)
            stopped.set()
            watcher.join()
            step.peak_pss_mb = round(max(step.peak_pss_mb, _pss_mb()), 1)
            self.steps.append(step)


def _pss_mb() -> float:
    """0 where the system does not tell (not Linux)."""
    try:
        for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass  # the figure stays 0, and 0 says so
    return 0.0


class _Collection:
    """Packed pages that grow, and the search over them."""

    def __init__(self, source: MadeUpPages, folder: Path) -> None:
        chosen = FdeSettings()
        self._source = source
        spec: FdeSpec = fde_spec(chosen, dim=DIM)
        self._fde = FdeEncoder(spec)
        self._cascade = Cascade(self._fde, cascade_widths(RetrievalSettings()))
        self._pack = PagePack.open(folder, PackSpec(DIM, spec.fde_size, self._fde.fingerprint))
        self.n_pages = 0

    def grow(self, n_pages: int) -> None:
        while self.n_pages < n_pages:
            numbers = range(self.n_pages, min(self.n_pages + _BLOCK, n_pages))
            pages = [self._source.page(number) for number in numbers]
            fdes = self._fde.encode_pages(pages)
            self._pack.append(
                [
                    PackedPage(str(uuid.UUID(int=number)), page, fde)
                    for number, page, fde in zip(numbers, pages, fdes, strict=True)
                ]
            )
            self.n_pages = numbers.stop

    def search(self, question: Question) -> Found:
        rows = self._source.query(int(question.id), EASY)
        found = self._cascade.search(rows, self._pack.view(), limit=HITS_PER_QUERY)
        pairs = zip(found.pages.tolist(), found.scores.tolist(), strict=True)
        return Found([Hit(*_key(number), score) for number, score in pairs])

    def close(self) -> None:
        self._pack.close()


def _key(number: int) -> PageKey:
    document, index = divmod(number, _PAGES_A_DOCUMENT)
    return PageKey(f"{document:06}.pdf", index + 1)


def _dataset(n_pages: int, n_questions: int, seed: int) -> Dataset:
    """Questions about pages drawn at random; each about another page where there are enough."""
    rng = np.random.default_rng(seed)
    about = rng.choice(n_pages, n_questions, replace=n_questions > n_pages).tolist()
    queries = [
        Query(id=str(number), text=f"page {number}", answer="", type=f"type {number % 4}")
        for number in dict.fromkeys(about)
    ]
    return Dataset(
        name="made-up",
        folder=Path(),
        documents=(),
        queries={query.id: query for query in queries},
        qrels={query.id: {_key(int(query.id)): 1} for query in queries},
        unanswerable=(),
        digest=f"made-up-{n_pages}-{n_questions}-{seed}",
    )


def measure(n_pages: int, n_questions: int, n_rows: int, folder: Path, *, seed: int = 0) -> Json:
    """Times and memory of each step at a quarter, half and all of the pages."""
    meter = _Meter()
    source = MadeUpPages(n_pages, n_rows, seed=seed)
    collection = _Collection(source, folder / "packed")
    found: Json = {}
    for share in (4, 2, 1):
        size = n_pages // share
        with meter.step("pack", size, 0, size - collection.n_pages):
            collection.grow(size)
        # All of them once, so that the growth of what goes by questions shows too.
        for asked in (
            (n_questions // _QUICK_SHARE, n_questions)
            if share == 1
            else (n_questions // _QUICK_SHARE,)
        ):
            dataset = _dataset(size, max(1, asked), seed)
            out = folder / f"run-{size}-{asked}"
            found = _evaluated(dataset, collection, out, meter, size)
    collection.close()
    return {
        "n_pages": n_pages,
        "n_questions": n_questions,
        "n_rows": n_rows,
        "packed_bytes_per_page": round(_folder_bytes(folder / "packed") / n_pages),
        "measures": found["measures"],
        "search_ms": found["latency_ms"],
        "steps": [asdict(step) for step in meter.steps],
        "growth": growth(meter.steps),
        "peak_pss_mb": max(step.peak_pss_mb for step in meter.steps),
        "seconds": round(sum(step.seconds for step in meter.steps), 1),
    }


def _evaluated(
    dataset: Dataset, collection: _Collection, out: Path, meter: _Meter, size: int
) -> Json:
    n = len(dataset.queries)
    searched = Searched(encoder="made-up", seeds={"pages": 0})
    with meter.step("search and measure", size, n, n):
        evaluate(dataset, collection.search, out_dir=out, searched=searched)
    # Nothing is asked again: what is left is measuring and writing.
    with meter.step("measure", size, n, n):
        evaluation = evaluate(dataset, collection.search, out_dir=out, searched=searched)
    with meter.step("report", size, n, n):
        write_report([out], out / "report.html")
    return evaluation.as_dict()


def growth(steps: Sequence[Step]) -> Json:
    """Exponent of the processor's time for each step, the largest size against the smallest: over
    the pages at equal questions, and over the questions at equal pages.
    """
    exponents: Json = {}
    for name in dict.fromkeys(step.name for step in steps):
        of_name = [step for step in steps if step.name == name]
        largest = max(step.n_pages for step in of_name)
        fewest = min(step.n_questions for step in of_name)
        # A step that had to do with a part of the pages is taken for all of them.
        over_pages = [
            (step.n_pages, step.cpu_s * (step.n_pages / step.units if not fewest else 1))
            for step in of_name
            if step.n_questions == fewest
        ]
        over_questions = [
            (step.n_questions, step.cpu_s) for step in of_name if step.n_pages == largest
        ]
        exponents[name] = {
            "over_pages": _exponent(over_pages),
            "over_questions": _exponent(over_questions),
        }
    return exponents


def _exponent(points: Sequence[tuple[int, float]]) -> float | None:
    """None where there are not two sizes."""
    (low, fast), (high, slow) = min(points), max(points)
    if low == high or min(low, fast, slow) <= 0:
        return None
    return round(math.log(slow / fast) / math.log(high / low), 2)


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _table(result: Json) -> str:
    head = f"{result['n_pages']:,} pages of {result['n_rows']} vectors, "
    lines = [
        f"{head}{result['n_questions']:,} questions",
        "",
        f"{'step':20}{'pages':>10}{'questions':>11}{'seconds':>10}{'peak PSS MB':>13}",
    ]
    lines += [
        f"{step['name']:20}{step['n_pages']:>10,}{step['n_questions']:>11,}"
        f"{step['seconds']:>10.2f}{step['peak_pss_mb']:>13,.0f}"
        for step in result["steps"]
    ]
    lines += ["", "exponent of the time (1 is linear)"]
    lines += [
        f"{name:20}over pages {_told(each['over_pages'])}, "
        f"over questions {_told(each['over_questions'])}"
        for name, each in result["growth"].items()
    ]
    return "\n".join(lines)


def _told(exponent: float | None) -> str:
    return "-" if exponent is None else f"{exponent:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval.bench.scale", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--pages", type=int, default=70_000)
    parser.add_argument("--questions", type=int, default=1_600)
    parser.add_argument("--rows", type=int, default=128, help="vectors a page")
    parser.add_argument("--work", type=Path, help="where packed pages go; default: a temporary one")
    parser.add_argument("--history", type=Path, help=f"add a line to it, as {_HISTORY}")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.pages < 4 or options.questions < _QUICK_SHARE:
        parser.error(f"at least 4 pages and {_QUICK_SHARE} questions are wanted")
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        result = measure(options.pages, options.questions, options.rows, Path(folder))
    result |= {
        "commit": commit(),
        "machine": machine(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    sys.stdout.write((json.dumps(result) if options.json else _table(result)) + "\n")
    if options.history is not None:
        record.append(result, options.history)
    return 0


if __name__ == "__main__":
    sys.exit(main())
