"""A Qdrant server over a real socket, and a proxy before it that does what networks do.

The records are kept by the store inside qdrant-client, requests are read with the models that the
server's OpenAPI description is published as, and the client reads the answers with them. It keeps
its records when it is stopped and started again. What it is not: fast, quantised, or limited in
the size of a body; tests of those want the real one.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

_POINTS = TypeAdapter(models.PointInsertOperations)
_CHOSEN = TypeAdapter(models.PointsSelector)
_DONE = {"operation_id": 0, "status": "completed"}


class NoCollection(Exception):
    """404 of the server."""


class QdrantServer:
    """The endpoints that Octavo calls, on a free port that stays the same.

    Attributes:
        store: what is kept.
        seen: how often each request came, as in "PUT points".
    """

    def __init__(self, *, key: str | None = None) -> None:
        self.store = QdrantClient(":memory:")
        self.seen: Counter[str] = Counter()
        self.port = 0
        self._key = key
        self._created: dict[str, dict[str, Any]] = {}
        self._indexed: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()  # the store is not made for threads
        self._http: _Http | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._http = _Http(("127.0.0.1", self.port), _handler(self))
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """As a process that ends: connections break, records stay."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()
            self._http = None

    def n_records(self) -> int:
        """Of all collections."""
        with self._lock:
            return sum(self.store.count(name).count for name in self._created)

    def created(self) -> tuple[str, Any] | None:
        """Name and parameters of the collection, where there is one."""
        return next(iter(self._created.items()), None)

    @contextmanager
    def without_disk(self) -> Iterator[None]:
        """Within the block it has no collection, as a server that came back without its disk."""
        kept = self.store, self._created, self._indexed
        with self._lock:
            self.store, self._created, self._indexed = QdrantClient(":memory:"), {}, {}
        yield
        with self._lock:
            self.store, self._created, self._indexed = kept

    # --- answers --------------------------------------------------------------------------------
    def answer(self, method: str, path: str, body: Any, key: str | None) -> tuple[int, Any]:
        """Status and JSON."""
        if self._key is not None and key != self._key:
            return 401, "Must provide an API key or an Authorization bearer token"
        if (method, path) == ("GET", "/"):
            return 200, {"title": "qdrant - vector search engine", "version": "1.19.0"}
        found = re.fullmatch(r"/collections/([^/]+)(?:/(.+))?", path)
        if found is None:
            return 404, _error("Not found")
        name, rest = found[1], found[2] or ""
        self.seen[f"{method} {rest}".strip()] += 1
        with self._lock:
            try:
                return 200, {
                    "result": _as_json(self._result(method, name, rest, body)),
                    "status": "ok",
                    "time": 0.001,
                }
            except NoCollection:
                return 404, _error(f"Not found: Collection `{name}` doesn't exist!")
            except FileExistsError:
                return 409, _error(f"Wrong input: Collection `{name}` already exists!")

    def _result(self, method: str, name: str, rest: str, body: Any) -> Any:
        match (method, rest):
            case ("GET", "exists"):
                return {"exists": name in self._created}
            case ("PUT", ""):
                return self._create(name, body)
            case ("DELETE", ""):
                self._indexed.pop(name, None)
                return self._created.pop(name, None) is not None and self.store.delete_collection(
                    name
                )
        if name not in self._created:
            raise NoCollection
        match (method, rest):
            case ("GET", ""):
                return self._info(name)
            case ("PUT", "index"):
                asked = models.CreateFieldIndex.model_validate(body)
                self._indexed[name][asked.field_name] = str(body["field_schema"])
                return _DONE
            case ("PUT", "points"):
                points = _POINTS.validate_python(body)
                assert isinstance(points, models.PointsList)
                self.store.upsert(name, points.points)
                return _DONE
            case ("POST", "points"):
                wanted = models.PointRequest.model_validate(body)
                return self.store.retrieve(
                    name,
                    wanted.ids,
                    with_payload=True if wanted.with_payload is None else wanted.with_payload,
                    with_vectors=wanted.with_vector or False,
                )
            case ("POST", "points/query/batch"):
                asked_all = models.QueryRequestBatch.model_validate(body)
                found = self.store.query_batch_points(name, asked_all.searches)
                return [{"points": each.points} for each in found]
            case ("POST", "points/scroll"):
                scroll = models.ScrollRequest.model_validate(body)
                records, following = self.store.scroll(
                    name,
                    scroll.filter,
                    limit=scroll.limit or 10,
                    offset=scroll.offset,
                    with_payload=bool(scroll.with_payload),
                )
                return {"points": records, "next_page_offset": following}
            case ("POST", "points/count"):
                counted = models.CountRequest.model_validate(body)
                return {"count": self.store.count(name, counted.filter).count}
            case ("POST", "points/delete"):
                self.store.delete(name, _CHOSEN.validate_python(body))
                return _DONE
            case ("POST", "points/payload"):
                change = models.SetPayload.model_validate(body)
                chosen = change.points or models.FilterSelector(filter=change.filter)
                self.store.set_payload(name, change.payload, points=chosen)
                return _DONE
        raise AssertionError(f"{method} {rest} is not answered here")

    def _create(self, name: str, body: Any) -> bool:
        if name in self._created:
            raise FileExistsError
        asked = models.CreateCollection.model_validate(body)
        self.store.create_collection(
            name,
            vectors_config=asked.vectors,
            sparse_vectors_config=asked.sparse_vectors,
        )
        self._created[name], self._indexed[name] = body, {}
        return True

    def _info(self, name: str) -> Any:
        """As recorded of Qdrant 1.19, with this collection's own parameters in it."""
        asked = self._created[name]
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": 0,
            "points_count": self.store.count(name).count,
            "segments_count": 2,
            "config": {
                "params": {
                    "vectors": asked["vectors"],
                    "shard_number": 1,
                    "replication_factor": 1,
                    "write_consistency_factor": 1,
                    "on_disk_payload": True,
                    "sparse_vectors": asked["sparse_vectors"],
                },
                "hnsw_config": {
                    "m": 16,
                    "ef_construct": 100,
                    "full_scan_threshold": 10000,
                    "max_indexing_threads": 0,
                    "on_disk": False,
                },
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "max_segment_size": None,
                    "memmap_threshold": None,
                    "indexing_threshold": 10000,
                    "flush_interval_sec": 5,
                    "max_optimization_threads": None,
                },
                "wal_config": {
                    "wal_capacity_mb": 32,
                    "wal_segments_ahead": 0,
                    "wal_retain_closed": 1,
                },
                "quantization_config": None,
            },
            "payload_schema": {
                key: {"data_type": kind, "points": 0} for key, kind in self._indexed[name].items()
            },
        }


