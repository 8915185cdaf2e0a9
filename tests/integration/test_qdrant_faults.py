"""A Qdrant server that is slow, cut off, restarted, emptied or away, seen through the command line.

The server is a stand-in over a real socket, with a proxy before it that breaks things.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ingest_place import Place, place
from qdrant_server import Fault, FaultProxy, QdrantServer, faulty_server

from rag.apps.connection import Connection
from rag.errors import IndexUnavailable
from rag.settings import load_settings

__all__ = ["place"]  # a fixture, found by its name
SEARCH_S = 1.5
# What this machine adds to a deadline while everything else runs on it.
SLACK_S = 10.0
TOPICS = ("otters", "herons", "tides")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[QdrantServer, FaultProxy]]:
    with faulty_server() as (server, proxy):
        point_to(proxy, monkeypatch)
        yield server, proxy


@pytest.fixture(scope="module")
def filled_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Place, QdrantServer, FaultProxy]]:
    """With a document about each topic."""
    place = Place(tmp_path_factory.mktemp("filled"))
    for topic in TOPICS:
        place.write(f"{topic}.pdf", 2, topic)
    with faulty_server() as (server, proxy):
        with pytest.MonkeyPatch.context() as patched:
            point_to(proxy, patched)
            assert place.here("ingest", place.docs).code == 0
        yield place, server, proxy


@pytest.fixture
def filled(
    filled_once: tuple[Place, QdrantServer, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Place, QdrantServer, FaultProxy]]:
    """The same for every test, which leaves the documents as they are."""
    _, _, proxy = filled_once
    point_to(proxy, monkeypatch)
    yield filled_once
    proxy.heal()


def point_to(proxy: FaultProxy, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("QDRANT_URL", proxy.url)
    patch.setenv("OCTAVO_STORE__SEARCH_TIMEOUT_S", str(SEARCH_S))
    patch.setenv("OCTAVO_RENDER__WORKERS", "1")


def settings(place: Place):
    return load_settings(overrides={"store": {"data_dir": place.data}})


def is_write(method: str, path: str) -> bool:
    return path.endswith(("/points", "/points/delete")) and method in ("PUT", "POST")


def runs(ingest: subprocess.Popen[str]) -> bool:
    """Whether it is still at work; one that is not would never do what is waited for."""
    if ingest.poll() is not None:
        pytest.fail(f"it ended: {ingest.communicate()}")
    return True


# --- ingest -------------------------------------------------------------------------------------
def test_an_ingest_over_a_server_that_fails_in_every_way_ends_with_exact_counts(
    place: Place, served: tuple[QdrantServer, FaultProxy]
) -> None:
    ingest_through_faults(place, *served, n_documents=6, down_s=1.5)


@pytest.mark.nightly
def test_an_ingest_over_a_server_that_is_away_for_long_ends_with_exact_counts(
    place: Place, served: tuple[QdrantServer, FaultProxy]
) -> None:
    n_documents = int(os.environ.get("FAULTY_SERVER_DOCUMENTS", "20"))
    down_s = float(os.environ.get("FAULTY_SERVER_DOWN_S", "30"))
    ingest_through_faults(place, *served, n_documents=n_documents, down_s=down_s)


def ingest_through_faults(
    place: Place, server: QdrantServer, proxy: FaultProxy, *, n_documents: int, down_s: float
) -> None:
    """Every fifth write is done and not answered, others fail too; away once, restarted twice."""
    expected = {f"d{number:02}.pdf": 2 + number % 2 for number in range(n_documents)}
    for name, n_pages in expected.items():
        place.write(name, n_pages)
    chance = random.Random(7)

    def fault(method: str, path: str) -> Fault | None:
        drawn = chance.random()
        if is_write(method, path) and drawn < 0.2:
            return Fault("lost_answer")
        if drawn > 0.9:
            return Fault("status", headers={"Retry-After": "0"})
        return Fault(chance.choice(("cut_answer", "lost_request"))) if drawn > 0.85 else None

    proxy.fault = fault
    ingest = place.start("ingest", place.docs, OCTAVO_STORE__BATCH_PAGES="2")
    place.wait_for(lambda: runs(ingest) and place.n_acknowledged() >= 3)
    proxy.down()
    time.sleep(down_s)
    assert ingest.poll() is None
    proxy.up()
    for n_pages in (6, 8):
        place.wait_for(lambda n_pages=n_pages: runs(ingest) and place.n_acknowledged() >= n_pages)
        server.stop()
        time.sleep(0.5)
        server.start()
    out, err = ingest.communicate(timeout=120)
    assert (ingest.returncode, err) == (0, "")
    totals = json.loads(out.splitlines()[-1])
    assert totals["documents"] == {"indexed": n_documents}
    assert totals["pages"] == {"indexed": sum(expected.values()), "blank": 0, "failed": 0}
    assert [each["code"] for each in totals["warnings"]] == ["waited_for_store"]
    assert {"lost_answer", "status"} <= set(proxy.done)
    proxy.heal()
    assert server.n_records() == sum(expected.values())
    place.check_whole(expected)


def test_a_server_that_stays_away_ends_the_ingest_and_the_next_one_goes_on(
    place: Place, served: tuple[QdrantServer, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = served
    expected = {"a.pdf": 2, "b.pdf": 3}
    for name, n_pages in expected.items():
        place.write(name, n_pages)
    proxy.fault = lambda method, path: (
        Fault("status", status=500)
        if is_write(method, path) and place.is_indexed("a.pdf")
        else None
    )
    monkeypatch.setenv("OCTAVO_STORE__QDRANT_WAIT_S", "1")
    ended = place.here("ingest", place.docs)
    assert (ended.code, ended.error["code"]) == (1, "index_failed")
    assert "500" in ended.error["message"]
    assert [each["source"] for each in place.here("list").json[0]["documents"]] == ["a.pdf"]
    proxy.heal()
    assert place.here("ingest", place.docs).json[-1]["documents"] == {"unchanged": 1, "indexed": 1}
    place.check_whole(expected)
    assert server.n_records() == 5


@pytest.mark.parametrize("how", [pytest.param("refused", marks=pytest.mark.nightly), "silence"])
def test_ctrl_c_ends_an_ingest_that_waits_and_nothing_is_called_failed(
    place: Place, served: tuple[QdrantServer, FaultProxy], how: str
) -> None:
    _, proxy = served
    place.write("a.pdf", 4)
    ingest = place.start("ingest", place.docs, OCTAVO_STORE__BATCH_PAGES="2")
    if how == "refused":
        place.wait_for(lambda: runs(ingest) and place.n_acknowledged() >= 2)
        proxy.down()
    else:
        proxy.fault = lambda method, path: Fault("silence") if is_write(method, path) else None
        place.wait_for(lambda: proxy.done["silence"] > 0)
    time.sleep(1.0)
    began = time.monotonic()
    os.killpg(ingest.pid, signal.SIGINT)
    _, err = ingest.communicate(timeout=30)
    assert time.monotonic() - began < 20.0
    assert ingest.returncode == 130, err
    proxy.heal()
    assert place.here("list").json[0]["documents"] == []
    assert place.here("ingest", place.docs).json[-1]["documents"] == {"indexed": 1}
    place.check_whole({"a.pdf": 4})


def test_a_search_beside_an_ingest_that_waits_ends_in_time(
    place: Place, served: tuple[QdrantServer, FaultProxy]
) -> None:
    _, proxy = served
    place.write("a.pdf", 2)
    assert place.here("ingest", place.docs).code == 0
    place.write("late.pdf", 2)
    with (
        Connection(settings(place), command="test") as octavo,
        ThreadPoolExecutor(1) as beside,
    ):
        proxy.fault = lambda method, path: Fault("silence") if is_write(method, path) else None
        ingest = beside.submit(octavo.ingest, [place.docs])
        place.wait_for(lambda: proxy.done["silence"] > 0)
        assert octavo.search("tide")["hits"][0]["source"] == "a.pdf"
        proxy.fault = lambda _method, _path: Fault("silence")
        began = time.monotonic()
        with pytest.raises(IndexUnavailable):
            octavo.search("tide")
        assert time.monotonic() - began < SEARCH_S + SLACK_S
        proxy.down()
        proxy.heal()
        assert ingest.result(timeout=60)["documents"] == {"unchanged": 1, "indexed": 1}


def test_a_search_does_not_wait_for_what_a_change_cut_short_left_to_do(
    place: Place, served: tuple[QdrantServer, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, proxy = served
    place.write("a.pdf", 2)
    assert place.here("ingest", place.docs).code == 0
    proxy.fault = lambda _method, path: Fault("status") if path.endswith("/payload") else None
    monkeypatch.setenv("OCTAVO_STORE__QDRANT_WAIT_S", "1")
    changed = place.here("set", "a.pdf", "--metadata", "year=2024")
    assert (changed.code, changed.error["code"]) == (1, "index_down")
    monkeypatch.setenv("OCTAVO_STORE__QDRANT_WAIT_S", "60")
    began = time.monotonic()
    found = place.here("search", "tide")
    assert time.monotonic() - began < SEARCH_S + SLACK_S
    assert found.json[0]["hits"][0]["source"] == "a.pdf"
    proxy.heal()
    assert place.here("search", "tide", "--filter", "year=2024").json[0]["hits"]


# --- search -------------------------------------------------------------------------------------
FAULTS = {
    "silence": (Fault("silence"), "index_slow"),
    "slow": (Fault("slow", 5.0), "index_slow"),
    "drip": (Fault("drip", 0.1), "index_slow"),
    "cut": (Fault("cut_answer"), "index_down"),
    "lost": (Fault("lost_answer"), "index_down"),
    "503": (Fault("status", status=503), "index_down"),
    "502 for an hour": (Fault("status", status=502, headers={"Retry-After": "3600"}), "index_down"),
    "500": (Fault("status", status=500), "index_failed"),
    "429": (Fault("status", status=429, headers={"Retry-After": "2"}), "index_busy"),
    "429 until": (
        Fault("status", status=429, headers={"Retry-After": "Wed, 21 Oct 2065 07:28:00 GMT"}),
        "index_busy",
    ),
    "403": (Fault("status", status=403), "index_refused"),
    "not json": (Fault("status", status=200), "index_failed"),
}


def test_a_search_ends_in_its_time_with_its_error_whatever_the_server_does_and_works_again_after(
    filled: tuple[Place, QdrantServer, FaultProxy],
) -> None:
    place, _, proxy = filled
    with Connection(settings(place), command="test") as octavo:

        def found() -> list[str]:
            return [hit["source"] for hit in octavo.search("herons", top_k=2)["hits"]]

        def ends_as(code: str) -> None:
            began = time.monotonic()
            with pytest.raises(IndexUnavailable) as raised:
                found()
            took_s = time.monotonic() - began
            assert took_s < SEARCH_S + SLACK_S, (code, took_s)
            assert (raised.value.code, bool(raised.value.next_step)) == (code, True)

        assert found() == ["herons.pdf"] * 2
        for name, (fault, code) in FAULTS.items():
            proxy.fault = lambda _method, _path, fault=fault: fault
            ends_as(code)
            proxy.heal()
            began = time.monotonic()
            while time.monotonic() - began < 10.0:
                try:
                    assert found() == ["herons.pdf"] * 2, name
                    break
                except IndexUnavailable:
                    time.sleep(0.1)
            else:
                pytest.fail(f"no search within 10 s after {name}")
        proxy.down()
        ends_as("index_down")
        ends_as("index_down")  # and without asking anew
        proxy.up()
        time.sleep(1.1)
        assert found() == ["herons.pdf"] * 2


def test_one_request_that_fails_is_made_again_and_nobody_notices(
    filled: tuple[Place, QdrantServer, FaultProxy],
) -> None:
    place, _, proxy = filled
    seen = set()

    def once(method: str, path: str) -> Fault | None:
        is_first = (method, path) not in seen
        seen.add((method, path))
        return Fault("cut_answer") if is_first else None

    proxy.fault = once
    assert place.here("search", "tides").json[0]["hits"][0]["source"] == "tides.pdf"
    assert proxy.done["cut_answer"] >= 3


def test_every_command_says_what_it_can_over_a_server_that_is_away(
    filled: tuple[Place, QdrantServer, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _, proxy = filled
    monkeypatch.setenv("OCTAVO_STORE__QDRANT_WAIT_S", "1")
    proxy.down()
    asking = [("search", "herons"), ("search", "herons", "--exact"), ("ask", "What do herons do?")]
    for command in (*asking, ("rm", "herons.pdf"), ("ingest", str(place.docs))):
        began = time.monotonic()
        ended = place.here(*command)
        assert time.monotonic() - began < SEARCH_S + SLACK_S
        assert (ended.code, ended.out) == (1, ""), command
        assert ended.error["code"] == "index_down"
        assert "127.0.0.1" not in ended.err
    assert len(place.here("list").json[0]["documents"]) == 3
    assert place.here("show", "herons.pdf").json[0]["pages"] == 2
    doctor = {each["name"]: each for each in place.here("doctor").json[0]["checks"]}
    assert not doctor["qdrant server"]["ok"]
    assert "nothing answers as Qdrant" in doctor["qdrant server"]["detail"]
    proxy.heal()
    assert place.here("status").json[0]["store"]["detail"] == "Qdrant 1.19.0"
    proxy.fault = lambda _method, _path: Fault("drip", 0.1)
    began = time.monotonic()
    status = place.here("status").json[0]
    assert time.monotonic() - began < 3.0 + SLACK_S
    assert (status["store"]["ok"], len(status["collections"])) == (False, 1)


def test_a_document_that_could_not_be_deleted_is_deleted_when_the_server_is_back(
    place: Place, served: tuple[QdrantServer, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = served
    place.write("a.pdf", 2)
    assert place.here("ingest", place.docs).code == 0
    monkeypatch.setenv("OCTAVO_STORE__QDRANT_WAIT_S", "1")
    proxy.fault = lambda method, path: Fault("lost_request") if is_write(method, path) else None
    ended = place.here("rm", "a.pdf")
    assert (ended.code, ended.error["code"]) == (1, "index_down")
    assert server.n_records() == 2
    proxy.heal()
    assert place.here("search", "tide").json[0]["hits"] == []
    (place.docs / "a.pdf").unlink()
    place.write("b.pdf", 1)
    assert place.here("ingest", place.docs).code == 0  # sweeps first
    assert server.n_records() == 1


def test_what_is_said_in_a_talk_over_a_server_that_is_away_is_no_abstention(
    filled: tuple[Place, QdrantServer, FaultProxy],
) -> None:
    place, _, proxy = filled
    with Connection(settings(place), command="test") as octavo:
        first = octavo.chat("What do herons do on page 1?")
        proxy.down()
        with pytest.raises(IndexUnavailable):
            octavo.chat("And the tides?", conversation=first["conversation_id"])
        proxy.up()
        kept = octavo.conversation(first["conversation_id"])
    assert len(kept["exchanges"]) == 1


def test_a_collection_that_the_server_lost_is_an_error_and_not_made_anew(
    filled: tuple[Place, QdrantServer, FaultProxy],
) -> None:
    place, server, _ = filled
    with Connection(settings(place), command="test") as octavo:
        assert octavo.search("herons")["hits"]
        with server.without_disk():
            for _ in range(2):
                with pytest.raises(IndexUnavailable) as raised:
                    octavo.search("herons")
                assert raised.value.code == "index_lost"
        assert octavo.search("herons")["hits"][0]["source"] == "herons.pdf"
    name, made = server.created()
    with server.without_disk():
        ended = place.here("search", "herons")
        assert server.created() is None
        server.answer("PUT", f"/collections/{name}", made, None)  # by somebody else, and empty
        asked = place.here("ask", "What do herons do?")
    assert (ended.code, ended.error["code"]) == (1, "index_lost")
    assert (asked.code, asked.error["code"]) == (1, "index_lost")


def test_a_wrong_key_is_said_at_once_by_an_ingest_too(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("a.pdf", 1)
    with faulty_server(key="right") as (_, proxy):
        monkeypatch.setenv("QDRANT_URL", proxy.url)
        began = time.monotonic()
        ended = place.here("ingest", place.docs)
        assert time.monotonic() - began < 30.0
        assert (ended.code, ended.error["code"]) == (1, "index_refused")
        assert ended.error["next_step"] == "Check QDRANT_API_KEY."
        doctor = {each["name"]: each for each in place.here("doctor").json[0]["checks"]}
        assert doctor["qdrant server"]["next_step"] == "Check QDRANT_API_KEY."
        monkeypatch.setenv("QDRANT_API_KEY", "right")
        right = place.here("ingest", place.docs)
        assert (right.code, right.err) == (0, "")
