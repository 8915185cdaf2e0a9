"""What the server's side of the page index says when there is no server, or not the right one."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from rag.errors import IndexMismatch, IndexUnavailable
from rag.index.qdrant import QdrantIndex
from rag.ports import IndexSpec
from rag.types import PageField, PageRecord

SPEC = IndexSpec(dim=8, dense_dim=6, fde_size=64)
OK = {"status": "ok", "time": 0.0}


class Server:
    """Answers as a Qdrant server with one collection does, and keeps what it was asked.

    It holds no records: what it can show is which requests the index sends.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.status = 200
        self.collection: dict[str, Any] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                path = self.path.split("?")[0]
                outer.requests.append((self.command, path, body))
                if self.command == "PUT" and path == "/collections/pages":
                    outer.collection = body
                reply = json.dumps(OK | {"result": outer.result(self.command, path)}).encode()
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 (http.server's names)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def result(self, method: str, path: str) -> Any:
        if method == "PUT" and path == "/collections/pages":
            return True
        if path.endswith("/exists"):
            return {"exists": self.collection is not None}
        if path == "/collections/pages" and self.collection is not None:
            config = {
                "params": {
                    "vectors": self.collection.get("vectors"),
                    "sparse_vectors": self.collection.get("sparse_vectors"),
                },
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
                "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
            }
            return {
                "status": "green",
                "optimizer_status": "ok",
                "segments_count": 1,
                "config": config,
                "payload_schema": {},
            }
        if path.endswith("/query/batch"):
            return [{"points": []}]
        return {"operation_id": 0, "status": "completed"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def open_index(url: str, spec: IndexSpec = SPEC, *, timeout_s: int = 20) -> QdrantIndex:
    return QdrantIndex.open(url, collection="pages", spec=spec, timeout_s=timeout_s)


def test_no_server_at_the_address_is_unavailable_with_a_next_step():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(IndexUnavailable, match="no usable answer") as raised:
            open_index(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert "QDRANT_URL" in raised.value.next_step


def test_a_server_that_never_answers_is_unavailable_after_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(IndexUnavailable, match="no usable answer"):
            open_index(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=1)


@pytest.mark.parametrize("url", ["http://", "http://host:port", "nonsense://x"])
def test_what_is_no_address_is_unavailable(url):
    with pytest.raises(IndexUnavailable) as raised:
        open_index(url)
    assert "QDRANT_URL" in raised.value.message + raised.value.next_step


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_said_so(server, status):
    server.status = status
    with pytest.raises(IndexUnavailable, match=str(status)) as raised:
        open_index(server.url)
    assert "QDRANT_API_KEY" in raised.value.next_step


@pytest.mark.parametrize(
    "call",
    [
        lambda index: index.upsert([PageRecord("0" * 8 + "-0000-0000-0000-" + "0" * 12, {}, {})]),
        lambda index: index.search(PageField.FDE, np.ones(64, np.float32), limit=1),
        lambda index: index.vectors([], PageField.FDE),
        lambda index: index.payloads([]),
        lambda index: index.ids(),
        lambda index: index.count(),
    ],
    ids=["upsert", "search", "vectors", "payloads", "ids", "count"],
)
def test_a_server_that_fails_later_is_unavailable_in_every_call(server, call):
    index = open_index(server.url)
    server.status = 503
    with pytest.raises(IndexUnavailable, match="503"):
        call(index)
    index.close()


def test_a_new_collection_has_every_field_bits_of_the_fde_and_no_graph(server):
    open_index(server.url).close()
    assert server.collection is not None
    vectors = server.collection["vectors"]
    assert {name: vector["size"] for name, vector in vectors.items()} == {
        "patches": 8,
        "headings": 8,
        "dense": 6,
        "captions": 6,
        "fde": 64,
    }
    for name, vector in vectors.items():
        assert vector["distance"] == "Dot"
        assert vector["hnsw_config"]["m"] == 0
        multi_vector = vector.get("multivector_config")
        assert multi_vector == (None if name == "fde" else {"comparator": "max_sim"})
    bits = vectors["fde"]["quantization_config"]["binary"]
    assert bits["query_encoding"] == "scalar8bits"
    assert {sparse["modifier"] for sparse in server.collection["sparse_vectors"].values()} == {
        "idf"
    }
    indexed = {body["field_name"] for _, path, body in server.requests if path.endswith("/index")}
    assert indexed == {"document_id", "version_id", "readers", "page_number"}


def test_the_fde_is_searched_without_rescoring(server):
    index = open_index(server.url)
    index.search(PageField.FDE, np.ones(64, np.float32), limit=1)
    _, path, body = server.requests[-1]
    assert path.endswith("/query/batch")
    assert body["searches"][0]["params"]["quantization"]["rescore"] is False
    index.close()


def test_a_large_batch_is_sent_in_bodies_a_server_takes(server):
    index = open_index(server.url)
    server.requests.clear()
    rows = np.ones((40_000, 8), np.float32)
    records = [
        PageRecord(f"00000000-0000-0000-0000-{i:012}", {PageField.PATCHES: rows}, {})
        for i in range(7)
    ]
    index.upsert(records)
    sent = [body["points"] for _, _, body in server.requests]
    assert [len(points) for points in sent] == [3, 3, 1]
    assert [point["id"] for points in sent for point in points] == [r.record_id for r in records]
    index.close()


@pytest.mark.parametrize(
    "spec", [IndexSpec(9, 6, 64), IndexSpec(8, 7, 64), IndexSpec(8, 6, 128), IndexSpec(8, 0, 64)]
)
def test_a_collection_of_another_shape_is_a_mismatch_and_nothing_is_written(server, spec):
    open_index(server.url).close()
    server.requests.clear()
    with pytest.raises(IndexMismatch, match="'pages'") as raised:
        open_index(server.url, spec)
    assert raised.value.next_step
    assert {method for method, _, _ in server.requests} == {"GET"}


def test_a_collection_of_somebody_else_is_a_mismatch(server):
    server.collection = {"vectors": {"size": 8, "distance": "Cosine"}}
    with pytest.raises(IndexMismatch, match="nothing of ours"):
        open_index(server.url)
