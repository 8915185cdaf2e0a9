"""Spans and metrics of what is done; both cost next to nothing until somebody wants them.

`rag.observing` switches them on. Names and numbers are told, and never words of questions, answers
or pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Attribute = str | int | float | bool


@dataclass(frozen=True)
class Metric:
    """What is counted, or observed for a histogram in seconds."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    kind: Literal["counter", "seconds"] = "counter"


SEARCHES = Metric("searches", "Searches by how they ended.", ("outcome",))
ANSWERS = Metric("answers", "Questions by how they ended.", ("outcome",))
STAGE_SECONDS = Metric(
    "stage_seconds", "Time of each stage of searches and answers.", ("stage",), "seconds"
)
DOCUMENTS = Metric("documents_ingested", "Documents that ingests ended, by state.", ("state",))
PAGES = Metric("pages_ingested", "Pages that ingests ended, by outcome.", ("outcome",))
BATCH_SECONDS = Metric(
    "batch_seconds", "Time of each stage of an ingest for a batch.", ("stage",), "seconds"
)
READER_DEATHS = Metric("reader_deaths", "Reading processes that a page ended.")
QUARANTINED = Metric("quarantined_files", "Files refused because they end reading processes.")
STORE_DEATHS = Metric("store_deaths", "Processes of the page index that ended by themselves.")
STORE_WAIT = Metric("store_wait_seconds", "Time that writes waited for a store that was away.")
JOBS = Metric("jobs_ended", "Jobs of the queue by the state they ended in.", ("state",))
METRICS = (
    SEARCHES,
    ANSWERS,
    STAGE_SECONDS,
    DOCUMENTS,
    PAGES,
    BATCH_SECONDS,
    READER_DEATHS,
    QUARANTINED,
    STORE_DEATHS,
    STORE_WAIT,
    JOBS,
)


class Span(Protocol):
    """A piece of work under way; a context manager that ends with it."""

    def __enter__(self) -> Span: ...

    def __exit__(self, kind: Any, error: Any, where: Any, /) -> None: ...

    def tell(self, **attributes: Attribute) -> None: ...


class LongSpan(Protocol):
    """Work that goes on in several threads, until `end`; others are part of it meanwhile."""

    def as_parent(self) -> AbstractContextManager[object]: ...

    def end(self) -> None: ...


class Tracer(Protocol):
    def span(self, name: str, attributes: dict[str, Attribute]) -> Span: ...

    def begun(self, name: str, attributes: dict[str, Attribute]) -> LongSpan: ...


class Meter(Protocol):
    """Thread-safe."""

    def count(self, metric: Metric, amount: float, labels: dict[str, str]) -> None: ...

    def observe(self, metric: Metric, seconds: float, labels: dict[str, str]) -> None: ...


class _Nothing:
    """The span of nobody who looks."""

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def tell(self, **_: Attribute) -> None:
        return

    def as_parent(self) -> _Nothing:
        return self

    def end(self) -> None:
        return


_NOTHING = _Nothing()
_tracer: Tracer | None = None
_meter: Meter | None = None


def switch(*, tracer: Tracer | None, meter: Meter | None) -> None:
    """To whom everything is told from now on; None is nobody."""
    global _tracer, _meter
    _tracer, _meter = tracer, meter


def span(name: str, **attributes: Attribute) -> Span:
    """Enter it for as long as the work lasts; an error that leaves it is told by its class."""
    return _NOTHING if _tracer is None else _tracer.span(name, attributes)


def begun(name: str, **attributes: Attribute) -> LongSpan:
    """A span that outlives the thread it begins in; it is told when it ends."""
    return _NOTHING if _tracer is None else _tracer.begun(name, attributes)


def count(metric: Metric, amount: float = 1, **labels: str) -> None:
    if _meter is not None:
        _meter.count(metric, amount, labels)


def observe(metric: Metric, seconds: float, **labels: str) -> None:
    if _meter is not None:
        _meter.observe(metric, seconds, labels)


class Outcome:
    """How something ended; `failed` until somebody says otherwise."""

    said = "failed"


@contextmanager
def _counted(metric: Metric) -> Iterator[Outcome]:
    outcome = Outcome()
    try:
        yield outcome
    finally:
        count(metric, outcome=outcome.said)


def counted(metric: Metric) -> AbstractContextManager[Outcome]:
    """Counts one by the outcome that the block says, also where it raises."""
    return _counted(metric)
