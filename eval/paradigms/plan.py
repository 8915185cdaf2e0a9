"""What is set beside each other: arms, each a way to pages over one pool of candidates.

An arm searches by itself, or takes what other arms found together. The four paradigms of
UniDoc-Bench are arms, and so are text, pixels and both of any dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rag.errors import InputError
from rag.settings import EncoderSettings, Settings, changed_settings

Evidence = Literal["text", "image", "both"]
SearchMode = Literal["hybrid", "visual", "text"]

ALL = "all"
# Of the encoder that the settings name: how it runs, not which it is.
_HOW_IT_RUNS = ("threads", "device", "dtype", "attention", "batch_size", "restarts")
_READS_WORDS = ("words", "custom")


@dataclass(frozen=True)
class Arm:
    """One way to pages.

    Attributes:
        says: what it is, in a line of a report.
        evidence: what of its pages an answer model is shown.
        settings: of its search, its encoder among them; None for an arm that fuses.
        mode: legs of its search.
        fuses: two arms whose pages it takes, by rank, half of k each.
    """

    name: str
    says: str
    evidence: Evidence
    settings: Settings | None = None
    mode: SearchMode = "hybrid"
    fuses: tuple[str, str] | None = None


@dataclass(frozen=True)
class Plan:
    """Arms in the order they are told.

    Attributes:
        arms: those that are measured, with the two that a fusing arm takes from.
        k: pages an arm gives.
        left_out: arm to what it lacks.
    """

    arms: tuple[Arm, ...]
    k: int
    left_out: Mapping[str, str]

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    def searching(self) -> tuple[Arm, ...]:
        return tuple(arm for arm in self.arms if arm.settings is not None)

    def answering_settings(self, arm: Arm) -> Settings:
        """The settings that an arm's pages are found again with, to be answered from."""
        own = arm if arm.fuses is None else self.arm(arm.fuses[0])
        assert own.settings is not None  # an arm that fuses takes from arms that search
        return own.settings


def planned(
    arms: Sequence[Arm],
    missing: Mapping[str, str],
    *,
    wanted: Iterable[str],
    k: int,
    skips_missing: bool = False,
) -> Plan:
    """The arms that were asked for, and what they take from.

    Args:
        arms: that can be measured, in the order they are told.
        missing: arm that cannot be measured, to how what it lacks is given.
        wanted: names of arms, or "all".
        k: pages an arm gives.
        skips_missing: with "all", leave out what is missing.

    Raises:
        InputError: no such arm; one that cannot be measured.
    """
    known = [*(arm.name for arm in arms), *missing]
    names = list(dict.fromkeys(wanted))
    is_all = ALL in names
    for name in names:
        if name not in known and name != ALL:
            raise InputError(
                f"there is no {name!r}", next_step=f"There are all, {', '.join(known)}."
            )
    by_name = [name for name in missing if name in names]
    if by_name or (is_all and missing and not skips_missing):
        name = next(iter(by_name or missing))
        skip = "" if by_name else " Or leave out what lacks its encoder: --skip-missing."
        raise InputError(f"{name} has no encoder", next_step=f"{missing[name]}{skip}")
    chosen = {arm.name for arm in arms if is_all or arm.name in names}
    for arm in arms:
        if arm.name in chosen and arm.fuses is not None:
            chosen |= set(arm.fuses)
    return Plan(
        tuple(arm for arm in arms if arm.name in chosen), k, dict(missing) if is_all else {}
    )


def with_encoder(base: Settings, override: Mapping[str, str]) -> Settings:
    """The settings with another encoder; of the one before only how it runs is kept.

    Raises:
        ConfigError: no such encoder.
    """
    kept = base.encoder.model_dump(include=set(_HOW_IT_RUNS), exclude_unset=True)
    plain = base.model_copy(update={"encoder": EncoderSettings(**kept)})
    return changed_settings(plain, {"encoder": dict(override)})


def require_words(settings: Settings) -> None:
    """Raises InputError where the encoder of the settings cannot be that of a text arm."""
    if settings.encoder.name not in _READS_WORDS:
        raise InputError(
            f"the encoder {settings.encoder.name} reads no words of a page, and text is searched "
            "with that of the settings",
            next_step="Leave it as it is by default, and give the other with --image-encoder.",
        )


def require_pictures(settings: Settings) -> None:
    """Raises InputError where the encoder of the settings cannot be that of an arm of pictures."""
    if settings.encoder.name == "words":
        raise InputError(
            "the encoder words looks at no picture of a page",
            next_step="Give colpali:FOLDER, dense:FOLDER, remote:MODEL or custom:MODULE:FUNCTION.",
        )


def require_one_vector(settings: Settings) -> None:
    """Raises InputError where the encoder of the settings always gives a page many vectors."""
    if settings.encoder.name == "colpali":
        raise InputError(
            "the encoder colpali makes many vectors of a page, and joint is told as one vector",
            next_step="Give dense:FOLDER, or the model with --image-encoder.",
        )


def with_captions(settings: Settings) -> Settings:
    """The settings with pages described at ingest.

    Raises:
        InputError: nobody is set who could describe them.
    """
    if settings.chat.model is None:
        raise InputError(
            "descriptions of pages are written by a chat model, and chat.model is not set",
            next_step="Name one that reads images: --set chat.model=NAME, with --set chat.url=URL "
            "for a server of your own.",
        )
    return changed_settings(settings, {"caption": {"mode": "on"}})
