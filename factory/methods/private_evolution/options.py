"""What a recipe may say about `private_evolution`; where it differs from the paper, the docstring of the method says why."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from factory.context.private_options import Epsilon, LabelCounts
from factory.recipe.private import PrivateSource
from factory.recipe.schema import Count, SamplingOptions, StepOptions, Strict, Tokens
from factory.recipe.suggest import did_you_mean

Kind = Literal["rephrase", "fill"]
Label = Annotated[str, Field(min_length=1)]
Sentence = Annotated[str, Field(min_length=1)]
Weight = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


def _both_kinds() -> dict[Kind, float]:
    return {"rephrase": 1.0, "fill": 1.0}


class Words(Strict):
    """How long texts are asked to be, in words.

    Attributes:
        first: Length of the first texts, on average.
        drift: Standard deviation of the difference between a text and its variations, and among first texts.
        fewest: Nothing shorter is asked for; the paper has 25.
    """

    first: Count = 25
    drift: NotNegative = 8.0
    fewest: Count = 5


class Options(StepOptions):
    """Options of `private_evolution`.

    Attributes:
        data: The private texts, which vote.
        task: What the texts are, as a noun phrase: `messages that customers write to a shop`.
        classes: What a text of each class is like; the keys are the labels of the rows. Without it there are no classes.
        subjects: What texts may be about, a few words each, taken in turn: one list, or one for each class. Public: they must
            not come from the private texts.
        rows: Texts to keep, over all classes.
        shares: Share of each class in the rows, known from elsewhere; equal ones by default.
        label_counts: Take the shares from the private texts, by counts with noise.
        rounds: Votes that are taken.
        variations: Variations of every kept text in each round; the paper has 3 to 6.
        epsilon: What it may cost in all; `inf` for votes without noise, which is not private, 0 for first texts alone, for
            which no private text is read.
        noise_multiplier: Standard deviation of the noise on the votes, instead of `epsilon`.
        delta: Probability that the guarantee does not hold; min(1e-5, 1 / (n ln n)) by default.
        nearest: Synthetic texts that each private text votes for, with 1 / sqrt(nearest) each.
        threshold: Taken from the votes after the noise; below it they count as 0.
        select: `rank` keeps the texts with the most votes, `sample` draws them by their votes, those below 0 counting as 0.
        lookahead: A text is compared by the mean of so many variations of it instead of by itself; each costs a request.
        kinds: Weights of the kinds of variation: `rephrase` in a drawn tone, `fill` blanks that replace words.
        blanks: Share of the words that `fill` blanks out.
        words: How long texts are asked to be.
        attempts: Tries for each text until an answer can be used.
        small_model: For models of about a billion parameters or fewer: short prompts that begin the text, answers held to
            a form where the engine can.
        writing: Sampling of first texts.
        varying: Sampling of variations.
        embedder: What compares texts: `embedded` (all-MiniLM-L6-v2 from a PyPI package), a local folder, or a Hub id.
        embedder_tokens: Tokens of a text that it reads.
        noise_seed: Draw the noise from a seed, for tests; what comes out is then marked as not private.
    """

    data: PrivateSource
    task: Sentence
    classes: dict[Label, Sentence] | None = Field(default=None, min_length=1)
    subjects: list[Sentence] | dict[Label, list[Sentence]] = Field(default=[])
    rows: Count = 100
    shares: dict[Label, Weight] | None = None
    label_counts: LabelCounts | None = None
    rounds: Annotated[int, Field(ge=1, le=1000, strict=True)] = 10
    variations: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    epsilon: Epsilon | None = None
    noise_multiplier: Positive | None = None
    delta: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    nearest: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    threshold: NotNegative = 0.0
    select: Literal["rank", "sample"] = "rank"
    lookahead: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    kinds: dict[Kind, Weight] = Field(default_factory=_both_kinds, min_length=1)
    blanks: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    words: Words = Words()
    attempts: Count = 3
    small_model: bool = False
    writing: SamplingOptions | None = None
    varying: SamplingOptions | None = None
    embedder: Annotated[str, Field(min_length=1)] = "embedded"
    embedder_tokens: Tokens = 256
    noise_seed: Annotated[int, Field(ge=0, strict=True)] | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Options:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give either 'epsilon' or 'noise_multiplier': one follows from the other")
        counts = 0.0 if self.label_counts is None else self.label_counts.epsilon
        if self.epsilon is not None and 0 < self.epsilon <= counts:
            raise ValueError(
                f"'label_counts.epsilon' of {counts:g} leaves nothing of 'epsilon', which is {self.epsilon:g}, for the votes"
            )
        return self

    @model_validator(mode="after")
    def _classes_are_known(self) -> Options:
        if self.shares is not None and self.label_counts is not None:
            raise ValueError(
                "'shares' are known from elsewhere, 'label_counts' takes them from the data: give one of them"
            )
        for option in ("shares", "label_counts"):
            if getattr(self, option) is not None and self.classes is None:
                raise ValueError(f"'{option}' needs 'classes'")
        by_class = self.subjects if isinstance(self.subjects, dict) else {}
        for option, names in (("shares", self.shares or {}), ("subjects", by_class)):
            for name in names:
                if name not in self.labels:
                    hint = did_you_mean(name, self.labels) or f"; there are {', '.join(self.labels) or 'none'}"
                    raise ValueError(f"'{option}' names the class '{name}', which 'classes' does not{hint}")
        if missing := [name for name in self.labels if self.shares is not None and name not in self.shares]:
            raise ValueError(
                f"'shares' gives none for the class '{missing[0]}'; leave the class out of 'classes' instead"
            )
        if self.rows < len(self.labels):
            raise ValueError(f"'rows' is {self.rows:,}, and there are {len(self.labels):,} classes: each needs a row")
        return self

    @property
    def labels(self) -> list[str]:
        """Names of the classes; empty if there are none."""
        return list(self.classes or ())

    def subjects_of(self, label: str) -> list[str]:
        """What texts of a class may be about."""
        return self.subjects.get(label, []) if isinstance(self.subjects, dict) else self.subjects

    @property
    def votes(self) -> bool:
        """Whether private texts vote at all."""
        return self.epsilon != 0

    @property
    def noisy(self) -> bool:
        """Whether votes have noise."""
        return self.noise_multiplier is not None or (self.epsilon is not None and math.isfinite(self.epsilon))

    @property
    def candidates(self) -> int:
        """Texts that a vote is about: the kept ones and their variations."""
        return self.rows * (1 + self.variations)

    def effective(self) -> Options:
        """With the sampling of the size of model where the recipe gives none."""
        return self.model_copy(update={"writing": self.writing_sampling(), "varying": self.varying_sampling()})

    def writing_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or the default for the size of the model."""
        return self.writing or self._sampling()

    def varying_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or the default for the size of the model."""
        return self.varying or self._sampling()

    def _sampling(self) -> SamplingOptions:
        if self.small_model:
            return SamplingOptions(max_tokens=96, temperature=0.8, top_p=0.9, repetition_penalty=1.05, stop=["\n"])
        return SamplingOptions(max_tokens=512, temperature=1.0, top_p=1.0)
