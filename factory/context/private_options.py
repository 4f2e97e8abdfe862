"""What the methods that learn private texts are told: the texts, the budget, how to train, what to write afterwards.

`{data: {path: tickets.csv}, classes: {billing: about a bill, …}, epsilon: 8, steps: 60, batch_size: 256, rows: 1000}`
asks for a thousand texts of a model that has learnt the tickets with (8, delta)-differential privacy.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from factory.engines.embedded import EMBEDDED_WIDTH
from factory.errors import OptionError, UserError
from factory.privacy.accounting import Mechanism, default_delta, quick_epsilon, quick_noise_for
from factory.privacy.claim import MOST_EPSILON, no_bound, shown
from factory.recipe.engine_check import check_engine
from factory.recipe.identity import model_folder
from factory.recipe.labelled import LabelledSource
from factory.recipe.private import PrivateSource
from factory.recipe.schema import Count, EngineOptions, Fraction, StepOptions, Strict

NEEDED = ("torch", "transformers", "peft", "opacus")
INSTALL = "pip install 'dataset-factory[train,dp]'"
DROWNED = 0.3
# What looks like a setting of training and makes the claim wrong, with the reason that is shown.
UNSOUND = {
    "shuffle": "epsilon is computed for Poisson samples; batches of a shuffled pass are another mechanism, whose cost is "
    "not known to be as low",
    "sampler": "only Poisson sampling is accounted for",
    "drop_last": "a Poisson sample has no fixed size, and an empty one is a step like any other",
    "epochs": "a text takes part in a step by chance, so that there are no passes; give 'steps'",
    "early_stopping": "choosing by the loss of private texts is a query that no noise protects; give a public 'validation'",
    "patience": "choosing by the loss of private texts is a query that no noise protects",
    "stop_on": "choosing by the loss of private texts is a query that no noise protects",
    "evaluate_every": "the loss of private texts must not be looked at; a public 'validation' is",
    "gradient_checkpointing": "it runs layers twice, and hooks would see the gradients of each text twice",
    "gradient_accumulation": "the parts of a step are no steps; 'micro_batch' says how many texts are computed at once",
    "full_finetuning": "the noise grows with the number of weights, and drowns them; train a soft prompt or adapters",
    "loss_reduction": "a mean over the batch would let a text change what others contribute",
    "secure_mode": "noise and samples always come from the operating system",
    "seed": "noise that can be repeated protects nothing; 'noise_seed' does that for tests, and marks the result",
}


def _epsilon(value: object) -> object:
    """`inf` as YAML and people write it."""
    if isinstance(value, str) and value.strip().lower().lstrip(".+") in ("inf", "infinite", "infinity"):
        return math.inf
    return value


Epsilon = Annotated[float, BeforeValidator(_epsilon), Field(ge=0.0)]


class LabelCounts(Strict):
    """Shares of the classes from noisy counts of the private texts.

    Attributes:
        epsilon: Part of epsilon that the counts take; geometric noise.
    """

    epsilon: Annotated[float, Field(gt=0.0, le=100.0)]


class PrivateTextOptions(StepOptions):
    """Options that every method that learns private texts has.

    Attributes:
        data: The private texts.
        task: What the texts are, in a few words, for the prompt files.
        classes: What a text of each class is like, by the class; none learns texts without classes. Public: they are
            named here, not read from the texts.
        shares: Shares of the classes among the texts that are written, by public knowledge; equal ones by default.
        label_counts: Take the shares from noisy counts instead.
        epsilon: Most that may be spent; `inf` trains without noise or clipping and marks the result as not private, 0
            does not read the texts at all.
        noise_multiplier: Noise instead of a target, as a multiple of the clipping norm; epsilon follows.
        delta: min(1e-5, 1 / (n ln n)) by default.
        steps: Updates.
        batch_size: Texts that an update reads on average; the more, the less the noise counts.
        max_grad_norm: Clipping norm of a text's gradient. Far below the usual norm all gradients have this length.
        learning_rate: Of Adam.
        schedule: Whether the rate falls in a line or stays.
        max_tokens: Most tokens that are learnt of a text and written.
        micro_batch: Texts that are computed at once; it changes nothing of what is learnt.
        precision: Of the frozen model; what is trained is float32.
        model: A causal language model: `embedded`, a folder, or a Hub id.
        revision: Revision on the Hub.
        chat: Whether task and class stand in the form of a chat; by default where the model has one.
        rows: Texts to write.
        temperature: Divides the logits.
        top_p: Nucleus mass; 1 leaves out nothing, which keeps the texts' variety.
        keep_cut: Keep texts that reach `max_tokens` without an end; by default others are written for them.
        backend: Write with transformers or through vLLM; `auto` takes vLLM where there is a GPU and vLLM.
        batch_rows: Texts written at once, and lost at most when the run is killed.
        validation: Public texts whose loss is looked at before and after.
        canaries: Made-up texts that are learnt with the private ones, each with probability 1/2, for `factory audit`.
        noise_seed: For tests: noise that can be repeated. The result is marked as not private.
    """

    data: PrivateSource
    task: Annotated[str, Field(min_length=1)] = "texts"
    classes: dict[str, str] = Field(default={})
    shares: dict[str, Fraction] = Field(default={})
    label_counts: LabelCounts | None = None
    epsilon: Epsilon | None = None
    noise_multiplier: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    delta: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    steps: Count = 60
    batch_size: Count = 256
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 0.1
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)] = 0.05
    schedule: Literal["linear", "constant"] = "linear"
    max_tokens: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 64
    micro_batch: Count = 8
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    model: Annotated[str, Field(min_length=1)] = "embedded"
    revision: str | None = None
    chat: bool | None = None
    rows: Count = 1000
    temperature: Annotated[float, Field(gt=0.0, le=5.0)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    keep_cut: bool = False
    backend: Literal["auto", "transformers", "vllm"] = "auto"
    batch_rows: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 256
    validation: LabelledSource | None = None
    canaries: Annotated[int, Field(ge=0, le=10_000, strict=True)] = 0
    noise_seed: Annotated[int, Field(ge=0, strict=True)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _sound(cls, given: Any) -> Any:
        for name in UNSOUND if isinstance(given, Mapping) else ():
            if name in given and name not in cls.model_fields:
                raise ValueError(f"{name}: {UNSOUND[name]}; leave it out")
        return given

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.epsilon is not None and self.noise_multiplier is not None:
            raise ValueError("epsilon: name either epsilon or noise_multiplier, as each follows from the other")
        if self.epsilon is None and self.noise_multiplier is None:
            raise ValueError("epsilon: is required: a number, or inf for no privacy; or noise_multiplier instead of it")
        return self

    @model_validator(mode="after")
    def _shares_of_classes(self) -> Self:
        if self.label_counts is not None and (self.shares or not self.classes):
            raise ValueError("label_counts: needs 'classes', and takes the place of 'shares'; leave one out")
        if self.label_counts is not None and self.epsilon is not None and self.label_counts.epsilon >= self.epsilon:
            raise ValueError("label_counts: takes a part of epsilon; expected less than the whole")
        if self.shares and set(self.shares) != set(self.classes):
            raise ValueError(f"shares: expected one for each class: {', '.join(self.classes) or 'there are none'}")
        if self.shares and not math.isclose(sum(self.shares.values()), 1.0, abs_tol=1e-6):
            raise ValueError(f"shares: add up to {sum(self.shares.values()):g}; expected 1")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in their order; empty where there are none."""
        return tuple(self.classes)

    @property
    def trains(self) -> bool:
        """Whether the texts are read at all."""
        return self.epsilon != 0

    @property
    def noisy(self) -> bool:
        """Whether there is noise."""
        return self.noise_multiplier is not None or (self.epsilon is not None and 0 < self.epsilon < math.inf)


