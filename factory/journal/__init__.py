"""Every completion and every artifact of a run, content-addressed, in one SQLite file: see `factory.journal.store`."""

from factory.journal.copies import completions, copy_journal, exchanges
from factory.journal.layout import WAL_SUFFIXES, Artifact, Spent, disk_error
from factory.journal.store import MAX_ARTIFACT_BYTES, MAX_PENDING, Journal

__all__ = [
    "MAX_ARTIFACT_BYTES",
    "MAX_PENDING",
    "WAL_SUFFIXES",
    "Artifact",
    "Journal",
    "Spent",
    "completions",
    "copy_journal",
    "disk_error",
    "exchanges",
]
