"""What `pip install octavo` brings: the wheel's contents, and what it pulls in."""

from __future__ import annotations

import ast
import ctypes
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from rag.scoring import native

ROOT = Path(__file__).parents[2]
PACKAGES = ("rag", "ingestion", "eval")
# What the base install must do without, and the only files that may name it.
# Where each may be named: a file, or a folder whose files are imported when they are wanted.
OPTIONAL = {
    "pymupdf": {"rag/renderers/pymupdf_renderer.py"},
    "pdf2image": {"rag/renderers/pdf2image_renderer.py"},
    "torch": {
        "rag/scoring/maxsim_torch.py",
        "rag/scoring/resident_layout.py",
        "rag/scoring/torch_device.py",
        "rag/apps/vision_checks.py",
        "rag/encoders/",
        "rag/local_chat/",
        "rag/rerankers/",
        "rag/testing/",
        "eval/bench/",
    },
    "triton": {"rag/scoring/maxsim_triton.py", "eval/bench/"},
    "late_interaction_kernels": {"rag/scoring/maxsim_torch.py"},
    "colpali_engine": {"rag/encoders/", "rag/testing/"},
    "transformers": {"rag/encoders/", "rag/local_chat/", "rag/rerankers/", "rag/testing/"},
    "langchain_core": {"rag/langchain_adapter.py"},
    "langchain": set(),  # looked up by its name in rag/langchain_adapter.py
    "llguidance": {"rag/local_chat/"},
    "sentence_transformers": {
        "rag/encoders/dense_sentence.py",
        "rag/rerankers/cross_encoder.py",
        "rag/testing/",
    },
    "tesserocr": {"rag/ocr/tesseract.py"},
    "rapidocr": {"rag/ocr/rapid.py"},
    "cv2": {"rag/ocr/rapid.py"},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that no build folder is left behind or picked up; without what was built here."""
    folder = tmp_path_factory.mktemp("source")
    built = shutil.ignore_patterns("__pycache__", "*.so", "*.dylib", "*.dll")
    for name in (*PACKAGES, "native"):
        shutil.copytree(ROOT / name, folder / name, ignore=built)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-qq"]
    subprocess.run([*command, "-w", source / "dist", source], check=True, timeout=240)
    (built,) = (source / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def test_without_a_compiler_that_works_the_rest_is_installed_all_the_same(source, tmp_path):
    stand_in = tmp_path / "stand-in" / "ziglang"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").touch()
    (stand_in / "__main__.py").write_text("raise SystemExit(1)")
    copy = shutil.copytree(source, tmp_path / "copy")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-qq"]
    environ = {**os.environ, "PYTHONPATH": str(stand_in.parent)}
    subprocess.run([*command, "-w", tmp_path, copy], check=True, timeout=240, env=environ)
    (built,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(built).namelist()
    assert "rag/retrieve.py" in names
    assert not any("_octavo" in name for name in names)


@pytest.fixture(scope="module")
def sdist(source: Path) -> tarfile.TarFile:
    code = "from setuptools.build_meta import build_sdist; build_sdist('sdist')"
    subprocess.run(
        [sys.executable, "-c", code], cwd=source, check=True, timeout=120, capture_output=True
    )
    (built,) = (source / "sdist").glob("*.tar.gz")
    return tarfile.open(built)


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


def test_the_wheel_holds_the_data_that_the_code_reads(wheel):
    kept = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    data = {name for name in kept if not name.endswith(".py")}
    assert "rag/language/function_words.txt" in data
    # What was measured, for whoever works on Octavo.
    assert {name for name in data if not name.startswith("eval/history/")} <= set(wheel.namelist())


def test_the_wheel_holds_nothing_but_the_three_packages(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_is_of_this_platform_and_of_every_python_3(wheel):
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.filename is not None
    assert wheel.filename.endswith(f"-py3-none-{platform}.whl")
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL"))
    assert "Root-Is-Purelib: false" in wheel.read(name).decode()


def test_the_wheel_holds_kernels_that_load_and_no_source_of_them(wheel, tmp_path):
    held = set(wheel.namelist())
    assert f"rag/scoring/{native.PATH.name}" in held
    assert not [name for name in held if name.endswith((".c", ".h"))]
    wheel.extract(f"rag/scoring/{native.PATH.name}", tmp_path)
    loaded = ctypes.CDLL(str(tmp_path / "rag" / "scoring" / native.PATH.name))
    assert loaded.octavo_abi() == native._ABI


def test_the_source_distribution_holds_what_the_kernels_are_built_from(sdist):
    held = {name.partition("/")[2] for name in sdist.getnames()}
    sources = {f"native/{path.name}" for path in (ROOT / "native").iterdir()}
    assert sources | {"setup.py", "pyproject.toml", "MANIFEST.in"} <= held
    assert not [name for name in held if name.endswith((".so", ".dylib", ".dll"))]


def test_nothing_that_was_built_is_kept_in_the_repository():
    kept = subprocess.run(
        ["git", "ls-files", "*.so", "*.dylib", "*.dll"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert kept.stdout == ""


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


def test_optional_libraries_are_named_where_they_belong_only():
    astray = set()
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        place = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for top in (module.partition(".")[0] for module in modules):
                if top in OPTIONAL and not place.startswith(tuple(OPTIONAL[top])):
                    astray.add((top, place))
    assert not astray
