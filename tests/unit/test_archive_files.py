"""What is given as an archive and is none is told, and not waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingestion.archive.contents import Archive
from rag.errors import RagError


def test_an_archive_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(RagError) as raised:
        Archive(tmp_path / "none.tar")
    assert raised.value.code == "no_such_path"


def test_a_pipe_that_nobody_writes_to_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.tar")
    with pytest.raises(RagError) as raised:
        Archive(tmp_path / "endless.tar")
    assert raised.value.code == "bad_archive"
