"""Sweeps: which rows there are, what each wants, and what is made of their runs."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.compare import compare_runs
from eval.datasets.folder import Dataset, PageKey, Query
from eval.run_eval import Found, evaluate
from eval.runs import Hit
from eval.tuning.sweep import MEASURES, Part, RowOutcome, front, sweep_report, sweep_result
from eval.tuning.sweep_plan import (
    Row,
    collection_name,
    engine_key,
    grid,
    named_rows,
    page_settings,
    read_rows,
    row_settings,
    what_is_missing,
)
from eval.tuning.sweep_plot import _Point, placed_labels, sweep_svg
from rag.errors import ConfigError, InputError
from rag.manifest import require_collection_name
from rag.settings import Settings, changed_settings, nested

BASE = Settings()


def changed(**dotted_names: Any) -> Settings:
    return changed_settings(
        BASE, nested({name.replace("__", "."): value for name, value in dotted_names.items()})
    )


# --- rows ---------------------------------------------------------------------------------------
def test_a_grid_has_a_row_for_each_combination_and_the_first_values_first() -> None:
    rows = grid([("retrieval.fusion", ("zscore", "rrf")), ("retrieval.weights.words", ("1", "2"))])
    assert [row.name for row in rows] == [
        "fusion=zscore words=1",
        "fusion=zscore words=2",
        "fusion=rrf words=1",
        "fusion=rrf words=2",
    ]
    assert rows[3].changes == {"retrieval": {"fusion": "rrf", "weights": {"words": "2"}}}
    assert row_settings(BASE, rows[3]).retrieval.weights.words == 2.0


def test_two_settings_with_the_same_last_word_are_told_apart() -> None:
    (row,) = grid([("ocr.mode", ("off",)), ("caption.mode", ("off",))])
    assert row.name == "ocr.mode=off caption.mode=off"


def test_an_axis_that_is_no_setting_gives_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        grid([("retrieval.fushion", ("rrf",))])
    assert caught.value.next_step == "Did you mean retrieval.fusion?"


def test_a_value_out_of_bounds_is_named_with_its_row() -> None:
    (row,) = grid([("retrieval.code_bits", ("9",))])
    with pytest.raises(ConfigError, match=r"row 'code_bits=9': setting retrieval\.code_bits"):
        row_settings(BASE, row)


def test_the_same_axis_twice_or_without_values_is_refused() -> None:
    with pytest.raises(InputError, match="two places"):
        grid([("retrieval.fusion", ("rrf",)), ("retrieval.fusion", ("zscore",))])
    with pytest.raises(InputError, match="no values"):
        grid([("retrieval.fusion", ())])


def test_rows_of_a_file_are_settings_files_with_names(tmp_path: Path) -> None:
    file = tmp_path / "rows.toml"
    file.write_text(
        '[plain]\n["rrf, words only"]\nretrieval.fusion = "rrf"\n'
        "retrieval.weights = { dense = 0.0, patches = 0.0 }\n"
    )
    rows = read_rows(file)
    assert [row.name for row in rows] == ["plain", "rrf, words only"]
    assert rows[0].changes == {}
    assert row_settings(BASE, rows[1]).retrieval.weights.dense == 0
    assert [row.folder for row in rows] == ["plain", "rrf,-words-only"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\nretrieval.fuson = 'rrf'", "retrieval.fuson"),
        ("[a]\nchat.api_key = 'sesame'", "secret"),
        ("a = 1", "no table"),
        ("", "no rows"),
        ("[a", "cannot be read"),
    ],
)
def test_a_file_of_rows_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rows.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_rows(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_rows(tmp_path / "none.toml")


def test_settings_that_change_no_measure_are_refused() -> None:
    for name in ("store.batch_pages", "answer.answer_pages"):
        (row,) = grid([(name, ("3",))])
        with pytest.raises(ConfigError, match=name):
            row_settings(BASE, row)


def test_rows_of_equal_looking_names_keep_their_folders_apart() -> None:
    rows = named_rows([("a b", {}), ("a-b", {"ocr": {"mode": "off"}}), ("/", {})])
    assert len({row.folder for row in rows}) == 3
    assert all(row.folder for row in rows)


def test_the_rows_that_come_with_octavo_are_settings() -> None:
    rows = read_rows(Path(__file__).parents[2] / "configs" / "sweep.toml")
    assert rows[0].changes == {}
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        row_settings(BASE, row)


# --- which pages a row searches -----------------------------------------------------------------
def test_rows_that_differ_in_searching_share_their_pages() -> None:
    plain = collection_name("tiny", BASE)
    assert plain == "eval-tiny"
    for settings in (
        changed(retrieval__fusion="rrf"),
        changed(encoder__threads=7, render__workers=9, encoder__device="cpu"),
        changed(chat__model="m", caption__dpi=70),  # no captions are written
    ):
        assert collection_name("tiny", settings) == plain


def test_rows_that_differ_in_their_pages_do_not_share_them() -> None:
    names = [
        collection_name("tiny", settings)
        for settings in (
            BASE,
            changed(ocr__mode="off"),
            changed(ocr__mode="always"),
            changed(pooling__method="runs"),
            changed(pooling__method="runs", pooling__factor=4),
            changed(render__dpi=100),
            changed(fde__seed=1),
            changed(encoder__name="dense", encoder__model="acme/one"),
            changed(caption__mode="on", chat__model="m"),
            changed(caption__mode="on", chat__model="n"),
        )
    ]
    assert len({*names}) == len(names)
    # What reading by pixels would look like is nothing to pages that are not.
    off = changed(ocr__mode="off")
    assert page_settings(off) == page_settings(changed(ocr__mode="off", ocr__dpi=99))


_LONG = "a" * 200


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("mein set ü", "eval-mein-set-u-"),
        ("set.v1", "eval-set-v1-"),
        ("год", "eval-"),
        (_LONG, "eval-aaaa"),
        ("", "eval-"),
        ("\udcff", "eval-"),
    ],
)
@pytest.mark.parametrize("settings", [BASE, changed(ocr__mode="off")])
def test_a_dataset_of_any_name_has_a_collection(name: str, begins: str, settings: Settings) -> None:
    found = collection_name(name, settings)
    require_collection_name(found)
    assert found.startswith(begins)
    assert found == collection_name(name, settings)


@given(names=st.lists(st.text("aü .-0f", max_size=70), min_size=2, max_size=2, unique=True))
def test_datasets_of_different_names_never_share_a_collection(names: list[str]) -> None:
    names += [collection_name(name, BASE).removeprefix("eval-") for name in names]
    found = {
        collection_name(name, settings)
        for name in {*names}
        for settings in (BASE, changed(ocr__mode="off"))
    }
    assert len(found) == 2 * len({*names})
    for name in found:
        require_collection_name(name)


def test_only_settings_of_a_search_leave_the_data_folder_open() -> None:
    assert engine_key(changed(retrieval__fusion="rrf")) == engine_key(BASE)
    for other in (changed(ocr__mode="off"), changed(chat__model="m"), changed(encoder__dim=64)):
        assert engine_key(other) != engine_key(BASE)


# --- what is not there --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("retrieval.rerank.method", "vlm_yes_no", "chat.model is not set"),
        ("retrieval.rerank.method", "cross_encoder", "wants retrieval.rerank.model"),
        ("retrieval.rerank.method", "http", "wants retrieval.rerank.url"),
        ("retrieval.wording.decompose", "chat", "chat.model is not set"),
        ("caption.mode", "on", "chat.model is not set"),
    ],
)
def test_a_row_that_wants_what_is_not_there_says_so(name: str, value: str, said: str) -> None:
    changes = nested({name: value})
    missing = what_is_missing(changed_settings(BASE, changes), changes)
    assert missing is not None
    assert f"{name}={value}" in missing
    assert said in missing


def test_a_row_that_reads_pixels_wants_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.ocr.choose.installed_engines", list)
    always, off = nested({"ocr.mode": "always"}), nested({"ocr.mode": "off"})
    said = what_is_missing(changed_settings(BASE, always), always)
    assert said == "ocr.mode=always: no OCR engine is installed"
    assert what_is_missing(changed_settings(BASE, off), off) is None
    assert what_is_missing(BASE, {}) is None  # a row that says nothing of it is as octavo is


# --- what was measured --------------------------------------------------------------------------
def dataset(name: str, n_questions: int) -> Dataset:
    queries = {
        f"q{i}": Query(id=f"q{i}", text=f"{i}?", answer="x", type="text", doc="a.pdf")
        for i in range(n_questions)
    }
    return Dataset(
        name=name,
        folder=Path(name),
        documents=("a.pdf",),
        queries=queries,
        qrels={key: {PageKey("a.pdf", 1): 1} for key in queries},
        unanswerable=(),
        digest=name,
    )


def outcome(
    tmp_path: Path, name: str, found: dict[str, int], *, notices: dict[str, str] | None = None
) -> RowOutcome:
    """A row that finds the page first for so many questions of each dataset, and no page else."""
    made = RowOutcome(Row(name, {"retrieval": {"fusion": name}}, name))
    for each, n_found in found.items():

        def search(query: Query, n_found: int = n_found) -> Found:
            hits = [Hit("a.pdf", 1, 1.0)] if int(query.id[1:]) < n_found else []
            return Found(hits, notices or {})

        folder = tmp_path / each / name
        evaluation = evaluate(dataset(each, 10 if each == "one" else 20), search, out_dir=folder)
        made.runs[Part(each, "corpus")] = (folder, evaluation)
    return made


def test_the_headline_is_the_mean_over_datasets_each_as_heavy(tmp_path: Path) -> None:
    rows = [
        outcome(tmp_path, "first", {"one": 5, "two": 5}),
        outcome(tmp_path, "second", {"one": 10, "two": 5}),
    ]
    result = sweep_result(rows, n_resamples=2000)
    first, second = (row["mean"] for row in result["rows"])
    assert first["measures"]["nDCG@10"] == pytest.approx((0.5 + 0.25) / 2)
    interval = second["intervals"]["nDCG@10"]
    assert interval["difference"] == pytest.approx(0.25)
    assert interval["difference_low"] < 0.25 < interval["difference_high"]
    assert interval["excludes_0"]
    of_two = result["rows"][1]["parts"][1]["intervals"]["nDCG@10"]
    assert (of_two["difference"], of_two["excludes_0"]) == (0, False)
    assert result["parts"] == [
        {"dataset": "one", "scope": "corpus"},
        {"dataset": "two", "scope": "corpus"},
    ]


def test_the_mean_over_datasets_moves_less_than_one_of_them(tmp_path: Path) -> None:
    rows = [
        outcome(tmp_path, "first", {"one": 3, "two": 3}),
        outcome(tmp_path, "second", {"one": 6, "two": 12}),
    ]
    second = sweep_result(rows, n_resamples=4000)["rows"][1]

    def width(figures: dict[str, Any]) -> float:
        interval = figures["intervals"]["R@10"]
        return float(interval["difference_high"] - interval["difference_low"])

    one, two, mean = (width(each) for each in (*second["parts"], second["mean"]))
    # Independent errors: half the root of the sum of squares.
    assert mean == pytest.approx((one**2 + two**2) ** 0.5 / 2, rel=0.15)


def test_rows_that_find_the_same_are_not_marked(tmp_path: Path) -> None:
    rows = [outcome(tmp_path, name, {"one": 5}) for name in ("first", "second", "third")]
    result = sweep_result(rows, n_resamples=500)
    for row in result["rows"]:
        for name in MEASURES:
            assert not row["mean"]["intervals"][name]["excludes_0"]
    assert "*" not in sweep_report(result).partition("differences from")[0]


def test_rows_are_corrected_for_all_that_a_table_shows(tmp_path: Path) -> None:
    rows = [
        outcome(tmp_path, "first", {"one": 3}),
        *(outcome(tmp_path, f"row{i}", {"one": 8}) for i in range(9)),
    ]
    result = sweep_result(rows, n_resamples=2000)
    for figures in (result["rows"][1]["mean"], result["rows"][1]["parts"][0]):
        interval = figures["intervals"]["R@10"]
        assert interval["p_holm"] == pytest.approx(min(1.0, 27 * interval["p_value"]))
    assert "corrected for all 27 differences of its table" in sweep_report(result)
    assert "no corrected p" not in sweep_report(result)
    assert "no corrected p is below 0.27" in sweep_report(sweep_result(rows, n_resamples=200))


def test_a_sweep_and_a_comparison_of_the_same_runs_say_the_same(tmp_path: Path) -> None:
    rows = [outcome(tmp_path, "first", {"one": 3}), outcome(tmp_path, "second", {"one": 6})]
    swept = sweep_result(rows, n_resamples=2000)["rows"][1]["mean"]["intervals"]
    folders = [folder for row in rows for folder, _ in row.runs.values()]
    compared = compare_runs(*folders, measures=MEASURES, n_resamples=2000)
    for each in compared.differences:
        of_sweep = swept[each.measure]
        assert (each.difference, each.p_value) == (of_sweep["difference"], of_sweep["p_value"])
        assert each.p_holm == of_sweep["p_holm"]
    assert compared.differences[0].p_holm > compared.differences[0].p_value


def test_a_skipped_row_is_listed_with_its_reason_and_has_no_figures(tmp_path: Path) -> None:
    skipped = RowOutcome(Row("chat", {}, "chat"), skipped="chat.model is not set")
    result = sweep_result([skipped, outcome(tmp_path, "first", {"one": 5})], n_resamples=100)
    assert result["baseline"] == "first"
    assert "mean" not in result["rows"][0]
    assert "skipped    chat: chat.model is not set" in sweep_report(result)
    nothing = sweep_result([skipped])
    assert nothing["baseline"] is None
    assert "no row could be measured" in sweep_report(nothing)


def test_a_degraded_row_is_marked_and_never_in_front(tmp_path: Path) -> None:
    rows = [
        outcome(tmp_path, "first", {"one": 2}),
        outcome(tmp_path, "broken", {"one": 10}, notices={"rerank_failed": "no answer"}),
        outcome(tmp_path, "old", {"one": 9}, notices={"tuning_outdated": "tuned on 3 pages"}),
    ]
    result = sweep_result(rows, n_resamples=100)
    assert result["rows"][1]["degraded"] == {"rerank_failed": 10}
    assert result["rows"][2]["degraded"] == {}
    assert "broken" not in result["front"]
    assert "old" in result["front"]
    table = sweep_report(result)
    assert "degraded   broken: rerank_failed at 10 questions" in table
    assert next(line for line in table.splitlines() if line.startswith("broken")).endswith(
        "degraded"
    )


# --- the front ----------------------------------------------------------------------------------
_NO_DIFFERENCE = {
    **dict.fromkeys(("low", "high", "difference", "p_value", "p_holm"), 0.0),
    **dict.fromkeys(("difference_low", "difference_high"), 0.0),
    "excludes_0": False,
}


def figures(name: str, ms: float, value: float, **other: Any) -> dict[str, Any]:
    mean = {
        "latency_ms": {"p50": ms, "p95": ms},
        "measures": dict.fromkeys(MEASURES, value),
        "intervals": {key: dict(_NO_DIFFERENCE) for key in MEASURES},
    }
    row = {"name": name, "settings": {}, "skipped": None, "degraded": {}, "mean": mean}
    return {**row, **other}


def test_the_front_has_the_rows_that_no_other_is_better_and_faster_than() -> None:
    rows = [
        figures("slow and good", 90, 0.6),
        figures("fast", 10, 0.4),
        figures("beaten", 20, 0.39),
        figures("as good, slower", 30, 0.4),
        figures("middle", 40, 0.5),
        figures("broken", 5, 0.9, degraded={"x": 1}),
    ]
    assert front(rows) == ["fast", "middle", "slow and good"]
    assert front([]) == []


# --- the picture --------------------------------------------------------------------------------
def drawn(rows: list[dict[str, Any]]) -> str:
    parts = [{"dataset": "one", "scope": "corpus"}]
    return sweep_svg(
        {"rows": rows, "parts": parts, "baseline": rows[0]["name"], "front": front(rows)}
    )


@pytest.mark.parametrize("n_rows", [1, 2, 30])
def test_the_picture_names_every_row_and_is_well_formed(n_rows: int) -> None:
    rows = [figures(f"row <{i}> & co", 10.0 + i, 0.5 + 0.001 * i) for i in range(n_rows)]
    rows.append(figures("skipped", 0, 0, skipped="no"))
    svg = drawn(rows)
    texts = ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter()]
    for i in range(n_rows):
        assert f"row <{i}> & co" in texts
    assert "skipped" not in texts
    assert "prefers-color-scheme: dark" in svg
    assert "nan" not in svg


def test_rows_that_took_no_time_and_found_the_same_can_be_drawn() -> None:
    svg = drawn([figures("a", 0.0, 0.0), figures("b", 0.0, 0.0)])
    ElementTree.fromstring(svg)
    assert "nan" not in svg


def test_names_of_a_crowd_of_points_do_not_lie_over_each_other() -> None:
    points: list[Any] = [
        _Point({"name": f"fusion={i} patches=0.5"}, 300 + 17 * (i % 5), 240 + 11 * (i // 5))
        for i in range(25)
    ]
    boxes = [box for box, _ in placed_labels(points)]
    assert sum(a.shared_with(b) for a, b in combinations(boxes, 2)) == 0
    alone = SimpleNamespace(**vars(points[0]), box=points[0].box)
    (place,) = placed_labels([alone])  # type: ignore[list-item]  # all that is asked of a point
    assert not place[1]


def test_a_value_of_an_axis_given_twice_is_refused():
    with pytest.raises(InputError, match=r"retrieval\.fusion has the value rrf twice"):
        grid([("retrieval.fusion", ("rrf", "zscore", "rrf"))])
