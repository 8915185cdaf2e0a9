"""Writes the synthetic set in the layout in which UniDoc-Bench is hosted: questions as one parquet
file a domain, PDFs by domain.

Pictures of the pages are named and not written: they are made of the PDFs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eval.datasets.prepare import MADE_FILE
from eval.synthetic.pages import document_pdf
from eval.synthetic.plan import ANSWER_TYPES, QUESTION_TYPES, DomainPlan, Page, plan_domain
from eval.synthetic.vocabulary import DOMAINS
from rag.errors import ConfigError

_SCRIPT = "scripts/make_unidoc_set.py"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Written:
    """How much a set holds."""

    questions: int
    documents: int
    pages: int
    bytes: int


def write_set(
    folder: Path,
    *,
    domains: tuple[str, ...] = tuple(DOMAINS),
    questions_per_domain: int = 200,
    pages: int = 2000,
    seed: int = 0,
    tell: Tell = lambda _: None,
) -> Written:
    """Write `data/<domain>-00000-of-00001.parquet`, `<domain>_pdfs/<domain>/<document>.pdf`, and
    that none of it is the published set.

    The same bytes for the same arguments and versions of the libraries.

    Args:
        folder: made where it is not there; files of the same name are replaced.
        domains: of `DOMAINS`.
        questions_per_domain: a multiple of 8.
        pages: of all domains together, at least.
        seed: of all that is drawn by lot.
        tell: is told of each domain that is done.

    Raises:
        InputError: a number of questions that cannot be had.
        ConfigError: `extra_missing`, reportlab or pyarrow is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made_by = {"source": f"made up by {_SCRIPT}, seed {seed}", "licence": "Apache-2.0"}
    (folder / MADE_FILE).write_text(f"{json.dumps(made_by)}\n", encoding="utf-8")
    totals = [0, 0, 0]
    for domain in domains:
        plan = plan_domain(
            domain,
            questions=questions_per_domain,
            pages=-(-pages // len(domains)),
            seed=seed,
        )
        size_bytes = _write_pdfs(folder, plan) + _write_questions(folder, plan)
        n_pages = sum(len(document.pages) for document in plan.documents)
        for index, more in enumerate((len(plan.documents), n_pages, size_bytes)):
            totals[index] += more
        tell(
            f"{domain}: {len(plan.questions)} questions, {len(plan.documents)} documents, "
            f"{n_pages} pages"
        )
    return Written(len(domains) * questions_per_domain, *totals)


def picture_path(domain: str, document: str, page_number: int) -> str:
    """As the hosted set names a page."""
    return f"images/{domain}/{document}/{document}_page_{page_number:04d}.png"


def page_paths(plan: DomainPlan) -> dict[int, str]:
    """Path of every page, by `id`: equal pages are not the same page."""
    return {
        id(page): picture_path(plan.domain, document.name, number)
        for document in plan.documents
        for number, page in enumerate(document.pages, start=1)
    }


def rows(plan: DomainPlan) -> list[dict[str, object]]:
    """One for each question, with the fields of the hosted set."""
    paths = page_paths(plan)

    def document_of(page: Page) -> str:
        return paths[id(page)].split("/")[2]

    of_document = {
        document.name: [paths[id(page)] for page in document.pages] for document in plan.documents
    }
    return [
        {
            "question": asked.text,
            "answer": asked.answer,
            "gt_image_paths": [paths[id(page)] for page in asked.gold],
            "question_type": QUESTION_TYPES[asked.kind],
            "answer_type": ANSWER_TYPES[asked.kind],
            "domain": plan.domain,
            "longdoc_image_paths": [
                path
                for name in dict.fromkeys(map(document_of, asked.gold))
                for path in of_document[name]
            ],
        }
        for asked in plan.questions
    ]


def _write_pdfs(folder: Path, plan: DomainPlan) -> int:
    to = folder / f"{plan.domain}_pdfs" / plan.domain
    to.mkdir(parents=True, exist_ok=True)
    size_bytes = 0
    for document in plan.documents:
        pdf = document_pdf(plan.title, document.pages)
        (to / f"{document.name}.pdf").write_bytes(pdf)
        size_bytes += len(pdf)
    return size_bytes


def _write_questions(folder: Path, plan: DomainPlan) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(
            "questions are written with pyarrow, which is not installed",
            code="extra_missing",
            next_step='Run `pip install "octavo[eval]"`.',
        ) from error
    path = folder / "data" / f"{plan.domain}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows(plan)), path)
    return path.stat().st_size
