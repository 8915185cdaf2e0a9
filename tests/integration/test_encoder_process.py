"""Encoders in processes that crash, hang on, are killed, and answer several threads."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from crashing_encoders import Crashing, Failing, Slow, changing, ends_at_once, refused
from fakes import GridEncoder
from PIL import Image, ImageDraw

from rag.encoders.process import EncoderProcess
from rag.errors import ConfigError, InputError, ModelFailed, PageCrashesEncoder
from rag.page_text import PageText
from rag.ports import EncodedPage, PageInput
from rag.types import PageRef, RenderedPage

LIMIT_S = 15.0


# --- what they are given ------------------------------------------------------------------------
def page(number: int, mode: str = "RGB") -> PageInput:
    image = Image.new("RGB", (120, 180), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 10 * number, 60), fill="black")
    rendered = RenderedPage(image.convert(mode), 120.0, 180.0)
    return PageInput(PageRef("d", number), 120.0, 180.0, PageText.empty(), rendered)


def pages(n: int) -> list[PageInput]:
    return [page(number) for number in range(1, n + 1)]


def assert_same(made: Sequence[EncodedPage], given: Sequence[PageInput]) -> None:
    expected = GridEncoder().encode_pages(given)
    assert len(made) == len(expected)
    for one, other in zip(made, expected, strict=True):
        np.testing.assert_array_equal(one.patches.vectors, other.patches.vectors)
        np.testing.assert_array_equal(one.patches.boxes, other.patches.boxes)
        np.testing.assert_array_equal(one.dense, other.dense)


def until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int | None = None) -> list[psutil.Process]:
    found = psutil.Process(pid).children(recursive=True)
    return [each for each in found if "spawn_main" in " ".join(each.cmdline())]


Make = Callable[..., EncoderProcess]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[EncoderProcess] = []

    def started(*args: object, **options: object) -> EncoderProcess:
        made.append(EncoderProcess(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    yield started
    for encoder in made:
        encoder.close()
    assert not children()


# --- as in this process -------------------------------------------------------------------------
def test_results_are_those_of_the_encoder_itself_in_their_order(make: Make) -> None:
    encoder = make(GridEncoder)
    assert (encoder.identity, encoder.wants_image) == (GridEncoder.identity, True)
    assert encoder.encode_pages([]) == []
    given = [*pages(9), page(10, "L"), page(11, "P"), page(12, "1")]
    assert_same(encoder.encode_pages(given), given)
    found, expected = (each.encode_query("black otter") for each in (encoder, GridEncoder()))
    np.testing.assert_array_equal(found.tokens.vectors, expected.tokens.vectors)
    assert found.labels == expected.labels


def test_several_devices_share_the_pages_and_keep_their_order(make: Make) -> None:
    encoder = make(GridEncoder, devices=("", "", ""))
    assert len(children()) == 1, "one is enough for searches"
    for n in (1, 2, 7):
        assert_same(encoder.encode_pages(pages(n)), pages(n))
    assert len(children()) == 3


def test_queries_of_several_threads_get_their_own_answers_while_pages_are_encoded(
    make: Make,
) -> None:
    encoder = make(Slow)
    encoder.encode_query("warm")
    waits: list[float] = []

    def ask(word: str) -> bool:
        start = time.monotonic()
        found = encoder.encode_query(word)
        waits.append(time.monotonic() - start)
        expected = GridEncoder().encode_query(word)
        return bool(np.array_equal(found.tokens.vectors, expected.tokens.vectors))

    with ThreadPoolExecutor(5) as pool:
        encoding = pool.submit(encoder.encode_pages, pages(20))
        time.sleep(0.1)
        assert all(pool.map(ask, [f"word{n}" for n in range(24)]))
        assert not encoding.done()
        assert_same(encoding.result(), pages(20))
    assert max(waits) < 3.5, "no longer than the pages of a turn, here 2 s"


# --- errors -------------------------------------------------------------------------------------
def test_what_cannot_be_loaded_says_why(make: Make) -> None:
    with pytest.raises(ConfigError, match="no such device") as caught:
        make(refused)
    assert (caught.value.code, caught.value.next_step) == ("no_device", "Take another.")
    with pytest.raises(ModelFailed, match="SIGSEGV, while it loaded") as crashed:
        make(ends_at_once)
    assert crashed.value.code == "encoder_crashed"
    until(lambda: not children())


def test_errors_cross_with_their_type_and_the_encoder_goes_on(make: Make) -> None:
    encoder = make(Failing)
    first = children()[0]
    with pytest.raises(InputError) as refused_query:
        encoder.encode_query("")
    assert refused_query.value.code == "query_not_supported"
    for number, code in ((2, "out_of_memory"), (3, "encoder_failed")):
        with pytest.raises(ModelFailed) as caught:
            encoder.encode_pages([page(number)])
        assert caught.value.code == code
    assert "a bug" in caught.value.message
    assert_same(encoder.encode_pages([page(4)]), [page(4)])
    assert children() == [first]


def test_after_a_lost_gpu_the_next_request_gets_another_process(make: Make) -> None:
    encoder = make(Failing, restarts=0)
    first = children()[0]
    with pytest.raises(ModelFailed) as caught:
        encoder.encode_pages([page(1)])
    assert (caught.value.code, caught.value.next_step) == ("gpu_lost", "See nvidia-smi.")
    assert_same(encoder.encode_pages([page(4)]), [page(4)])
    assert children() != [first]


# --- crashes ------------------------------------------------------------------------------------
@pytest.mark.parametrize("n_crashes", [1, 2])
def test_a_batch_that_ends_the_process_is_tried_again(
    make: Make, tmp_path: Path, n_crashes: int
) -> None:
    countdown = tmp_path / "left"
    countdown.write_text(str(n_crashes))
    encoder = make(partial(Crashing, (3,), countdown))
    assert_same(encoder.encode_pages(pages(6)), pages(6))
    assert countdown.read_text() == "-1"


def test_a_process_killed_from_outside_is_started_again(make: Make) -> None:
    encoder = make(Slow)
    with ThreadPoolExecutor(1) as pool:
        encoding = pool.submit(encoder.encode_pages, pages(3))
        time.sleep(0.2)
        children()[0].kill()
        assert_same(encoding.result(), pages(3))
    children()[0].kill()
    assert encoder.encode_query("black").labels == ("black",)


def test_pages_that_end_it_alone_are_named_and_the_others_go_on(make: Make) -> None:
    encoder = make(partial(Crashing, (2, 3)))
    for _ in range(3):  # such pages do not use up the restarts
        with pytest.raises(PageCrashesEncoder, match="SIGKILL") as caught:
            encoder.encode_pages(pages(4))
        assert caught.value.code == "page_crashes_encoder"
        assert caught.value.page_numbers == (2, 3)
        assert_same(encoder.encode_pages([page(1), page(4)]), [page(1), page(4)])
    with pytest.raises(PageCrashesEncoder):
        encoder.encode_pages([page(2)])


def test_an_encoder_that_crashes_at_every_page_is_given_up(make: Make) -> None:
    encoder = make(partial(Crashing, range(100)), restarts=2)
    with pytest.raises(ModelFailed, match="SIGKILL") as caught:
        encoder.encode_pages(pages(4))
    assert caught.value.code == "encoder_crashed"
    assert caught.value.next_step


def test_restarts_are_counted(make: Make) -> None:
    encoder = make(GridEncoder, restarts=1)
    children()[0].kill()
    assert_same(encoder.encode_pages([page(1)]), [page(1)])
    children()[0].kill()
    with pytest.raises(ModelFailed, match="SIGKILL, and had been started again 1 times") as caught:
        encoder.encode_pages([page(1)])
    assert caught.value.code == "encoder_crashed"


def test_another_model_after_a_crash_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "revision").write_text("")
    encoder = make(partial(changing, tmp_path / "revision"))
    with pytest.raises(ModelFailed) as caught:
        encoder.encode_pages([page(1)])
    assert caught.value.code == "encoder_changed"


# --- the end ------------------------------------------------------------------------------------
def test_closing_ends_the_process_even_while_it_works(make: Make) -> None:
    encoder = make(Slow)
    errors: list[ModelFailed] = []

    def encode() -> None:
        try:
            encoder.encode_pages(pages(50))
        except ModelFailed as error:
            errors.append(error)

    thread = threading.Thread(target=encode)
    thread.start()
    time.sleep(0.2)
    encoder.close()
    thread.join(LIMIT_S)
    assert [error.code for error in errors] == ["encoder_closed"]
    assert "again" in errors[0].next_step
    assert not children()
    with pytest.raises(ModelFailed, match="closed"):
        encoder.encode_query("black")


ENCODING = """
import sys
sys.path[:0] = {paths!r}
from functools import partial
from crashing_encoders import Slow
from test_encoder_process import pages
from rag.encoders.process import EncoderProcess

print("main runs", flush=True)
encoder = EncoderProcess(partial(Slow, 60))
print("loaded", flush=True)
encoder.encode_pages(pages(100))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_with_the_one_that_asked(tmp_path: Path, how: signal.Signals) -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), str(here.parents[1])]
    script = tmp_path / "script.py"
    script.write_text(ENCODING.format(paths=paths), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["main runs\n", "loaded\n"]
        [child] = children(process.pid)
        time.sleep(0.5)  # in the middle of a page that takes a minute
        process.send_signal(how)
        _, err = process.communicate(timeout=LIMIT_S)
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 3.0)
        assert "SpawnProcess" not in err, "the child has nothing to say"
    finally:
        process.kill()
