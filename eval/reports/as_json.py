"""A report as JSON: all it shows, but the bytes of pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from eval.reports.model import Report

_VERSION = 1


def as_json(report: Report) -> str:
    """One object; halves of characters stay as they were written, escaped."""
    told = {"report_version": _VERSION, **asdict(report)}
    for run in told["runs"]:
        if run["latency"] is not None:
            del run["latency"]["values_ms"]  # in per_query.jsonl, one a question
    return json.dumps(_without_pictures(told), indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _without_pictures(value: Any) -> Any:
    """Pages as {"doc", "page_number"}; what would be drawn is left out."""
    if isinstance(value, dict):
        drawn = ("pages", "heat", "picture")
        return {key: _without_pictures(each) for key, each in value.items() if key not in drawn}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, list | tuple):
        return [_without_pictures(each) for each in value]
    return value
