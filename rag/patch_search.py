"""MaxSim over the packed page vectors: which pages are best, and how good given pages are.

Pages that are not packed (a full disk, say) are scored by the store, and the result says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rag.errors import PackDamaged
from rag.filters import Filter
from rag.geometry import FloatArray
from rag.page_pack import PackView, Part
from rag.repository import CollectionReader
from rag.repository.packed_scope import PackedScope
from rag.scoring.cascade import CascadeStage, PackedSearch
from rag.scoring.coded_pages import CodedPages
from rag.scoring.packed import IntArray, maxsim_packed
from rag.types import Candidate, Notice, PageField, StageReport

_T = TypeVar("_T")

_PARTS = {
    CascadeStage.FDE: Part.FDE,
    CascadeStage.BITS: Part.BITS,
    CascadeStage.INT8: Part.INT8,
    CascadeStage.RESCORE: Part.FP16,
}


@dataclass(frozen=True)
class PatchCandidates:
    """Pages found, best first; what each stage took; what whoever reads the result should know."""

    candidates: tuple[Candidate, ...]
    stages: tuple[StageReport, ...]
    warnings: tuple[Notice, ...]


class PatchSearch:
    """Thread-safe.

    Args:
        packed: finds the best pages.
        codes: what pages that are scored and not shown are scored by; None is int8.
    """

    def __init__(self, packed: PackedSearch, codes: CodedPages | None = None) -> None:
        self._packed = packed
        self._codes = codes

    def best(
        self, reader: CollectionReader, scope: Filter | None, query: FloatArray, limit: int
    ) -> PatchCandidates:
        """The pages in scope with the best MaxSim for a query (n_query, dim)."""

        def search(packed: PackedScope, mended: tuple[Notice, ...]) -> PatchCandidates:
            view = packed.view
            found = self._packed.search(
                query, view, among=packed.among, limit=limit, before=_checking(view)
            )
            scored = dict(
                zip(packed.record_ids(found.pages), found.scores.tolist(), strict=True)
            ) | self._by_store(reader, scope, query, packed.missing)
            ranked = sorted(scored.items(), key=lambda item: (-item[1], item[0]))[:limit]
            return PatchCandidates(
                tuple(Candidate(record_id, score) for record_id, score in ranked),
                found.stages,
                found.warnings + mended + _missing(packed),
            )

        return self._on_sound_pages(reader, scope, search)

    def scores(
        self,
        reader: CollectionReader,
        scope: Filter | None,
        query: FloatArray,
        record_ids: Sequence[str],
        *,
        exact: bool = False,
    ) -> dict[str, float]:
        """MaxSim of given pages in scope, from codes, or with the vectors as they were encoded.

        A page without vectors is absent. What is exact differs from the store's own score by
        float32 rounding: the packed values are those that the store keeps.
        """

        def score(packed: PackedScope, _mended: tuple[Notice, ...]) -> dict[str, float]:
            view = packed.view
            indexes = packed.indexes(record_ids)
            indexes = indexes[view.n_rows[indexes] > 0]
            if self._codes is None or exact:
                view.check(indexes, Part.FP16 if exact else Part.INT8)
                found = maxsim_packed(query, view.fp16 if exact else view.int8, indexes)
            else:
                found = self._codes.scores(
                    query, view, indexes, before=lambda pages: view.check(pages, Part.FP16)
                )
            lacking = set(packed.missing)
            return dict(
                zip(packed.record_ids(indexes), found.tolist(), strict=True)
            ) | self._by_store(reader, scope, query, [i for i in record_ids if i in lacking])

        return self._on_sound_pages(reader, scope, score) if record_ids else {}

    def _by_store(
        self,
        reader: CollectionReader,
        scope: Filter | None,
        query: FloatArray,
        record_ids: Sequence[str],
    ) -> dict[str, float]:
        if not record_ids:
            return {}
        wanted = [(PageField.PATCHES, query, len(record_ids))]
        found = reader.search_many(wanted, scope, record_ids=record_ids)[0]
        return {candidate.record_id: candidate.score for candidate in found}

    def _on_sound_pages(
        self,
        reader: CollectionReader,
        scope: Filter | None,
        run: Callable[[PackedScope, tuple[Notice, ...]], _T],
    ) -> _T:
        """Run again where packed pages turned out damaged, once they are packed anew."""
        try:
            return run(reader.packed(scope), ())
        except PackDamaged as error:
            reader.mend_packed(error.record_ids)
            n = len(error.record_ids)
        mended = Notice(
            "pages_packed_anew",
            f"the packed vectors of {n} pages were damaged on the disk, and are packed anew from "
            "the index",
        )
        return run(reader.packed(scope), (mended,))


def _checking(view: PackView) -> Callable[[CascadeStage, IntArray], None]:
    return lambda stage, pages: view.check(pages, _PARTS[stage])


def _missing(packed: PackedScope) -> tuple[Notice, ...]:
    if not packed.missing:
        return ()
    return (
        Notice(
            "pages_not_packed",
            f"{len(packed.missing)} pages are not packed for fast search, so the store scored "
            "them; room on the disk and another search pack them",
        ),
    )
