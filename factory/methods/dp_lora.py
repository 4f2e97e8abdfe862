"""New texts like private ones, from LoRA adapters that were trained with differential privacy.

With `data: {path: tickets.csv}`, `classes: {billing: about a bill or a refund, …}` and `epsilon: 4` a thousand rows such as
`{"text": "You charged me twice for the same order …", "label": "billing"}` follow whatever comes in. Adapters of low rank
beside a language model, which stays as it is, are trained on the texts with clipped gradients and noise. They learn more than
a soft prompt, and more numbers take more noise: take them for models from about a billion weights on and large batches, as
Kurakin et al. 2023 (arXiv 2306.01684) found for one of 8 billion. The claim is (epsilon, delta) for adding or removing one
record; see `factory.privacy`.

Source: as for `dp_prompt_tuning`; Hu et al. 2021 (arXiv 2106.09685) for LoRA, through peft; Yu et al. 2022 (arXiv 2110.06500)
for LoRA under DP-SGD. Deviation: shares of the classes are named or counted with noise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from factory.context import Context
from factory.context.private_options import (
    PrivateTextOptions,
    check_private,
    private_columns,
    private_files_of,
    private_remarks,
    public_files_of,
    stays_private,
)
from factory.context.private_text import write_private
from factory.context.private_training import TextMaker
from factory.prompts import Prompt, shipped_prompt
from factory.records import Outcome, Record

if TYPE_CHECKING:
    from factory.privacy.base import Base
    from factory.privacy.tuned.artifact import About, Artifact
    from factory.privacy.tuning import LoraTuning, Tuning

VERSION = 1
NEEDS_RECORDS = False
ASKS = False
READS_PRIVATE = ("data",)
NEUTRAL = ("rows", "micro_batch")


class Options(PrivateTextOptions):
    """Options of `dp_lora`.

    Attributes:
        data: The private texts.
        task: What the texts are, in a few words.
        classes: What a text of each class is like, by the class; public.
        shares: Shares of the classes among the texts that are written, by public knowledge; equal ones by default.
        label_counts: Take the shares from noisy counts instead.
        epsilon: Most that may be spent; `inf` for no privacy, 0 to read no private text.
        noise_multiplier: Noise instead of a target.
        delta: min(1e-5, 1 / (n ln n)) by default.
        steps: Updates.
        batch_size: Texts that an update reads on average.
        max_grad_norm: Clipping norm of a text's gradient.
        learning_rate: Of Adam.
        schedule: Whether the rate falls in a line or stays.
        max_tokens: Most tokens that are learnt of a text and written.
        micro_batch: Texts that are computed at once; it changes nothing of what is learnt.
        precision: Of the frozen model.
        model: A causal language model: `embedded`, a folder, or a Hub id.
        revision: Revision on the Hub.
        chat: Whether task and class stand in the form of a chat; by default where the model has one.
        rows: Texts to write.
        temperature: Divides the logits.
        top_p: Nucleus mass; 1 leaves out nothing.
        keep_cut: Keep texts that reach `max_tokens` without an end.
        backend: Write with transformers or through vLLM.
        batch_rows: Texts written at once.
        validation: Public texts whose loss is looked at before and after.
        canaries: Made-up texts that are learnt too, each with probability 1/2, for `factory audit`.
        noise_seed: For tests: noise that can be repeated.
        rank: Rank of the adapters.
        alpha: Their scale is alpha / rank.
        targets: Names of the layers; by default those that peft knows for the model, its queries and values.
    """

    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)] = 0.002
    rank: Annotated[int, Field(ge=1, le=1024, strict=True)] = 8
    alpha: Annotated[float, Field(gt=0.0)] = 16.0
    targets: list[Annotated[str, Field(min_length=1)]] | None = None


check = check_private
columns = private_columns
files = public_files_of
private_files = private_files_of
releases = stays_private


def prompts(options: Options, base: Path) -> list[Prompt]:
    """What stands before a text."""
    return [shipped_prompt("dp_text/head")]


def remarks(options: Options, base: Path) -> list[str]:
    """What is right but worth knowing; how many numbers are trained is known with the model only."""
    return private_remarks(options, base, None)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield what comes in, then the texts that are asked for."""

    def tune(base: Base, seed: int) -> Tuning:
        from factory.privacy.tuning import LoraTuning

        scale = float(options.max_tokens)
        return LoraTuning(base, rank=options.rank, alpha=options.alpha, targets=options.targets, scale=scale, seed=seed)

    def release(tuning: LoraTuning, about: About) -> Artifact:
        from factory.privacy.tuned.artifact import adapter_of

        return adapter_of(tuning.model, about)

    head = shipped_prompt("dp_text/head")
    more = {"version": VERSION, "rank": options.rank, "alpha": options.alpha, "targets": options.targets}
    maker = TextMaker(options, ctx.base, "lora", more, 0, head, tune, release)
    async for outcome in write_private(records, ctx, options, maker, head):
        yield outcome
