"""A question as a report shows it: what each run found and answered, and which pages to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.datasets.folder import PageKey
from eval.reports.model import (
    AnswerShown,
    CitationShown,
    PictureShown,
    QuestionShown,
    Seen,
)
from eval.reports.pictures import BoxPt, Wanted
from eval.reports.run_folder import Asked, RunFolder, is_number
from rag.types import Json

_MOST_CITATIONS, _MOST_BOXES = 6, 40


def shown_question(query_id: str, runs: Mapping[str, RunFolder]) -> QuestionShown:
    """With pictures of the best gold page and of each run's first page, once each."""
    first = next(iter(runs.values()))
    asked = first.questions[query_id]
    gold = sorted(asked.gold, key=lambda page: (-asked.gold[page], page))
    # Only where heat maps differ it is said of which run each is.
    searching = [run for run in runs.values() if not _is_fused(run, asked)]
    n_vectors = len({_vectors(run, asked) for run in searching})
    seen = [
        _seen(label, run, asked, gold[:1], heat_of=f" of {label}" if n_vectors > 1 else "")
        for label, run in runs.items()
    ]
    pages = dict.fromkeys([*gold[:1], *(each.first for each in seen if each.first)])
    return QuestionShown(
        id=query_id,
        text=asked.text,
        type=asked.type,
        expected=asked.answer,
        groups=dict(asked.groups),
        gold=tuple(gold),
        pages=tuple(
            PictureShown(
                _page_label(page, asked),
                f"{_page_label(page, asked)}: page {page.page_number} of {page.doc}",
                Wanted(page, _documents(first, asked), part=asked.part),
            )
            for page in pages
        ),
        seen=tuple(seen),
    )


def _page_label(page: PageKey, asked: Asked) -> str:
    return "Gold page" if page in asked.gold else "Found first"


def _documents(run: RunFolder, asked: Asked) -> str:
    """What a plain page depends on."""
    head = _head(run, asked)
    return str(head.get("dataset_digest") or head.get("dataset") or "")


def _head(run: RunFolder, asked: Asked) -> Json:
    """Of the part that the question is of."""
    return next((part.head for part in run.parts if part.name == asked.part), run.head)


def _seen(
    label: str, run: RunFolder, asked: Asked, gold: Sequence[PageKey], *, heat_of: str
) -> Seen:
    side = run.searches
    found = _found(run, asked)
    ranks = [rank for rank, page in enumerate(found, start=1) if page in asked.gold]
    first = found[0] if found else None
    values = {
        measure: value
        for side in run.sides
        for measure in side.measures
        if (value := side.value(asked.id, measure)) is not None
    }
    head_refused = {} if side is None else side.head.get("refused") or {}
    return Seen(
        run=label,
        values=values,
        first=first,
        first_is_gold=first in asked.gold,
        gold_rank=ranks[0] if ranks else None,
        n_found=len(found),
        refusal=str(head_refused.get(asked.id, "")),
        heat=tuple(
            PictureShown(
                f"{_page_label(page, asked)}, heat map{heat_of}",
                f"Page {page.page_number} of {page.doc} with what speaks to question {asked.id} "
                f"marked by heat{heat_of}",
                Wanted(page, _vectors(run, asked), query_text=asked.text, part=asked.part),
            )
            for page in dict.fromkeys([*gold, *([first] if first else [])])
            if asked.text and not _is_fused(run, asked)
        ),
        answer=_answer(run, asked),
    )


def _found(run: RunFolder, asked: Asked) -> list[PageKey]:
    """Pages of the search, or those an answer was made from."""
    if asked.id in run.found:
        found = [hit.page for hit in run.found[asked.id]]
    else:
        told = run.answered.get(asked.id, {}).get("pages")
        found = [
            PageKey(str(page.get("source") or ""), int(page.get("page_number") or 0))
            for page in (told if isinstance(told, list) else ())
            if isinstance(page, Mapping)
        ]
    if run.head.get("scope") == "document" and asked.doc is not None:
        return [page for page in found if page.doc == asked.doc]
    return found


def _is_fused(run: RunFolder, asked: Asked) -> bool:
    """Made of other runs, so that no vectors of its own say what it saw."""
    config = _head(run, asked).get("config")
    return isinstance(config, Mapping) and bool(config.get("fuses"))


def _vectors(run: RunFolder, asked: Asked) -> str:
    """What heat depends on beside the page: runs that differ in the search alone share it."""
    head = _head(run, asked)
    index = head.get("index")
    collection = index.get("collection") if isinstance(index, Mapping) else None
    of_vectors = f"{head.get('encoder') or ''} {collection or head.get('config_hash') or ''}"
    return f"{_documents(run, asked)} {of_vectors}"


def _answer(run: RunFolder, asked: Asked) -> AnswerShown | None:
    row = run.answered.get(asked.id)
    if row is None:
        return None
    judged = run.answers.rows.get(asked.id, {}) if run.answers is not None else {}
    error = row.get("error")
    confidence = row.get("confidence")
    return AnswerShown(
        text=str(row.get("answer") or ""),
        short=str(row.get("short") or ""),
        outcome=str(judged.get("outcome") or ""),
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        citations=tuple(_citations(run, asked, row)),
        error=str(error.get("message", error)) if isinstance(error, Mapping) else str(error or ""),
    )


def _citations(run: RunFolder, asked: Asked, row: Json) -> list[CitationShown]:
    cited = [each for each in row.get("citations") or () if isinstance(each, Mapping)]
    return [_citation(run, asked, each) for each in cited[:_MOST_CITATIONS]]


def _citation(run: RunFolder, asked: Asked, cited: Mapping[str, Any]) -> CitationShown:
    page = PageKey(str(cited.get("source") or ""), int(cited.get("page_number") or 0))
    boxes = _boxes(cited.get("boxes"))
    marker = str(cited.get("marker") or "")
    return CitationShown(
        marker=marker,
        page=page,
        quote=str(cited.get("quote") or ""),
        is_gold=page in asked.gold,
        picture=PictureShown(
            f"Citation {marker}".strip(),
            f"Page {page.page_number} of {page.doc} with the quote of citation {marker} marked",
            Wanted(page, _documents(run, asked), boxes=boxes, part=asked.part),
        )
        if boxes
        else None,
    )


def _boxes(told: Any) -> tuple[BoxPt, ...]:
    """Boxes of four finite numbers; others are not drawn."""
    found: list[BoxPt] = []
    for box in (told or ())[:_MOST_BOXES] if isinstance(told, list) else ():
        if isinstance(box, list) and len(box) == 4 and all(map(is_number, box)):
            x0, y0, x1, y1 = map(float, box)
            if x0 < x1 and y0 < y1:
                found.append((x0, y0, x1, y1))
    return tuple(found)
