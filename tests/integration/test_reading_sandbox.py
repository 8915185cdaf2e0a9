"""What code in a reading process may do, tried from inside of one, and what doctor says of it."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import hostile_reader
import pytest

from rag.apps import doctor
from rag.apps.cli.app import run
from rag.errors import ConfigError
from rag.renderers import reader_pools, sandbox
from rag.renderers.isolated import IsolatedReader
from rag.renderers.sandbox import InForce, passed_on
from rag.renderers.worker import ReadRequest
from rag.settings import RenderSettings
from rag.testing import make_pdf

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or sandbox.landlock_abi() == 0, reason="needs Linux with Landlock"
)
SECRET = "sk-not-for-readers"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What code in a reading process could do, by what it tried."""
    place = tmp_path_factory.mktemp("elsewhere")
    (place / "secret.txt").write_text("secret", encoding="utf-8")
    path = tmp_path_factory.mktemp("docs") / "a.pdf"
    path.write_bytes(make_pdf(["one"]))
    with (
        pytest.MonkeyPatch.context() as environment,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        IsolatedReader(RenderSettings(renderer="pypdfium2", workers=1)) as reader,
    ):
        udp.bind(("127.0.0.1", 0))
        environment.setenv("OPENAI_API_KEY", SECRET)
        environment.setenv("OCTAVO_STORE__QDRANT_API_KEY", SECRET)
        environment.setenv("DATABASE_URL", f"postgres://me:{SECRET}@host/db")
        environment.setattr(reader, "_pdf_renderers", ("pypdfium2",))  # starts no program
        password = f"{tcp.getsockname()[1]},{udp.getsockname()[1]},{place}"
        request = ReadRequest(path, ("pypdfium2",), password)
        told = reader._result(reader._started(hostile_reader.try_everything, request))
        assert path.read_bytes() == make_pdf(["one"])
        assert reader.open(path).n_pages == 1
        yield told


@pytest.mark.parametrize("attempt", ["tcp", "udp", "dns", "unix socket", "io_uring"])
def test_there_is_no_network(found: dict[str, str], attempt: str) -> None:
    assert found[attempt] in ("PermissionError", "gaierror")


@pytest.mark.parametrize(
    "attempt",
    ["write beside the file", "write to the file", "write to /tmp", "remove the file"],
)
def test_nothing_is_written(found: dict[str, str], attempt: str) -> None:
    assert found[attempt] == "PermissionError"


def test_the_file_is_read_and_no_other(found: dict[str, str]) -> None:
    assert found["read the file"] == "done"
    assert found["read another file"] == "PermissionError"
    assert found["list another folder"] == "PermissionError"
    assert found["read the environment of the parent"] == "PermissionError"


@pytest.mark.parametrize(
    "attempt", ["fork", "run a program", "end the parent", "trace the parent", "leave the group"]
)
def test_other_processes_are_neither_started_nor_touched(
    found: dict[str, str], attempt: str
) -> None:
    if attempt == "end the parent" and sandbox.landlock_abi() < 6:
        pytest.skip("signals are kept in since Landlock 6")
    assert found[attempt] == "PermissionError"


def test_threads_may_be_started_and_none_was_before(found: dict[str, str]) -> None:
    assert found["start a thread"] == "done"
    assert found["threads"] == "1"


def test_no_secret_is_in_the_environment(found: dict[str, str]) -> None:
    assert SECRET not in found["environment"]
    names = found["variables"].split()
    assert "PATH" in names
    assert not {"OPENAI_API_KEY", "OCTAVO_STORE__QDRANT_API_KEY", "DATABASE_URL"} & set(names)


def test_only_variables_that_are_known_go_on() -> None:
    given = {"PATH": "/bin", "LC_ALL": "C", "AWS_SECRET_ACCESS_KEY": "x", "MY_PATH_TOKEN": "x"}
    assert {"PATH", "LC_ALL"} == {*given} & {*passed_on(given.items())}


def test_readers_that_are_programs_still_run(tmp_path: Path) -> None:
    pytest.importorskip("pdf2image", reason="pdf2image is not installed", exc_type=ImportError)
    path = tmp_path / "a.pdf"
    path.write_bytes(make_pdf(["by a program"]))
    with IsolatedReader(RenderSettings(renderer="pdf2image", workers=1)) as reader:
        (page,) = reader.scan(path, [1], want_image=True)
        assert getattr(page, "text").text == "by a program"  # noqa: B009 - or a failure, told here
        request = ReadRequest(path, (), "1,1,/")
        told = reader._result(reader._started(hostile_reader.try_everything, request))
    assert told["run a program"] == "done"
    assert {told["tcp"], told["udp"], told["write beside the file"]} == {"PermissionError"}


def test_a_file_behind_a_link_is_read_where_it_is(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "links" / "a.pdf"
    real.mkdir()
    link.parent.mkdir()
    (real / "b.pdf").write_bytes(make_pdf(["one", "two"]))
    link.symlink_to(real / "b.pdf")
    with IsolatedReader(RenderSettings(renderer="pypdfium2", workers=1)) as reader:
        assert reader.open(link).n_pages == 2
        # Another folder under a name that may be read already.
        (real / "b.pdf").rename(tmp_path / "old.pdf")
        (real / "b.pdf").write_bytes(make_pdf(["one"]))
        assert reader.open(link).n_pages == 1


def test_a_system_without_it_reads_and_where_it_is_required_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(make_pdf(["one"]))
    monkeypatch.setenv("OCTAVO_RENDER__WORKERS", "1")
    for module in (reader_pools, doctor):
        monkeypatch.setattr(module, "probe", lambda: InForce(0, seccomp=False))
    data = ["--json", "--data-dir", str(tmp_path / "data")]

    monkeypatch.setenv("OCTAVO_RENDER__SANDBOX", "require")
    assert run(["ingest", str(path), *data]) == 1
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], bool(error["next_step"])) == ("sandbox_missing", True)
    assert run(["doctor", *data]) == 1
    assert "no Landlock and no seccomp" in reading(capsys)["detail"]

    monkeypatch.setenv("OCTAVO_RENDER__SANDBOX", "auto")
    assert run(["ingest", str(path), *data]) == 0
    capsys.readouterr()
    assert run(["doctor", *data]) == 0
    assert "the network is open" in reading(capsys)["detail"]


def test_doctor_says_what_is_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--json", "--data-dir", str(tmp_path)])
    check = reading(capsys)
    assert check["ok"]
    assert "no network (seccomp)" in check["detail"]
    assert "1.5 GB each, 30 s a page" in check["detail"]


def reading(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    checks = json.loads(capsys.readouterr().out)["checks"]
    (check,) = (check for check in checks if check["name"] == "reading processes")
    return dict(check)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no Landlock$"):
        sandbox.require(InForce(0, seccomp=True))
    sandbox.require(InForce(1, seccomp=True))
