"""One ranking from the legs of a search (docs/adr/0019-fusion-and-refinement.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.ranking.legs import ABSOLUTE, Legs, Mode, summed_zscores
from rag.scoring import bayes, fusion
from rag.scoring.fusion import Scores, aligned, ranked, zscore
from rag.scoring.modality import best_zscore
from rag.settings import RetrievalSettings
from rag.types import PageField

# Legs that look at words, by where they find them. The page vectors are the other group: an image
# where the encoder looks at pixels. With the words encoder they are words as well, and `patches`
# is still what stands against the rest.
_BODY = (PageField.WORDS, PageField.DENSE, PageField.CONTEXT_WORDS)
_ELEMENTS = (
    PageField.HEADING_WORDS,
    PageField.HEADINGS,
    PageField.CAPTION_WORDS,
    PageField.CAPTIONS,
)
TEXT_LEGS = (*_BODY, *_ELEMENTS)

# They only shape how a score is shown from 0 to 1: the BM25 sum shown as a half, and about the
# standard deviation of fused scores (legs of weight 1, 1, .5, .5, .5 and a document score times 2),
# as a sum and as a mean over the legs.
_HALF_BM25 = 10.0
_SUM_SPREAD = 3.0
_MEAN_SPREAD = 1.0

_SURE = 1e-9  # a likelihood nearer to 0 or 1 has no finite odds worth adding to


@dataclass(frozen=True)
class _Pool:
    """Legs aligned to `ids`, NaN where one lacks a page; `absolute` ones on their own scales."""

    ids: Sequence[str]
    relative: Mapping[str, Scores]
    absolute: Mapping[str, Scores]
    settings: RetrievalSettings

    @property
    def weights(self) -> dict[str, float]:
        weights: dict[str, float] = self.settings.weights.model_dump()
        return weights

    @property
    def everything(self) -> dict[str, Scores]:
        return {**self.relative, **self.absolute}

    def counted(self, names: Iterable[PageField]) -> dict[str, Scores]:
        """Of these legs, those there are that weigh anything."""
        legs = {name.value: self.relative.get(name.value) for name in names}
        return {n: leg for n, leg in legs.items() if leg is not None and self.weights[n]}

    def text(self) -> Scores:
        """Weighted sum of z-scores of the text legs; NaN where none of them has the page."""
        legs = self.counted(TEXT_LEGS)
        summed = summed_zscores(legs, self.weights) if legs else np.nan
        return np.where(_lacked(legs, self.ids), np.nan, summed)

    def image(self) -> Scores:
        """MaxSim; NaN where the page has no vectors. Its weight is for sums with other legs."""
        missing = np.full(len(self.ids), np.nan)
        return self.relative.get(PageField.PATCHES.value, missing)

    def beside_a_mean(self) -> Scores:
        """The absolute legs against a mean of z-scores, as they count against their sum."""
        whole = sum(self.weights[name] for name in self.relative)
        return self.absolute_sum() / (whole or 1.0)

    def absolute_sum(self) -> Scores:
        total = np.zeros(len(self.ids))
        for name, leg in self.absolute.items():
            total = total + self.weights[name] * leg
        return total


def fused(
    ids: Sequence[str], legs: Legs, mode: Mode, settings: RetrievalSettings
) -> list[tuple[str, float]]:
    """Record ids with their scores, best first. Ties by record id.

    `visual` and `text` have one kind of evidence and keep its own scale; `settings.fusion` is for
    `hybrid`.
    """
    if mode is Mode.VISUAL:
        # A page without vectors was not found: it has no score, not a low one.
        maxsim = legs[PageField.PATCHES.value]
        found = [record_id for record_id in ids if record_id in maxsim]
        return ranked(found, aligned(found, maxsim))
    if mode is Mode.TEXT:
        # BM25 scores share a scale, and 0 is their own word for "no such term".
        weights = settings.weights.model_dump()
        found = sorted({record_id for leg in legs.values() for record_id in leg} & set(ids))
        summed = sum(
            weights[name] * np.nan_to_num(aligned(found, leg)) for name, leg in legs.items()
        )
        return ranked(found, np.asarray(summed, np.float64))
    pool = _Pool(
        ids,
        {name: aligned(ids, leg) for name, leg in legs.items() if name not in ABSOLUTE},
        # 0 is their own word for "nothing to say"; in order, so that sums are the same to the bit.
        {name: np.nan_to_num(aligned(ids, legs[name])) for name in sorted(ABSOLUTE & legs.keys())},
        settings,
    )
    scores = _METHODS[settings.fusion](pool) if pool.everything else np.zeros(len(ids))
    return ranked(ids, scores)


def normalized(score: float, mode: Mode, settings: RetrievalSettings, *, n_query: int) -> float:
    """0 to 1, higher is better: mean similarity for MaxSim, else a squashed fused score.

    Never falls where the score of one mode and method rises.
    """
    if mode is Mode.VISUAL:
        return min(1.0, max(0.0, score / n_query))
    if mode is Mode.TEXT:
        return score / (score + _HALF_BM25)
    if settings.fusion == "zscore":
        return _sigmoid(score / _SUM_SPREAD)
    if settings.fusion in ("ucmr", "modality_max", "modality_text", "modality_image"):
        return _sigmoid(score / _MEAN_SPREAD)
    if settings.fusion == "rrf":
        best = sum(settings.weights.model_dump().values()) / (settings.rrf_k + 1)
        return float(min(1.0, score / best)) if best else 0.0
    return min(1.0, max(0.0, score))  # the others are from 0 to 1 by themselves


# --- methods ------------------------------------------------------------------------------------
def _zscore(pool: _Pool) -> Scores:
    summed = summed_zscores(pool.relative, pool.weights) if pool.relative else 0.0
    return summed + pool.absolute_sum()


def _rrf(pool: _Pool) -> Scores:
    return fusion.reciprocal_ranks(pool.everything, pool.weights, rrf_k=pool.settings.rrf_k)


def _average_rank(pool: _Pool) -> Scores:
    return fusion.average_rank(pool.everything, pool.weights)


def _min_max(pool: _Pool) -> Scores:
    return fusion.weighted_min_max(pool.everything, pool.weights)


def _softmax(pool: _Pool) -> Scores:
    return fusion.weighted_softmax(pool.everything, pool.weights)


def _ucmr(pool: _Pool) -> Scores:
    share = pool.settings.image_share
    mixed = fusion.shared_zscores(pool.text(), pool.image(), second_share=share)
    return mixed + pool.beside_a_mean()


def _modality_text(pool: _Pool) -> Scores:
    return zscore(pool.text()) + pool.beside_a_mean()


def _modality_image(pool: _Pool) -> Scores:
    return zscore(pool.image()) + pool.beside_a_mean()


def _modality_max(pool: _Pool) -> Scores:
    best, _ = best_zscore({"text": pool.text(), "image": pool.image()})
    return best + pool.beside_a_mean()


def _quota(pool: _Pool) -> Scores:
    """1 / place: the two rankings have no score in common."""
    by_text, by_image = (
        [record_id for record_id, _ in ranked(pool.ids, scores)]
        for scores in (_modality_text(pool), _modality_image(pool))
    )
    place = {i: rank for rank, i in enumerate(fusion.interleaved(by_text, by_image), start=1)}
    return np.array([1.0 / place[record_id] for record_id in pool.ids], np.float64)


def _bayes(pool: _Pool) -> Scores:
    """Text, element and page vectors of one page are a triple; they lie together, prior 1.

    The members, where the source has text chunk, image element and screenshot: the page's words
    and its dense windows; what its layout sets apart (headings) or describes (captions); its
    vectors. Legs of one member are averaged, as they read the same words and Dempster's rule is
    for independent sources. Document and page prior are odds on top of the likelihood.
    """
    members = (_BODY, _ELEMENTS, (PageField.PATCHES,))
    chance = bayes.likelihood([_member(pool, names) for names in members])
    sure = np.clip(chance, _SURE, 1.0 - _SURE)
    log_odds = np.log(sure / (1.0 - sure)) + pool.beside_a_mean()
    return np.array([_sigmoid(each) for each in log_odds.tolist()], np.float64)


def _member(pool: _Pool, names: Iterable[PageField]) -> Scores:
    """(n_pages,) 0 to 1, NaN where no leg has the page; a leg that alone lacks it says 0."""
    legs = pool.counted(names)
    x = {name: np.nan_to_num(bayes.relative(leg)) for name, leg in legs.items()}
    whole = sum(pool.weights[name] for name in x)
    total = sum((pool.weights[name] * each for name, each in x.items()), np.zeros(len(pool.ids)))
    return np.where(_lacked(legs, pool.ids), np.nan, total / (whole or 1.0))


def _lacked(legs: Mapping[str, Scores], ids: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(n_pages,) whether no leg has the page."""
    lacked = np.ones(len(ids), np.bool_)
    for leg in legs.values():
        lacked &= ~np.isfinite(leg)
    return lacked


_METHODS: dict[str, Callable[[_Pool], Scores]] = {
    "zscore": _zscore,
    "rrf": _rrf,
    "average_rank": _average_rank,
    "min_max": _min_max,
    "softmax": _softmax,
    "ucmr": _ucmr,
    "quota": _quota,
    "bayes": _bayes,
    "modality_max": _modality_max,
    "modality_text": _modality_text,
    "modality_image": _modality_image,
}


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))
