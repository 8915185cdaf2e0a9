"""What `pip install octavo` brings: the wheel's contents, and what it pulls in."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rag", "ingestion", "eval")
# What the base install must do without, and the only files that may name it.
OPTIONAL = {
    "pymupdf": {"rag/renderers/pymupdf_renderer.py"},
    "pdf2image": {"rag/renderers/pdf2image_renderer.py"},
    "torch": set(),
    "transformers": set(),
    "sentence_transformers": set(),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built in a copy, so that no build folder is left behind or picked up."""
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-qq"]
    subprocess.run([*command, "-w", source / "dist", source], check=True, timeout=120)
    (built,) = (source / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def metadata(wheel: zipfile.ZipFile) -> str:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return wheel.read(name).decode()


def test_the_wheel_holds_every_module_the_type_markers_and_the_licence(wheel):
    held = set(wheel.namelist())
    sources = {
        str(path.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).rglob("*.py")
    }
    assert sources <= held
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_the_wheel_holds_nothing_but_the_three_packages(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_brings_the_octavo_command(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "octavo = rag.apps.cli:main" in wheel.read(name).decode()


def test_the_base_install_needs_no_torch_and_nothing_under_the_agpl(wheel):
    needed = {
        re.split(r"[\s<>=;\[(]", line.removeprefix("Requires-Dist: "))[0].lower()
        for line in metadata(wheel).splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    }
    assert "onnxruntime" in needed
    assert not needed & {name.replace("_", "-") for name in OPTIONAL}


def test_optional_libraries_are_named_in_their_own_file_only():
    found: dict[str, set[str]] = {name: set() for name in OPTIONAL}
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for module in modules:
                top = module.partition(".")[0]
                if top in found:
                    found[top].add(str(path.relative_to(ROOT)))
    assert found == OPTIONAL
