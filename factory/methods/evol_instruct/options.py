"""What a recipe may say about `evol_instruct`; the defaults are the paper's where it gives any."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from factory.methods.evol_instruct.operations import PAPER, known
from factory.recipe.schema import Count, SamplingOptions, StepOptions, Strict
from factory.recipe.suggest import did_you_mean

Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Column = Annotated[str, Field(min_length=1)]


class Columns(Strict):
    """Columns of the rows that come in.

    Attributes:
        instruction: The task.
        input: What the task works on; it is joined to the task, as in the paper.
        output: The answer; a row without one is answered first.
    """

    instruction: Column = "instruction"
    input: Column = "input"
    output: Column = "output"


class Elimination(Strict):
    """The four rules of the paper's elimination; false switches one off.

    Attributes:
        equal: A judge finds that the evolved task has the constraints, depth and breadth of its parent.
        sorry: The answer says "sorry" in fewer than 80 words, and the task does not ask for it.
        stop_words: The answer consists of punctuation and stop words.
        leak: The evolved task repeats words of the prompt that its parent does not have.
    """

    equal: bool = True
    sorry: bool = True
    stop_words: bool = True
    leak: bool = True


class Options(StepOptions):
    """Options of `evol_instruct`.

    Attributes:
        epochs: Evolutions of each row, one after the other; a failed one leaves its parent for the next.
        operations: Weight of each operation; all six of the paper with equal weights by default.
        elimination: Rules that turn an evolution away.
        small_model: For models of about a billion parameters or fewer: prompts that begin the evolved task, answers
            held to a form where the engine can.
        columns: Names of the columns that come in.
        keep_columns: Further columns of a row that its evolutions keep.
        include_start: Whether the rows that came in are part of the dataset, as in the paper.
        answer_start: Whether a row that comes without an answer gets one; else it is rejected.
        keep_cut: Keep an answer that was cut at `max_tokens`.
        shuffle: Mix all rows at the end, by the recipe's seed; without it they come as they are made.
        sample: Rows drawn at random from all of them at the end; the paper draws 70,000 of 250,000.
        accept: Rows to keep, those that came in included; the step ends there.
        window: Rows evolved at once; four times `engine.max_in_flight` by default.
        evolve: Sampling of evolutions; None takes the paper's (T 1, top-p 0.9, 2,048 tokens), likewise below.
        judge: Sampling of the judge of equality.
        judge_attempts: Tries until the judge's answer can be read.
        answer: Sampling of answers.
    """

    epochs: Count = 4
    operations: dict[str, Weight] = Field(default=dict.fromkeys(PAPER, 1.0))
    elimination: Elimination = Elimination()
    small_model: bool = False
    columns: Columns = Columns()
    keep_columns: list[Column] = Field(default=[])
    include_start: bool = True
    answer_start: bool = True
    keep_cut: bool = False
    shuffle: bool = True
    sample: Count | None = None
    accept: Count | None = None
    window: Count | None = None
    evolve: SamplingOptions | None = None
    judge: SamplingOptions | None = None
    judge_attempts: Count = 2
    answer: SamplingOptions | None = None

    @field_validator("operations")
    @classmethod
    def _known_operations(cls, given: dict[str, float]) -> dict[str, float]:
        for name in given:
            if name not in known():
                hint = did_you_mean(name, known()) or f"; there are {', '.join(known())}"
                raise ValueError(f"no operation is called '{name}'{hint}")
        if not any(given.values()):
            raise ValueError("at least one operation needs a weight above 0")
        return given

    @model_validator(mode="after")
    def _sample_is_made(self) -> Options:
        if self.sample is not None and self.accept is not None and self.accept < self.sample:
            raise ValueError(f"sample: {self.sample:,} rows cannot be drawn from the {self.accept:,} of accept")
        return self

    def effective(self) -> Options:
        """With the sampling of the size of model where the recipe gives none."""
        found = {"evolve": self.evolve_sampling(), "judge": self.judge_sampling(), "answer": self.answer_sampling()}
        return self.model_copy(update=found)

    def evolve_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or the default for the size of the model."""
        if self.evolve is not None:
            return self.evolve
        if self.small_model:
            return SamplingOptions(max_tokens=128, temperature=0.8, top_p=0.9)
        return SamplingOptions(max_tokens=2048, temperature=1.0, top_p=0.9)

    def judge_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or greedy."""
        return self.judge or SamplingOptions(max_tokens=64, temperature=0.0)

    def answer_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or the default for the size of the model."""
        if self.answer is not None:
            return self.answer
        if self.small_model:
            return SamplingOptions(max_tokens=256, temperature=0.2, top_p=0.9, repetition_penalty=1.1)
        return SamplingOptions(max_tokens=2048, temperature=1.0, top_p=0.9)
