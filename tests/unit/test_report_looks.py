"""Who cannot see, or sees by night, reads a report too."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from report_runs import Drawing, PageSeen, html, plain, search_run

ROOT = Path(__file__).parents[2]


def test_headings_go_down_one_by_one_and_everything_has_a_name(tmp_path):
    runs = [search_run(tmp_path / name, plain()) for name in ("first", "second")]
    page = html(*runs, tmp_path=tmp_path, draw=Drawing())
    seen = PageSeen(page)
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"] for t, a in seen.tags if t == "a"} <= {f"#{name}" for name in ids}
    assert {a["aria-labelledby"] for _, a in seen.tags if "aria-labelledby" in a} <= set(ids)
    assert all(a["scope"] in ("row", "col") for tag, a in seen.tags if tag == "th")
    assert all(a["alt"] for tag, a in seen.tags if tag == "img")
    assert all(a.get("role") == "img" for tag, a in seen.tags if tag == "svg")
    n_drawings = sum(tag == "svg" for tag, _ in seen.tags)
    assert sum(tag == "title" for tag, _ in seen.tags) == n_drawings + 1
    n_tables = sum(tag == "table" for tag, _ in seen.tags)
    assert sum(tag == "caption" for tag, _ in seen.tags) == n_tables > 4


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1])
def test_words_stand_out_from_the_paper_by_light_and_in_the_dark(theme):
    style = (ROOT / "eval/reports/style.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[theme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))

    def contrast(first: str, second: str) -> float:
        light, dark = sorted((_luminance(colours[each]) for each in (first, second)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    for words in ("ink", "faint", "accent", "good", "bad"):  # WCAG 2.2, 1.4.3
        for paper in ("paper", "raised", "tint"):
            assert contrast(words, paper) >= 4.5, (words, paper)
    for series in range(6):  # 1.4.11, parts of drawings
        assert contrast(f"s{series}", "paper") >= 3, series
