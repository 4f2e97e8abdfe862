"""Finished runs that the tests of the report look at, over scripted engines; each is made once for all tests."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from factory.engines.protocol import Completion, Request
from factory.records import digest
from factory.runner import run as run_recipe

from ..small_runs import WORDS, Model, answer, jsonl, prompt_file, recipe, run, self_instruct, text_of

HOSTILE = [
    "</script><script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 2'>",
    "{{ 7 * 7 }} {% raw %} ${7 * 7} {{ panels }}",
    "<!-- <script> \u2028 \u2029 ]]> &lt;b&gt;",
    "\"><svg onload=alert(1)> ' onfocus='alert(1)",
    '=HYPERLINK("http://example.org/") javascript:alert(1)',
    "<style>body { display: none }</style><link rel=stylesheet href=http://example.org/a.css>",
    "\u202eright to left\u202c \x07 🦊 <meta http-equiv=refresh content='0;url=http://example.org/'>",
]


def instructions(folder: Path, accept: int = 60) -> Path:
    """Self-Instruct; the model repeats itself more and more, so that ROUGE-L has something to do."""

    def reply(request: Request) -> str:
        text, draw = text_of(request), random.Random(digest("reply", request))
        if "numbered list" not in text:
            return answer(request)
        tasks = [
            "Write a poem about the sea and the sky." if draw.random() < 0.15 else " ".join(draw.choices(WORDS, k=8)).capitalize() + "."
            for _ in range(4)
        ]  # fmt: skip
        return "\n".join(f"{number}. {task}" for number, task in enumerate(tasks, 9))

    return run(self_instruct(folder, accept=accept), folder / "out", Model(reply)).path


def evolved(folder: Path) -> Path:
    """Evol-Instruct over twenty tasks, with a judge of difficulty that turns some away."""
    rows = [{"instruction": f"Name {number} rivers.", "output": f"R{number}"} for number in range(1, 21)]
    jsonl(folder / "rows.jsonl", rows)

    def reply(request: Request) -> str | Completion:
        text, name = text_of(request), digest("evol", request)[:8]
        if text.rstrip().endswith(("Rewritten task:", "Created task:")):
            given = text.rsplit("Given task:\n", 1)[1].rsplit("\n\n", 1)[0]
            return f"{given} Mention {name} and say in ten words why it matters." if name < "d" else given
        if text.rstrip().endswith("Verdict:"):
            return "Not Equal"
        if "10" in text and "difficulty" in text.lower():
            return str(2 + int(name, 16) % 8)
        return f"The answer is {name}."

    steps: list[dict[str, Any]] = [
        {"rows": {"path": "rows.jsonl"}},
        {"evol_instruct": {"epochs": 2}},
        {"judge": {"minimum": 4}},
    ]
    return run(recipe(folder, steps), folder / "out", Model(reply)).path


def filtered(folder: Path, rows: int = 80) -> Path:
    """Summaries that often repeat, through two filters."""
    texts = [{"text": f"Ticket {number}: order {number * 7919 % 10007} never came."} for number in range(rows)]
    jsonl(folder / "rows.jsonl", texts)
    prompt_file(folder / "summary.jinja", "text", "Summarise")

    def reply(request: Request) -> str:
        draw = random.Random(digest("summary", request))
        words = draw.choices(WORDS[:14], k=draw.choice([3, 4, 5]))
        return "" if draw.random() < 0.05 else " ".join(words)

    steps: list[dict[str, Any]] = [
        {"rows": {"path": "rows.jsonl"}},
        {"prompt": {"prompt": "summary.jinja", "output": "summary"}},
        {"exact": {"field": "summary"}},
        {"rouge_l": {"field": "summary", "threshold": 0.6}},
    ]
    return run(recipe(folder, steps), folder / "out", Model(reply)).path


def table(folder: Path) -> Path:
    """Rows of iris from a Gaussian copula."""
    path = folder / "iris.yaml"
    path.write_text(
        'name: iris\ntable: {path: "sklearn:iris", held_out: 0.3, target: species}\nsteps: [{gaussian_copula: {rows: 90}}]\n'
    )
    return run_recipe(path, folder / "out", progress=False).path


def hostile(folder: Path) -> Path:
    """A dataset full of what a page must not run, in names of columns, values, answers and evidence."""
    rows = [
        {"instruction": f"{text} {number}", "<b onclick=alert(1)>": text} for number in range(6) for text in HOSTILE
    ]
    jsonl(folder / "rows.jsonl", rows)
    prompt_file(folder / "summary.jinja", "instruction", "Summarise")

    def reply(request: Request) -> str:
        draw = random.Random(digest("hostile", request))
        return f"{draw.choice(HOSTILE)} {draw.choice(WORDS)}"

    steps: list[dict[str, Any]] = [
        {"rows": {"path": "rows.jsonl"}},
        {"prompt": {"name": "x", "prompt": "summary.jinja", "output": "</td><script>window.broken = 3</script>"}},
        {"rouge_l": {"name": "y", "field": "</td><script>window.broken = 3</script>", "threshold": 0.5}},
    ]
    made = recipe(folder, steps, name="hostile", description="<script>window.broken = 4</script>")
    return run(made, folder / "out", Model(reply)).path


def manifest_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return found
