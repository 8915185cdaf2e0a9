"""`eval unidoc`: the four paradigms of UniDoc-Bench, each over one pool of pages a domain."""

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
from rag.apps.cli.flags import (
    Common,
    Mode,
    add_command,
    as_usage,
    encoder_override,
    made_folder,
)
from rag.apps.cli.progress import counting, progress_bar

if TYPE_CHECKING:
    from eval.paradigms.plan import Plan
    from rag.settings import Settings

PUBLISHED = "unidoc-bench"
DEFAULT_EXPECT = "200"
DEFAULT_SETS = DEFAULT_RUNS / "sets"
_EXAMPLES = {"image": "colpali:FOLDER", "joint": "dense:FOLDER"}


def unidoc(
    common: Common,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Local copy of UniDoc-Bench as published (`octavo eval sets --json` tells the "
            "layout), or the dataset folders that `octavo eval prepare unidoc-bench` made.",
        ),
    ],
    paradigms: Annotated[
        str,
        typer.Option(
            metavar="all|NAME,...",
            help="Of text (words of pages), image (their pictures), fusion (half of each) and "
            "joint (one vector for words and picture).",
        ),
    ] = "all",
    image_encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME:MODEL", help="For image and fusion, as in colpali:FOLDER."),
    ] = None,
    joint_encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME:MODEL", help="For joint, as in dense:FOLDER."),
    ] = None,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", help="With all, leave out what has no encoder."),
    ] = False,
    k: PagesFlag = 10,
    mode: TextModeFlag = Mode.HYBRID,
    exact: ExactFlag = False,
    domains: Annotated[
        list[str] | None,
        typer.Option("--domain", metavar="NAME", help="Only this one. Repeatable."),
    ] = None,
    expect: Annotated[
        str, typer.Option(metavar="N|any", help="Questions a domain of the copy has to have.")
    ] = DEFAULT_EXPECT,
    to: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Where the copy is made into dataset folders."),
    ] = DEFAULT_SETS,
    limit: ArmsLimitFlag = None,
    answers: AnswersFlag = False,
    workers: WorkersFlag = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where runs and paradigms.json go; what is there already is not asked again. "
            "Default: eval-runs/unidoc-TIME",
        ),
    ] = None,
) -> int:
    """A run folder for every paradigm and domain, and their figures side by side."""
    from eval.datasets.folder import dataset_folders
    from eval.datasets.unidoc_bench import DOMAINS
    from eval.paradigms.figures import measures_at
    from eval.unidoc_measures import unidoc_names

    refuse_collection(common)
    wanted = tuple(domains or ())
    folders = dataset_folders(folder)
    is_prepared = all((each / "queries.jsonl").is_file() for each in folders)
    if is_prepared:
        parts = parts_of(folders, wanted=wanted, limit=limit)
    else:
        _check_copy(folder, wanted)
    with as_usage("--k"):
        told = (*unidoc_names(k), *measures_at(k))
    plan = _planned(
        common.settings(),
        [name.strip() for name in paradigms.split(",")],
        {"image": image_encoder, "joint": joint_encoder},
        mode=mode,
        k=k,
        skips_missing=skip_missing,
    )
    if not is_prepared:
        parts = parts_of(_made(folder, to, wanted, expect), limit=limit)
    missing = [name for name in DOMAINS if name not in parts]
    is_whole_set = not wanted and len(missing) < len(DOMAINS)
    run = ArmsRun(
        command="eval unidoc",
        name="paradigms",
        plan=plan,
        parts=parts,
        out=out or DEFAULT_RUNS / f"unidoc-{datetime.now(UTC):%Y%m%dT%H%M%SZ}",
        told=told,
        compared=(told[0], f"R@{k}", f"nDCG@{k}"),  # what the paper tells, and proper nDCG
        answers=answers,
        workers=workers,
        exact=exact,
        head={"published": PUBLISHED, "parts_missing": missing if is_whole_set else []},
    )
    return run_and_tell(run, as_json=common.as_json)


def _check_copy(copy: Path, domains: tuple[str, ...]) -> None:
    """Raises InputError where there is no copy with these domains."""
    from eval.datasets.prepare import local_source
    from eval.datasets.published import Wanted
    from eval.datasets.unidoc_bench import domains_in
    from rag.errors import InputError

    if not copy.is_dir():
        raise InputError(
            f"there is no folder {copy}",
            code="no_source",
            next_step="FOLDER is a local copy of UniDoc-Bench, or what `octavo eval prepare "
            "unidoc-bench` made of one.",
        )
    local_source(copy)
    domains_in(copy, Wanted(domains))


def _made(copy: Path, to: Path, domains: tuple[str, ...], expect: str) -> list[Path]:
    """The dataset folders of the domains of a copy.

    Raises:
        InputError: as the loader does, and as `prepare`.
    """
    from eval.datasets.prepare import local_source, prepare
    from eval.datasets.published import Wanted
    from eval.datasets.registry import find_set
    from eval.datasets.unidoc_bench import COUNT_ADVICE, QUESTION_COUNT
    from rag.errors import InputError

    made_folder(to, flag="--to")
    # What the loader does by itself is left out, so that `eval prepare` makes the same folders.
    options = {} if expect == DEFAULT_EXPECT else {"expect": expect}
    with progress_bar("documents") as progress:
        tell = counting(progress)
        prepared = prepare(
            find_set(PUBLISHED),
            local_source(copy),
            to,
            Wanted(domains, options),
            progress=lambda part, done, whole: tell(f"preparing {part}", done, whole or done),
        )
        try:
            return [each.folder for each in prepared]
        except InputError as error:
            if error.code == QUESTION_COUNT:
                error.next_step = f"{COUNT_ADVICE} --expect any."
            raise


def _planned(
    base: Settings,
    wanted: list[str],
    encoders: dict[str, str | None],
    *,
    mode: Mode,
    k: int,
    skips_missing: bool,
) -> Plan:
    from eval.paradigms.plan import (
        Arm,
        planned,
        require_one_vector,
        require_pictures,
        require_words,
        with_encoder,
    )

    with as_usage("--encoder"):
        require_words(base)
    chosen: dict[str, Settings] = {}
    missing: dict[str, str] = {}
    for name, given in encoders.items():
        flag = f"--{name}-encoder"
        if given is None:
            missing[name] = f"Give it with {flag} NAME:MODEL, as in {flag} {_EXAMPLES[name]}."
        else:
            with as_usage(flag):
                chosen[name] = with_encoder(base, encoder_override(given))
                require_pictures(chosen[name])
                if name == "joint":
                    require_one_vector(chosen[name])
    arms = [Arm("text", "words of the text layer", "text", base, mode.value)]
    if "image" in chosen:
        arms += [
            Arm("image", "pictures of pages, late interaction", "image", chosen["image"], "visual"),
            Arm("fusion", "half of text and half of image", "both", fuses=("text", "image")),
        ]
    else:
        missing["fusion"] = missing["image"]
    if "joint" in chosen:
        by = chosen["joint"].encoder.name
        says = "one vector a page" + ("" if by == "dense" else f", where {by} gives one")
        arms.append(Arm("joint", says, "both", chosen["joint"], "visual"))
    with as_usage("--paradigms"):
        return planned(arms, missing, wanted=wanted, k=k, skips_missing=skips_missing)


def register(app: typer.Typer) -> None:
    add_command(
        app,
        unidoc,
        name="unidoc",
        help_text="Set the four paradigms of UniDoc-Bench beside each other.",
    )
