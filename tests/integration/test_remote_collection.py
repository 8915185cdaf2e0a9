"""A collection whose vectors come from a server: made, searched, guarded against another one."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import EmbeddingServer, Reply, Request, planted, serving

from rag.apps.connection import Connection
from rag.encoders.self_test import QUERIES, pages
from rag.errors import IndexMismatch, ModelFailed
from rag.settings import Settings, load_settings
from rag.testing import make_pdf
from rag.types import Notice


def _planted(seed: int = 0) -> EmbeddingServer:
    return EmbeddingServer(*planted(QUERIES, pages(), seed=seed))


class Switch:
    """One address, behind which the server can be changed, or fail."""

    def __init__(self) -> None:
        self.answer = _planted()
        self.is_down = False

    def __call__(self, request: Request) -> Reply:
        return Reply({"message": "loading"}, status=503) if self.is_down else self.answer(request)


@pytest.fixture
def server() -> Iterator[tuple[Switch, str]]:
    switch = Switch()
    with serving(switch) as running:
        yield switch, running.url


def _settings(folder: Path, url: str) -> Settings:
    return load_settings(
        overrides={
            "store": {"data_dir": folder / "data"},
            "render": {"workers": 1},
            "encoder": {"name": "remote", "url": url, "retry_s": 1},
        },
        environ={},
    )


def _ingest(folder: Path, url: str, name: str = "otters.pdf") -> dict:
    (folder / name).write_bytes(make_pdf([f"# {name}\nOtters hold hands while they sleep."] * 2))
    with Connection(_settings(folder, url), command="test") as octavo:
        return octavo.ingest([folder / name])


def test_pages_from_a_server_are_found_and_it_is_said_how_it_was_checked(
    tmp_path: Path, server: tuple[Switch, str]
) -> None:
    totals = _ingest(tmp_path, server[1])
    assert totals["pages"]["indexed"] == 2
    assert [each["code"] for each in totals["warnings"]] == ["parity_not_checked"]
    again = _ingest(tmp_path, server[1], "herons.pdf")
    assert again["warnings"] == [], "said where the collection is made, and not each time"
    with Connection(_settings(tmp_path, server[1]), command="test") as octavo:
        found = octavo.search("otters that sleep")
    assert found["encoder"] == "remote@tiny"
    assert len(found["hits"]) == 4


def test_pages_that_lost_their_places_are_told_at_the_end_of_the_ingest(
    tmp_path: Path, server: tuple[Switch, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rag.encoders.remote.RemoteEncoder.take_notices",
        lambda _: [Notice("places_unknown", "2 pages.")],
    )
    totals = _ingest(tmp_path, server[1])
    assert [each["code"] for each in totals["warnings"]] == ["parity_not_checked", "places_unknown"]


def test_another_model_behind_the_same_name_and_address_is_refused(
    tmp_path: Path, server: tuple[Switch, str]
) -> None:
    switch, url = server
    _ingest(tmp_path, url)
    switch.answer = _planted(seed=1)
    with (
        Connection(_settings(tmp_path, url), command="test") as octavo,
        pytest.raises(IndexMismatch, match=r"encoder\.fingerprint"),
    ):
        octavo.search("otters")
    with pytest.raises(IndexMismatch, match=r"encoder\.fingerprint"):
        _ingest(tmp_path, url, "herons.pdf")
    switch.answer = _planted()
    with Connection(_settings(tmp_path, url), command="test") as octavo:
        assert len(octavo.search("otters")["hits"]) == 2, "and nothing was touched"


def test_a_server_that_is_down_is_said_soon_and_leaves_nothing(
    tmp_path: Path, server: tuple[Switch, str]
) -> None:
    switch, url = server
    switch.is_down = True
    started = time.monotonic()
    with pytest.raises(ModelFailed) as caught:
        _ingest(tmp_path, url)
    assert time.monotonic() - started < 10
    assert caught.value.code == "encoder_unreachable"
    assert "503: loading" in caught.value.message
    switch.is_down = False
    with Connection(_settings(tmp_path, url), command="test") as octavo:
        assert octavo.collections()["collections"] == []


def test_a_server_that_goes_down_during_an_ingest_loses_nothing_acknowledged(
    tmp_path: Path, server: tuple[Switch, str]
) -> None:
    switch, url = server
    _ingest(tmp_path, url)
    fine = switch.answer

    def until_pages(request: Request) -> Reply:
        is_page = "messages" in (request.body or {})
        n_pages[0] += is_page
        return Reply(status=503) if is_page and n_pages[0] > len(pages()) else fine(request)

    n_pages = [0]
    switch.answer = until_pages  # type: ignore[assignment]
    with pytest.raises(ModelFailed):
        _ingest(tmp_path, url, "herons.pdf")
    switch.answer = fine
    assert _ingest(tmp_path, url, "herons.pdf")["pages"]["indexed"] == 2
    with Connection(_settings(tmp_path, url), command="test") as octavo:
        assert len(octavo.search("otters")["hits"]) == 4


def test_questions_asked_several_at_a_time_get_what_they_get_one_by_one(
    tmp_path: Path, server: tuple[Switch, str]
) -> None:
    for number in range(3):
        _ingest(tmp_path, server[1], f"otters-{number}.pdf")
    asked = [f"{text} {number}" for number in range(8) for text in QUERIES[:3]]

    def hits(octavo: Connection, text: str) -> list[tuple[str, int, float]]:
        found = octavo.search(text)["hits"]
        return [(hit["source"], hit["page_number"], hit["score"]) for hit in found]

    with Connection(_settings(tmp_path, server[1]), command="test") as octavo:
        alone = [hits(octavo, text) for text in asked]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda text: hits(octavo, text), asked))
    assert together == alone
    assert all(alone)
