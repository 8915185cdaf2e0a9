"""One process owns a data folder; the others ask it through a Unix socket (docs/adr/0008).

The lock is the operating system's, so it dies with its owner. The socket lies in a private folder
of its own, because the path of a data folder can be longer than a socket's path may be.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import socketserver
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from rag import errors
from rag.deadline import Cancelled
from rag.errors import BackendError, ConfigError, DataFolderBusy, RagError
from rag.types import Json

_log = logging.getLogger(__name__)

Tell = Callable[[Json], None]
Handler = Callable[[str, Json, Tell], Json]

_OWNER_FILE = "owner.json"
_LOCK_FILE = "owner.lock"
_SOCKET_PREFIX = "octavo-"
_LONGEST_SOCKET_PATH = 100  # bytes; Linux takes 107, macOS 103
_ANSWER_AT_ONCE_S = 5.0  # what an owner that is well needs, by far, to say that it heard us
_SLOW_READER_S = 60.0  # for the other side to take the answer
_RETRY_S = 0.05
_PING = "ping"  # answered without the handler


class OwnerInfo(BaseModel):
    """Who owns a data folder; `socket` is empty until the owner serves."""

    model_config = ConfigDict(frozen=True)

    pid: int
    host: str
    command: str
    started_at: float  # seconds since 1970, UTC
    socket: str = ""


class OwnerGone(BackendError):
    """The owner went away; `was_started` says whether it had taken the request on."""

    code = "owner_gone"

    def __init__(self, *, was_started: bool) -> None:
        super().__init__(
            "the process that owns the data folder stopped"
            + (" while it worked on the request" if was_started else ""),
            next_step="Run the command again.",
        )
        self.was_started = was_started


class FolderLock:
    """The right to write to a data folder, held by one process at a time.

    Children that are forked let go of it at once, so it never outlives the process that took it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def try_acquire(self, command: str) -> bool:
        """Take the lock if it is free, and note who holds it. Does not wait."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the data folder cannot be used: {error.strerror}",
                next_step="Choose another with --data-dir, or change its permissions.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        weak = weakref.WeakMethod(self._let_go)
        os.register_at_fork(after_in_child=lambda: (let_go := weak()) and let_go())
        before = read_owner(self.folder)
        if before is not None:
            _remove_socket(before.socket)  # of an owner that was killed
        me = OwnerInfo(
            pid=os.getpid(), host=socket.gethostname(), command=command, started_at=time.time()
        )
        _note_owner(self.folder, me)
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            (self.folder / _OWNER_FILE).unlink(missing_ok=True)
            self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _let_go(self) -> None:
        # Closing a fork's copy leaves the lock with the process that took it.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def read_owner(folder: Path) -> OwnerInfo | None:
    """Who owns, or owned, the folder; None where nothing readable is noted."""
    try:
        return OwnerInfo.model_validate_json((folder / _OWNER_FILE).read_bytes())
    except (OSError, ValueError):
        return None


def _note_owner(folder: Path, owner: OwnerInfo) -> None:
    written = folder / f"{_OWNER_FILE}.part"
    written.write_text(owner.model_dump_json(), encoding="utf-8")
    written.replace(folder / _OWNER_FILE)


# --- the owner's side ---------------------------------------------------------------------------
class RequestServer:
    """Answers requests of other processes of this user, each in a thread of its own."""

    def __init__(self, handler: Handler) -> None:
        self._folder = _private_folder()
        self.path = self._folder / "socket"
        self._server = _Server(str(self.path), handler)
        self.path.chmod(0o600)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Take no more requests, finish those under way, remove the socket."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the requests under way
        _remove_socket(str(self.path))


def serve_requests(folder: Path, handler: Handler) -> RequestServer:
    """Answer other processes; for the one that holds the lock.

    Args:
        folder: the data folder.
        handler: (method, params, tell) to result, all JSON values; called from several threads.
            `tell` sends what is known before the result, and raises Cancelled where nobody listens
            any more. What the handler raises travels to the other side.
    """
    owner = read_owner(folder)
    assert owner is not None, "only the holder of the lock serves"
    server = RequestServer(handler)
    _note_owner(folder, owner.model_copy(update={"socket": str(server.path)}))
    return server


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, path: str, handler: Handler) -> None:
        self.handler = handler
        super().__init__(path, _Request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - theirs
        # The other side went away; whatever it asked for is done or not, as if nobody had waited.
        _log.info("a request over the socket was cut short", exc_info=True)


class _Request(socketserver.StreamRequestHandler):
    """One connection: a request line in; an `accepted` line out at once, then a line for each
    event, then the outcome.
    """

    server: _Server
    timeout = _ANSWER_AT_ONCE_S  # to read the request

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            return
        self.connection.settimeout(_SLOW_READER_S)
        self._send({"accepted": True})
        self._send(_outcome(self.server.handler, line, self._tell))

    def _tell(self, event: Json) -> None:
        try:
            self._send({"event": event})
        except OSError as error:
            raise Cancelled("the process that asked has gone away") from error

    def _send(self, message: Json) -> None:
        self.wfile.write(json.dumps(message).encode() + b"\n")


def _outcome(handler: Handler, line: bytes, tell: Tell) -> Json:
    try:
        request = json.loads(line)
        if request["method"] == _PING:
            return {"result": {}}
        result = handler(request["method"], request["params"], tell)
        json.dumps(result)
    except RagError as error:
        return {"error": {"type": type(error).__name__, **error.as_dict()}}
    except Exception:  # noqa: BLE001 - a handler's fault must not leave the other side waiting
        # What went wrong is for the owner's log; the other side learns that it did.
        _log.exception("a request over the socket failed")
        return {
            "error": {
                "type": "BackendError",
                "code": "internal",
                "message": "the process that owns the data folder failed at this request",
                "next_step": "Look at what it wrote to its standard error.",
            }
        }
    return {"result": result}


def _private_folder() -> Path:
    """A new folder, mode 0700, with a path short enough for a socket below it."""
    folder = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX))
    if len(os.fsencode(folder / "socket")) <= _LONGEST_SOCKET_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir="/tmp"))


def _remove_socket(path: str) -> None:
    """Remove a socket and its private folder; nothing else, whatever owner.json says."""
    folder = Path(path).parent
    if path and Path(path).name == "socket" and folder.name.startswith(_SOCKET_PREFIX):
        with contextlib.suppress(OSError):
            if Path(path).is_socket():
                Path(path).unlink()
            folder.rmdir()


# --- the other side -----------------------------------------------------------------------------
def call_owner(
    folder: Path,
    method: str,
    params: Json,
    timeout_s: float,
    on_event: Tell = lambda _: None,
) -> Json:
    """Have the owner of a data folder do something.

    Args:
        folder: the data folder.
        method: what the owner's handler knows.
        params: JSON values.
        timeout_s: for the answer, or the next event before it; that it heard us the owner has to
            say within 5 s.
        on_event: hears what the handler tells before its result; what it raises comes out as it is.

    Raises:
        OwnerGone: there is no owner, or it went away.
        DataFolderBusy: it does not answer in time.
        RagError: what the owner's handler raised, as the same class.
    """
    owner = read_owner(folder)
    if owner is None or not owner.socket:
        raise OwnerGone(was_started=False)
    # What `on_event` raises is no failure of the owner's, whatever it is.
    with contextlib.closing(_said(owner, {"method": method, "params": params}, timeout_s)) as said:
        for answer in said:
            if "event" not in answer:
                break
            on_event(answer["event"])
    if "error" in answer:
        raise _error(answer["error"])
    result: Json = answer["result"]
    return result


def _said(owner: OwnerInfo, request: Json, timeout_s: float) -> Generator[Json]:
    """Events, then the outcome. Raises as call_owner, where the owner fails before that."""
    was_started = False
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(min(_ANSWER_AT_ONCE_S, timeout_s))
            connection.connect(owner.socket)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                was_started = answers.readline().endswith(b"\n")
                connection.settimeout(timeout_s)
                while was_started and (line := answers.readline()).endswith(b"\n"):
                    yield json.loads(line)
    except TimeoutError as error:
        raise _silent(owner) from error
    except OSError as error:
        raise OwnerGone(was_started=was_started) from error
    raise OwnerGone(was_started=was_started)


class Owned:
    """This process owns the data folder until it is closed."""

    def __init__(self, lock: FolderLock) -> None:
        self.folder = lock.folder
        self._lock = lock
        self._server: RequestServer | None = None

    def serve(self, handler: Handler) -> None:
        """Answer other processes from now on; see serve_requests."""
        assert self._server is None, "served already"
        self._server = serve_requests(self.folder, handler)

    def stop_serving(self) -> None:
        """Take no more requests, and finish those under way."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def close(self) -> None:
        """Stop answering, then let go of the folder."""
        self.stop_serving()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class Connected:
    """Another process owns the data folder, and answers."""

    folder: Path

    def call(
        self, method: str, params: Json, timeout_s: float, on_event: Tell = lambda _: None
    ) -> Json:
        """See call_owner."""
        return call_owner(self.folder, method, params, timeout_s, on_event)


