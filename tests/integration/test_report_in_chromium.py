"""Reports of real runs over the development collections and the sample report, in a real browser.

Slices of a few documents, measured by the command as users measure. Screenshots stay where pytest
keeps its temporary files, or in the folder that SCREENSHOTS_DIR names.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pypdfium2 as pdfium
import pytest
from browser import Watched, opened_page, running_chromium
from commands import Commands
from report_runs import search_run

from eval.reports.write import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SAMPLE = Path(__file__).parents[2] / "examples" / "sample-report.pdf"
SLICES = {
    "finance": ["BESTBUY_2024Q2_10Q.pdf"],
    "visual": ["7c3f6204b3241f142f0f8eb8e1fefe7a.pdf", "3276a5b991c49cf5f9a4af0f7d6fce67.pdf"],
}
SAMPLE_QUESTIONS = [
    ("What was the total revenue in 2024?", "325.0", 2),
    ("Which floating platform is to be tested off Brittany?", "Stormglass", 4),
    ("How many gigawatt hours were delivered in 2024?", "1,648", 1),
]


@pytest.fixture(name="screenshots", scope="module")
def _screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("SCREENSHOTS_DIR") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Browser]:
    """One for all: a start takes longer than a page."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def _away_from_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caches are not for tests."""
    monkeypatch.chdir(tmp_path)


