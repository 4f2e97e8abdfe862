"""Texts like private ones by differentially private votes, without training: private evolution.

With `data: {path: tickets.csv, text: body, label: kind}`, a sentence on each class and `epsilon: 2` come rows like

    {"text": "My parcel has been at the depot since Monday, can you ring them?", "label": "delivery",
     "variation": "rephrase", "round": 3}

Paper: Xie et al. 2024, "Differentially Private Synthetic Data via Foundation Model APIs 2: Text" (arXiv 2403.01749),
Augmented Private Evolution. A model writes texts from public words alone; each private text votes for the one nearest to it;
the votes get noise; the winners are varied, and voted on again. The model never sees a private text, and what costs privacy
are the votes, one Gaussian mechanism a round, composed exactly. Only texts that won the last vote are kept, as in the paper.

Deviations from the authors' code, and why: classes share the rows equally or by noisy counts (theirs reads the counts from
the private data); a vote without noise is kept nowhere (theirs logs it); `sample` counts negative votes as 0 and draws no
text twice; noise comes from the operating system and is on the disk before it is used; a text that was there before is
asked for again. A preview (`--limit`) shows first texts, on which nobody has voted, and spends nothing.

It needs many private texts for each candidate (`rows` times `variations` + 1): fewer than 50 are warned of. Records that
come in are passed on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from factory.context import Context
from factory.context.session import Expected
from factory.errors import OptionError, UserError
from factory.methods.private_evolution.options import Options
from factory.prompts import Prompt
from factory.records import Outcome, Record

__all__ = [
    "NEEDS_RECORDS",
    "READS_PRIVATE",
    "Options",
    "check",
    "columns",
    "expects",
    "private_files",
    "prompts",
    "releases",
    "remarks",
    "run",
]
NEEDS_RECORDS = False
READS_PRIVATE = ("data",)


def check(options: Options, base: Path) -> list[UserError]:
    """Whether the private texts can be read, and what compares texts is installed."""
    from factory.methods.private_evolution.ballot import private_texts
    from factory.methods.private_evolution.budget import Budget
    from factory.novelty.encoder import missing

    found: list[UserError] = []
    try:
        if options.votes:
            Budget.of(options, len(private_texts(options, base)))
            if options.data.private:
                options.data.ledger_in(base)
        options.data.find(base)
    except UserError as error:
        found.append(error if isinstance(error, OptionError) else OptionError("data.path", str(error)))
    absent = missing(options.embedder)
    return found if absent is None else [*found, OptionError("embedder", str(absent))]


def prompts(options: Options, base: Path) -> list[Prompt]:
    """The prompt of first texts, and one for each kind of variation in use."""
    from factory.methods.private_evolution.writing import prompts_of

    return prompts_of(options)


def private_files(options: Options, base: Path) -> list[Path]:
    """The private texts, whose hash is told to nobody."""
    return [options.data.find(base)]


def releases(options: Options) -> str:
    """Why what comes out stays private; empty if it need not."""
    from factory.methods.private_evolution.ballot import released_as

    return released_as(options)


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Columns of the rows, and those of the records that come in."""
    return {"text", "variation", "round", *(["label"] if options.classes else []), *(incoming or ())}


def remarks(options: Options, base: Path) -> list[str]:
    """Where noise will drown the votes, and what is not private."""
    from factory.methods.private_evolution.ballot import private_texts
    from factory.methods.private_evolution.budget import Budget

    name = options.name or "private_evolution"
    sentence = Budget.of(options, len(private_texts(options, base))).drowned(options) if options.votes else None
    why_not = releases(options)
    return [
        *([] if sentence is None else [f"{name}: {sentence}"]),
        *([f"{name}: NOT PRIVATE: {why_not}"] if why_not else []),
    ]


def expects(options: Options) -> Expected:
    """Records that come in are passed on; nothing is asked for them."""
    return Expected(requests={})


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Pass on what comes in, then yield the texts that won, and those that lost as rejected."""
    from factory.methods.private_evolution.evolution import Evolution  # numpy: not for `factory check`

    async for record in records:
        yield record
    async with aclosing(Evolution(ctx, options).outcomes()) as outcomes:
        async for outcome in outcomes:
            yield outcome
