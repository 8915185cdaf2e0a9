"""BayesRAG: pages, or triples of their parts, that several kinds of evidence speak for.

Each kind gives a mass of belief, doubt and ignorance; Dempster's rule joins them, and where the
parts stand to each other on paper is the prior. A kind that is absent is ignorant, not doubtful.

Source: the authors' code (TioeAre/BayesRAG, commit bc3da92) read for its behaviour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.errors import InputError
from rag.geometry import Box
from rag.scoring.fusion import Scores

Masses = npt.NDArray[np.float64]  # (..., 3): relevant, not relevant, unknown

_BELIEF = 0.7
_DOUBT = 0.6
_PRIOR_FLOOR = 0.1
_ALL_CONFLICT = 0.999
_NEAR_PAGES = 2  # a screenshot speaks for parts on fewer pages away than this
_NEAR_DIAGONALS = 2.0
_VACUOUS = (0.0, 0.0, 1.0)


def relative(scores: Scores) -> Scores:
    """Scores as shares of the best, 0 to 1; all 1 where they spread over less than a tenth of it.

    Missing pages stay NaN. Scores below 0, which the source does not have, become 0; so do all
    where none is above 0.
    """
    held = np.isfinite(scores)
    x = np.where(held, 0.0, np.nan)
    if not held.any() or (best := scores[held].max()) <= 0:
        return x
    spread = best - scores[held].min()
    x[held] = 1.0 if spread < best / 10 else np.maximum(scores[held] / best, 0.0)
    return x


def masses(x: Scores, *, belief: float = _BELIEF, doubt: float = _DOUBT) -> Masses:
    """What scores say, as (n, 3); NaN says nothing.

    Args:
        x: (n,) from 0 to 1, or NaN.
        belief: mass of "relevant" at x = 1.
        doubt: mass of "not relevant" at x = 0.

    Raises:
        InputError: belief or doubt not in [0, 1].
    """
    if not (0 <= belief <= 1 and 0 <= doubt <= 1):
        raise InputError(f"belief and doubt want to be from 0 to 1, got {belief} and {doubt}")
    yes, no = belief * x, doubt * (1.0 - x)
    found = np.stack([yes, no, np.maximum(0.0, 1.0 - yes - no)], axis=-1)
    found[np.isnan(x)] = _VACUOUS
    return found


def combined(first: Masses, second: Masses) -> Masses:
    """Dempster's rule: (..., 3) with (..., 3); sources that wholly disagree make "not relevant".

    Symmetric; ignorance, (0, 0, 1), leaves the other as it is.
    """
    (y1, n1, u1), (y2, n2, u2) = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    conflict = y1 * n2 + n1 * y2
    agreed = np.where(conflict >= _ALL_CONFLICT, 1.0, 1.0 - conflict)
    yes = (y1 * y2 + y1 * u2 + u1 * y2) / agreed
    no = (n1 * n2 + n1 * u2 + u1 * n2) / agreed
    joined = np.stack([yes, no, u1 * u2 / agreed], axis=-1)
    joined[conflict >= _ALL_CONFLICT] = (0.0, 1.0, 0.0)
    return np.asarray(joined, np.float64)


def likelihood(members: Iterable[Scores]) -> Scores:
    """(n,) chance from 0 to 1 that members (n,) from 0 to 1, NaN where absent, speak the truth.

    Grows with every member; their order does not matter. 0.5 where all are absent.
    """
    joined = np.array(_VACUOUS)
    for x in members:
        joined = combined(joined, masses(x))
    return _chance(joined)


# --- triples ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Part:
    """A text, an image, or the screenshot of a whole page, as one search found it.

    Attributes:
        score: comparable within its list.
        box: in page points; a screenshot's is the page.
    """

    part_id: str
    score: float
    document_id: str
    page_number: int
    box: Box
    page_width_pt: float
    page_height_pt: float


@dataclass(frozen=True)
class Quotas:
    """How many parts of each kind come back, or are looked at."""

    texts: int
    images: int
    screens: int


@dataclass(frozen=True)
class Corroborated:
    """Ids of parts, those of the best triples first."""

    texts: tuple[str, ...]
    images: tuple[str, ...]
    screens: tuple[str, ...]


LOOKED_AT = Quotas(texts=20, images=25, screens=35)
KEPT = Quotas(texts=15, images=10, screens=15)


def layout_prior(
    text: Part | None, image: Part | None, screen: Part, *, smooth: bool = False
) -> float:
    """How far parts belong together by where they stand, from 0.1 to 1.

    Hard: 1 where text and image are of the screenshot's document, on pages less than 2 away from
    it, and their centres less than 2 page diagonals apart; else 0.1. Smooth: exp(-distance /
    diagonal) in place of 1, at least 0.1. Page and diagonal are those of the text; the pages of a
    document lie below each other. A missing part is near to everything.
    """
    parts = [part for part in (text, image) if part is not None]
    if any(
        part.document_id != screen.document_id
        or abs(part.page_number - screen.page_number) >= _NEAR_PAGES
        for part in parts
    ):
        return _PRIOR_FLOOR
    if text is None or image is None:
        return 1.0
    diagonal = math.hypot(text.page_width_pt, text.page_height_pt)
    below = text.page_height_pt * (image.page_number - text.page_number)
    (x1, y1), (x2, y2) = _centre(text.box), _centre(image.box)
    distance = math.hypot(x2 - x1, y2 + below - y1)
    if smooth:
        return max(_PRIOR_FLOOR, math.exp(-distance / diagonal))
    return 1.0 if distance < _NEAR_DIAGONALS * diagonal else _PRIOR_FLOOR


def corroborated(
    texts: Sequence[Part],
    images: Sequence[Part],
    screens: Sequence[Part],
    *,
    looked_at: Quotas = LOOKED_AT,
    kept: Quotas = KEPT,
    smooth: bool = False,
) -> Corroborated:
    """Parts in the order of the triples (text, image, screenshot) that they stand in.

    Triples are made within a document, from its best parts beside each of the best screenshots; a
    document without texts or images makes pairs. They are sorted by likelihood * prior, ties by
    the ids, and their parts taken until every quota is full.
    """
    x_text, x_image, x_screen = (_relative_by_id(each) for each in (texts, images, screens))
    triples: list[tuple[float, str, str, str]] = []
    for screen in _best(screens, looked_at.screens):
        beside_text = _best_of(screen.document_id, texts, looked_at.texts)
        beside_image = _best_of(screen.document_id, images, looked_at.images)
        pairs = [(text, image) for text in beside_text for image in beside_image]
        chance = likelihood(
            [
                np.array([x_text[text.part_id] if text else np.nan for text, _ in pairs]),
                np.array([x_image[image.part_id] if image else np.nan for _, image in pairs]),
                np.full(len(pairs), x_screen[screen.part_id]),
            ]
        )
        for (text, image), chance_here in zip(pairs, chance.tolist(), strict=True):
            posterior = chance_here * layout_prior(text, image, screen, smooth=smooth)
            ids = (text.part_id if text else "", image.part_id if image else "")
            triples.append((-posterior, *ids, screen.part_id))
    triples.sort()
    found = (
        tuple([i for i in dict.fromkeys(ids) if i][:quota])
        for ids, quota in (
            ((text for _, text, _, _ in triples), kept.texts),
            ((image for _, _, image, _ in triples), kept.images),
            ((screen for _, _, _, screen in triples), kept.screens),
        )
    )
    return Corroborated(*found)


def _best(parts: Sequence[Part], limit: int) -> list[Part]:
    return sorted(parts, key=lambda part: (-part.score, part.part_id))[:limit]


def _best_of(document_id: str, parts: Sequence[Part], limit: int) -> list[Part] | list[None]:
    return _best([p for p in parts if p.document_id == document_id], limit) or [None]


def _relative_by_id(parts: Sequence[Part]) -> dict[str, float]:
    x = relative(np.array([part.score for part in parts], np.float64))
    return {part.part_id: value for part, value in zip(parts, x.tolist(), strict=True)}


def _centre(box: Box) -> tuple[float, float]:
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2


def _chance(joined: Masses) -> Scores:
    """Half of what is unknown counts as belief (pignistic)."""
    return np.asarray(joined[..., 0] + joined[..., 2] / 2)
