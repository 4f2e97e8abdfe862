"""What `factory report` prints."""

from __future__ import annotations

from factory.reporting import Report
from factory.terminal.layout import fill


def report_text(done: Report) -> str:
    """Where the page is, and what is on it."""
    size = done.path.stat().st_size
    lines = [f"{done.path} written: {len(done.panels)} panels, {size / 1e3:,.0f} kB. Open it in a browser."]
    if done.left_out:
        lines.append(fill(f"left out, the page says why: {', '.join(title.lower() for title in done.left_out)}"))
    return "\n".join(lines)


def warnings(done: Report) -> list[str]:
    """Sentences for standard error: where manifest and files disagree."""
    return list(done.disagreements)
