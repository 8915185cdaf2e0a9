"""Builds native/ with the C compiler of the `ziglang` wheel, so that nobody needs one of their own.

The library is plain C behind ctypes: it fits every Python of a platform, and one file holds all
instruction sets (docs/adr/0013). Where it cannot be built, numpy does its work and `octavo doctor`
says so. All other facts of the project are in pyproject.toml.
"""

import platform
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).parent
# Old enough for every system that the other dependencies have wheels for.
TARGETS = {
    ("linux", "x86_64"): "x86_64-linux-gnu.2.17",
    ("linux", "aarch64"): "aarch64-linux-gnu.2.17",
    ("darwin", "x86_64"): "x86_64-macos.11.0",
    ("darwin", "arm64"): "aarch64-macos.11.0",
}
FLAGS = (
    "-std=gnu11 -O3 -ffp-contract=fast -fno-math-errno -mcpu=baseline -Wall -Wextra -Werror "
    "-Wno-psabi -shared -fPIC -fvisibility=hidden -s"
).split()


class BuildNative(build_ext):
    """Compiles one shared library instead of a Python module."""

    def get_ext_filename(self, fullname: str) -> str:
        suffix = ".dylib" if sys.platform == "darwin" else ".so"
        return str(Path(*fullname.split(".")).with_suffix("")) + suffix

    def build_extension(self, ext: Extension) -> None:
        out = Path(self.get_ext_fullpath(ext.name)).absolute()
        out.parent.mkdir(parents=True, exist_ok=True)
        target = TARGETS[sys.platform, platform.machine()]
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *FLAGS]
        try:
            subprocess.run(
                [*command, "-o", out, ROOT / ext.sources[0], "-lpthread", "-lm"],
                check=True,
                cwd=ROOT,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            # What an optional extension may fail with: the rest is installed all the same.
            raise CompileError(f"the kernels were not built: {error}") from error

    def get_source_files(self) -> list[str]:
        return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "native").glob("*.[ch]"))

    def get_outputs(self) -> list[str]:
        return [self.get_ext_fullpath(extension.name) for extension in self.extensions]


class PlatformWheel(bdist_wheel):
    """Of one platform, and of every Python 3: the library knows nothing of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform_tag = super().get_tag()
        return "py3", "none", platform_tag


setup(
    # On other platforms there is nothing to build.
    ext_modules=[Extension("rag.scoring._octavo", ["native/octavo.c"], optional=True)]
    if (sys.platform, platform.machine()) in TARGETS
    else [],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": PlatformWheel},
)
