"""A run of answers judged by a chat model, and what came of it written beside the answers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eval.answers.spending import Prices, spent
from eval.compare import paired_bootstrap
from eval.judge.agreement import (
    Labels,
    agreements,
    labels_of_claims,
    labels_of_pairs,
    require_known,
)
from eval.judge.asking import Tally
from eval.judge.claims import UNPARSED, ClaimJudge
from eval.judge.journal import Progress, Wanted, judged_all
from eval.judge.material import JudgedRun, ToJudge
from eval.judge.pairwise import CRITERIA, PairJudge
from eval.provenance import commit, config_hash, machine
from eval.runs import write_atomically
from rag.errors import InputError, RagError
from rag.types import Json, TokenUsage

JUDGED_FILE = "judge.jsonl"
JUDGE_MEASURES_FILE = "judge_measures.json"
_RESAMPLES = 10_000
_SCORES = ("completeness", "faithfulness")


@dataclass(frozen=True)
class Judging:
    """How questions are put to the judge, which changes no verdict.

    Attributes:
        labels: of people, by name and id of a question, to hold the judge against.
    """

    workers: int = 4
    prices: Prices | None = None
    progress: Progress = lambda _done, _whole: None
    labels: Labels | None = None


def family(model_id: str) -> str:
    """The letters that the name of a model begins with, as "gpt" of openai/gpt-4o; nothing else is
    known of it.
    """
    name = model_id.rsplit("/", 1)[-1].lower().removeprefix("meta-")
    found = re.match(r"[a-z]+", name)
    return found[0] if found else name


def same_family(judge_id: str, generators: Sequence[str]) -> list[str]:
    """Of those that answered, the kin of the judge: a model likes what it would have said."""
    return [each for each in generators if family(each) == family(judge_id)]


# --- claims -------------------------------------------------------------------------------------
def judge_claims(run: JudgedRun, judge: ClaimJudge, judging: Judging) -> Json:
    """Completeness and, where the words of gold pages are shown, faithfulness of every answer.

    Writes `judge.jsonl` and `judge_measures.json` to the folder of the run; judging that was cut
    off goes on where the judge, its prompts and what it is shown are the same.

    Returns:
        What `judge_measures.json` holds.

    Raises:
        RagError: the first five questions could not be judged for one reason.
    """
    about = _about_judge(judge.chat.model_id, judge.prompt_hash, judge.n_votes)
    about |= {"seed": judge.seed, "measures": [*_judged_scores(run)]}
    settings_hash = config_hash(about)
    require_known(judging.labels, [each.id for each in run.questions])

    def wanted(each: ToJudge) -> Wanted:
        return Wanted(each.id, each.material.digest, lambda: _claims_row(run, judge, each))

    rows, errors, n_anew = judged_all(
        [wanted(each) for each in run.questions if each.state == "answered"],
        run.folder / JUDGED_FILE,
        config_hash=settings_hash,
        workers=judging.workers,
        progress=judging.progress,
    )
    figures = {
        **_head(run, about, settings_hash),
        **_claim_figures(run, rows),
        **agreements(judging.labels, labels_of_claims(rows)),
        **_effort(rows, errors, n_anew, judging),
    }
    _written(run, JUDGE_MEASURES_FILE, figures)
    return figures


def _judged_scores(run: JudgedRun) -> tuple[str, ...]:
    """Without the words of the gold pages, what is on them could only be called unfaithful."""
    return _SCORES if run.shows_pages else _SCORES[:1]


def _claims_row(run: JudgedRun, judge: ClaimJudge, each: ToJudge) -> Json:
    tally = Tally()
    ways = {"completeness": judge.completeness, "faithfulness": judge.faithfulness}
    scores = {name: ways[name](each.material, tally).as_dict() for name in _judged_scores(run)}
    return {**scores, **_tallied(tally)}


def _claim_figures(run: JudgedRun, rows: Mapping[str, Json]) -> Json:
    states = [each.state for each in run.questions]
    names = _judged_scores(run)
    dimensions = sorted({name for each in run.questions for name in each.groups})

    def told(members: Sequence[ToJudge]) -> Json:
        return {"n": len(members), **{name: _mean_of(name, members, rows) for name in names}}

    def by(value_of: Callable[[ToJudge], str | None]) -> Json:
        values = sorted({value for each in run.questions if (value := value_of(each)) is not None})
        return {
            value: told([each for each in run.questions if value_of(each) == value])
            for value in values
        }

    return {
        "n_questions": len(states),
        "abstained": states.count("abstained"),
        "failed": states.count("failed"),
        "no_gold": states.count("no_gold"),
        **{name: _mean_of(name, run.questions, rows) for name in names},
        "completeness_of_answered": _mean(_values("completeness", rows)),
        "failures": {name: _failures(name, rows) for name in names},
        "disagreement": _disagreement(rows, names),
        "pages_without_words": sum(
            not each.material.pages for each in run.questions if each.state == "answered"
        ),
        "pages_cut": sum(each.material.is_cut for each in run.questions),
        "by_type": by(lambda each: each.type),
        "by_group": {name: by(_value_in(name)) for name in dimensions},
    }


def _value_in(dimension: str) -> Callable[[ToJudge], str | None]:
    return lambda each: each.groups.get(dimension)


def _mean_of(name: str, members: Sequence[ToJudge], rows: Mapping[str, Json]) -> Json:
    """Over what could be judged; an abstention says none of the claims that the question needs, and
    makes none itself. What failed, on either side, is not imputed.
    """
    judged = _values(name, {each.id: rows[each.id] for each in members if each.id in rows})
    abstained = [0.0 for each in members if each.state == "abstained"]
    return _mean(judged + abstained if name == "completeness" else judged)


def _values(name: str, rows: Mapping[str, Json]) -> list[float]:
    return [row[name]["value"] for row in rows.values() if row[name]["value"] is not None]


def _failures(name: str, rows: Mapping[str, Json]) -> Json:
    failures = [row[name]["failure"] for row in rows.values()]
    return {code: failures.count(code) for code in (UNPARSED, "no_claims")}


def _disagreement(rows: Mapping[str, Json], names: Sequence[str]) -> Json:
    """The share of claims of which the readings said different things."""
    votes = [
        claim["votes"] for row in rows.values() for name in names for claim in row[name]["claims"]
    ]
    return _mean([float(len(set(each)) > 1) for each in votes])


# --- pairs --------------------------------------------------------------------------------------
def judge_pairs(run: JudgedRun, other: JudgedRun, judge: PairJudge, judging: Judging) -> Json:
    """Which of two runs answers better, question by question; the run is the first, the other the
    second. Writes `judge_pairwise_OTHER.jsonl` and `.json` to the folder of the run.

    Raises:
        InputError: runs over different datasets, scopes, pages or questions.
        RagError: as `judge_claims`.
    """
    _require_alike(run, other)
    require_known(judging.labels, [each.id for each in run.questions])
    about = _about_judge(judge.chat.model_id, judge.prompt_hash, judge.n_votes)
    settings_hash = config_hash({**about, "pairwise": True})
    against = {each.id: each for each in other.questions}
    pairs = [
        (each, against[each.id])
        for each in run.questions
        if not {each.state, against[each.id].state} & {"failed", "no_gold"}
    ]

    def wanted(a: ToJudge, b: ToJudge) -> Wanted:
        digest = f"{a.material.digest}-{b.material.digest}"
        return Wanted(a.id, digest, lambda: _pair_row(judge, a, b))

    name = f"judge_pairwise_{other.folder.resolve().name}"
    rows, errors, n_anew = judged_all(
        [wanted(*pair) for pair in pairs],
        run.folder / f"{name}.jsonl",
        config_hash=settings_hash,
        workers=judging.workers,
        progress=judging.progress,
    )
    figures = {
        **_head(run, about, settings_hash, also=other),
        "other": other.folder.resolve().name,
        "n_questions": len(run.questions),
        "left_out": len(run.questions) - len(pairs),
        **_pair_figures(rows),
        **agreements(judging.labels, labels_of_pairs(rows)),
        **_effort(rows, errors, n_anew, judging),
    }
    _written(run, f"{name}.json", figures)
    return figures


def _pair_row(judge: PairJudge, a: ToJudge, b: ToJudge) -> Json:
    tally = Tally()
    verdict = judge.verdict(a.material, b.material, tally)
    first, second = verdict.shares() if verdict.is_judged else (None, None)
    return {"first": first, "second": second, **verdict.as_dict(), **_tallied(tally)}


def _pair_figures(rows: Mapping[str, Json]) -> Json:
    judged = {name: row for name, row in rows.items() if row["first"] is not None}
    signs = [row["preference"] for row in judged.values()]
    return {
        "n_judged": len(judged),
        "first_better": signs.count(1),
        "second_better": signs.count(-1),
        "ties": signs.count(0),
        "failures": {"pairwise": {UNPARSED: len(rows) - len(judged)}},
        "orders_disagree": _mean([float(row["orders_disagree"]) for row in judged.values()]),
        "disagreement": _mean(
            [
                float(len(set(votes)) > 1)
                for row in judged.values()
                for order in row["orders"]
                for side in ("a", "b")
                for votes in order[side].values()
            ]
        ),
        # 1 is better, a half a tie; second less first, with the questions resampled in pairs.
        "differences": _differences(judged),
        "n_resamples": _RESAMPLES,
    }


def _differences(judged: Mapping[str, Json]) -> list[Json]:
    if not judged:
        return []
    found = paired_bootstrap(
        {name: row["first"] for name, row in judged.items()},
        {name: row["second"] for name, row in judged.items()},
        measures=["preferred", *CRITERIA],
        n_resamples=_RESAMPLES,
        seed=0,
    )
    return [
        {
            "measure": each.measure,
            "first": each.first,
            "second": each.second,
            "difference": each.difference,
            "low": each.low,
            "high": each.high,
            "p_value": each.p_value,
            "p_holm": each.p_holm,
        }
        for each in found
    ]


def _require_alike(run: JudgedRun, other: JudgedRun) -> None:
    for key in ("dataset_digest", "scope", "pages"):
        ours, theirs = run.head.get(key), other.head.get(key)
        if ours != theirs:
            raise InputError(
                f"{run.folder.name} and {other.folder.name} differ in {key}: {ours!r} and "
                f"{theirs!r}",
                next_step="Compare runs over the same version of one dataset, asked alike.",
            )
    odd = {each.id for each in run.questions} ^ {each.id for each in other.questions}
    if odd:
        raise InputError(
            f"{run.folder.name} and {other.folder.name} asked different questions: {len(odd)} are "
            f"in one of them only, such as {min(odd)!r}",
            next_step="Run both with the same --limit.",
        )


# --- both ---------------------------------------------------------------------------------------
def _about_judge(model_id: str, prompt_hash: str, n_votes: int) -> Json:
    return {"model_id": model_id, "prompt_hash": prompt_hash, "votes": n_votes, "temperature": 0}


def _head(
    run: JudgedRun, about: Json, settings_hash: str, *, also: JudgedRun | None = None
) -> Json:
    """Where the figures come from."""
    generators = sorted({*run.generators, *(also.generators if also else ())})
    kin = same_family(about["model_id"], generators)
    notices = {}
    if kin:
        notices["judge_of_same_family"] = (
            f"the judge {about['model_id']} is of the family of {', '.join(kin)}, whose answers it "
            "judges: models favour their own; take a judge of another family"
        )
    if not run.shows_pages:
        notices["no_page_words"] = (
            "nobody read the words of the gold pages: faithfulness is not judged, and pairs are "
            "judged by the gold answer alone; name the dataset's folder with --dataset"
        )
    return {
        "run": run.folder.resolve().name,
        "dataset": run.head["dataset"],
        "dataset_digest": run.head["dataset_digest"],
        "origin": run.head.get("origin"),
        "index": run.head.get("index"),
        "scope": run.head["scope"],
        "pages": run.head["pages"],
        "run_config_hash": run.head["config_hash"],
        "generators": generators,
        "judge": {**about, "varied": "the order of the claims, and the number of the reading"},
        "same_family": bool(kin),
        "notices": notices,
        "config_hash": settings_hash,
    }


def _effort(
    rows: Mapping[str, Json], errors: Mapping[str, RagError], n_anew: int, judging: Judging
) -> Json:
    usages = [TokenUsage(*usage) for row in rows.values() for usage in row["usages"]]
    counted: dict[str, Json] = {}
    for error in errors.values():
        seen = counted.setdefault(error.code, {"questions": 0, "message": error.message})
        seen["questions"] += 1
    return {
        "calls": sum(row["calls"] for row in rows.values()),
        "readings_unparsed": sum(row["unparsed"] for row in rows.values()),
        **spent(usages, judging.prices),
        "errors": counted,
        "taken_over": len(rows) - n_anew,
        "commit": commit(),
        "machine": machine(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _tallied(tally: Tally) -> Json:
    return {
        "calls": tally.n_calls,
        "unparsed": tally.n_unparsed,
        "usages": [[each.prompt, each.completion, each.cached] for each in tally.usages],
    }


def _mean(values: Sequence[float]) -> Json:
    return {"value": math.fsum(values) / len(values) if values else None, "n": len(values)}


def _written(run: JudgedRun, name: str, figures: Mapping[str, Any]) -> None:
    write_atomically(run.folder / name, json.dumps(figures, indent=2, ensure_ascii=False))
