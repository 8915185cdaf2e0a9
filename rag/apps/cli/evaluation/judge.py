"""`eval judge`: answers of a run judged by a chat model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.apps.cli import exit_codes, output
from rag.apps.cli.evaluation.prices import PriceCached, PriceCompletion, PricePrompt, prices_asked
from rag.apps.cli.flags import Common, add_command
from rag.apps.cli.progress import progress_bar

if TYPE_CHECKING:
    from eval.judge.material import JudgedRun
    from rag.ports import ChatModel
    from rag.settings import ChatSettings, Settings
    from rag.types import Json

_JUDGE_PANEL = "Judge"
_PRICES_PANEL = "Prices of a million tokens"


def register(family: typer.Typer) -> None:
    add_command(family, judge, name="judge", help_text="Have a chat model judge a run's answers.")


def judge(
    common: Common,
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of `eval run --answers --out`.")
    ],
    pairwise: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER", help="Another such run: which of the two answers better, by pairs."
        ),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Of the dataset: the words of its gold pages are shown to the judge. Without it "
            "faithfulness is not judged.",
        ),
    ] = None,
    votes: Annotated[
        int, typer.Option(min=1, max=15, help="Readings of each set of claims; the most win.")
    ] = 3,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Labels of people, as JSON lines: does the judge agree with them?"
        ),
    ] = None,
    judge_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Default: chat.model", rich_help_panel=_JUDGE_PANEL),
    ] = None,
    judge_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Its server, with /v1; the key is OPENAI_API_KEY. Default: chat.url",
            rich_help_panel=_JUDGE_PANEL,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="Questions judged at a time.")
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of the orders claims are shown in.")] = 0,
    price_prompt: PricePrompt = None,
    price_completion: PriceCompletion = None,
    price_cached: PriceCached = None,
) -> int:
    """Complete and faithful, claim by claim; or which of two runs answers better."""
    from eval.judge.agreement import read_labels
    from eval.judge.claims import ClaimJudge
    from eval.judge.pairwise import PairJudge
    from eval.judge.report import claims_report, pairs_report
    from eval.judge.run import Judging, judge_claims, judge_pairs
    from rag.wiring import load_chat

    settings = common.settings()
    prices = prices_asked(price_prompt, price_completion, price_cached)
    known = None if labels is None else read_labels(labels)
    run, other = _runs(settings, folder, pairwise, dataset)
    chat = _required(load_chat(judging_chat(settings.chat, judge_model, judge_url)))
    try:
        with progress_bar("questions") as progress:
            task = progress.add_task("judging", total=None)
            judging = Judging(
                workers,
                prices,
                lambda done, whole: progress.update(task, completed=done, total=whole),
                known,
            )
            if other is None:
                figures = judge_claims(run, ClaimJudge(chat, votes, seed), judging)
            else:
                figures = judge_pairs(run, other, PairJudge(chat, votes), judging)
    finally:
        chat.close()
    if common.as_json:
        output.emit({**figures, "out": str(folder)})
    else:
        output.line((claims_report if other is None else pairs_report)(figures))
        output.note(f"written to {folder}")
    return exit_codes.PARTIAL if figures["errors"] else exit_codes.DONE


def judging_chat(chat: ChatSettings, model: str | None, url: str | None) -> ChatSettings:
    """The settings of the chat model, with another one judging.

    The key of `chat.api_key` is not told to another server.
    """
    changed: Json = {} if model is None else {"model": model}
    if url is not None and url != chat.url:
        changed |= {"url": url, "provider": "openai", "api_key": None}
    return chat.model_copy(update=changed)


def _required(chat: ChatModel | None) -> ChatModel:
    from rag.errors import ConfigError

    if chat is None:
        raise ConfigError(
            "there is no chat model to judge",
            next_step="Name one with --judge-model and --judge-url, or set chat.model and "
            "chat.url.",
        )
    return chat


def _runs(
    settings: Settings, folder: Path, pairwise: Path | None, dataset_folder: Path | None
) -> tuple[JudgedRun, JudgedRun | None]:
    """The run, and the one it is compared with; with the words of their gold pages, if any."""
    from eval.datasets.folder import load_dataset
    from eval.judge.material import asked_rows, gold_pages_of, read_judged_run, read_words
    from rag.renderers.isolated import IsolatedReader

    if dataset_folder is None:
        run = read_judged_run(folder)
        return run, None if pairwise is None else read_judged_run(pairwise)
    dataset = load_dataset(dataset_folder)
    read_judged_run(folder, dataset)  # refused before pages are read
    with IsolatedReader(settings.render, ocr=settings.ocr) as reader:
        words = read_words(dataset, reader, gold_pages_of(asked_rows(folder, dataset)))
    run = read_judged_run(folder, dataset, words)
    return run, None if pairwise is None else read_judged_run(pairwise, dataset, words)
