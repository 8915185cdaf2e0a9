"""M-BEIR: 16 parts of 10 sets in 8 tasks; questions and candidates are texts, images or both.

Source: Wei et al. 2023, UniIR (arXiv:2311.17136); layout as on the hub and read by the authors'
code (TIGER-AI-Lab/UniIR).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.datasets.folder import Query
from eval.datasets.local_copy import checked_option, checked_parts, file_below
from eval.datasets.parquet import WHERE, may, must, read_rows
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    ReadImage,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    ill_field,
    missing_file,
    query_id,
)
from rag.errors import InputError

NAME = "m-beir"
_LAYOUT = (
    "query/test/mbeir_NAME_test.jsonl, cand_pool/local/mbeir_NAME_cand_pool.jsonl, "
    "qrels/test/mbeir_NAME_test_qrels.txt, instructions/query_instructions.tsv, and the images of "
    "mbeir_images.tar.gz unpacked beside them"
)
_TASKS = {
    0: "text to image",
    1: "text to text",
    2: "text to image and text",
    3: "image to text",
    4: "image to image",
    6: "image and text to text",
    7: "image and text to image",
    8: "image and text to image and text",
}
# Name, tasks, domain.
_SETS = (
    ("visualnews", (0, 3), "news"),
    ("mscoco", (0, 3), "common"),
    ("fashion200k", (0, 3), "fashion"),
    ("webqa", (1, 2), "wiki"),
    ("edis", (2,), "news"),
    ("nights", (4,), "common"),
    ("oven", (6, 8), "wiki"),
    ("infoseek", (6, 8), "wiki"),
    ("fashioniq", (7,), "fashion"),
    ("cirr", (7,), "common"),
)
_R_AT_10 = frozenset({"fashion200k", "fashioniq"})
_MODALITIES = frozenset({"text", "image", "image,text", "text,image"})
_NO_WORDS = "-"  # what a dataset folder has as the text of an image asked alone


@dataclass(frozen=True)
class _Part:
    dataset: str
    task: int
    domain: str

    @property
    def name(self) -> str:
        return f"{self.dataset}_task{self.task}"


PARTS = {
    part.name: part
    for dataset, tasks, domain in _SETS
    for task in tasks
    for part in (_Part(dataset, task, domain),)
}


def load(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """The parts that are there, or that are named.

    Raises:
        InputError: `unknown_part`, `bad_option`, `dataset_layout`, `dataset_field`.
    """
    names = checked_parts(NAME, PARTS, wanted)
    prompt = checked_option(NAME, wanted, "instruction", ("1", "2", "3", "4", "none"))
    pool = checked_option(NAME, wanted, "pool", ("local", "global"))
    there = [name for name in names if (source / _questions_path(name)).is_file()]
    if wanted.parts and there != list(names):
        missing = next(name for name in names if name not in there)
        raise missing_file(NAME, _questions_path(missing), _LAYOUT)
    if not there:
        raise missing_file(NAME, "query/test/mbeir_*_test.jsonl", _LAYOUT)
    prompts = {} if prompt == "none" else _read_prompts(source)
    for name in there:
        yield _load_part(source, PARTS[name], prompts, 0 if prompt == "none" else int(prompt), pool)


def _questions_path(name: str) -> str:
    return f"query/test/mbeir_{name}_test.jsonl"


def _load_part(
    source: Path, part: _Part, prompts: Mapping[str, Sequence[str]], prompt: int, pool: str
) -> SetPart:
    candidates = _Candidates(source, _pool_file(source, part.name, pool))
    modality_of = candidates.modalities()
    grades, n_elsewhere = _read_qrels(
        source / f"qrels/test/mbeir_{part.name}_test_qrels.txt", modality_of
    )
    queries: list[Query] = []
    images: dict[str, ReadImage] = {}
    n_dropped = 0
    for row in _questions(source / _questions_path(part.name)):
        gold = grades.get(row["qid"])
        if not gold:
            n_dropped += 1
            continue
        text = (row["query_txt"] or "").strip()
        if prompt:
            key = _prompt_key(row["qid"], row["query_modality"], modality_of[str(next(iter(gold)))])
            text = _sentence(f"{_prompt(prompts, key, prompt, row[WHERE])} {text}")
        image = None
        if row["query_img_path"]:
            image = f"{len(images):06d}{Path(row['query_img_path']).suffix.lower()}"
            images[image] = _image(source, row["query_img_path"], row[WHERE], "query_img_path")
        queries.append(
            Query(
                id=query_id(row["qid"]),
                text=text or _NO_WORDS,
                answer="",
                type=_TASKS[part.task],
                image=image,
                # Their recall is 1 where any right candidate is found.
                gold_mode="any",
                groups={"set": part.dataset, "task": _TASKS[part.task], "domain": part.domain},
            )
        )
    notes = [f"candidates: the {pool} pool", "recall as the authors count it: any hit is 1"]
    if prompt:
        notes.append(f"each question begins with instruction {prompt} of its task")
    if n_elsewhere:
        notes.append(f"{n_elsewhere} graded candidates are not in the pool and were left out")
    if n_dropped:
        notes.append(f"{n_dropped} questions without a graded candidate were left out")
    kept = {query.id for query in queries}
    return SetPart(
        name=part.name,
        documents=candidates,
        queries=queries,
        qrels={query_id(q): g for q, g in grades.items() if query_id(q) in kept},
        main_measure="R@10" if part.dataset in _R_AT_10 else "R@5",
        images=images,
        notes=tuple(notes),
    )


def _pool_file(source: Path, name: str, pool: str) -> Path:
    if pool == "global":
        path = source / "cand_pool/global/mbeir_union_test_cand_pool.jsonl"
        if not path.is_file():
            raise missing_file(NAME, str(path.relative_to(source)), _LAYOUT)
        return path
    # mscoco has a pool a split, and says so in the name.
    places = [
        source / f"cand_pool/local/mbeir_{name}{split}_cand_pool.jsonl" for split in ("", "_test")
    ]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise missing_file(NAME, str(places[0].relative_to(source)), _LAYOUT)
    return found


def _questions(path: Path) -> Iterator[dict[str, Any]]:
    fields = (
        must("qid", "id"),
        may("query_txt", "text"),
        may("query_img_path", "text"),
        must("query_modality", "text"),
    )
    for row in read_rows(path, *fields, published=NAME):
        _check_contents(row, row["query_modality"], "query_txt", "query_img_path", "query_modality")
        yield row


def _check_contents(
    row: Mapping[str, Any], modality: str, text: str, image: str, field: str
) -> None:
    """Raises InputError for a row that lacks what its modality says it has."""
    if modality not in _MODALITIES:
        raise ill_field(
            NAME, row[WHERE], field, f"wants one of {sorted(_MODALITIES)}, got {modality!r}"
        )
    for kind, name in (("text", text), ("image", image)):
        if kind in modality and not row[name]:
            raise ill_field(NAME, row[WHERE], name, f"is empty where {field} is {modality!r}")


class _Candidates:
    """A document a candidate, read anew each time."""

    def __init__(self, source: Path, path: Path) -> None:
        self._source = source
        self._path = path

    def modalities(self) -> dict[str, str]:
        rows = read_rows(self._path, must("did", "id"), must("modality", "text"), published=NAME)
        return {row["did"]: row["modality"] for row in rows}

    def __iter__(self) -> Iterator[SetDocument]:
        fields = (
            must("did", "id"),
            may("txt", "text"),
            may("img_path", "text"),
            must("modality", "text"),
        )
        for row in read_rows(self._path, *fields, published=NAME):
            _check_contents(row, row["modality"], "txt", "img_path", "modality")
            image = None
            if row["img_path"]:
                image = _image(self._source, row["img_path"], row[WHERE], "img_path")
            page = SetPage(item_id=row["did"], image=image, text=row["txt"] or "")
            yield SetDocument(name=row["did"], pages=(page,))


def _image(source: Path, name: str, where: str, field: str) -> ReadImage:
    path = file_below(source, name)
    if path is None:
        raise ill_field(
            NAME, where, field, f"there is no file {name!r}; unpack mbeir_images.tar.gz"
        )
    return path.read_bytes


def _read_qrels(
    path: Path, known: Mapping[str, str]
) -> tuple[dict[str, dict[ItemOrPage, int]], int]:
    """Question to candidates of the pool, and how many graded ones are not in it.

    A line is question, 0, candidate, relevance, task, between blanks.
    """
    if not path.is_file():
        raise missing_file(NAME, f"qrels/test/{path.name}", _LAYOUT)
    grades: dict[str, dict[ItemOrPage, int]] = {}
    n_elsewhere = 0
    for number, line in enumerate(_text(path).split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) not in (4, 5) or not re.fullmatch("[0-9]{1,9}", fields[3]):
            raise ill_field(
                NAME,
                f"{path.name} line {number}",
                "relevance",
                "wants question, 0, candidate, a whole number and task between blanks",
            )
        if int(fields[3]) == 0:
            continue
        if fields[2] in known:
            grades.setdefault(fields[0], {})[fields[2]] = int(fields[3])
        else:
            n_elsewhere += 1
    return grades, n_elsewhere


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{NAME}: {path.name} is not UTF-8: {error.reason} at byte {error.start}",
            code="dataset_layout",
            next_step="Copy the file again.",
        ) from error


# --- instructions -------------------------------------------------------------------------------
def _read_prompts(source: Path) -> dict[str, list[str]]:
    """Set id, modality of the question and of the candidates, to the instructions there are."""
    path = source / "instructions/query_instructions.tsv"
    if not path.is_file():
        raise missing_file(NAME, "instructions/query_instructions.tsv", _LAYOUT)
    rows = list(csv.reader(io.StringIO(_text(path), newline=""), delimiter="\t"))
    prompts: dict[str, list[str]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) < 5:
            raise ill_field(
                NAME,
                f"{path.name} line {number}",
                "prompt_1",
                "wants query_modality, cand_modality, dataset_name, dataset_id and prompts",
            )
        prompts[f"{row[3]} {row[0]} {row[1]}"] = [prompt for prompt in row[4:] if prompt.strip()]
    return prompts


def _prompt_key(qid: str, query_modality: str, candidate_modality: str) -> str:
    return f"{qid.partition(':')[0]} {query_modality} {candidate_modality}"


def _prompt(prompts: Mapping[str, Sequence[str]], key: str, number: int, where: str) -> str:
    found = prompts.get(key, ())
    if len(found) < number:
        raise ill_field(
            NAME,
            where,
            "qid",
            f"query_instructions.tsv has no prompt_{number} for set, question and candidate "
            f"{key!r}",
        )
    return _sentence(found[number - 1])


def _sentence(text: str) -> str:
    """As the authors write what is encoded: a capital first, a full stop last."""
    text = text.replace("\r", "").strip().strip('"')
    if not text:
        return text
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")


SETS = (
    LoaderInfo(
        name=NAME,
        title="M-BEIR: instructed retrieval over texts and images",
        hub_ids=("TIGER-Lab/M-BEIR",),
        licence="MIT (annotations); images as their ten sets say",
        layout=_LAYOUT,
        main_measure="R@5, R@10 of fashion200k and fashioniq",
        load=load,
        options={
            "instruction": "1 (default) to 4: which of a task's instructions begins each "
            "question; none leaves them out",
            "pool": "local (default): a part's own candidates; global: the 5.6 million of all",
        },
        home="https://github.com/TIGER-AI-Lab/UniIR",
        parts=dict.fromkeys(PARTS, ""),
    ),
)
