"""A folder as nobody should keep one: names that steer terminals, links, pipes and devices."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

# Whatever the name, the file is read; on file systems that take it.
NAMES = (
    b"x%2f..%2f..%2fetc%2fpasswd.pdf",
    b"x\\..\\..\\windows.pdf",
    b"new\nline.pdf",
    b"carriage\rreturn.pdf",
    b"\x1b[2J\x1b]0;owned\x07 clears the screen.pdf",
    b"bell\x07 backspace\x08\x08\x08 delete\x7f.pdf",
    "c1 \x9b31m red.pdf".encode(),
    "\u202efdp.exe turned round.pdf".encode(),
    "\u2066isolated\u2069.pdf".encode(),
    "zero\u200bwidth\ufeff.pdf".encode(),
    b"n" * 251 + b".pdf",
    "caf\u00e9.pdf".encode(),
    "cafe\u0301.pdf".encode(),
    b"latin-1 \xe9.pdf",
    b"cut utf-8 \xe2\x82.pdf",
    b"surrogate \xed\xa0\x80.pdf",
    b"-rf.pdf",
    b"--force.pdf",
    b" leading and trailing .pdf",
    b"$(touch owned) `touch owned` ; touch owned.pdf",
    b"'quotes\".pdf",
    b"[bold red]markup[\\bold red].pdf",
    b"{{7*7}} %s%n %(x)s {0}.pdf",
    b"UPPER.PDF",
    b"twice.pdf.pdf",
    "\U0001f4c4 emoji.pdf".encode(),
    b"star * what ? [a-z].pdf",
    b"<img src=x onerror=alert(1)>.pdf",
)


def make_named(folder: Path, pdf: bytes) -> int:
    """The file under each of the names; how many the file system took."""
    folder.mkdir(parents=True)
    n_made = 0
    for name in NAMES:
        with contextlib.suppress(OSError):
            Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(pdf)
            n_made += 1
    return n_made


def make_special(folder: Path, pdf: bytes) -> dict[str, str]:
    """What is no plain file, or none to read.

    Returns:
        By source the code it must be refused with; `indexed` where it is to be read.
    """
    folder.mkdir(parents=True)
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.pdf").write_bytes(pdf)
    (folder / "good.pdf").write_bytes(pdf)
    (folder / "empty.pdf").touch()
    (folder / "folder.pdf").mkdir()
    (folder / "folder.pdf" / "inner.pdf").write_bytes(pdf)
    (folder / "is text.pdf").write_text("a text that is called a PDF")
    expected = {
        "good.pdf": "indexed",
        "empty.pdf": "empty_file",
        "folder.pdf/inner.pdf": "indexed",
        "is text.pdf": "not_a_pdf",
    }
    links = {
        "out of the folder.pdf": (outside / "secret.pdf", "outside_root"),
        "folder out": (outside, "outside_root"),
        "endless.pdf": (Path("/dev/zero"), "outside_root"),
        "own memory.pdf": (Path("/proc/self/mem"), "outside_root"),
        "dangling.pdf": (folder / "nowhere.pdf", "unreadable"),
        "its own.pdf": (folder / "its own.pdf", "unreadable"),
        "ring-a.pdf": (folder / "ring-b.pdf", "unreadable"),
        "ring-b.pdf": (folder / "ring-a.pdf", "unreadable"),
        "to the pipe.pdf": (folder / "pipe.pdf", "unsupported_type"),
        "inside.pdf": (folder / "good.pdf", "indexed"),
    }
    for name, (target, code) in links.items():
        (folder / name).symlink_to(target)
        expected[name] = code
    (folder / "up").symlink_to(folder)  # a link to a folder that is met anyway is passed over
    os.mkfifo(folder / "pipe.pdf")
    os.mkfifo(folder / "picture.png")
    expected |= {"pipe.pdf": "unsupported_type", "picture.png": "unsupported_type"}
    with socket.socket(socket.AF_UNIX) as unix, contextlib.chdir(folder):
        unix.bind("socket.pdf")
    expected["socket.pdf"] = "unsupported_type"
    with contextlib.suppress(OSError):  # only root may
        os.mknod(folder / "device.pdf", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        expected["device.pdf"] = "unsupported_type"
    locked = folder / "locked.pdf"
    locked.write_bytes(pdf)
    locked.chmod(0)
    if not os.access(locked, os.R_OK):
        expected["locked.pdf"] = "unreadable"
    else:
        expected["locked.pdf"] = "indexed"  # root reads whatever there is
    return expected


def make_deep(folder: Path, pdf: bytes) -> None:
    """Folders in folders until no path leads to the last of them any more."""
    folder.mkdir(parents=True)
    here = os.open(folder, os.O_DIRECTORY)
    try:
        for _ in range(24):
            os.mkdir("d" * 200, dir_fd=here)
            inner = os.open("d" * 200, os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        file = os.open("deep.pdf", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=here)
        os.write(file, pdf)
        os.close(file)
    finally:
        os.close(here)
