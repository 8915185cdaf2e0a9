"""From a PDF to an answer: ingest it, ask, show the citations, save the cited page with its boxes.

Takes its input from the environment, so that spaces and quotes in it need no care:
PDF (default: the sample report) and Q (default: a question about it).
"""

from __future__ import annotations

import os
import shlex
import sys
import zlib
from pathlib import Path

from rag.apps.cli.app import run

FOLDER = Path(".demo")
SAMPLE = Path("examples/sample-report.pdf")
SAMPLE_QUESTION = "What dividend does the board propose?"
OWN_QUESTION = "What is this document about?"


def octavo(*arguments: str) -> None:
    """Run a command as a shell would, after showing it; the demo ends where a command fails."""
    print(f"\n$ octavo {shlex.join(arguments)}", flush=True)
    code = run(arguments)
    if code:
        sys.exit(code)


def main() -> None:
    pdf = Path(os.environ.get("PDF") or SAMPLE).expanduser()
    is_sample = pdf == SAMPLE
    question = os.environ.get("Q") or (SAMPLE_QUESTION if is_sample else OWN_QUESTION)
    # A collection for each file, or the answer might come from the one that was tried before.
    own_collection = f"file-{zlib.crc32(str(pdf.absolute()).encode()):08x}"
    where = ("-c", "sample" if is_sample else own_collection, "--data-dir", str(FOLDER / "data"))
    picture = FOLDER / "cited-page.png"
    FOLDER.mkdir(exist_ok=True)
    picture.unlink(missing_ok=True)
    octavo("ingest", str(pdf), *where)
    octavo("ask", question, *where, "--heatmap", str(picture))
    if picture.exists():
        print(f"\nThe cited page, with the evidence marked: {picture}")


if __name__ == "__main__":
    main()
