"""The GPU check without a GPU: what it checks, and that its timing code runs, on tiny pages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch: make test-torch")
os.environ.setdefault("TRITON_INTERPRET", "1")  # read when the kernels are made
pytest.importorskip("triton", reason="needs triton: make test-torch")

from eval.bench import gpu_check
from eval.bench.contender import Skipped
from rag.scoring import maxsim_triton

pytestmark = pytest.mark.skipif(
    not maxsim_triton.IS_INTERPRETED, reason="needs TRITON_INTERPRET=1 before triton is loaded"
)

ROOT = Path(__file__).parents[2]
LIMITS = {"copy_bytes_s": 1e12, "bf16_ops_s": 1e14, "int8_ops_s": 2e14}
# What a machine with a GPU may lack; what is left is numpy, torch and triton.
BARE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from eval.bench import gpu_check
sys.exit(gpu_check.main([]))
"""
ABSENT = """pydantic threadpoolctl qdrant_client qdrant_edge onnxruntime PIL safetensors typer rich
    sqlalchemy psutil platformdirs tokenizers pytest hypothesis""".split()
COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rag.scoring import maxsim_triton as kernels
from rag.scoring.packed import Storage

TYPES = {"first": "*i64", "n_rows": "*i32", "among": "*i64"}
OF = {
    Storage.BF16: {"rows": "*bf16", "query": "*bf16", "maxima": "*fp32"},
    Storage.INT8: {"rows": "*i8", "query": "*i8", "maxima": "*i32"},
    Storage.BITS: {"rows": "*u8", "query": "*i8", "maxima": "*i32"},
}
for storage, types in OF.items():
    for n_query in (32, 256):
        tile = kernels.default_tile(storage, n_query)
        kernel, sizes = kernels._kernel(storage, 32 if storage is Storage.BITS else 128, tile)
        sizes |= {"R": tile.n_page_rows, "Q": tile.n_query_rows, "STAGES": tile.n_stages}
        names = [parameter.name for parameter in kernel.params]
        signature = {
            name: "constexpr" if name in sizes else (TYPES | types).get(name, "i32")
            for name in names
        }
        source = ASTSource(
            kernel,
            signature,
            constexprs={(names.index(name),): value for name, value in sizes.items()},
            attrs={(i,): [["tt.divisibility", 16]] for i, name in enumerate(names)
                   if signature[name].startswith("*")},
        )
        options = {"num_warps": tile.n_warps, "enable_fp_fusion": False}
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert "wgmma.mma_async" in made.asm["ptx"], (storage, n_query)
        assert "cp.async" in made.asm["ptx"], (storage, n_query)
        assert made.metadata.shared <= 227 * 1024, (storage, n_query, made.metadata.shared)
print("compiled")
"""


@pytest.fixture
def tiny(monkeypatch):
    """The sizes of a toy and a device that is the CPU."""
    for name, value in {
        "N_RACE_PAGES": 5,
        "RACE_ROWS": (3, 40),
        "N_SCAN_PAGES": 1,
        "SCAN_ROWS": (5, 9),
        "BATCHES": (1, 2),
        "_PRODUCT": 32,
        "_COPY_BYTES": 1 << 16,
        "_SPARE_BYTES": 0,
    }.items():
        monkeypatch.setattr(gpu_check, name, value)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (6_000, 6_000))
    return torch.device("cpu")


def test_from_a_bare_checkout_it_checks_on_the_cpu_and_takes_no_times(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BARE.format(absent=ABSENT)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["timed"] is False
    assert record["wrong"] == {}
    assert {"bf16 triton 128", "int8 triton 128", "bits triton 128"} <= set(record["gate"])
    assert "TIMINGS WERE NOT TAKEN" in done.stdout


def test_a_kernel_that_is_wrong_is_found_and_named(monkeypatch):
    right = gpu_check.ResidentPages.scores

    def off(self, queries, among=None, *, backend=None):
        return right(self, queries, among, backend=backend) * 1.001

    monkeypatch.setattr(gpu_check.ResidentPages, "scores", off)
    _, wrong = gpu_check.check(torch.device("cpu"))
    assert {"bf16 triton 64", "int8 torch 128", "bits triton 64"} <= set(wrong)


def test_the_race_times_what_is_here_and_says_who_is_not(tiny, monkeypatch, capsys):
    def absent():
        raise Skipped("not installed")

    monkeypatch.setattr("eval.bench.peers.colpali_processor", absent)
    monkeypatch.setitem(sys.modules, "late_interaction_kernels", None)
    wrong: dict[str, str] = {}
    found, skipped = gpu_check.race(tiny, LIMITS, 0.1, wrong)
    assert wrong == {}
    assert {"bf16 own, batch 1", "int8 own, batch 2", "bits own, batch 1", "torch, batch 1"} <= set(
        found
    )
    assert set(skipped) == {"colpali-engine", "late-interaction-kernels"}
    assert "skipped: colpali-engine" in capsys.readouterr().out
    figures = found["bf16 own, batch 2"]
    assert figures["n_pages"] == 5
    assert figures["query_pages_s"] == pytest.approx(2 * figures["pages_s"], abs=1)


def test_one_of_ours_that_fails_in_the_race_is_wrong_and_not_skipped(tiny, monkeypatch):
    real = gpu_check._scan

    def scan(kept, queries, backend):
        call = real(kept, queries, backend)
        return (lambda: 1 // 0) if kept.storage == "int8" else call

    monkeypatch.setattr(gpu_check, "_scan", scan)
    monkeypatch.setitem(sys.modules, "late_interaction_kernels", None)
    wrong: dict[str, str] = {}
    found, skipped = gpu_check.race(tiny, LIMITS, 0.1, wrong)
    assert {name.split(",")[0] for name in wrong} == {"int8 own"}
    assert not any(name.startswith("int8") for name in (*found, *skipped))


def test_scans_of_all_that_fits_are_checked_and_timed(tiny):
    wrong = {}
    found = gpu_check.resident_scans(tiny, LIMITS, 0.1, wrong)
    assert wrong == {}
    assert {name.split(",")[0] for name in found} == {"bf16", "int8", "bits"}
    assert "bf16, batch 1, 1 pages" in found
    goals = gpu_check._goals({"race": {}, "resident": found})
    assert goals["scan_300000_ms"] == found["bf16, batch 1, 1 pages"]["min_ms"]
    assert goals["met"]["times_best_peer"] is None


def test_limits_and_other_tiles_are_measured(tiny, monkeypatch):
    tried = [maxsim_triton.Tile(True, 16, 32, 4, 2)]
    monkeypatch.setattr(gpu_check, "_tiles", lambda _storage, _batch: tried)
    timed = gpu_check._seconds
    monkeypatch.setattr(
        gpu_check, "_seconds", lambda call, **_more: timed(call, repeats=1, warm_ups=0)
    )
    assert gpu_check.measure_limits(tiny)["int8_ops_s"] > 0
    tiles = gpu_check.time_tiles(tiny)
    assert any(name.startswith("bits, batch 8") for name in tiles)


@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles for CUDA on Linux")
def test_the_kernels_compile_for_hopper_with_its_matrix_unit_and_copies_in_flight():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.stdout == "compiled\n", done.stderr[-2000:]
