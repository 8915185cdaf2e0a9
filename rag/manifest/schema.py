"""Tables of the manifest. A change that old code cannot read raises SCHEMA_VERSION."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

SCHEMA_VERSION = 4
# What each version brought, as (table, column), all of them nullable: older tables get what they
# lack.
ADDED_IN = {
    2: (("collections", "folder"), ("page_texts", "vector_boxes")),
    3: (
        ("pages", "ocr"),
        ("pages", "n_hidden_words"),
        ("page_texts", "hidden"),
        ("page_texts", "caption"),
    ),
    4: (
        ("versions", "n_reused"),
        ("pages", "vectors_digest"),
        ("pages", "input_digest"),
        ("pages", "is_reused"),
        ("jobs", "collection"),
        ("jobs", "priority"),
        ("jobs", "request"),
        ("jobs", "idempotency_key"),
        ("jobs", "queued_at"),
        ("jobs", "progress"),
        ("jobs", "error"),
        ("jobs", "n_tries"),
    ),
}

tables = MetaData()
_json = JSON(none_as_null=True)

about = Table(
    "about",
    tables,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

collections = Table(
    "collections",
    tables,
    Column("name", String, primary_key=True),
    Column("identity", _json, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("folder", String),  # of its index; null is the collection's name
)

versions = Table(
    "versions",
    tables,
    Column("version_id", String, primary_key=True),
    Column("collection", ForeignKey("collections.name"), nullable=False),
    Column("document_id", String, nullable=False),
    Column("state", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("n_pages", Integer, nullable=False),
    # What the document's row becomes when this version goes live.
    Column("root", String, nullable=False),
    Column("source", String, nullable=False),
    Column("metadata", _json, nullable=False),
    Column("readers", _json, nullable=False),
    Column("ingested_by", String, nullable=False),
    Column("outcome", String),
    Column("features", _json),
    Column("is_repaired", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("n_reused", Integer),  # pages whose vectors were there already
    Index("versions_by_document", "collection", "document_id"),
    Index("versions_by_state", "collection", "state"),
    Index("versions_by_bytes", "sha256"),
)

documents = Table(
    "documents",
    tables,
    Column("collection", ForeignKey("collections.name"), primary_key=True),
    Column("document_id", String, primary_key=True),
    Column("root", String, nullable=False),
    Column("source", String, nullable=False),
    Column("state", String, nullable=False),
    Column("error", _json),
    Column("live_version_id", ForeignKey("versions.version_id")),
    Column("metadata", _json, nullable=False),
    Column("readers", _json, nullable=False),
    Column("ingested_by", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

pages = Table(
    "pages",
    tables,
    Column("version_id", ForeignKey("versions.version_id", ondelete="CASCADE"), primary_key=True),
    Column("page_number", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("no_text", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("width_pt", Float, nullable=False),
    Column("height_pt", Float, nullable=False),
    Column("content_hash", String, nullable=False),
    Column("record_id", String),
    Column("prior", Float, nullable=False),
    Column("ocr", String),  # engine that read the words, or some of them
    Column("n_hidden_words", Integer),  # null is none
    Column("vectors_digest", String),  # of its record's vectors; null before schema 4
    # Of all that its encoder was given; null before schema 4, and where nothing was encoded.
    Column("input_digest", String),
    Column("is_reused", Boolean),  # its vectors are those of an equal page; null is no
    Index("pages_by_input", "input_digest"),
)

# Beside `pages`, so that loading thousands of pages does not walk over their words.
page_texts = Table(
    "page_texts",
    tables,
    Column("version_id", ForeignKey("versions.version_id", ondelete="CASCADE"), primary_key=True),
    Column("page_number", Integer, primary_key=True),
    Column("words", LargeBinary, nullable=False),
    Column("vector_words", LargeBinary),
    Column("vector_boxes", LargeBinary),
    Column("hidden", LargeBinary),  # null is none
    Column("caption", _json),
)

jobs = Table(
    "jobs",
    tables,
    Column("job_id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("state", String, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("totals", _json, nullable=False),
    # Null in jobs that were never queued.
    Column("collection", String),
    Column("priority", Integer),  # the highest first
    Column("request", _json),  # what is to be done, as it was asked
    Column("idempotency_key", String),
    Column("queued_at", Float),
    Column("progress", _json),
    Column("error", _json),
    Column("n_tries", Integer),
)

# How the documents of a job ended, by their latest try in it.
job_documents = Table(
    "job_documents",
    tables,
    Column("job_id", ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("document_id", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("state", String, nullable=False),
    Column("pages", Integer, nullable=False),
    Column("indexed", Integer, nullable=False),
    Column("blank", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("reused", Integer, nullable=False),
    Column("error", _json),
)

# Versions that are or were visible, of documents that are there; they outlive their pages.
past_versions = Table(
    "past_versions",
    tables,
    Column("version_id", String, primary_key=True),
    Column("collection", String, nullable=False),
    Column("document_id", String, nullable=False),
    Column("source", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("n_pages", Integer, nullable=False),
    Column("n_reused", Integer, nullable=False),
    Column("ingested_by", String, nullable=False),
    Column("published_at", Float, nullable=False),
    Column("ended_at", Float),  # null while it is live
    Index("past_versions_by_document", "collection", "document_id"),
)

# Versions whose records do not say yet what the manifest says of their document.
unstamped = Table(
    "unstamped",
    tables,
    Column("version_id", ForeignKey("versions.version_id", ondelete="CASCADE"), primary_key=True),
)

# Files whose reading ended the process that read them.
fatal_files = Table(
    "fatal_files",
    tables,
    Column("sha256", String, primary_key=True),
    Column("n_times", Integer, nullable=False),
    Column("reason", String, nullable=False),
    Column("last_at", Float, nullable=False),
)

conversations = Table(
    "conversations",
    tables,
    Column("conversation_id", String, primary_key=True),
    Column("subject", String, nullable=False),
    Column("collection", String, nullable=False),  # it may be gone, and the conversation stay
    Column("title", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

exchanges = Table(
    "exchanges",
    tables,
    Column(
        "conversation_id",
        ForeignKey("conversations.conversation_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("number", Integer, primary_key=True),
    Column("question", String, nullable=False),
    Column("answer", _json, nullable=False),
    Column("asked_at", Float, nullable=False),
)
