"""The command line: flags in, one call to the client, an answer on stdout.

Progress and logs go to stderr. Nothing heavy is imported before a command needs it, so that
`octavo --help` answers at once.
"""

from __future__ import annotations


def main() -> None:
    """The `octavo` command."""
    import sys

    from rag.apps.cli.app import run

    sys.exit(run(sys.argv[1:]))
