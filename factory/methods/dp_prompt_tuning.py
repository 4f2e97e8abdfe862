"""New texts like private ones, from a soft prompt that was trained with differential privacy.

With `data: {path: tickets.csv}`, `classes: {billing: about a bill or a refund, …}` and `epsilon: 4` a thousand rows such as
`{"text": "You charged me twice for the same order …", "label": "billing"}` follow whatever comes in. A language model stays
as it is; before what it reads, a few vectors are trained on the texts with clipped gradients and noise, and texts are drawn
from the model behind them. The claim is (epsilon, delta) for adding or removing one record; see `factory.privacy`.

Source: Kurakin et al. 2023 (arXiv 2306.01684) for the objective and the use; Lester et al. 2021 (arXiv 2104.08691) for soft
prompts; Abadi et al. 2016 (arXiv 1607.00133) for DP-SGD. Deviations: the prompt begins as the embeddings of public words (the
paper found random ones better at 8 billion weights; `init: random`); shares of the classes are named or counted with noise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from factory.context import Context
from factory.context.private_options import (
    PrivateTextOptions,
    check_private,
    private_columns,
    private_files_of,
    private_remarks,
    public_files_of,
    stays_private,
    width_of,
)
from factory.context.private_text import write_private
from factory.context.private_training import TextMaker
from factory.prompts import Prompt, shipped_prompt
from factory.recipe.schema import Count
from factory.records import Outcome, Record

if TYPE_CHECKING:
    from factory.privacy.base import Base
    from factory.privacy.tuned.artifact import About, Artifact
    from factory.privacy.tuning import PromptTuning, Tuning

VERSION = 1
NEEDS_RECORDS = False
ASKS = False
READS_PRIVATE = ("data",)
NEUTRAL = ("rows", "micro_batch")


class Options(PrivateTextOptions):
    """Options of `dp_prompt_tuning`.

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
        prompt_tokens: Vectors of the soft prompt.
        init: Whether it begins as the embeddings of public words or as random numbers.
    """

    prompt_tokens: Count = 20
    init: Literal["text", "random"] = "text"


check = check_private
columns = private_columns
files = public_files_of
private_files = private_files_of
releases = stays_private


def prompts(options: Options, base: Path) -> list[Prompt]:
    """What stands before a text, and what the soft prompt begins as."""
    return [shipped_prompt("dp_text/head"), *([shipped_prompt("dp_text/initial")] if options.init == "text" else [])]


def remarks(options: Options, base: Path) -> list[str]:
    """What is right but worth knowing: no privacy, noise that drowns the texts."""
    width = width_of(options, base)
    return private_remarks(options, base, None if width is None else width * options.prompt_tokens)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield what comes in, then the texts that are asked for."""
    initial = None
    if options.init == "text":
        initial = shipped_prompt("dp_text/initial").render({"task": options.task}, chat=False).text

    def tune(base: Base, seed: int) -> Tuning:
        from factory.privacy.tuning import PromptTuning

        scale = float(options.max_tokens)
        return PromptTuning(base, tokens=options.prompt_tokens, initial=initial, scale=scale, seed=seed)

    def release(tuning: PromptTuning, about: About) -> Artifact:
        from factory.privacy.tuned.artifact import soft_prompt

        return soft_prompt(about, tuning.prompt.detach().cpu().numpy())

    head = shipped_prompt("dp_text/head")
    more = {"version": VERSION, "tokens": options.prompt_tokens, "initial": initial}
    maker = TextMaker(options, ctx.base, "soft prompt", more, options.prompt_tokens, head, tune, release)
    async for outcome in write_private(records, ctx, options, maker, head):
        yield outcome
