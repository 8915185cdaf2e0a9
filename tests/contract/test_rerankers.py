"""The contract of rerankers over those that need no model here; tests/model has the others."""

import json
import math
from collections.abc import Iterator

import pytest
from reranker_contract import LISTWISE, POINTWISE, close
from servers import Reply, Request, serving

from rag.ports import ChatReply, Reranker
from rag.rerankers.choose import load_reranker
from rag.settings import RerankSettings
from rag.testing.fake_chat import Asked, FakeChat


def _worth(words: str) -> float:
    return (1 + sum(map(ord, words)) % 97) / 99


def _rerank(request: Request) -> Reply:
    results = [
        {"index": i, "relevance_score": _worth(text)}
        for i, text in enumerate(request.body["documents"])
    ]
    return Reply({"results": results[::-1]})


def _judge(asked: Asked) -> ChatReply:
    p = _worth(asked.text)
    return ChatReply("True", {"True": math.log(p), "False": math.log(1 - p)})


def _sort(asked: Asked) -> str:
    n_pages = sum(part.startswith("Page number") for part in asked.messages[-1].parts if part)
    return json.dumps({"order": [str(number) for number in range(n_pages, 0, -1)]})


@pytest.fixture(scope="module")
def http() -> Iterator[Reranker]:
    with serving(_rerank) as served:
        reranker = load_reranker(RerankSettings(method="http", url=served.url), None)
        yield reranker
        reranker.close()


@pytest.fixture(scope="module")
def vlm_yes_no() -> Reranker:
    settings = RerankSettings(method="vlm_yes_no", page_as="words")
    return load_reranker(settings, FakeChat(_judge))


@pytest.fixture(scope="module")
def vlm_listwise() -> Reranker:
    settings = RerankSettings(method="vlm_listwise", page_as="words")
    return load_reranker(settings, FakeChat(_sort))


@pytest.mark.parametrize("check", POINTWISE, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["http", "vlm_yes_no"])
def test_a_pointwise_reranker_keeps_the_contract(name, check, request):
    check(request.getfixturevalue(name), close)


@pytest.mark.parametrize("check", LISTWISE, ids=lambda check: check.__name__)
def test_the_listwise_reranker_keeps_its_part_of_the_contract(check, vlm_listwise):
    check(vlm_listwise, close)
