"""What a reading process takes from itself before it meets the first file.

A file may make a PDF library run its author's code. What that code may then do is what is left
here: compute, read the files it was given and the system's libraries, answer through its pipe. It
has no network, writes nothing, starts no program unless a reader needs one, and ends no other
process. What the system does not have is left out, and told; docs/adr/0048-reading-processes.md.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
import struct
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from rag.errors import ConfigError
from rag.processes import ChosenVariablesContext, end_with_parent
from rag.renderers.denied_calls import CLONE, CLONE3, DENIED, PROGRAMS, SECCOMP

_N_OPEN_FILES = 256
_PROBE_S = 20.0
_MORE_PROCESSES = 512  # than the user has, where programs may be started

# Same numbers on every architecture (include/uapi/linux/landlock.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ABI_QUESTION = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE = 1 << 14
# Rights an ABI brought: removing and making until bit 12, then refer, truncate, device ioctl.
_N_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP_SINCE, _BIND_AND_CONNECT = 4, 0b11
_SCOPES_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11

_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION, _CAN_READ_ANY_FILE = 0x20080522, 1 << 2
_SECCOMP_SET_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _REFUSE, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050000, 1, 38
_LOAD, _EQUALS, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000

# What libraries, fonts and programs are read from; a folder that is not there is passed over.
_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/nix/store", "/gnu/store"),
    *("/proc", "/sys/devices/system", "/sys/fs/cgroup", "/var/cache/fontconfig"),
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
    *("/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/ld.so.conf"),
    *("/etc/ld.so.conf.d", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd"),
    *("~/.fonts", "~/.fonts.conf", "~/.local/share/fonts", "~/.config/fontconfig"),
    "~/.cache/fontconfig",
)
# Of the variables of the process that asks, these go on to readers. Any other may be a secret.
_PASSED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|VIRTUAL_ENV|TESSDATA_PREFIX"
    r"|(LD|DYLD)_LIBRARY_PATH|PYTHON(PATH|HOME|HASHSEED|UTF8|DONTWRITEBYTECODE|WARNINGS|PLATLIBDIR)"
    r"|FONTCONFIG_\w+|XDG_(DATA|CONFIG|CACHE)_HOME|XDG_DATA_DIRS|SYSTEMROOT|NIX_LD\w*"
    r"|OCTAVO_TEST_\w+"  # how a test finds the processes that it is the cause of
)


@dataclass(frozen=True)
class InForce:
    """What a process has taken from itself.

    Attributes:
        landlock: ABI of the kernel's Landlock; 0 where there is none.
        seccomp: whether calls of the kernel are refused.
    """

    landlock: int
    seccomp: bool

    @property
    def is_whole(self) -> bool:
        return self.landlock > 0 and self.seccomp

    def describe(self) -> str:
        """For people, one line."""
        network = (
            "no network (seccomp)"
            if self.seccomp
            else f"no TCP (Landlock {self.landlock})"
            if self.landlock >= _TCP_SINCE
            else "the network is open"
        )
        files = (
            f"read only the files given and libraries, write nothing (Landlock {self.landlock})"
            if self.landlock
            else "read what you can read, write no files (RLIMIT_FSIZE)"
        )
        return f"{network}, {files}"


def passed_on(environment: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The variables that a reading process gets; it has no use for keys, and may not hold any."""
    kept = {name: value for name, value in environment if _PASSED_ON.fullmatch(name)}
    # One thread each: those that were started before a process is confined are not confined.
    return kept | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def confine(readable: Sequence[Path], *, may_start_programs: bool) -> InForce:
    """Take from this process, for good, what reading does not need.

    Args:
        readable: files, and folders with all below them, that may be read beside the system's.
        may_start_programs: a reader or OCR engine is a program.
    """
    _limit_resources(may_start_programs=may_start_programs)
    if sys.platform != "linux":
        return InForce(0, seccomp=False)
    libc = ctypes.CDLL(None, use_errno=True)
    # Without it only root may do what follows; and no program gives more rights than we have.
    if libc.prctl(_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
        return InForce(0, seccomp=False)
    _drop_capabilities(libc)
    landlock = _apply_landlock(libc, readable)
    return InForce(landlock, seccomp=_apply_seccomp(libc, may_start_programs=may_start_programs))


def _limit_resources(*, may_start_programs: bool) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    # Pipes are not counted; a file that is open already cannot grow either.
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, _N_OPEN_FILES)
    if may_start_programs and sys.platform == "linux":
        # Counts all of the user's; the kernel asks nothing of root.
        _lower(resource.RLIMIT_NPROC, _n_threads_of_user() + _MORE_PROCESSES)


