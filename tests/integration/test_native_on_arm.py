"""The kernels on an Arm processor, or on one that qemu pretends to be: native/selftest.c."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Static, so that the emulator needs nothing of that system; else as setup.py builds the library.
FLAGS = (
    "-target aarch64-linux-musl -static -std=gnu11 -O3 -ffp-contract=fast -fno-math-errno "
    "-mcpu=baseline -Wall -Wextra -Werror -Wno-psabi"
).split()


@pytest.fixture(scope="module")
def emulator() -> list[str]:
    if sys.platform == "linux" and platform.machine() == "aarch64":
        return []
    found = shutil.which("qemu-aarch64")
    if found is None:
        pytest.skip("no qemu-aarch64 (Debian, Ubuntu: apt-get install qemu-user)")
    return [found]


@pytest.fixture(scope="module")
def program(emulator: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ziglang", reason="no C compiler (the ziglang wheel)")
    out = tmp_path_factory.mktemp("selftest") / "selftest"
    compiler = [sys.executable, "-m", "ziglang", "cc", *FLAGS]
    source = ROOT / "native" / "selftest.c"
    subprocess.run([*compiler, "-o", out, source, "-lpthread", "-lm"], check=True, timeout=240)
    return out


@pytest.mark.parametrize("isa", ["neon", "portable"])
def test_every_kernel_equals_plain_loops(emulator: list[str], program: Path, isa: str) -> None:
    done = subprocess.run(
        [*emulator, program, isa], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{isa}: ")
    assert done.stdout.endswith(" 0 failed\n")


def test_a_processor_without_dot_products_of_bytes_takes_the_portable_set(
    emulator: list[str], program: Path
) -> None:
    if not emulator:
        pytest.skip("runs under qemu, which can leave instructions out; here a real Arm runs it")
    old = [*emulator, "-cpu", "cortex-a53", program]
    done = subprocess.run([*old, "neon"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stdout
    assert "not of this processor" in done.stdout
