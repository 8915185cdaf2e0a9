"""Traces and metrics switched on: the one place that knows OpenTelemetry and Prometheus."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rag import telemetry
from rag.errors import BackendError, ConfigError, RagError
from rag.settings import ObserveSettings
from rag.telemetry import METRICS, Attribute, Metric

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer as OtelTracer
    from prometheus_client import CollectorRegistry

_log = logging.getLogger(__name__)

# Of stages and batches: from what a search spends on a leg to what a page of a slow model takes.
_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_FLUSH_S = 5.0  # for the last spans; a collector that is away must not keep a command


@dataclass(frozen=True)
class Gauge:
    """A figure as it is now."""

    name: str
    text: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


Gauges = Callable[[], Iterable[Gauge]]


def _missing(module: str) -> ConfigError:
    return ConfigError(
        f"traces and metrics are not installed: there is no {module}",
        code="no_observe_extra",
        next_step="Install them with pip install 'octavo[observe]'.",
    )


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module) from error


# --- metrics ------------------------------------------------------------------------------------
class Metrics:
    """A registry of its own, that any server can mount; see telemetry.Meter.

    Args:
        gauges: asked at every look; what it raises leaves the gauges out of that look.
        counts: whether there is something to count; without it there are gauges alone.

    Raises:
        ConfigError: `no_observe_extra`.
    """

    def __init__(self, gauges: Gauges, *, counts: bool = True) -> None:
        client = _imported("prometheus_client")
        self._client = client
        self.registry: CollectorRegistry = client.CollectorRegistry(auto_describe=False)
        self._held: dict[str, Any] = {
            metric.name: self._made(client, metric) for metric in (METRICS if counts else ())
        }
        self.registry.register(_Gauges(_imported("prometheus_client.core"), gauges))

    def count(self, metric: Metric, amount: float, labels: dict[str, str]) -> None:
        self._of(metric, labels).inc(amount)

    def observe(self, metric: Metric, seconds: float, labels: dict[str, str]) -> None:
        self._of(metric, labels).observe(seconds)

    def text(self) -> str:
        """In the text format of Prometheus."""
        written: bytes = self._client.generate_latest(self.registry)
        return written.decode()

    def _of(self, metric: Metric, labels: dict[str, str]) -> Any:
        held = self._held[metric.name]
        return held.labels(**labels) if metric.labels else held

    def _made(self, client: Any, metric: Metric) -> Any:
        name, labels = f"octavo_{metric.name}", metric.labels
        if metric.kind == "counter":
            return client.Counter(name, metric.text, labels, registry=self.registry)
        return client.Histogram(
            name, metric.text, labels, registry=self.registry, buckets=_BUCKETS_S
        )


class _Gauges:
    """Collector of what is asked for at every look."""

    def __init__(self, core: Any, gauges: Gauges) -> None:
        self._core, self._gauges = core, gauges

    def collect(self) -> Iterator[Any]:
        try:
            found = list(self._gauges())
        except (RagError, OSError):
            _log.warning("the figures of the data folder could not be read now", exc_info=True)
            return
        families: dict[str, Any] = {}
        for each in found:
            family = families.get(each.name)
            if family is None:
                family = families[each.name] = self._core.GaugeMetricFamily(
                    f"octavo_{each.name}", each.text, labels=list(each.labels)
                )
            family.add_metric(list(each.labels.values()), each.value)
        yield from families.values()


@contextmanager
def _served(metrics: Metrics, host: str, port: int) -> Iterator[None]:
    try:
        server, thread = metrics._client.start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise BackendError(
            f"metrics cannot be served on {host}:{port}: {error.strerror}",
            code="metrics_port_taken",
            next_step="Choose another observe.metrics_port, or end what uses this one.",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- traces -------------------------------------------------------------------------------------
class Traces:
    """Spans of OpenTelemetry; see telemetry.Tracer."""

    def __init__(self, tracer: OtelTracer) -> None:
        self._tracer = tracer

    def span(self, name: str, attributes: dict[str, Attribute]) -> _Span:
        return _Span(self._tracer, name, _named(attributes))

    def begun(self, name: str, attributes: dict[str, Attribute]) -> _LongSpan:
        return _LongSpan(self._tracer.start_span(name, attributes=_named(attributes)))


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {f"octavo.{key}": value for key, value in attributes.items()}


class _LongSpan:
    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @contextmanager
    def as_parent(self) -> Iterator[None]:
        from opentelemetry import context, trace

        token = context.attach(trace.set_span_in_context(self._span))
        try:
            yield
        finally:
            context.detach(token)

    def end(self) -> None:
        self._span.end()


class _Span:
    def __init__(self, tracer: OtelTracer, name: str, attributes: dict[str, Attribute]) -> None:
        self._tracer, self._name, self._attributes = tracer, name, attributes
        self._span: OtelSpan | None = None
        self._token: Any = None

    def __enter__(self) -> _Span:
        from opentelemetry import context, trace

        self._span = self._tracer.start_span(self._name, attributes=self._attributes)
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(self, kind: Any, error: Any, where: Any, /) -> None:
        from opentelemetry import context
        from opentelemetry.trace import StatusCode

        assert self._span is not None  # entered
        if kind is not None:
            # The class and code alone: a message may quote what was asked.
            self._span.set_attribute("error.type", kind.__name__)
            if isinstance(error, RagError):
                self._span.set_attribute("octavo.error_code", error.code)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        context.detach(self._token)

    def tell(self, **attributes: Attribute) -> None:
        assert self._span is not None  # entered
        self._span.set_attributes(_named(attributes))


@contextmanager
def _exported() -> Iterator[Traces]:
    """With the provider of this process where it has one, else to the collector of OTEL_."""
    trace = _imported("opentelemetry.trace")
    sdk = _imported("opentelemetry.sdk.trace")
    held = trace.get_tracer_provider()
    if isinstance(held, sdk.TracerProvider):
        yield Traces(held.get_tracer("octavo"))
        return
    exporter = _imported("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    batches = _imported("opentelemetry.sdk.trace.export")
    resources = _imported("opentelemetry.sdk.resources")
    resource = resources.Resource.create({"service.name": _service_name()})
    provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(batches.BatchSpanProcessor(exporter.OTLPSpanExporter()))
    try:
        yield Traces(provider.get_tracer("octavo"))
    finally:
        # In a thread: a collector that is away is tried again for longer than a command waits.
        ending = threading.Thread(target=_end, args=(provider,), daemon=True)
        ending.start()
        ending.join(_FLUSH_S)


def _service_name() -> str:
    return os.environ.get("OTEL_SERVICE_NAME") or "octavo"


def _end(provider: Any) -> None:
    with contextlib.suppress(Exception):  # spans that cannot be sent end nothing
        provider.shutdown()


# --- both ---------------------------------------------------------------------------------------
_lock = threading.Lock()
_in_use: Metrics | None = None


def metrics_in_use() -> Metrics | None:
    """What this process counts in, where it does; for a server to mount."""
    return _in_use


@contextmanager
def observing(chosen: ObserveSettings, gauges: Gauges) -> Iterator[None]:
    """Traces and metrics as the settings say, for as long as the block runs.

    A second block in the same process leaves what the first one switched on as it is.

    Raises:
        ConfigError: `no_observe_extra`.
        BackendError: `metrics_port_taken`.
    """
    global _in_use
    is_wanted = chosen.traces or chosen.metrics_port is not None
    if not is_wanted or not _lock.acquire(blocking=False):
        yield
        return
    with ExitStack() as opened:
        opened.callback(_lock.release)
        tracer = opened.enter_context(_exported()) if chosen.traces else None
        metrics = None
        if chosen.metrics_port is not None:
            metrics = Metrics(gauges)
            opened.enter_context(_served(metrics, chosen.metrics_host, chosen.metrics_port))
        _in_use = metrics
        telemetry.switch(tracer=tracer, meter=metrics)
        try:
            yield
        finally:
            telemetry.switch(tracer=None, meter=None)
            _in_use = None
