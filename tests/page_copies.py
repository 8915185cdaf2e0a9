"""Tiny local copies of sets of page images, in the layouts their authors publish them in."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

Row = Mapping[str, Any]


def picture(words: str, kind: str = "PNG", size: tuple[int, int] = (240, 320)) -> bytes:
    """A page image with words on it."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((10, 10), words, fill="black")
    written = io.BytesIO()
    image.save(written, kind)
    return written.getvalue()


def held(data: bytes) -> dict[str, object]:
    """An image as tables of the hub hold it."""
    return {"bytes": data, "path": None}


def write_table(folder: Path, rows: Sequence[Row], *, split: str = "test", files: int = 1) -> None:
    """Rows over Parquet files with few rows a group, so that more than one is read."""
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // files)
    for number in range(files):
        path = folder / f"{split}-{number:05}-of-{files:05}.parquet"
        table = pa.Table.from_pylist(
            [dict(row) for row in rows[number * size : (number + 1) * size]]
        )
        pq.write_table(table, path, row_group_size=2)


def beir(
    folder: Path,
    *,
    pages: Sequence[str] = ("alpha", "beta", "gamma"),
    ids: Sequence[object] | None = None,
    queries: Sequence[Row] | None = None,
    qrels: Sequence[Row] | None = None,
    split: str = "test",
) -> Path:
    """corpus, queries and qrels, their columns named with dashes, as in ViDoRe v1 and VisRAG."""
    ids = ids or range(len(pages))
    corpus = [
        {"corpus-id": item, "image": held(picture(words))}
        for item, words in zip(ids, pages, strict=True)
    ]
    queries = queries or [
        {"query-id": number, "query": f"where is {words}?"} for number, words in enumerate(pages)
    ]
    qrels = qrels or [
        {"query-id": query["query-id"], "corpus-id": item, "score": 1.0}
        for query, item in zip(queries, ids, strict=False)
    ]
    write_table(folder / "corpus", corpus, split=split, files=2)
    write_table(folder / "queries", queries, split=split)
    write_table(folder / "qrels", qrels, split=split)
    return folder


def vidore_v2(folder: Path) -> Path:
    """Questions in two languages, with graded pages."""
    queries = [
        {"query-id": 0, "query": "where is beta?", "language": "english"},
        {"query-id": 1, "query": "où est beta ?", "language": "french"},
    ]
    qrels = [
        {"query-id": query, "corpus-id": item, "score": score, "answer": "here"}
        for query in (0, 1)
        for item, score in ((1, 2), (2, 1))
    ]
    return beir(folder, queries=queries, qrels=qrels)


def vidore_v3(folder: Path) -> Path:
    """Two documents, their pages apart and out of order, with every column the cards tell."""
    where = [("report", 1), ("slides", 0), ("report", 0), ("report", 2)]
    corpus = [
        {
            "corpus_id": number,
            "image": held(picture(f"{doc} {page}", "JPEG")),
            "doc_id": doc,
            "markdown": "",
            "page_number_in_doc": page,
        }
        for number, (doc, page) in enumerate(where)
    ]
    queries = [
        {
            "query_id": number,
            "query": text,
            "language": language,
            "query_types": types,
            "query_format": "question",
            "content_type": ["Text", "Table"],
            "raw_answers": ["seven", "7"],
            "query_generator": "human",
            "query_generation_pipeline": None,
            "source_type": "summary",
            "query_type_for_generation": None,
            "answer": "seven",
        }
        for number, (text, language, types) in enumerate(
            [
                ("how many?", "english", ["numerical", "multi-hop"]),
                ("combien ?", "french", ["numerical", "multi-hop"]),
                ("which of both?", "english", ["boolean"]),
            ]
        )
    ]
    box = {"annotator": 0, "x1": 1, "x2": 2, "y1": 1, "y2": 2}
    qrels = [
        {
            "query_id": query,
            "corpus_id": item,
            "score": score,
            "content_type": ["Text"],
            "bounding_boxes": [box],
        }
        for query, item, score in [(0, 0, 2), (0, 3, 1), (1, 0, 2), (1, 3, 1), (2, 1, 1), (2, 2, 2)]
    ]
    write_table(folder / "corpus", corpus, files=2)
    write_table(folder / "queries", queries)
    write_table(folder / "qrels", qrels)
    return folder


def real_mm_rag(folder: Path) -> Path:
    """A row a page with a question in four wordings; one page without, one page with two."""
    rows = [
        {
            "id": number,
            "image": held(picture(name)),
            "image_filename": f"{name}.png",
            "query": query,
            **{f"rephrase_level_{level}": query and f"{query} ({level})" for level in (1, 2, 3)},
            "answer": query and "42",
        }
        for number, (name, query) in enumerate(
            [
                ("p1", "what was earned?"),
                ("p2", None),
                ("p3", "how many sites?"),
                ("p3", "and why?"),
            ]
        )
    ]
    write_table(folder / "data", rows)
    return folder
