"""Measuring without the library that measures."""

import importlib
import sys

import pytest

from rag.errors import ConfigError


def test_without_the_eval_extra_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    monkeypatch.delitem(sys.modules, "eval.measures", raising=False)
    with pytest.raises(ConfigError, match="ir-measures") as caught:
        importlib.import_module("eval.measures")
    assert "octavo[eval]" in caught.value.next_step
