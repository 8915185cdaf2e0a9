"""What a run is held to: so many times faster than a peer, so near to the machine's limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eval.bench import cascade
from eval.bench.contender import Outcome, Row
from eval.bench.oversubscribed import Slowdown


@dataclass(frozen=True)
class Verdict:
    """`found` is to be at least `wanted`; at most, where the sentence says so.

    Attributes:
        met: None where the measurement allows no verdict.
    """

    sentence: str
    wanted: float
    found: float
    met: bool | None


_FASTER = {  # ours -> peer -> at least so many times
    "octavo int8": {
        "colpali-engine fp32": 40.0,
        "qdrant-edge fp32": 10.0,
        "maxsim-cpu fp32": 10.0,
    },
    "octavo fp32": {
        "colpali-engine fp32": 15.0,
        "qdrant-edge fp32": 4.0,
        "maxsim-cpu fp32": 5.0,
    },
}
_OF_LIMIT = {"octavo int8": 0.70, "octavo fp32": 0.75, "octavo bf16": 0.75}


def verdicts(outcome: Outcome) -> list[Verdict]:
    """Of the goals whose contenders were measured."""
    rows = {row.name: row for row in outcome.rows}
    if outcome.section.startswith("maxsim"):
        found = [
            verdict
            for own, peers in _FASTER.items()
            for peer, wanted in peers.items()
            for verdict in _faster(rows, own, peer, wanted)
        ]
        disturbed = peaks_were_disturbed(outcome)
        for name, wanted in _OF_LIMIT.items():
            share = of_limit(outcome, rows[name]) if name in rows else None
            if share is not None:
                verdict = _at_least(f"{name}: share of the machine's limit", wanted, share[0])
                found.append(replace(verdict, met=None) if disturbed else verdict)
        return found
    if outcome.section == "fde":
        return _faster(rows, "octavo", "fastembed Muvera", 100.0)
    if outcome.section == "cascade" and cascade.OURS in rows:
        row = rows[cascade.OURS]
        found = [_at_most(f"{cascade.OURS}: median in ms", 6.0, row.median_s * 1e3)]
        found += _faster(rows, cascade.OURS, cascade.PEER, 5.0)
        for kind, wanted in (("easy", 0.99), ("hard", 0.95)):
            found_share = row.gate.figures[f"recall_{kind}"]
            found.append(
                _at_least(
                    f"{cascade.OURS}: of the exact top 10, {kind} queries", wanted, found_share
                )
            )
        return found
    if outcome.section == "cold_start" and "octavo search --help" in rows:
        row = rows["octavo search --help"]
        return [_at_most("octavo search --help: median in s", 0.3, row.median_s)]
    return []


def slowdown_verdicts(slowdowns: Sequence[Slowdown]) -> list[Verdict]:
    return [
        _at_most(f"{each.name}: slowdown over the plain loop's", 1.25, max(each.against_loop))
        for each in slowdowns[1:]
    ]


def of_limit(outcome: Outcome, row: Row) -> tuple[float, str] | None:
    """The least time the machine allows over the time taken, and what bounds it."""
    least = outcome.machine.least_s(row.cost) if row.cost is not None else None
    return None if least is None else (least[0] / row.min_s, least[1])


def peaks_were_disturbed(outcome: Outcome) -> bool:
    """Whether somebody did more than the measured peak allows.

    Then the probes had less of the machine than the contenders, and no share of that run counts,
    those below 1 neither.
    """
    shares = [of_limit(outcome, row) for row in outcome.rows]
    return any(share is not None and share[0] > 1 for share in shares)


def _faster(rows: dict[str, Row], own: str, peer: str, wanted: float) -> list[Verdict]:
    """By minima and by medians, both."""
    if own not in rows or peer not in rows:
        return []
    ratio = min(rows[peer].min_s / rows[own].min_s, rows[peer].median_s / rows[own].median_s)
    return [_at_least(f"{own}: times as fast as {peer}", wanted, ratio)]


def _at_least(sentence: str, wanted: float, found: float) -> Verdict:
    return Verdict(f"{sentence}, at least", wanted, found, found >= wanted)


def _at_most(sentence: str, wanted: float, found: float) -> Verdict:
    return Verdict(f"{sentence}, at most", wanted, found, found <= wanted)
