"""Which search setting is the cheapest that still finds what exact MaxSim finds.

Measures the cascade as a search runs it (`PatchSearch.best`) on one collection's own pages, at a
grid of widths, and chooses. Exact MaxSim over all pages, with the float16 values that the index
keeps, is the reference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from rag.errors import InputError
from rag.geometry import FloatArray
from rag.page_pack import PackView, Part
from rag.patch_search import PatchSearch
from rag.repository import CollectionReader
from rag.scoring.cascade import Cascade, CascadeStage, CascadeWidths
from rag.scoring.device import choose_device
from rag.scoring.fde import FdeEncoder
from rag.scoring.maxsim import maxsim_many
from rag.settings import RetrievalSettings
from rag.types import Json, Notice, PageField
from rag.wiring import cascade_widths

Progress = Callable[[str, int, int], None]
Values = npt.NDArray[np.float64]

ROUNDS = 3
# Medians of one setting differ by as much from run to run on a shared machine.
TIE = 0.05
_FDE_WIDTHS = (150, 300, 600, 1200, 2400, 4800)
_BITS_WIDTHS = (30, 60, 120, 240, 480)
_BATCH_PAGES = 64
_RESAMPLES = 2000
# float32 sums of one page differ by this between two ways of adding them up.
_SAME_SCORE = 1e-5


@dataclass(frozen=True)
class Setting:
    """One way to search, and its three settings.

    Attributes:
        first: the stage that sees all pages.
        candidates: pages the FDE hands on; without effect where `first` is another stage.
        int8_candidates: pages the sign bits hand on; all of them where int8 is first.
    """

    first: CascadeStage
    candidates: int
    int8_candidates: int
    scan_rows: int

    def widths(self, *, exact_pages: int) -> CascadeWidths:
        return CascadeWidths(
            fde=self.candidates,
            bits=self.int8_candidates,
            rescore=exact_pages,
            scan_rows=self.scan_rows,
        )


@dataclass(frozen=True)
class PageBytes:
    """Mean bytes of a packed page; sign bits and FDE signs are read again and again.

    Attributes:
        mapped: int8 and float16 rows, of which a search reads those of a few pages.
    """

    bits: float
    fde: float
    int8: float
    mapped: float

    def hot(self, first: CascadeStage) -> float:
        """What of a page every search may touch: all stages but int8, or int8 where it is alone."""
        return {
            CascadeStage.FDE: self.bits + self.fde,
            CascadeStage.BITS: self.bits,
            CascadeStage.INT8: self.int8,
        }[first]


@dataclass(frozen=True)
class Measured:
    """A setting and what it was found to do.

    Attributes:
        recall: mean over questions of the share of the exact top k among the k pages found, with
            its 95 % bootstrap interval over questions.
        ndcg_loss: mean of 1 - nDCG@k; see `ndcg`.
        median_ms: of the cascade, over all questions and rounds; encoding the question and the
            exact scores of the pages shown cost the same under every setting and are left out.
        hot_bytes: of a page, as `PageBytes.hot`.
        mapped_bytes: of a page, as `PageBytes.mapped`.
    """

    setting: Setting
    recall: float
    recall_low: float
    recall_high: float
    ndcg_loss: float
    median_ms: float
    p95_ms: float
    hot_bytes: float
    mapped_bytes: float

    def as_dict(self) -> Json:
        flat = asdict(self)
        setting = flat.pop("setting")
        digits = {"recall": 5, "ndcg": 6, "median": 4, "p95": 4, "hot": 1, "mapped": 1}
        return {
            **setting,
            "first": str(self.setting.first),
            **{key: round(value, digits[key.split("_")[0]]) for key, value in flat.items()},
        }


@dataclass(frozen=True)
class TuneResult:
    """All settings measured, as they stand in the grid, and the one to use (None: none meets it).

    Attributes:
        current: what the collection is searched with now; also in `measured`.
        other_ms: medians of what every setting costs besides.
    """

    n_pages: int
    n_rows: int
    n_questions: int
    k: int
    target_recall: float
    measured: tuple[Measured, ...]
    chosen: Measured | None
    current: Setting
    other_ms: dict[str, float]
    warnings: tuple[Notice, ...]

    @property
    def best(self) -> Measured:
        """The highest recall; of equals the fastest."""
        return min(self.measured, key=lambda each: (-each.recall, each.median_ms))


class Tuner:
    """Measures one collection for one reader."""

    def __init__(
        self,
        reader: CollectionReader,
        fde: FdeEncoder,
        retrieval: RetrievalSettings,
        *,
        progress: Progress = lambda _what, _done, _whole: None,
    ) -> None:
        self._reader = reader
        self._fde = fde
        self._retrieval = retrieval
        self._progress = progress

    def tune(
        self, queries: Sequence[FloatArray], *, k: int, target_recall: float, rounds: int = ROUNDS
    ) -> TuneResult:
        """Measure the grid and choose.

        Args:
            queries: (n_query, dim) each, at least one.
            k: how deep the exact ranking is to be found again.
            target_recall: above 0, at most 1.
            rounds: through all questions and settings.

        Raises:
            InputError: `too_few_pages` with vectors for a top k.
        """
        scope = self._reader.packed(None)
        pages = [*scope.record_ids(_with_rows(scope.view, scope.among)), *scope.missing]
        page_bytes = _page_bytes(scope.view, scope.among)
        n_rows = int(scope.view.n_rows[scope.among].sum())
        del scope  # as long as it is held, deleted pages cannot be erased
        pages, exact = self._exact(queries, pages)
        if len(pages) < k:
            raise InputError(
                f"collection {self._reader.collection!r} has {len(pages)} pages with vectors; "
                f"recall@{k} wants at least {k}",
                code="too_few_pages",
                next_step="Ingest more documents, or give a smaller --k.",
            )
        settings, current = grid(len(pages), n_rows, self._retrieval, k=k)
        column = {record_id: index for index, record_id in enumerate(pages)}
        times, found, warnings = self._times(queries, settings, k, rounds)
        depth = max(k, self._retrieval.exact_pages)
        measured = tuple(
            _measured(setting, ranked, exact, column, times[index], page_bytes, k, depth)
            for index, (setting, ranked) in enumerate(zip(settings, found, strict=True))
        )
        return TuneResult(
            n_pages=len(pages),
            n_rows=n_rows,
            n_questions=len(queries),
            k=k,
            target_recall=target_recall,
            measured=measured,
            chosen=choose(measured, target_recall),
            current=current,
            other_ms={"exact": self._exact_ms(queries, pages, exact, depth)},
            warnings=(*warnings, *self._notices(len(pages))),
        )

    def _exact(
        self, queries: Sequence[FloatArray], pages: Sequence[str]
    ) -> tuple[list[str], FloatArray]:
        """Those pages that have vectors, and (n_queries, n_pages) their MaxSim."""
        scores = np.full((len(queries), len(pages)), -np.inf, np.float32)
        for start in range(0, len(pages), _BATCH_PAGES):
            batch = pages[start : start + _BATCH_PAGES]
            vectors = self._reader.vectors(batch, PageField.PATCHES)
            there = [place for place, record_id in enumerate(batch) if record_id in vectors]
            rows = [vectors[batch[place]] for place in there]
            columns = start + np.array(there, np.int64)
            for row, query in enumerate(queries):
                scores[row, columns] = maxsim_many(query, rows)
            self._progress("exact scores", min(start + _BATCH_PAGES, len(pages)), len(pages))
        scored = np.isfinite(scores).all(axis=0)
        return [pages[place] for place in np.flatnonzero(scored).tolist()], scores[:, scored]

    def _times(
        self, queries: Sequence[FloatArray], settings: Sequence[Setting], k: int, rounds: int
    ) -> tuple[Values, list[list[list[str]]], tuple[Notice, ...]]:
        """Milliseconds (n_settings, rounds, n_queries), and what was found, best first."""
        searches = [
            PatchSearch(Cascade(self._fde, each.widths(exact_pages=self._retrieval.exact_pages)))
            for each in settings
        ]
        limit = pages_asked_for(self._retrieval, k)
        times = np.zeros((len(settings), rounds, len(queries)), np.float64)
        found: list[list[list[str]]] = [[] for _ in settings]
        warnings: dict[Notice, None] = {}
        whole = (rounds + 1) * len(queries)
        rng = np.random.default_rng(0)
        # One round more, whose times are not kept: it finds, and brings everything into memory.
        for number in range(rounds + 1):
            for row, query in enumerate(queries):
                # Next to each other and never in the same order, so that what else the machine
                # does, and what the setting before left in its caches, falls on all alike.
                for index in rng.permutation(len(settings)).tolist():
                    start = time.perf_counter()
                    result = searches[index].best(self._reader, None, query, limit)
                    ms = (time.perf_counter() - start) * 1000
                    if number:
                        times[index, number - 1, row] = ms
                    else:
                        found[index].append([each.record_id for each in result.candidates])
                        warnings.update(dict.fromkeys(result.warnings))
                self._progress("settings", number * len(queries) + row + 1, whole)
        return times, found, tuple(warnings)

    def _exact_ms(
        self, queries: Sequence[FloatArray], pages: Sequence[str], exact: FloatArray, depth: int
    ) -> float:
        search = PatchSearch(Cascade(self._fde, cascade_widths(self._retrieval)))
        times: list[float] = []
        for row, query in enumerate(queries[:20]):
            best = [pages[index] for index in np.argsort(-exact[row])[:depth].tolist()]
            start = time.perf_counter()
            search.scores(self._reader, None, query, best, exact=True)
            times.append((time.perf_counter() - start) * 1000)
        return float(np.median(times))

    def _notices(self, n_pages: int) -> Iterator[Notice]:
        if n_pages <= self._retrieval.scan_pages:
            yield Notice(
                "scored_whole",
                f"searches of up to {self._retrieval.scan_pages} pages (retrieval.scan_pages) "
                "score all of them, so what is tuned counts only once there are more",
            )
        device = choose_device(self._retrieval.device).name
        if device != "cpu":
            yield Notice(
                "measured_on_cpu",
                f"searches here scan all pages on {device}; the settings, measured on the CPU, "
                "count where the pages do not fit there",
            )


def pages_asked_for(retrieval: RetrievalSettings, top_k: int) -> int:
    """As many as `Retriever` asks the cascade for, whatever its widths are."""
    return max(top_k, retrieval.leg_candidates)


def grid(
    n_pages: int, n_rows: int, retrieval: RetrievalSettings, *, k: int
) -> tuple[list[Setting], Setting]:
    """Settings that differ for a collection of this size, cheapest kinds first; and today's.

    No stage hands on fewer pages than are made exact, nor MaxSim fewer than other legs do: what it
    hands on is also what a hybrid search chooses from.

    Args:
        n_pages: with vectors.
        n_rows: vectors of all of them.
        retrieval: what is searched with now.
        k: as in `Tuner.tune`.
    """
    least = max(pages_asked_for(retrieval, k), retrieval.exact_pages)
    bits = sorted({least, *(width for width in _BITS_WIDTHS if width > least)})
    bits = [width for width in bits if width < n_pages]
    # A filter may leave so few rows that all their sign bits are looked at; that finds more.
    no_scan = min(retrieval.scan_rows, n_rows // 2)
    # Half as many again: a few more documents must not change how all of them are searched.
    scan = max(retrieval.scan_rows, n_rows + n_rows // 2)
    settings = [
        Setting(CascadeStage.FDE, fde, width, no_scan)
        for fde in _FDE_WIDTHS
        if fde < n_pages
        for width in bits
        if width < fde
    ]
    settings += [Setting(CascadeStage.BITS, retrieval.candidates, width, scan) for width in bits]
    everything = max(n_pages, least)
    settings.append(Setting(CascadeStage.INT8, everything, everything, scan))
    current = _current(n_pages, n_rows, retrieval, k=k)
    same = [each for each in settings if _alike(each, current)]
    if same:
        return settings, same[0]
    return [*settings, current], current


def _current(n_pages: int, n_rows: int, retrieval: RetrievalSettings, *, k: int) -> Setting:
    # As Cascade widens them.
    limit = pages_asked_for(retrieval, k)
    bits = max(limit, retrieval.int8_candidates)
    fde = max(limit, retrieval.candidates)
    if n_pages > fde and n_rows > retrieval.scan_rows:
        first = CascadeStage.FDE
    elif n_pages > bits:
        first = CascadeStage.BITS
    else:
        first = CascadeStage.INT8
    return Setting(first, retrieval.candidates, retrieval.int8_candidates, retrieval.scan_rows)


def _alike(one: Setting, other: Setting) -> bool:
    """Whether both do the same with the collection as it is."""

    def counting(setting: Setting) -> tuple[CascadeStage, int, int]:
        bits = 0 if setting.first is CascadeStage.INT8 else setting.int8_candidates
        fde = setting.candidates if setting.first is CascadeStage.FDE else 0
        return setting.first, fde, bits

    return counting(one) == counting(other)


def choose(measured: Sequence[Measured], target_recall: float) -> Measured | None:
    """The fastest setting that meets the target, or None.

    The recall as measured has to meet it, not the lower end of its interval: with 50 questions that
    end lies below 0.99 for nearly every setting that is not perfect, so the choice would depend on
    how many questions there are. Medians within 5 % of the lowest are a tie; of these the one with
    the fewest hot bytes, then the highest recall, then the lowest median.
    """
    # A mean of tenths that adds up to 0.99 may come out a rounding below it.
    meeting = [each for each in measured if each.recall >= target_recall - 1e-9]
    if not meeting:
        return None
    lowest = min(each.median_ms for each in meeting)
    tied = [each for each in meeting if each.median_ms <= lowest * (1 + TIE)]
    return min(
        tied,
        key=lambda each: (
            each.hot_bytes,
            -each.recall,
            each.median_ms,
            each.setting.candidates,
            each.setting.int8_candidates,
        ),
    )


# --- measures -----------------------------------------------------------------------------------
def recall(found: FloatArray, exact: FloatArray, k: int) -> float:
    """Share of the exact top k that is among the first k found.

    A page whose exact score equals that of the k-th best counts like it: pages that are copies of
    each other stand in for each other.

    Args:
        found: (n,) exact scores of the pages found, best first.
        exact: (n_pages,) exact scores of all pages, at least k, in any order.
        k: depth.
    """
    least = float(np.partition(exact, len(exact) - k)[len(exact) - k])
    return float((found[:k] >= least - _SAME_SCORE * max(1.0, abs(least))).sum()) / k


def ndcg(found: FloatArray, exact: FloatArray, k: int) -> float:
    """nDCG@k with graded relevance from the exact scores, arguments as `recall`.

    The grade of a page is how far its exact score stands above the mean of all pages, as a share of
    how far the best one does: 1 for the best page, 0 for an average one and for those below it.
    MaxSim itself would be no grade: a page that has nothing to do with a question still scores half
    of what the best does. Gains are linear, the discount is 1 / log2(rank + 1). Where all pages
    score the same, any ranking is right.
    """
    mean, best = float(exact.mean(dtype=np.float64)), float(exact.max())
    spread = best - mean
    if spread <= _SAME_SCORE * max(1.0, abs(best)):
        return 1.0
    ideal = -np.partition(-exact, k - 1)[:k]
    gained, most = (
        float((np.clip((scores - mean) / spread, 0.0, 1.0) * _discounts(len(scores))).sum())
        for scores in (found[:k].astype(np.float64), np.sort(ideal.astype(np.float64))[::-1])
    )
    return min(1.0, gained / most)


def _discounts(n: int) -> Values:
    return 1.0 / np.log2(np.arange(2, n + 2))


def bootstrap_interval(values: Values, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean of (n,) values, from 2,000 resamples."""
    n = len(values)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    low, high = np.percentile(weights @ values / n, [2.5, 97.5])
    return float(low), float(high)