def slice_of(collection: Path, target: Path, names: list[str]) -> Path:
    """The gold pages of these documents, each with the one before it: reading all takes long."""
    (target / "docs").mkdir(parents=True)
    lines = (collection / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [each for each in map(json.loads, lines) if each["doc"] in names]
    (target / "queries.jsonl").write_text("".join(json.dumps(each) + "\n" for each in queries))
    ids = {each["id"] for each in queries}
    header, *rows = (collection / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    gold = [row.split("\t") for row in rows if row.split("\t")[0] in ids]
    kept = [header]
    for name in names:
        of_gold = {int(page) for _, doc, page, _ in gold if doc == name}
        pages = sorted(of_gold | {page - 1 for page in of_gold if page > 1})
        with (
            closing(pdfium.PdfDocument(collection / "docs" / name)) as whole,
            closing(pdfium.PdfDocument.new()) as cut,
        ):
            cut.import_pages(whole, [page - 1 for page in pages])
            cut.save(target / "docs" / name)
        kept += [
            "\t".join((query, doc, str(pages.index(int(page)) + 1), grade))
            for query, doc, page, grade in gold
            if doc == name
        ]
    (target / "qrels.tsv").write_text("\n".join(kept) + "\n")
    return target


def of_sample(target: Path) -> Path:
    (target / "docs").mkdir(parents=True)
    shutil.copy(SAMPLE, target / "docs")
    queries, qrels = [], ["query_id\tdoc\tpage\trelevance"]
    for number, (text, answer, page) in enumerate(SAMPLE_QUESTIONS):
        row = {"id": f"q{number}", "text": text, "answer": answer, "type": f"page {page}"}
        queries.append({**row, "doc": SAMPLE.name})
        qrels.append(f"q{number}\t{SAMPLE.name}\t{page}\t1")
    (target / "queries.jsonl").write_text("".join(json.dumps(each) + "\n" for each in queries))
    (target / "qrels.tsv").write_text("\n".join(qrels) + "\n")
    return target


def keeps_to_itself(watched: Watched) -> None:
    """Nothing was asked of any network, nothing went wrong, and all that is there is shown."""
    page = watched.page
    assert watched.asked == []
    assert watched.said == []
    pictures = page.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert all(width > 0 for width in pictures)
    assert page.evaluate("document.scripts.length") == 0
    # What is wider than the window scrolls in a place of its own, which keys reach.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
        ".map(e => e.tabIndex === 0 && e.getAttribute('role') === 'region')"
    )
    assert all(wide)


def lets_nothing_through(watched: Watched, file: Path) -> None:
    """What an attack would try, tried: a script, a picture and a frame from elsewhere."""
    broken = file.with_name("attacked.html")
    attack = (
        "<script>document.title='taken'</script><img src='http://evil.test/x.png'>"
        "<img src=x onerror=\"document.title='taken'\"><iframe src='http://evil.test/'></iframe>"
    )
    text = file.read_text(encoding="utf-8")
    broken.write_text(text.replace("<main", f"{attack}<main", 1), encoding="utf-8")
    watched.page.goto(broken.resolve().as_uri())
    assert watched.page.title() != "taken"
    assert watched.asked == []
    assert sum("Content Security Policy" in said for said in watched.said) >= 3


@pytest.mark.devset
@pytest.mark.timeout(300)
@pytest.mark.parametrize("collection", SLICES)
def test_a_run_over_a_development_collection_is_shown(
    devset, tmp_path, screenshots, collection, browser
):
    dataset = slice_of(devset / collection, tmp_path / collection, SLICES[collection])
    octavo = Commands(tmp_path / "data", "--set", "ocr.mode=off")
    runs = {mode: str(tmp_path / "runs" / mode) for mode in ("hybrid", "text")}
    for mode, out in runs.items():
        asked = ("eval", "run", str(dataset), "--mode", mode, "--out", out, "--no-report")
        octavo(*asked, "--history", str(tmp_path / "history"))
    one, two = tmp_path / "one.html", tmp_path / "two.html"
    of_run = octavo("eval", "report", runs["hybrid"], "-o", str(one))
    of_both = octavo("eval", "report", *runs.values(), "-o", str(two))
    assert of_run["pictures"] >= 2
    assert of_both["runs"] == 2
    measures = json.loads(Path(runs["hybrid"], "measures.json").read_text())["measures"]

    with opened_page(one, browser=browser) as watched:
        page = watched.page
        keeps_to_itself(watched)
        assert page.evaluate("document.images.length") >= of_run["pictures"]
        assert page.get_by_role("heading", level=1).count() == 1
        assert page.get_by_role("table").count() >= 3
        assert page.locator(".hero.main .big").inner_text() == f"{measures['nDCG@10']:.3f}"
        # The curve, reckoned from what was found, is the measure that the run tells.
        recall = page.locator("#recall table")
        heads = recall.locator("thead th").all_inner_texts()
        cells = recall.locator("tbody th, tbody td").all_inner_texts()
        assert dict(zip(heads, cells, strict=True))["R@5"] == f"{measures['R@5']:.3f}"
        page.screenshot(path=screenshots / f"{collection}.png", full_page=True)
        picture = page.locator("details.picture").first
        picture.locator("summary").focus()
        small = picture.locator("img").bounding_box()
        page.keyboard.press("Enter")
        large = picture.locator("img").bounding_box()
        assert small is not None
        assert large is not None
        assert large["width"] > 2 * small["width"]
        lets_nothing_through(watched, one)
    with opened_page(two, width_px=390, height_px=844, dark=True, browser=browser) as watched:
        keeps_to_itself(watched)
        assert watched.page.locator("#headline table").first.is_visible()
        watched.page.screenshot(path=screenshots / f"{collection}-phone.png", full_page=True)


def test_a_run_over_the_sample_report_is_shown(tmp_path, screenshots, browser):
    dataset = of_sample(tmp_path / "sample")
    octavo = Commands(tmp_path / "data")
    out = str(tmp_path / "run")
    asked = ("eval", "run", str(dataset), "--out", out, "--no-report")
    octavo(*asked, "--history", str(tmp_path / "history"))
    written = octavo("eval", "report", out, "-o", str(tmp_path / "report.html"))
    assert written["pictures"] >= 4
    assert written["remarks"] == []
    with opened_page(tmp_path / "report.html", browser=browser) as watched:
        keeps_to_itself(watched)
        worst = watched.page.locator("#worst h3").all_inner_texts()
        assert worst
        assert set(worst) < {text for text, _, _ in SAMPLE_QUESTIONS}
        watched.page.screenshot(path=screenshots / "sample.png", full_page=True)


def test_hostile_words_do_nothing_in_a_browser(tmp_path, browser):
    words = "<script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
    asked = [
        {"id": "q1", "text": words, "type": words, "answer": "javascript:alert(1)"}
        | {"groups": {"g</style><style>body{display:none}": words}, "nDCG@10": 0.0}
        | {"gold": [["\"'><svg onload=alert(1)>.pdf", 1, 1]]},
        {"id": "q2", "type": "u", "groups": {"g</style><style>body{display:none}": "h"}}
        | {"nDCG@10": 1.0},
    ]
    run = search_run(tmp_path / "run", asked, encoder=words)
    write_report([run], tmp_path / "report.html")
    with opened_page(tmp_path / "report.html", browser=browser) as watched:
        keeps_to_itself(watched)
        assert watched.page.title() != "taken"
        assert watched.page.locator("#worst").is_visible()
        assert watched.page.get_by_text(words).count() >= 2
