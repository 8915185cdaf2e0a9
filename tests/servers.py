"""HTTP servers of models for tests, over a real socket: one that follows a script, one of
embeddings that answers as vLLM does, from functions that make vectors, and one of chat completions,
which streams, and fails on the way as it is told.
"""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import numpy as np
from PIL import Image


@dataclass
class Reply:
    """What a server sends back; `body` as JSON unless it is bytes already."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    piece_s: float = 0.0  # between pieces of 1 kB
    is_chunked: bool = False  # its length not announced

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Dripping(Reply):
    """A body that is sent part by part, in chunks, with pauses, and may never be complete.

    Attributes:
        parts: bytes to send; seconds to wait; a function to call, and to send what it returns.
        ending: after them; a stall lasts until the client hangs up.
    """

    parts: Sequence[bytes | float | Callable[[], bytes]] = ()
    ending: Literal["end", "drop", "stall"] = "end"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Served:
    """A running server: where it is, what it was asked, how many requests it saw at once.

    Attributes:
        at_once: requests under way now.
        hung_up: set once a client has gone away before the end, or from a stall.
    """

    url: str
    requests: list[Request] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    n_connections: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingHTTPServer):
    """Connections kept open end with it, as when a process ends."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self.connections: list[socket.socket] = []
        self.on_connection: Callable[[], None] = lambda: None
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.append(connection)
        self.on_connection()
        return connection, address

    def server_close(self) -> None:
        super().server_close()
        for connection in self.connections:
            with suppress(OSError):  # closed by the client before
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in the middle is what some tests are about."""


@contextmanager
def serving(answer: Callable[[Request], Reply], *, port: int = 0) -> Iterator[Served]:
    """Runs `answer` for every request, each in a thread of its own; port 0 takes a free one."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *args: object) -> None:
            pass

        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            raw = self.rfile.read(size)
            request = Request(
                self.command,
                self.path,
                {name.title(): value for name, value in self.headers.items()},
                json.loads(raw) if raw else None,
            )
            with lock:
                served.requests.append(request)
                served.at_once += 1
                served.most_at_once = max(served.most_at_once, served.at_once)
            try:
                self._send(answer(request))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up
                served.hung_up.set()
            finally:
                with lock:
                    served.at_once -= 1

        def _send(self, reply: Reply) -> None:
            time.sleep(reply.after_s)
            if isinstance(reply, Dripping):
                self._drip(reply)
                return
            content = reply.content
            self.send_response(reply.status)
            if reply.is_chunked:
                self.send_header("Transfer-Encoding", "chunked")
                content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
            else:
                self.send_header("Content-Length", str(len(content)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(content), 1024 if reply.piece_s else len(content) or 1):
                self.wfile.write(content[start:][: 1024 if reply.piece_s else None])
                time.sleep(reply.piece_s)

        def _drip(self, reply: Dripping) -> None:
            self.send_response(reply.status)
            for name, value in {"Transfer-Encoding": "chunked", **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            for part in reply.parts:
                if isinstance(part, int | float):
                    time.sleep(part)
                    continue
                content = part if isinstance(part, bytes) else part()
                if content:  # an empty chunk is the end
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
            if reply.ending == "end":
                self.wfile.write(b"0\r\n\r\n")
                return
            self.close_connection = True
            if reply.ending == "stall":
                with suppress(OSError):
                    self.connection.recv(1)  # until the client hangs up, or the server ends
                served.hung_up.set()

    server = _Server(("127.0.0.1", port), Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}")

    def count() -> None:
        served.n_connections += 1

    server.on_connection = count
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def scripted(*replies: Reply) -> Callable[[Request], Reply]:
    """Those replies in turn; the last one from then on."""
    left = list(replies)
    lock = threading.Lock()

    def answer(_: Request) -> Reply:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return answer


class EmbeddingServer:
    """The answers of vLLM's `/v1/models`, `/pooling` and `/v1/embeddings`.

    Args:
        text: rows (n, dim) of a text, or of its token ids.
        image: rows (n, dim) of an image with its words.
        model: the name it serves under.
        root: where the model came from.
    """

    def __init__(
        self,
        text: Callable[[str | list[int]], np.ndarray],
        image: Callable[[Image.Image, str], np.ndarray],
        *,
        model: str = "tiny",
        root: str | None = None,
    ) -> None:
        self.text, self.image = text, image
        self.model, self.root = model, root or model

    def __call__(self, request: Request) -> Reply:
        if request.path == "/v1/models":
            return Reply({"data": [{"id": self.model, "root": self.root}]})
        field_of = {"/pooling": "data", "/v1/embeddings": "embedding"}.get(request.path)
        if field_of is None:
            return Reply({"error": {"message": "Not Found"}}, status=404)
        if request.body["model"] != self.model:
            return Reply({"error": {"message": f"no model {request.body['model']}"}}, status=404)
        rows = self._rows(request.body).astype("<f4")
        if field_of == "embedding":
            assert len(rows) == 1
        content = np.ascontiguousarray(rows).tobytes()
        if request.body["encoding_format"] == "base64":
            found: object = base64.b64encode(content).decode()
        else:
            found = rows.tolist() if field_of == "data" else rows[0].tolist()
        return Reply(
            {
                "object": "list",
                "model": self.model,
                "data": [{"index": 0, field_of: found}],
                "usage": {"prompt_tokens": len(rows), "total_tokens": len(rows)},
            }
        )

    def _rows(self, body: dict[str, Any]) -> np.ndarray:
        if "input" in body:
            return self.text(body["input"])
        said, image = "", None
        for part in body["messages"][-1]["content"]:
            if part["type"] == "text":
                said = part["text"]
            else:
                head, _, encoded = part["image_url"]["url"].partition(",")
                assert head == "data:image/png;base64"
                image = Image.open(io.BytesIO(base64.b64decode(encoded)))
        return self.text(said) if image is None else self.image(image, said)


@dataclass
class Said:
    """What a chat model says, and what goes wrong while it does; the same streamed and in one.

    Attributes:
        pieces: of the text, as a stream brings them; in one they are one text.
        piece_s: between pieces of a stream, and before the whole.
        finish: why it ends; None where it does not say, as when it breaks off.
        usage: what is counted; nothing where it is None.
        extra: of the message, or of the last piece, as in `{"tool_calls": [...]}`.
        error: told inside the stream after the pieces; in one, it is an answer of 500.
        ending: after the last piece; only "end" sends the rest.
    """

    pieces: Sequence[str]
    piece_s: float = 0.0
    finish: str | None = "stop"
    usage: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    ending: Literal["end", "drop", "stall"] = "end"

    @classmethod
    def text(cls, text: str, *, piece_chars: int = 5, **others: Any) -> Said:
        """That text in pieces."""
        starts = range(0, len(text), piece_chars)
        return cls([text[start : start + piece_chars] for start in starts], **others)

    def streamed(self, *, counts: bool = True) -> Dripping:
        """As a stream of events; `counts` is whether the caller asked for the usage."""
        parts: list[bytes | float] = []
        for number, piece in enumerate(self.pieces):
            delta = {"role": "assistant"} if not number else {}
            parts += [chunk(delta={**delta, "content": piece}), self.piece_s]
        if self.error is not None:
            parts.append(event({"error": self.error}))
        elif self.ending == "end":
            parts.append(chunk(delta=self.extra, finish_reason=self.finish))
            if counts and self.usage is not None:
                parts.append(
                    event({"object": "chat.completion.chunk", "choices": [], "usage": self.usage})
                )
            parts.append(event("[DONE]"))
        headers = {"Content-Type": "text/event-stream; charset=utf-8"}
        return Dripping(headers=headers, parts=parts, ending=self.ending)

    def whole(self) -> Reply:
        if self.error is not None:
            return Reply({"error": self.error}, status=500)
        message = {"role": "assistant", "content": "".join(self.pieces), **self.extra}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        body = {"object": "chat.completion", "choices": [choice], "usage": self.usage}
        if self.ending == "end":
            return Reply(body, after_s=self.piece_s)
        return Dripping(parts=[self.piece_s, json.dumps(body).encode()[:30]], ending=self.ending)


def event(data: Any) -> bytes:
    """One server-sent event; anything but text as JSON."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chunk(**choice: Any) -> bytes:
    """The event of one chunk of a chat completion, as in `chunk(delta={"content": "a"})`."""
    choice = {"index": 0, "finish_reason": None, **choice}
    return event({"object": "chat.completion.chunk", "choices": [choice]})


class ChatServer:
    """The answers of OpenAI's `/v1/models` and `/v1/chat/completions`, streamed where it is asked.

    Args:
        reply: what to say to the messages of a request; or a whole Reply, to fail in some way.
        model: the name it serves under.
        key: what a caller must bring.
        takes: of "response_format", "logprobs", "stream" and "stream_options", what it does not
            refuse with 400.
        top: log probability by token, told where it is asked for.
        streams: whether it heeds "stream", or answers in one all the same.
    """

    def __init__(
        self,
        reply: Callable[[list[dict[str, Any]]], str | Said | Reply],
        *,
        model: str = "tiny-chat",
        key: str | None = None,
        takes: frozenset[str] = frozenset(
            {"response_format", "logprobs", "stream", "stream_options"}
        ),
        top: dict[str, float] | None = None,
        streams: bool = True,
    ) -> None:
        self.reply, self.model, self.key, self.takes = reply, model, key, takes
        self.top = top or {}
        self.streams = streams

    def __call__(self, request: Request) -> Reply:
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            said = request.headers.get("Authorization", "none")
            return Reply({"error": {"message": f"Incorrect API key provided: {said}"}}, status=401)
        if request.path == "/v1/models":
            return Reply({"object": "list", "data": [{"id": self.model, "object": "model"}]})
        if request.path != "/v1/chat/completions":
            return Reply({"error": {"message": "Not Found"}}, status=404)
        body = request.body
        if body["model"] != self.model:
            return Reply({"error": {"message": f"no model {body['model']}"}}, status=404)
        for name in ("response_format", "logprobs", "stream_options", "stream"):
            if name in body and name not in self.takes:
                return Reply({"error": {"message": f"unknown parameter {name}"}}, status=400)
        said = self.reply(body["messages"])
        if isinstance(said, Reply):
            return said
        if isinstance(said, str):
            said = Said.text(said)
        if body.get("stream") and self.streams:
            counts = bool(body.get("stream_options", {}).get("include_usage"))
            return self._told(said.streamed(counts=counts), body)
        return self._told(said.whole(), body)

    def _told(self, reply: Reply, body: dict[str, Any]) -> Reply:
        """With the log probabilities of the first token, where they are asked for."""
        if not body.get("logprobs"):
            return reply
        told = [{"token": token, "logprob": value} for token, value in self.top.items()]
        logprobs = {"content": [{"token": "", "top_logprobs": told}]}
        if isinstance(reply, Dripping):
            reply.parts = [chunk(delta={"content": ""}, logprobs=logprobs), *reply.parts]
        elif reply.status == 200:
            reply.body["choices"][0]["logprobs"] = logprobs
        return reply


def planted(
    queries: Sequence[str], pages: Sequence[Image.Image], *, dim: int = 32, seed: int = 0
) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    """Functions for an EmbeddingServer whose known questions find their known pages."""
    topics = np.random.default_rng(seed).standard_normal((len(queries), dim))
    known = {page.tobytes(): topic for page, topic in zip(pages, topics, strict=True)}

    def rows(topic: np.ndarray, seed: bytes, n_rows: int) -> np.ndarray:
        random = np.random.default_rng(list(seed[:64]))
        return topic + 0.3 * random.standard_normal((n_rows, dim))

    def text(said: str | list[int]) -> np.ndarray:
        said = str(said)
        topic = topics[queries.index(said)] if said in queries else np.zeros(dim)
        return rows(topic, said.encode(), 1 + len(said.split()))

    def image(picture: Image.Image, _: str) -> np.ndarray:
        pixels = picture.convert("RGB").tobytes()
        return rows(known.get(pixels, np.zeros(dim)), pixels[-64:], 12)

    return text, image
