"""Evidence of real PDFs: rendered within the budget, once, from pages the asker may read."""

import numpy as np
import pytest

from rag import Octavo
from rag.answer.evidence.gather import gather
from rag.deadline import Deadline
from rag.errors import NotFound
from rag.ranking.route import ROUTES, RouteName
from rag.retrieve import SearchRequest
from rag.settings import AnswerSettings, load_settings
from rag.testing import PdfPage, PdfText, make_pdf
from rag.types import PageHit, PageRef, Principal
from rag.wiring import Engine

SALES = "We sold more turbines in every region and every year of the decade."
TURNED_PT = (792.0, 612.0)


def column(lines, *, top_pt=80.0, pitch_pt=14.0, size_pt=12.0):
    return [
        PdfText(line, 60.0, top_pt + pitch_pt * place, size_pt) for place, line in enumerate(lines)
    ]


def dense_table():
    """Forty rows of eight figures in type of 5 pt."""
    rows = [f"Turbine model {n}" for n in range(40)]
    texts = [PdfText(row, 60.0, 300.0 + 7 * place, 5.0) for place, row in enumerate(rows)]
    for place in range(40):
        texts += [
            PdfText(f"{place + 1},{100 + column}", 160.0 + 40 * column, 300.0 + 7 * place, 5.0)
            for column in range(8)
        ]
    return texts


PAGES = [
    PdfPage(column(["Report on turbines", *[SALES] * 44, "The turbines of the north were all"])),
    PdfPage(column(["sold to harbours before the winter of that year.", "Outlook"])),
    PdfPage([*column(["Table of turbines by model"]), *dense_table()]),
    PdfPage(column(["Turbines lie on their side here"]), rotate=90),
]


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    (folder / "turbines.pdf").write_bytes(make_pdf(PAGES))
    (folder / "bread.pdf").write_bytes(make_pdf(["Bread of the north"]))
    overrides = {"store": {"data_dir": folder / "data"}, "render": {"workers": 1}}
    settings = load_settings(overrides=overrides, environ={})
    with Octavo(settings=settings) as octavo:
        octavo.ingest([folder / "turbines.pdf"], readers=["user:ann"])
        octavo.ingest([folder / "bread.pdf"], readers=["user:bob"])
    with Engine(settings) as engine:
        yield engine


@pytest.fixture(name="gathered", scope="module")
def _gathered(engine):
    def gathered(question="turbines", who=None, pages=None, **chosen):
        reader = engine.repository.reader(who or Principal("ann"), "default")
        found = engine.retriever("default").search(reader, SearchRequest(question, 4))
        hits = found.hits
        if pages is not None:
            document_id = reader.documents()[0].document_id
            hits = [
                PageHit(rank, PageRef(document_id, page), "", 0.0, 0.0, "", ())
                for rank, page in enumerate(pages, start=1)
            ]
        return gather(
            reader,
            hits,
            found.record_ids if pages is None else [],
            query=found.query,
            settings=AnswerSettings(**{"model": "chat", **chosen}),
            route=ROUTES[RouteName.TEXT_IMAGE],
            reads_images=chosen.get("model") != "extractive",
            deadline=Deadline(60),
        )

    return gathered


def n_px(image):
    return image.width * image.height


@pytest.mark.parametrize(
    ("image_px", "is_short"), [(8_000_000, False), (2_500_000, False), (1_000_000, True)]
)
def test_images_of_pages_and_tables_keep_within_the_budget(gathered, image_px, is_short):
    result = gathered(image_px=image_px)
    assert len(result.evidence) == 4
    images = [each.image.image for each in result.evidence if each.image]
    crops = [crop.image for each in result.evidence for crop in each.crops]
    assert images
    assert sum(map(n_px, [*images, *crops])) <= image_px
    assert any(notice.code == "images_dropped" for notice in result.notices) == is_short


def test_a_page_turned_on_its_side_is_seen_as_it_is_read(gathered):
    (page,) = gathered(pages=[4]).evidence
    assert (page.image.width_pt, page.image.height_pt) == TURNED_PT
    assert page.image.image.width > page.image.image.height
    assert n_px(page.image.image) == pytest.approx(1275 * 1650, rel=0.01)  # 150 dpi


def test_a_dense_table_is_shown_larger_and_holds_its_figures(gathered):
    found = gathered(pages=[3, 1, 2, 4], image_px=4_000_000).evidence[0]
    assert found.crops
    scale = found.image.px_per_pt
    for crop in found.crops:
        assert crop.image.width / crop.box.width > 1.2 * scale
        # Ink in every eighth of its height: rows of figures, not the empty foot of the page.
        dark = np.asarray(crop.image.convert("L")) < 128
        assert all(part.any() for part in np.array_split(dark, 8))
    figures = [
        box for word, box in zip(found.text.words, found.text.boxes, strict=True) if "," in word
    ]
    assert len(figures) == 320
    for x0, y0, x1, y1 in figures:
        assert any(
            b.x0 <= x0 and b.y0 <= y0 and x1 <= b.x1 and y1 <= b.y1
            for b in (crop.box for crop in found.crops)
        )
    assert not gathered(pages=[3], crops=False).evidence[0].crops


def test_the_page_to_which_a_sentence_runs_over_is_added_for_its_readers(gathered):
    result = gathered(pages=[1])
    assert [(each.number, each.hit.ref.page_number) for each in result.evidence] == [(1, 1), (2, 2)]
    assert result.evidence[1].text.text.startswith("sold to harbours")
    assert all(len(each.vectors) for each in result.evidence)
    assert [each.number for each in gathered(pages=[1], neighbours=False).evidence] == [1]


def test_the_extractive_model_is_shown_what_was_found_and_nothing_else(gathered):
    (page,) = gathered(pages=[1], model="extractive").evidence
    assert page.image is None
    assert len(page.vectors) == len(page.vector_words) > 0


def test_nobody_gathers_evidence_from_pages_of_others(engine):
    ann = engine.repository.reader(Principal("ann"), "default")
    hit = PageHit(1, PageRef(ann.documents()[0].document_id, 1), "", 0.0, 0.0, "", ())
    found = engine.retriever("default").search(ann, SearchRequest("turbines", 1))
    stranger = engine.repository.reader(Principal("bob"), "default")
    with pytest.raises(NotFound):
        gather(
            stranger,
            [hit],
            found.record_ids,
            query=found.query,
            settings=AnswerSettings(model="chat"),
            route=ROUTES[RouteName.TEXT_IMAGE],
            reads_images=True,
            deadline=Deadline(),
        )


def test_the_same_pages_are_drawn_the_same(gathered):
    first, second = gathered(image_px=2_500_000), gathered(image_px=2_500_000)
    for one, other in zip(first.evidence, second.evidence, strict=True):
        assert (one.number, one.hit.ref) == (other.number, other.hit.ref)
        assert one.image.image.tobytes() == other.image.image.tobytes()
    assert first.notices == second.notices
