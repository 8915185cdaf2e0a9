"""Settings of what a process says of its work: logs, traces and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from rag.settings.section import Section


class LogSettings(Section):
    """Logs never hold secrets, and questions, answers and page words at `debug` at most."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="Records below it are dropped."
    )
    format: Literal["text", "json"] = Field(
        "text", description="Lines for people, or a JSON object a line."
    )
    file: Path | None = Field(None, description="File they are added to; None is stderr.")


class ObserveSettings(Section):
    """Traces and metrics; both want octavo[observe] (docs/adr/0053-observability.md)."""

    traces: bool = Field(
        False, description="Send OpenTelemetry traces to where the OTEL_ variables say."
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port of /metrics, served by the process that owns the data folder; None is "
        "no port.",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address that /metrics is served on; nobody is asked who they are."
    )
