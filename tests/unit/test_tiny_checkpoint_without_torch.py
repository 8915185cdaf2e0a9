"""Where the vision extra is not installed, asking for a tiny checkpoint says so."""

import sys

import pytest

from rag.errors import ConfigError
from rag.testing.checkpoints import main, make_checkpoint


def test_without_the_vision_extra_the_way_to_get_it_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "rag.testing.tiny_models", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    with pytest.raises(ConfigError, match="torch is not installed"):
        make_checkpoint("ColPali", tmp_path / "made")
    assert main(["ColPali", str(tmp_path / "made")]) == 1
    assert "octavo[vision]" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