def check_private(options: PrivateTextOptions, base: Path) -> list[UserError]:
    """Whether the texts can be read, the model found, and a step be done."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return [OptionError("data", f"needs {', '.join(missing)}: {INSTALL}.")]
    engine = EngineOptions(kind="transformers", model=options.model, revision=options.revision)
    found: list[UserError] = [OptionError("model", sentence) for _, sentence in check_engine(engine, base)]
    for what in (_data, _validation):
        try:
            what(options, base)
        except UserError as error:
            found.append(error)
    return found


def _data(options: PrivateTextOptions, base: Path) -> None:
    count = len(options.data.texts(base, options.labels)) if options.trains else 0
    if not options.trains:
        options.data.find(base)
        return
    known, policy = options.data.records(count)
    if count < 2:
        raise OptionError("data", f"{options.data.path}: too few texts to learn from; expected at least two.")
    if options.batch_size > known:
        raise OptionError(
            "batch_size",
            f"an update would read {options.batch_size:,} texts on average, and there are {known:,} ({policy}); lower "
            "it, to a tenth of the texts or less for a useful epsilon.",
        )
    delta_of(options, known)
    if options.data.private:
        options.data.ledger_in(base)


def _validation(options: PrivateTextOptions, base: Path) -> None:
    if options.validation is None:
        return
    strange = sorted({each.label for each in options.validation.read(base)} - set(options.labels))
    if options.classes and strange:
        raise OptionError("validation", f"has the class '{strange[0]}', which 'classes' does not name.")


def private_files_of(options: PrivateTextOptions, base: Path) -> list[Path]:
    """The private texts."""
    return [options.data.find(base)]


def public_files_of(options: PrivateTextOptions, base: Path) -> list[Path]:
    """Public files whose content decides what is told."""
    return [] if options.validation is None else [options.validation.find(base)]


def private_columns(options: PrivateTextOptions, base: Path, incoming: set[str] | None) -> set[str]:
    """Columns of the texts."""
    return {"text", *(["label"] if options.classes else []), *(incoming or ())}


def stays_private(options: PrivateTextOptions) -> str:
    """Why what is written must be treated as the private texts are; empty where it may be given away."""
    if not options.trains:
        return ""
    if options.epsilon == math.inf:
        return "it was learnt with epsilon: inf, that is without noise"
    if options.epsilon is not None and options.epsilon > MOST_EPSILON:
        return no_bound(options.epsilon)
    if options.noise_seed is not None:
        return "its noise has a seed (noise_seed), so that it can be taken away again"
    return ""


def drowning_remark(noise: float, dimensions: int, batch: float) -> str:
    """What to say where noise is longer than a third of the most that the texts can add up to; else empty."""
    share = noise * math.sqrt(dimensions) / batch
    if share <= DROWNED:
        return ""
    wanted = math.ceil(noise * math.sqrt(dimensions) / DROWNED)
    return (
        f"the noise of an update is {share:.1f} times as long as the most that its texts can add up to"
        f"{': it drowns them' if share > 1 else f', and {DROWNED:g} or less is good'}. At this noise multiplier batch_size "
        f"{wanted:,} would do; with a given epsilon the multiplier rises with batch_size, so that more private texts or fewer "
        "trained numbers are what helps"
    )


def private_remarks(options: PrivateTextOptions, base: Path, dimensions: int | None) -> list[str]:
    """What is right but worth knowing.

    Args:
        options: The options.
        base: Folder of the recipe.
        dimensions: Numbers that are trained, if that is known without loading the model.
    """
    found = [_budget_remark(options, base)]
    reason = stays_private(options)
    if reason:
        found.append(f"NOT PRIVATE: {reason}; what it writes must be kept as the texts are kept")
    if options.noisy and dimensions is not None:
        records = options.data.records(len(options.data.texts(base, options.labels)))[0]
        found.append(drowning_remark(quick_noise(options, records), dimensions, options.batch_size))
    return [sentence for sentence in found if sentence]


def _budget_remark(options: PrivateTextOptions, base: Path) -> str:
    """What will be paid and where it is written, before it is; empty where nothing is."""
    if not options.noisy:
        return ""
    records, policy = options.data.records(len(options.data.texts(base, options.labels)))
    noise, delta = quick_noise(options, records), delta_of(options, records)
    target = (
        f"at most epsilon {options.epsilon:g}" if options.epsilon is not None else _of_noise(noise, options, records)
    )
    runs = [run for run in options.data.ledger_in(base).runs() if run.paid]
    paid = (
        f"; {len(runs):,} earlier {'run is' if len(runs) == 1 else 'runs are'} in the ledger, and add to it"
        if runs
        else ""
    )
    return (
        f"a training pays {target} at delta {delta:.3g}, for {options.data.unit} of {records:,} ({policy}): noise multiplier "
        f"about {noise:.3g}, {options.steps:,} steps of {options.batch_size:,} texts on average{paid}"
    )


def _of_noise(noise: float, options: PrivateTextOptions, records: int) -> str:
    rate = min(1.0, options.batch_size / records)
    mechanism = Mechanism(noise_multiplier=noise, sample_rate=rate, steps=options.steps)
    bound = quick_epsilon(mechanism, delta_of(options, records))
    counts = options.label_counts.epsilon if options.label_counts is not None else 0.0
    beyond = f", and what is above {MOST_EPSILON:g} protects nobody (NOT PRIVATE)" if bound > MOST_EPSILON else ""
    return f"epsilon {shown(bound + counts)} or somewhat less{beyond}"


def quick_noise(options: PrivateTextOptions, records: int) -> float:
    """The noise multiplier, or at most a tenth more than it."""
    if options.noise_multiplier is not None:
        return options.noise_multiplier
    target = training_epsilon(options)
    rate = min(1.0, options.batch_size / records)
    try:
        return quick_noise_for(target, delta=delta_of(options, records), sample_rate=rate, steps=options.steps)
    except ValueError as error:
        raise OptionError("epsilon", str(error)) from error


def training_epsilon(options: PrivateTextOptions) -> float:
    """What is left of epsilon for training."""
    counts = options.label_counts.epsilon if options.label_counts is not None else 0.0
    return float(options.epsilon or 0.0) - counts


def delta_of(options: PrivateTextOptions, records: int) -> float:
    """The delta of the claim."""
    return sound_delta(options.delta, records)


def sound_delta(given: float | None, records: int) -> float:
    """The delta that is given, or the default.

    Raises:
        OptionError: If it is too large to mean anything.
    """
    delta = given if given is not None else default_delta(records)
    if delta >= 1 / records:
        raise OptionError(
            "delta",
            f"{delta:g} is not below 1 / n for n = {records:,} private texts: publishing one of them whole would be within "
            f"it; leave it out for {default_delta(records):.3g}.",
        )
    return delta


def width_of(options: PrivateTextOptions, base: Path) -> int | None:
    """Numbers in an embedding of the model, from its configuration; None where that is not at hand."""
    if options.model == "embedded":
        return EMBEDDED_WIDTH
    folder = model_folder(options.model, base)
    if folder is None:
        return None
    try:
        found = json.loads((folder / "config.json").read_text()).get("hidden_size")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: config.json cannot be read ({error}).") from error
    return int(found) if isinstance(found, int) else None
