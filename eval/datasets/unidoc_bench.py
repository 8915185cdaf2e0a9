"""UniDoc-Bench as its authors host it: eight domains of 200 questions, with the PDFs beside them.

Every domain is a part with a pool of its own. What is read is named as it lies in the copy: a page
is `images/<domain>/<document>/<document>_page_0004.png`, whether that picture is there or only the
PDF it was made from.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from eval.datasets.folder import Query
from eval.datasets.local_copy import checked_parts
from eval.datasets.parquet import WHERE, must, read_rows
from eval.datasets.pdf_archives import has_pdfs, pdfs_in
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    PageName,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    ill_field,
    missing_file,
)
from rag.errors import InputError

NAME = "unidoc-bench"
_HUB_ID = "Salesforce/UniDoc-Bench"
DOMAINS = (
    *("commerce_manufacturing", "construction", "crm", "education"),
    *("energy", "finance", "healthcare", "legal"),
)
MAIN_MEASURE = "R@10"
_QUESTIONS_A_DOMAIN = 200
QUESTION_COUNT = "question_count"  # of the error of a domain with more or fewer
COUNT_ADVICE = "The published revision has 200 a domain. Another one is taken as it is with"
_LAYOUT = (
    "data/<domain>-*.parquet with the questions of a domain; beside them <domain>_pdfs.tar.gz, "
    "unpacked or not, and images/<domain>/<document>/<document>_page_0001.png, of which one is "
    "enough for a document."
)
_TEXTS = ("question", "answer", "question_type", "answer_type", "domain")
_LISTS = ("gt_image_paths", "longdoc_image_paths")
_PAGE_NUMBER = "[0-9]{1,6}"
_MOST_PAGES_OF_A_CHUNK = 1000  # of 1,024 tokens; a range beyond is a slip of the pen
# Where the questions of the older release lie, one JSON file a domain.
_OLDER_FOLDERS = (".", "QA", "QA/filtered", "data/QA", "data/QA/filtered")
_PICTURES_NOTE = (
    "the copy has no PDFs of this domain: its documents are pictures of pages without a text "
    "layer, in which words are found only where they are read at ingest (ocr.mode)"
)


class NamedPages(NamedTuple):
    """What a file name says: a document, and which of its pages, from 1."""

    document: str
    page_numbers: tuple[int, ...]


def pages_named(path: str) -> NamedPages | None:
    """The pages a name stands for; None where it names none.

    The hosted set writes `<document>_page_0004.png`. Its authors' chunks are named
    `<document>_id..._pg3_pg5.txt`, from the first page to the last; the last two numbers count.
    """
    name = PurePosixPath(path.replace("\\", "/"))
    if found := re.fullmatch(rf"(.+?)_page_?({_PAGE_NUMBER})", name.stem):
        return _named(found[1], (int(found[2]),))
    numbers = [int(number) for number in re.findall(rf"_pg({_PAGE_NUMBER})(?![0-9])", name.stem)]
    if not numbers:
        return None
    first, last = numbers[-2:] if len(numbers) > 1 else numbers * 2
    if last - first >= _MOST_PAGES_OF_A_CHUNK:
        return None
    # Theirs: where the second number is no end of a range, the first stands alone.
    pages = tuple(range(first, last + 1)) if first <= last else (first,)
    return _named(re.split(r"_id|_pg", name.stem)[0], pages)


def _named(document: str, page_numbers: tuple[int, ...]) -> NamedPages | None:
    return NamedPages(document, page_numbers) if min(page_numbers) > 0 else None


@dataclass(frozen=True)
class _Row:
    """One question as the set gives it, its fields checked."""

    number: int  # from 1
    values: Mapping[str, str]
    gold: tuple[NamedPages, ...]
    pages: tuple[NamedPages, ...]  # of the documents it was made from


def load(folder: Path, wanted: Wanted) -> Iterator[SetPart]:
    """The domains, in the order of their names; those that nobody named may be missing.

    Raises:
        InputError: no such domain; a file or field that is missing or not what it should be; a
            split of another size than `wanted.options["expect"]`, 200 by default
            (`question_count`); the older release.
    """
    expected = _expected(wanted.options)
    for domain in domains_in(folder, wanted):
        yield _part(folder, domain, expected)


def domains_in(folder: Path, wanted: Wanted) -> tuple[str, ...]:
    """The domains of a copy that are wanted.

    Raises:
        InputError: no such domain; one that is named and not there; none is there.
    """
    asked = checked_parts(NAME, dict.fromkeys(DOMAINS, _HUB_ID), wanted)
    there = tuple(domain for domain in asked if _splits(folder, domain))
    if there != asked and (wanted.parts or not there):
        _refuse_older(folder)
        lacking = next(domain for domain in asked if domain not in there)
        name = lacking if wanted.parts else "<domain>"
        raise missing_file(NAME, f"data/{name}-*.parquet in {folder.name}", _LAYOUT)
    return there


def _splits(folder: Path, domain: str) -> list[Path]:
    return sorted((folder / "data").glob(f"{domain}-*.parquet"))


def _expected(options: Mapping[str, str]) -> int | None:
    """Questions a domain has; None is any number."""
    given = options.get("expect", str(_QUESTIONS_A_DOMAIN))
    if given == "any":
        return None
    if not given.isascii() or not given.isdigit() or int(given) < 1:
        raise InputError(
            f"expect={given} is no number of questions",
            next_step="Give a number from 1, or any.",
        )
    return int(given)


# --- questions ----------------------------------------------------------------------------------
def _part(folder: Path, domain: str, expected: int | None) -> SetPart:
    pool: dict[str, int] = {}  # document to the last of its pages that a question names
    queries: list[Query] = []
    qrels: dict[str, dict[ItemOrPage, int]] = {}
    for row in _rows(_splits(folder, domain), domain):
        query = _query(domain, row)
        queries.append(query)
        for document, numbers in (*row.gold, *row.pages):
            pool[document] = max(pool.get(document, 0), *numbers)
        qrels[query.id] = {
            PageName(document, number): 1 for document, numbers in row.gold for number in numbers
        }
    if expected is not None and len(queries) != expected:
        raise InputError(
            f"UniDoc-Bench: split {domain!r} has {len(queries)} questions, expected {expected}",
            code=QUESTION_COUNT,
            next_step=f"{COUNT_ADVICE} --option expect=any.",
        )
    return SetPart(
        name=domain,
        documents=_documents(folder, domain, pool),
        queries=queries,
        qrels=qrels,
        main_measure=MAIN_MEASURE,
        notes=() if has_pdfs(folder, domain) else (_PICTURES_NOTE,),
    )


def _rows(files: Sequence[Path], domain: str) -> Iterator[_Row]:
    fields = [must(name, "text") for name in _TEXTS] + [must(name, "texts") for name in _LISTS]
    for number, values in enumerate(read_rows(files, *fields, published=NAME), start=1):
        yield _checked(number, values, domain)


def _checked(number: int, values: Mapping[str, Any], domain: str) -> _Row:
    where = values[WHERE]
    texts = {name: values[name].strip() for name in _TEXTS}
    for name, text in texts.items():
        if not text:
            raise ill_field(NAME, where, name, "is empty")
    if texts["domain"] != domain:
        raise ill_field(NAME, where, "domain", f"wants {domain!r}, got {texts['domain']!r}")
    if not values["gt_image_paths"]:
        raise ill_field(NAME, where, "gt_image_paths", "is empty: no page answers this question")
    gold, pages = (tuple(_pages_of(path, where, name) for path in values[name]) for name in _LISTS)
    return _Row(number, texts, gold, pages)


def _pages_of(path: str, where: str, name: str) -> NamedPages:
    found = pages_named(path)
    if found is None:
        raise ill_field(
            NAME, where, name, f"{path!r} names no page, as <document>_page_0004.png does"
        )
    return found


def _query(domain: str, row: _Row) -> Query:
    documents = {document for document, _ in row.gold}
    return Query(
        id=f"{domain}-{row.number:04d}",
        text=row.values["question"],
        answer=row.values["answer"],
        type=row.values["answer_type"],
        doc=documents.pop() if len(documents) == 1 else None,
        groups={name: row.values[name] for name in ("domain", "question_type", "answer_type")},
    )


def _refuse_older(folder: Path) -> None:
    """Raises InputError for the JSON files of the older release."""
    for place in _OLDER_FOLDERS:
        if any((folder / place / f"{domain}.json").is_file() for domain in DOMAINS):
            raise InputError(
                f"UniDoc-Bench: {folder.name!r} holds the older JSON release, whose 1,742 "
                "questions are not the published 1,600: 120 to 295 a domain, so that no mean of "
                "theirs can stand beside a published one",
                code="dataset_layout",
                next_step="Load the hosted set, Salesforce/UniDoc-Bench: 200 questions a domain in "
                "data/<domain>-*.parquet.",
            )


# --- documents ----------------------------------------------------------------------------------
def _documents(folder: Path, domain: str, pool: Mapping[str, int]) -> Iterator[SetDocument]:
    """Every PDF of the domain, then as pictures the documents that are no PDF.

    Raises:
        InputError: a document that questions ask about is there neither way.
    """
    seen: set[str] = set()
    for document, path in pdfs_in(folder, domain):
        seen.add(document)
        yield SetDocument(name=document, path=path)
    for document in sorted(pool.keys() - seen):
        yield _of_pictures(folder, domain, document, last_page=pool[document])


def _of_pictures(folder: Path, domain: str, document: str, *, last_page: int) -> SetDocument:
    """All pictures of its pages; up to the last that a question names, none may be missing."""
    place = folder / "images" / domain / document
    pictures = {
        found.page_numbers[0]: path
        for path in sorted(place.glob(f"{glob.escape(document)}_page*"))
        if (found := pages_named(path.name)) is not None
    }
    for number in range(1, max([last_page, *pictures]) + 1):
        if number not in pictures:
            raise missing_file(
                NAME,
                f"PDF of document {document} in {domain}, nor a picture of its page {number} in "
                f"images/{domain}/{document}/",
                _LAYOUT,
            )
    return SetDocument(
        name=document,
        pages=[
            SetPage(f"{document}/{number}", path.read_bytes)
            for number, path in sorted(pictures.items())
        ],
    )


SETS = (
    LoaderInfo(
        name=NAME,
        title="UniDoc-Bench: documents of eight domains, questions over text, tables and figures",
        hub_ids=(_HUB_ID,),
        licence="CC-BY-NC-4.0",
        layout=_LAYOUT,
        main_measure=MAIN_MEASURE,
        load=load,
        options={"expect": "questions a domain has: a number, 200 by default, or any"},
        home="https://arxiv.org/abs/2510.03663",
        parts=dict.fromkeys(DOMAINS, _HUB_ID),
        # Pictures of pages are 70,000 files that say no more than the PDFs they were made from.
        hub_files=("data/*.parquet", "*_pdfs.tar.gz"),
    ),
)