def _lower(limit: int, most: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(limit, (most, most))


def _n_threads_of_user() -> int:
    n_threads = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.getuid():
                n_threads += len(os.listdir(process / "task"))
        except OSError:  # ended meanwhile
            continue
    return n_threads


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """What root may beyond others; reading files stays. No effect for others, who have none."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    # (effective, permitted, inheritable) of capabilities 0 to 31, then of 32 to 63.
    may = _CAN_READ_ANY_FILE if os.geteuid() == 0 else 0
    libc.capset(header, struct.pack("=6I", may, may, 0, 0, 0, 0))


# --- Landlock: which files, no TCP, no signals to others ----------------------------------------
def landlock_abi() -> int:
    """Of this kernel; 0 where Landlock is not there or was not started with it."""
    if sys.platform != "linux":
        return 0
    found: int = ctypes.CDLL(None, use_errno=True).syscall(
        ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(_ABI_QUESTION)
    )
    return max(0, found)


def _apply_landlock(libc: ctypes.CDLL, readable: Sequence[Path]) -> int:
    """The ABI that is in force; 0 for none."""
    abi = landlock_abi()
    if abi == 0:
        return 0
    handled = (1 << _N_FILE_RIGHTS[min(abi, max(_N_FILE_RIGHTS))]) - 1
    # Whether programs run is decided by seccomp; what they are is where they are read from.
    handled &= ~_EXECUTE
    attributes = struct.pack("=Q", handled)
    if abi >= _TCP_SINCE:
        attributes += struct.pack("=Q", _BIND_AND_CONNECT)
    if abi >= _SCOPES_SINCE:
        attributes += struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = libc.syscall(
        ctypes.c_long(_CREATE_RULESET), attributes, ctypes.c_size_t(len(attributes)), 0
    )
    if ruleset < 0:
        return 0
    try:
        for path in [*_system_paths(), *readable]:
            _allow(libc, ruleset, path, _READ_FILE | _READ_DIR)
        _allow(libc, ruleset, Path(os.devnull), (_READ_FILE | _WRITE_FILE | _TRUNCATE) & handled)
        restricted = libc.syscall(ctypes.c_long(_RESTRICT_SELF), ruleset, 0) == 0
    finally:
        os.close(ruleset)
    return abi if restricted else 0


def _system_paths() -> list[Path]:
    own = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, *sysconfig.get_paths().values()]
    own.append(str(Path(__file__).parents[1]))  # where it is not installed but linked
    own += [os.environ[name] for name in ("TESSDATA_PREFIX",) if name in os.environ]
    own += os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    # An empty entry is the working directory, and a home in there would be all that is in it.
    places = [Path(place).expanduser() for place in (*_SYSTEM, *own) if place]
    return [
        place for place in dict.fromkeys(places) if place != Path.home() and place.is_absolute()
    ]


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Nothing where the path is not there: what is not there cannot be read."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= ~_READ_DIR
        rule = struct.pack("=Qi", rights, place)
        libc.syscall(ctypes.c_long(_ADD_RULE), ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


# --- seccomp: which calls -----------------------------------------------------------------------
def _apply_seccomp(libc: ctypes.CDLL, *, may_start_programs: bool) -> bool:
    machine = platform.machine()
    if machine not in _AUDIT_ARCH or sys.maxsize < 2**32 or sys.byteorder != "little":
        return False
    code = _program(machine, may_start_programs=may_start_programs)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    done: int = libc.syscall(
        ctypes.c_long(SECCOMP[machine]), _SECCOMP_SET_FILTER, _ALL_THREADS, program
    )
    return done == 0


def _program(machine: str, *, may_start_programs: bool) -> bytes:
    """Classic BPF over `struct seccomp_data`: number at 0, architecture at 4, arguments at 16."""

    def step(code: int, value: int, jump: int = 0, else_jump: int = 0) -> bytes:
        return struct.pack("=HBBI", code, jump, else_jump, value)

    refused = step(_RETURN, _REFUSE | _EPERM)
    code = [step(_LOAD, 4), step(_EQUALS, _AUDIT_ARCH[machine], 1, 0), refused, step(_LOAD, 0)]
    if machine == "x86_64":
        code += [step(_AT_LEAST, _X32_BIT, 0, 1), refused]
    numbers = DENIED[machine] if may_start_programs else DENIED[machine] | PROGRAMS[machine]
    for number in sorted(numbers):
        code += [step(_EQUALS, number, 0, 1), refused]
    if not may_start_programs:
        # Its flags lie in memory, where no filter looks; told that it is not there, glibc asks
        # `clone`, whose flags are an argument.
        code += [step(_EQUALS, CLONE3, 0, 1), step(_RETURN, _REFUSE | _ENOSYS)]
        code += [
            step(_EQUALS, CLONE[machine], 0, 3),
            step(_LOAD, 16),
            step(_HAS_BITS, _CLONE_THREAD, 1, 0),
            refused,
        ]
    return b"".join([*code, step(_RETURN, _ALLOW)])


def require(found: InForce) -> None:
    """Raises ConfigError `sandbox_missing` where not all of it is there."""
    if not found.is_whole:
        raise missing(found, "render.sandbox is require")


def missing(found: InForce, what: str) -> ConfigError:
    """An error that says `what`, and what this system lacks."""
    lacks = [
        name
        for name, is_there in (("Landlock", found.landlock), ("seccomp", found.seccomp))
        if not is_there
    ]
    return ConfigError(
        f"{what}; this system has no {' and no '.join(lacks)}",
        code="sandbox_missing",
        next_step="Use Linux 5.13 or later with Landlock (boot with lsm=landlock,... where it is "
        "off). With render.sandbox auto, files are read with what there is.",
    )


def probe() -> InForce:
    """What a reading process would have here: one is started, takes it from itself and says."""
    context = ChosenVariablesContext(passed_on)
    answers, asked = context.Pipe(duplex=False)
    process = context.Process(target=_confine_and_tell, args=(asked,), daemon=True)
    with answers:
        process.start()
        asked.close()
        try:
            found = answers.recv() if answers.poll(_PROBE_S) else None
        except EOFError:  # it did not live to tell
            found = None
        process.kill()
        process.join()
    return found if isinstance(found, InForce) else InForce(0, seccomp=False)


def _confine_and_tell(asked: Connection) -> None:
    end_with_parent()
    asked.send(confine((), may_start_programs=False))
