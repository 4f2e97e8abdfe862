"""What decides how a model is fine-tuned on rows: the base, what of it is trained, for how long, in which precision.

    Settings(model="models/SmolLM2-135M", epochs=20)                    # LoRA on a folder of transformers
    Settings(scratch=Scratch(hidden=256, layers=4), max_seconds=300)    # a small Llama from random weights

Defaults follow GReaT (Borisov et al., 2210.06280, appendix) where it names a figure: batches of 8 rows and a fresh
column order each time a row is read. LoRA by default, a schedule that decays, a held-out share with early stopping and
fewer epochs (the paper trains 85 to 310) are ours.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from factory.errors import UserError

SCRATCH = "scratch"
LORA_RATE, FULL_RATE, SCRATCH_RATE = 5e-4, 5e-5, 2e-3


class Scratch(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a Llama from random initialisation, and of its tokenizer.

    Attributes:
        vocabulary: Most tokens of the byte-level BPE that is trained on the table's own sentences; at least 320.
        hidden: Width.
        layers: Layers.
        heads: Attention heads; they divide the width.
        context: Tokens in a row, at most; None for as many as the table's rows may take, and at least 1,024.
    """

    vocabulary: int = 1024
    hidden: int = 192
    layers: int = 4
    heads: int = 4
    context: int | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to fine-tune.

    Attributes:
        model: Folder of a causal language model that transformers loads, or `scratch`.
        scratch: Sizes, for `scratch`.
        rank: Rank of the LoRA adapters on all linear layers (Hu et al., 2106.09685); None or 0 trains all weights. A
            model from scratch always trains all weights.
        alpha: LoRA's scale is alpha / rank.
        dropout: Dropout before the adapters, in [0, 1).
        learning_rate: Peak; None takes 5e-4 for LoRA, 5e-5 (the paper's, as be_great has it) for all weights of a
            pre-trained model, 2e-3 from scratch.
        schedule: How the rate falls after the warm-up: to nothing along a cosine or a line, or not at all.
        warmup: Share of all steps in which the rate rises.
        weight_decay: AdamW's.
        clip: Greatest norm of the gradient; 0 for any.
        rows: Rows in a batch.
        accumulation: Batches in a step.
        epochs: Times that every row is read, at most.
        max_steps: Steps, at most.
        max_seconds: Time, at most. Early on it is turned into a number of steps, so that the rate falls to the end;
            where training was stopped is kept, so that a run that is taken up again gives the same model.
        holdout: Share of the rows that are kept back to decide which weights are best; at most 1,000 rows. 0 takes the
            last weights.
        patience: Evaluations without a better one before training ends.
        evaluate_every: Steps between evaluations; None for once an epoch.
        precision: `bf16` multiplies in bfloat16 and keeps what is trained in float32, `fp32` does all in float32;
            `auto` takes bf16 where the device has it in hardware; on a CPU not for a model from scratch, which is small.
        loss: Learn all tokens, or those of the values only (faster; measured no better).
        order: `random` writes the columns of a row in a fresh order each time it is read; `determining` in one order,
            those first that tell most about the others; a tuple of names in that order.
        checkpoint_s: Seconds between checkpoints.
    """

    model: str = SCRATCH
    scratch: Scratch = Scratch()
    rank: int | None = 16
    alpha: float = 32.0
    dropout: float = 0.0
    learning_rate: float | None = None
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = 0.03
    weight_decay: float = 0.0
    clip: float = 1.0
    rows: int = 8
    accumulation: int = 1
    epochs: int = 20
    max_steps: int | None = None
    max_seconds: float | None = None
    holdout: float = 0.1
    patience: int = 5
    evaluate_every: int | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    loss: Literal["all", "values"] = "all"
    order: Literal["random", "determining"] | tuple[str, ...] = "random"
    checkpoint_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UserError: The first setting that is out of range.
        """
        at_least_one = ("rows", "accumulation", "epochs", "patience", "max_steps", "evaluate_every")
        wrong = [name for name in at_least_one if getattr(self, name) is not None and getattr(self, name) < 1]
        wrong += [name for name in ("holdout", "dropout", "warmup") if not 0 <= getattr(self, name) < 1]
        wrong += [name for name in ("learning_rate", "max_seconds") if (getattr(self, name) or 1) < 0]
        if wrong:
            raise UserError(
                f"great.{wrong[0]}: {getattr(self, wrong[0])!r} is out of range; expected "
                f"{'1 or more' if wrong[0] in at_least_one else 'a share of at least 0 and below 1' if wrong[0] in ('holdout', 'dropout', 'warmup') else 'more than 0'}."
            )
        if self.scratch.hidden % self.scratch.heads or self.scratch.vocabulary < 320:
            raise UserError(
                "great.scratch: expected a width that the heads divide and a vocabulary of at least 320, found "
                f"hidden {self.scratch.hidden}, heads {self.scratch.heads}, vocabulary {self.scratch.vocabulary}."
            )

    @property
    def fits_the_table(self) -> bool:
        """Whether the model's context is made as long as the table needs it."""
        return self.model == SCRATCH and self.scratch.context is None

    @property
    def lora(self) -> bool:
        """Whether adapters are trained instead of all weights."""
        return bool(self.rank) and self.model != SCRATCH

    @property
    def peak_rate(self) -> float:
        """The learning rate after the warm-up."""
        if self.learning_rate is not None:
            return self.learning_rate
        return SCRATCH_RATE if self.model == SCRATCH else LORA_RATE if self.lora else FULL_RATE

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, from 0, of so many in all.

        >>> [round(Settings(learning_rate=1.0, schedule="linear", warmup=0.2).rate(step, 10), 2) for step in (0, 1, 2, 9)]
        [0.5, 1.0, 1.0, 0.12]
        """
        import math

        warm = math.ceil(self.warmup * steps)
        if step < warm:
            return self.peak_rate * (step + 1) / warm
        if self.schedule == "constant":
            return self.peak_rate
        left = max(0.0, (steps - step) / max(1, steps - warm))
        return self.peak_rate * (left if self.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)
