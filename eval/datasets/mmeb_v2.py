"""MMEB-V2, its 24 tasks on visual documents: ViDoRe v1 and v2, VisRAG, and four from elsewhere.

Source: Meng et al. 2025 (arXiv:2507.04590), TIGER-AI-Lab/VLM2Vec. The page tasks of ViDoSeek and
MMLongBench are read as they were set right later (`-fixed`); figures of before do not compare.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from eval.datasets import vidore
from eval.datasets.beir import PageTable, beir_part, parts_of
from eval.datasets.local_copy import part_folders
from eval.datasets.published import LoaderInfo, SetPart, Wanted

_NAME = "mmeb-v2"
_MAIN_MEASURE = "nDCG@5"
_BELOW = "visdoc-tasks/data"
_LAYOUT = (
    "A folder of each repository's name, as they are or in visdoc-tasks/data as TIGER-Lab/MMEB-V2 "
    "packs them, each with corpus/ (corpus-id, image), queries/ (query-id, query) and qrels/ "
    "(query-id, corpus-id, score) with test-*.parquet, or train-*.parquet of VisRAG."
)
_VISRAG = {
    f"VisRAG_{name}": f"openbmb/VisRAG-Ret-Test-{name}"
    for name in ("ArxivQA", "ChartQA", "InfoVQA", "MP-DocVQA", "PlotQA", "SlideVQA")
}
_ELSEWHERE = {
    "ViDoSeek-doc": "VLM2Vec/ViDoSeek",
    "ViDoSeek-page": "VLM2Vec/ViDoSeek-page-fixed",
    "MMLongBench-doc": "VLM2Vec/MMLongBench-doc",
    "MMLongBench-page": "VLM2Vec/MMLongBench-page-fixed",
}
_V2_NAMES = {
    "esg_reports_human_labeled": "ViDoRe_esg_reports_human_labeled_v2",
    "biomedical_lectures": "ViDoRe_biomedical_lectures_v2_multilingual",
    "economics_reports": "ViDoRe_economics_reports_v2_multilingual",
    "esg_reports": "ViDoRe_esg_reports_v2_multilingual",
}
_PARTS = {
    **{f"ViDoRe_{name}": hub_id for name, hub_id in vidore.V1_PARTS.items()},
    **{name: vidore.V2_PARTS[part] for part, name in _V2_NAMES.items()},
    **_VISRAG,
    **_ELSEWHERE,
}
_TABLE = PageTable(
    _NAME,
    _LAYOUT,
    _MAIN_MEASURE,
    query_fields=vidore.PLAIN_FIELDS,
    as_query=vidore.as_plain_query,
)


def load(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """The tasks that are there."""
    folders = part_folders(source, _PARTS, wanted, published=_NAME, layout=_LAYOUT, below=_BELOW)
    return parts_of(folders, _read)


def _read(folder: Path, part: str) -> SetPart:
    split = "train" if part in _VISRAG else "test"  # VisRAG's tests are published as "train"
    return beir_part(folder, part, replace(_TABLE, split=split))


SETS: tuple[LoaderInfo, ...] = (
    LoaderInfo(
        name=_NAME,
        title="MMEB-V2, visual documents: 24 tasks",
        hub_ids=tuple(_PARTS.values()),
        licence="see source (ViDoRe: MIT; VisRAG, ViDoSeek and MMLongBench: by the set it is of)",
        layout=_LAYOUT,
        main_measure=_MAIN_MEASURE,
        load=load,
        home="https://github.com/TIGER-AI-Lab/VLM2Vec",
        parts=_PARTS,
        hub_files=("corpus/*", "queries/*", "qrels/*"),
    ),
)
