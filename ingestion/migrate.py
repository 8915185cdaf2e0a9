"""A collection made again by another encoder from the files it keeps, then switched.

Searches go on in the old one until the switch, which is one transaction. Stopped half way, it goes
on where it stopped; what fails keeps the collection as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import groupby

from ingestion.caption import PageDescriber
from ingestion.embed import Embedder
from ingestion.events import OnEvent, Totals
from ingestion.run import IngestOptions, Ingestor, KeptFile
from rag.manifest import Document, Incoming, replacement_name
from rag.types import Json, Principal
from rag.wiring import Engine

# Documents can be deleted meanwhile, and no others come: this process owns the folder.
_ROUNDS = 3


def migrate(
    old: Engine,
    new: Engine,
    principal: Principal,
    collection: str,
    *,
    password: str | None = None,
    on_event: OnEvent = lambda _: None,
) -> Json:
    """Encode every live document again with the settings of `new`, then switch.

    Args:
        old: with the settings the collection was made with; it may answer searches meanwhile.
        new: on the same data folder.
        principal: the owner of the data folder.
        collection: its name.
        password: opens protected files, whose passwords are not kept.
        on_event: as `Ingestor.ingest` calls it, a document at a time.

    Returns:
        Totals as an ingest's, with `switched` and what the collection was and is encoded by.

    Raises:
        NotFound: `unknown_collection`.
        IndexMismatch: the collection was not made with the settings of `old`.
        InputError: `same_encoder`.
    """
    old.reader(principal, collection)  # it is there, and is what its settings say
    new.replacement_writer(principal, collection)
    totals: Json = {}
    switched = False
    for _ in range(_ROUNDS):
        waiting = new.repository.unmoved(collection)
        totals = _reencode(new, collection, waiting, password, on_event, totals)
        if set(totals["documents"]) & {"failed", "refused"}:
            break
        switched = new.repository.replace_collection(principal, collection)
        if switched:
            new.keep_tuning(collection, None)
            break
    return {
        **totals,
        "event": "migrated",
        "collection": collection,
        "switched": switched,
        "encoder_before": str(old.encoder.identity),
    }


def _reencode(
    new: Engine,
    collection: str,
    waiting: list[Document],
    password: str | None,
    on_event: OnEvent,
    totals: Json,
) -> Json:
    """One round; its totals added to those of the rounds before."""
    by_ingester = sorted(waiting, key=lambda document: (document.ingested_by, document.source))
    embedder = Embedder(new.encoder, new.fde(replacement_name(collection)), new.settings.pooling)
    describer = PageDescriber.of(new.settings, lambda: new.chat, new.isolated)
    for subject, some in groupby(by_ingester, key=lambda document: document.ingested_by):
        # Documents stay theirs who ingested them; the owner may do what they could do.
        whoever = Principal(subject, is_owner=True)
        writer = new.replacement_writer(whoever, collection)
        ingestor = Ingestor(
            isolated=new.isolated,
            embedder=embedder,
            writer=writer,
            reader_for=partial(new.repository.reader, whoever, replacement_name(collection)),
            encoder_name=str(new.encoder.identity),
            settings=new.settings,
            describer=describer,
        )
        files = list(_kept_files(new, some))
        made = ingestor.ingest(files, IngestOptions(password=password), on_event, kind="migrate")
        totals = _sum(totals, made)
    return totals or Totals().event(job_id=None, seconds=0.0, encoder=str(new.encoder.identity))


def _kept_files(new: Engine, documents: Iterator[Document]) -> Iterator[KeptFile]:
    for document in documents:
        yield KeptFile(
            new.repository.kept_file(document),
            Incoming(
                document_id=document.document_id,
                root=document.root,
                source=document.source,
                sha256=document.sha256,
                metadata=document.metadata,
                readers=document.readers,
            ),
        )


def _sum(totals: Json, made: Json) -> Json:
    """Both together; of what cannot be added the later one's."""
    if not totals:
        return made
    added = {}
    for key in ("documents", "pages"):
        counts = Counter[str](totals[key])
        counts.update(made[key])
        added[key] = dict(counts)
    added["reused_pages"] = totals["reused_pages"] + made["reused_pages"]
    seconds = totals["seconds"] + made["seconds"]
    together = (
        {
            key: round(
                (totals["throughput"][key] * totals["seconds"] + value * made["seconds"]) / seconds,
                3,
            )
            for key, value in made["throughput"].items()
        }
        if seconds
        else made["throughput"]
    )
    return {**made, **added, "seconds": round(seconds, 3), "throughput": together}
