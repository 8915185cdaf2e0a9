"""`ask` and `chat`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rag.apps.cli import answer_report, exit_codes, output
from rag.apps.cli.flags import (
    AfterFlag,
    Common,
    DocumentFlag,
    FilterFlag,
    FiltersFlag,
    Mode,
    ModeFlag,
    PagesFlag,
    add_command,
    opened,
    page_reference,
    scope,
)
from rag.apps.cli.picture import write_evidence

ANSWER_PANEL = "Who answers, and how"


class Answerer(StrEnum):
    """Who answers."""

    EXTRACTIVE = "extractive"
    CHAT = "chat"


class EvidenceKind(StrEnum):
    """What of a page the answer model is shown."""

    AUTO = "auto"
    TEXT = "text"
    IMAGE = "image"
    BOTH = "both"


class Policy(StrEnum):
    """What becomes of statements without support."""

    STRICT = "strict"
    FLAG = "flag"


AnswererFlag = Annotated[
    Answerer | None,
    typer.Option(
        help="The pages' own words, or the model of the settings chat. Default: answer.model.",
        rich_help_panel=ANSWER_PANEL,
    ),
]
EvidenceFlag = Annotated[
    EvidenceKind | None,
    typer.Option(help="What of a page a chat model is shown.", rich_help_panel=ANSWER_PANEL),
]
PolicyFlag = Annotated[
    Policy | None,
    typer.Option(
        help="Leave statements without support out, or flag them.", rich_help_panel=ANSWER_PANEL
    ),
]
StreamFlag = Annotated[
    bool | None,
    typer.Option(
        "--stream/--no-stream",
        help="Show the answer while it arrives; with --json, a line for each event. Default: on "
        "a terminal.",
        rich_help_panel=ANSWER_PANEL,
    ),
]


def register(app: typer.Typer) -> None:
    add_command(
        app, ask, name="ask", help_text="Answer a question from the documents, with citations."
    )
    add_command(
        app,
        chat,
        name="chat",
        help_text="Ask with follow-up questions; what was said is kept with its citations.",
    )


def ask(
    common: Common,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="A question.")],
    after: AfterFlag = None,
    mode: ModeFlag = Mode.HYBRID,
    answerer: AnswererFlag = None,
    evidence: EvidenceFlag = None,
    policy: PolicyFlag = None,
    stream: StreamFlag = None,
    from_pages: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="DOC:PAGE",
            help="Answer from this page, without a search; it has to be in scope. Repeatable.",
            rich_help_panel=ANSWER_PANEL,
        ),
    ] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the first cited page as PNG, evidence marked."),
    ] = None,
    filter_flags: FilterFlag = None,
    filters: FiltersFlag = None,
    documents: DocumentFlag = None,
    pages: PagesFlag = None,
) -> int:
    where = scope(filter_flags, filters, documents, pages)
    given = [page_reference(text, flag="--from") for text in from_pages or []]
    settings = common.settings()
    view = _View(common, stream)
    with opened(settings, "ask") as octavo:
        result = octavo.ask(
            question=question,
            collection=common.collection,
            mode=mode.value,
            history=[[before] for before in after or []],
            from_pages=[list(page) for page in given],
            answering=_answering(answerer, evidence, policy),
            on_event=view.on_event,
            **where,
        )
        page = None
        if heatmap is not None and result["citations"]:
            cited = result["citations"][0]
            page = octavo.page_png(
                document=cited["document_id"],
                page_number=cited["page_number"],
                collection=common.collection,
                dpi=settings.render.dpi,
            )
    view.show(result)
    if heatmap is not None and page is not None:
        beside = _boxes_beside(result["citations"], result["citations"][0])
        write_evidence(page, beside, heatmap)
    elif heatmap is not None and not common.as_json:
        output.note(f"No page is cited, so {output.clean(heatmap)} is not written.")
    return exit_codes.DONE if result["error"] is None else exit_codes.FAILED


def chat(
    common: Common,
    context: typer.Context,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", metavar="ID", help="Go on with this conversation."),
    ] = None,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Go on with the last conversation.")
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="Name the conversations kept.")] = False,
    shown: Annotated[
        str | None, typer.Option("--show", metavar="ID", help="Print a conversation.")
    ] = None,
    deleted: Annotated[
        str | None, typer.Option("--delete", metavar="ID", help="Delete a conversation.")
    ] = None,
    mode: ModeFlag = Mode.HYBRID,
    answerer: AnswererFlag = None,
    evidence: EvidenceFlag = None,
    policy: PolicyFlag = None,
    stream: StreamFlag = None,
    filter_flags: FilterFlag = None,
    filters: FiltersFlag = None,
    documents: DocumentFlag = None,
    pages: PagesFlag = None,
) -> int:
    if sum([listing, shown is not None, deleted is not None]) > 1 or (conversation and go_on):
        raise typer.BadParameter("give one of --list, --show, --delete, --conversation, --continue")
    options = {
        "mode": mode.value,
        "answering": _answering(answerer, evidence, policy),
        **scope(filter_flags, filters, documents, pages),
    }
    with opened(common.settings(), "chat") as octavo:
        if listing:
            _emit(common, octavo.conversations(), answer_report.conversations)
        elif shown is not None:
            _emit(common, octavo.conversation(conversation=shown), answer_report.conversation)
        elif deleted is not None:
            gone = octavo.delete_conversation(conversation=deleted)
            _emit(common, gone, lambda _: output.line("deleted"))
        else:
            if go_on:
                last = octavo.conversations()["conversations"][:1]
            else:  # is it there? before a question
                last = [octavo.conversation(conversation=conversation)] if conversation else []
            options["collection"] = _collection(common, context, *last)
            octavo.list_documents(collection=options["collection"])  # the same of the collection
            conversation = last[0]["conversation_id"] if last else None
            return _Talk(octavo, common, stream, options, conversation).hold()
    return exit_codes.DONE


def _collection(
    common: Common, context: typer.Context, kept: Mapping[str, Any] | None = None
) -> str:
    """Of a conversation that is kept, or else the flag's; both where they are the same.

    Raises:
        InputError: `other_collection`, where they are not.
    """
    from rag.errors import InputError

    if kept is None:
        return common.collection
    about: str = kept["collection"]
    source = context.get_parameter_source("collection")
    is_given = source is not None and source.name != "DEFAULT"
    if is_given and about != common.collection:
        raise InputError(
            f"conversation {kept['conversation_id']} is about the collection {about!r}, and "
            f"{common.collection!r} was asked for",
            code="other_collection",
            next_step=f"Leave -c out, which goes on in {about!r}, or begin a new conversation.",
        )
    return about


class _Talk:
    """Question by question in one conversation."""

    def __init__(
        self,
        octavo: Any,
        common: Common,
        stream: bool | None,
        options: Mapping[str, Any],
        conversation: str | None,
    ) -> None:
        self._octavo = octavo
        self._common = common
        self._stream = stream
        self._options = options
        self._conversation = conversation

    def hold(self) -> int:
        """Until the input ends; the code of the worst question."""
        ended = exit_codes.DONE
        try:
            for question in _questions(self._common):
                if self._ask(question) != exit_codes.DONE:
                    ended = exit_codes.FAILED
        except KeyboardInterrupt as interrupt:
            raise exit_codes.Interrupted(self._how_to_go_on()) from interrupt
        if not self._common.as_json and self._is_kept():
            output.note(f"Kept: octavo chat --conversation {self._conversation}")
        return ended

    def _ask(self, question: str) -> int:
        from rag.errors import RagError

        view = _View(self._common, self._stream)
        try:
            result = self._octavo.chat(
                question=question,
                conversation=self._conversation,
                on_event=view.on_event,
                **self._options,
            )
        except RagError as error:  # one question that cannot be asked does not end the talk
            if error.code == "unknown_conversation":  # deleted meanwhile: there is none to go on in
                raise
            output.error(error.as_dict(), as_json=self._common.as_json)
            return exit_codes.FAILED
        self._conversation = result["conversation_id"]
        view.show(result)
        return exit_codes.DONE if result["error"] is None else exit_codes.FAILED

    def _is_kept(self) -> bool:
        """Another process may have deleted it since the last question."""
        from rag.errors import NotFound

        if self._conversation is None:
            return False
        try:
            self._octavo.conversation(conversation=self._conversation)
        except NotFound:
            return False
        return True

    def _how_to_go_on(self) -> str:
        if self._conversation is None:
            return "No answer was kept; `octavo chat` begins a new conversation."
        return f"octavo chat --conversation {self._conversation} goes on from there."


def _questions(common: Common) -> Iterator[str]:
    """Lines of the input; on a terminal with a prompt, until an empty end or /quit."""
    is_terminal = sys.stdin.isatty() and not common.as_json
    if is_terminal:
        import readline  # noqa: F401 - importing it is what gives input() its line editing

        output.note("Ask; /quit or Ctrl-D ends.")
    while True:
        try:
            line = input("> ") if is_terminal else sys.stdin.readline()
        except EOFError:
            return
        except OSError as error:
            from rag.errors import InputError

            raise InputError(
                f"stdin cannot be read: {error.strerror or error}",
                code="input_unreadable",
                next_step="Give questions a line each, from a terminal, a pipe or a file.",
            ) from error
        if not is_terminal and not line:
            return
        question = line.strip()
        if question == "/quit":
            return
        if question:
            yield question


class _View:
    """How one answer is shown: while it arrives or once it is there, to people or programs."""

    def __init__(self, common: Common, stream: bool | None) -> None:
        self._as_json = common.as_json
        by_default = sys.stdout.isatty() and not common.as_json
        self._streams = by_default if stream is None else stream
        self._teller = answer_report.Teller()

    def on_event(self, event: Mapping[str, Any]) -> None:
        if not self._streams:
            return
        if self._as_json:
            output.emit(event)
        else:
            self._teller(event)

    def show(self, result: Mapping[str, Any]) -> None:
        if self._as_json:
            output.emit({"event": "done", **result} if self._streams else result)
        else:
            self._teller.end()
            answer_report.answer(result, is_heard=self._teller.has_told)
            output.warnings(result.get("warnings", []))
            sure = "" if result["error"] else f"confidence {result['confidence']:.2f}, "
            output.note(f"\n{result['model_id']}, {sure}{result['timings_ms']['total']:.0f} ms")
        if result["error"] is not None:
            output.error(result["error"], as_json=self._as_json)


def _emit(common: Common, result: Mapping[str, Any], show: Any) -> None:
    if common.as_json:
        output.emit(result)
    else:
        show(result)


def _answering(
    answerer: Answerer | None, evidence: EvidenceKind | None, policy: Policy | None
) -> dict[str, str]:
    """Flags as settings of the section answer."""
    chosen = {"model": answerer, "evidence": evidence, "policy": policy}
    return {name: value.value for name, value in chosen.items() if value is not None}


def _boxes_beside(
    citations: Sequence[Mapping[str, Any]], cited: Mapping[str, Any]
) -> list[Sequence[float]]:
    """The boxes of every citation of the same page."""
    page = (cited["document_id"], cited["page_number"])
    return [
        box
        for citation in citations
        if (citation["document_id"], citation["page_number"]) == page
        for box in citation["boxes"]
    ]
