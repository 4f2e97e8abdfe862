"""A differentially private method that is small enough for tests, and the recipes that name it.

`noisy: {data: {path: tickets.csv}, epsilon: 2.0}` pays for one step in the ledger, and gives out rows that depend on nothing
but the random id of its run: what a piece owes to the rest, without any training.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from factory.context import Context
from factory.privacy.claim import Claim
from factory.privacy.ledger import Run
from factory.recipe.labelled import LabelledSource
from factory.recipe.pieces import Piece, pieces
from factory.recipe.private import PrivateSource
from factory.recipe.schema import StepOptions
from factory.records import Outcome, Provenance, Record, digest

READS_PRIVATE = ("data",)
NEEDS_RECORDS = False
ASKS = False
SECRETS = [f"My parcel {number * 7919 % 10007} was eaten by a wolf." for number in range(137)]


class Options(StepOptions):
    data: PrivateSource
    validation: LabelledSource | None = None
    examples: str | None = None
    epsilon: float | None = 2.0
    noise_seed: int | None = None
    reads: bool = True
    claims: bool = True


def private_files(options: Options, base: Path) -> list[Path]:
    return [options.data.find(base)] if options.data.private else []


def files(options: Options, base: Path) -> list[Path]:
    return [] if options.data.private else [options.data.find(base)]


def releases(options: Options) -> str:
    if options.epsilon is None:
        return "epsilon is infinite, so there is no noise"
    return "" if options.noise_seed is None else "noise from a seed can be repeated"


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    return {"text", *(incoming or ())}


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    async for record in records:
        yield record
    texts = options.data.texts(ctx.base, ())
    ledger = options.data.ledger_in(ctx.base)

    def begin(_: Any) -> bytes:
        line = Run(what="w", method="noisy", at="now", noise_multiplier=1.0, sample_rate=1.0, planned=1, again=True)
        name = ledger.begin(line)
        ledger.spend(name, steps=1)
        return name.encode()

    ctx.stats.unread = not options.reads
    ctx.stats.trained = "a model of wolves"
    name = (await ctx.artifact(digest("noisy", sorted(text.text for text in texts)), begin, kind="run")).decode()
    if options.claims:
        ctx.stats.privacy = msgspec.to_builtins(claim(ctx.step, name, options, len(texts)))
    for number in range(3):
        provenance = Provenance(step=ctx.step, method="noisy")
        yield Record(digest(name, number), {"text": f"Made up {number}."}, provenance)


def claim(step: str, name: str, options: Options, count: int) -> Claim:
    why_not = releases(options)
    known, policy = options.data.records(count)
    return Claim(
        step=step,
        method="noisy",
        run=name,
        private=not why_not,
        why_not=why_not,
        epsilon=None if why_not else options.epsilon,
        delta=1e-5,
        accountant="exact Gaussian",
        mechanism="one Gaussian",
        noise_multiplier=1.0 if options.epsilon else 0.0,
        max_grad_norm=0.5,
        sample_rate=1.0,
        steps=1,
        records=known,
        records_policy=policy,
        unit=options.data.unit,
        sampler="all",
        randomness="operating system",
        labels="none",
        private_source=options.data.private,
        ledger_runs=2,
        ledger_epsilon=3.337,
    )


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recipes name `noisy`, in this process."""
    monkeypatch.setitem(sys.modules, "noisy_of_tests", sys.modules[__name__])
    monkeypatch.setitem(pieces(), "noisy", Piece("noisy", "method", "noisy_of_tests"))


def tickets(path: Path) -> Path:
    """Private texts, none of which may be found anywhere."""
    path.write_text("text\n" + "".join(f"{text}\n" for text in SECRETS))
    return path
