"""Logs, traces, metrics and figures, as whoever runs Octavo meets them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import timeit
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from commands import OCTAVO, Commands
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from servers import Reply, Request, serving

from rag import Octavo, telemetry
from rag.apps.cli.app import run
from rag.secrets import without_secrets
from rag.settings import load_settings
from rag.testing import make_pdf

# Words that no file of ours and no message has.
ENVIRONMENT = {
    "QDRANT_API_KEY": "planted-qdrant-7351",
    "OPENAI_API_KEY": "planted-openai-9042",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-odd-team=planted-header-1188",
}
PASSWORD, IN_URL = "planted password 6620", "planted-in-url-4417"
SECRETS = (*(value.rpartition("=")[2] for value in ENVIRONMENT.values()), PASSWORD, IN_URL)
QUESTION = "zyxwvut questionword"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("observed")
    (folder / "a.pdf").write_bytes(make_pdf(["# Acme\nAcme revenue was 5 million.", ""]))
    (folder / "locked.pdf").write_bytes(make_pdf(["pageword"], password="another"))
    (folder / "password").write_text(PASSWORD)
    return folder


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# --- logs ---------------------------------------------------------------------------------------
def told_back(request: Request) -> Reply:
    """As servers do that refuse a key: with the key in what they say."""
    said = request.headers.get("Authorization", "")
    return Reply({"error": {"message": f"Incorrect API key provided: {said}"}}, status=401)


def commands(folder: Path, echo: str) -> Iterator[list[str]]:
    away = f"http://somebody:{IN_URL}@127.0.0.1:{free_port()}"
    at_server = ("--qdrant-url", away, "--data-dir", str(folder / "elsewhere"))
    yield ["search", QUESTION, *at_server]
    yield ["doctor", "--qdrant-url", away]
    yield ["ingest", str(folder / "a.pdf"), "--data-dir", str(folder / "data")]
    chat = ("--set", f"chat.url={echo}/v1", "--set", "chat.model=m", "--set", "answer.model=chat")
    yield ["ask", f"{QUESTION} revenue", *chat, "--data-dir", str(folder / "data")]
    locked = ("--password-file", str(folder / "password"), "--data-dir", str(folder / "data"))
    yield ["ingest", str(folder / "locked.pdf"), *locked]
    yield ["ingest", str(folder / "a.pdf"), "--set", f"encoder.url={away}", "--encoder", "remote:m"]


@pytest.mark.parametrize("form", ["json", pytest.param("text", marks=pytest.mark.nightly)])
def test_no_command_says_a_secret_at_any_level(folder, tmp_path, form):
    log = tmp_path / "octavo.log"
    flags = ("--set", "log.level=debug", "--set", f"log.format={form}", "--set", f"log.file={log}")
    environment = {**os.environ, **ENVIRONMENT, "OCTAVO_TRACEBACK": "1"}
    environment["OCTAVO_STORE__QDRANT_WAIT_S"] = environment["OCTAVO_ENCODER__RETRY_S"] = "0"
    said = ""
    with serving(told_back) as served:
        for command in commands(folder, served.url):
            as_json = ["--json"] if form == "json" else []
            ended = subprocess.run(
                [OCTAVO, *command, *flags, *as_json],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
            assert ended.stdout + ended.stderr
            said += ended.stdout + ended.stderr
        assert served.requests
        sent = {request.headers.get("Authorization") for request in served.requests}
        assert f"Bearer {ENVIRONMENT['OPENAI_API_KEY']}" in sent
    said += log.read_text()
    assert len(log.read_text().splitlines()) > 5
    assert [secret for secret in SECRETS if secret in said] == []
    assert "***" in said
    assert oct(log.stat().st_mode & 0o777) == "0o600"
    if form == "json":
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert {"time", "level", "logger", "message", "process"} <= lines[0].keys()
        assert "ask" in {line.get("command") for line in lines}
        above = [line for line in lines if line["level"] != "debug"]
        assert not [line for line in above if "zyxwvut" in json.dumps(line)]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("GET http://me:hunter22@host/x", "hunter22"),
        ("Authorization: Bearer abcDEF123456", "abcDEF123456"),
        ("{'api-key': 'qq11ww22'}", "qq11ww22"),
        ("x-odd-team: zz99yy88", "zz99yy88"),
        ("?token=tt55rr66&x=1", "tt55rr66"),
    ],
)
def test_a_secret_that_nobody_knew_is_given_away_by_its_form(text, hidden):
    assert hidden not in without_secrets(text)


def test_words_about_secrets_are_left_as_they_are():
    text = "the password is wrong; set QDRANT_API_KEY, or a token: see docs"
    assert without_secrets(text) == text


def test_a_log_file_that_cannot_be_written_is_refused(folder):
    ended = subprocess.run(
        [OCTAVO, "status", "--data-dir", folder / "data", "--set", f"log.file={folder}", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(ended.stderr)["error"]["code"] == "bad_log_file"


# --- traces and metrics -------------------------------------------------------------------------
class Collector(HTTPServer):
    """Takes traces as a collector of OpenTelemetry does."""

    def __init__(self) -> None:
        collector = self
        self.spans: list[object] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = ExportTraceServiceRequest()
                sent.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in sent.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_ingest_and_a_search_are_traced_and_counted(folder, collector, monkeypatch):
    monkeypatch.setenv(
        "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_address[1]}"
    )
    port = free_port()
    overrides = {
        "store": {"data_dir": folder / "traced"},
        "retrieval": {"device": "cpu"},
        "observe": {"traces": True, "metrics_port": port},
    }
    with Octavo(settings=load_settings(overrides=overrides, environ={})) as octavo:
        octavo.ingest(folder / "a.pdf")
        octavo.ask(QUESTION + " revenue of Acme")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answered:
            told = answered.read().decode()
    for line in (
        'octavo_documents_ingested_total{state="indexed"} 1.0',
        'octavo_pages_ingested_total{outcome="indexed"} 1.0',
        'octavo_pages_ingested_total{outcome="blank"} 1.0',
        'octavo_searches_total{outcome="found"}',
        "octavo_answers_total{outcome=",
        'octavo_stage_seconds_count{stage="fusion"}',
        'octavo_documents{collection="default",state="indexed"} 1.0',
        "octavo_disk_free_bytes",
        "octavo_manifest_wal_bytes",
    ):
        assert line in told
    spans = {span.span_id: span for span in collector.spans}
    parents = {
        (span.name, spans[span.parent_span_id].name)
        for span in spans.values()
        if span.parent_span_id in spans
    }
    assert {
        ("document", "ingest"),
        ("read", "document"),
        ("encode", "document"),
        ("write", "document"),
        ("store", "write"),
        ("search", "ask"),
        ("stage fusion", "search"),
        ("stage answer", "ask"),
    } <= parents
    everything = told + str(collector.spans)
    assert "zyxwvut" not in everything
    assert "revenue" not in everything


def test_a_collector_that_is_away_keeps_a_command_for_seconds_at_most(folder, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    octavo = Commands(folder / "data", "--set", "observe.traces=true")
    seconds = timeit.timeit(lambda: octavo("status"), number=1)
    assert seconds < 25


def test_a_span_that_nobody_looks_at_costs_less_than_two_microseconds():
    def spanned() -> None:
        with telemetry.span("store", method="count"):
            pass

    n = 20_000
    assert min(timeit.repeat(spanned, number=n, repeat=7)) / n < 2e-6
    counted = timeit.repeat(lambda: telemetry.count(telemetry.JOBS, state="x"), number=n, repeat=7)
    assert min(counted) / n < 2e-6


def test_a_port_that_is_taken_is_said(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        octavo = Commands(folder / "data", "--set", f"observe.metrics_port={port}")
        assert octavo.refused("status")["code"] == "metrics_port_taken"


@pytest.mark.parametrize("module", ["prometheus_client", "opentelemetry.sdk.trace"])
def test_a_missing_extra_is_told_with_the_command_that_installs_it(folder, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    wanted = "observe.traces=true" if "trace" in module else f"observe.metrics_port={free_port()}"
    error = Commands(folder / "data", "--set", wanted).refused("status")
    assert error["code"] == "no_observe_extra"
    assert "pip install 'octavo[observe]'" in error["next_step"]


# --- figures ------------------------------------------------------------------------------------
def test_status_tells_of_documents_disk_queue_and_how_the_folder_was_left(folder, capsys):
    octavo = Commands(folder / "figures")
    octavo("ingest", str(folder / "a.pdf"))
    assert octavo("verify")["ok"]
    found = octavo("status")
    assert found["documents"] == {"indexed": 1}
    assert found["pages"] == {"indexed": 1, "blank": 1}
    assert found["queue"] == {"done": 1}
    assert found["bytes"]["sources"] > 0
    assert found["bytes"]["vectors"] > 0
    assert found["disk"]["free_bytes"] > 0
    assert found["last_close"]["clean"]
    assert (found["last_verify"]["ok"], found["last_verify"]["damaged"]) == (True, 0)
    assert found["index"]["kind"] == "process"
    data = ("--data-dir", str(folder / "figures"))
    assert run(["status", *data]) == 0
    read = capsys.readouterr().out
    assert "documents: 1 indexed; pages: 1 indexed, 1 blank" in read
    assert "closed: cleanly" in read
    assert run(["status", "--metrics", *data]) == 0
    read = capsys.readouterr().out
    assert 'octavo_jobs{state="done"} 1.0' in read
    assert "octavo_searches" not in read  # nobody counts in a process that is about to end


def test_a_folder_that_was_killed_says_that_it_was_not_closed(folder, tmp_path):
    octavo = Commands(tmp_path / "data")
    octavo("ingest", str(folder / "a.pdf"))
    killed = subprocess.run(
        [OCTAVO, "ingest", folder / "a.pdf", "--force", "--data-dir", tmp_path / "data"],
        env={**os.environ, "OCTAVO_FAILPOINT": "upserted"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode < 0
    assert octavo("status")["last_close"]["clean"] is False
