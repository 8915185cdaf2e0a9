"""The records of a collection, and what is packed of them, held to what the manifest says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rag.filters import Condition, Filter
from rag.index.digest import vectors_digest
from rag.integrity.damage import Damage
from rag.manifest import VersionState
from rag.manifest.accounts import AccountedPage, AccountedVersion
from rag.ports import PageIndex
from rag.types import Json, PageRecord, SparseVector

Tell = Callable[[int], None]  # hears of pages that were looked at
_BATCH_RECORDS = 64
_ENCODED_AGAIN = "`octavo repair` encodes the pages again."


@dataclass
class RecordFindings:
    """What is wrong with a collection's records.

    Attributes:
        wrong: by version id, record ids whose record is missing or not what was written.
        foreign: records that no version of the manifest names, by the version they name.
        is_misfiled: the store's own filters do not find what it holds.
        n_records: that were read.
    """

    damage: list[Damage] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    foreign: dict[str, list[str]] = field(default_factory=dict)
    is_misfiled: bool = False
    n_records: int = 0


def check_records(
    name: str,
    versions: Iterable[AccountedVersion],
    index: PageIndex,
    tell: Tell = lambda _: None,
    *,
    look_for_foreign: bool = True,
) -> RecordFindings:
    """Read every record of a collection.

    Args:
        name: of the collection.
        versions: all of it.
        index: its own; nobody writes to it meanwhile.
        tell: hears of pages as they are done.
        look_for_foreign: also say what belongs to none of the versions.

    Raises:
        BackendError: the index cannot be read.
    """
    found = RecordFindings()
    there = set(index.ids())
    for version in versions:
        named = version.record_ids
        if version.state is not VersionState.RETIRED:  # those may be deleted in part
            _check_version(version, named, there, index, found)
        there.difference_update(named)
        tell(len(version.pages))
    if look_for_foreign:
        _note_foreign(name, sorted(there), index, found)
    return found


def _check_version(
    version: AccountedVersion,
    named: dict[str, AccountedPage],
    there: set[str],
    index: PageIndex,
    found: RecordFindings,
) -> None:
    if version.state is VersionState.LIVE and len(version.pages) != version.n_pages:
        missing = set(range(1, version.n_pages + 1)) - {p.page_number for p in version.pages}
        found.damage.append(
            _of_version(
                version,
                "missing_pages",
                sorted(missing),
                "the manifest has no row for",
                "Ingest the document again with --force.",
            )
        )
    lost = [record_id for record_id in named if record_id not in there]
    wrong: dict[str, list[str]] = {"missing_record": lost}
    held = [record_id for record_id in named if record_id in there]
    for start in range(0, len(held), _BATCH_RECORDS):
        for record in index.records(held[start : start + _BATCH_RECORDS]):
            found.n_records += 1
            kind = _wrong(record, version, named[record.record_id])
            if kind is not None:
                wrong.setdefault(kind, []).append(record.record_id)
    for kind, record_ids in wrong.items():
        if record_ids:
            numbers = sorted(named[each].page_number for each in record_ids)
            found.damage.append(_of_version(version, kind, numbers, _SAID[kind], _ENCODED_AGAIN))
            found.wrong.setdefault(version.version_id, []).extend(record_ids)
    of_version = Filter(must=(Condition("version_id", "$eq", version.version_id),))
    if not any(wrong.values()) and index.count(of_version) != len(named):
        found.is_misfiled = True
        found.damage.append(
            _of_version(
                version,
                "misfiled_records",
                [page.page_number for page in named.values()],
                "a filter of the index does not find",
                _ENCODED_AGAIN,
            )
        )


_SAID = {
    "missing_record": "the index has no record of",
    "wrong_payload": "the index says what the manifest does not of",
    "wrong_vectors": "the index has other vectors than were written of",
}


def _wrong(record: PageRecord, version: AccountedVersion, page: AccountedPage) -> str | None:
    if version.is_stamped and not _has_payload(record.payload, version, page.page_number):
        return "wrong_payload"
    if page.vectors_digest is not None:
        return None if vectors_digest(record) == page.vectors_digest else "wrong_vectors"
    return None if _is_plausible(record) else "wrong_vectors"


def payload_of(version: AccountedVersion, page_number: int) -> Json:
    """What the record of a page says beside its vectors."""
    return {
        "document_id": version.document_id,
        "version_id": version.version_id,
        "page_number": page_number,
        "source": version.source,
        "metadata": version.metadata,
        "readers": list(version.readers),
    }


def _has_payload(payload: Json, version: AccountedVersion, page_number: int) -> bool:
    return all(payload.get(key) == value for key, value in payload_of(version, page_number).items())


def _is_plausible(record: PageRecord) -> bool:
    """Of a record from before digests were kept: finite values, and no row of zeros."""
    for vector in record.vectors.values():
        values = vector.values if isinstance(vector, SparseVector) else vector
        if not len(values) or not np.isfinite(values).all():
            return False
        if not isinstance(vector, SparseVector) and not np.linalg.norm(vector, axis=-1).all():
            return False
    return True


def _of_version(
    version: AccountedVersion, kind: str, numbers: Sequence[int], what: str, repair: str
) -> Damage:
    pages = f"page {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} pages"
    return Damage(
        kind,
        f"{what} {pages} of {version.source}",
        repair,
        collection=version.collection,
        document_id=version.document_id,
        source=version.source,
        pages=tuple(numbers),
    )


def _note_foreign(
    name: str, record_ids: list[str], index: PageIndex, found: RecordFindings
) -> None:
    for start in range(0, len(record_ids), _BATCH_RECORDS):
        payloads = index.payloads(record_ids[start : start + _BATCH_RECORDS])
        for record_id, payload in payloads.items():
            of_version = str((payload or {}).get("version_id", ""))
            found.foreign.setdefault(of_version, []).append(record_id)
    for version_id, those in found.foreign.items():
        found.damage.append(
            Damage(
                "foreign_record",
                f"{len(those)} records in the index of {name} are of version {version_id!r}, "
                "which the manifest does not know",
                "`octavo repair` sets them aside.",
                collection=name,
            )
        )
