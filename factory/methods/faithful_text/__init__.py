"""Labelled texts that look like real ones: grounded in real texts, varied by a taxonomy, or both.

From real posts such as `{"text": "Bus was late again", "label": "plain"}` and a sentence on each class come rows like

    {"text": "Ugh, the limo was late again", "label": "humblebrag", "strategy": "taxonomy",
     "node": "complains about a luxury", "ground_id": "5f0c…"}

Paper: Veselovsky et al. 2023, "Generating Faithful Synthetic Data with Large Language Models: A Case Study in
Computational Social Science" (arXiv 2305.15041): `simple` asks for texts of a class, `grounded` has a real text of any
class rewritten into it, `taxonomy` does so in one of the ways that the model has named before. `similar`, more like some
real texts of the class, is the variant of the authors' code without rewriting. The paper's fourth means, a discriminator
that tells synthetic texts from real ones, is a filter behind this step.

Deviations from the authors' code, and why: strategies mix in one run; nodes are dealt in rounds, where they were drawn
with replacement, so that each is used equally; a request of `taxonomy` has one node, where it showed ten to pick from, so
that a row's node is known; every class ends with exactly the rows it is to have; copies of real texts and duplicates (14 %
of the authors' simple texts) are rejected; a text keeps what stands before its first colon.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from factory.context import Context
from factory.errors import UserError
from factory.methods.faithful_text.options import Options
from factory.prompts import Prompt, shipped_prompt
from factory.recipe.columns import require
from factory.records import Outcome, Record

__all__ = ["NEEDS_RECORDS", "NEUTRAL", "Options", "columns", "prompts", "run"]
NEEDS_RECORDS = False  # `simple` shows no real text
NEUTRAL = ("window",)


def prompts(options: Options, base: Path) -> list[Prompt]:
    """One prompt for each strategy in use, and that of the nodes."""
    names = [*options.shares(), *(["nodes"] if "taxonomy" in options.shares() else [])]
    return [shipped_prompt(f"faithful_text/{name}{'_small' if options.small_model else ''}") for name in names]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Columns of the rows.

    Raises:
        OptionError: If the rows have no such text or label.
        UserError: If the classes or the columns cannot be.
    """
    require("text", options.text, incoming)
    require("label", options.label, incoming)
    if options.text == options.label:
        raise UserError(f"faithful_text: text and label are both the column '{options.text}'.")
    ground = {"ground", "ground_label"} if options.keep_ground else set()
    return {"text", "label", "strategy", "node", "ground_id", *ground}


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Read the real texts, name the nodes, and ask until every class has its rows."""
    from factory.methods.faithful_text.grounds import Grounds  # numpy: not for `factory check`
    from factory.methods.faithful_text.loop import Loop

    grounds = Grounds(options)
    count = 0
    async for record in records:
        count += 1
        if (rejected := grounds.take(record)) is not None:
            yield rejected
    if count or not ctx.planning:
        for sentence in grounds.check():
            ctx.note(sentence)
    async with aclosing(Loop(ctx, options, grounds).outcomes()) as outcomes:
        async for outcome in outcomes:
            yield outcome
