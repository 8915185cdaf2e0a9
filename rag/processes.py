"""Processes that do what may crash: they start clean, do not hear Ctrl-C, and never outlive us.

What runs in such a process begins with `end_with_parent`.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import resource_tracker, spawn, util
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, NoReturn

from rag import logs


class _CleanProcess(SpawnProcess):
    """A process that does not run the main module of its parent.

    multiprocessing imports it so that functions of scripts can be called. We call none; importing
    it costs what the command line imports, and would run a script that has no `__main__` guard.
    """

    log_form: logs.LogForm | None = None

    def run(self) -> None:
        """In the process itself."""
        logs.begin_in_child(self.log_form)
        super().run()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # multiprocessing's name
        process_obj.log_form = logs.form_in_use()  # sent along
        with _main_left_out(process_obj.name), _interrupts_kept_off():
            return SpawnProcess._Popen(process_obj)


class CleanSpawnContext(SpawnContext):
    """Starts processes that do not run our main module and do not hear Ctrl-C."""

    Process = _CleanProcess


# Goes on as the program named after the variables, with those and no others.
_BEGIN_ANEW = (
    "import os, sys; n = int(sys.argv[1]); "
    "os.execve(sys.argv[n + 2], sys.argv[n + 2:], "
    "dict(each.split('=', 1) for each in sys.argv[2:n + 2]))"
)


Variables = Callable[[Iterable[tuple[str, str]]], dict[str, str]]


class _ProcessOfChosenVariables(_CleanProcess):
    variables: Variables

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # multiprocessing's name
        chosen: Variables = process_obj.__dict__.pop("variables")  # not sent to the process
        with _spawned_with(chosen(os.environ.items())):
            return _CleanProcess._Popen(process_obj)


class ChosenVariablesContext(CleanSpawnContext):
    """Starts processes that get only some of our variables of the environment.

    Taking them away later would leave them in the memory that a process begins with.

    Args:
        variables: of those of this process, the ones that a new process gets.
    """

    def __init__(self, variables: Variables) -> None:
        super().__init__()
        self._variables = variables

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802  # multiprocessing's name, where it is a class
        process = _ProcessOfChosenVariables(*args, **kwargs)
        process.variables = self._variables
        return process


_spawning = threading.local()
_spawn_as_it_is = util.spawnv_passfds


@contextlib.contextmanager
def _spawned_with(environment: dict[str, str]) -> Iterator[None]:
    """What this thread starts in here has only these variables."""
    _spawning.environment = environment
    util.spawnv_passfds = _spawn_with_chosen_variables  # type: ignore[assignment]  # typed as C reads them
    try:
        yield
    finally:
        _spawning.environment = None


def _spawn_with_chosen_variables(
    path: bytes, arguments: Sequence[str | bytes], kept_open: Sequence[int]
) -> int:
    environment = getattr(_spawning, "environment", None)
    if environment is None:
        return _spawn_as_it_is(path, arguments, kept_open)
    variables = [f"{name}={value}" for name, value in environment.items()]
    before: list[str | bytes] = [
        path,
        "-I",
        "-S",
        "-c",
        _BEGIN_ANEW,
        str(len(variables)),
        *variables,
    ]
    return _spawn_as_it_is(path, [*before, path, *arguments[1:]], kept_open)


@contextlib.contextmanager
def _interrupts_kept_off() -> Iterator[None]:
    """Processes started in here do not hear Ctrl-C, which a terminal sends to all of a group.

    They end with us; one that was still starting would show a traceback first.
    """
    # Started with the first process otherwise, and when it has started it lets Ctrl-C in again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_main_lock = threading.Lock()


@contextlib.contextmanager
def _main_left_out(process_name: str) -> Iterator[None]:
    with _main_lock:
        prepare = spawn.get_preparation_data

        def prepare_without_main(name: str) -> dict[str, Any]:
            data = prepare(name)
            if name == process_name:
                data.pop("init_main_from_name", None)
                data.pop("init_main_from_path", None)
            return data

        spawn.get_preparation_data = prepare_without_main
        try:
            yield
        finally:
            spawn.get_preparation_data = prepare


def end_with_parent() -> None:
    """Have the kernel end this process group when the parent is gone, however it went.

    The pipe that multiprocessing keeps to the parent is closed then, and O_ASYNC makes that a
    signal whose default is the end. A thread that waits for it would not run while a library keeps
    the interpreter lock, and PR_SET_PDEATHSIG asks for the parent's thread, not for the parent.
    """
    os.setpgid(0, 0)  # what poppler starts ends with us
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, -os.getpgrp())
    flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
    fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
    if not parent.is_alive():
        os._exit(1)


@contextlib.contextmanager
def ends_with_programs() -> Iterator[None]:
    """While programs run for such a process, an end by SIGTERM is theirs too. Main thread only."""

    def end_group(*_: object) -> NoReturn:
        os.killpg(0, signal.SIGKILL)
        raise SystemExit

    before = signal.signal(signal.SIGTERM, end_group)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
