"""Tiny local copies of published sets, in the layouts their authors publish."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from rag.testing.pdfs import make_pdf


def png(red: int = 255, *, size_px: tuple[int, int] = (60, 80), kind: str = "PNG") -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size_px, (red, 100, 50)).save(out, format=kind)
    return out.getvalue()


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """One JSON text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table, as the hub holds it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def write_arrow(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table as `datasets` saves it to disk: a stream of batches, here of two rows."""
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)


# --- MMDocIR --------------------------------------------------------------------------------------
MMDOCIR_ANNOTATIONS: list[dict[str, Any]] = [
    {
        "doc_name": "report.pdf",
        "domain": "Research report / Introduction",
        "page_indices": [2, 4],
        "layout_indices": [4, 9],
        "questions": [
            {
                "Q": "How do 5% see it?",
                "A": "Less well-off",
                "page_id": [0, 2],
                "type": "['Chart', 'Table']",
                "layout_mapping": [
                    {"page": 0, "page_size": [600.0, 800.0], "bbox": [0, 0, 300, 400]},
                    {"page": 2, "page_size": [600.0, 800.0], "bbox": [300, 400, 600, 800.0]},
                ],
            },
            {"Q": "Nowhere?", "A": "No.", "page_id": [], "type": "meta-data", "layout_mapping": []},
        ],
    },
    {
        "doc_name": "news.pdf",
        "domain": "News",
        "page_indices": [0, 1],
        "layout_indices": [0, 3],
        "questions": [
            {"Q": "Which day?", "A": 7, "page_id": [1], "type": "text-only", "layout_mapping": []}
        ],
    },
]


def mmdocir_pages() -> list[dict[str, Any]]:
    names = ["news.pdf", "news.pdf", "report.pdf", "report.pdf", "report.pdf"]
    return [
        {
            "doc_name": name,
            "domain": "-",
            "passage_id": str(index),
            "image_path": f"page_images/{name}_{index}.jpg",
            "image_binary": png(10 * index, kind="JPEG"),
            "ocr_text": f"words of row {index}",
            "vlm_text": None,
        }
        for index, name in enumerate(names)
    ]


def mmdocir(folder: Path) -> Path:
    write_lines(folder / "MMDocIR_annotations.jsonl", MMDOCIR_ANNOTATIONS)
    write_parquet(folder / "MMDocIR_pages.parquet", mmdocir_pages())
    return folder


# --- MMLongBench-Doc ------------------------------------------------------------------------------
def mmlongbench_row(**changed: Any) -> dict[str, Any]:
    row = {
        "doc_id": "economy.pdf",
        "doc_type": "Research report / Introduction",
        "question": "What share voted?",
        "answer": "18.29%",
        "evidence_pages": "[1, 3]",
        "evidence_sources": "['Chart', 'Pure-text (Plain-text)']",
        "answer_format": "Float",
    }
    return {**row, **changed}


def mmlongbench_rows() -> list[dict[str, Any]]:
    return [
        mmlongbench_row(),
        mmlongbench_row(
            question="And in 2031?",
            answer="Not answerable",
            evidence_pages="[]",
            evidence_sources="[]",
            answer_format="None",
        ),
        mmlongbench_row(
            doc_id="manual.pdf",
            doc_type="Guidebook",
            question="Which two keys?",
            answer="['Power', 'Menu']",
            evidence_pages="[2]",
            evidence_sources="['Figure']",
            answer_format="List",
        ),
        mmlongbench_row(question="Sum of page 98?", answer="9259", evidence_pages="[]"),
    ]


def mmlongbench_doc(folder: Path, *, as_repository: bool = False) -> Path:
    rows = mmlongbench_rows()
    documents = folder / "documents"
    if as_repository:
        documents = folder / "data" / "documents"
        write_json(folder / "data" / "samples.json", rows)
    else:
        write_parquet(folder / "data" / "train-00000-of-00001.parquet", rows)
    documents.mkdir(parents=True)
    (documents / "economy.pdf").write_bytes(make_pdf(["one", "two", "three"]))
    (documents / "manual.pdf").write_bytes(make_pdf(["left", "right"]))
    return folder


# --- M3DocVQA -------------------------------------------------------------------------------------
M3DOCVQA_QUESTIONS: list[dict[str, Any]] = [
    {
        "qid": "5454c1",
        "question": "Who owns the rights?",
        "answers": [{"answer": "Warner", "type": "string", "modality": "text"}],
        "metadata": {"type": "TextQ", "modalities": ["text"]},
        "supporting_context": [{"doc_id": "aa11", "doc_part": "text"}],
    },
    {
        "qid": "77f0a2",
        "question": "Which posters show a boat, and when?",
        "answers": [
            {"answer": "Jaws", "type": "string", "modality": "image"},
            {"answer": 1975, "type": "string", "modality": "image"},
        ],
        "metadata": {"type": "Compose(TableQ,ImageListQ)", "modalities": ["image", "table"]},
        "supporting_context": [
            {"doc_id": "bb22", "doc_part": "table"},
            {"doc_id": "aa11", "doc_part": "image"},
            {"doc_id": "bb22", "doc_part": "image"},
        ],
    },
]


def m3docvqa(folder: Path) -> Path:
    write_lines(folder / "multimodalqa" / "MMQA_dev.jsonl", M3DOCVQA_QUESTIONS)
    write_json(folder / "dev_doc_ids.json", ["aa11", "bb22", "cc33"])
    pdfs = folder / "splits" / "pdfs_dev"
    pdfs.mkdir(parents=True)
    for name, n_pages in (("aa11", 1), ("bb22", 2), ("cc33", 1)):
        (pdfs / f"{name}.pdf").write_bytes(make_pdf([f"{name} {n}" for n in range(n_pages)]))
    return folder


# --- Wiki-SS --------------------------------------------------------------------------------------
WIKI_SS_TEXTS = [
    "Paris is the capital of France.",
    "Lyon is a city in France, far from Paris.",
    "Rome is the capital of Italy.",
    "word " * 500 + "Berlin",
    "Nothing of note.",
]


def wiki_ss(folder: Path, texts: Sequence[str] = WIKI_SS_TEXTS) -> Path:
    pages = [
        {
            "docid": str(number),
            "title": f"Page {number}",
            "text": text,
            "image": {"bytes": png(40 * number % 256), "path": None},
        }
        for number, text in enumerate(texts)
    ]
    half = (len(pages) + 1) // 2
    corpus = folder / "wiki-ss-corpus" / "train"
    write_arrow(corpus / "data-00000-of-00002.arrow", pages[:half])
    write_arrow(corpus / "data-00001-of-00002.arrow", pages[half:])
    questions = [
        {"query_id": "0", "query": "capital of france", "answers": ["Paris"]},
        {"query_id": "1", "query": "capital of germany", "answers": ["Berlin", "Bonn"]},
        {"query_id": "2", "query": "where is rome", "answers": ["Italy"]},
    ]
    write_parquet(folder / "wiki-ss-nq" / "data" / "test-00000-of-00001.parquet", questions)
    return folder


# --- Karpathy's captions --------------------------------------------------------------------------
def _caption_rows(names: Sequence[str], *, n_captions: int) -> list[dict[str, Any]]:
    return [
        {
            "imgid": number,
            "filename": name,
            "split": "test",
            "sentids": [10 * number + each for each in range(n_captions)],
            "sentences": [
                {
                    "raw": f" {name} told a {each}. way",
                    "sentid": 10 * number + each,
                    "imgid": number,
                    "tokens": ["told"],
                }
                for each in range(n_captions)
            ],
        }
        for number, name in enumerate(names)
    ]


def coco(folder: Path) -> Path:
    rows = _caption_rows(["COCO_val2014_1.jpg", "COCO_val2014_2.jpg"], n_captions=6)
    for row in rows:
        row.update(filepath="val2014", cocoid=row["imgid"])
    train = {**rows[0], "split": "train", "imgid": 99, "filename": "not_there.jpg"}
    write_json(folder / "dataset_coco.json", {"dataset": "coco", "images": [*rows, train]})
    _images(folder / "val2014", rows)
    return folder


def flickr30k(folder: Path) -> Path:
    rows = _caption_rows(["1007129816.jpg", "1009434119.jpg"], n_captions=5)
    write_json(folder / "dataset_flickr30k.json", {"dataset": "flickr30k", "images": rows})
    _images(folder / "flickr30k-images", rows)
    return folder


def _images(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    folder.mkdir(parents=True)
    for row in rows:
        (folder / row["filename"]).write_bytes(png(100 + row["imgid"], kind="JPEG"))