def acquire_or_connect(folder: Path, command: str, wait_s: float = 5.0) -> Owned | Connected:
    """Own the data folder, or reach the process that does, also while it starts.

    Args:
        folder: made if it is not there.
        command: what this process does, to be named to others.
        wait_s: for an owner to answer.

    Raises:
        DataFolderBusy: the owner does not answer; names its process and command.
        ConfigError: the folder cannot be written.
    """
    deadline = time.monotonic() + wait_s
    lock = FolderLock(folder)
    while True:
        if lock.try_acquire(command):
            return Owned(lock)
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise _silent(read_owner(folder))
        try:
            call_owner(folder, _PING, {}, timeout_s=left_s)
        except OwnerGone:
            time.sleep(_RETRY_S)  # it starts, or it stops
        else:
            return Connected(folder)


def folder_busy(owner: OwnerInfo | None, *, doing: str, next_step: str) -> DataFolderBusy:
    """`doing` goes on from whoever owns the folder, as in "which does not answer"."""
    if owner is None:
        who = "another process, which has not said who it is"
    else:
        where = "" if owner.host == socket.gethostname() else f" on {owner.host}"
        who = f"process {owner.pid}{where} ({owner.command})"
    return DataFolderBusy(f"the data folder is in use by {who}, {doing}", next_step=next_step)


def _silent(owner: OwnerInfo | None) -> DataFolderBusy:
    return folder_busy(
        owner,
        doing="which does not answer",
        next_step="Wait for it to finish, or stop it, then run the command again.",
    )


def _error(raised: dict[str, str]) -> RagError:
    kind = getattr(errors, raised["type"], BackendError)
    if not (isinstance(kind, type) and issubclass(kind, RagError)):
        kind = BackendError
    error: RagError = kind(raised["message"], next_step=raised["next_step"], code=raised["code"])
    return error
