"""Tiny checkpoints of vision models, for tests and the demonstration: real files, toy knowledge.

Each loads through the same public path as a checkpoint of gigabytes, and one that is trained has
learned the four pages of the self-test and nothing else. Torch is imported when one is made.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rag.errors import ConfigError, InputError, RagError

FAMILIES = (
    "ColPali",
    "ColQwen2",
    "ColQwen2_5",
    "ColQwen3",
    "ColQwen3_5",
    "ColIdefics3",
    "ColModernVBert",
    "ColGemma3",
    "BiQwen2",
    "BiQwen2_5",
    "BiQwen3",
    "BiModernVBert",
    "Clip",
    "Siglip",
    "Qwen2VL",
    "Qwen3VL",
)


def make_checkpoint(family: str, folder: Path, *, trained: bool = True, seed: int = 0) -> Path:
    """Write config, safetensors and processor of a tiny model of this family.

    Args:
        family: one of FAMILIES.
        folder: made; what is there must be empty. It appears whole, or not at all.
        trained: seconds of training, until the self-test holds; else the weights stay random.
        seed: of the weights; the same seed makes the same checkpoint on one machine.

    Returns:
        `folder`.

    Raises:
        InputError: another family; a folder with something in it.
        ConfigError: torch, transformers or colpali-engine are not installed.
        ModelFailed: `training_failed`.
    """
    if family not in FAMILIES:
        raise InputError(
            f"no tiny checkpoint of '{family}'", next_step=f"Choose one of {', '.join(FAMILIES)}."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and not empty", next_step="Name a new folder.")
    try:
        from rag.testing.tiny_models import build, save  # brings torch
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a tiny checkpoint is made with the vision extra; {error.name} is not installed",
            next_step="Run `pip install 'octavo[vision]'`.",
        ) from error

    model, processor = build(family, seed=seed)
    if trained:
        from rag.testing.training import train

        train(family, model, processor)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as made:
        save(model, processor, Path(made) / folder.name)
        os.replace(Path(made) / folder.name, folder)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rag.testing.checkpoints",
        description="Make a tiny checkpoint: a vision model that knows four drawn pages.",
    )
    parser.add_argument("family", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--untrained", action="store_true", help="leave the weights random")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    begun = time.monotonic()
    print(f"making a tiny {chosen.family} (seconds)", file=sys.stderr, flush=True)  # noqa: T201
    try:
        make_checkpoint(
            chosen.family, chosen.folder, trained=not chosen.untrained, seed=chosen.seed
        )
    except RagError as error:
        print(f"error: {error.message}\nnext: {error.next_step}", file=sys.stderr)  # noqa: T201
        return 1
    seconds = time.monotonic() - begun
    print(f"made {chosen.folder} in {seconds:.1f} s", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
