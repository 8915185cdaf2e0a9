"""The late-interaction families of colpali-engine: how a checkpoint tells which one it is of, and
what each allows. Nothing here loads torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any

from rag.encoders.checkpoint import Checkpoint
from rag.encoders.page_images import limit_cells
from rag.errors import ConfigError


@dataclass(frozen=True)
class Family:
    """Classes of colpali-engine that read one kind of model.

    Attributes:
        name: of the model's class, which is the family's name everywhere.
        processor: name of the class of its processor.
        model_types: what config.json may call the model.
        limit: sets the most visual tokens a page may have; None where the number is fixed.
        mixes_sizes: the processor takes pages of different sizes in one batch.
    """

    name: str
    processor: str
    model_types: tuple[str, ...]
    limit: Callable[[Any, int], None] | None
    mixes_sizes: bool = True


def family_of(checkpoint: Checkpoint) -> Family:
    """Raises ConfigError `encoder_family` for a model that is of none."""
    architectures = checkpoint.config.get("architectures") or [""]
    written_by, model_type = str(architectures[0]), str(checkpoint.config.get("model_type"))
    for family in FAMILIES:
        if written_by == family.name:
            return family
    if not written_by.startswith("Bi"):  # one vector a page, on the same kinds of models
        for family in FAMILIES:
            if model_type in family.model_types:
                return family
    next_step = "Choose a model of these families"
    if model_type in ("colpali", "colqwen2"):
        next_step += "; of this one, the weights made for colpali-engine (without -hf in the name)"
    elif written_by.startswith("Bi"):
        next_step += ", or set encoder.name to dense"
    raise ConfigError(
        f"{checkpoint.name} is a {written_by or model_type} ({model_type}); the colpali encoder "
        f"reads {', '.join(family.name for family in FAMILIES)}",
        code="encoder_family",
        next_step=f"{next_step}.",
    )


def limit_patches(family: Family, processor: Any, max_patches: int) -> None:
    """Let the processor make at most so many visual tokens of a page; never more than it would.

    Raises:
        ConfigError: the family's number is fixed, or cannot be that small.
    """
    if family.limit is None:
        raise ConfigError(
            f"encoder.max_patches is {max_patches}, but every page of a {family.name} has the same "
            "number of patches",
            next_step="Leave encoder.max_patches out for this model.",
        )
    family.limit(processor, max_patches)


def _limit_cells(processor: Any, max_patches: int) -> None:
    limit_cells(processor, most=max_patches)


def _limit_tiles(processor: Any, max_patches: int) -> None:
    """Fewer tiles a side; with more than one tile, the whole page is a further one."""
    images, a_tile = processor.image_processor, int(processor.image_seq_len)
    if max_patches < a_tile:
        raise ConfigError(
            f"encoder.max_patches is {max_patches}, but this model makes at least {a_tile} patches",
            next_step=f"Set encoder.max_patches to {a_tile} or more.",
        )
    a_side = max(1, isqrt(max_patches // a_tile - 1))
    tile_px = int(images.max_image_size["longest_edge"])
    images.size["longest_edge"] = min(images.size["longest_edge"], a_side * tile_px)


# All that the engine has but ColQwen2_5Omni: version 0.3.18 sets a part of that model before the
# part is there, and cannot build it.
FAMILIES = (
    Family("ColPali", "ColPaliProcessor", ("paligemma",), None),
    Family("ColQwen2", "ColQwen2Processor", ("qwen2_vl",), _limit_cells),
    Family("ColQwen2_5", "ColQwen2_5_Processor", ("qwen2_5_vl",), _limit_cells),
    Family("ColQwen3", "ColQwen3Processor", ("qwen3_vl",), _limit_cells),
    Family("ColQwen3_5", "ColQwen3_5Processor", ("qwen3_5",), _limit_cells),
    Family("ColIdefics3", "ColIdefics3Processor", ("idefics3",), _limit_tiles),
    Family("ColModernVBert", "ColModernVBertProcessor", ("modernvbert",), _limit_tiles),
    # Crops of a long page make its batch mates wait for rows that they do not have.
    Family("ColGemma3", "ColGemmaProcessor3", ("gemma3",), None, mixes_sizes=False),
)
