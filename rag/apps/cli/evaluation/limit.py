"""`eval limit`: BM25, one vector, MaxSim, FDE and hybrid on texts made to tell them apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.apps.cli import output
from rag.apps.cli.flags import Common, add_command, made_folder
from rag.apps.cli.progress import counting, progress_bar

if TYPE_CHECKING:
    from eval.limit.stress import Stress, Texts


def register(family: typer.Typer) -> None:
    add_command(
        family,
        limit,
        name="limit",
        help_text="Stress ways of searching with LIMIT: every pair of texts answers a question.",
    )


def limit(
    common: Common,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="A copy of LIMIT: corpus.jsonl, queries.jsonl, qrels.jsonl. Default: made here.",
        ),
    ] = None,
    small: Annotated[
        bool,
        typer.Option(
            "--small",
            help="The set of 46 documents, in seconds; without it that of 50,000, in hours.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the set that is made here.")] = 42,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the figures, per_query.jsonl, recall.svg and, in set/, what was made.",
        ),
    ] = None,
) -> None:
    """The texts are searched in memory, without PDFs; `eval prepare limit` makes pages of them."""
    from eval.limit.report import stress_report
    from eval.limit.stress import stress
    from rag.errors import ConfigError
    from rag.wiring import load_encoder

    settings = common.settings()
    if out is not None:
        made_folder(out, flag="--out")
    texts = _texts(folder, small=small, seed=seed, out=out)
    encoder = load_encoder(settings.encoder)
    try:
        if encoder.wants_image:
            raise ConfigError(
                f"LIMIT is texts, and the {encoder.identity.name} encoder looks at pixels",
                next_step="Leave out --encoder, or search its pages: `octavo eval prepare limit`, "
                "then `octavo eval run`.",
            )
        with progress_bar("texts") as bar:
            tell = counting(bar)
            result = stress(
                texts, encoder, progress=lambda done, whole: tell("scored", done, whole)
            )
    finally:
        encoder.close()
    if out is not None:
        _write(result, out)
    if common.as_json:
        output.emit({**result.as_dict(), **({} if out is None else {"out": str(out)})})
    else:
        output.line(stress_report(result.as_dict()))
        if out is not None:
            output.note(f"written to {out}")


def _texts(folder: Path | None, *, small: bool, seed: int, out: Path | None) -> Texts:
    from dataclasses import replace

    from eval.datasets.limit import load
    from eval.datasets.published import Wanted
    from eval.limit.construction import FULL, SMALL, LimitSet, write_published
    from eval.limit.stress import texts_made, texts_of
    from rag.errors import InputError

    if folder is None:
        made = LimitSet(replace(SMALL if small else FULL, seed=seed))
        if out is not None:
            write_published(made, out / "set")
        return texts_made(made)
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}",
            code="no_source",
            next_step="Name a copy of LIMIT, or none to have one made.",
        )
    if small:
        wanted = Wanted(parts=("small",))
    else:
        holds_one = (folder / "corpus.jsonl").is_file()
        wanted = Wanted() if holds_one else Wanted(parts=("full",))
    (part,) = load(folder, wanted)
    return texts_of(part, name=f"limit-{part.name}")


def _write(result: Stress, out: Path) -> None:
    from eval.limit.plot import recall_svg
    from eval.limit.stress import write_stress
    from eval.runs import write_atomically

    figures = result.as_dict()
    write_atomically(out / "limit.json", json.dumps(figures, indent=2) + "\n")
    write_atomically(out / "recall.svg", recall_svg(figures))
    write_stress(result, out)
