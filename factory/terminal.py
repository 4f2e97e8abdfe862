"""What the commands print: plain text that fits 80 columns, without colour codes.

Tables are laid out here and nowhere else.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from factory.catalogue import Entry, Option
from factory.comparison import Example
from factory.filtering.run import FilterResult
from factory.inspection import Shown, Story
from factory.manifest import funnel
from factory.planner import Plan
from factory.progress import clock
from factory.records import Verdict
from factory.refiltering import RefilterResult
from factory.runner import RunResult

WIDTH = 80
CLIP = 600
FINISHED = ("complete", "partial", "preview")
NARROW = 12
LINEAGE_LINES = 40
SHARED_CHARS = 24


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; text is left-aligned and wrapped where the line would be too long, numbers are right-aligned."""
    numeric = [all(_is_number(row[index]) for row in rows) for index in range(len(headings))]
    widths = _widths([headings, *rows], numeric)
    lines = []
    for row in [headings, *rows]:
        cells = [
            [cell] if right else _wrapped(cell, width) for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        for parts in zip_longest(*cells, fillvalue=""):
            aligned = (
                part.rjust(width) if right else part.ljust(width)
                for part, width, right in zip(parts, widths, numeric, strict=True)
            )
            lines.append("  ".join(aligned).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _widths(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[int]:
    """Width of each column; the widest columns of text give way until a line fits."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(numeric))]
    texts = [index for index, right in enumerate(numeric) if not right]
    over = sum(widths) + 2 * (len(widths) - 1) - WIDTH
    while over > 0 and texts and (widest := max(texts, key=widths.__getitem__)) is not None and widths[widest] > NARROW:
        widths[widest] -= 1
        over -= 1
    return widths


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a cell; one that is too long breaks behind a slash where it has one."""
    lines = textwrap.wrap(text if len(text) <= width else text.replace("/", "/ "), width)
    return [line.replace("/ ", "/") for line in lines] or [""]


def fill(text: str) -> str:
    """A sentence over several lines; paths and commands stay whole."""
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _is_number(text: str) -> bool:
    return text in ("", "-") or re.fullmatch(r"[\d,.%-]+M?", text) is not None


def result_text(result: RunResult, *, preview: bool) -> str:
    """What `factory run` prints at its end."""
    parts = []
    if result.status == "interrupted":
        return result.message
    if preview:
        parts += [_record_text(record.id, record.fields) for record in result.first]
    parts.append(funnel_text(result.manifest))
    if result.message:
        parts.append(fill(f"{result.status}: {result.message}"))
    parts.append(f"{result.rows:,} rows in {result.path}/data (rejected ones in {result.path}/rejected)")
    return "\n\n".join([*parts, _next_text(result)])


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
    parts.append(f"{run.rows:,} rows in {run.path}/data (rejected ones in {run.path}/rejected)")
    return "\n\n".join([*parts, _next_after_refilter(result)])


def _example_text(example: Example) -> str:
    """A row, and what had been said or is now said of it."""
    lines = [f"[{example.id}]"]
    if example.filed is not None:
        verdict = example.filed.verdict
        lines.append(_indented(f"{example.filed.step}: {example.filed.rule}{_measured(verdict)}"))
        lines += [_field_text("evidence", verdict.evidence)] if verdict.evidence else []
    return "\n".join([*lines, *(_field_text(name, value) for name, value in example.fields.items())])


def _next_after_refilter(result: RefilterResult) -> str:
    command, path = command_name(), result.run.path
    lines = ["Next:", f"  {command} show {path}"]
    if result.lacking or result.ended:
        options = [f"--out {path}", *([] if result.base is None else [f"--base {result.base}"])]
        options += [f"--set {shlex.quote(setting)}" for setting in result.settings]
        lines.append(" \\\n    ".join([f"  {command} refilter {result.source}", *options, "--generate"]))
    return "\n".join(lines)


def filtered_text(result: FilterResult) -> str:
    """What `factory filter` prints at its end."""
    if result.status == "interrupted":
        return f"interrupted after {result.read:,} rows; run the same command again to go on from here"
    rows = [("read", "", f"{result.read:,}"), ("kept", "", f"{result.kept:,}")]
    rows += [("rejected", reason, f"{count:,}") for reason, count in result.rejected.items()]
    went_on = f", going on after row {result.resumed:,}" if result.resumed else ""
    speed = f"{result.seconds:,.1f} s{went_on}, {result.rows_per_s:,.0f} rows/s"
    places = f"{result.kept:,} rows in {result.out}\n{result.read - result.kept:,} rejected in {result.rejected_path}"
    return "\n\n".join([table(("rows", "by", "count"), rows), speed, places])


def _next_text(result: RunResult) -> str:
    command = command_name()
    lines = ["Next:", f"  {command} show {result.path}"]
    if result.first:
        lines.append(f"  {command} why {result.path} {result.first[0].id}")
        named = _export_columns(result.first[0].fields)
        lines.append(f"  {command} export {result.path} {result.manifest['name']}-chat --validation 0.1{named}")
    return "\n".join(lines)


def command_name() -> str:
    """How the command line was called: `factory` where that is found, else the path that leads to it."""
    called = Path(sys.argv[0])
    found = shutil.which("factory")
    if called.name != "factory" or (found is not None and Path(found).resolve() == called.resolve()):
        return "factory"
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_absolute() and called.is_relative_to(here) else str(called)


def _export_columns(fields: dict[str, Any]) -> str:
    """Options that name the columns to export, where they are not those of instruction data: the longest text, the last."""
    columns = list(fields)
    if {"instruction", "output"} <= set(columns) or len(columns) < 2:
        return ""
    longest = max(columns[:-1], key=lambda name: len(str(fields[name])))
    first = "instruction" if "instruction" in columns else longest
    return f" \\\n    --instruction {shlex.quote(first)} --output {shlex.quote(columns[-1])}"


def funnel_text(manifest: dict[str, Any]) -> str:
    """The funnel by step, then the reasons for rejection."""
    rows = [(step, f"{asked:,}", f"{kept:,}", f"{rejected:,}") for step, _, asked, kept, rejected in funnel(manifest)]
    parts = [table(("step", "requests", "kept", "rejected"), rows)]
    reasons = [
        (step["step"], reason, f"{count:,}") for step in manifest["steps"] for reason, count in step["rejected"].items()
    ]
    if reasons:
        parts.append(table(("step", "rejected by", "count"), reasons))
    parts += [fill(f"note: {note}") for step in manifest["steps"] for note in step["notes"]]
    return "\n\n".join(parts)


def shown_text(shown: Shown) -> str:
    """What `factory show` prints."""
    manifest = shown.manifest
    requests, finished = manifest["requests"], manifest["status"] in FINISHED
    stages = [stage for step in manifest["steps"] for stage in step["stages"].values()]
    written = sum(stage["completion_tokens"] for stage in stages)
    head = [
        f"{manifest['name']}  ({_state(shown)})",
        f"model     {manifest['model']}",
        f"engine    {manifest['engine'] or ('none needed' if finished else 'not started yet')}",
        f"rows      {manifest['rows']:,}{'' if finished else ' so far, the dataset is not written yet'}",
        f"requests  {requests['asked']:,} asked, {requests['reused']:,} reused in the last session",
        f"tokens    {sum(stage['prompt_tokens'] for stage in stages):,} in, {written:,} out",
        f"time      {clock(manifest['seconds'])} with the engine at work, all sessions",
    ]
    parts = ["\n".join(head), funnel_text(manifest), stages_text(manifest)]
    if shown.kept:
        parts.append("kept, for example:")
        parts += [_record_text(row["record_id"], _fields(row)) for row in shown.kept]
    if shown.rejected:
        parts.append("rejected, for example:")
        parts += [_rejected_text(row) for row in shown.rejected]
    return "\n\n".join(part for part in parts if part)


def _state(shown: Shown) -> str:
    """What the run is up to, also where the process that ran it is gone."""
    manifest = shown.manifest
    status, message = manifest["status"], manifest["message"]
    if status == "running" and not shown.in_use:
        return f"ended without warning; the same command goes on with {shown.answers:,} answers in the journal"
    if status == "interrupted":
        return str(message)
    return f"{status}: {message}" if message else str(status)


def stages_text(manifest: dict[str, Any]) -> str:
    """Requests and tokens by kind of request."""
    rows = [
        (
            f"{step['step']}/{stage}",
            f"{counts['requests']:,}",
            f"{counts['prompt_tokens']:,}",
            f"{counts['completion_tokens']:,}",
        )
        for step in manifest["steps"]
        for stage, counts in step["stages"].items()
    ]
    return table(("kind of request", "requests", "tokens in", "tokens out"), rows) if rows else ""


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("record_id", "provenance")}


def _record_text(record_id: str, fields: dict[str, Any]) -> str:
    return "\n".join([f"[{record_id}]", *(_field_text(name, value) for name, value in fields.items())])


def _rejected_text(row: dict[str, Any]) -> str:
    score = (
        f" (score {row['score']:.3g}, threshold {row['threshold']:.3g})"
        if row["score"] is not None and row["threshold"] is not None
        else ""
    )
    lines = [fill(f"[{row['record_id']}] {row['step']}: {row['rule']}: {row['reason']}{score}")]
    if row["evidence"]:
        lines.append(_field_text("evidence", row["evidence"]))
    lines += [_field_text(name, value) for name, value in json.loads(row["fields"]).items()]
    return "\n".join(lines)


def _field_text(name: str, value: Any, clip: int = CLIP) -> str:
    text = _printable("" if value is None else str(value))
    text = text if len(text) <= clip else f"{text[:clip]} … ({len(text):,} characters)"
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    lines: list[str] = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, width - 4, replace_whitespace=False) or [""]
    return (
        f"  {name}: {lines[0]}"
        if len(lines) == 1 and len(name) + len(text) + 4 <= width
        else "\n".join([f"  {name}:", *(f"    {line}" for line in lines)])
    )


def _printable(text: str) -> str:
    """The text with control characters spelt out: what a model writes must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def _rounded(count: int) -> str:
    """A count; from ten million on in millions, as no estimate is better than that."""
    return f"{count:,}" if count < 10**7 else f"{count / 10**6:,.0f}M"


def plan_text(plan: Plan) -> str:
    """What `factory plan` prints."""
    rows = [
        (
            f"{line.step}/{line.stage}",
            f"{line.reused:,}",
            f"{line.ask:,}" if line.ask == line.ask_high else f"{line.ask:,}-{line.ask_high:,}",
            f"{line.dropped:,}",
            _rounded(line.prompt_tokens),
            _rounded(line.completion_tokens),
        )
        for line in plan.lines
    ]
    total = (
        "total",
        f"{plan.total('reused'):,}",
        f"{plan.total('ask'):,}"
        if plan.total("ask") == plan.total("ask_high")
        else f"{plan.total('ask'):,}-{plan.total('ask_high'):,}",
        f"{plan.total('dropped'):,}",
        _rounded(plan.total("prompt_tokens")),
        _rounded(plan.total("completion_tokens")),
    )
    parts = [table(("kind of request", "reused", "to ask", "unused", "tokens in", "tokens out"), [*rows, total])]
    if plan.total("dropped"):
        parts.append("unused: answers that stay in the journal but that this recipe does not ask for")
    if not plan.total("ask_high"):
        parts.append("nothing to ask: the journal answers everything")
    bases = [f"  {line.step}/{line.stage}: {line.basis}" for line in plan.lines if line.basis]
    if bases:
        parts.append(
            "\n".join(["estimated from:", *(textwrap.fill(basis, WIDTH, subsequent_indent="    ") for basis in bases)])
        )
    if plan.seconds and plan.speed is not None:
        hours = f"{plan.gpu_hours:.2f} GPU hours on a GPU"
        speed = f"{plan.speed:,.0f} tokens/s, measured in this directory"
        parts.append(fill(f"time: up to {clock(plan.seconds)} ({hours}) at {speed}, and the loading of the model"))
    parts += [fill(f"note: {note}") for note in plan.notes]
    return "\n\n".join(parts)


def story_text(stories: Sequence[Story], *, full: bool) -> str:
    """What `factory why` prints: the record, then its ancestors."""
    first, *ancestors = stories
    parts = [_story_text(first, clip=10**9 if full else CLIP, exchanges=True)]
    if ancestors:
        parts.append("\n".join(["lineage:", *_lineage(stories)]))
        parts.append(f"made from {len(ancestors)} {'record' if len(ancestors) == 1 else 'records, nearest first'}:")
        parts += [_story_text(story, clip=10**9 if full else 160, exchanges=full) for story in ancestors]
    return "\n\n".join(parts)


def _lineage(stories: Sequence[Story]) -> list[str]:
    """A tree: from the first ancestor down to the record where each has one parent, else from the record to its parents."""
    by_id = {story.id: story for story in stories}
    parents = {story.id: [name for name in story.provenance["parents"] or [] if name in by_id] for story in stories}
    if all(len(names) <= 1 for names in parents.values()):
        chain = list(reversed(stories))
        before = ["", *map(_text_of, chain)]
        return [_branch(story, depth, before[depth]) for depth, story in enumerate(chain)]
    lines: list[str] = []
    todo, seen = [(stories[0].id, 0)], set[str]()
    while todo:
        name, depth = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        lines.append(_branch(by_id[name], depth))
        todo += [(parent, depth + 1) for parent in reversed(parents[name])]
    more = len(lines) - LINEAGE_LINES
    return [*lines[:LINEAGE_LINES], f"  … and {more:,} more"] if more > 0 else lines


def _text_of(story: Story) -> str:
    instruction = story.fields.get("instruction")
    texts = [value for value in story.fields.values() if isinstance(value, str) and len(value) > 3]
    return instruction if isinstance(instruction, str) else next(iter(texts), "")


def _branch(story: Story, depth: int, before: str = "") -> str:
    """One line of a tree: id, what it is, how its text begins, or goes on where the text before it begins so too."""
    fields, step = story.fields, story.provenance["step"]
    kind = f"epoch {fields['epoch']}, {fields['operation']}" if fields.get("operation") else step
    state = "" if story.state in ("kept", "source row", "on the way") else f" ({story.state})"
    text = _text_of(story)
    shared = next(
        (place for place, (one, other) in enumerate(zip(text, before, strict=False)) if one != other),
        min(len(text), len(before)),
    )
    text = f"…{text[shared:]}" if shared > SHARED_CHARS else text
    line = (
        f"{'   ' * (depth - 1)}{'└─ ' if depth else ''}[{story.id}] {kind}{state}: {' '.join(_printable(text).split())}"
    )
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _story_text(story: Story, *, clip: int, exchanges: bool) -> str:
    provenance = story.provenance
    lines = [f"[{story.id}] {story.state}"]
    if story.verdict is not None:
        verdict = story.verdict
        lines.append(_indented(f"rejected in {story.step} by {verdict.rule}: {verdict.reason}{_measured(verdict)}"))
        if verdict.evidence:
            lines.append(_field_text("evidence", verdict.evidence, clip))
    made = f"made by {provenance['step']} ({provenance['method']})"
    if provenance["prompt"]:
        made += f", prompt {provenance['prompt']} ({provenance['prompt_hash']}), seed {provenance['seed']}"
    lines.append(_indented(made))
    lines += [_field_text(name, value, clip) for name, value in story.fields.items()]
    if provenance["parents"]:
        lines.append(_field_text("parents", " ".join(provenance["parents"]), clip))
    if exchanges:
        for number, (request, completion) in enumerate(story.exchanges, 1):
            asked = request.text or "\n".join(f"{message.role}: {message.content}" for message in request.messages)
            lines.append(_field_text(f"request {number}", asked, clip))
            lines.append(_field_text(f"answer {number} ({completion.finish_reason})", completion.text, clip))
    return "\n".join(lines)


def _measured(verdict: Verdict) -> str:
    score = f", score {verdict.score:.4g}" if verdict.score is not None else ""
    return score + (f", threshold {verdict.threshold:.4g}" if verdict.threshold is not None else "")


def _indented(sentence: str) -> str:
    return textwrap.indent(fill(sentence), "  ")


def options_text(options: Sequence[Option]) -> str:
    """What `factory ls NAME` prints."""
    parts = []
    for option in options:
        default = f" (default {option.default})" if option.default not in ("", "required") else ""
        required = ", required" if option.default == "required" else ""
        lines = [_printable(f"{option.name}: {option.expects}{required}{default}")]
        lines += textwrap.wrap(option.about, WIDTH, initial_indent="    ", subsequent_indent="    ")
        parts.append("\n".join([textwrap.fill(lines[0], WIDTH, subsequent_indent="  "), *lines[1:]]))
    return "\n".join(parts)


def catalogue_text(entries: Sequence[Entry]) -> str:
    """What `factory ls` prints."""
    wide = max(len(entry.name) for entry in entries)
    lines = (f"{entry.kind:<7} {entry.name:<{wide}}  {entry.summary}" for entry in entries)
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent=" " * (wide + 10)) for line in lines)
