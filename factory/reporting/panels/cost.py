"""What the run took: requests and tokens by step and stage, and time."""

from __future__ import annotations

from typing import Any

from factory.progress import clock
from factory.reporting.charts.shares import bars
from factory.reporting.gather.run import Run
from factory.reporting.markup import figure, grid, paragraph, table
from factory.reporting.panels import LeftOut, Panel

TITLE = "Tokens and time"
ORDER = 130


def build(run: Run) -> Panel | LeftOut:
    """A table of stages, and bars of tokens."""
    stages = [(step["step"], name, told) for step in run.steps for name, told in step["stages"].items()]
    seconds = float(run.manifest["seconds"])
    if not stages:
        return LeftOut("No step asked a model, so that there are no tokens to count.")
    heads = ("step", "stage", "requests", "asked", "reused", "tokens in", "tokens out", "tokens out each")
    rows = [
        (
            *(
                step,
                name,
                told["requests"],
                told["asked"],
                told["reused"],
                told["prompt_tokens"],
                told["completion_tokens"],
            ),
            round(told["completion_tokens"] / max(1, told["requests"]), 1),
        )
        for step, name, told in stages
    ]
    several = len({step for step, _, _ in stages}) > 1
    figures = [
        figure(
            bars(
                [(f"{step}/{name}" if several else name, float(told[key])) for step, name, told in stages],
                title=title,
                kind=kind,
            ),
            f"{title}, by step and stage.",
            title,
        )
        for key, title, kind in (("prompt_tokens", "Tokens in", "real"), ("completion_tokens", "Tokens out", "kept"))
    ]
    out = sum(told["completion_tokens"] for _, _, told in stages)
    written = run.manifest.get("journal", {}).get("completion_tokens", out)  # as the time is, of all sessions
    return Panel(
        table(heads, rows, "Requests and tokens by step and stage")
        + grid(figures)
        + paragraph(_time(seconds, written, run))
        + paragraph(_journal(run.manifest)),
        {"stages": [[step, name, told] for step, name, told in stages]},
    )


def _time(seconds: float, written: int, run: Run) -> str:
    told = f"The engine was at work for {clock(seconds)} in all sessions"
    told += f", {written / seconds:,.0f} tokens written a second" if seconds > 0 and written else ""
    kept = run.manifest["rows"]
    told += f" and {seconds / kept:,.2f} seconds a kept row" if seconds > 0 and kept else ""
    return f"{told}. Steps run side by side, so that time belongs to the run and not to one of them."


def _journal(manifest: dict[str, Any]) -> str:
    held = manifest.get("journal")  # absent from runs of earlier versions
    if not held:
        return ""
    answers = f"{held['answers']:,} {'answer' if held['answers'] == 1 else 'answers'} of all sessions"
    tokens = f"{held['prompt_tokens']:,} tokens in and {held['completion_tokens']:,} out"
    return (
        f"The journal holds {answers}, with {tokens}. Those that this result is made without, asked ahead or by the recipe "
        "as it was before, are not in the table."
    )
