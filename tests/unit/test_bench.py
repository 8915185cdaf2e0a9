"""The bench: how it times, what it refuses to time, what it keeps."""

from __future__ import annotations

import json
import random
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.bench import corpus, goals, made_up, maxsim, oversubscribed, peers, record
from eval.bench.__main__ import _named, _parser, main
from eval.bench.contender import Contender, Effort, Entry, Gate, Outcome, Row, Skipped, race
from eval.bench.fde import by_definition
from eval.bench.machine import Cost, Machine
from eval.bench.report import as_json, table
from eval.bench.rounds import interleave
from rag.errors import InputError
from rag.scoring import native
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.scoring.maxsim import maxsim as exact_maxsim

RIGHT = Gate(True, {"max_relative_error": 0.0})


def no_words(_: str) -> None:
    pass


class Clock:
    """Time passes only when someone works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float):
        def call() -> None:
            self.now += seconds

        return call


def timed(calls, clock, *, rounds=10, budget_s=1e9):
    return interleave(
        calls, rounds=rounds, budget_s=budget_s, order=random.Random(0), settle_s=0, clock=clock
    )


# --- rounds -------------------------------------------------------------------------------------
def test_every_contender_runs_once_a_round_in_an_order_that_changes():
    ran: list[str] = []
    timed({name: lambda name=name: ran.append(name) for name in "abcd"}, Clock(), rounds=8)
    rounds = ["".join(ran[start : start + 4]) for start in range(0, len(ran), 4)]
    assert all(sorted(each) == list("abcd") for each in rounds)
    assert len(rounds) == 8
    assert len(set(rounds)) > 3


def test_each_gets_the_seconds_of_its_own_calls():
    clock = Clock()
    times = timed({"slow": clock.work(2.0), "fast": clock.work(0.5)}, clock, rounds=3)
    assert times.seconds == {"slow": [2.0] * 3, "fast": [0.5] * 3}


@pytest.mark.parametrize(("budget_s", "rounds"), [(0.0, 3), (4.5, 5), (100.0, 10)])
def test_the_budget_ends_the_rounds_but_never_before_the_third(budget_s, rounds):
    clock = Clock()
    times = timed({"one": clock.work(1.0)}, clock, budget_s=budget_s)
    assert len(times.seconds["one"]) == rounds


def test_one_that_fails_leaves_the_others_running():
    clock = Clock()
    calls = {"broken": lambda: 1 / 0, "whole": clock.work(1.0)}
    times = timed(calls, clock, rounds=4)
    assert times.failed == {"broken": "ZeroDivisionError: division by zero"}
    assert len(times.seconds["whole"]) == 4


# --- gates --------------------------------------------------------------------------------------
EXACT = np.linspace(20.0, 30.0, 40)


def held(scores, *, error=1e-3, overlap=0.9):
    return maxsim.gate(scores, EXACT, error=error, overlap=overlap)


def test_scores_within_the_error_pass():
    gate = held(EXACT * (1 + 5e-4))
    assert gate.passed
    assert gate.figures["top10_overlap"] == 1.0
    assert gate.figures["max_relative_error"] == pytest.approx(5e-4)


def with_one(value):
    scores = EXACT.copy()
    scores[3] = value
    return scores


@pytest.mark.parametrize(
    "scores",
    [with_one(25.0), with_one(np.nan), with_one(-np.inf), EXACT[:-1], EXACT[::-1]],
    ids=["one wrong", "NaN", "infinite", "one missing", "another order"],
)
def test_scores_that_are_wrong_in_one_place_do_not_pass(scores):
    assert not held(scores).passed


def test_scores_of_another_scale_are_held_to_the_ranking_alone():
    assert held(EXACT * 7 - 3, error=None).passed
    assert not held(-EXACT, error=None).passed


# --- a section ----------------------------------------------------------------------------------
def contender(name, gate=RIGHT, calls=None, **more):
    def call():
        if calls is not None:
            calls.append(name)

    return Entry(name, lambda: Contender(name, call, lambda _: gate, **more))


def missing():
    raise Skipped("not installed, pip install thing")


def test_a_wrong_contender_is_shown_as_failed_and_never_timed():
    calls: list[str] = []
    wrong = Gate(False, {"max_relative_error": 0.5})
    outcome = race(
        "section",
        "work",
        [contender("good", calls=calls), contender("bad", wrong, calls)],
        Effort(rounds=3),
        say=no_words,
    )
    assert [row.name for row in outcome.rows] == ["good"]
    assert outcome.failed == {"bad": "wrong: max_relative_error 0.5"}
    assert calls.count("bad") == 1  # the call that was checked
    assert calls.count("good") == 1 + 3
    assert "bad                  FAILED: wrong" in table(outcome)


@pytest.mark.parametrize(("name", "sound"), [("octavo int8", False), ("somebody fp32", True)])
def test_a_section_is_sound_unless_one_of_ours_failed(name, sound):
    wrong = Gate(False, {"max_relative_error": 0.5})
    entries = [contender(name, wrong), contender("good")]
    assert race("section", "work", entries, Effort(rounds=3), say=no_words).is_sound is sound


def test_a_run_in_which_one_of_ours_is_wrong_ends_with_exit_code_1(monkeypatch):
    arguments = ["--smoke", "--only", "maxsim", "--quiet"]
    assert main(arguments) == 0
    monkeypatch.setattr("eval.bench.maxsim.maxsim_packed", lambda _, pages: np.zeros(len(pages)))
    assert main(arguments) == 1


def test_one_that_is_not_installed_or_breaks_costs_a_line():
    outcome = race(
        "section",
        "work",
        [Entry("absent", missing), Entry("broken", lambda: 1 / 0), contender("good")],
        Effort(rounds=3),
        say=no_words,
    )
    assert outcome.skipped == {"absent": "not installed, pip install thing"}
    assert outcome.failed == {"broken": "ZeroDivisionError: division by zero"}
    assert "absent               skipped: not installed, pip install thing" in table(outcome)


def test_a_module_that_is_not_there_is_skipped_with_what_to_install(monkeypatch):
    monkeypatch.setitem(peers._REQUIREMENTS, "no_such_module", "thing==1")
    with pytest.raises(Skipped, match="not installed, pip install thing==1"):
        peers.load("no_such_module")


def row(name, *seconds, ours=False, cost=None):
    return Row(name, ours, RIGHT, seconds, cost)


def outcome_of(*rows, section="section", machine=None):
    return Outcome(section, "work", rows, {}, {}, machine or Machine(), (0.0, 0.0))


def test_ratios_are_of_minima_and_of_medians():
    outcome = outcome_of(row("own", 1.0, 2.0, 9.0, ours=True), row("peer", 10.0, 30.0, 40.0, 80.0))
    assert outcome.ratios() == {"own": {"peer": (10.0, 17.5)}}


def test_a_goal_is_met_by_the_worse_of_both_ratios():
    own = row("octavo", 1.0, 1.0, 2.0, ours=True)
    fast = outcome_of(own, row("fastembed Muvera", 100.0, 101.0), section="fde")
    slow = outcome_of(own, row("fastembed Muvera", 99.0, 500.0), section="fde")
    assert [verdict.met for verdict in goals.verdicts(fast)] == [True]
    assert [(verdict.met, verdict.found) for verdict in goals.verdicts(slow)] == [(False, 99.0)]


def test_the_limit_is_the_later_of_computing_and_reading():
    machine = Machine()
    machine.gops, machine.read_gb_s = {"int8": 100.0}, 10.0
    assert machine.least_s(Cost(2e11, "int8", 1e9)) == (2.0, "compute")
    assert machine.least_s(Cost(2e9, "int8", 1e10)) == (1.0, "memory")
    assert machine.least_s(Cost(2e9, "bits", 1e10)) is None
    measured = row("own", 4.0, 5.0, ours=True, cost=Cost(2e11, "int8", 1e9))
    assert goals.of_limit(outcome_of(measured, machine=machine), measured) == (0.5, "compute")


def test_a_share_above_one_leaves_all_goals_on_shares_open():
    machine = Machine()
    machine.gops, machine.read_gb_s = {"int8": 100.0, "fp32": 100.0}, 1e6

    def judged(int8_s):
        rows = [
            row("octavo int8", int8_s, ours=True, cost=Cost(1e11, "int8", 1.0)),
            row("octavo fp32", 1.25, ours=True, cost=Cost(1e11, "fp32", 1.0)),
        ]
        outcome = outcome_of(*rows, section="maxsim_100", machine=machine)
        return [verdict.met for verdict in goals.verdicts(outcome)], table(outcome)

    assert judged(1.25)[0] == [True, True]
    verdicts, text = judged(0.5)  # twice the peak: it was measured wrong, for fp32 as well
    assert verdicts == [None, None]
    assert "PEAKS DISTURBED" in text
    assert "goal open" in text


def test_peaks_are_the_best_of_all_measurements():
    machine = Machine()
    machine.gops["fp32"] = 1e9
    machine.measure()
    assert machine.gops["fp32"] == 1e9
    assert machine.source


def test_the_product_that_stands_in_for_a_peak_is_of_ordinary_numbers(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    machine = Machine()
    machine.measure()
    assert machine.gops["fp32"] > 0
    assert (machine._buffer(0).view(np.float32) == 1).all()


# --- the reference of encodings -----------------------------------------------------------------
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 30),
    bits=st.integers(0, 4),
    projection_dim=st.sampled_from([None, 4]),
)
@settings(deadline=None, max_examples=50)
def test_encodings_equal_the_definition_and_full_cells_are_known(seed, n, bits, projection_dim):
    spec = FdeSpec(16, repetitions=2, simhash_bits=bits, projection_dim=projection_dim, seed=seed)
    encoder = FdeEncoder(spec)
    page = np.random.default_rng(seed).standard_normal((n, 16), dtype=np.float32)
    expected, has_rows = by_definition(encoder, page)
    np.testing.assert_allclose(encoder.encode_page(page), expected.ravel(), rtol=1e-4, atol=1e-5)
    bare = FdeEncoder(FdeSpec(16, 2, bits, projection_dim, seed=seed, fill=False)).encode_page(page)
    assert not bare.reshape(expected.shape)[~has_rows].any()


# --- made-up pages ------------------------------------------------------------------------------
def test_a_made_up_page_is_the_same_each_time_and_another_for_another_number():
    pages, again = made_up.MadeUpPages(50, 60), made_up.MadeUpPages(50, 60)
    np.testing.assert_array_equal(pages.page(7), again.page(7))
    np.testing.assert_array_equal(pages.queries(3, 0.75), again.queries(3, 0.75))
    assert not np.array_equal(pages.page(7), pages.page(8))
    assert pages.key != made_up.MadeUpPages(50, 61).key


def test_made_up_rows_have_length_one_and_lean_one_way():
    pages = made_up.MadeUpPages(200, 100)
    rows = np.concatenate([pages.page(number) for number in range(0, 200, 20)])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    cosines = rows[:400] @ rows[-400:].T
    assert 0.3 < cosines.mean() < 0.5


def test_hard_queries_are_further_from_every_page_than_easy_ones():
    pages = made_up.MadeUpPages(24, 80)
    best = {
        noise: np.mean(
            [
                max(exact_maxsim(query, pages.page(number)) for number in range(24))
                for query in pages.queries(4, noise)
            ]
        )
        for noise in (made_up.EASY, made_up.HARD)
    }
    assert best[made_up.HARD] < 0.9 * best[made_up.EASY]


def test_pages_of_another_file_are_read_from_its_class(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\n"
        "class Corpus:\n"
        "    def __init__(self, n_pages, length): self.length = length\n"
        "    def page(self, i): return np.full((self.length, 128), i, np.float16), None\n"
        "    def queries(self, n, noise): return np.full((n, 2, 128), noise, np.float32), None\n"
    )
    pages = made_up.open_pages(5, 3, path)
    assert pages.page(2).shape == (3, 128)
    assert pages.page(2).dtype == np.float32
    assert pages.queries(4, 2.0)[0, 0, 0] == 2.0
    assert pages.key.startswith("mine-")
    with pytest.raises(InputError, match="no Python file"):
        made_up.open_pages(5, 3, tmp_path / "none.py")


def test_a_corpus_is_made_once_and_ranked_exactly(tmp_path, monkeypatch):
    pages = made_up.MadeUpPages(130, 40)  # more than one block
    made = corpus.prepare(pages, 130, 40, 3, tmp_path, no_words)
    for kind in ("easy", "hard"):
        query = made.queries[kind][1]
        expected = [exact_maxsim(query, pages.page(number)) for number in range(130)]
        np.testing.assert_allclose(made.exact[kind][1], expected, rtol=1e-5)
    np.testing.assert_allclose(made.int8.page(129), pages.page(129), atol=5e-3)
    np.testing.assert_array_equal(made.bits.page(129) > 0, pages.page(129) > 0)
    monkeypatch.setattr(pages, "page", None)
    again = corpus.prepare(pages, 130, 40, 3, tmp_path, no_words)
    np.testing.assert_array_equal(again.exact["hard"], made.exact["hard"])


def test_encodings_of_a_corpus_are_kept_by_the_matrices_they_come_from(tmp_path):
    pages = made_up.MadeUpPages(5, 20)
    made = corpus.prepare(pages, 5, 20, 1, tmp_path, no_words)
    for seed in (1, 2):
        encoder = FdeEncoder(FdeSpec(128, repetitions=2, projection_dim=4, seed=seed))
        expected = encoder.encode_pages([pages.page(number) for number in range(5)])
        for _ in range(2):
            np.testing.assert_array_equal(made.fdes(encoder, no_words), expected)


# --- what is kept -------------------------------------------------------------------------------
def test_tables_replace_what_stands_between_the_marks_and_nothing_else(tmp_path):
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{record._BEGIN}\nold\n{record._END}\nafter\n")
    outcome = outcome_of(row("own", 1.0, ours=True))
    for _ in range(2):
        record.write_tables(document, [outcome], "commit 1", "picture.svg")
    text = document.read_text()
    assert text.startswith(f"before\n{record._BEGIN}\n`make bench`, commit 1.")
    assert text.endswith(f"```\n{record._END}\nafter\n")
    assert "old" not in text
    assert text.count("![times](picture.svg)") == 1


def test_a_document_without_marks_is_left_alone(tmp_path):
    document = tmp_path / "benchmarks.md"
    document.write_text("mine\n")
    with pytest.raises(InputError, match=r"benchmarks\.md has no lines") as caught:
        record.write_tables(document, [], "", "")
    assert (caught.value.code, bool(caught.value.next_step)) == ("no_marks", True)
    assert document.read_text() == "mine\n"


def test_the_caption_names_pages_that_are_not_the_made_up_ones():
    run = {"commit": "abc", "machine": {"cores": 2, "cpu": "CPU"}, "arguments": {"corpus": None}}
    assert record.caption(run) == "commit abc; 2 cores, CPU"
    run["arguments"] = {"corpus": "mine.py"}
    assert record.caption(run) == "commit abc; 2 cores, CPU; pages of mine.py"


def test_a_run_records_its_pages_and_encoding_and_no_folder(tmp_path):
    arguments = ["--corpus", str(tmp_path / "mine.py"), "--pages", "7", "--rows", "9"]
    kept = _named(_parser().parse_args([*arguments, "--fde", "2/3/4"]))
    assert (kept["corpus"], kept["pages"], kept["rows"]) == ("mine.py", 7, 9)
    assert kept["fde"] == asdict(FdeSpec(128, 2, 3, 4, seed=kept["fde"]["seed"]))
    assert str(tmp_path) not in json.dumps(kept)
    assert _named(_parser().parse_args([]))["corpus"] is None


def test_a_slowdown_is_put_beside_that_of_the_plain_loop():
    slow = oversubscribed.Slowdown("own", (1.0, 2.0, 3.0), (4.0, 10.0, 30.0))
    assert slow.factors == (4.0, 5.0)
    loop = oversubscribed.Slowdown("loop", (1.0,), (1.0,))
    near = oversubscribed.Slowdown("own", (1.0,), (1.0,), (1.1, 1.25))
    far = oversubscribed.Slowdown("own", (1.0,), (1.0,), (1.1, 1.26))
    assert [each.met for each in goals.slowdown_verdicts([loop, near, far])] == [True, False]
    run = as_json([], [loop, near], {})
    assert run["oversubscribed"]["own"]["against_loop"] == [1.1, 1.25]


# --- the command --------------------------------------------------------------------------------
def test_a_smoke_run_gives_every_figure_as_one_line(tmp_path, capsys):
    history = tmp_path / "bench.jsonl"
    arguments = ["--smoke", "--only", "maxsim,cascade", "--json", "--quiet"]
    kept = ["--cache", str(tmp_path / "cache"), "--history", str(history)]
    assert main([*arguments, *kept]) == 0
    printed = json.loads(capsys.readouterr().out)
    (line,) = history.read_text().splitlines()
    assert json.loads(line) == printed
    assert {"when", "commit", "machine", "versions", "sections"} <= set(printed)
    assert "goals" not in printed  # they mean nothing at this size
    section = printed["sections"]["maxsim_20"]
    assert not [name for name in section["failed"] if name.startswith("octavo")]
    figures = section["contenders"]["octavo fp32"]
    assert 0 < figures["min_ms"] <= figures["median_ms"]
    assert figures["gate"]["max_relative_error"] < 1e-6
    assert len(section["ratios"]["octavo int8"]["numpy, a product a page"]) == 2
    assert (
        printed["sections"]["cascade"]["contenders"]["octavo cascade"]["gate"]["recall_easy"] > 0.9
    )


def test_an_unknown_section_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit) as refused:
        main(["--only", "maxism"])
    assert refused.value.code == 2
    assert "there are maxsim, fde, first_stage, cascade, cold_start" in capsys.readouterr().err
