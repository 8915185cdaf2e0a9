"""Figures of answers as plain text: numbers of questions, and what they are shares of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from eval.answers.abstention import Roc, RocPoint, roc_text
from eval.report import aligned

Json = dict[str, Any]

_ELSEWHERE = ("EM", "F1", "ANLS", "page_precision", "page_recall")  # have lines of their own
_OUTCOMES = ("n", "answered", "counted", "right_cited", "right", "wrong", "abstained", "errors")
_HEADS = ("n", "answered", "counted", "right, cited", "right", "wrong", "abstained", "failed")


def answers_report(figures: Json) -> str:
    """What `answer_measures.json` holds, for a terminal."""
    rows = [["", *_HEADS, "share"], _row("all", figures["all"])]
    for group, label in (("by_kind", "kind "), ("by_scope", "scope "), ("by_type", "")):
        rows += [_row(label + name, found) for name, found in figures[group].items()]
    given = "the gold pages given" if figures["pages"] == "gold" else f"scope {figures['scope']}"
    cpu = figures["machine"]
    lines = [
        (
            f"{figures['dataset']}, {given}, {figures['n_questions']} questions, answered by "
            f"{figures['answerer']}, threshold {figures['threshold']:g}"
        ),
        "",
        *aligned(rows),
        "",
        _headline(figures["headline"]),
        _line("wording", figures["wording"], "questions"),
        *_others(figures["means"]),
        _pages(figures["cited_pages"]),
        _line("support", figures["support"], "answers"),
        _line("confidence", figures["confidence"], "counted", with_n=True),
        _told_apart(figures["abstention_accuracy"]),
        *_latencies(figures),
        *_spending(figures),
        f"config     {figures['config_hash']}, encoder {figures['encoder'] or '-'}",
        f"machine    {cpu['cores']} x {cpu['cpu']}, commit {figures['commit'] or '-'}",
    ]
    if taken_over := figures["taken_over"]["answers"]:
        commits = ", ".join(each or "-" for each in figures["taken_over"]["commits"])
        lines.append(f"taken over {taken_over} answers of an earlier run; commits {commits}")
    for label in ("errors", "notices"):
        lines += [
            f"{label:<10} {code}, {seen['questions']} questions: {seen['message']}"
            for code, seen in figures[label].items()
        ]
    if figures["abstention"] is not None:
        lines += ["", abstention_report(figures["abstention"], figures["threshold"])]
    return "\n".join(lines)


def _headline(head: Json) -> str:
    return (
        f"headline   {_share(head['right_cited'])} right with a cited gold page, of {head['n']} "
        f"counted [{head['low']:.3f}, {head['high']:.3f}] (Wilson)"
    )


def _pages(pages: Json) -> str:
    precision, recall, together = (
        pages[key] for key in ("precision", "recall", "precision_of_pages")
    )
    return (
        f"pages      cited and gold {_share(precision['value'])}, gold and cited "
        f"{_share(recall['value'])}, of {precision['n']} answers with citations; all cited pages "
        f"together {_share(together['value'])} of {together['n']}"
    )


def _others(means: Json) -> list[str]:
    """Measures that not every question has: exact figures, and rules of published sets."""
    shown = {name: mean for name, mean in means.items() if name not in _ELSEWHERE}
    return [_line("rules", shown, "questions", with_n=True)] if shown else []


def _told_apart(found: Json) -> str:
    with_answer, without = found["answerable"], found["unanswerable"]
    return (
        f"refusals   answered {with_answer['answered']} of {with_answer['n']} answerable, refused "
        f"{without['abstained']} of {without['n']} unanswerable: {_share(found['value'])}"
    )


def _spending(figures: Json) -> list[str]:
    """Nothing where no answer says its tokens."""
    tokens, cost = figures.get("tokens"), figures.get("cost")
    if not tokens or not tokens["n"]:
        return []
    told = (
        f"tokens     prompt {tokens['prompt']}, of those cached {tokens['cached']}, completion "
        f"{tokens['completion']}, of {tokens['n']} answers"
    )
    return [told if cost is None else f"{told}; cost {cost['value']:.6g}"]


def _row(name: str, found: Json) -> list[str]:
    share = found["right_cited"] / found["counted"] if found["counted"] else None
    return [name, *(str(found[key]) for key in _OUTCOMES), _share(share)]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _line(label: str, means: Json, of: str, *, with_n: bool = False) -> str:
    """Means beside each other; `with_n` where each is of another number of questions."""
    shown = [
        f"{name.replace('_', ' ')} {_share(mean['value'])}" + (f" of {mean['n']}" * with_n)
        for name, mean in means.items()
    ]
    n = next(iter(means.values()))["n"]
    return f"{label:<10} {', '.join(shown)}{f' {of}' if with_n else f', of {n} {of}'}"


_TIMED = {"answer": "the answer alone", "after_retrieval": "all after retrieval"}


def _latencies(figures: Json) -> list[str]:
    """Of whole questions first: the others are parts of it."""
    whole = {"a whole question": figures.get("latency_by_stage_ms", {}).get("total") or {"n": 0}}
    parts = {_TIMED.get(name, name): found for name, found in figures["latency_ms"].items()}
    return [_latency(name, found) for name, found in {**whole, **parts}.items()]


def _latency(name: str, found: Json) -> str:
    if not found["n"]:
        return f"latency    {name}: nothing was timed"
    times = f"p50 {found['p50']:.1f} ms, p95 {found['p95']:.1f} ms"
    return f"latency    {name}: {times}, of {found['n']} questions"


def curve_of(abstention: Json, threshold: float) -> tuple[Roc, RocPoint]:
    """The curve, and the point of the threshold that is set."""
    points = tuple(
        RocPoint(math.nan if each["threshold"] is None else each["threshold"], *_ends(each))
        for each in abstention["points"]
    )
    n, n_none = abstention["answerable"], abstention["unanswerable"]
    chosen = RocPoint(
        threshold, 1 - abstention["refused"] / n, 1 - abstention["abstained"] / n_none
    )
    return Roc(points, abstention["auc"], n, n_none), chosen


def _ends(point: Json) -> tuple[float, float]:
    return point["answered"], point["misled"]


def abstention_report(abstention: Json, threshold: float) -> str:
    curve, chosen = curve_of(abstention, threshold)
    n, n_none = abstention["answerable"], abstention["unanswerable"]
    at = abstention["threshold_at_most_refused"]
    reached = abstention["abstained_at_most_refused"] / n_none
    low, high = abstention["auc_low"], abstention["auc_high"]
    where = "no threshold" if at is None else f"threshold {at:.3f}"
    lines = [
        roc_text(curve, chosen=chosen),
        (
            f"AUC {abstention['auc']:.3f} [{low:.3f}, {high:.3f}], "
            f"of {n} answerable and {n_none} unanswerable questions"
        ),
        (
            f"threshold {threshold:g}: abstains from {abstention['abstained'] / n_none:.3f} of the "
            f"unanswerable, refuses {abstention['refused'] / n:.3f} of the answerable"
        ),
        (
            f"{where} refuses at most {abstention['most_refused']:g} of the answerable and "
            f"abstains from {reached:.3f} of the unanswerable"
        ),
    ]
    return "\n".join(lines)


def answer_folds_report(folds: Json) -> str:
    """By fold: the threshold chosen on the others, and what it gives here beside the one set."""
    has_none = folds["as_it_is"]["unanswerable"] > 0
    heads = ["fold", "counted", "right, cited", "held out", "pages", "held out"]
    heads += ["refused", "held out", *(["abstained", "held out"] if has_none else [])]
    rows = [[*heads, "threshold"]]
    rows += [
        [str(fold["fold"]), *_fold_cells(fold, has_none), f"{fold['threshold']:.3f}"]
        for fold in folds["folds"]
    ]
    rows.append(["all", *_fold_cells(folds, has_none), ""])
    difference = folds["difference"]
    lines = [
        (
            f"threshold by {folds['n']} folds of documents, {folds['groups']} groups, seed "
            f"{folds['seed']}, chosen by {folds['chosen_by']}"
        ),
        "",
        *aligned(rows),
        "",
        (
            f"held out   {difference['right_cited']:+.4f} [{difference['low']:+.4f}, "
            f"{difference['high']:+.4f}] from as it is; in sample the threshold is "
            f"{folds['in_sample_threshold']:.3f}"
        ),
    ]
    return "\n".join(lines)


def _fold_cells(fold: Json, has_none: bool) -> list[str]:
    sides: Sequence[Json] = (fold["as_it_is"], fold["held_out"])
    counted = sides[0]["counted"]
    cells = [str(counted)]
    cells += [_share(side["right_cited"] / counted if counted else None) for side in sides]
    cells += [_share(side["page_precision"]["value"]) for side in sides]
    cells += [f"{side['refused']}/{side['n']}" for side in sides]
    if has_none:
        n = sides[0]["unanswerable"]
        cells += [f"{side['unanswerable_abstained']}/{n}" for side in sides]
    return cells
