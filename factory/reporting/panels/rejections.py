"""Why rows were turned away: every reason with examples, and those that missed a threshold by least."""

from __future__ import annotations

from collections import defaultdict

from factory.reporting.gather.rows import NEAR, Reason, Seen, place, rows_of
from factory.reporting.gather.run import Run
from factory.reporting.markup import details, paragraph, record, table, text
from factory.reporting.panels import LeftOut, Panel

TITLE = "Rejected rows"
ORDER = 30
EXAMPLES = 3
MOST_REASONS = 40
COLUMNS = 6


def build(run: Run) -> Panel | LeftOut:
    """A table of reasons, then each with its examples."""
    counts = run.rejections
    if not counts.rows:
        return LeftOut("No row was rejected.")
    ranked = sorted(counts.by_reason.items(), key=lambda each: (-each[1], each[0]))
    rows = [(step, rule, reason, count, count / counts.rows) for (step, rule, reason), count in ranked]
    shown = [key for key, _ in ranked[:MOST_REASONS]]
    examples = _examples(run, shown)
    near = rows_of(run.path / "rejected", {name for key in shown for name in counts.near.get(key, ())})
    parts = [table(("step", "rule", "reason", "rows", "share"), rows, "Rejected rows by reason")]
    for key in shown:
        step, rule, reason = key
        closest = [near[name] for name in counts.near.get(key, ()) if name in near]
        inner = _example_list(examples.get(key, []))
        if closest and len({row.score for row in closest}) > 0:
            inner += f"<h4>Closest to the threshold</h4>{_near(run, closest)}"
        parts.append(details(f"{step}: {rule}, {reason} ({counts.by_reason[key]:,})", inner, opened=key == shown[0]))
    if len(ranked) > MOST_REASONS:
        parts.append(paragraph(f"{len(ranked) - MOST_REASONS:,} rarer reasons have no examples here.", kind="soft"))
    return Panel("".join(parts), {"reasons": [[*key, count] for key, count in ranked]})


def _examples(run: Run, wanted: list[Reason]) -> dict[Reason, list[Seen]]:
    """Rows of each reason whose hash comes first, of those that are looked at."""
    found: dict[Reason, list[Seen]] = defaultdict(list)
    for row in run.rejected:
        found[row.step, row.rule, row.reason].append(row)
    return {key: sorted(found[key], key=lambda row: place(row.id))[:EXAMPLES] for key in wanted}


def _example_list(rows: list[Seen]) -> str:
    if not rows:
        return paragraph("None of these rows is in the sample; 'factory why' explains any of them.", kind="soft")
    return "".join(_example(row) for row in rows)


def _example(row: Seen) -> str:
    verdict = []
    if row.score is not None:
        limit = "" if row.threshold is None else f", threshold {text(row.threshold)}"
        verdict.append(f"score {text(row.score)}{limit}")
    if row.evidence:
        verdict.append(f"evidence: {text(row.evidence)}")
    told = f'<p class="verdict">{"; ".join(verdict)}</p>' if verdict else ""
    return f'<article><p class="id"><code>{text(row.id)}</code></p>{record(row.fields, COLUMNS)}{told}</article>'


def _near(run: Run, rows: list[Seen]) -> str:
    """Rows that another threshold would have kept first."""
    column = run.text_column
    told = [(row.score, row.threshold, _said(row, column), row.evidence or "") for row in rows[:NEAR]]
    return table(("score", "threshold", "row", "evidence"), told, "Rejected rows closest to the threshold", sort=False)


def _said(row: Seen, column: str) -> str:
    value = row.fields.get(column)
    if value is None:
        value = next((each for each in row.fields.values() if isinstance(each, str)), row.id)
    return str(value)[:400]
