"""Answers as people read them: tables and lines on stdout, made from the JSON that programs get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from rag.apps.cli.job_report import jobs_table
from rag.apps.cli.output import clean, open_console, record, size, table

if TYPE_CHECKING:
    from rich.console import Console

RUN_MEASURES = ("nDCG@5", "nDCG@10", "R@10", "RR@10")  # measures.json has the rest
_STATE_COLUMNS = 14  # as wide as `would_replace`, and one between
STATE_STYLES = {
    "indexed": "green",
    "replaced": "green",
    "changed": "green",
    "moved": "green",
    "deleted": "yellow",
    "missing": "yellow",
    "unchanged": "dim",
    "partial": "yellow",
    "failed": "red",
    "refused": "red",
}


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _where(found: Mapping[str, Any]) -> str:
    return f"{clean(found['source'])}, page {found['page_number']}"


def page_list(pages: Iterable[int]) -> str:
    """`[3, 5, 6, 7]` as `3, 5-7`."""
    runs: list[list[int]] = []
    for page in sorted(pages):
        if runs and page == runs[-1][1] + 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def search(result: Mapping[str, Any]) -> None:
    console = open_console()
    if not result["hits"]:
        console.print("No page was found.")
        return
    shown = table("#", "page", "score", "match", "words", right=("#", "score", "match"), leading=1)
    shown.columns[1].overflow = "fold"
    shown.columns[4].ratio = 1
    documents = result.get("documents") or [None] * len(result["hits"])
    for hit, document in zip(result["hits"], documents, strict=True):
        shown.add_row(
            str(hit["rank"]),
            Text(_where(hit) + _other_pages(document), style="cyan"),
            f"{hit['score']:.2f}",
            _percent(hit["score_normalized"]),
            Text(clean(hit["snippet"])),
        )
    console.print(shown)


def _other_pages(document: Mapping[str, Any] | None) -> str:
    """The pages of a document after its best one."""
    if document is None or len(document["pages"]) < 2:
        return ""
    return ", " + ", ".join(str(page["page_number"]) for page in document["pages"][1:])


def explanation(result: Mapping[str, Any]) -> None:
    """What each stage handed on, and what each leg gave each hit: its score and rank there."""
    console = open_console()
    stages = table("stage", "pages", "ms", right=("pages", "ms"))
    for stage in result["stages"]:
        stages.add_row(stage["name"], str(stage["candidates"]), f"{stage['ms']:.2f}")
    console.print(stages)
    explained = result["explain"]
    followed = explained.get("expected")
    rows = [*explained["hits"], *([followed] if followed and followed["rank"] else [])]
    # A leg that says nothing of these pages has no column: twelve leave no room for their names.
    found = {leg for row in rows for leg in row["legs"]}
    names = [
        name for name in dict.fromkeys([*explained["weights"], *sorted(found)]) if name in found
    ]
    legs = table("#", "page", *names, right=("#", *names))
    for row in rows:
        parts = (row["legs"].get(name) for name in names)
        legs.add_row(
            str(row["rank"]),
            _where(row),
            *("-" if part is None else f"{part['score']:.3f} #{part['rank']}" for part in parts),
        )
    weights = (explained["weights"].get(name) for name in names)
    legs.add_row("", "weight", *("-" if w is None else f"{w:g}" for w in weights), style="dim")
    if rows:
        console.print(legs)
    if followed and "why" in followed:
        console.print(Text(f"The expected page: {clean(followed['why'])}"), soft_wrap=True)
    elif followed and not followed["rank"]:
        console.print("The expected page was no candidate of any leg.")


def documents(result: Mapping[str, Any]) -> None:
    console = open_console()
    if not result["documents"]:
        console.print("No documents.")
        return
    shown = table("source", "state", "pages", "notes", "document", right=("pages",))
    for document in result["documents"]:
        shown.add_row(
            Text(clean(document["source"]), style="cyan"),
            Text(document["state"], style=STATE_STYLES.get(document["state"], "")),
            str(document["pages"]),
            Text("; ".join([*_reason(document), *page_notes(document), *_metadata(document)])),
            Text(clean(document["document_id"]), style="dim"),
        )
    console.print(shown)


def document(result: Mapping[str, Any]) -> None:
    """One document: its facts, then a line for each page."""
    record({key: value for key, value in result.items() if key not in ("page_list", "versions")})
    shown = table("page", "state", "words", "size, pt", "remarks", right=("page", "words"))
    for page in result["page_list"]:
        shown.add_row(
            str(page["page_number"]),
            page["state"],
            str(page["words"]),
            f"{page['width_pt']:g} x {page['height_pt']:g}",
            "; ".join(_page_remarks(page)),
        )
    open_console().print(shown)
    if len(result["versions"]) > 1:
        _versions(result["versions"])


def _versions(found: Sequence[Mapping[str, Any]]) -> None:
    numbers = ("pages", "unchanged")
    shown = table("version", "published", "until", *numbers, "by", "sha256", right=numbers)
    for each in found:
        ended_at = each["ended_at"]
        shown.add_row(
            each["version_id"],
            _at(each["published_at"]),
            "now" if ended_at is None else _at(ended_at),
            str(each["pages"]),
            str(each["reused_pages"]),
            clean(each["ingested_by"]),
            each["sha256"][:12],
        )
    open_console().print(shown)


def _page_remarks(page: Mapping[str, Any]) -> Iterator[str]:
    if page["reason"]:
        yield clean(page["reason"])
    if page.get("hidden_words"):
        yield f"{page['hidden_words']} hidden words left out"
    if page.get("ocr"):
        yield f"read by {clean(page['ocr'])}"


def _reason(document: Mapping[str, Any]) -> list[str]:
    error = document.get("error")
    return [clean(error["message"])] if error else []


def _metadata(document: Mapping[str, Any]) -> list[str]:
    metadata = document.get("metadata") or {}
    return [f"{clean(key)}={clean(value)}" for key, value in metadata.items()]


def page_notes(document: Mapping[str, Any]) -> list[str]:
    """Blank, wordless and failed pages by number."""
    failed = document.get("failed_pages") or []
    reasons = sorted({clean(page["reason"]) for page in failed})
    ocr_pages = document.get("ocr_pages") or []
    return [
        f"{label} {page_list(pages)}{suffix}"
        for label, pages, suffix in (
            ("blank", document.get("blank_pages") or [], ""),
            ("no text", document.get("no_text_pages") or [], ""),
            (_read_by_ocr(ocr_pages), ocr_pages, ""),
            ("failed", [page["page_number"] for page in failed], f" ({', '.join(reasons)})"),
        )
        if pages
    ]


def _unchanged_pages(event: Mapping[str, Any]) -> list[str]:
    n_reused = event.get("reused_pages", 0)
    return [f"{n_reused} of {event['pages']} pages unchanged"] if n_reused else []


def _read_by_ocr(pages: Sized) -> str:
    return f"read by OCR: page{'' if len(pages) == 1 else 's'}"


def ingested(event: Mapping[str, Any], console: Console) -> None:
    """One line for a document that is done, more where something was wrong with it."""
    state = event["state"]
    found = event.get("error")
    notes = [*page_notes(event), *_unchanged_pages(event)]
    # A rehearsal opens nothing, so it counts no pages.
    unknown = found or state.startswith("would_")
    count = "" if unknown else f"  {event['pages']} page{'' if event['pages'] == 1 else 's'}"
    text = Text.assemble(
        (f"{state:<{_STATE_COLUMNS}}", STATE_STYLES.get(state, "")),
        (clean(event["source"]), "cyan"),
        count,
        f" ({'; '.join(notes)})" if notes else "",
        f"  from {clean(event['moved_from'])}" if "moved_from" in event else "",
    )
    if found:
        text.append(f"\n{'':{_STATE_COLUMNS}}{clean(found['message'])}", style="red")
        if found.get("next_step"):
            text.append(f"\n{'':{_STATE_COLUMNS}}next: {clean(found['next_step'])}")
    for warning in event.get("warnings") or []:
        text.append(f"\n{'':{_STATE_COLUMNS}}{clean(warning['message'])}", style="yellow")
    console.print(text, soft_wrap=True)


def totals(result: Mapping[str, Any]) -> None:
    def counted(counts: Mapping[str, int], *, noun: str) -> str:
        parts = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
        whole = sum(counts.values())
        return f"{whole} {noun}{'' if whole == 1 else 's'}" + (f" ({parts})" if parts else "")

    pages = result["pages"]
    n_pages = sum(pages.values())
    read = f", {counted(pages, noun='page')}" if n_pages else ""
    rate = f", {n_pages / result['seconds']:.1f} pages/s" if n_pages and result["seconds"] else ""
    open_console().print(
        f"{counted(result['documents'], noun='document')}{read} in {result['seconds']:.1f} s{rate}"
    )
    stages = ("read", "encode", "records", "write")
    if n_pages and (throughput := result.get("throughput")):
        shares = (f"{stage} {throughput[f'{stage}_busy']:.0%}" for stage in stages)
        open_console().print(f"busy: {', '.join(shares)} of the time", style="dim")


def migrated(result: Mapping[str, Any]) -> None:
    totals(result)
    console = open_console()
    before, now = clean(result["encoder_before"]), clean(result["encoder"])
    name = clean(result["collection"])
    if result["switched"]:
        console.print(f"Collection {name} is encoded by {now} now; it was by {before}.")
    else:
        console.print(
            f"Collection {name} is as it was, by {before}: the documents above could not be "
            "encoded again. Mend or delete them and run the command again, which goes on where it "
            "stopped, or give it up with --abandon.",
            style="yellow",
        )


def runs(found: Sequence[Mapping[str, Any]], folder: Path) -> None:
    console = open_console()
    if not found:
        there = "" if folder.is_dir() else ", which is no folder"
        console.print(Text(f"No runs in {clean(str(folder))}{there}."), soft_wrap=True)
        return
    numbers = ("n", *RUN_MEASURES, "right, cited")
    shown = table("run", "of", "scope", *numbers, "finished", right=numbers)
    for each in found:
        parts = each.get("parts")
        means = each.get("measures") or each.get("macro") or {}
        headline = each.get("headline", {}).get("right_cited")
        shown.add_row(
            Text(clean(each["out"]), style="cyan"),
            each["kind"] if parts is None else f"{each['parts_are']}, {len(parts)} parts",
            each.get("scope", ""),
            str(each.get("n_questions", "")),
            # Runs of older versions hold fewer measures.
            *(f"{means[name]:.4f}" if name in means else "-" for name in RUN_MEASURES),
            "-" if headline is None else f"{headline:.4f}",
            _when(each.get("finished_at", "")),
        )
    console.print(shown)


def _when(finished_at: str) -> str:
    """In the time of here; "-" where the run does not say."""
    if not finished_at:
        return "-"
    return f"{datetime.fromisoformat(finished_at).astimezone():%Y-%m-%d %H:%M}"


def _at(seconds: float) -> str:
    """Seconds since 1970 in the time of here."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def collections(result: Mapping[str, Any]) -> None:
    console = open_console()
    if not result["collections"]:
        console.print("No collections.")
        return
    shown = table("collection", "documents", "pages", "encoder", right=("documents", "pages"))
    for each in result["collections"]:
        shown.add_row(
            Text(clean(each["name"]), style="cyan"),
            str(each["documents"]),
            str(each["pages"]),
            clean(each["encoder"]),
        )
    console.print(shown)


