"""The command line: flags in, one call to the client, an answer on stdout.

Progress and logs go to stderr. Nothing heavy is imported before a command needs it, so that
`octavo --help` answers at once.
"""

from __future__ import annotations


def main() -> None:
    """The `octavo` command."""
    import signal
    import sys

    # Before anything has begun Ctrl-C has nothing to clean up or to say: the signal itself ends us.
    is_asked_for = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_asked_for:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rag.apps.cli import logs
    from rag.apps.cli.app import run

    if is_asked_for:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    logs.tell(as_json="--json" in sys.argv)
    sys.exit(run(sys.argv[1:]))
