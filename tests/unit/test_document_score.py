"""Telling documents apart by name, running words and year."""

import pytest

from rag.scoring.document import (
    DocumentFeatures,
    DocumentScorer,
    describe_document,
    figure_hubs,
    name_terms,
    named_terms,
)


def test_a_joined_file_name_meets_the_words_of_a_question():
    documents = [
        (name, describe_document(source=name, title="", page_texts=["annual report"]))
        for name in ("BESTBUY_2019_10K.pdf", "BOEING_2018_10K.pdf", "COCACOLA_2017_10K.pdf")
    ]
    scores = DocumentScorer(documents).scores("What did Best Buy sell?")
    assert max(scores, key=scores.get) == "BESTBUY_2019_10K.pdf"


def test_words_that_run_through_a_document_tell_it_without_a_name():
    documents = [
        ("f1.pdf", describe_document(source="f1.pdf", title="", page_texts=["Boeing jets"] * 9)),
        ("f2.pdf", describe_document(source="f2.pdf", title="", page_texts=["Kraft cheese"] * 9)),
        ("f3.pdf", describe_document(source="f3.pdf", title="", page_texts=["Lockheed jets"] * 9)),
    ]
    scores = DocumentScorer(documents).scores("How many jets did Lockheed build?")
    assert max(scores, key=scores.get) == "f3.pdf"


def test_the_latest_year_of_a_question_prefers_the_report_of_that_year():
    heads = {
        "a.pdf": ["For the fiscal year ended December 31, 2018"],
        "b.pdf": ["For the fiscal year ended December 31, 2022"],
    }
    documents = [
        (name, describe_document(source=name, title="", page_texts=texts))
        for name, texts in heads.items()
    ]
    scores = DocumentScorer(documents).scores("Change of revenue from FY2018 to FY2022?")
    assert scores["b.pdf"] > scores["a.pdf"]


def test_a_question_that_names_nothing_scores_all_alike():
    documents = [
        (name, describe_document(source=name, title="", page_texts=["some words"]))
        for name in ("a.pdf", "b.pdf")
    ]
    scores = DocumentScorer(documents).scores("Why?")
    assert scores["a.pdf"] == scores["b.pdf"]


def test_no_documents_no_scores():
    assert DocumentScorer([]).scores("anything") == {}


def test_features_survive_json():
    features = describe_document(source="sub/A_2020.pdf", title="T", page_texts=["year ended 2020"])
    assert DocumentFeatures.model_validate_json(features.model_dump_json()) == features
    assert features.name_years == (2020,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("JohnsonJohnson", "johnsonjohnson"), ("Best_Buy", "bestbuy"), ("3M", "3m")],
)
def test_name_terms_hold_runs_and_joined_neighbours(name, expected):
    assert expected in name_terms(name)


def test_hub_figures_stand_on_three_pages_or_more():
    texts = ["sales 1,234 profit 77", "sales 1,234", "sales 1,234 assets 9,999", "in 2022 and 2022"]
    hubs = figure_hubs(texts)
    assert hubs[0] == hubs[1] == hubs[2] > 0
    assert hubs[3] == 0  # a year is no figure


def test_a_name_in_the_head_of_a_document_weighs_more_than_the_words_around_it():
    documents = [
        (source, describe_document(source=source, title="", page_texts=[head]))
        for source, head in (
            ("a.pdf", "Ardent Mills wheat and other plain goods"),
            ("b.pdf", "Costs of freight, other plain goods"),
            ("c.pdf", "Freight by rail"),
        )
    ]
    scorer = DocumentScorer(documents)
    told = scorer.scores("What freight costs did Ardent report?")
    lower = scorer.scores("what freight costs did ardent report?")
    assert told["a.pdf"] > lower["a.pdf"]
    assert told["b.pdf"] == lower["b.pdf"]


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What did Boeing deliver?", {"boeing"}),
        ("Boeing delivered what?", set()),
        ("what did boeing deliver?", set()),
        ("What Did Boeing Deliver In The First Quarter?", set()),
        ("It grew. Why did it? Ask Kellanova's board of six", {"kellanova", "s", "kellanovas"}),
        ("", set()),
    ],
)
def test_names_are_words_with_a_capital_inside_a_sentence(question, names):
    assert named_terms(question) == names
