"""Where a number comes from: the commit, the machine, the settings. Without them it is a rumour."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def config_hash(config: Mapping[str, Any]) -> str:
    """Twelve hex digits; equal for equal settings in any order. Values as JSON knows them."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def commit() -> str:
    """The commit this code was run from, "+changes" where it was edited since; "" if not in git."""
    folder = Path(__file__).parent
    try:
        found = _git(folder, "rev-parse", "HEAD")
        # Files of the project only: an installed copy may lie in somebody else's repository.
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{found[:12]}{'+changes' if changed else ''}"


def code_version() -> str:
    """What must be equal for old results to stand for new ones; "" where nothing says so: code that
    was edited since its commit.
    """
    try:
        at = commit() or version("octavo")
    except PackageNotFoundError:
        return ""
    return "" if at.endswith("+changes") else at


def machine() -> dict[str, Any]:
    """The processor's model and how many cores this process may use."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux: the platform's word has to do
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
