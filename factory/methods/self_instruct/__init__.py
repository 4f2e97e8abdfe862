"""Self-Instruct: a language model writes its own instruction data, beginning from a few seed tasks.

From 175 seed tasks such as "Why do we have leap years?" come rows like

    {"instruction": "List three uses of baking soda in the kitchen.", "input": "",
     "output": "1. Leavening …", "is_classification": false, "instruction_id": "5f0c…"}

Paper: Wang et al. 2022, "Self-Instruct: Aligning Language Models with Self-Generated Instructions"
(arXiv 2212.10560), section 2.2: (1) instructions from 6 seed and 2 machine tasks, (2) is it a
classification task, (3) instances, output first for classification and input first for the rest, (4)
filtering: ROUGE-L above 0.7 with any task of the pool, words that speak of pictures and files, and
instances that repeat, contradict or are empty. `variant: one_call` is Stanford Alpaca's (2023) shortcut.

Deviations from the released code, and why: demonstrations are drawn by hash rank within a window, so that
requests run concurrently and stay reproducible; a cut answer loses its last item only; an instruction
keeps its capitals; every rejection is kept; other scripts than Latin are compared by a tokeniser that does
not turn them into nothing; prompts have a chat form, because the models of today are chat models.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from factory.context import Context
from factory.errors import UserError
from factory.methods.self_instruct.options import Options, instruction_prompt, prompt_names
from factory.prompts import Prompt, shipped_prompt
from factory.records import Outcome, Record

__all__ = ["Options", "columns", "prompts", "run"]


def prompts(options: Options, base: Path) -> list[Prompt]:
    """The prompts of the chosen variant."""
    names = [instruction_prompt(options)]
    if options.variant == "paper":
        names += prompt_names(options.small_model).values()
    return [shipped_prompt(name) for name in names]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Columns of the rows.

    Raises:
        UserError: If what comes in are no seed tasks.
    """
    if incoming is not None and not {"instruction", "instances", "is_classification"} <= incoming:
        raise UserError("self_instruct works on seed tasks: put the source 'seeds' before it.")
    return {"instruction", "input", "output", "is_classification", "instruction_id"}


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Grow the pool until enough instructions have instances."""
    from factory.methods.self_instruct.loop import Loop  # numpy: not for `factory check`

    seeds = [record async for record in records]
    async with aclosing(Loop(ctx, options, seeds).outcomes()) as outcomes:
        async for outcome in outcomes:
            yield outcome
