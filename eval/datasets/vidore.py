"""ViDoRe, the three editions of a benchmark of page images.

Sources: Faysse et al. 2024 (arXiv:2407.01449), Macé et al. 2025 (arXiv:2505.17166), Loison et al.
2026 (arXiv:2601.08620); columns as the cards of the repositories tell them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.datasets.beir import (
    PagePerRow,
    PageTable,
    Row,
    answer_of,
    beir_part,
    joined,
    parts_of,
    rows_part,
)
from eval.datasets.local_copy import part_folders
from eval.datasets.parquet import may, must
from eval.datasets.published import LoaderInfo, SetPart, Wanted
from rag.errors import InputError

_TABLES = (
    "the folders corpus/ (corpus-id, image), queries/ (query-id, query) and qrels/ (query-id, "
    "corpus-id, score) with test-*.parquet"
)
_ONE_EACH = "A folder of each repository's name, or one of them itself, with "
_V1_LAYOUT = (
    f"{_ONE_EACH}{_TABLES}; or data/test-*.parquet (image, image_filename, query, answer) as in "
    "the repositories without _beir."
)
_V2_LAYOUT = f"{_ONE_EACH}{_TABLES}; queries have a language."
_V3_LAYOUT = (
    f"{_ONE_EACH}corpus/ (corpus_id, image, doc_id, page_number_in_doc), queries/ (query_id, "
    "query, language, query_types, query_format, answer, ...) and qrels/ (query_id, corpus_id, "
    "score) with test-*.parquet."
)
V1_PARTS = {
    name: f"vidore/{name}_{rest}_beir"
    for name, rest in {
        "arxivqa": "test_subsampled",
        "docvqa": "test_subsampled",
        "infovqa": "test_subsampled",
        "tabfquad": "test_subsampled",
        "tatdqa": "test",
        "shiftproject": "test",
        "syntheticDocQA_artificial_intelligence": "test",
        "syntheticDocQA_energy": "test",
        "syntheticDocQA_government_reports": "test",
        "syntheticDocQA_healthcare_industry": "test",
    }.items()
}
V2_PARTS = {
    name: f"vidore/{name}_v2"
    for name in (
        "esg_reports",
        "biomedical_lectures",
        "economics_reports",
        "esg_reports_human_labeled",
    )
}
_V3_PARTS = {
    name: f"vidore/vidore_v3_{name}"
    for name in (
        "computer_science",
        "energy",
        "finance_en",
        "finance_fr",
        "hr",
        "industrial",
        "pharmaceuticals",
        "physics",
    )
}


def as_plain_query(row: Row) -> dict[str, Any]:
    """Of editions one and two: an answer and a language where they tell one."""
    language = row["language"]
    kind = row["source_type"] or "question"
    groups = {} if language is None else {"language": language}
    return {**answer_of(row["answer"]), "type": kind, "groups": groups}


PLAIN_FIELDS = (may("answer", "any"), may("language", "text"), may("source_type", "text"))
_V1_TABLE = PageTable(
    "vidore-v1", _V1_LAYOUT, "nDCG@5", query_fields=PLAIN_FIELDS, as_query=as_plain_query
)
_V1_ROWS = PagePerRow(
    "vidore-v1",
    _V1_LAYOUT,
    "nDCG@5",
    names=must("image_filename", "id"),
    question=must("query", "text"),
    query_fields=PLAIN_FIELDS,
    as_query=as_plain_query,
)
_V2_TABLE = PageTable(
    "vidore-v2", _V2_LAYOUT, "nDCG@5", query_fields=PLAIN_FIELDS, as_query=as_plain_query
)


def _as_v3_query(row: Row) -> dict[str, Any]:
    """A question has several types, and counts in the group of each, as its authors count it."""
    types = row["query_types"] or []
    groups = {
        "language": row["language"],
        "format": row["query_format"],
        "modality": joined(row["content_type"]),
        "written by": row["query_generator"],
        **{f"type {each}": "yes" for each in types},
    }
    answer = answer_of([row["answer"], *(row["raw_answers"] or [])])
    return {
        **answer,
        "type": joined(types) or "question",
        "groups": {name: value for name, value in groups.items() if value},
    }


_V3_TABLE = PageTable(
    "vidore-v3",
    _V3_LAYOUT,
    "nDCG@10",
    query_fields=(
        must("language", "text"),
        may("query_types", "texts"),
        may("query_format", "text"),
        may("content_type", "texts"),
        may("query_generator", "text"),
        may("answer", "text"),
        may("raw_answers", "texts"),
    ),
    as_query=_as_v3_query,
)
_LANGUAGE_OPTION = {
    "language": "Only questions in it (english, french, ...). Default: all, told apart by group."
}


def load_v1(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """The parts of the first edition that are there."""
    folders = _folders(source, wanted, V1_PARTS, _V1_TABLE)
    return parts_of(folders, read_v1)


def read_v1(folder: Path, part: str) -> SetPart:
    """One part of the first edition, in either layout."""
    if not (folder / "corpus").exists() and (folder / "data").is_dir():
        return rows_part(folder, part, _V1_ROWS)
    return beir_part(folder, part, _V1_TABLE)


def load_v2(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """The parts of the second edition that are there."""
    folders = _folders(source, wanted, V2_PARTS, _V2_TABLE)
    return parts_of(
        folders, lambda folder, part: _in_language(beir_part(folder, part, _V2_TABLE), wanted)
    )


def load_v3(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """The public parts of the third edition that are there."""
    folders = _folders(source, wanted, _V3_PARTS, _V3_TABLE)
    return parts_of(
        folders, lambda folder, part: _in_language(beir_part(folder, part, _V3_TABLE), wanted)
    )


def _folders(
    source: Path, wanted: Wanted, parts: Mapping[str, str], table: PageTable
) -> dict[str, Path]:
    return part_folders(source, parts, wanted, published=table.published, layout=table.layout)


def _in_language(part: SetPart, wanted: Wanted) -> SetPart:
    """Only the questions in one language, where one is asked for."""
    language = wanted.options.get("language")
    if language is None:
        return part
    spoken = sorted({query.groups.get("language", "") for query in part.queries})
    if language not in spoken:
        raise InputError(
            f"{part.name} has no question in {language!r}",
            code="unknown_option",
            next_step=f"There are {', '.join(each or 'questions without one' for each in spoken)}.",
        )
    queries = [query for query in part.queries if query.groups.get("language") == language]
    kept = {query.id for query in queries}
    qrels = {query: grades for query, grades in part.qrels.items() if query in kept}
    note = f"questions in {language} alone"
    return replace(part, queries=queries, qrels=qrels, notes=(*part.notes, note))


SETS: tuple[LoaderInfo, ...] = (
    LoaderInfo(
        name="vidore-v1",
        title="ViDoRe v1: one gold page a question",
        hub_ids=tuple(V1_PARTS.values()),
        licence="MIT (the collection; pages keep the licence of their source)",
        layout=_V1_LAYOUT,
        main_measure="nDCG@5",
        load=load_v1,
        home="https://huggingface.co/collections/vidore/vidore-benchmark",
        parts=V1_PARTS,
    ),
    LoaderInfo(
        name="vidore-v2",
        title="ViDoRe v2: many gold pages, four languages",
        hub_ids=tuple(V2_PARTS.values()),
        licence="MIT (the collection; pages keep the licence of their source)",
        layout=_V2_LAYOUT,
        main_measure="nDCG@5",
        load=load_v2,
        options=_LANGUAGE_OPTION,
        home="https://huggingface.co/collections/vidore/vidore-benchmark-v2",
        parts=V2_PARTS,
    ),
    LoaderInfo(
        name="vidore-v3",
        title="ViDoRe v3: whole documents, graded pages, six languages",
        hub_ids=tuple(_V3_PARTS.values()),
        licence="CC-BY-4.0 (questions; each document has its own)",
        layout=_V3_LAYOUT,
        main_measure="nDCG@10",
        load=load_v3,
        options=_LANGUAGE_OPTION,
        home="https://huggingface.co/collections/vidore/vidore-benchmark-v3",
        parts=_V3_PARTS,
        hub_files=("corpus/*", "queries/*", "qrels/*"),
    ),
)
