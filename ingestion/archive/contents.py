"""What an archive says of itself, in its last two members: `contents.json` and its digest.

An archive is an uncompressed tar: vectors do not compress, and a damaged one names the member.
Each document has `documents/NUMBER/document.json`, `pages-FIRST.npz` with a run of pages each, and
its file is `sources/SHA256.SUFFIX`. Everything that is read is listed with size and SHA-256;
whatever is not listed, is no regular file, or has a name that leads out, refuses the archive.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag.errors import DocumentError, NotFound

FORMAT = 1
CONTENTS, CONTENTS_DIGEST = "contents.json", "contents.sha256"
# Names as `write` gives them; no other is opened.
_MEMBER = re.compile(
    r"contents\.(json|sha256)|documents/\d{1,9}/(document\.json|pages-\d{1,9}\.npz)"
    r"|sources/[0-9a-f]{64}\.[a-z0-9]{1,8}"
)
_MOST_CONTENTS_BYTES = 256_000_000


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Said = TypeVar("Said", bound=_Said)


class Member(_Said):
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"[0-9a-f]{64}")


class SavedPage(_Said):
    """The small part of a page; the rest of it is in arrays."""

    page_number: int = Field(ge=1)
    state: str
    width_pt: float
    height_pt: float
    content_hash: str
    no_text: bool
    reason: str
    ocr: str | None
    caption: dict[str, Any] | None
    prior: float
    has_record: bool


class SavedRun(_Said):
    """Pages that follow each other, and the member that holds their arrays."""

    arrays: str
    pages: tuple[SavedPage, ...]


class SavedDocument(_Said):
    root: str
    source: str
    sha256: str = Field(pattern=r"[0-9a-f]{64}")
    file: str
    n_pages: int = Field(ge=1)
    state: str
    metadata: dict[str, Any]
    readers: tuple[str, ...]
    is_repaired: bool
    features: dict[str, Any]
    runs: tuple[SavedRun, ...]


class Contents(_Said):
    """`documents` names the `document.json` of each, `members` everything but the last two."""

    format: int
    program: str
    collection: str
    identity: dict[str, Any]
    created_at: float
    documents: tuple[str, ...]
    n_pages: int
    members: dict[str, Member]


def bad_archive(why: str, *, code: str = "bad_archive") -> DocumentError:
    return DocumentError(
        f"this archive cannot be imported: {why}",
        code=code,
        next_step="Export it again, or take another copy of it. Nothing was imported.",
    )


class Archive:
    """An archive opened for reading, its contents believed and its members checked when read."""

    def __init__(self, path: Path) -> None:
        """Reads the list of members.

        Raises:
            DocumentError: `bad_archive`, `unsafe_archive`, `archive_of_newer_program`.
            NotFound: `no_such_path`.
        """
        if not path.exists():
            raise NotFound(
                f"there is no file {path.name}",
                code="no_such_path",
                next_step="Check the spelling; a relative path starts at the current folder.",
            )
        if not path.is_file():  # a pipe would be waited for
            raise bad_archive("it is no file")
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115  # closed by `close`
        except (OSError, tarfile.TarError) as error:
            raise bad_archive("it is no tar file that can be read") from error
        try:
            self._infos = self._listed()
            self.contents = self._contents()
            self._require_complete()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._tar.close()

    @property
    def size_bytes(self) -> int:
        return sum(member.size_bytes for member in self.contents.members.values())

    def read(self, name: str) -> bytes:
        """A member, checked against its digest. Raises DocumentError `bad_archive`."""
        listed = self.contents.members.get(name)
        if listed is None:
            raise bad_archive(f"{name!r} is missing from it")
        data = self._read(name)
        if hashlib.sha256(data).hexdigest() != listed.sha256:
            raise bad_archive(f"{name!r} is damaged")
        return data

    def check(self) -> None:
        """Read every member. Raises DocumentError `bad_archive` for the first that is damaged."""
        for name in self.contents.members:
            self.read(name)

    def _listed(self) -> dict[str, tarfile.TarInfo]:
        infos: dict[str, tarfile.TarInfo] = {}
        try:
            for info in self._tar:
                if not info.isreg() or not _MEMBER.fullmatch(info.name):
                    raise bad_archive(
                        f"it holds {info.name[:100]!r}, which no export writes",
                        code="unsafe_archive",
                    )
                if info.name in infos:
                    raise bad_archive(f"it holds {info.name!r} twice", code="unsafe_archive")
                infos[info.name] = info
        except (OSError, tarfile.TarError) as error:
            raise bad_archive("it is cut short or damaged") from error
        return infos

    def _contents(self) -> Contents:
        for name in (CONTENTS, CONTENTS_DIGEST):
            if name not in self._infos:
                raise bad_archive(f"it has no {name}: it is cut short, or is something else")
        if self._infos[CONTENTS].size > _MOST_CONTENTS_BYTES:
            raise bad_archive(f"its {CONTENTS} is too large")
        said = self._read(CONTENTS)
        if hashlib.sha256(said).hexdigest().encode() != self._read(CONTENTS_DIGEST).strip():
            raise bad_archive(f"its {CONTENTS} is damaged")
        contents = parsed(Contents, said, CONTENTS)
        if contents.format > FORMAT:
            raise bad_archive(
                f"it was written by a newer program ({contents.program})",
                code="archive_of_newer_program",
            )
        return contents

    def _require_complete(self) -> None:
        held = {name: info.size for name, info in self._infos.items()}
        for name in (CONTENTS, CONTENTS_DIGEST):
            held.pop(name)
        wanted = {name: member.size_bytes for name, member in self.contents.members.items()}
        if held != wanted:
            names = sorted(
                name for name in held.keys() | wanted if held.get(name) != wanted.get(name)
            )
            raise bad_archive(f"{names[0]!r} is not as its list says")

    def _read(self, name: str) -> bytes:
        file = self._tar.extractfile(self._infos[name])
        assert file is not None  # a regular file
        try:
            return file.read()
        except (OSError, tarfile.TarError) as error:
            raise bad_archive(f"{name!r} cannot be read") from error


def parsed(kind: type[Said], text: bytes, name: str) -> Said:
    """Raises DocumentError `bad_archive`."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise bad_archive(f"{name!r} is not as this program writes it, at {where!r}") from error
