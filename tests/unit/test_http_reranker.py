"""The reranker behind a server, over a real socket, with servers that answer as they like."""

import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from pydantic import SecretStr
from rerank_pages import page
from servers import Reply, Request, scripted, serving

from rag.errors import ConfigError, ModelFailed
from rag.rerankers.http import HttpReranker
from rag.settings import RerankSettings

KEY = "sk-secret-0123456789"
PAGES = [page("a", "net income of the year"), page("b", "cash flow"), page("c")]


def connected(url: str, **changed: object) -> HttpReranker:
    return HttpReranker.connect(RerankSettings(method="http", url=url, **changed))


def scored(score) -> object:
    """A server whose scores are a function of query and text, in an order of its own."""

    def answer(request: Request) -> Reply:
        assert request.method == "POST"
        query, texts = request.body["query"], request.body["documents"]
        assert request.body["top_n"] == len(texts)
        results = [
            {"index": i, "relevance_score": score(query, text), "document": {"text": text}}
            for i, text in enumerate(texts)
        ]
        return Reply({"id": "1", "results": sorted(results, key=lambda r: -r["relevance_score"])})

    return answer


def shared_words(query: str, text: str) -> float:
    wanted = query.lower().split()
    return sum(word in text.lower().split() for word in wanted) / (len(wanted) or 1)


def test_scores_come_in_the_order_of_the_pages_whatever_the_order_of_the_answer():
    with serving(scored(shared_words)) as served:
        reranker = connected(served.url, model="tiny")
        assert reranker.scores("cash flow", PAGES) == [0.0, 1.0, 0.0]
        assert reranker.scores("net cash", PAGES[::-1]) == [0.0, 0.5, 0.5]
        assert reranker.scores("cash", []) == []
        assert reranker.is_probability
        reranker.close()
    assert [request.path for request in served.requests] == ["/rerank", "/rerank"]
    assert {request.body["model"] for request in served.requests} == {"tiny"}


@pytest.mark.parametrize("ending", ["/v2", "/v2/", "/v2/rerank", "/v2/rerank/"])
def test_the_address_is_what_stands_before_rerank(ending):
    with serving(scored(shared_words)) as served:
        reranker = connected(served.url + ending, api_key=SecretStr(KEY))
        reranker.scores("cash", PAGES)
        reranker.close()
    [request] = served.requests
    assert request.path == "/v2/rerank"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert "model" not in request.body, "a server of one model needs no name"


def test_a_long_page_is_worth_its_best_window():
    words = [f"word{i}" for i in range(3000)]
    words[1700] = "needle"
    long = page("long", " ".join(words), source="annual_report.pdf")
    with serving(scored(shared_words)) as served:
        reranker = connected(served.url)
        assert reranker.scores("needle", [PAGES[0], long, PAGES[1]]) == [0.0, 1.0, 0.0]
        reranker.close()
    texts = [text for request in served.requests for text in request.body["documents"]]
    assert sum("needle" in text for text in texts) >= 1
    assert all(text.startswith(("annual report", "report")) for text in texts), "the title first"


def test_many_texts_go_in_several_requests():
    pages = [page(str(i), f"n{i}") for i in range(70)]
    with serving(scored(lambda _, text: int(text.split()[-1][1:]) / 100)) as served:
        reranker = connected(served.url)
        assert reranker.scores("why", pages) == [i / 100 for i in range(70)]
        reranker.close()
    assert sorted(len(request.body["documents"]) for request in served.requests) == [6, 32, 32]


def test_scores_beyond_zero_and_one_are_no_probabilities_from_then_on():
    with serving(scored(lambda _, text: -7.5 if "cash" in text else 2.0)) as served:
        reranker = connected(served.url)
        assert reranker.scores("cash", PAGES) == [2.0, -7.5, 2.0]
        assert not reranker.is_probability
        reranker.close()


def pairs(*found: tuple[object, object]) -> dict:
    return {"results": [{"index": i, "relevance_score": score} for i, score in found]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (pairs((0, 0.1), (1, 0.2)), "2 scores for 3 documents"),
        (pairs((0, 0.1), (1, 0.2), (1, 0.3)), "document 1 twice"),
        (pairs((0, 0.1), (1, 0.2), (2, 0.3), (2, 0.3)), "document 2 twice"),
        (pairs((0, 0.1), (1, 0.2), (3, 0.3)), "document 3, and was sent 3"),
        (pairs((0, 0.1), (1, 0.2), (-1, 0.3)), "document -1, and was sent 3"),
        (pairs((0, 0.1), (1, 0.2), ("2", 0.3)), "without an index"),
        (pairs((0, 0.1), (1, 0.2), (True, 0.3)), "without an index"),
        (pairs((0, math.nan), (1, 0.2), (2, 0.3)), "document 0 that is no finite number"),
        (pairs((0, 0.1), (1, math.inf), (2, 0.3)), "document 1 that is no finite number"),
        (pairs((0, 0.1), (1, 10**400), (2, 0.3)), "document 1 that is no finite number"),
        (pairs((0, 0.1), (1, "0.2"), (2, 0.3)), "no relevance_score for document 1"),
        (pairs((0, None), (1, 0.2), (2, 0.3)), "no relevance_score for document 0"),
        ({"results": [0.1, 0.2, 0.3]}, "a result that is no object"),
        ({"results": {"0": 0.1}}, "no list of results"),
        ({"data": []}, "no list of results"),
        ([{"index": 0, "score": 0.1}], "no JSON object"),
        (b"<html><body>Welcome</body></html>", "no JSON object"),
        (b"", "no JSON object"),
    ],
)
def test_an_answer_that_is_not_one_score_a_document_is_refused_by_name(body, named):
    with serving(scripted(Reply(body))) as served:
        reranker = connected(served.url)
        with pytest.raises(ModelFailed) as caught:
            reranker.scores("cash", PAGES)
        reranker.close()
    assert caught.value.code == "bad_scores"
    assert named in caught.value.message
    assert caught.value.next_step


