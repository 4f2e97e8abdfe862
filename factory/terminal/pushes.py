"""What `factory push` prints."""

from __future__ import annotations

from factory.hub.pushing import Pushed
from factory.hub.transfer import amount
from factory.terminal.layout import fill, printable, table

DIGITS = 12  # of a sha256


def pushed_text(pushed: Pushed, *, dry_run: bool) -> str:
    """The files, what was or would be deleted, and where it is."""
    seen = "private" if pushed.private else "public"
    if not dry_run:
        total = amount(sum(upload.size for upload in pushed.files))
        if not pushed.changed:
            return fill(f"nothing to do: {pushed.url} ({seen}) holds these {len(pushed.files):,} files already")
        gone = f", {len(pushed.deleted):,} of an earlier push deleted" if pushed.deleted else ""
        told = fill(
            f"{len(pushed.files):,} {'file' if len(pushed.files) == 1 else 'files'}, {total}{gone}: commit {pushed.commit[:DIGITS]}"
        )
        return f"{told}\n{pushed.url} ({seen})"
    rows = [(upload.path, f"{upload.size:,}", upload.sha256[:DIGITS]) for upload in pushed.files]
    rows.append(("total", f"{sum(upload.size for upload in pushed.files):,}", ""))
    parts = [table(("file", "bytes", "sha256"), rows)]
    if pushed.deleted:
        parts.append("\n".join(["would be deleted:", *(f"  {printable(path)}" for path in pushed.deleted)]))
    parts += [fill(f"note: {note}") for note in pushed.notes]
    parts.append(f"dry run: nothing was sent to {pushed.url} ({seen})")
    return "\n\n".join(["README.md:", printable(pushed.card).rstrip(), *parts])
