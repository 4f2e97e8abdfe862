"""What `factory filter` and `factory refilter` print."""

from __future__ import annotations

import shlex

from factory.comparison import Example
from factory.filtering.run import FilterResult
from factory.refiltering import RefilterResult
from factory.terminal.claims import privacy_text
from factory.terminal.layout import command_name, field_text, fill, indented, measured, rows_of, table


def refilter_text(result: RefilterResult) -> str:
    """What `factory refilter` prints at its end."""
    run, rows = result.run, result.rows
    if rows is None:
        return run.message
    counts = [("stay", "", "", f"{rows.stay:,}")]
    counts += [("of these with other columns", "", "", f"{rows.changed:,}")] if rows.changed else []
    groups = {"enter": rows.entered, "leave": rows.left, "not made": result.lacking}
    counts += [(what, one.step, one.rule, f"{one.count:,}") for what, moved in groups.items() for one in moved]
    parts = [fill(change) for change in result.changes] or ["nothing was changed"]
    parts = ["\n".join(parts), table(("rows", "step", "verdict", "count"), counts)]
    for what, moved in groups.items():
        if moved:
            told = "turns them away now" if what == "leave" else "had turned them away"
            parts.append(f"{what}, for example, with what {told}:")
            parts += [_example_text(example) for one in moved for example in one.examples]
    parts += [fill(f"{run.status}: {run.message}")] if run.message else []
    parts.append(fill(f"{rows_of(run.rows)} in {run.path}/data (rejected ones in {run.path}/rejected)"))
    return "\n\n".join([*parts, _next_after_refilter(result), *privacy_text(run.manifest)])


def _example_text(example: Example) -> str:
    """A row, and what had been said or is now said of it."""
    lines = [f"[{example.id}]"]
    if example.filed is not None:
        verdict = example.filed.verdict
        lines.append(indented(f"{example.filed.step}: {example.filed.rule}{measured(verdict)}"))
        lines += [field_text("evidence", verdict.evidence)] if verdict.evidence else []
    return "\n".join([*lines, *(field_text(name, value) for name, value in example.fields.items())])


def _next_after_refilter(result: RefilterResult) -> str:
    command, path, source = command_name(), shlex.quote(str(result.run.path)), shlex.quote(str(result.source))
    lines = ["Next:", f"  {command} show {path}", f"  {command} view {source} --compare {path}"]
    if result.lacking or result.ended:
        options = [f"--out {path}", *([] if result.base is None else [f"--base {shlex.quote(str(result.base))}"])]
        options += [f"--set {shlex.quote(setting)}" for setting in result.settings]
        lines.append(" \\\n    ".join([f"  {command} refilter {source}", *options, "--generate"]))
    return "\n".join(lines)


def filtered_text(result: FilterResult) -> str:
    """What `factory filter` prints at its end."""
    if result.status == "interrupted":
        return f"interrupted after {result.read:,} rows; run the same command again to go on from here"
    rows = [("read", "", f"{result.read:,}"), ("kept", "", f"{result.kept:,}")]
    rows += [("rejected", reason, f"{count:,}") for reason, count in result.rejected.items()]
    went_on = f", going on after row {result.resumed:,}" if result.resumed else ""
    speed = f"{result.seconds:,.1f} s{went_on}, {result.rows_per_s:,.0f} rows/s"
    places = f"{rows_of(result.kept)} in {result.out}\n{result.read - result.kept:,} rejected in {result.rejected_path}"
    compared = ", ".join(f"{name}: {column}" for name, column in result.compared.items())
    parts = [table(("rows", "by", "count"), rows), *([fill(f"column that was judged: {compared}")] if compared else [])]
    return "\n\n".join([*parts, speed, places])
