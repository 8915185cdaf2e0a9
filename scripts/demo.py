"""From a PDF to an answer: ingest it, ask, show the citations, save the cited page with its boxes.

Takes its input from the environment, so that spaces and quotes in it need no care:
PDF (default: the sample report), Q (default: a question about it), and ENCODER: empty for the
embedded one, `tiny-vision` for a toy model that looks at pixels, made here in seconds.
"""

from __future__ import annotations

import os
import shlex
import sys
import zlib
from pathlib import Path

from rag.apps.cli.app import run
from rag.testing.checkpoints import make_checkpoint

FOLDER = Path(".demo")
SAMPLE = Path("examples/sample-report.pdf")
SAMPLE_QUESTION = "What dividend does the board propose?"
OWN_QUESTION = "What is this document about?"
TINY_VISION = "tiny-vision"
TOY = """
This is a toy: a vision model of 200,000 weights that has seen four drawn pages and no others. The
path is the real one, from pixels to patches, search and heat map; what the model sees in your pages
means nothing, and what is found or answered well was found by the words of the question. A real
model: octavo ingest FILE --encoder colpali:MODEL"""


def octavo(*arguments: str) -> None:
    """Run a command as a shell would, after showing it; the demo ends where a command fails."""
    print(f"\n$ octavo {shlex.join(arguments)}", flush=True)
    code = run(arguments)
    if code:
        sys.exit(code)


def encoder_flags(encoder: str) -> tuple[str, ...]:
    if encoder in ("", "words"):
        return ()
    if encoder != TINY_VISION:
        sys.exit(f"error: no demo of encoder '{encoder}'\nnext: make demo ENCODER={TINY_VISION}")
    folder = FOLDER / TINY_VISION
    if not folder.exists():
        print(f"making a toy vision model in {folder} (seconds, once)", flush=True)
        make_checkpoint("ColQwen2", folder)
    return ("--encoder", f"colpali:{folder}")


def main() -> None:
    pdf = Path(os.environ.get("PDF") or SAMPLE).expanduser()
    is_sample = pdf == SAMPLE
    question = os.environ.get("Q") or (SAMPLE_QUESTION if is_sample else OWN_QUESTION)
    encoder = encoder_flags(os.environ.get("ENCODER", ""))
    # A collection for each file, or the answer might come from the one that was tried before.
    own_collection = f"file-{zlib.crc32(str(pdf.absolute()).encode()):08x}"
    collection = "sample" if is_sample else own_collection
    if encoder:
        collection += f"-{TINY_VISION}"  # an index belongs to who made its vectors
    where = ("-c", collection, "--data-dir", str(FOLDER / "data"), *encoder)
    cited, heat = FOLDER / "cited-page.png", FOLDER / "heat-map.png"
    for picture in (cited, heat):
        picture.unlink(missing_ok=True)
    FOLDER.mkdir(exist_ok=True)
    octavo("ingest", str(pdf), *where)
    octavo("ask", question, *where, "--heatmap", str(cited))
    if encoder:
        octavo("search", question, *where, "-k", "1", "--heatmap", str(heat))
    if cited.exists():
        print(f"\nThe cited page, with the evidence marked: {cited}")
    if heat.exists():
        print(f"\nThe page found first, with what the model looked at: {heat}")
    if encoder:
        print(TOY)


if __name__ == "__main__":
    main()
