"""Pages of a real collection, read again: their words by a server, their pixels by a chat model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import GridEncoder
from PIL import Image
from pydantic import SecretStr
from rerank_pages import page
from servers import Reply, Request, scripted, serving

from rag.apps.doctor import examine
from rag.apps.service import Service
from rag.errors import ConfigError
from rag.geometry import Box
from rag.ports import ChatReply
from rag.ranking.rerank import Reranked, page_reader, rerank
from rag.repository import CollectionReader
from rag.rerankers.choose import Rerankers
from rag.retrieve import SearchResult
from rag.settings import RerankSettings, load_settings
from rag.testing import PdfPage, PdfText, make_pdf
from rag.testing.fake_chat import Asked, FakeChat
from rag.types import Principal
from rag.wiring import Engine

QUESTION = "Where is gamma?"
NAMES = ["alpha", "beta", "gamma", "delta"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("reranking")
    pages = [
        PdfPage([PdfText(name, 20, 20)], [Box(60, 60, 160, 160 + 100 * number)], 600, 780)
        for number, name in enumerate(NAMES)
    ]
    (folder / "letters.pdf").write_bytes(make_pdf(pages))
    overrides = {"store": {"data_dir": folder / "data"}, "render": {"workers": 1}}
    with (
        pytest.MonkeyPatch.context() as patch,
        Engine(load_settings(overrides=overrides, environ={})) as opened,
    ):
        patch.setattr("rag.wiring.engine.load_encoder", lambda _: GridEncoder())
        Service(opened, Principal.owner()).ingest(paths=[folder / "letters.pdf"], collection="c")
        yield opened


@pytest.fixture(scope="module")
def reader(engine: Engine) -> CollectionReader:
    return engine.reader(Principal.owner(), "c")


def reranked(reader: CollectionReader, chat: FakeChat | None = None, **chosen: Any) -> Reranked:
    """Of the pages from first to last, as the search would do it."""
    settings = RerankSettings(**chosen)
    pages = reader.pages(reader.ids())
    by_number = sorted(pages, key=lambda record_id: pages[record_id].ref.page_number)
    order = [(record_id, -0.1 * place) for place, record_id in enumerate(by_number)]
    rerankers = Rerankers(settings, lambda: chat)
    reranker = rerankers.of(settings)
    assert reranker is not None
    try:
        return rerank(QUESTION, order, page_reader(reader, pages), reranker, settings, rrf_k=60)
    finally:
        rerankers.close()


def names(found: Reranked, reader: CollectionReader) -> list[str]:
    pages = reader.pages(reader.ids())
    return [NAMES[pages[record_id].ref.page_number - 1] for record_id, _ in found.order]


def by_words(request: Request) -> Reply:
    texts = request.body["documents"]
    wanted = [word.strip("?") for word in request.body["query"].lower().split()]
    scores = [float(any(word in text.split() for word in wanted)) for text in texts]
    return Reply({"results": [{"index": i, "relevance_score": s} for i, s in enumerate(scores)]})


def test_a_server_reads_the_words_of_the_pages_and_moves_the_one_that_answers(reader):
    with serving(by_words) as served:
        found = reranked(reader, method="http", url=served.url)
    assert names(found, reader) == ["gamma", "alpha", "beta", "delta"]
    assert [score for _, score in found.order] == [0.0, -0.1, -0.2, pytest.approx(-0.3)]
    assert sorted(found.scores.values()) == [0.0, 0.0, 0.0, 1.0]
    assert found.is_probability
    assert found.notices == ()
    texts = served.requests[0].body["documents"]
    assert sorted(text.split()[0] for text in texts) == ["letters"] * 4


def test_a_chat_model_is_shown_the_pages_as_they_look(reader):
    def darkest(asked: Asked) -> ChatReply:
        [image] = [part for part in asked.messages[-1].parts if isinstance(part, Image.Image)]
        assert max(image.size) == 1280
        dark = sum(image.convert("L").histogram()[:64]) / (image.width * image.height)
        return ChatReply("True", {"True": -0.01 - (0.5 - dark), "False": -4.0})

    found = reranked(reader, FakeChat(darkest), method="vlm_yes_no", pages=3)
    assert names(found, reader) == ["gamma", "beta", "alpha", "delta"]
    assert found.notices == ()


def test_a_server_that_answers_with_nonsense_leaves_the_order_and_is_named(reader):
    with serving(scripted(Reply(b"<html>"))) as served:
        found = reranked(reader, method="http", url=served.url)
    assert names(found, reader) == NAMES
    [notice] = found.notices
    assert notice.code == "rerank_failed"
    assert served.url.removeprefix("http://") in notice.message


def test_an_engine_makes_a_reranker_once_for_each_way_it_is_set(engine):
    settings = RerankSettings(method="http", url="http://127.0.0.1:9", model="m")
    of = engine.rerankers.of
    assert of(RerankSettings()) is None
    first = of(settings)
    assert of(settings.model_copy(update={"pages": 3, "weight": 0.5})) is first
    assert of(settings.model_copy(update={"model": "other"})) is not first
    with pytest.raises(ConfigError, match="chat"):
        of(RerankSettings(method="vlm_yes_no"))


def test_the_key_goes_to_the_address_it_was_given_for_and_to_no_other():
    fine = Reply({"results": [{"index": 0, "relevance_score": 0.5}]})
    with serving(lambda _: fine) as own, serving(lambda _: fine) as other:
        settings = RerankSettings(method="http", url=own.url, api_key=SecretStr("sk-own"))
        rerankers = Rerankers(settings, lambda: None)
        elsewhere = settings.model_copy(update={"url": other.url})
        given = elsewhere.model_copy(update={"api_key": SecretStr("sk-theirs")})
        for chosen in (settings, elsewhere, given):
            reranker = rerankers.of(chosen)
            assert reranker is not None
            reranker.scores("why?", [page("a")])
        rerankers.close()
    keys = [request.headers.get("Authorization") for request in (*own.requests, *other.requests)]
    assert keys == ["Bearer sk-own", None, "Bearer sk-theirs"]


def test_a_process_has_so_many_rerankers_and_no_more():
    rerankers = Rerankers(RerankSettings(), lambda: None)
    url = "http://127.0.0.1:9"
    for number in range(8):
        rerankers.of(RerankSettings(method="http", url=url, model=str(number)))
    with pytest.raises(ConfigError) as caught:
        rerankers.of(RerankSettings(method="http", url=url, model="9"))
    assert caught.value.code == "too_many_rerankers"
    rerankers.close()


def test_a_document_that_goes_away_during_a_search_is_not_named(engine, monkeypatch):
    service = Service(engine, Principal.owner())
    [letters] = service.list_documents(collection="c")["documents"]
    retriever = engine.retriever("c")
    search = retriever.search
    found: list[SearchResult] = []

    def gone_afterwards(reader, request):
        found.append(search(reader, request))
        monkeypatch.setattr(CollectionReader, "pages", lambda *_: {})
        return found[0]

    monkeypatch.setattr(retriever, "search", gone_afterwards)
    shown = service.search(collection="c", top_k=5, query="gamma", granularity="document")
    assert [document.document_id for document in found[0].documents] == [letters["document_id"]]
    assert (shown["hits"], shown["documents"]) == ([], [])


# --- doctor -------------------------------------------------------------------------------------
def doctored(tmp_path: Path, **chosen: Any) -> tuple[dict[str, Any] | None, bool]:
    overrides = {"store": {"data_dir": tmp_path}, "retrieval": {"rerank": chosen}}
    found = examine(load_settings(overrides=overrides, environ={}))
    checks = [check for check in found["checks"] if check["name"] == "reranker"]
    return (checks[0] if checks else None), found["usable"]


def test_doctor_says_who_reranks_and_whether_they_answer(tmp_path):
    assert doctored(tmp_path)[0] is None
    with serving(by_words) as served:
        check, _ = doctored(tmp_path, method="http", url=served.url, model="tiny")
    assert check is not None
    assert check["ok"]
    assert check["detail"] == f"http: tiny at {served.url.removeprefix('http://')}"


def test_doctor_says_what_a_reranker_lacks(tmp_path):
    for chosen in (
        {"method": "http"},
        {"method": "vlm_listwise"},
        {"method": "cross_encoder", "model": str(tmp_path / "nowhere")},
    ):
        check, usable = doctored(tmp_path, **chosen)
        assert check is not None
        assert not check["ok"]
        assert check["next_step"]
        if chosen["method"] == "cross_encoder":
            assert not usable