def status(result: Mapping[str, Any]) -> None:
    """The collections, then jobs: at work, waiting, the latest that ended.

    Before them a store that nobody can search or write to now.
    """
    store = result.get("store")
    if store is not None and not store["ok"]:
        line = f"{store['name']}: {clean(store['detail'])}"
        open_console().print(Text(line, style="yellow"), soft_wrap=True)
    collections(result)
    if "disk" in result:
        console = open_console()
        for line in _figures(result):
            console.print(Text(clean(line), style="dim"), soft_wrap=True)
    if not result["jobs"]:
        return
    jobs_table(result["jobs"])


def _figures(result: Mapping[str, Any]) -> Iterator[str]:
    """What `status` says of the folder, a line for each thing."""

    def listed(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{n} {name}" for name, n in counts.items()) or "none"

    yield f"documents: {listed(result['documents'])}; pages: {listed(result['pages'])}"
    taken = ", ".join(
        f"{name.replace('_', ' ')} {size(n)}" for name, n in result["bytes"].items() if n
    )
    disk = result["disk"]
    yield (
        f"disk: {taken or 'nothing'}; {size(disk['free_bytes'])} free, of which "
        f"{size(disk['reserve_bytes'])} stay so"
    )
    close, verified = result["last_close"], result["last_verify"]
    closed = (
        "closed: not known"
        if close is None
        else (f"closed: {'cleanly, ' if close['clean'] else 'not cleanly since '}{close['at']}")
    )
    said = (
        "never"
        if verified is None
        else (
            f"{verified['at']}, {'ok' if verified['ok'] else str(verified['damaged']) + ' damaged'}"
        )
    )
    yield f"{closed}; verified: {said}"
    index = result["index"]
    deaths = sum(each["deaths"] for each in index.get("open", {}).values())
    yield (
        f"readers: {result['readers']['detail']}; index: {index['kind']}"
        + (f", ended {deaths} times" if deaths else "")
    )


_TOLD_BY_CHECKS = ("checks", "encoder_model", "encoder_device", "hub_models", "settings")


def examination(result: Mapping[str, Any], *, changed: Mapping[str, Any]) -> None:
    """What the doctor found; of the settings only those that differ from their defaults."""
    console = open_console()
    for check in result["checks"]:
        mark = ("ok      ", "green") if check["ok"] else ("missing ", "yellow")
        console.print(
            Text.assemble(mark, f"{check['name']:<20} ", (clean(check["detail"]), "dim")),
            soft_wrap=True,
        )
        if check["next_step"]:
            console.print(f"{'':8}next: {clean(check['next_step'])}", soft_wrap=True)
    console.print()
    facts = {key: value for key, value in result.items() if key not in _TOLD_BY_CHECKS}
    record(facts | {"settings_changed": changed})
