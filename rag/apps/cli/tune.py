"""`tune`: the cheapest search settings that find what exact MaxSim finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from rag.apps.cli import exit_codes, output
from rag.apps.cli.flags import Common, add_command, opened
from rag.apps.cli.progress import counting, progress_bar

_STAGES = {"fde": "FDE", "bits": "sign bits", "int8": "int8 alone"}


def register(app: typer.Typer) -> None:
    add_command(
        app,
        tune,
        name="tune",
        help_text="Find the cheapest search settings that still find what exact MaxSim finds.",
    )


def tune(
    common: Common,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Questions, one a line, or a queries.jsonl. Default: sampled from the pages.",
        ),
    ] = None,
    n_queries: Annotated[
        int,
        typer.Option(
            "--n-queries", min=1, max=10_000, metavar="N", help="Questions asked at most."
        ),
    ] = 50,
    target_recall: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Of the exact top k that is to be found."),
    ] = 0.99,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Depth that is compared.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampled questions.")] = 0,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a settings file for --config; the collection keeps its own."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw all settings, as SVG.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure and print; change nothing.")
    ] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Forget what was tuned; measures nothing.")
    ] = False,
) -> int:
    if not 0 < target_recall <= 1:
        raise typer.BadParameter(
            f"expected a share above 0 and at most 1, got {target_recall:g}",
            param_hint="--target-recall",
        )
    if plot is not None and plot.suffix.lower() != ".svg":
        raise typer.BadParameter(f"expected a name in .svg, got {plot.name!r}", param_hint="--plot")
    if reset and dry_run:
        raise typer.BadParameter("it cannot be had with --dry-run", param_hint="--reset")
    for path, flag in ((write, "--write"), (plot, "--plot")):
        if path is not None:
            _check_place(path, flag)
    settings = common.settings()
    if reset:
        with opened(settings, "tune") as octavo:
            _print_reset(octavo.reset_tuning(collection=common.collection), common)
        return exit_codes.DONE
    with opened(settings, "tune") as octavo, progress_bar("") as progress:
        result = octavo.tune(
            collection=common.collection,
            questions=queries,
            n_questions=n_queries,
            target_recall=target_recall,
            k=k,
            seed=seed,
            keep=write is None and not dry_run,
            progress=counting(progress),
        )
    if write is not None and result["tuning"] is not None and not dry_run:
        _write_settings(write, result)
    if plot is not None:
        _draw(plot, result)
    files = {
        "written": None if write is None or dry_run or not result["tuning"] else str(write),
        "plot": None if plot is None else str(plot),
    }
    if common.as_json:
        output.emit({**result, **files})
    else:
        _print(result, files, dry_run=dry_run)
    if result["chosen"] is None:
        output.error(_none_found(result), as_json=common.as_json)
        return exit_codes.FAILED
    return exit_codes.DONE


def _check_place(path: Path, flag: str) -> None:
    """Said before minutes of measuring, not after. Raises typer.BadParameter."""
    from rag.errors import ConfigError
    from rag.tuned import file_to_write

    try:
        file_to_write(path)
    except ConfigError as error:
        raise typer.BadParameter(f"{error.message}. {error.next_step}", param_hint=flag) from error


def _write_settings(path: Path, result: Mapping[str, Any]) -> None:
    from rag.tuned import Tuning, write_settings

    write_settings(path, Tuning.model_validate(result["tuning"]))


def _draw(path: Path, result: Mapping[str, Any]) -> None:
    from eval.tuning.tune_plot import tuning_svg
    from rag.errors import InputError

    try:
        path.write_text(tuning_svg(result), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be written: {error.strerror}",
            next_step="Choose another file with --plot.",
        ) from error


def _none_found(result: Mapping[str, Any]) -> dict[str, str]:
    best = result["best"]
    return {
        "code": "target_not_met",
        "message": f"no setting reaches recall@{result['k']} {result['target_recall']:g}; "
        f"the best reaches {best['recall']:.4f}. Nothing was written.",
        "next_step": f"Ask for less, as in --target-recall {_below(best['recall']):g}, or search "
        "with --exact.",
    }


def _below(share: float) -> float:
    return int(share * 1000) / 1000


# --- for people ---------------------------------------------------------------------------------
def _print_reset(result: Mapping[str, Any], common: Common) -> None:
    if common.as_json:
        output.emit(result)
    elif result["reset"]:
        output.line(f"{output.clean(result['collection'])} is searched with the defaults again")
    else:
        output.line(f"{output.clean(result['collection'])} was not tuned")


def _print(result: Mapping[str, Any], files: Mapping[str, str | None], *, dry_run: bool) -> None:
    console = output.open_console()
    questions = result["questions"]
    origin = (
        f"sampled from the pages' own words, seed {questions['seed']}"
        if questions["from"] == "sampled"
        else "from the file"
    )
    counts = {"page": result["pages"], "vector": result["rows"], "question": questions["n"]}
    counted = [f"{count:,} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items()]
    console.print(f"{', '.join(counted)} ({origin})")
    numbers = (
        *("FDE to", "bits to", "recall", "interval", "loss", "median ms", "p95 ms"),
        *("hot B", "mapped B"),
    )
    shown = output.table("first stage", *numbers, "", right=numbers)
    for column in shown.columns:
        column.no_wrap = True
    for each in result["settings"]:
        notes = [name for name in ("chosen", "current") if each == result[name]]
        shown.add_row(
            _STAGES[each["first"]],
            str(each["candidates"]) if each["first"] == "fde" else "-",
            str(each["int8_candidates"]) if each["first"] != "int8" else "-",
            f"{each['recall']:.4f}",
            f"{each['recall_low']:.3f}-{each['recall_high']:.3f}",
            f"{each['ndcg_loss']:.4f}",
            f"{each['median_ms']:.2f}",
            f"{each['p95_ms']:.2f}",
            f"{each['hot_bytes']:,.0f}",
            f"{each['mapped_bytes']:,.0f}",
            Text(", ".join("in use" if name == "current" else name for name in notes)),
            style="bold green" if "chosen" in notes else "",
        )
    console.print(shown)
    console.print(
        f"recall and loss of nDCG at {result['k']} against exact MaxSim, 95 % interval; bytes are "
        "of one page",
        style="dim",
    )
    besides = result["besides_ms"]
    console.print(
        f"besides, under every setting: {besides['encode']:.1f} ms encode the question, "
        f"up to {besides['exact']:.1f} ms score what other legs found exactly",
        style="dim",
    )
    if result["tuning"] is not None:
        _print_chosen(result, files, dry_run=dry_run)
    if files["plot"]:
        output.note(f"drawn to {files['plot']}")
    output.warnings(result["warnings"])


def _print_chosen(
    result: Mapping[str, Any], files: Mapping[str, str | None], *, dry_run: bool
) -> None:
    output.line("[retrieval]")
    for name, value in result["tuning"]["retrieval"].items():
        output.line(f"{name} = {value}")
    if files["written"]:
        output.note(f"written to {files['written']}; use it with --config")
    elif dry_run:
        output.note("nothing was changed")
    else:
        output.note(
            f"searches of {output.clean(result['collection'])} use it from now on; "
            "octavo tune --reset drops it"
        )
