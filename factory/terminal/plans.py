"""What `factory plan` prints."""

from __future__ import annotations

import textwrap

from factory.planner import Plan
from factory.progress import clock
from factory.terminal.layout import WIDTH, fill, rounded, table


def plan_text(plan: Plan) -> str:
    """What `factory plan` prints."""
    rows = [
        (
            f"{line.step}/{line.stage}",
            f"{line.reused:,}",
            f"{line.ask:,}" if line.ask == line.ask_high else f"{line.ask:,}-{line.ask_high:,}",
            f"{line.dropped:,}",
            rounded(line.prompt_tokens),
            rounded(line.completion_tokens),
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
        rounded(plan.total("prompt_tokens")),
        rounded(plan.total("completion_tokens")),
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
