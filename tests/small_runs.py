"""Small recipes over scripted engines: what the tests of everything above the engine share."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import factory
from factory.context.context import request_key
from factory.engines.protocol import Completion, Request
from factory.engines.scripted import ScriptedEngine
from factory.journal import Journal
from factory.runner import RunResult

MODEL = "fake@main"
SEED_TASKS = Path(__file__).parent.parent / "seeds" / "self_instruct.jsonl"
WORDS = [
    "list",
    "describe",
    "compare",
    "sort",
    "rewrite",
    "explain",
    "name",
    "count",
    "find",
    "suggest",
    "river",
    "city",
    "poem",
    "letter",
    "table",
    "shop",
    "price",
    "word",
    "number",
    "sentence",
    "story",
    "garden",
    "planet",
    "animal",
    "recipe",
    "kitchen",
    "travel",
    "weather",
    "history",
    "music",
    "friend",
    "answer",
    "question",
    "plan",
    "winter",
    "summer",
    "train",
    "station",
    "market",
    "island",
    "mountain",
    "ocean",
    "village",
    "painter",
    "doctor",
    "teacher",
    "student",
    "lesson",
]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tickets(count: int) -> list[dict[str, Any]]:
    return [
        {"id": number, "text": f"Ticket {number}: order {number * 7919 % 10007} never came."} for number in range(count)
    ]


def prompt_file(path: Path, column: str, verb: str) -> Path:
    path.write_text(f"---\ninputs: [{column}]\n---\n=== user ===\n{verb}: {{{{ {column} }}}}\n", encoding="utf-8")
    return path


def recipe(folder: Path, steps: list[dict[str, Any]], **head: Any) -> Path:
    """A recipe file with those steps for the scripted engine; JSON is YAML."""
    (folder / "script.json").write_text('{"answers": ["unused"]}', encoding="utf-8")
    engine = {"kind": "scripted", "model": "fake", "script": "script.json", "max_in_flight": 16} | head.pop(
        "engine", {}
    )
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"name": "test", "engine": engine, **head, "steps": steps}, indent=1), encoding="utf-8")
    return path


def two_steps(
    folder: Path,
    rows: int = 400,
    *,
    first: dict[str, Any] | None = None,
    last: dict[str, Any] | None = None,
    **head: Any,
) -> Path:
    """Rows, a summary of each, and a title for each summary."""
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", tickets(rows))
    prompt_file(folder / "summary.jinja", "text", "Summarise")
    prompt_file(folder / "title.jinja", "summary", "Give a title to")
    steps = [
        {"rows": {"path": "rows.jsonl"}},
        {"prompt": {"name": "summarise", "prompt": "summary.jinja", "output": "summary", **(first or {})}},
        {"prompt": {"name": "entitle", "prompt": "title.jinja", "output": "title", **(last or {})}},
    ]
    return recipe(folder, steps, **head)


def one_step(folder: Path, rows: list[dict[str, Any]], *, step: dict[str, Any] | None = None, **head: Any) -> Path:
    """Those rows (with a column `text`) and a summary of each."""
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", rows)
    prompt_file(folder / "summary.jinja", "text", "Summarise")
    named = {} if step and "schema" in step else {"output": "summary"}
    prompt = {"prompt": "summary.jinja", **named, **(step or {})}
    return recipe(folder, [{"rows": {"path": "rows.jsonl"}}, {"prompt": prompt}], **head)


def self_instruct(folder: Path, accept: int = 40, **head: Any) -> Path:
    """Self-Instruct from the seed tasks of the project, with a small window."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seeds.jsonl").write_bytes(SEED_TASKS.read_bytes())
    method = {"accept": accept, "window": 8, "stop": {"acceptance_below": None}}
    return recipe(folder, [{"seeds": {"path": "seeds.jsonl"}}, {"self_instruct": method}], **head)


def text_of(request: Request) -> str:
    return request.text or "\n".join(message.content for message in request.messages)


def answer(request: Request) -> str:
    """What the fake model writes: a function of the request, in the form that Self-Instruct asks for where it does."""
    text, draw = text_of(request), random.Random(request_key(MODEL, request))
    if "numbered list" in text:
        tasks = [" ".join(draw.choices(WORDS, k=9)).capitalize() + "." for _ in range(4)]
        return "\n".join(f"{number}. {task}" for number, task in enumerate(tasks, 9))
    if text.rstrip().endswith("Classification:"):
        return draw.choice(["Yes", "No", "No"])
    if "Class label:" in text:
        return "\n".join(f"Class label: {word}\nInput: a {word} that I saw" for word in draw.sample(WORDS, k=2))
    if text.startswith(("Summarise", "Give a title")):
        return " ".join(draw.choices(WORDS, k=6))
    return f"Input: {draw.choice(WORDS)} {draw.random():.3f}\nOutput: {' '.join(draw.choices(WORDS, k=5))}"


def latency_s(request: Request, most: float) -> float:
    """Another time for each request, the same in every process."""
    return most * random.Random(request_key(MODEL, request) + "time").random()


class Model(ScriptedEngine):
    """The fake model, slow by another time for each request; remembers and logs the keys that it was asked.

    The log gets `ask KEY` before and `answer KEY` after, each line in one write at the end of the file.
    """

    def __init__(
        self,
        reply: Callable[[Request], str | Completion] = answer,
        *,
        most_s: float = 0.0,
        log: Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(reply, **options)
        self.keys: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self._most_s = most_s
        self._descriptor = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def complete(self, request: Request) -> Completion:
        key = request_key(MODEL, request)
        self.keys[key] += 1
        self._write(f"ask {key}\n")
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        try:
            if self._most_s:
                await asyncio.sleep(latency_s(request, self._most_s))
            completion = await super().complete(request)
        finally:
            self.in_flight -= 1
        self._write(f"answer {key}\n")
        return completion

    def _write(self, line: str) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, line.encode())


def run(recipe_file: Path, out: Path, engine: ScriptedEngine | None = None, **options: Any) -> RunResult:
    return factory.run(recipe_file, out=out, engine=engine or Model(), progress=False, **options)


def data(out: Path) -> dict[str, bytes]:
    """Name and bytes of every file of the dataset."""
    return {path.name: path.read_bytes() for path in sorted((out / "data").glob("*.parquet"))}


def committed(out: Path) -> set[str]:
    """Keys of all completions that the journal of a run directory holds."""
    if not (out / "journal.sqlite").exists():
        return set()
    journal = Journal(out / "journal.sqlite", read_only=True)
    try:
        return set(journal.keys())
    finally:
        journal.close()


def step(result: RunResult, name: str) -> dict[str, Any]:
    """The counts of one step in the manifest."""
    return next(found for found in result.manifest["steps"] if found["step"] == name)
