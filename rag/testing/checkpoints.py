"""Tiny checkpoints of vision models, for tests and the demonstration: real files, toy knowledge.

Each loads through the same public path as a checkpoint of gigabytes, and one that is trained has
learned the four pages of the self-test and nothing else. Torch is imported when one is made.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from rag.errors import InputError

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
        folder: replaced as a whole where it is there.
        trained: seconds of training, until the self-test holds; else the weights stay random.
        seed: of the weights; the same seed makes the same checkpoint on one machine.

    Returns:
        `folder`.

    Raises:
        InputError: another family.
    """
    if family not in FAMILIES:
        raise InputError(
            f"no tiny checkpoint of '{family}'", next_step=f"choose of {', '.join(FAMILIES)}"
        )
    from rag.testing.tiny_models import build  # brings torch

    model, processor = build(family, seed=seed)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
