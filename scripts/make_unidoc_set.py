"""Writes a synthetic set in the layout of UniDoc-Bench, with answers known by construction.

Eight domains of 200 questions over at least 2,000 pages with tables and charts, all made up here:
what every paradigm has to find of it can be told beforehand (docs/adr/0042-synthetic-set.md), so a
run over it shows whether the machinery is whole. It says nothing about how well anything retrieves.
The encoders that read its pictures are fixtures without weights, and the command that takes them is
told at the end.

    python scripts/make_unidoc_set.py DIR [--questions-per-domain 200] [--pages 2000] [--seed 0]
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from eval.synthetic.vocabulary import DOMAINS
from eval.synthetic.write import write_set
from rag.errors import RagError

_QUESTIONS = 200
_IMAGE = "custom:rag.testing.palette_encoder:late"
_JOINT = "custom:rag.testing.palette_encoder:joint"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        epilog="Its pictures are read by two fixture encoders without weights. All paradigms:\n  "
        + _command("DIR", "N"),
        formatter_class=argparse.RawDescriptionHelpFormatter,  # a command is copied, not wrapped
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the set is written")
    parser.add_argument(
        "--questions-per-domain", type=int, default=_QUESTIONS, help="8, 16, ... 200"
    )
    parser.add_argument("--pages", type=int, default=2000, help="of all domains, at least")
    parser.add_argument("--domains", nargs="+", choices=list(DOMAINS), default=list(DOMAINS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.perf_counter()
    try:
        written = write_set(
            given.folder,
            domains=tuple(given.domains),
            questions_per_domain=given.questions_per_domain,
            pages=given.pages,
            seed=given.seed,
            tell=lambda line: print(line, flush=True),
        )
    except RagError as error:
        print(f"{error.message}\n{error.next_step}", file=sys.stderr)
        return 2
    print(
        f"{written.questions:,} questions over {written.documents:,} documents with "
        f"{written.pages:,} pages, {written.bytes / 1e6:.1f} MB, in "
        f"{time.perf_counter() - start:.0f} s"
    )
    print(f"measure with: {_command(str(given.folder), str(given.questions_per_domain))}")
    return 0


def _command(folder: str, questions: str) -> str:
    """All paradigms, without OCR: it takes axes of charts for letters."""
    expect = [] if questions == str(_QUESTIONS) else ["--expect", questions]
    encoders = ["--image-encoder", _IMAGE, "--joint-encoder", _JOINT]
    command = ["octavo", "eval", "unidoc", folder, *expect, *encoders, "--set", "ocr.mode=off"]
    return shlex.join(command)


if __name__ == "__main__":
    sys.exit(main())
