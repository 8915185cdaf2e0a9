"""Which device finds the pages, on machines without torch, without a GPU, and with a broken one."""

import subprocess
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType

import pytest

from rag.errors import ConfigError
from rag.scoring import device
from rag.scoring.cascade import Cascade
from rag.scoring.device import choose_device
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.settings import RetrievalSettings, load_settings
from rag.wiring import packed_search

FDE = FdeEncoder(FdeSpec(16, repetitions=1, simhash_bits=1, projection_dim=4, seed=1))


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "rag.scoring.torch_device", raising=False)


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setattr(device, "_has_driver", lambda: True)


def with_torch(monkeypatch, resolve_device, describe_gpu=lambda: "a GPU, 5 of 9 bytes free"):
    """In place of the file that needs torch."""
    module = ModuleType("rag.scoring.torch_device")
    module.resolve_device = resolve_device
    module.describe_gpu = describe_gpu
    monkeypatch.setitem(sys.modules, "rag.scoring.torch_device", module)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_without_torch_the_cpu_searches(wanted, no_torch, driver):
    assert choose_device(wanted).name == "cpu"
    assert isinstance(packed_search(FDE, RetrievalSettings(device=wanted)), Cascade)


def test_the_reason_for_the_cpu_is_told(no_torch, driver, monkeypatch):
    assert choose_device("cpu").reason == "retrieval.device is cpu"
    assert choose_device("auto").reason == "torch is not installed"
    monkeypatch.setattr(device, "_has_driver", lambda: False)
    assert choose_device("auto").reason == "there is no NVIDIA driver"


def test_cuda_without_torch_is_refused_before_a_search(no_torch):
    with pytest.raises(ConfigError, match="cuda, but torch is not installed") as caught:
        packed_search(FDE, RetrievalSettings(device="cuda"))
    assert "Install torch" in caught.value.next_step
    assert "set retrieval.device to auto" in caught.value.next_step


class Unloadable(MetaPathFinder):
    """Finds the file that needs torch, and fails as torch then fails."""

    def find_spec(self, name, path, target=None):
        if name == "rag.scoring.torch_device":
            raise OSError("libcudart.so is not there")


def assert_no_device(reason):
    choice = choose_device("auto")
    assert choice.name == "cpu"
    assert reason in choice.reason
    with pytest.raises(ConfigError, match=f"cuda, but .*{reason}") as caught:
        choose_device("cuda")
    assert "Or set retrieval.device" in caught.value.next_step


def raises(error):
    def call(*_):
        raise error

    return call


def test_a_torch_that_sees_no_device_is_no_device(driver, monkeypatch):
    with_torch(monkeypatch, raises(ConfigError("torch sees 0 CUDA devices")))
    assert_no_device("torch sees 0 CUDA devices")


def test_a_device_that_does_not_answer_is_no_device(driver, monkeypatch):
    with_torch(monkeypatch, lambda _: None, raises(RuntimeError("CUDA error: out of memory")))
    assert_no_device("CUDA error: out of memory")


def test_a_torch_that_does_not_load_is_no_device(driver, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.delitem(sys.modules, "rag.scoring.torch_device", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Unloadable(), *sys.meta_path])
    assert_no_device("libcudart.so is not there")


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_device_that_is_there_is_taken_and_named(wanted, driver, monkeypatch):
    with_torch(monkeypatch, lambda _: None)
    choice = choose_device(wanted)
    assert (choice.name, choice.reason) == ("cuda", "a GPU, 5 of 9 bytes free")


def test_a_search_on_the_cpu_loads_nothing_of_torch():
    program = (
        "import sys; from rag.wiring import packed_search;"
        "from rag.scoring.fde import FdeEncoder, FdeSpec;"
        "from rag.settings import RetrievalSettings;"
        "fde = FdeEncoder(FdeSpec(16, repetitions=1, simhash_bits=1, projection_dim=4, seed=1));"
        "packed_search(fde, RetrievalSettings(device='cpu'));"
        "found = {'torch', 'triton', 'rag.scoring.torch_device', 'rag.scoring.device_scan'};"
        "sys.exit(str(found & set(sys.modules)) if found & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_device_and_budget_are_settings():
    chosen = load_settings(
        environ={
            "OCTAVO_RETRIEVAL__DEVICE": "cuda",
            "OCTAVO_RETRIEVAL__DEVICE_BYTES": "8000000000",
        }
    ).retrieval
    assert (chosen.device, chosen.device_bytes) == ("cuda", 8_000_000_000)
    for name, value in (("DEVICE", "tpu"), ("DEVICE_BYTES", "-1")):
        with pytest.raises(ConfigError, match=f"retrieval.{name.lower()}"):
            load_settings(environ={f"OCTAVO_RETRIEVAL__{name}": value})
