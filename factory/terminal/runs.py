"""What `factory run` and `factory show` print."""

from __future__ import annotations

import json
import shlex
from typing import Any

from factory.inspection import Shown
from factory.manifest import asks_model, funnel, trained
from factory.progress import clock
from factory.runner import RunResult
from factory.terminal.claims import privacy_text
from factory.terminal.layout import command_name, fact, field_text, fill, record_text, rows_of, table

FINISHED = ("complete", "partial", "preview")


LONGEST_STEP = 40  # characters of a step's name before its notes


def result_text(result: RunResult, *, preview: bool) -> str:
    """What `factory run` prints at its end."""
    parts = []
    if result.status == "interrupted":
        return result.message
    if preview:
        parts += [record_text(record.id, record.fields) for record in result.first]
    parts.append(funnel_text(result.manifest))
    if result.message:
        parts.append(fill(f"{result.status}: {result.message}"))
    parts.append(fill(f"{rows_of(result.rows)} in {result.path}/data (rejected ones in {result.path}/rejected)"))
    return "\n\n".join([*parts, _next_text(result), *privacy_text(result.manifest)])


def _next_text(result: RunResult) -> str:
    command, path = command_name(), shlex.quote(str(result.path))
    lines = ["Next:", f"  {command} show {path}"]
    if result.first:
        lines.append(f"  {command} why {path} {result.first[0].id}")
        if asks_model(result.manifest):
            named = _export_columns(result.first[0].fields)
            lines.append(f"  {command} export {path} {result.manifest['name']}-chat --validation 0.1{named}")
    return "\n".join(lines)


def _export_columns(fields: dict[str, Any]) -> str:
    """Options that name the columns to export, where they are not those of instruction data: the longest text, the last."""
    columns = list(fields)
    if {"instruction", "output"} <= set(columns) or len(columns) < 2:
        return ""
    if {"text", "label"} <= set(columns):
        return " \\\n    --instruction text --output label"
    texts = [name for name in columns if isinstance(fields[name], str)]  # what a judge adds is a number
    columns = texts if len(texts) > 1 else columns
    longest = max(columns[:-1], key=lambda name: len(str(fields[name])))
    first = "instruction" if "instruction" in columns[:-1] else longest
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
    several = len(manifest["steps"]) > 1
    parts += [
        fill(f"note: {step['step'][:LONGEST_STEP] + ': ' if several else ''}{note}")
        for step in manifest["steps"]
        for note in step["notes"]
    ]
    return "\n\n".join(parts)


def shown_text(shown: Shown) -> str:
    """What `factory show` prints."""
    manifest = shown.manifest
    requests, finished = manifest["requests"], manifest["status"] in FINISHED
    stages = [stage for step in manifest["steps"] for stage in step["stages"].values()]
    written = sum(stage["completion_tokens"] for stage in stages)
    head = [
        fill(f"{manifest['name']}  ({_state(shown)})"),
        fact("model", manifest["model"] if asks_model(manifest) else "; ".join(trained(manifest))),
        fact(
            "engine",
            manifest["engine"]
            or ("none needed" if finished else "not known yet" if shown.in_use else "not started yet"),
        ),
        fact("rows", f"{manifest['rows']:,}{'' if finished else ' so far, the dataset is not written yet'}"),
        fact("requests", f"{requests['asked']:,} asked, {requests['reused']:,} reused in the last session"),
        fact("tokens", f"{sum(stage['prompt_tokens'] for stage in stages):,} in, {written:,} out"),
        *_journal(manifest),
        fact("time", f"{clock(manifest['seconds'])} with the engine at work, all sessions"),
    ]
    parts = ["\n".join(head), *privacy_text(manifest), funnel_text(manifest), stages_text(manifest)]
    if shown.kept:
        parts.append("kept, for example:")
        parts += [record_text(row["record_id"], _fields(row)) for row in shown.kept]
    if shown.rejected:
        parts.append("rejected, for example:")
        parts += [_rejected_text(row) for row in shown.rejected]
    return "\n\n".join(part for part in parts if part)


def _journal(manifest: dict[str, Any]) -> list[str]:
    """What the journal holds, also answers that this result is made without; not while a run adds to it."""
    held = manifest.get("journal")  # absent from runs of earlier versions
    if not held or not held["answers"] or manifest["status"] == "running":
        return []
    told = f"{held['answers']:,} {'answer' if held['answers'] == 1 else 'answers'} of all sessions, "
    return [fact("journal", f"{told}{held['prompt_tokens']:,} tokens in, {held['completion_tokens']:,} out")]


def _state(shown: Shown) -> str:
    """What the run is up to, also where the process that ran it is gone."""
    manifest = shown.manifest
    status, message = manifest["status"], manifest["message"]
    if status == "running" and not shown.in_use:
        return f"ended without warning; the same command goes on with {shown.answers:,} answers in the journal"
    if status == "running":
        return "running; its counts are written when it ends, 'factory view' shows its records now"
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


def _rejected_text(row: dict[str, Any]) -> str:
    score = (
        f" (score {row['score']:.3g}, threshold {row['threshold']:.3g})"
        if row["score"] is not None and row["threshold"] is not None
        else ""
    )
    lines = [fill(f"[{row['record_id']}] {row['step']}: {row['rule']}: {row['reason']}{score}")]
    if row["evidence"]:
        lines.append(field_text("evidence", row["evidence"]))
    lines += [field_text(name, value) for name, value in json.loads(row["fields"]).items()]
    return "\n".join(lines)
