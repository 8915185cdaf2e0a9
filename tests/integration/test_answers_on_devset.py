"""Answers over one real document, through the whole pipeline."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag import Octavo
from rag.renderers.pypdfium2_renderer import Pypdfium2Renderer
from rag.settings import load_settings

pytestmark = pytest.mark.devset

_DOCUMENT = "ISEP_student_handbook_2020.pdf"


@pytest.fixture(name="octavo", scope="module")
def _octavo(devset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Octavo]:
    folder = tmp_path_factory.mktemp("answers")
    settings = load_settings(
        overrides={"store": {"data_dir": folder}, "render": {"renderer": "pypdfium2"}}, environ={}
    )
    with Octavo(settings=settings) as octavo:
        octavo.ingest([devset / "visual" / "docs" / _DOCUMENT])
        yield octavo


@pytest.mark.parametrize(
    ("question", "said", "page_number"),
    [
        ("How many hours does the ISEP Buddy Scheme take?", "10 hours", 10),
        (
            "By when must students of the January intake nominate their supervisor?",
            "January intake",
            12,
        ),
    ],
)
def test_a_question_the_document_answers_is_answered_in_its_words(
    octavo, question, said, page_number
):
    answer = octavo.ask(question)
    assert not answer.abstained
    assert any(said in citation["quote"] for citation in answer.citations)
    if page_number is not None:
        assert page_number in {citation["page_number"] for citation in answer.citations}


@pytest.mark.parametrize(
    "question",
    [
        "Which theatre in Vienna was Gustav Klimt commissioned to paint?",
        "What is the boiling point of Tungsten?",
        "How many months of leave may a student take?",  # the handbook has no word of leave
    ],
)
def test_a_question_about_something_else_is_abstained_from(octavo, question):
    answer = octavo.ask(question)
    assert answer.abstained
    assert not answer.citations
    assert _DOCUMENT in answer.text


def test_every_citation_stands_in_the_words_of_its_page(octavo, devset):
    renderer = Pypdfium2Renderer()
    n_citations = 0
    for question in (
        "What are the compulsory courses of ISEP?",
        "By when must students of the January intake nominate their supervisor?",
        "How many hours does the ISEP Buddy Scheme take?",
    ):
        for citation in octavo.ask(question).citations:
            n_citations += 1
            page = renderer.words(devset / "visual" / "docs" / _DOCUMENT, citation["page_number"])
            assert citation["verified"]
            assert citation["quote"] in page.text
            assert citation["boxes"]
    assert n_citations >= 3