def _error(text: str) -> dict[str, Any]:
    return {"status": {"error": text}, "time": 0.001}


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return value


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self.open: list[socket.socket] = []
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.open.append(connection)
        return connection, address

    def server_close(self) -> None:
        super().server_close()
        for connection in self.open:
            _reset(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or a server that is stopped, is what the tests are about."""


def _handler(server: QdrantServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            path = self.path.split("?")[0]
            status, said = server.answer(self.command, path, body, self.headers.get("api-key"))
            content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  (http.server's names)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


# --- the proxy ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        kind: `slow`, it takes `seconds`; `status`, the proxy answers that itself; `lost_request`,
            the connection breaks before the server has it; `lost_answer`, after the server has
            done it; `cut_answer`, in the middle of the answer; `drip`, the answer comes a byte at a
            time, `seconds` apart; `silence`, nothing comes.
    """

    kind: Literal["slow", "status", "lost_request", "lost_answer", "cut_answer", "drip", "silence"]
    seconds: float = 0.0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)


class FaultProxy:
    """Before a server on this machine, on a port of its own that stays the same.

    Attributes:
        fault: what happens to a request of this method and path; None is nothing.
        done: how often each kind of fault happened.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self.port = 0
        self.fault: Callable[[str, str], Fault | None] = lambda _method, _path: None
        self.done: Counter[str] = Counter()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Connections break, and new ones are refused."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes whoever accepts
            listener.close()
        for connection in list(self._open):
            _reset(connection)

    def heal(self) -> None:
        """Nothing happens to requests any more."""
        self.fault = lambda _method, _path: None
        if self._listener is None:
            self.up()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (request := _message(connection)) is not None:
                if not self._pass_on(connection, request):
                    return
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            _reset(connection)

    def _pass_on(self, connection: socket.socket, request: bytes) -> bool:
        """Whether the connection goes on."""
        method, path = request.split(b" ", 2)[:2]
        fault = self.fault(method.decode(), path.decode().split("?")[0])
        if fault is not None:
            self.done[fault.kind] += 1
        match fault:
            case Fault("slow", seconds):
                time.sleep(seconds)
            case Fault("status"):
                connection.sendall(_refusal(fault))
                return True
            case Fault("lost_request"):
                return False
            case Fault("silence"):
                connection.recv(1)  # until whoever asked hangs up
                return False
        with socket.create_connection(self._target, timeout=30) as target:
            target.sendall(request)
            answer = _message(target)
        if answer is None:
            return False
        match fault:
            case Fault("lost_answer"):
                return False
            case Fault("cut_answer"):
                connection.sendall(answer[: len(answer) - max(1, len(answer) // 3)])
                return False
            case Fault("drip", seconds):
                for start in range(len(answer)):
                    connection.sendall(answer[start : start + 1])
                    time.sleep(seconds)
            case _:
                connection.sendall(answer)
        return True


def _message(connection: socket.socket) -> bytes | None:
    """One request or answer, head and body; None where it ends before."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(1 << 16)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    missing = (int(length[1]) if length else 0) - len(body)
    parts = [data]
    while missing > 0:
        more = connection.recv(1 << 20)
        if not more:
            return None
        parts.append(more)
        missing -= len(more)
    return b"".join(parts)


def _refusal(fault: Fault) -> bytes:
    body = b'{"status":{"error":"not now"},"time":0}'
    lines = [f"HTTP/1.1 {fault.status} Not Now", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in fault.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _reset(connection: socket.socket) -> None:
    """Whoever is at the other end hears of it at once."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def faulty_server(*, key: str | None = None) -> Iterator[tuple[QdrantServer, FaultProxy]]:
    server = QdrantServer(key=key)
    proxy = FaultProxy(server.port)
    try:
        yield server, proxy
    finally:
        proxy.down()
        server.stop()
