"""What arms reach, side by side: by part, by kind of question, and whether a difference is luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from statistics import fmean

from eval.compare import Difference, holm, paired_bootstrap_of_means
from eval.groups import by_group, macro_mean
from eval.latency import latency_ms
from eval.measures import mean, measure_queries
from eval.paradigms.plan import Plan
from eval.paradigms.run import ArmRun, ArmRuns
from eval.unidoc_measures import unidoc_values
from rag.errors import InputError
from rag.types import Json

CUTOFFS = (5, 10)  # where all measures are told
N_RESAMPLES = 10_000
SEED = 0
_GROUPS = ("answer_type", "question_type")

Values = Mapping[str, Mapping[str, float]]  # question id -> measure -> value


def measures_at(k: int) -> tuple[str, ...]:
    """Those of the runs that are told of arms.

    Raises:
        InputError: not all of them are told at k.
    """
    if k not in CUTOFFS:
        raise InputError(
            f"measures are not told at {k}",
            next_step=f"Give one of {', '.join(map(str, CUTOFFS))}.",
        )
    return f"P@{k}", f"R@{k}", f"AP@{k}", f"nDCG@{k}"


def arm_values(run: ArmRun, k: int) -> dict[str, dict[str, float]]:
    """Every question's measures: trec_eval's of the ranking, and UniDoc-Bench's own of the k pages
    an answer is made from.
    """
    proper = measure_queries(run.dataset, run.run, scope="corpus")
    values = {}
    for query_id, row in proper.items():
        gold = [page for page, grade in run.dataset.qrels[query_id].items() if grade]
        given = [hit.page for hit in run.given[query_id]]
        values[query_id] = {
            **{name: row[name] for name in (*measures_at(k), f"Success@{k}")},
            **unidoc_values(given, gold, k=k),
        }
    return values


def arms_figures(
    plan: Plan, runs: ArmRuns, *, told: Sequence[str], compared: Sequence[str]
) -> Json:
    """Figures of every arm, and of every two arms beside each other.

    A part is as heavy as any other in the means, whatever its number of questions; within a kind of
    question all parts are taken together.

    Args:
        plan: what was measured.
        runs: of its arms.
        told: measures, of `measures_at` and `unidoc_names`.
        compared: those of them that two arms are compared by.
    """
    values = {
        arm.name: {part: arm_values(run, plan.k) for part, run in runs[arm.name].items()}
        for arm in plan.arms
    }
    arms = {
        arm.name: {
            "says": arm.says,
            "evidence": arm.evidence,
            "mode": arm.mode if arm.fuses is None else None,
            "fuses": arm.fuses,
            **_figures(runs[arm.name], values[arm.name], told),
        }
        for arm in plan.arms
    }
    return {
        "k": plan.k,
        "measures": list(told),
        "arms": arms,
        "left_out": dict(plan.left_out),
        "comparisons": _comparisons(values, compared),
        "n_resamples": N_RESAMPLES,
        "seed": SEED,
    }


def _figures(
    runs: Mapping[str, ArmRun], values: Mapping[str, Values], names: Sequence[str]
) -> Json:
    by_part = {
        part: {"n": len(rows), **mean(rows.values(), names)} for part, rows in values.items()
    }
    # Ids are unique in a part alone.
    queries = [
        query.model_copy(update={"id": f"{part} {query.id}"})
        for part, run in runs.items()
        for query in run.dataset.counted("corpus")
    ]
    rows_of_all = {
        f"{part} {id_}": row for part, rows in values.items() for id_, row in rows.items()
    }
    groups = by_group(queries, rows_of_all, names=names)
    evaluations = {part: run.evaluation for part, run in runs.items()}
    return {
        "n": sum(len(rows) for rows in values.values()),
        "macro": macro_mean(by_part, names),
        "by_part": by_part,
        **{f"by_{name}": groups[name] for name in _GROUPS if name in groups},
        "by_type": groups["type"],
        "latency_ms_by_part": {part: each.latency_ms for part, each in evaluations.items()},
        "latency_ms": latency_ms(ms for run in runs.values() for ms in run.ms.values()),
        "encoder": next(iter(evaluations.values())).encoder,
        "config_hashes": {part: each.config_hash for part, each in evaluations.items()},
        "indexes": {part: each.index for part, each in evaluations.items()},
        "refused": {part: each.refused for part, each in evaluations.items() if each.refused},
        "notices": _notices(runs),
    }


def with_answers(
    figures: Json, answers: Mapping[str, Mapping[str, Json]], degraded: Sequence[str]
) -> Json:
    """The figures with those of answers beside them.

    Args:
        figures: of `arms_figures`.
        answers: arm to part to what `answer_measures.json` holds.
        degraded: what keeps answers from being made of what the arms say.
    """
    arms = {
        name: {**arm, "answers": _answer_figures(answers[name])}
        for name, arm in figures["arms"].items()
    }
    return {**figures, "arms": arms, "answers_degraded": list(degraded)}


def _answer_figures(by_part: Mapping[str, Json]) -> Json:
    """Means of each part, and of the parts that have one, each as heavy as any other."""
    names = dict.fromkeys(name for figures in by_part.values() for name in figures["means"])
    means = {
        name: [
            figures["means"][name]["value"]
            for figures in by_part.values()
            if figures["means"].get(name, {}).get("value") is not None
        ]
        for name in names
    }
    return {
        "answerer": next(iter(by_part.values()))["answerer"],
        "macro": {name: fmean(values) for name, values in means.items() if values},
        "by_part": {
            part: {
                "n": figures["n_questions"],
                "all": figures["all"],
                "means": figures["means"],
                "by_group": figures["by_group"],
                "latency_ms": figures["latency_ms"],
                "errors": figures["errors"],
                "notices": figures["notices"],
            }
            for part, figures in by_part.items()
        },
        "n_failed": sum(
            seen["questions"] for figures in by_part.values() for seen in figures["errors"].values()
        ),
    }


def _notices(runs: Mapping[str, ArmRun]) -> Json:
    notices: Json = {}
    for run in runs.values():
        for code, seen in run.evaluation.notices.items():
            known = notices.setdefault(code, {"questions": 0, "message": seen["message"]})
            known["questions"] += seen["questions"]
    return notices


def _comparisons(values: Mapping[str, Mapping[str, Values]], names: Sequence[str]) -> list[Json]:
    """Every two arms, by resampling the questions within each part.

    P values are corrected for all pairs and measures looked at together.
    """
    pairs = list(combinations(values, 2))
    found: list[tuple[Difference, ...]] = [
        paired_bootstrap_of_means(
            [(values[first][part], values[second][part]) for part in values[first]],
            measures=names,
            n_resamples=N_RESAMPLES,
            seed=SEED,
        )
        for first, second in pairs
    ]
    corrected = iter(holm([each.p_value for differences in found for each in differences]))
    return [
        {
            "first": first,
            "second": second,
            "differences": [asdict(replace(each, p_holm=next(corrected))) for each in differences],
        }
        for (first, second), differences in zip(pairs, found, strict=True)
    ]