def test_a_server_that_hangs_is_given_up_after_the_time_it_has():
    with serving(scripted(Reply({}, after_s=20.0))) as served:
        reranker = connected(served.url, timeout_s=0.1)
        reranker._server._retry_s = 0.0
        started = time.monotonic()
        with pytest.raises(ModelFailed) as caught:
            reranker.scores("cash", PAGES)
        assert time.monotonic() - started < 10  # however busy the machine is
        reranker.close()
    assert caught.value.code == "reranker_timeout"
    assert "retrieval.rerank.timeout_s" in caught.value.next_step


def test_a_question_under_way_ends_though_the_connection_is_closed_and_no_other_is_asked():
    asked, closed = threading.Event(), threading.Event()

    def answer(request: Request) -> Reply:
        asked.set()
        assert closed.wait(20)
        return Reply(pairs(*((place, 0.5) for place, _ in enumerate(request.body["documents"]))))

    with serving(answer) as served, ThreadPoolExecutor(1) as thread:
        reranker = connected(served.url)
        under_way = thread.submit(reranker.scores, "cash", PAGES)
        assert asked.wait(20)
        reranker.close()
        for _ in range(2):
            with pytest.raises(ModelFailed, match="closed") as caught:
                reranker.scores("cash", PAGES)
            assert caught.value.code == "reranker_unreachable"
        closed.set()
        assert under_way.result(20) == [0.5, 0.5, 0.5]
    assert len(served.requests) == 1


def test_a_server_that_fails_is_tried_again_and_its_words_and_ours_are_told():
    fine = Reply(pairs((0, 0.3), (1, 0.2), (2, 0.1)))
    with serving(scripted(Reply({"error": "busy"}, status=500), fine)) as served:
        reranker = connected(served.url)
        assert reranker.scores("cash", PAGES) == [0.3, 0.2, 0.1]
        reranker.close()
    refusing = Reply({"message": f"no model tiny for {KEY}"}, status=404)
    with serving(scripted(refusing)) as served:
        reranker = connected(served.url, api_key=SecretStr(KEY))
        with pytest.raises(ModelFailed) as caught:
            reranker.scores("cash", PAGES)
        reranker.close()
    assert caught.value.code == "reranker_refused"
    assert "no model tiny" in caught.value.message
    assert KEY not in caught.value.message
    assert "retrieval.rerank.url" in caught.value.next_step


def test_nobody_there_is_unreachable():
    with serving(scripted(Reply())) as served:
        url = served.url
    reranker = connected(url)
    reranker._server._retry_s = 0.0
    with pytest.raises(ModelFailed) as caught:
        reranker.scores("cash", PAGES)
    reranker.close()
    assert caught.value.code == "reranker_unreachable"


def test_an_address_is_wanted():
    wrong = (
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x",
        "http://h:0",
        "http://a\x01",
    )
    for url in (None, "localhost:8000", "ftp://host/rerank", *wrong):
        with pytest.raises(ConfigError) as caught:
            HttpReranker.connect(RerankSettings(method="http", url=url))
        assert caught.value.next_step


@pytest.mark.parametrize("drips", ["body", "head", "nothing"])
@pytest.mark.parametrize("n_pages", [1, 200])
def test_a_server_that_drips_holds_a_search_up_for_the_timeout_and_no_longer(drips, n_pages):
    listening = socket.create_server(("127.0.0.1", 0))
    closed = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if drips == "body":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
            elif drips == "head":
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not closed.wait(0.05):
                if drips != "nothing":
                    connection.sendall(b" ")

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    reranker = connected(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=0.6)
    start = time.monotonic()
    try:
        with pytest.raises(ModelFailed) as caught:
            reranker.scores("cash", [page(str(n), "cash flow") for n in range(n_pages)])
        took_s = time.monotonic() - start
    finally:
        closed.set()
        listening.close()
        reranker.close()
    assert caught.value.code == "reranker_timeout"
    assert 0.4 < took_s < 1.1
