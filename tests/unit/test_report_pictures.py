"""Pictures of pages in a report: which are drawn, kept, and left out."""

from __future__ import annotations

import json
import re
from typing import Any

from report_runs import Drawing, PageSeen, answer_run, html, plain, search_run

from eval.reports.pictures import FOLDER, PICTURES_FILE, embed, kept_pictures
from eval.reports.write import write_report
from rag.errors import InputError


def test_gold_page_and_first_page_are_drawn_plain_and_under_heat(tmp_path):
    draw = Drawing()
    run = search_run(tmp_path / "run", plain())
    info = write_report([run], tmp_path / "r.html", draw=draw, worst=1)
    assert draw.asked == [
        ("a.pdf", 1, None, ()),
        ("b.pdf", 9, None, ()),
        ("a.pdf", 1, "Question q0?", ()),
        ("b.pdf", 9, "Question q0?", ()),
    ]
    assert info.n_pictures == 4
    listed = json.loads((run / PICTURES_FILE).read_text())["pictures"]
    assert {(row["doc"], row["page"]) for row in listed} == {("a.pdf", 1), ("b.pdf", 9)}


def test_quotes_are_marked_on_the_cited_page(tmp_path):
    cited = {"marker": 1, "source": "c.pdf", "page_number": 7, "quote": "so it is"}
    boxes = [[10, 10, 90, 22], [10, 24, 10, 22], ["x", 0, 1, 1], [0, 0]]
    asked = [{"id": "q1", "text": "What?", "gold": [["c.pdf", 7, 1]], "said": "It is. [1]"}]
    asked[0]["citations"] = [cited | {"boxes": boxes}]
    draw = Drawing()
    page = html(answer_run(tmp_path / "run", asked), tmp_path=tmp_path, draw=draw)
    assert ("c.pdf", 7, None, ((10.0, 10.0, 90.0, 22.0),)) in draw.asked
    assert "so it is" in PageSeen(page).words


def test_a_report_made_later_shows_what_was_drawn_then(tmp_path):
    run = search_run(tmp_path / "run", plain())
    without = write_report([run], tmp_path / "r.html")
    assert without.n_pictures == 0
    assert "--data-dir" in without.remarks[-1]
    drawn = write_report([run], tmp_path / "r.html", draw=Drawing())
    again = write_report([run], tmp_path / "later.html")
    assert again.n_pictures == drawn.n_pictures > 0
    assert (tmp_path / "later.html").read_bytes() == (tmp_path / "r.html").read_bytes()


def test_what_was_drawn_is_not_drawn_again_but_other_heat_is(tmp_path):
    run = search_run(tmp_path / "run", plain())
    first, second, third = Drawing(), Drawing(), Drawing()
    for draw in (first, second):
        write_report([run], tmp_path / "r.html", draw=draw)
    assert len(first.asked) == 4
    assert second.asked == []
    head = json.loads((run / "measures.json").read_text())
    (run / "measures.json").write_text(json.dumps({**head, "encoder": "other@1"}))
    write_report([run], tmp_path / "r.html", draw=third)
    assert {query for _, _, query, _ in third.asked} == {"Question q0?"}


def test_a_page_that_cannot_be_drawn_is_left_out_and_said(tmp_path):
    def draw(doc: str, *_rest: Any) -> bytes:
        if doc == "b.pdf":
            raise InputError("there is no b.pdf")
        return Drawing()(doc, *_rest)

    info = write_report([search_run(tmp_path / "run", plain())], tmp_path / "r.html", draw=draw)
    assert info.n_pictures == 2
    assert [each for each in info.remarks if "there is no b.pdf" in each] == [
        "2 pictures of run could not be drawn: there is no b.pdf"
    ]


def test_pictures_beyond_the_limit_get_smaller_and_then_fewer(tmp_path):
    run = search_run(tmp_path / "run", [each | {"nDCG@10": 0.5} for each in plain(2)])
    draw = Drawing(noisy=True)
    whole = write_report([run], tmp_path / "whole.html", draw=draw)
    for most in (200_000, 40_000):
        info = write_report([run], tmp_path / "r.html", most_picture_bytes=most)
        page = (tmp_path / "r.html").read_text()
        used = sum(map(len, re.findall(r"data:image/webp;base64,[^\"]*", page)))
        assert 0 < used <= most
        assert any("report stays small" in each for each in info.remarks)
    assert 0 < info.n_pictures < whole.n_pictures
    # The worst question keeps its gold page.
    first = re.search(r'alt="([^"]*)"', page)
    assert first is not None
    assert first[1] == "Gold page: page 1 of a.pdf"


def test_only_pictures_that_were_written_here_are_read(tmp_path):
    run = search_run(tmp_path / "run", plain())
    write_report([run], tmp_path / "r.html", draw=Drawing())
    secret = tmp_path / "secret.webp"
    (drawn, *_) = (run / FOLDER).iterdir()
    secret.write_bytes(drawn.read_bytes())
    text, link = f"{'0' * 24}.webp", f"{'1' * 24}.webp"
    (run / FOLDER / text).write_text("<svg onload=alert(1)>")
    (run / FOLDER / link).symlink_to(secret)
    names = ["../../secret.webp", str(secret), text, link, "pages/x.webp"]
    (run / PICTURES_FILE).write_text(json.dumps({"pictures": [{"file": name} for name in names]}))
    kept = kept_pictures([run])
    assert set(kept) == {text}
    assert embed([*names, text], kept) == ({}, "")
