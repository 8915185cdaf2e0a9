"""The synthetic set from the script to the figures of all four paradigms, with a kill in between:
what is found is what follows from how the set is made.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from commands import Commands

from eval.runs import read_json_lines, read_run
from eval.synthetic import expectation
from eval.synthetic.expectation import OUTCOMES, RANKS, Paradigm
from eval.synthetic.plan import DomainPlan, Kind, plan_domain
from eval.synthetic.vocabulary import DOMAINS
from eval.synthetic.write import write_set

PALETTE = "custom:rag.testing.palette_encoder"


class World:
    """A set on disk and what the command made of it."""

    def __init__(
        self, folder: Path, domains: tuple[str, ...], questions: int, pages: int, *flags: str
    ) -> None:
        self.folder, self.domains, self.questions = folder, domains, questions
        write_set(
            folder / "copy", domains=domains, questions_per_domain=questions, pages=pages, seed=0
        )
        self.plans: dict[str, DomainPlan] = {
            name: plan_domain(name, questions=questions, pages=-(-pages // len(domains)), seed=0)
            for name in domains
        }
        # What OCR reads in a chart is no part of what is expected, and costs most of the time.
        self.octavo = Commands(folder / "data", "--set", "ocr.mode=off", *flags)
        self.found: dict[str, Any] = {}

    @property
    def arguments(self) -> list[str]:
        named = [flag for name in self.domains for flag in ("--domain", name)]
        return [
            *("eval", "unidoc", str(self.folder / "copy"), "--paradigms", "all", "--mode", "text"),
            *("--expect", str(self.questions), *named, "--answers"),
            *("--image-encoder", f"{PALETTE}:late", "--joint-encoder", f"{PALETTE}:joint"),
            *("--to", str(self.folder / "sets"), "--out", str(self.folder / "out")),
        ]

    def run_killed_and_again(self, once_there: Path, *, timeout_s: float) -> None:
        """Kill the command as soon as a file below out/ is there, then run it to its end."""
        deadline = time.monotonic() + timeout_s
        with self.octavo.started(*self.arguments) as running:
            while not (self.folder / "out" / once_there).exists():
                assert running.poll() is None, running.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.kill(running.pid, signal.SIGKILL)
        assert not (self.folder / "out" / "paradigms.json").exists()
        self.found = self.octavo(*self.arguments)

    def kinds(self, domain: str) -> dict[str, Kind]:
        """By question id."""
        return {
            f"{domain}-{number:04d}": each.kind
            for number, each in enumerate(self.plans[domain].questions, start=1)
        }

    def gold_ranks(self, paradigm: str, domain: str) -> dict[str, tuple[int, ...]]:
        """Ranks of the gold pages among the ten, by question id."""
        plan = self.plans[domain]
        at = {
            id(page): (f"{document.name}.pdf", number)
            for document in plan.documents
            for number, page in enumerate(document.pages, start=1)
        }
        run = read_run(self.folder / "out" / paradigm / domain / "run.tsv")
        ranks = {}
        for query_id, question in zip(self.kinds(domain), plan.questions, strict=True):
            gold = {at[id(page)] for page in question.gold}
            hits = run.get(query_id, [])[: expectation.K]
            ranks[query_id] = tuple(
                rank for rank, hit in enumerate(hits, start=1) if tuple(hit.page) in gold
            )
        return ranks


@pytest.fixture(scope="module")
def share(tmp_path_factory) -> World:
    quick = ("--set", "render.workers=1", "--set", "render.dpi=72")
    world = World(tmp_path_factory.mktemp("share"), ("energy", "legal"), 8, 1, *quick)
    world.run_killed_and_again(Path("text", "energy", "run.tsv"), timeout_s=100)
    return world


@pytest.mark.parametrize("paradigm", RANKS)
def test_every_gold_page_stands_where_the_construction_puts_it(share, paradigm):
    check_ranks(share, paradigm)


@pytest.mark.parametrize("paradigm", RANKS)
def test_figures_equal_the_expectation(share, paradigm):
    check_figures(share, paradigm)


@pytest.mark.parametrize("paradigm", RANKS)
def test_answers_that_follow_from_the_construction_are_given(share, paradigm):
    check_answers(share, paradigm)


def test_what_was_asked_before_the_kill_is_not_asked_again(share):
    check_taken_over(share, "text", "energy")


def test_figures_of_the_fixture_say_that_they_are(share):
    arms = share.found["arms"]
    assert arms["image"]["encoder"] == "fixture-palette@late-v1"
    assert arms["joint"]["encoder"] == "fixture-palette@joint-v1"
    assert "fixture-palette" in arms["fusion"]["encoder"]
    assert {each["source"] for each in share.found["origins"].values()} == {
        "made up by scripts/make_unidoc_set.py, seed 0"
    }


def test_a_page_found_by_its_colours_is_marked_where_they_are_drawn(share):
    collections = share.octavo("collections")["collections"]
    name = next(
        each["name"]
        for each in collections
        if each["encoder"] == "fixture-palette@late-v1" and "energy" in each["name"]
    )
    plan = share.plans["energy"]
    question = next(each for each in plan.questions if each.kind is Kind.PLATE)
    asked = ("search", question.text, "-c", name, "--mode", "visual")
    best = share.octavo(*asked, "--encoder", f"{PALETTE}:late")["hits"][0]
    assert best["boxes"]
    for each in best["boxes"]:
        x0, y0, x1, y1 = each["box"]
        # A plate's chart is 460 by 520 points in the middle of 595 by 842; cells are 38 wide.
        assert x0 < x1 <= 527 + 38
        assert y0 < y1 <= 681 + 38
        assert x0 >= 67 - 38
        assert y0 >= 161 - 38


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_all_1600_questions_equal_the_expectation_after_a_kill(tmp_path):
    world = World(tmp_path, tuple(DOMAINS), 200, 2000)
    world.run_killed_and_again(Path("image", "energy", "run.tsv"), timeout_s=3000)
    assert sum(len(plan.questions) for plan in world.plans.values()) == 1600
    assert world.found["arms"]["joint"]["n"] == 1600
    for paradigm in RANKS:
        check_ranks(world, paradigm)
        check_figures(world, paradigm)
        check_answers(world, paradigm)
    check_taken_over(world, "image", "energy")
    for paradigm in expectation.FACTS_FOUND_BY:
        check_facts(world, paradigm)


# --- checks -------------------------------------------------------------------------------------
def check_ranks(world: World, paradigm: Paradigm) -> None:
    for domain in world.domains:
        kinds, ranks = world.kinds(domain), world.gold_ranks(paradigm, domain)
        assert Counter(kinds.values()) == dict.fromkeys(Kind, world.questions // len(Kind))
        wrong = {
            query_id: (kind, ranks[query_id])
            for query_id, kind in kinds.items()
            if ranks[query_id] != RANKS[paradigm][kind]
        }
        assert not wrong, (paradigm, domain)


def check_figures(world: World, paradigm: Paradigm) -> None:
    arm = world.found["arms"][paradigm]
    assert not arm["refused"]
    for name, value in expectation.values_of_all(paradigm).items():
        if name in arm["macro"]:
            assert arm["macro"][name] == pytest.approx(value, abs=1e-9), name
    for answer_type, expected in expectation.values_by_answer_type(paradigm).items():
        for name in ("R@10", "P@10", "nDCG@10"):
            found = arm["by_answer_type"][answer_type][name]
            assert found == pytest.approx(expected[name], abs=1e-9), (answer_type, name)
    for domain in world.domains:
        rows = read_json_lines(world.folder / "out" / paradigm / domain / "per_query.jsonl")
        kinds = world.kinds(domain)
        assert [row["id"] for row in rows] == list(kinds)
        for row in rows:
            expected = expectation.values(paradigm, kinds[row["id"]])
            assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def check_answers(world: World, paradigm: Paradigm) -> None:
    expected = OUTCOMES[paradigm]
    for domain in world.domains:
        found = outcomes(world, paradigm, domain)
        other = {
            query_id: (kind, found[query_id])
            for query_id, kind in world.kinds(domain).items()
            if kind in expected and found[query_id] != expected[kind]
        }
        assert not other, (paradigm, domain)


def check_facts(world: World, paradigm: Paradigm) -> None:
    facts = [
        outcomes(world, paradigm, domain)[query_id]
        for domain in world.domains
        for query_id, kind in world.kinds(domain).items()
        if kind is Kind.FACT
    ]
    share_right = facts.count("right_cited") / len(facts)
    assert share_right >= expectation.FACTS_RIGHT_AT_LEAST, Counter(facts)


def outcomes(world: World, paradigm: str, domain: str) -> dict[str, str]:
    """Of the answers, by question id."""
    path = world.folder / "out" / paradigm / domain / "answers_per_query.jsonl"
    return {row["id"]: row["outcome"] for row in read_json_lines(path)}


def check_taken_over(world: World, paradigm: str, domain: str) -> None:
    path = world.folder / "out" / paradigm / domain / "measures.json"
    assert json.loads(path.read_text(encoding="utf-8"))["taken_over"] == world.questions
