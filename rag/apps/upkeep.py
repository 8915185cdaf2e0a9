"""`verify` and `repair`: they come before the engine, which a damaged folder refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from rag import telemetry
from rag.apps.ownership import Connected, acquire_or_connect, folder_busy, read_owner
from rag.apps.service_base import ConnectionBase, ServiceBase
from rag.errors import NotFound
from rag.integrity.damage import Damage
from rag.integrity.last_verify import note_verified
from rag.integrity.places import is_data_folder
from rag.integrity.record_checks import RecordFindings, check_records
from rag.integrity.verify import Progress, Report, verify_folder
from rag.manifest import VersionState, is_replacement
from rag.manifest.accounts import AccountedVersion, ManifestAccounts
from rag.settings import Settings
from rag.types import Json

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset({"verify_records"})
_OWN_WITHIN_S = 2.5  # a search or another short command that has the folder is done by then


def _unheard(_what: str, _done: int, _whole: int) -> None:
    return


class UpkeepService(ServiceBase):
    """Here, on the engine."""

    def verify_records(self, *, deep: bool = True) -> Json:
        """What a folder that is in use holds; its files change while it is, and are not checked."""
        self._require_owner("verify")
        start = time.monotonic()
        report = Report()
        report.notes.append(
            "the folder is in use, so what it holds was checked and its files were not; run it "
            "again when nobody works in it"
        )
        accounts = ManifestAccounts.in_folder(self._engine.folder)
        try:
            for collection in accounts.all_collections():
                if is_replacement(collection.name):
                    continue  # its encoder is another, and whoever makes it is at work
                live = _live(accounts, collection.name)
                report.n_documents += len(live)
                report.n_pages += sum(version.n_pages for version in live)
                if deep and live:
                    found = self._checked(accounts, collection.name, live)
                    report.records[collection.name] = found
                    report.damage += found.damage
        finally:
            accounts.close()
        report.seconds = time.monotonic() - start
        return report.as_dict()

    def _checked(
        self, accounts: ManifestAccounts, name: str, live: list[AccountedVersion]
    ) -> RecordFindings:
        index = self._engine.page_index(name)
        found = check_records(name, live, index, look_for_foreign=False)
        if not found.damage:
            return found
        # What was replaced or deleted meanwhile is no damage: only what is there twice counts.
        doubtful = {damage.document_id for damage in found.damage}
        still = [each for each in _live(accounts, name) if each.document_id in doubtful]
        again = check_records(name, still, index, look_for_foreign=False)
        return RecordFindings(again.damage, again.wrong, n_records=found.n_records)


class UpkeepConnection(ConnectionBase):
    """The same, from wherever the engine is."""

    _command: str

    def verify(self, *, deep: bool = True, progress: Progress = _unheard) -> Json:
        """What is damaged, as `octavo verify --json` prints it. Needs no engine.

        Where another process, or this connection, has the folder open, its records are checked and
        its files are not.

        Raises:
            NotFound: `no_data_folder`.
        """
        _require_folder(self._settings)
        with self._owned_folder(wait_s=0.0) as is_ours:
            if is_ours:
                found = _verified(self._settings, deep, progress).as_dict()
                _note(self._settings, found, deep)
                return found
        return self._call("verify_records", deep=deep)

    def repair(self, *, dry_run: bool = False, progress: Progress = _unheard) -> Json:
        """Restore what is damaged, as `octavo repair --json` prints it.

        Raises:
            NotFound: `no_data_folder`.
            DataFolderBusy: another process, or this connection, has the folder open.
        """
        _require_folder(self._settings)
        with self._owned_folder(wait_s=_OWN_WITHIN_S) as is_ours:
            if not is_ours:
                raise folder_busy(
                    read_owner(self._settings.store.data_dir),
                    doing="which is at work in it",
                    next_step="Stop it or wait until it is done, then run the command again.",
                )
            before = _verified(self._settings, True, progress)
            if dry_run:
                return {"dry_run": True, **before.as_dict()}
            with telemetry.span("repair", damaged=len(before.damage)):
                return _repaired(self._settings, before, progress)

    @contextmanager
    def _owned_folder(self, *, wait_s: float) -> Iterator[bool]:
        """Whether this process has the folder, and no engine in it."""
        folder = self._settings.store.data_dir
        deadline = time.monotonic() + wait_s
        while True:
            held = acquire_or_connect(folder, self._command)
            if not isinstance(held, Connected):
                with held:
                    yield True
                return
            if time.monotonic() >= deadline:
                yield False
                return
            time.sleep(0.1)


def _require_folder(settings: Settings) -> None:
    """Nothing is written into a folder that is somebody else's, and nothing said of it."""
    if not is_data_folder(settings.store.data_dir):
        raise NotFound(
            "there is no data folder",
            code="no_data_folder",
            next_step="Name it with --data-dir, or ingest something first.",
        )


def _live(accounts: ManifestAccounts, name: str) -> list[AccountedVersion]:
    return [each for each in accounts.all_versions(name) if each.state is VersionState.LIVE]


def _note(settings: Settings, found: Json, deep: bool) -> None:
    note_verified(
        settings.store.data_dir, ok=found["ok"], n_damaged=len(found["damage"]), deep=deep
    )


def _verified(settings: Settings, deep: bool, progress: Progress) -> Report:
    from rag.wiring import upkeep_index

    folder = settings.store.data_dir
    return verify_folder(folder, partial(upkeep_index, settings), deep=deep, progress=progress)


def _repaired(settings: Settings, before: Report, progress: Progress) -> Json:
    from ingestion.repair import RecordMender, mend_files, mend_sources
    from rag.wiring import Engine

    folder = settings.store.data_dir
    done = mend_files(folder, before)
    mend_sources(folder, done)
    with Engine(settings) as engine:
        mender = RecordMender(engine, done, progress)
        try:
            mender.mend_all()
        finally:
            mender.close()
    after = _verified(settings, True, progress)
    done.left += _not_told(after.damage, done.left)
    return {
        "ok": not done.left,
        "found": [each.as_dict() for each in before.damage],
        **done.as_dict(),
        "checked": after.as_dict()["checked"],
    }


def _not_told(found: list[Damage], told: list[Damage]) -> list[Damage]:
    """What a second look still finds, but for what the first try has said already."""
    named = {(each.collection, each.document_id, each.path) for each in told}
    return [each for each in found if (each.collection, each.document_id, each.path) not in named]
