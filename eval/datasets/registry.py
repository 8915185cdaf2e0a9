"""The published sets that can be had, one line each. Imports no library of tables or pages."""

from __future__ import annotations

from eval.datasets import (
    image_captions,
    limit,
    m3docvqa,
    m_beir,
    mmdocir,
    mmeb_v2,
    mmlongbench_doc,
    mr2_bench,
    mrmr,
    mteb_task,
    real_mm_rag,
    unidoc_bench,
    vidore,
    wiki_ss,
)
from eval.datasets.published import LoaderInfo
from rag.errors import InputError

# Each module gives its sets in `SETS`, in the order they are told.
SETS: tuple[LoaderInfo, ...] = (
    *vidore.SETS,
    *real_mm_rag.SETS,
    *mmeb_v2.SETS,
    *limit.SETS,
    *mrmr.SETS,
    *mr2_bench.SETS,
    *m_beir.SETS,
    *mteb_task.SETS,
    *unidoc_bench.SETS,
    *mmdocir.SETS,
    *mmlongbench_doc.SETS,
    *m3docvqa.SETS,
    *wiki_ss.SETS,
    *image_captions.SETS,
)


def find_set(name: str) -> LoaderInfo:
    """The set of a name.

    Raises:
        InputError: `unknown_set`.
    """
    for info in SETS:
        if info.name == name:
            return info
    raise InputError(
        f"there is no published set {name!r}",
        code="unknown_set",
        next_step=f"There are {', '.join(info.name for info in SETS)}; see `octavo eval sets`.",
    )
