"""What of a run directory goes to the Hub: a list of what may, so that whatever else lies there stays.

    gather(Path("runs/quickstart"), card=b"…", folders=("data",), report=True)
    ->  [Upload("README.md", …), Upload("data/train-00000-of-00001.parquet", …), Upload("manifest.json", …), …]

No journal, no artifacts (their canaries are secret), no ledger, no hidden file, nothing behind a symbolic link.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from factory.errors import RunDirError
from factory.manifest import file_hash

CARD, RECIPE, MANIFEST, REPORT = "README.md", "recipe.yaml", "manifest.json", "report.html"
TEXTS = (CARD, RECIPE, MANIFEST, REPORT)
SHARDS = {
    "data": re.compile(r"data/train-\d{5,}-of-\d{5,}\.parquet"),
    "rejected": re.compile(r"rejected/rejected-\d{5,}-of-\d{5,}\.parquet"),
    "lineage": re.compile(r"lineage/records-\d{5,}-of-\d{5,}\.parquet"),
}
ROWS_OF_CARD = re.compile(r"data/train-[^/]*")  # as the card names them: data/train-*


@dataclass(frozen=True)
class Upload:
    """One file that goes up.

    Attributes:
        path: Its path in the repository.
        source: Where it lies, or its content.
        size: In bytes.
        sha256: Of its content, 64 hex digits.
    """

    path: str
    source: Path | bytes
    size: int
    sha256: str

    @cached_property
    def blob_id(self) -> str:
        """The name that git gives the content, as it is stored for small files."""
        content = self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def gather(run: Path, card: bytes, folders: tuple[str, ...], *, report: bool) -> list[Upload]:
    """The files, in the order of their paths; all of them are read once.

    Args:
        run: Run directory.
        card: Text of the dataset card, which is made for the repository.
        folders: `data`, and what else of `SHARDS` goes with it.
        report: Whether `report.html` goes too, where there is one.

    Raises:
        RunDirError: If one is missing, a symbolic link, or cannot be read.
    """
    found = [Upload(CARD, card, len(card), hashlib.sha256(card).hexdigest())]
    names = [RECIPE, MANIFEST, *([REPORT] if report and (run / REPORT).exists() else [])]
    found += [_upload(run, name) for name in names]
    found += [_upload(run, name) for folder in folders for name in shards(run, folder)]
    return sorted(found, key=lambda upload: upload.path)


def shards(run: Path, folder: str) -> list[str]:
    """Paths of all shards of a folder.

    Raises:
        RunDirError: If one is missing, or there are Parquet files that do not belong to them.
    """
    place = run / folder
    if not place.is_dir() or place.is_symlink():
        found = "is a symbolic link" if place.is_symlink() else "is missing"
        raise RunDirError(f"{place}: {found}; run the recipe into the same directory again.")
    listed = sorted(f"{folder}/{path.name}" for path in place.iterdir() if path.suffix == ".parquet")
    strange = [name for name in listed if not SHARDS[folder].fullmatch(name)]
    if strange:
        raise RunDirError(f"{run / strange[0]}: is no shard that a run has written; take it out of the folder.")
    of = {name.rsplit("-of-", 1)[1] for name in listed}
    if len(of) != 1 or int(next(iter(of)).removesuffix(".parquet")) != len(listed):
        raise RunDirError(f"{place}: not all shards are there; run the recipe into the same directory again.")
    return listed


def same_digest(run: Path, digest: str) -> bool:
    """Whether the data files are those that the manifest tells of; other files in the folder do not count."""
    if file_hash(run / "data") == digest:
        return True
    hasher = hashlib.blake2b(digest_size=8)
    for name in shards(run, "data"):
        with (run / name).open("rb") as handle:
            while block := handle.read(1 << 20):
                hasher.update(block)
    return hasher.hexdigest() == digest


def stale(remote: list[str], uploads: list[Upload]) -> list[str]:
    """Files there that would tell of other rows: shards of other numbers, folders and reports that are not sent now.

    Whoever wrote them, files that the card takes for rows are among them: those of `datasets` are called
    `data/train-00000-of-00001-<hash>.parquet`, say.
    """
    coming = {upload.path for upload in uploads}
    forms = [ROWS_OF_CARD, *SHARDS.values()]
    found = [name for name in remote if name == REPORT or any(each.fullmatch(name) for each in forms)]
    return sorted(set(found) - coming)


def _upload(run: Path, name: str) -> Upload:
    path = run / name
    if path.is_symlink():
        raise RunDirError(f"{path}: is a symbolic link, which is not followed; put the file itself there.")
    hasher, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as handle:
            while block := handle.read(1 << 20):
                hasher.update(block)
                size += len(block)
    except OSError as error:
        raise RunDirError(
            f"{path}: cannot be read ({error.strerror}); run the recipe into the same directory again."
        ) from error
    return Upload(name, path, size, hasher.hexdigest())
