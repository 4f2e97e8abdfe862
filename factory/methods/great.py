"""New rows of a table from a language model that has learnt its rows as sentences, after GReaT, every row valid.

With `table: {path: people.csv}` the row `{"age": 39, "city": "Riga", "note": "asked twice, then left"}` is learnt as
"age is 39, city is Riga, note is …" in a fresh order of its columns each time, and rows such as `{"age": 41, "city":
"Riga", "note": "was told to wait"}` are drawn (Borisov et al. 2023, arXiv 2210.06280). Text columns are written freely; all
others under automata over tokens, compiled from what the column may hold, so that every row is complete and in domain
whatever the model has learnt. Conditions, shares and gaps restrict the automata: nothing is drawn and thrown away for them.

Deviations from the paper: rows end with an end-of-text token and padding is masked; LoRA by default; names are not drawn but
given; digits are read one by one; the best weights on a held-out part are kept; temperature 1 by default, as 0.7 narrows the
columns. See `factory.tables.great`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from pydantic import Field, model_validator

from factory.context import Context
from factory.context.synthesis import Maker, synthesize
from factory.context.wanting import (
    SynthesisOptions,
    check_synthesis,
    synthesis_columns,
    synthesis_files,
    synthesis_remarks,
)
from factory.engines.model_source import locate_model
from factory.errors import OptionError, UserError
from factory.recipe.engine_check import check_engine
from factory.recipe.identity import model_folder, model_identity
from factory.recipe.schema import Count, EngineOptions, Strict
from factory.records import Outcome, Record
from factory.tables.great.settings import SCRATCH, Scratch, Settings
from factory.tables.great.synthesizer import Drawing, Great
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Sampler, Say

VERSION = 1
NEEDS_RECORDS = False
ASKS = False
NEUTRAL = ("rows",)
DEFAULT = Settings()
SMALL = Scratch()
FEWEST_TEXT_TOKENS = 16
NEEDED = ("torch", "transformers", "peft", "accelerate")


class ScratchOptions(Strict):
    """Sizes of a model from random weights.

    Attributes:
        hidden: Width.
        layers: Transformer blocks.
        heads: Attention heads, which divide the width.
        vocabulary: Tokens, learnt from the table's sentences.
    """

    hidden: Count = SMALL.hidden
    layers: Count = SMALL.layers
    heads: Count = SMALL.heads
    vocabulary: Annotated[int, Field(ge=320, le=10**6, strict=True)] = SMALL.vocabulary


class Training(Strict):
    """How the model is fine-tuned.

    Attributes:
        rank: Rank of the LoRA adapters on all linear layers; 0 trains all weights, as a model from scratch always does.
        alpha: LoRA's scale is alpha / rank.
        dropout: Dropout before the adapters.
        learning_rate: Peak; by default 5e-4 for LoRA, 5e-5 for all weights, 2e-3 from scratch.
        schedule: How the rate falls after the warm-up.
        warmup: Share of all steps in which the rate rises.
        weight_decay: Of AdamW.
        rows: Rows of a batch.
        accumulation: Batches of a step.
        epochs: Times that every row is read, at most.
        max_steps: Steps, at most.
        max_seconds: Time, at most.
        stop_on: Share of the learned rows that decides which weights are best; 0 takes the last.
        patience: Evaluations without a better one before training ends.
        evaluate_every: Steps between evaluations; once an epoch by default.
        precision: bf16 keeps what is trained in float32; auto takes it where the device gains.
        loss: Learn all tokens, or those of the values only.
        order: Columns in a fresh order each time a row is read, in one order that puts first what tells most about the
            others, or in the order of these names.
        checkpoint_s: Seconds between checkpoints.
    """

    rank: Annotated[int, Field(ge=0, le=4096, strict=True)] = DEFAULT.rank or 0
    alpha: Annotated[float, Field(gt=0.0)] = DEFAULT.alpha
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = DEFAULT.dropout
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    schedule: Literal["cosine", "linear", "constant"] = DEFAULT.schedule
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = DEFAULT.warmup
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = DEFAULT.weight_decay
    rows: Count = DEFAULT.rows
    accumulation: Count = DEFAULT.accumulation
    epochs: Count = DEFAULT.epochs
    max_steps: Count | None = None
    max_seconds: Annotated[float, Field(gt=0.0)] | None = None
    stop_on: Annotated[float, Field(ge=0.0, le=0.5)] = DEFAULT.holdout
    patience: Count = DEFAULT.patience
    evaluate_every: Count | None = None
    precision: Literal["auto", "bf16", "fp32"] = DEFAULT.precision
    loss: Literal["all", "values"] = DEFAULT.loss
    order: Literal["random", "determining"] | list[str] = "random"
    checkpoint_s: Annotated[float, Field(gt=0.0)] = DEFAULT.checkpoint_s


class Options(SynthesisOptions):
    """Options of `great`.

    Attributes:
        table: The table to learn; that of the recipe by default.
        rows: Rows to make; as many as are learnt by default.
        where: Conditions by column, which every row keeps, e.g. `{income: ">50K", age: ">= 30"}`.
        balance: Shares of values by column, e.g. `{income: {">50K": 0.5, "<=50K": 0.5}}`.
        impute: Fill the gaps of a table instead of making new rows.
        batch_rows: Rows drawn at once, and lost at most when the run is killed.
        model: A causal language model: `embedded`, a folder, a Hub id, or `scratch` for a small one from random weights.
        revision: Revision on the Hub.
        scratch: Sizes of a model from scratch.
        train: How it is fine-tuned.
        backend: Draw with a loop over transformers, or through vLLM; `auto` takes vLLM where there is a GPU and vLLM.
        temperature: Divides the logits of what is allowed; below 1 the likely becomes likelier.
        text_tokens: Most tokens of a free text; by default as many as the longest one of the table may take. A model from
            scratch gets a context with room for them.
    """

    model: Annotated[str, Field(min_length=1)] = "embedded"
    revision: str | None = None
    scratch: ScratchOptions = ScratchOptions()
    train: Training = Training()
    backend: Literal["auto", "transformers", "vllm"] = "auto"
    temperature: Annotated[float, Field(gt=0.0, le=5.0)] = 1.0
    text_tokens: Count | None = None

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Options:
        if self.scratch.hidden % self.scratch.heads:
            raise ValueError(f"scratch.hidden: expected a multiple of scratch.heads ({self.scratch.heads})")
        return self


columns = synthesis_columns
remarks = synthesis_remarks
files = synthesis_files


def check(options: Options, base: Path) -> list[UserError]:
    """Whether the table can be read, its conditions met, and the model found."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return [OptionError("model", f"needs {', '.join(missing)}: pip install 'dataset-factory[train]'.")]
    found: list[UserError] = []
    if options.model != SCRATCH:
        for _, sentence in check_engine(_engine(options), base):
            found.append(
                OptionError("model", f"{sentence} or 'scratch'" if "expected 'embedded'" in sentence else sentence)
            )
    return [*found, *check_synthesis(options, base)]


