"""A small data folder with every kind of file in it, and ways to damage one of them."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import Commands
from scans import scanned_pdf

from rag.testing import make_pdf
from rag.tuned import TunedWidths, Tuning, TuningFacts, tuning_path, write_tuning

_WORDS = (
    "harbour tide otter heron invoice turbine ledger granite copper valve budget margin orchard "
    "velvet quartz lantern meadow summit cargo engine saddle violin pepper cobalt drizzle ember"
).split()
MUTATIONS = ("flipped", "halved", "removed")


@dataclass(frozen=True)
class Answers:
    """What must be the same before damage and after repair."""

    counts: dict[str, int]
    hits: list[list[tuple[str, int, float]]]


def make_folder(root: Path, *, n_documents: int = 6, n_pages: int = 4) -> Path:
    """An ingested, tuned, looked-at and closed data folder; the files stay in `root/pdfs`."""
    chance = random.Random(7)

    def page() -> str:
        lines = [" ".join(chance.choices(_WORDS, k=10)) + "." for _ in range(6)]
        return "\n".join(["# " + " ".join(chance.choices(_WORDS, k=3)).title(), *lines])

    pdfs = root / "pdfs"
    pdfs.mkdir(parents=True)
    for number in range(n_documents - 1):
        pages = [page() for _ in range(n_pages)]
        (pdfs / f"report {number}.pdf").write_bytes(make_pdf(pages))
    (pdfs / "scan.pdf").write_bytes(scanned_pdf([page()]))
    octavo = Commands(root / "data")
    octavo("ingest", str(pdfs))
    facts = TuningFacts(
        pages=21,
        questions=5,
        questions_from="sampled",
        k=10,
        target_recall=0.9,
        recall=1.0,
        recall_low=0.9,
        recall_high=1.0,
        median_ms=1.0,
    )
    widths = TunedWidths(candidates=200, int8_candidates=40, scan_rows=0)
    write_tuning(tuning_path(root / "data", "default"), Tuning(retrieval=widths, tuning=facts))
    octavo("page", "scan.pdf", "1", "-o", str(root / "page.png"))
    octavo("search", "harbour")
    return root / "data"


def queries(n: int) -> list[str]:
    chance = random.Random(11)
    return [" ".join(chance.sample(_WORDS, 2)) for _ in range(n)]


def answers(data: Path, n_queries: int) -> Answers:
    """What the folder counts and finds, through one connection."""
    from rag.apps.connection import connect
    from rag.settings import load_settings

    settings = load_settings(overrides={"store": {"data_dir": data}}, environ={})
    with connect(settings, command="test") as octavo:
        documents = octavo.list_documents()["documents"]
        hits = [
            [(hit["source"], hit["page_number"], hit["score"]) for hit in found["hits"]]
            for found in (octavo.search(query, top_k=10) for query in queries(n_queries))
        ]
        counts = {
            "documents": len(documents),
            "pages": sum(document["pages"] for document in documents),
        }
    return Answers(counts, hits)


def same(before: Answers, after: Answers) -> bool:
    return before.counts == after.counts and all(
        [hit[:2] for hit in first] == [hit[:2] for hit in second]
        and all(abs(a[2] - b[2]) <= 1e-6 for a, b in zip(first, second, strict=True))
        for first, second in zip(before.hits, after.hits, strict=True)
    )


def files_of(data: Path) -> list[str]:
    """Every file, but the empty one that the operating system's lock hangs on."""
    return sorted(
        str(path.relative_to(data))
        for path in data.rglob("*")
        if path.is_file() and path.name != "owner.lock"
    )


def damage(path: Path, how: str) -> None:
    if how == "removed":
        path.unlink()
    elif how == "halved":
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
    else:
        size = path.stat().st_size
        at = max(0, size // 2 - 32)
        with path.open("r+b") as file:
            file.seek(at)
            held = file.read(64)
            file.seek(at)
            file.write(bytes(byte ^ 0xFF for byte in held))


def copy_folder(data: Path, to: Path) -> Path:
    """Holes stay holes: 600 MB of them would take their time."""
    import subprocess

    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", str(data), str(to)], check=True)
    return to


def named(result: dict[str, Any]) -> set[str | None]:
    return {each["path"] for each in result["damage"]}
