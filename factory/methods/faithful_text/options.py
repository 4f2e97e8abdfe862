"""What a recipe may say about `faithful_text`; the defaults are the paper's where it gives any."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from factory.recipe.columns import Column
from factory.recipe.schema import Count, Fraction, Rate, SamplingOptions, StepOptions
from factory.recipe.suggest import did_you_mean

Strategy = Literal["simple", "grounded", "similar", "taxonomy"]
Sentence = Annotated[str, Field(min_length=1)]
Weight = Annotated[float, Field(gt=0.0)]
PER_REQUEST = 10  # texts asked for at once, as in the paper's code


def _grounded() -> list[Strategy]:
    return ["grounded"]


class Options(StepOptions):
    """Options of `faithful_text`.

    Attributes:
        task: What the texts are, as a noun phrase: `short posts that people write on social media`.
        classes: What a text of each class is like; the keys are the labels of the rows.
        values: Class for each value of the label column; without it the values are the classes.
        text: Column of the real texts.
        label: Column of their classes.
        strategies: Strategies, with their shares of the requests if they are not to be equal: `simple` shows no real
            text, `grounded` has one rewritten into the class, `similar` shows some of the class and wants more like
            them, `taxonomy` has one rewritten in one of the ways that the model has named before.
        accept: Rows to accept of each class: one number, or one for each class.
        per_request: Texts asked for in one request; 10 by default, 1 with `small_model`, which asks for no more.
        nodes: Ways of each class that the model is to name for `taxonomy`.
        attempts: Rounds of requests for ways, if the first one does not name enough.
        shown: Real texts that a request of `similar` shows.
        copy_above: Highest share of a text's words that a real text which it was shown has in the same order (precision
            of ROUGE-L; the beginning of a real text has 1); by default only a copy, word for word, is turned away.
        keep_ground: Whether rows have the columns `ground` and `ground_label`.
        small_model: For models of about a billion parameters or fewer: short prompts, one text a request, answers held
            to a form where the engine can.
        writing: Sampling of texts.
        naming: Sampling of ways.
        stop: Give a class up when fewer than this share of its last so many requests gave a row.
        window: Requests open at once; twice `engine.max_in_flight` by default.
    """

    task: Sentence
    classes: dict[Annotated[str, Field(min_length=1)], Sentence] = Field(min_length=1)
    values: dict[str, str] = Field(default={})
    text: Column = "text"
    label: Column = "label"
    strategies: dict[Strategy, Weight] | list[Strategy] = Field(default_factory=_grounded, min_length=1)
    accept: Count | dict[str, Count] = 100
    per_request: Count | None = None
    nodes: Count = 30
    attempts: Count = 3
    shown: Count = 3
    copy_above: Fraction | None = None
    keep_ground: bool = False
    small_model: bool = False
    writing: SamplingOptions | None = None
    naming: SamplingOptions | None = None
    stop: Rate = Rate(rate=0.02, over=200)
    window: Count | None = None

    @field_validator("strategies")
    @classmethod
    def _each_once(cls, given: dict[Strategy, float] | list[Strategy]) -> dict[Strategy, float] | list[Strategy]:
        if len(set(given)) < len(given):
            raise ValueError("a strategy is named twice; give shares instead: {simple: 1, grounded: 2}")
        return given

    @model_validator(mode="after")
    def _classes_are_known(self) -> Options:
        for option, names in (("values", self.values.values()), ("accept", self._numbers())):
            for name in names:
                if name not in self.classes:
                    hint = did_you_mean(name, self.classes) or f"; there are {', '.join(self.classes)}"
                    raise ValueError(f"'{option}' names the class '{name}', which 'classes' does not{hint}")
        if missing := [name for name in self.classes if self._numbers() and name not in self._numbers()]:
            raise ValueError(f"'accept' gives no number for the class '{missing[0]}'")
        if missing := [name for name in self.classes if self.values and name not in self.values.values()]:
            raise ValueError(f"'values' gives no value for the class '{missing[0]}'")
        if self.small_model and (self.per_request or 1) > 1:
            raise ValueError("small_model asks for one text at a time: take out per_request, or set it to 1")
        return self

    def _numbers(self) -> dict[str, int]:
        return self.accept if isinstance(self.accept, dict) else {}

    def effective(self) -> Options:
        """With the values that depend on `small_model` written out."""
        found = {"per_request": self.asked(), "writing": self.writing_sampling(), "naming": self.naming_sampling()}
        return self.model_copy(update=found)

    def shares(self) -> dict[Strategy, float]:
        """Share of each strategy in the requests, adding up to 1."""
        weights = self.strategies if isinstance(self.strategies, dict) else dict.fromkeys(self.strategies, 1.0)
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}

    def wanted(self, label: str) -> int:
        """Rows to accept of a class."""
        return self.accept[label] if isinstance(self.accept, dict) else self.accept

    def asked(self) -> int:
        """Texts that a request asks for."""
        return self.per_request or (1 if self.small_model else PER_REQUEST)

    def named(self, missing: int) -> int:
        """Ways that a request asks for where so many are missing."""
        return 1 if self.small_model else missing

    def writing_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or the paper's (T 1, top-p 1, frequency 0.5, presence 0.4, 700 tokens for ten texts)."""
        if self.writing is not None:
            return self.writing
        if self.small_model:
            return SamplingOptions(max_tokens=64, temperature=0.8, top_p=0.9, repetition_penalty=1.05, stop=["\n"])
        most = max(128, 70 * self.asked())
        return SamplingOptions(max_tokens=most, frequency_penalty=0.5, presence_penalty=0.4)

    def naming_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or one that leaves room for all ways."""
        if self.naming is not None:
            return self.naming
        if self.small_model:
            return SamplingOptions(max_tokens=24, temperature=0.8, top_p=0.9, repetition_penalty=1.05, stop=["\n"])
        return SamplingOptions(max_tokens=max(512, 48 * self.nodes), temperature=0.7, top_p=0.95)
