"""Pages as pictures beside a run: drawn once, kept as `pages/*.webp`, read back by a report.

What stands in a run folder may come from anywhere, so only files of the form written here are
read, and only where they hold a picture.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image, UnidentifiedImageError

from eval.datasets.folder import PageKey
from eval.runs import read_json, write_atomically
from rag.errors import InputError, RagError
from rag.types import Json

PICTURES_FILE = "pages.json"
FOLDER = "pages"
WIDTH_PX = 640
MOST_BYTES = 15_000_000  # of pictures in one report
_FILE = re.compile(r"[0-9a-f]{24}\.webp")
_MOST_FILE_BYTES, _MOST_SIDE_PX = 4_000_000, 4_000
_QUALITY = 62
# Width and quality, tried in this order until all pictures fit.
_SMALLER = ((480, 55), (360, 50), (240, 45))

BoxPt = tuple[float, float, float, float]


class Draw(Protocol):
    """Draws a page of the collection a run searched."""

    def __call__(
        self,
        doc: str,
        page_number: int,
        query_text: str | None,
        boxes: Sequence[BoxPt],
        width_px: int,
        /,
    ) -> bytes:
        """A PNG of this width: under the heat map of a question, or with boxes (page points) on it.

        Raises:
            RagError: the page cannot be had.
        """


@dataclass(frozen=True)
class Wanted:
    """A picture of a page: plain, under the heat of a question, or with boxes marked.

    Attributes:
        of: what the picture depends on beside these: the documents, and for heat the settings.
        part: of a run over several datasets, the one that has the page.
    """

    page: PageKey
    of: str
    query_text: str | None = None
    boxes: tuple[BoxPt, ...] = ()
    part: str = ""

    @property
    def file(self) -> str:
        said = json.dumps([self.of, *self.page, self.query_text, self.boxes])
        return f"{hashlib.sha256(said.encode()).hexdigest()[:24]}.webp"


@dataclass(frozen=True)
class Embedded:
    """A picture inside a report."""

    uri: str
    width_px: int
    height_px: int


def write_pictures(
    folder: Path, wanted: Iterable[Wanted], draw: Draw, *, width_px: int = WIDTH_PX
) -> dict[str, int]:
    """Draw into `pages/` of a run folder, and list in `pages.json` what lies there.

    What is there is not drawn again: its name says all that a picture depends on.

    Returns:
        Why pictures could not be drawn, each with how many.
    """
    pages = folder / FOLDER
    pages.mkdir(exist_ok=True)
    kept = {str(row["file"]): row for row in _listed(folder)}
    failed: dict[str, int] = {}
    for each in dict.fromkeys(wanted):
        if each.file in kept and (pages / each.file).is_file():
            continue
        try:
            png = draw(*each.page, each.query_text, each.boxes, width_px)
        except RagError as error:
            failed[error.message] = failed.get(error.message, 0) + 1
            continue
        with Image.open(io.BytesIO(png)) as image:
            content, size = _webp(image, image.width, _QUALITY), image.size
        (pages / each.file).write_bytes(content)
        kept[each.file] = {
            "file": each.file,
            "doc": each.page.doc,
            "page": each.page.page_number,
            "query": each.query_text,
            "boxes": [list(box) for box in each.boxes],
            "width_px": size[0],
            "height_px": size[1],
        }
    rows = [kept[name] for name in sorted(kept)]
    write_atomically(
        folder / PICTURES_FILE, json.dumps({"pictures": rows}, indent=1, ensure_ascii=True)
    )
    return failed


def kept_pictures(folders: Sequence[Path]) -> dict[str, Path]:
    """File name to where it lies, of all pictures that these run folders list and hold."""
    found: dict[str, Path] = {}
    for folder in folders:
        for row in _listed(folder):
            path = folder / FOLDER / str(row["file"])
            if path.is_file() and not path.is_symlink():
                found.setdefault(path.name, path)
    return found


def embed(
    files: Sequence[str], kept: Mapping[str, Path], *, most_bytes: int = MOST_BYTES
) -> tuple[dict[str, Embedded], str]:
    """Pictures as data: URIs, together below the limit.

    Args:
        files: wanted, the most important first.
        kept: where they lie.
        most_bytes: of all URIs together.

    Returns:
        By file name, and what had to be done to keep the limit; "" where nothing.
    """
    raw = {name: kept[name].read_bytes() for name in dict.fromkeys(files) if _is_small(kept, name)}
    raw = {name: content for name, content in raw.items() if _is_picture(content)}
    said = ""
    for width_px, quality in _SMALLER:
        if _uri_bytes(raw.values()) <= most_bytes:
            break
        raw = {name: _shrunk(content, width_px, quality) for name, content in raw.items()}
        said = f"Pictures are at most {width_px} pixels wide, so that the report stays small."
    embedded: dict[str, Embedded] = {}
    used = 0
    for name, content in raw.items():
        uri = f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}"
        used += len(uri)
        if used > most_bytes:
            left_out = len(raw) - len(embedded)
            said = f"{said} {left_out} of {len(raw)} pictures are left out for the same reason."
            break
        with Image.open(io.BytesIO(content)) as image:
            embedded[name] = Embedded(uri, *image.size)
    return embedded, said.strip()


def _listed(folder: Path) -> list[Json]:
    """Rows of pages.json that name a file of ours; none of a folder without."""
    path = folder / PICTURES_FILE
    if not path.exists():
        return []
    rows = read_json(path).get("pictures")
    if not isinstance(rows, list):
        raise InputError(
            f"{folder.name}/{PICTURES_FILE} wants a list of pictures",
            next_step="Delete it, and make the report again with --data-dir.",
        )
    return [row for row in rows if isinstance(row, dict) and _FILE.fullmatch(str(row.get("file")))]


def _is_small(kept: Mapping[str, Path], name: str) -> bool:
    return name in kept and kept[name].stat().st_size <= _MOST_FILE_BYTES


def _is_picture(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
            if max(image.size) > _MOST_SIDE_PX:
                return False
            image.load()
    except (UnidentifiedImageError, OSError, ValueError):
        return False
    return True


def _shrunk(content: bytes, width_px: int, quality: int) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        return _webp(image, min(width_px, image.width), quality)


def _webp(image: Image.Image, width_px: int, quality: int) -> bytes:
    size = (width_px, max(1, round(image.height * width_px / image.width)))
    plain = image.convert("RGB")
    if plain.size != size:
        plain = plain.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    plain.save(stream, format="WEBP", quality=quality, method=4)
    return stream.getvalue()


def _uri_bytes(contents: Iterable[bytes]) -> int:
    return sum(len(content) * 4 // 3 + 30 for content in contents)