def _engine(options: Options) -> EngineOptions:
    return EngineOptions(kind="transformers", model=options.model, revision=options.revision)


def _settings(options: Options, folder: str) -> Settings:
    train = options.train
    return Settings(
        model=folder,
        scratch=msgspec.structs.replace(SMALL, **options.scratch.model_dump()),
        rank=train.rank,
        alpha=train.alpha,
        dropout=train.dropout,
        learning_rate=train.learning_rate,
        schedule=train.schedule,
        warmup=train.warmup,
        weight_decay=train.weight_decay,
        rows=train.rows,
        accumulation=train.accumulation,
        epochs=train.epochs,
        max_steps=train.max_steps,
        max_seconds=train.max_seconds,
        holdout=train.stop_on,
        patience=train.patience,
        evaluate_every=train.evaluate_every,
        precision=train.precision,
        loss=train.loss,
        order=train.order if isinstance(train.order, str) else tuple(train.order),
        checkpoint_s=train.checkpoint_s,
    )


def _folder(options: Options, base: Path) -> str:
    """The folder of the base model; one on the Hub is fetched."""
    if options.model == SCRATCH:
        return SCRATCH
    own = model_folder(options.model, base)
    place = locate_model(options.model if own is None else str(own), options.revision)
    if Path(place.path).is_dir():
        return place.path
    from huggingface_hub import snapshot_download

    return str(snapshot_download(place.path, revision=place.revision))


class _Great:
    """GReaT on the model that the options name, which is looked for only when it is needed."""

    def __init__(self, options: Options, base: Path, text_tokens: int) -> None:
        self._options, self._base, self._text_tokens = options, base, text_tokens

    def fit(self, table: Table, rules: Rules, *, seed: int, folder: Path | None, say: Say) -> bytes:
        say("looking for the model")
        return self._great().fit(table, rules, seed=seed, folder=folder, say=say)

    def about(self, model: bytes) -> str:
        return Great(Settings()).about(model)

    def load(self, model: bytes, schema: Schema, rules: Rules, folder: Path | None) -> Sampler:
        return self._great().load(model, schema, rules, folder)

    def _great(self) -> Great:
        options = self._options
        drawing = Drawing(
            backend=_backend(options.backend), temperature=options.temperature, max_text_tokens=self._text_tokens
        )
        return Great(_settings(options, _folder(options, self._base)), drawing)


def _text_tokens(table: Table) -> int:
    """Room for texts as long as those of the table and somewhat longer: few tokens stand for less than two bytes."""
    written = [column.name for column in table.schema.columns if column.kind == "text"]
    longest = max(
        (len(str(cell).encode("utf-8", "replace")) for name in written for cell in table.cells[name]), default=0
    )
    return FEWEST_TEXT_TOKENS + longest // 2


def _backend(wanted: Literal["auto", "transformers", "vllm"]) -> Literal["transformers", "vllm"]:
    """The backend itself; on a CPU the loop over transformers is the faster one (`scripts/bench tables`)."""
    if wanted != "auto":
        return wanted
    import torch

    return "vllm" if torch.cuda.is_available() and importlib.util.find_spec("vllm") is not None else "transformers"


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield what comes in, then the rows that are asked for."""
    text_tokens = options.text_tokens or _text_tokens(options.table.load(ctx.base).table)
    identity = SCRATCH if options.model == SCRATCH else model_identity(_engine(options), ctx.base)
    learns = {"method": "great", "version": VERSION, **msgspec.to_builtins(_settings(options, identity))}
    learns.pop("checkpoint_s")
    if options.model == SCRATCH:
        learns["text_tokens"] = text_tokens  # the model's context has room for them
    draws = {"temperature": options.temperature, "text_tokens": text_tokens}
    async for outcome in synthesize(
        records, ctx, options, Maker(_Great(options, ctx.base, text_tokens), learns, draws)
    ):
        yield outcome
