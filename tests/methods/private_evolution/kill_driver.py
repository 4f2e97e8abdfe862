"""Runs a recipe in a process that kills itself at a chosen moment of a chosen vote: `kill_driver.py RECIPE OUT WHEN NUMBER`.

`WHEN` is `before_paying`, `after_paying` (the noise is not drawn yet), `after_drawing` (nothing is in the journal yet),
`after_commit` or `never`.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
small = importlib.import_module("tests.methods.private_evolution.small")
small_runs = importlib.import_module("tests.small_runs")
ballot = importlib.import_module("factory.methods.private_evolution.ballot")
context = importlib.import_module("factory.context")

recipe, out, when, number = sys.argv[1:]
ballot.Encoder = small.Words
draw, commit = ballot.noisy_votes, context.Context.artifact
drawn = 0


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def draw_and_die(*arguments: Any, pay: Any, **named: Any) -> list[float]:
    global drawn
    drawn += 1
    mine = drawn == int(number)

    def pay_and_die() -> None:
        if mine and when == "before_paying":
            kill()
        pay()
        if mine and when == "after_paying":
            kill()

    votes: list[float] = draw(*arguments, pay=pay_and_die, **named)
    if mine and when == "after_drawing":
        kill()
    return votes


async def commit_and_die(self: Any, key: str, make: Any, *, kind: str) -> bytes:
    value: bytes = await commit(self, key, make, kind=kind)
    if kind == "votes" and drawn == int(number) and when == "after_commit":
        kill()
        await asyncio.sleep(1)
    return value


ballot.noisy_votes, context.Context.artifact = draw_and_die, commit_and_die
small_runs.run(Path(recipe), Path(out), small_runs.Model(small.answer))
