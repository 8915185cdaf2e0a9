"""What is wrong with a data folder, a finding at a time, as people and programs are told."""

from __future__ import annotations

from dataclasses import dataclass

from rag.integrity.places import Kind
from rag.types import Json

_MENDED_BY = {
    Kind.MANIFEST: "`octavo repair` takes the copy of when the folder was last closed.",
    Kind.MANIFEST_COPY: "It is copied again when the folder is next closed.",
    Kind.INVENTORY: "`octavo repair` reads everything and writes it anew.",
    Kind.SOURCE: "`octavo repair` copies it again from where it was ingested, if it is there.",
    Kind.INDEX: "`octavo repair` puts the file back, or encodes the collection's pages again.",
    Kind.FDE: "`octavo repair` draws the matrices again.",
    Kind.TUNING: "`octavo repair` puts it back; or run `octavo tune` again.",
    Kind.PACK: "`octavo repair`, or the next search, packs the pages again.",
    Kind.IMAGE: "It is rendered again when it is next wanted.",
    Kind.OCR: "The page is read again when it is next ingested.",
    Kind.OTHER: "`octavo repair` sets it aside.",
}


@dataclass(frozen=True)
class Damage:
    """One finding.

    Attributes:
        kind: a stable name, such as `missing_file`, `changed_file`, `wrong_vectors`.
        path: of a file, below the data folder.
        pages: by number.
        repair: what mends it.
    """

    kind: str
    message: str
    repair: str
    path: str | None = None
    collection: str | None = None
    document_id: str | None = None
    source: str | None = None
    pages: tuple[int, ...] = ()

    def as_dict(self) -> Json:
        return {
            "kind": self.kind,
            "path": self.path,
            "collection": self.collection,
            "document_id": self.document_id,
            "source": self.source,
            "pages": list(self.pages),
            "message": self.message,
            "repair": self.repair,
        }


def mended_by(kind: Kind) -> str:
    return _MENDED_BY[kind]
