"""A data folder read from end to end, and everything named that is not as it was written.

It works on folders that cannot be opened: each part is looked at as far as the parts below it are
whole. Nothing is changed but what an embedded index changes of its own files when it is opened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import IndexMismatch, IndexUnavailable, PackDamaged, RagError
from rag.integrity import file_checks
from rag.integrity.damage import Damage, mended_by
from rag.integrity.file_checks import HeldInventory, Left
from rag.integrity.inventory import Inventory, take_file, take_files
from rag.integrity.places import (
    COLLECTIONS,
    FDE,
    INDEX,
    INVENTORY,
    MANIFEST,
    PACK,
    SOURCES,
    TUNING,
    Kind,
    collection_folder,
    kind_of,
)
from rag.integrity.record_checks import RecordFindings, check_records
from rag.manifest import VersionState, is_dropped
from rag.manifest.accounts import AccountedCollection, AccountedVersion, ManifestAccounts
from rag.page_pack import PackSpec, PagePack
from rag.ports import IndexSpec, PageIndex
from rag.scoring.fde import FdeEncoder
from rag.tuned import read_tuning
from rag.types import Json

# (what is being read, how much of it is done, how much there is)
Progress = Callable[[str, int, int], None]
OpenIndex = Callable[[Path, IndexSpec], PageIndex]


@dataclass
class Report:
    """What was looked at and what was found.

    Attributes:
        records: findings by collection, of those whose index could be read.
        unreadable: collections whose index could not.
        unknown: files that nobody knows, which is no damage.
        are_files_checked: False where there was no inventory to hold them to.
    """

    damage: list[Damage] = field(default_factory=list)
    records: dict[str, RecordFindings] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    are_files_checked: bool = False
    n_files: int = 0
    n_bytes: int = 0
    n_documents: int = 0
    n_pages: int = 0
    seconds: float = 0.0

    @property
    def n_records(self) -> int:
        return sum(each.n_records for each in self.records.values())

    def damaged_below(self, path: str) -> bool:
        return any(
            each.path is not None and (each.path == path or each.path.startswith(f"{path}/"))
            for each in self.damage
        )

    def as_dict(self) -> Json:
        return {
            "ok": not self.damage,
            "checked": {
                "files": self.n_files,
                "bytes": self.n_bytes,
                "documents": self.n_documents,
                "pages": self.n_pages,
                "records": self.n_records,
                "seconds": round(self.seconds, 3),
            },
            "files_checked": self.are_files_checked,
            "damage": [each.as_dict() for each in self.damage],
            "unknown_files": self.unknown,
            "notes": self.notes,
        }


_UNCHECKED = {
    Left.OPEN: "the folder was not closed when it was last used, so its files could not be held to "
    "an inventory; what they hold was",
    Left.UNKNOWN: "the folder has no inventory yet, so its files could not be held to one; what "
    "they hold was. It gets one when it is next opened and closed",
}


def verify_folder(
    folder: Path,
    open_index: OpenIndex,
    *,
    deep: bool = True,
    progress: Progress = lambda _what, _done, _whole: None,
) -> Report:
    """Everything below a data folder that nobody else has open.

    Args:
        folder: the caller holds its lock.
        open_index: the index in a collection's folder.
        deep: also what the files hold: records, vectors, packed pages.
        progress: hears of what was read.

    Raises:
        RagError: the manifest is of a newer program.
    """
    start = time.monotonic()
    report = Report()
    held = file_checks.held_inventory(folder)
    _check_inventory(folder, held, report, progress)
    manifest = [] if report.damaged_below(MANIFEST) else file_checks.check_manifest(folder)
    if held.left is Left.UNKNOWN and not (folder / COLLECTIONS).exists():
        manifest = []  # nothing was ever put into it
    report.damage += manifest
    is_readable = not manifest and not report.damaged_below(MANIFEST)
    if is_readable and (folder / MANIFEST).exists():
        accounts = ManifestAccounts.in_folder(folder)
        try:
            touched = _check_contents(folder, accounts, open_index, report, deep, progress)
        finally:
            accounts.close()
        if held.inventory is not None:
            _refresh(folder, held.inventory, touched)
    report.seconds = time.monotonic() - start
    return report


# --- files --------------------------------------------------------------------------------------
def _check_inventory(folder: Path, held: HeldInventory, report: Report, progress: Progress) -> None:
    if held.inventory is None:
        if held.left in (Left.UNREADABLE, Left.MISSING):
            make = file_checks.missing_file
            if held.left is Left.UNREADABLE:
                make = file_checks.changed_file
            report.damage.append(make(INVENTORY))
            report.notes.append(
                "without its inventory the files could not be checked; what they hold was"
            )
        else:
            report.notes.append(_UNCHECKED[held.left])
        known: Iterable[str] = ()
    else:
        inventory = held.inventory
        whole = sum(entry.size_bytes for entry in inventory.files.values())
        done = 0

        def tell(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            progress("bytes", done, whole)

        report.damage += file_checks.check_files(folder, inventory, tell)
        report.are_files_checked = True
        report.n_files, report.n_bytes = len(inventory.files), whole
        report.unknown = file_checks.unlisted(folder, inventory)
        known = inventory.files
    report.damage += file_checks.check_unlisted_sources(folder, known)


# --- what they hold -----------------------------------------------------------------------------
def _check_contents(
    folder: Path,
    accounts: ManifestAccounts,
    open_index: OpenIndex,
    report: Report,
    deep: bool,
    progress: Progress,
) -> list[str]:
    """Returns the folders of the collections whose index was opened."""
    there = {path.stem for path in (folder / SOURCES).glob("??/*")}
    touched: list[str] = []
    for collection in accounts.all_collections():
        if is_dropped(collection.name):
            continue  # whoever opens the folder next deletes what is left of it
        versions = list(accounts.all_versions(collection.name))
        live = [each for each in versions if each.state is VersionState.LIVE]
        report.n_documents += len(live)
        report.n_pages += sum(each.n_pages for each in live)
        report.damage += missing_sources(live, there, report)
        at = f"{COLLECTIONS}/{collection.folder}"
        if deep and not report.damaged_below(f"{at}/{INDEX}"):
            touched.append(at)
            _check_collection(folder, collection, versions, open_index, report, progress)
        if not report.damaged_below(f"{at}/{TUNING}"):
            _check_tuning(folder, collection, report)
    used = accounts.used_bytes()
    report.unknown += [
        str(path.relative_to(folder))
        for path in sorted((folder / SOURCES).glob("??/*"))
        if path.stem not in used and not path.name.startswith(".part-")
    ]
    report.unknown = sorted(set(report.unknown))
    return touched


def missing_sources(
    live: Iterable[AccountedVersion], there: set[str], report: Report
) -> list[Damage]:
    """Documents whose kept file is gone, where no file was named for it."""
    named = {
        (each.path or "").rpartition("/")[2].partition(".")[0]
        for each in report.damage
        if kind_of(each.path or "") is Kind.SOURCE
    }
    return [
        Damage(
            "missing_source",
            f"the kept file of {version.source} is gone",
            mended_by(Kind.SOURCE),
            collection=version.collection,
            document_id=version.document_id,
            source=version.source,
        )
        for version in live
        if version.sha256 not in there and version.sha256 not in named
    ]


def _check_collection(
    folder: Path,
    collection: AccountedCollection,
    versions: list[AccountedVersion],
    open_index: OpenIndex,
    report: Report,
    progress: Progress,
) -> None:
    at = f"{COLLECTIONS}/{collection.folder}"
    fde = _check_matrices(folder, collection, report)
    if fde is None:
        return  # it was said, or nothing was ever put in; the index has a size that they tell
    whole = sum(len(each.pages) for each in versions)
    done = 0

    def tell(n_pages: int) -> None:
        nonlocal done
        done += n_pages
        progress("pages", done, whole)

    identity = collection.identity
    spec = IndexSpec(
        int(identity.get("dim", 0)),
        int(identity.get("dense_dim", 0)),
        fde.spec.fde_size,
    )
    try:
        index = open_index(folder / at, spec)
    except (IndexUnavailable, IndexMismatch) as error:
        _note_unreadable(collection, at, error, report)
        return
    try:
        found = check_records(collection.name, versions, index, tell)
        report.records[collection.name] = found
        report.damage += found.damage
        if not report.damaged_below(f"{at}/{PACK}"):
            report.damage += _check_pack(folder / at / PACK, at, spec, fde, index)
    except IndexUnavailable as error:
        _note_unreadable(collection, at, error, report)
    finally:
        index.close()


def _note_unreadable(
    collection: AccountedCollection, at: str, error: RagError, report: Report
) -> None:
    report.unreadable[collection.name] = error.message
    report.damage.append(
        Damage(
            "unreadable_index",
            f"the index of collection {collection.name} cannot be read: {error.message}",
            "`octavo repair` encodes the collection's pages again.",
            path=f"{at}/{INDEX}",
            collection=collection.name,
        )
    )


def _check_matrices(
    folder: Path, collection: AccountedCollection, report: Report
) -> FdeEncoder | None:
    """The FDE matrices, where they are those that the collection was made with."""
    path = f"{COLLECTIONS}/{collection.folder}/{FDE}"
    wanted = collection.identity.get("fde")
    try:
        fde = FdeEncoder.load(folder / path)
    except RagError as error:
        if not report.damaged_below(path) and (folder / path).parent.exists():
            report.damage.append(
                Damage(
                    "wrong_matrices",
                    error.message,
                    mended_by(Kind.FDE),
                    path=path,
                    collection=collection.name,
                )
            )
        return None
    if wanted is not None and fde.fingerprint != wanted:
        report.damage.append(
            Damage(
                "wrong_matrices",
                f"{path} holds other matrices than the collection was made with",
                mended_by(Kind.FDE),
                path=path,
                collection=collection.name,
            )
        )
        return None
    return fde


def _check_pack(
    folder: Path, at: str, spec: IndexSpec, fde: FdeEncoder, index: PageIndex
) -> list[Damage]:
    """Checksums of what is packed, and whether it is what the index has."""
    said = ""
    try:
        if (folder / "header.json").exists():
            with PagePack.open(folder, PackSpec(spec.dim, spec.fde_size, fde.fingerprint)) as pack:
                damaged = pack.verify().damaged
                surplus = pack.ids().difference(index.ids())
            if damaged:
                said = f"{len(damaged)} packed pages have another checksum"
            elif surplus:
                said = f"{len(surplus)} packed pages are none of the index"
    except (PackDamaged, IndexMismatch) as error:
        said = error.message
    if not said:
        return []
    return [
        Damage(
            "damaged_pack",
            f"{at}/{PACK}: {said}",
            mended_by(Kind.PACK),
            path=f"{at}/{PACK}",
            collection=collection_folder(f"{at}/{PACK}"),
        )
    ]


def _check_tuning(folder: Path, collection: AccountedCollection, report: Report) -> None:
    path = f"{COLLECTIONS}/{collection.folder}/{TUNING}"
    try:
        read_tuning(folder / path)
    except RagError as error:
        report.damage.append(
            Damage(
                "bad_tuning",
                error.message,
                mended_by(Kind.TUNING),
                path=path,
                collection=collection.name,
            )
        )


def _refresh(folder: Path, inventory: Inventory, touched: list[str]) -> None:
    """What was found whole and changed when it was opened: an index touches its own files, and an
    older manifest is brought up to date.
    """
    before = inventory
    for at in touched:
        for below in (f"{at}/{INDEX}", f"{at}/{PACK}"):
            files = take_files(folder, inventory, below=below)
            inventory = inventory.with_files(files, below=below)
    manifest = take_file(folder, inventory, MANIFEST)
    inventory = Inventory(
        {**inventory.files, MANIFEST: manifest}, inventory.folders, inventory.verified
    )
    if inventory != before:
        inventory.save(folder / INVENTORY)
