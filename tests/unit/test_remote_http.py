"""Requests to an embedding server, against one that answers by a script over a real socket."""

import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr
from servers import Reply, Request, scripted, serving

from rag.encoders.remote_http import ModelServer
from rag.errors import ConfigError, ModelFailed

KEY = "sk-secret-0123456789"
FINE = Reply({"data": []})


def _ask(url: str, **options: object) -> dict:
    server = ModelServer(url, **options)
    try:
        return server.post("/pooling", {"input": "x"})
    finally:
        server.close()


def _failure(url: str, **options: object) -> ModelFailed:
    with pytest.raises(ModelFailed) as caught:
        _ask(url, **options)
    assert caught.value.next_step
    return caught.value


def test_errors_of_the_server_are_tried_again_until_it_answers() -> None:
    with serving(scripted(Reply(status=500), Reply(status=503), FINE)) as served:
        assert _ask(served.url, retry_s=10) == {"data": []}
    assert len(served.requests) == 3


def test_a_server_that_is_busy_is_left_alone_as_long_as_it_asks() -> None:
    started = time.monotonic()
    with serving(scripted(Reply(status=429, headers={"Retry-After": "1"}), FINE)) as served:
        _ask(served.url, retry_s=10)
    assert time.monotonic() - started >= 1.0


def test_a_busy_server_may_name_the_hour() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    with serving(scripted(Reply(status=429, headers={"Retry-After": at}))) as served:
        started = time.monotonic()
        failure = _failure(served.url, retry_s=10)
    assert time.monotonic() - started < 1.0, "an hour is beyond the budget: no use to wait"
    assert failure.code == "encoder_unreachable"
    assert "429" in failure.message


def test_the_budget_ends_the_tries() -> None:
    with serving(scripted(Reply({"message": "out of memory"}, status=500))) as served:
        started = time.monotonic()
        failure = _failure(served.url, retry_s=1.5)
    assert failure.code == "encoder_unreachable"
    assert "500: out of memory" in failure.message
    assert time.monotonic() - started < 2.5
    assert 2 <= len(served.requests) <= 8


