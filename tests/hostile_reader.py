"""What a PDF library would do that a file made its author's: run in a reading process by tests."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rag.errors import DocumentError
from rag.ports import PdfInfo
from rag.renderers.worker import PageRequest, ReadRequest, Scanned, scan_page

DEADLY = "deadly"
PLACE = "HOSTILE_READER_PLACE"


def scan_or_die(request: PageRequest) -> Scanned:
    """As `scan_page`, but a page that says so ends the process as a library's crash would."""
    scanned = scan_page(request)
    if DEADLY in scanned.page.text.words:
        os.kill(os.getpid(), signal.SIGKILL)
    return scanned


def scan_or_die_by_pypdfium2(request: PageRequest) -> Scanned:
    """Only one library is ended by the page."""
    if request.renderers[0] == "pypdfium2":
        return scan_or_die(request)
    return scan_page(request)


def try_everything(request: ReadRequest) -> dict[str, str]:
    """What is refused to code in a reading process, by the name of the error; `done` what is not.

    Args:
        request: its password is `port of a TCP listener, port of a UDP one, folder of a secret`.
    """
    tcp, udp, folder = (request.password or "").split(",")
    place = Path(folder)

    def connect() -> None:
        with socket.create_connection(("127.0.0.1", int(tcp)), timeout=2):
            pass

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.sendto(b"secret", ("127.0.0.1", int(udp)))

    def local_socket() -> None:
        with socket.socket(socket.AF_UNIX) as made:
            made.connect(b"\0octavo-nobody")

    def fork() -> None:
        if os.fork() == 0:
            os._exit(0)

    def raw_io_uring() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(425, 1, ctypes.create_string_buffer(512)) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")

    def trace_parent() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(16, os.getppid(), 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def new_thread() -> None:
        made = threading.Thread(target=str)
        made.start()
        made.join()

    tried: dict[str, Callable[[], object]] = {
        "tcp": connect,
        "udp": send,
        "dns": lambda: socket.getaddrinfo("localhost", 80),
        "unix socket": local_socket,
        "write beside the file": lambda: (request.path.parent / "left").write_text("x"),
        "write to the file": lambda: request.path.open("r+b"),
        "write to /tmp": lambda: Path("/tmp/octavo-left-behind").write_text("x"),
        "remove the file": lambda: request.path.unlink(),
        "read the file": lambda: request.path.read_bytes(),
        "read another file": lambda: (place / "secret.txt").read_text(),
        "list another folder": lambda: os.listdir(place),
        "read the environment of the parent": lambda: Path(
            f"/proc/{os.getppid()}/environ"
        ).read_bytes(),
        "fork": fork,
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "end the parent": lambda: os.kill(os.getppid(), signal.SIGTERM),
        "trace the parent": trace_parent,
        "io_uring": raw_io_uring,
        "leave the group": os.setsid,
        "start a thread": new_thread,
    }
    n_threads = len(os.listdir("/proc/self/task"))
    told = {name: _outcome(attempt) for name, attempt in tried.items()}
    own = Path("/proc/self/environ").read_bytes().decode(errors="replace")
    return told | {
        "environment": own,
        "variables": " ".join(os.environ),
        "threads": str(n_threads),
    }


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"


def fork_without_end(request: ReadRequest) -> int:
    """Processes started until no more could be."""
    n_started = 0
    try:
        while n_started < 5000:
            if os.fork() == 0:
                signal.pause()
            n_started += 1
    except OSError:
        os.killpg(0, signal.SIGKILL)
    raise DocumentError(f"{n_started} were started and none was refused")


def scan_or_fail_slowly(request: PageRequest) -> Scanned:
    """Pages after the first that are not there, and take a while to find out."""
    if request.page_number > 1:
        time.sleep(0.05)
        raise DocumentError("there is no such page", code="render_failed")
    return scan_page(request)


def process_id(_: ReadRequest) -> int:
    return os.getpid()


def is_not_opened(request: ReadRequest) -> PdfInfo:
    raise DocumentError(f"{request.path.name} was opened", code="was_opened")
