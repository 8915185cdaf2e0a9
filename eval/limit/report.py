"""A stress of LIMIT for people: a table of arms and measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.limit.stress import LITERATURE, MEASURES


def stress_report(figures: Mapping[str, Any]) -> str:
    """Markdown, of what `Stress.as_dict` gives."""
    title = (
        f"{figures['set']}: {figures['n_documents']:,} documents, {figures['n_queries']:,} "
        f"questions, {figures['seconds']:.0f} s"
    )
    lines = [
        title,
        "",
        f"| {'arm':<13} | " + " | ".join(f"{name:>7}" for name in MEASURES) + " |",
        f"|{'-' * 15}|" + "|".join("-" * 8 + ":" for _ in MEASURES) + "|",
    ]
    for arm, values in figures["arms"].items():
        told = " | ".join(f"{values[name]:7.4f}" for name in MEASURES)
        lines.append(f"| {arm:<13} | {told} |")
    lines += ["", *(f"{arm}: {words}" for arm, words in figures["described"].items())]
    told = ", ".join(f"{name} {value:.3f}" for name, value in LITERATURE.items())
    lines += ["", f"Others tell of R@2 on LIMIT-small: {told} (secondary sources)."]
    return "\n".join([*lines, *figures["notes"]])
