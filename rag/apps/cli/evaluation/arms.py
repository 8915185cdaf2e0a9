"""`eval text-vs-image`: words, pictures and both of one dataset, side by side."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.apps.cli.evaluation.arm_runs import (
    AnswersFlag,
    ArmsLimitFlag,
    ArmsRun,
    ExactFlag,
    PagesFlag,
    TextModeFlag,
    WorkersFlag,
    parts_of,
    refuse_collection,
    run_and_tell,
)
from rag.apps.cli.evaluation.dataset_runs import DEFAULT_RUNS
from rag.apps.cli.flags import Common, Mode, add_command, as_usage, encoder_override

if TYPE_CHECKING:
    from eval.paradigms.plan import Plan
    from rag.settings import Settings


def text_vs_image(
    common: Common,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Folder with docs/, queries.jsonl and qrels.tsv, or one that holds such folders.",
        ),
    ],
    image_encoder: Annotated[
        str, typer.Option(metavar="NAME:MODEL", help="Of page images, as in colpali:FOLDER.")
    ],
    captions: Annotated[
        bool,
        typer.Option(
            "--captions",
            help="Have chat.model describe each page, and search its description with its words.",
        ),
    ] = False,
    k: PagesFlag = 5,
    mode: TextModeFlag = Mode.HYBRID,
    exact: ExactFlag = False,
    limit: ArmsLimitFlag = None,
    answers: AnswersFlag = False,
    workers: WorkersFlag = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where runs and text-vs-image.json go; what is there already is not asked again. "
            "Default: eval-runs/text-vs-image-TIME",
        ),
    ] = None,
) -> int:
    """A run folder for every arm, and their figures side by side."""
    from eval.datasets.folder import dataset_folders
    from eval.paradigms.figures import measures_at

    refuse_collection(common)
    with as_usage("--k"):
        told = measures_at(k)
    plan = _planned(common.settings(), image_encoder, captions=captions, mode=mode, k=k)
    run = ArmsRun(
        command="eval text-vs-image",
        name="text-vs-image",
        plan=plan,
        parts=parts_of(dataset_folders(folder), limit=limit),
        out=out or DEFAULT_RUNS / f"text-vs-image-{datetime.now(UTC):%Y%m%dT%H%M%SZ}",
        told=told,
        compared=told,
        answers=answers,
        workers=workers,
        exact=exact,
        head={"captions": captions},
    )
    return run_and_tell(run, as_json=common.as_json)


def _planned(base: Settings, image_encoder: str, *, captions: bool, mode: Mode, k: int) -> Plan:
    from eval.paradigms.plan import (
        Arm,
        planned,
        require_pictures,
        require_words,
        with_captions,
        with_encoder,
    )

    with as_usage("--encoder"):
        require_words(base)
    with as_usage("--image-encoder"):
        pixels = with_encoder(base, encoder_override(image_encoder))
        require_pictures(pixels)
    text, says = base, "words of the text layer"
    if captions:
        with as_usage("--captions"):
            text, says = with_captions(base), f"{says}, and descriptions of pages"
    arms = [
        Arm("text", says, "text", text, mode.value),
        Arm("image", "pictures of pages", "image", pixels, "visual"),
        Arm("fusion", "half of text and half of image", "both", fuses=("text", "image")),
    ]
    return planned(arms, {}, wanted=["all"], k=k)


def register(app: typer.Typer) -> None:
    add_command(
        app,
        text_vs_image,
        name="text-vs-image",
        help_text="Search a dataset by words, by pictures and by both, and compare.",
    )
