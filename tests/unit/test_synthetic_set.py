"""The synthetic set in UniDoc-Bench's layout, and the premises that its expectation rests on."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pypdfium2 as pdfium
import pytest

from eval.datasets.folder import load_dataset
from eval.datasets.prepare import local_source, prepare
from eval.datasets.published import Wanted
from eval.datasets.unidoc_bench import SETS, load
from eval.synthetic import expectation
from eval.synthetic.pages import document_pdf
from eval.synthetic.plan import ANSWER_TYPES, Kind, Page, plan_domain
from eval.synthetic.vocabulary import ADJECTIVES, DOMAINS, NOUNS
from eval.synthetic.write import rows, write_set
from rag.apps.cli.app import run
from rag.errors import InputError
from rag.scoring.lexical import content_terms, terms
from rag.testing.palette_encoder import PALETTE

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_unidoc_set.py"


@pytest.fixture(scope="module")
def plans():
    return {name: plan_domain(name, questions=200, pages=250, seed=0) for name in DOMAINS}


@pytest.fixture(scope="module", params=DOMAINS)
def plan(request, plans):
    return plans[request.param]


def pages_of(plan) -> list[Page]:
    return [page for document in plan.documents for page in document.pages]


def words_on(plan, page: Page) -> str:
    if page.is_plate:
        return ""
    table = page.table
    told = [plan.title if page.has_title else "", page.heading, *page.sentences, *page.filler]
    if table is not None:
        told += [table.caption, *table.columns, *(cell for row in table.rows for cell in row)]
    return " ".join(told)


@pytest.fixture(scope="module")
def terms_on(plan) -> list[set[str]]:
    """Of every page, in order."""
    return [set(terms(words_on(plan, page))) for page in pages_of(plan)]


def asked(plan, *kinds: Kind):
    return [each for each in plan.questions if each.kind in kinds]


# --- the whole ----------------------------------------------------------------------------------
def test_there_are_1600_questions_over_at_least_2000_pages_with_tables_and_charts(plans):
    pages = [page for plan in plans.values() for page in pages_of(plan)]
    assert sum(len(plan.questions) for plan in plans.values()) == 1600
    assert len(pages) >= 2000
    assert sum(page.table is not None for page in pages) >= 600
    assert sum(page.chart is not None for page in pages) >= 1000


def test_documents_have_8_to_15_pages_and_every_page_stands_in_one(plan):
    assert all(8 <= len(document.pages) <= 15 for document in plan.documents)
    assert len({id(page) for page in pages_of(plan)}) == len(pages_of(plan))
    assert len({document.name for document in plan.documents}) == len(plan.documents) >= 20


def test_kinds_answer_types_and_question_types_are_balanced(plan):
    assert set(Counter(each.kind for each in plan.questions).values()) == {25}
    assert set(Counter(row["answer_type"] for row in rows(plan)).values()) == {50}
    assert Counter(row["question_type"] for row in rows(plan)) == {
        "factual_retrieval": 50,
        "comparison": 50,
        "summarization": 50,
        "causal_reasoning": 50,
    }


def test_no_question_of_a_domain_is_asked_twice(plan):
    assert len({each.text for each in plan.questions}) == 200


# --- what the expectation rests on --------------------------------------------------------------
def test_no_word_of_a_question_about_colours_alone_stands_on_any_page(plan, terms_on):
    on_pages = set().union(*terms_on)
    for question in asked(plan, Kind.PLATE, Kind.NEGATED):
        assert not on_pages.intersection(content_terms(question.text)), question.text


@pytest.mark.parametrize("kind", [Kind.FACT, Kind.SURVEY, Kind.CELL, Kind.APART, Kind.TOGETHER])
def test_the_name_a_question_has_stands_on_its_worded_gold_pages_alone(plan, terms_on, kind):
    names = {term for word in (*ADJECTIVES, *NOUNS) for term in terms(word)}
    for question in asked(plan, kind):
        name = names.intersection(content_terms(question.text))
        holding = [p for p, on in zip(pages_of(plan), terms_on, strict=True) if name & on]
        assert len(name) == 2
        assert {id(page) for page in holding} == {
            id(page) for page in question.gold if not page.is_plate
        }


def test_two_tables_have_the_row_and_the_one_without_colours_says_it_more_often(plan):
    tables = {id(page): words_on(plan, page) for page in pages_of(plan) if page.table is not None}
    for question in asked(plan, Kind.BANDED):
        (gold,) = question.gold
        name = next(row[0] for row in gold.table.rows if row[0].endswith("depot"))
        holding = [page for page in pages_of(plan) if name in tables.get(id(page), "")]
        (other,) = (page for page in holding if page is not gold)
        assert gold.table.bands
        assert not other.table.bands
        assert words_on(plan, gold).count(name) == 2
        assert words_on(plan, other).count(name) >= 4
        assert question.answer.split()[0] in words_on(plan, gold)
        assert question.answer.split()[0] not in words_on(plan, other).split()


def test_no_two_pages_share_three_colours_but_a_plate_and_the_one_it_is_told_from(plan):
    shown = Counter(
        frozenset(triple) for page in pages_of(plan) for triple in combinations(colours_on(page), 3)
    )
    told_apart = {
        frozenset(question.gold[0].chart.colours) for question in asked(plan, Kind.NEGATED)
    }
    assert {triple for triple, count in shown.items() if count > 1} == told_apart
    assert max(shown.values()) == 2


def colours_on(page: Page) -> tuple[str, ...]:
    bands = page.table.bands if page.table is not None else ()
    return (*bands, *(page.chart.colours if page.chart is not None else ()))


def test_for_every_question_more_than_ten_other_pages_show_a_colour(plan):
    colourful = {id(page) for page in pages_of(plan) if colours_on(page)}
    for question in plan.questions:
        assert len(colourful.difference(map(id, question.gold))) > 10
    for question in asked(plan, Kind.FACT, Kind.SURVEY, Kind.CELL):
        assert not colourful.intersection(map(id, question.gold))


def test_a_gold_plate_lies_in_a_document_with_eleven_pages_of_words(plan):
    gold = {id(page) for question in plan.questions for page in question.gold if page.is_plate}
    for document in plan.documents:
        if gold.intersection(map(id, document.pages)):
            assert sum(not page.is_plate for page in document.pages) == 11


def test_a_cell_lies_below_what_the_joint_fixture_reads_and_its_page_lacks_the_title(plan):
    title = plan.title.split()[-1].lower()
    assert sum(title in words_on(plan, page).lower() for page in pages_of(plan)) > 10
    for question in asked(plan, Kind.CELL):
        (page,) = question.gold
        assert title in question.text.lower()
        assert title not in words_on(plan, page).lower()
        assert len(content_terms(" ".join(page.filler))) > 36


def test_what_sentences_tell_and_what_columns_tell_is_never_the_same(plan):
    told = {
        word
        for question in asked(plan, Kind.FACT, Kind.APART)
        for word in question.gold[0].sentences[0].split()
    }
    columns = {
        word
        for page in pages_of(plan)
        if page.table is not None
        for column in page.table.columns
        for word in column.split("(")[0].split()
    }
    assert not told & columns


def test_the_share_of_a_commit_rests_on_the_same_premises():
    plan = plan_domain("energy", questions=8, pages=1, seed=0)
    assert len(pages_of(plan)) == 27
    test_for_every_question_more_than_ten_other_pages_show_a_colour(plan)
    test_no_word_of_a_question_about_colours_alone_stands_on_any_page(
        plan, [set(terms(words_on(plan, page))) for page in pages_of(plan)]
    )
    test_a_gold_plate_lies_in_a_document_with_eleven_pages_of_words(plan)


# --- the expectation ----------------------------------------------------------------------------
def test_expected_figures_are_those_reckoned_by_hand():
    # Seven gold pages at 1, 3, 5, 7, 9: 1 + 1/2 + 1/log2(6) + 1/3 + 1/log2(10) = 2.5212, of at
    # most 3.6380. One of two gold pages, first: 1 / (1 + .6309).
    survey = expectation.values("fusion", Kind.SURVEY)
    assert survey["nDCG@10"] == pytest.approx(2.5212 / 3.6380, abs=1e-4)
    assert survey["R@10"] == pytest.approx(5 / 7)
    assert expectation.values("text", Kind.APART)["nDCG@10"] == pytest.approx(1 / 1.6309, abs=1e-4)
    assert expectation.values("image", Kind.NEGATED)["nDCG@10"] == pytest.approx(1 / math.log2(3))
    # Text: 1, 1, 1, 1, 0, 0, 1/2, 1 over the eight kinds.
    assert expectation.values_of_all("text")["R@10"] == pytest.approx(5.5 / 8)
    assert expectation.values_of_all("image")["R@10"] == pytest.approx(4.5 / 8)
    assert expectation.values_of_all("fusion")["R@10"] == pytest.approx((7 + 5 / 7) / 8)
    assert expectation.values_of_all("joint")["R@10"] == pytest.approx(7 / 8)


def test_no_two_paradigms_are_expected_to_have_the_same_figures():
    figures = [tuple(expectation.values_of_all(each).values()) for each in expectation.RANKS]
    assert len(set(figures)) == len(figures) == 4
    by_type = expectation.values_by_answer_type("text")
    assert by_type.keys() == set(ANSWER_TYPES.values())
    assert by_type["image_only"]["R@10"] == 0


# --- the files ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_set(folder, domains=("energy", "legal"), questions_per_domain=8, pages=1)
    return folder


def test_the_loader_of_the_hosted_set_reads_it(small):
    parts = {part.name: part for part in load(small, Wanted(("energy", "legal"), {"expect": "8"}))}
    energy = parts["energy"]
    documents = {document.name: document for document in energy.documents}
    plan = plan_domain("energy", questions=8, pages=1, seed=0)
    assert [query.text for query in energy.queries] == [each.text for each in plan.questions]
    assert documents.keys() == {document.name for document in plan.documents}
    for query, question in zip(energy.queries, plan.questions, strict=True):
        assert len(energy.qrels[query.id]) == expectation.N_GOLD[question.kind]
        assert query.groups["answer_type"] == ANSWER_TYPES[question.kind]


def test_no_figure_of_it_is_taken_for_one_of_the_published_set(small, tmp_path):
    wanted = Wanted(("energy",), {"expect": "8"})
    (prepared,) = prepare(SETS[0], local_source(small), tmp_path, wanted)
    origin = load_dataset(prepared.folder).origin
    assert "Salesforce" not in origin.source
    assert origin.source == "made up by scripts/make_unidoc_set.py, seed 0"
    assert origin.licence == "Apache-2.0"


def test_a_pdf_shows_the_planned_words_and_a_plate_has_none(small):
    plan = plan_domain("legal", questions=8, pages=1, seed=0)
    for document in plan.documents:
        pdf = pdfium.PdfDocument(small / "legal_pdfs" / "legal" / f"{document.name}.pdf")
        for found, page in zip(pdf, document.pages, strict=True):
            on_paper = found.get_textpage().get_text_range()
            assert sorted(terms(on_paper)) == sorted(terms(words_on(plan, page)))
        pdf.close()


def test_heads_of_columns_do_not_touch(plan):
    pages = [page for page in pages_of(plan) if page.table is not None][:20]
    pdf = pdfium.PdfDocument(document_pdf(plan.title, pages))
    for found in pdf:
        assert not re.search(r"\)\w", found.get_textpage().get_text_range())
    pdf.close()


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(small, tmp_path):
    options = {"domains": ("energy",), "questions_per_domain": 8, "pages": 1}
    write_set(tmp_path / "again", **options)
    write_set(tmp_path / "other", **options, seed=1)
    again = sorted(path for path in (tmp_path / "again").rglob("*.*") if path.is_file())
    assert len(again) == 4
    for path in again:
        name = path.relative_to(tmp_path / "again")
        assert path.read_bytes() == (small / name).read_bytes(), name
        assert path.read_bytes() != (tmp_path / "other" / name).read_bytes(), name


@pytest.mark.parametrize("questions", [0, 7, 12, 8 * 30])
def test_a_number_of_questions_that_the_kinds_cannot_share_is_refused(questions):
    with pytest.raises(InputError, match="questions a domain"):
        plan_domain("crm", questions=questions, pages=1, seed=0)


def test_no_word_of_a_name_is_a_colour_or_a_word_of_a_domain():
    names = {term for word in (*ADJECTIVES, *NOUNS) for term in terms(word)}
    assert len(names) == len(ADJECTIVES) + len(NOUNS)
    assert not names & {term for colour in PALETTE for term in terms(colour)}
    for words in DOMAINS.values():
        told = [words.title, *words.subjects, *words.verbs, *words.objects, *words.tails]
        told += [f"{name} {unit}" for name, unit in words.attributes]
        assert not names & set(terms(" ".join(told)))


def test_the_script_says_what_it_wrote_and_refuses_what_it_cannot(tmp_path):
    small = [str(tmp_path / "a set"), "--domains", "crm", "--pages", "1", "--questions-per-domain"]
    done = subprocess.run([sys.executable, SCRIPT, *small, "8"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "8 questions over 2 documents with 27 pages" in done.stdout
    command = shlex.split(done.stdout.splitlines()[-1].removeprefix("measure with: octavo "))
    assert command[:3] == ["eval", "unidoc", str(tmp_path / "a set")]
    data = ["--data-dir", str(tmp_path / "data"), "--to", str(tmp_path / "sets")]
    some = ["--out", str(tmp_path / "out"), "--limit", "1", "--paradigms", "joint"]
    assert run([*command, *data, *some]) == 0
    figures = json.loads((tmp_path / "out" / "paradigms.json").read_text(encoding="utf-8"))
    assert figures["arms"]["joint"]["encoder"].startswith("fixture-palette@joint")
    assert "custom:rag.testing.palette_encoder:late" in command
    refused = subprocess.run([sys.executable, SCRIPT, *small, "9"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "8, 16" in refused.stderr
    told = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True).stdout
    assert "--joint-encoder custom:rag.testing.palette_encoder:joint --set" in told
