"""Laws of the cascade, on small pages packed in memory, held to MaxSim over all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring.cascade import Cascade, CascadeResult, CascadeWidths
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.scoring.fde_signs import pack_signs, scan_signs
from rag.scoring.packed import IntArray, PackedRows, Storage, maxsim_packed

DIM = 32
ENCODER = FdeEncoder(FdeSpec(DIM, repetitions=3, simhash_bits=2, projection_dim=8))
seeds = st.integers(0, 2**32 - 1)
widths = st.builds(
    CascadeWidths,
    fde=st.integers(1, 60),
    bits=st.integers(1, 60),
    rescore=st.integers(0, 60),
    scan_rows=st.just(0),
)
laws = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass(frozen=True)
class Pages:
    fde_signs: npt.NDArray[np.uint8]
    bits: PackedRows
    int8: PackedRows
    fp16: PackedRows


def pack(matrices: list[FloatArray]) -> Pages:
    fdes = np.zeros((len(matrices), ENCODER.spec.fde_size), np.float32)
    for fde, matrix in zip(fdes, matrices, strict=True):
        if len(matrix):
            fde[:] = ENCODER.encode_page(matrix)
    packed = {s: PackedRows.pack(matrices, s) for s in (Storage.BITS, Storage.INT8, Storage.FP16)}
    return Pages(pack_signs(fdes), packed[Storage.BITS], packed[Storage.INT8], packed[Storage.FP16])


def made_up(seed: int, n_pages: int, *, n_kinds: int | None = None) -> tuple[FloatArray, Pages]:
    """Every seventh page has no rows; with `n_kinds` pages come several times over."""
    rng = np.random.default_rng(seed)
    matrices = [
        rng.standard_normal((0 if i % 7 == 6 else rng.integers(1, 40), DIM)).astype(np.float32)
        for i in range(n_kinds or n_pages)
    ]
    matrices = [matrices[i % len(matrices)] for i in range(n_pages)]
    return rng.standard_normal((5, DIM)).astype(np.float32), pack(matrices)


def by_score(query: FloatArray, rows: PackedRows, among: IntArray) -> list[tuple[int, float]]:
    """(page, score) of all with rows, best first, ties by number."""
    pairs = zip(among.tolist(), maxsim_packed(query, rows, among).tolist(), strict=True)
    return sorted(((p, s) for p, s in pairs if s > -np.inf), key=lambda each: (-each[1], each[0]))


def ranked(
    query: FloatArray, pages: Pages, among: IntArray, limit: int, rescore: int
) -> list[tuple[int, float]]:
    """The last two stages by their definition: the best by int8, in the order of float16."""
    best = [page for page, _ in by_score(query, pages.int8, among)[: max(limit, rescore)]]
    return by_score(query, pages.fp16, np.array(best, dtype=np.int64))[:limit]


def as_pairs(result: CascadeResult) -> list[tuple[int, float]]:
    return list(zip(result.pages.tolist(), result.scores.tolist(), strict=True))


@given(seed=seeds, n_pages=st.integers(1, 60), n_kinds=st.integers(1, 60), limit=st.integers(1, 70))
@laws
def test_stages_as_wide_as_the_collection_give_the_ranking_of_float16(
    seed: int, n_pages: int, n_kinds: int, limit: int
) -> None:
    query, pages = made_up(seed, n_pages, n_kinds=n_kinds)
    wide = Cascade(ENCODER, CascadeWidths(fde=60, bits=60, rescore=60, scan_rows=0))
    result = wide.search(query, pages, limit=limit)
    assert as_pairs(result) == by_score(query, pages.fp16, np.arange(n_pages))[:limit]
    assert [stage.name for stage in result.stages] == ["int8", "rescore"]


@given(seed=seeds, widths=widths, limit=st.integers(1, 70), data=st.data())
@laws
def test_what_is_found_is_in_scope_has_rows_and_its_own_exact_score_in_order(
    seed: int, widths: CascadeWidths, limit: int, data: st.DataObject
) -> None:
    query, pages = made_up(seed, 50)
    among = np.array(data.draw(st.lists(st.integers(0, 49), unique=True)), dtype=np.int64)
    found = Cascade(ENCODER, widths).search(query, pages, among=among, limit=limit)
    assert set(found.pages.tolist()) <= set(among.tolist())
    assert (pages.int8.n_rows[found.pages] > 0).all()
    assert as_pairs(found) == by_score(query, pages.fp16, found.pages)
    n = int((pages.int8.n_rows[among] > 0).sum())
    assert len(found.pages) == min(n, limit)  # no stage hands on fewer than are asked for


@given(seed=seeds, widths=widths, data=st.data())
@laws
def test_each_stage_hands_on_its_best_and_says_how_many(
    seed: int, widths: CascadeWidths, data: st.DataObject
) -> None:
    """The stages by their definition: sort by (score, number), and cut."""
    limit = data.draw(st.integers(1, 30))
    query, pages = made_up(seed, 50, n_kinds=data.draw(st.sampled_from([5, 20, 50])))
    inside, expected = np.flatnonzero(pages.int8.n_rows > 0), []
    asked: list[tuple[str, list[int]]] = []
    told: list[tuple[str, list[int]]] = []
    for name, width, score in (
        (
            "fde",
            widths.fde,
            lambda among: scan_signs(ENCODER.encode_query(query), pages.fde_signs, among),
        ),
        ("bits", widths.bits, lambda among: maxsim_packed(query, pages.bits, among)),
    ):
        width = max(width, limit)
        if len(inside) > width:
            asked.append((name, sorted(inside.tolist())))
            scores = dict(zip(inside.tolist(), score(inside).tolist(), strict=True))
            inside = np.array(sorted(scores, key=lambda p: (-scores[p], p))[:width])
            expected.append((name, width))
    asked.append(("int8", sorted(inside.tolist())))
    n_rescored = min(len(inside), max(limit, widths.rescore))
    by_int8 = [page for page, _ in by_score(query, pages.int8, inside)]
    asked.append(("rescore", sorted(by_int8[:n_rescored])))
    expected += [("int8", n_rescored), ("rescore", min(len(inside), limit))]
    found = Cascade(ENCODER, widths).search(
        query,
        pages,
        limit=limit,
        before=lambda stage, reads: told.append((stage, sorted(reads.tolist()))),
    )
    assert as_pairs(found) == ranked(query, pages, inside, limit, widths.rescore)
    assert told == asked
    assert [(stage.name, stage.candidates) for stage in found.stages] == expected
    assert all(stage.ms >= 0 for stage in found.stages)


@given(seed=seeds, widths=widths, data=st.data())
@laws
def test_the_order_of_the_scope_does_not_matter(
    seed: int, widths: CascadeWidths, data: st.DataObject
) -> None:
    query, pages = made_up(seed, 40, n_kinds=data.draw(st.sampled_from([3, 8, 40])))
    order = np.array(data.draw(st.permutations(range(40))))
    cascade = Cascade(ENCODER, widths)
    found = cascade.search(query, pages, among=order, limit=20)
    assert as_pairs(found) == as_pairs(cascade.search(query, pages, limit=20))


@given(seed=seeds, widths=widths, limit=st.integers(1, 40))
@laws
def test_a_larger_limit_only_adds_pages_at_the_end(
    seed: int, widths: CascadeWidths, limit: int
) -> None:
    query, pages = made_up(seed, 40)
    # Stages are widened to the limit: the law is of limits that they have room for.
    cascade = Cascade(
        ENCODER, CascadeWidths(widths.fde + limit + 7, widths.bits + limit + 7, limit + 7, 0)
    )
    more = as_pairs(cascade.search(query, pages, limit=limit + 7))
    assert more[:limit] == as_pairs(cascade.search(query, pages, limit=limit))


@given(seed=seeds, fde=st.integers(1, 50), bits=st.integers(1, 50), more=st.integers(1, 30))
@laws
def test_a_wider_last_stage_never_lowers_a_score_in_the_list(
    seed: int, fde: int, bits: int, more: int
) -> None:
    query, pages = made_up(seed, 50)
    narrow, wide = (
        Cascade(ENCODER, CascadeWidths(fde, width, 90, 0)).search(query, pages, limit=10)
        for width in (bits, bits + more)
    )
    n = len(narrow.scores)
    assert len(wide.scores) >= n
    assert (wide.scores[:n] >= narrow.scores).all()


def test_where_the_pages_have_few_rows_the_signs_see_all_of_them() -> None:
    query, pages = made_up(1, 50)
    n_rows = int(pages.int8.n_rows.sum())
    last = ["bits", "int8", "rescore"]
    for scan_rows, names in ((n_rows, last), (n_rows - 1, ["fde", *last])):
        widths = CascadeWidths(fde=20, bits=10, rescore=5, scan_rows=scan_rows)
        found = Cascade(ENCODER, widths).search(query, pages, limit=5)
        assert [stage.name for stage in found.stages] == names


def test_a_page_that_holds_the_query_comes_first() -> None:
    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal((20, DIM)).astype(np.float32) for _ in range(40)]
    cascade = Cascade(ENCODER, CascadeWidths(fde=20, bits=5, rescore=3, scan_rows=0))
    pages = pack(matrices)
    for number in (0, 17, 39):
        assert cascade.search(matrices[number], pages, limit=3).pages[0] == number


def test_nothing_in_scope_finds_nothing() -> None:
    query, pages = made_up(1, 14)
    cascade = Cascade(ENCODER, CascadeWidths(20, 10, 5, 0))
    for among in ([], [6], [6, 13]):  # 6 and 13 have no rows
        found = cascade.search(query, pages, among=np.array(among, dtype=np.int64), limit=5)
        assert (len(found.pages), len(found.scores)) == (0, 0)
        assert [(stage.name, stage.candidates) for stage in found.stages] == [
            ("int8", 0),
            ("rescore", 0),
        ]


@pytest.mark.parametrize("among", [[50], [-1], [3, 10**12], [0.5], [True]])
def test_page_numbers_that_do_not_exist_are_refused(among: list[float]) -> None:
    query, pages = made_up(1, 50)
    for widths in (CascadeWidths(500, 100, 12, 1000), CascadeWidths(1, 1, 1, 0)):
        with pytest.raises(ShapeError, match="page number"):
            Cascade(ENCODER, widths).search(query, pages, among=np.array(among), limit=5)


@pytest.mark.parametrize(
    "query",
    [
        np.full((2, DIM), np.nan, np.float32),
        np.full((2, DIM), np.inf, np.float32),
        np.zeros((0, DIM), np.float32),
        np.zeros((2, DIM + 16), np.float32),
        np.zeros(DIM, np.float32),
    ],
    ids=["NaN", "infinite", "no rows", "other dim", "no matrix"],
)
def test_queries_that_cannot_be_scored_are_refused_at_any_width(query: FloatArray) -> None:
    _, pages = made_up(1, 50)
    for widths in (CascadeWidths(20, 10, 5, 0), CascadeWidths(60, 10, 5, 0)):
        for among in (None, np.array([6])):  # 6 has no rows: nothing to score
            with pytest.raises(ShapeError):
                Cascade(ENCODER, widths).search(query, pages, among=among, limit=5)