def test_one_request_may_have_less_patience() -> None:
    with serving(scripted(Reply(status=500))) as served:
        server = ModelServer(served.url, retry_s=60)
        with pytest.raises(ModelFailed):
            server.post("/pooling", {}, retry_s=0)
        server.close()
    assert len(served.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_final_and_told_in_the_server_s_words(status: int) -> None:
    said = {"error": {"message": "the model\nis not here", "type": "x"}}
    with serving(scripted(Reply(said, status=status))) as served:
        failure = _failure(served.url, retry_s=60)
    assert len(served.requests) == 1
    assert failure.code == "encoder_refused"
    assert f"{status}: the model is not here" in failure.message


def test_the_key_is_sent_and_never_said() -> None:
    said = {"error": {"message": f"no such key: Bearer {KEY}"}}
    with serving(scripted(Reply(said, status=401))) as served:
        server = ModelServer(served.url, api_key=SecretStr(KEY))
        with pytest.raises(ModelFailed) as caught:
            server.post("/pooling", {})
        server.close()
    assert served.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "no such key: Bearer ***" in caught.value.message
    assert KEY not in f"{caught.value!r} {caught.value.as_dict()} {server!r} {vars(caught.value)}"


def test_a_long_complaint_is_cut_and_an_echoed_image_left_out() -> None:
    said = "bad image data:image/png;base64," + "A" * 5000 + " " + "why " * 200
    with serving(scripted(Reply(said.encode(), status=400))) as served:
        failure = _failure(served.url)
    assert len(failure.message) < 400
    assert "AAAA" not in failure.message


def test_redirects_are_not_followed() -> None:
    with (
        serving(scripted(FINE)) as elsewhere,
        serving(scripted(Reply(status=307, headers={"Location": elsewhere.url + "/x"}))) as served,
    ):
        failure = _failure(served.url, api_key=SecretStr(KEY))
    assert failure.code == "encoder_refused"
    assert elsewhere.url.removeprefix("http://") in failure.message
    assert not elsewhere.requests


def test_a_slow_answer_is_a_timeout() -> None:
    with serving(scripted(Reply({}, after_s=1.0))) as served:
        failure = _failure(served.url, timeout_s=0.3, retry_s=0)
    assert failure.code == "encoder_timeout"
    assert "0.3 s" in failure.message


def test_an_answer_that_drips_is_a_timeout() -> None:
    with serving(scripted(Reply(b" " * 20_000, piece_s=0.1))) as served:
        failure = _failure(served.url, timeout_s=0.4, retry_s=0)
    assert failure.code == "encoder_timeout"


def test_nobody_there_is_said_soon() -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        started = time.monotonic()
        server = ModelServer(url, retry_s=120)
        with pytest.raises(ModelFailed) as caught:
            server.post("/pooling", {}, retry_s=1.0)
        server.close()
    assert time.monotonic() - started < 2.0
    assert caught.value.code == "encoder_unreachable"
    assert url.removeprefix("http://") in caught.value.message


@pytest.mark.parametrize("body", [b"<html>", b'{"data": [', b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with serving(scripted(Reply(body))) as served:
        failure = _failure(served.url, retry_s=60)
    assert failure.code == "bad_vectors"
    assert len(served.requests) == 1


def test_a_huge_answer_is_not_read_to_its_end() -> None:
    with serving(scripted(Reply(b" " * 3_000_000, is_chunked=True))) as served:
        failure = _failure(served.url, max_answer_bytes=1_000_000, retry_s=0)
    assert failure.code == "bad_vectors"
    assert "1 MB" in failure.message


def test_a_huge_answer_that_is_announced_is_not_read_at_all() -> None:
    started = time.monotonic()
    with serving(scripted(Reply(b" " * 3_000_000, piece_s=0.05))) as served:
        failure = _failure(served.url, max_answer_bytes=1_000_000, timeout_s=3, retry_s=0)
    assert failure.code == "bad_vectors"
    assert time.monotonic() - started < 2


def test_waiting_for_a_turn_is_no_slowness_of_the_server() -> None:
    with serving(scripted(Reply({}, after_s=0.3))) as served:
        server = ModelServer(served.url, requests=1, timeout_s=0.7, retry_s=0)
        threads = [threading.Thread(target=server.post, args=("/pooling", {})) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.post("/pooling", {}) == {}
        server.close()
    assert len(served.requests) == 5


def test_so_many_requests_at_once_and_no_more() -> None:
    with serving(scripted(Reply({}, after_s=0.05))) as served:
        server = ModelServer(served.url, requests=3)
        asking = [
            threading.Thread(
                target=server.post_all, args=("/pooling", [lambda: {"input": "x"}] * 8)
            )
            for _ in range(2)
        ]
        for thread in asking:
            thread.start()
        server.post("/pooling", {})
        for thread in asking:
            thread.join()
        server.close()
    assert len(served.requests) == 17
    assert served.most_at_once == 3


def test_answers_come_in_the_order_of_the_questions() -> None:
    def answer(request: Request) -> Reply:
        number = request.body["input"]
        return Reply({"data": number}, after_s=0.02 * (7 - number))

    with serving(answer) as served:
        server = ModelServer(served.url, requests=4)
        bodies = [lambda number=number: {"input": number} for number in range(8)]
        assert [each["data"] for each in server.post_all("/pooling", bodies)] == list(range(8))
        server.close()


def test_one_failure_ends_the_others() -> None:
    def answer(request: Request) -> Reply:
        return Reply(status=400 if request.body["input"] == 0 else 503)

    with serving(answer) as served:
        server = ModelServer(served.url, requests=4, retry_s=60)
        bodies = [lambda number=number: {"input": number} for number in range(40)]
        started = time.monotonic()
        with pytest.raises(ModelFailed) as caught:
            server.post_all("/pooling", bodies)
        assert caught.value.code == "encoder_refused"
        assert time.monotonic() - started < 5
        time.sleep(0.3)
        asked = len(served.requests)
        time.sleep(1.0)
        assert asked == len(served.requests) < 40, "nobody goes on for an answer nobody wants"
        server.close()


def test_closing_ends_those_who_wait() -> None:
    with serving(scripted(Reply(status=503))) as served:
        server = ModelServer(served.url, retry_s=60)
        failures: list[ModelFailed] = []

        def ask() -> None:
            try:
                server.post_all("/pooling", [lambda: {}])
            except ModelFailed as error:
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.5)
        server.close()
        thread.join(5)
    assert [each.code for each in failures] == ["encoder_unreachable"]


def test_a_server_that_was_started_again_is_found_again() -> None:
    with serving(scripted(FINE)) as served:
        server = ModelServer(served.url, retry_s=5)
        server.post("/pooling", {})
    with serving(scripted(FINE), port=int(served.url.rpartition(":")[2])) as again:
        server.post("/pooling", {})
    server.close()
    assert len(again.requests) == 1


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://host", "http://", "http://me:pw@host", "http://host?key=1"]
)
def test_an_address_that_cannot_be_asked_is_a_matter_of_settings(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ModelServer(url)
    assert "pw" not in caught.value.message


def test_the_version_in_the_address_is_left_out() -> None:
    with serving(scripted(FINE)) as served:
        server = ModelServer(served.url + "/v1/")
        server.get("/v1/models")
        server.close()
    assert served.requests[0].path == "/v1/models"


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_unpacks_to_more_than_memory_is_never_unpacked(encoding, pack, status):
    bomb = pack(b" " * 50_000_000)
    reply = Reply(bomb, status=status, headers={"Content-Encoding": encoding})
    with serving(scripted(reply)) as served:
        tracemalloc.start()
        failure = _failure(served.url, retry_s=0)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert served.requests[0].headers["Accept-Encoding"] == "identity"
    assert failure.code == ("bad_vectors" if status == 200 else "encoder_refused")
    assert status != 200 or encoding in failure.message
    assert peak_bytes < 5_000_000
