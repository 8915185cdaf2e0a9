"""Which files a local folder holds, as one digest: the revision of a model that no hub names."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from pathlib import Path

from platformdirs import user_cache_path

from rag.encoders.hub import wanted_files


def folder_digest(folder: Path, *, code: bool = False) -> str:
    """SHA-256 over the names and bytes of all files that are read at load.

    Gigabytes take seconds: remembered until a file's size or time of change differs.
    """
    wanted = wanted_files(code=code)
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and any(fnmatch.fnmatch(path.name, pattern) for pattern in wanted)
    )
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    seen = hashlib.sha256(repr((str(folder.resolve()), stats)).encode()).hexdigest()
    kept = user_cache_path("octavo", appauthor=False) / "checkpoints" / seen
    try:
        return kept.read_text(encoding="ascii")
    except OSError:
        pass
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            whole.update(
                path.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest()
            )
    digest = whole.hexdigest()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_text(digest, encoding="ascii")
        part.replace(kept)
    except OSError:
        pass  # a cache: without it the files are read again next time
    return digest
