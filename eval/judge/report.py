"""What a judge found, as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from eval.report import aligned
from rag.types import Json


def claims_report(figures: Json) -> str:
    """What `judge_measures.json` holds, for a terminal."""
    names = [name for name in ("completeness", "faithfulness") if name in figures]
    rows = [["", "n", *names], ["all", str(figures["n_questions"]), *_cells(figures, names)]]
    groups = {"": figures["by_type"], **{f"{k} ": v for k, v in figures["by_group"].items()}}
    rows += [
        [f"{label}{value}", str(found["n"]), *_cells(found, names)]
        for label, values in groups.items()
        for value, found in values.items()
    ]
    failed = ", ".join(
        f"{name}: {codes['unparsed']} unreadable, {codes['no_claims']} without claims"
        for name, codes in figures["failures"].items()
    )
    lines = [
        f"{figures['run']} over {figures['dataset']}, {figures['n_questions']} questions",
        "",
        *aligned(rows),
        "",
        (
            f"answers    {figures['abstained']} abstained (complete 0), {figures['failed']} failed,"
            f" {figures['no_gold']} without a gold answer; of answers alone complete "
            f"{_told(figures['completeness_of_answered'])}"
        ),
        f"not scored {failed}",
        f"votes      differ in {_told(figures['disagreement'])} claims",
        *_ending(figures),
    ]
    return "\n".join(lines)


def pairs_report(figures: Json) -> str:
    rows = [["second against first", "first", "second", "difference", "95 %", "p (Holm)"]]
    rows += [
        [
            each["measure"].replace("_", " "),
            f"{each['first']:.3f}",
            f"{each['second']:.3f}",
            f"{each['difference']:+.3f}",
            f"[{each['low']:+.3f}, {each['high']:+.3f}]",
            f"{each['p_holm']:.4f}",
        ]
        for each in figures["differences"]
    ]
    lines = [
        f"first {figures['run']}, second {figures['other']}, over {figures['dataset']}",
        "",
        *aligned(rows),
        "",
        (
            f"pairs      {figures['n_judged']}: first better {figures['first_better']}, second "
            f"better {figures['second_better']}, ties {figures['ties']}; left out "
            f"{figures['left_out']}, unreadable {figures['failures']['pairwise']['unparsed']}"
        ),
        f"orders     disagree in {_told(figures['orders_disagree'])} pairs, which are ties",
        f"votes      differ in {_told(figures['disagreement'])} criteria",
        *_ending(figures),
    ]
    return "\n".join(lines)


def _ending(figures: Json) -> list[str]:
    judge, tokens, cost = figures["judge"], figures["tokens"], figures["cost"]
    lines = [
        (
            f"judge      {judge['model_id']}, prompts {judge['prompt_hash']}, {judge['votes']} "
            f"votes at temperature 0; what varies is {judge['varied']}"
        ),
        (
            f"calls      {figures['calls']}, readings that could not be used "
            f"{figures['readings_unparsed']}; tokens prompt {tokens['prompt']}, of those cached "
            f"{tokens['cached']}, completion {tokens['completion']}"
            + ("" if cost is None else f"; cost {cost['value']:.6g}")
        ),
    ]
    if figures["taken_over"]:
        lines.append(f"taken over {figures['taken_over']} questions judged before")
    for name, found in figures.get("agreement", {}).items():
        share = "-" if found["agreement"] is None else f"{found['agreement']:.3f}"
        kappa = "-" if found["kappa"] is None else f"{found['kappa']:.3f}"
        lines.append(
            f"people     {name}: kappa {kappa}, agreement {share} of {found['n']}; {found['why']}"
        )
    lines += [f"notice     {code}: {message}" for code, message in figures["notices"].items()]
    lines += [
        f"error      {code}, {seen['questions']} questions: {seen['message']}"
        for code, seen in figures["errors"].items()
    ]
    return lines


def _cells(found: Json, names: Sequence[str]) -> list[str]:
    return [_told(found[name]) for name in names]


def _told(mean: Json) -> str:
    value = "-" if mean["value"] is None else f"{mean['value']:.3f}"
    return f"{value} of {mean['n']}"
