"""`eval make`: a starter set of questions from one's own documents, decided by a person."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from rag.apps.cli import exit_codes, output
from rag.apps.cli.flags import Common, add_command, made_folder
from rag.apps.cli.progress import counting, progress_bar
from rag.errors import ConfigError, InputError

if TYPE_CHECKING:
    from eval.starter.candidate import Candidate, Kind
    from rag.settings import Settings
    from rag.types import Notice

_KEYS = "a accept, e edit, r reject, s later, q stop"


def register(family: typer.Typer) -> None:
    add_command(
        family,
        make,
        name="make",
        help_text="Make a starter set of questions from your own PDFs, and review it.",
    )


def make(
    common: Common,
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            metavar="DIR",
            help="The dataset folder. One that was begun is gone on with.",
        ),
    ],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH...", help="PDFs, images and folders; none to go on."),
    ] = None,
    per_document: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Questions of a document at most.")
    ] = 20,
    made_of: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="KINDS",
            help="What questions are made of: heading, table, model (the chat model of the "
            "settings), with commas between.",
        ),
    ] = "heading,table",
    review: Annotated[
        bool, typer.Option(help="Ask for a decision on each question at the terminal.")
    ] = True,
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Take all that are not decided yet.")
    ] = False,
) -> int:
    """Every decision is kept at once; the folder is a dataset as soon as one is accepted."""
    from eval.starter.folder import read_candidates

    kinds = _kinds(made_of)
    made_folder(to, flag="--to")
    candidates = read_candidates(to)
    notices: list[Notice] = []
    if not candidates:
        if not paths:
            raise typer.BadParameter("name the documents to ask about", param_hint="PATH")
        candidates, notices = _proposed(common.settings(), paths, to, kinds, per_document)
    elif paths:
        raise typer.BadParameter(
            f"{to} holds questions already; go on with them without PATH, or choose another folder",
            param_hint="PATH",
        )
    candidates = _decided(to, candidates, asks=review and not common.as_json, takes=accept_all)
    counts = Counter(each.decision.value for each in candidates)
    if common.as_json:
        output.emit(
            {
                "out": str(to),
                "candidates": len(candidates),
                **{name: counts[name] for name in ("accepted", "rejected", "pending")},
                "kinds": dict(Counter(each.kind.value for each in candidates)),
                "warnings": [notice.as_dict() for notice in notices],
            }
        )
    else:
        output.warnings([notice.as_dict() for notice in notices])
        accepted = f"{counts['accepted']} question{'' if counts['accepted'] == 1 else 's'} accepted"
        output.line(f"{accepted}, {counts['rejected']} rejected, {counts['pending']} to decide")
        if counts["accepted"]:
            output.note(f"measure on it: octavo eval run {shlex.quote(str(to))}")
        if counts["pending"]:
            output.note(f"go on: octavo eval make --to {shlex.quote(str(to))}")
        if n_in_page_words := sum(map(_is_in_page_words, candidates)):
            output.note(
                f"{n_in_page_words} of the questions use the words of their page, so that a search "
                "finds them more easily than what people ask: reword them (e), or expect lower "
                "figures in use"
            )
    return exit_codes.DONE


def _is_in_page_words(candidate: Candidate) -> bool:
    from eval.starter.candidate import Decision, Kind

    is_in_set = candidate.decision is not Decision.REJECTED
    return is_in_set and candidate.kind is not Kind.MODEL and not candidate.is_edited


def _kinds(text: str) -> list[Kind]:
    from eval.starter.candidate import Kind

    try:
        kinds = [Kind(name.strip()) for name in text.split(",") if name.strip()]
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}; there are {', '.join(kind.value for kind in Kind)}", param_hint="--from"
        ) from error
    if not kinds:
        raise typer.BadParameter("name at least one", param_hint="--from")
    return list(dict.fromkeys(kinds))


def _proposed(
    settings: Settings, paths: list[Path], to: Path, kinds: list[Kind], per_document: int
) -> tuple[list[Candidate], list[Notice]]:
    from eval.starter.candidate import Kind
    from eval.starter.folder import keep_documents, write_starter
    from eval.starter.propose import propose
    from rag.wiring import load_chat

    chat = load_chat(settings.chat) if Kind.MODEL in kinds else None
    if chat is None and Kind.MODEL in kinds:
        raise ConfigError(
            "questions of a model are asked for, and no chat model is set",
            code="no_chat_model",
            next_step="Set chat.model and chat.url (OCTAVO_CHAT__MODEL, OCTAVO_CHAT__URL), or "
            "leave model out of --from.",
        )
    try:
        files, notices = _files(paths)
        with progress_bar("pages") as progress:
            proposed = propose(
                files,
                kinds,
                per_document=per_document,
                render=settings.render,
                chat=chat,
                progress=counting(progress),
            )
    finally:
        if chat is not None:
            chat.close()
    notices += proposed.notices
    if not proposed.candidates:
        why = "".join(f"; {notice.message}" for notice in notices)
        raise InputError(
            f"nothing was found to ask about{why}",
            next_step="Documents want headings or tables with words in them; scans want OCR. "
            "With a chat model, add model to --from.",
        )
    keep_documents(to, {name: files[name] for name in proposed.documents})
    write_starter(to, proposed.candidates)
    return proposed.candidates, notices


def _files(paths: list[Path]) -> tuple[dict[str, Path], list[Notice]]:
    """Name below docs/ to file; and what is left out."""
    from ingestion.source import SourceFile, discover
    from rag.types import Notice

    files: dict[str, Path] = {}
    notices = []
    for each in discover([path.absolute() for path in paths]):
        name = each.path.name
        if not isinstance(each, SourceFile):
            notices.append(Notice(each.code, f"{each.source}: {each.message}"))
        elif name in files:
            notices.append(
                Notice("same_name", f"{each.source}: another document is called so; left out")
            )
        else:
            files[name] = each.path
    return files, notices


def _decided(to: Path, candidates: list[Candidate], *, asks: bool, takes: bool) -> list[Candidate]:
    """The candidates with the decisions made now, each of which is kept before the next."""
    from eval.starter.candidate import Decision
    from eval.starter.folder import write_starter

    decided = list(candidates)
    waiting = [place for place, each in enumerate(decided) if each.decision is Decision.PENDING]
    if takes:
        for place in waiting:
            decided[place] = decided[place].model_copy(update={"decision": Decision.ACCEPTED})
        write_starter(to, decided)
    elif asks and waiting:
        console = output.open_console()
        console.print(f"{len(waiting)} questions to decide: {_KEYS}", style="dim")
        for number, place in enumerate(waiting, start=1):
            _show(console, decided[place], f"{number}/{len(waiting)}")
            changed = _asked(decided[place])
            if changed is None:
                break
            decided[place] = changed
            write_starter(to, decided)
    return decided


def _show(console: Console, candidate: Candidate, where: str) -> None:
    console.print()
    console.print(Text(f"{where}  {candidate.doc}, page {candidate.page_number}", style="cyan"))
    for name in ("text", "answer", "context"):
        shown = output.clean(getattr(candidate, name))
        console.print(Text.assemble((f"{'question' if name == 'text' else name:9}", "dim"), shown))


def _asked(candidate: Candidate) -> Candidate | None:
    """With the decision of whoever sits at the terminal; None to stop."""
    from eval.starter.candidate import Decision

    while True:
        try:
            key = typer.prompt("decide", default="s", prompt_suffix=" [a/e/r/s/q] ").strip().lower()
            match key:
                case "a" | "accept":
                    return candidate.model_copy(update={"decision": Decision.ACCEPTED})
                case "r" | "reject":
                    return candidate.model_copy(update={"decision": Decision.REJECTED})
                case "s" | "later":
                    return candidate
                case "q" | "stop":
                    return None
                case "e" | "edit":
                    text = typer.prompt("question", default=candidate.text).strip()
                    answer = typer.prompt("answer", default=candidate.answer).strip()
                    return candidate.model_copy(
                        update={
                            "text": text or candidate.text,
                            "answer": answer,
                            "decision": Decision.ACCEPTED,
                            "is_edited": (text, answer) != (candidate.text, candidate.answer),
                        }
                    )
        except typer.Abort:  # the end of what is typed, or Ctrl-C: what was decided is kept
            return None
        output.note(_KEYS)
