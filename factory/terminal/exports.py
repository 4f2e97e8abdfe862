"""What `factory export` prints: files and rows, what was left out and why, how long rows are.

out/train.jsonl: 28 rows
out/validation.jsonl: 3 rows
left out: 1 (exact duplicate)
tokens in a row: 41 to 310, median 120, p95 287; 3,904 in all
"""

from __future__ import annotations

from pathlib import Path

from factory.exporting import Exported
from factory.terminal.layout import fill, rows_of


def exported_text(done: Exported) -> str:
    """Everything but a warning about privacy."""
    lines = [_split(name, count, _of(name, done.files)) for name, count in done.rows.items()]
    lines += [f"left out: {count:,} ({reason})" for reason, count in done.left_out.items()]
    if done.removed is not None:
        lines.append(f"{done.removed}: what overlaps with a benchmark, and where")
    if done.tokens is not None:
        least, median, p95, most, total = done.tokens
        lines.append(f"tokens in a row: {least:,} to {most:,}, median {median:,}, p95 {p95:,}; {total:,} in all")
    if done.changed_cells:
        lines.append(
            f"formulas: {done.changed_cells:,} cells would be calculated by a spreadsheet and begin with an apostrophe "
            "now; --formulas keep leaves them"
        )
    return "\n".join([*map(fill, lines), *(fill(f"note: {note}") for note in done.notes)])


def _of(name: str, files: list[Path]) -> list[Path]:
    return [path for path in files if path.name.startswith((f"{name}.", f"{name}-"))]


def _split(name: str, count: int, files: list[Path]) -> str:
    if not files:
        return f"{name}: no rows, no file written"
    if len(files) == 1:
        return f"{files[0]}: {rows_of(count)}"
    return f"{files[0]} … {files[-1].name}: {rows_of(count)} in {len(files):,} files"