def _measured(
    setting: Setting,
    ranked: Sequence[Sequence[str]],
    exact: FloatArray,
    column: dict[str, int],
    times: Values,
    page_bytes: PageBytes,
    k: int,
    depth: int,
) -> Measured:
    recalls = np.zeros(len(ranked), np.float64)
    losses = np.zeros(len(ranked), np.float64)
    for row, pages in enumerate(ranked):
        scores = exact[row]
        # As a search ends: the best `depth` are scored exactly and ranked by that.
        shown = [column[page] for page in pages[:depth] if page in column]
        found = -np.sort(-scores[shown])[:k]
        recalls[row] = recall(found, scores, k)
        losses[row] = 1.0 - ndcg(found, scores, k)
    low, high = bootstrap_interval(recalls)
    return Measured(
        setting=setting,
        recall=float(recalls.mean()),
        recall_low=low,
        recall_high=high,
        ndcg_loss=float(losses.mean()),
        median_ms=float(np.median(times)),
        p95_ms=float(np.percentile(times, 95)),
        hot_bytes=page_bytes.hot(setting.first),
        mapped_bytes=page_bytes.mapped,
    )


def _with_rows(view: PackView, among: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return among[view.n_rows[among] > 0]


def _page_bytes(view: PackView, among: npt.NDArray[np.int64]) -> PageBytes:
    there = _with_rows(view, among)
    n = max(1, len(there))
    n_rows = float(view.n_rows[there].sum()) / n
    spec = view.spec
    return PageBytes(
        bits=float(view.bits.n_units[there].sum()) / n * spec.unit_bytes(Part.BITS),
        fde=float(spec.unit_bytes(Part.FDE)),
        int8=n_rows * spec.unit_bytes(Part.INT8),
        mapped=n_rows * (spec.unit_bytes(Part.INT8) + spec.unit_bytes(Part.FP16)),
    )
