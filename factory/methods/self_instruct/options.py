"""What a recipe may say about `self_instruct`; the defaults are the paper's where it gives any."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from factory.methods.self_instruct.rules import BLACKLIST, ONE_CALL_BLACKLIST, Rules
from factory.recipe.schema import Count, Fraction, Rate, SamplingOptions, StepOptions, Strict

NEW_TASKS = 8  # as many as `self_instruct/instructions` asks for
Small = Annotated[int, Field(ge=0, le=64)]


class Demonstrations(Strict):
    """How many tasks a request for instructions shows.

    Attributes:
        seed: Seed tasks; they also stand in for machine tasks while there are too few.
        machine: Accepted machine tasks.
    """

    seed: Small = 6
    machine: Small = 2


class StopRules(Strict):
    """When to give up before `accept` is reached; both are decided in request order.

    Attributes:
        acceptance_below: Share of accepted among the last so many candidates.
        novelty_below: Share of novel among the last so many candidates that passed the other rules.
    """

    acceptance_below: Rate | None = Rate(rate=0.002, over=5000)
    novelty_below: Rate | None = None


class Options(StepOptions):
    """Options of `self_instruct`.

    Attributes:
        accept: Instructions to accept, each with at least one instance.
        variant: `paper` asks for instructions, then whether each is a classification task, then for its
            instances; `one_call` asks for all of it at once, as Stanford Alpaca did.
        small_model: For models of about a billion parameters or fewer: shorter prompts that begin the answer,
            one task a request, fewer demonstrations, answers held to a form where the engine can.
        window: Requests for instructions between the answers that a prompt is built from and the prompt: request
            i sees the pool as it stands after answers 0 to i - window.
        demonstrations: Tasks shown in a request for instructions.
        threshold: Highest ROUGE-L F-measure with any task of the pool that is accepted.
        tokenizer: How texts are compared; see `factory.novelty.tokenizers`.
        rules: Limits on an instruction.
        max_instances: Instances kept of one instruction.
        instructions: Sampling of the requests for instructions; None takes the variant's default, likewise below.
        classification: Sampling of the requests for a verdict.
        instances: Sampling of the requests for instances.
        stop: When to give up.
    """

    accept: Count = 100
    variant: Literal["paper", "one_call"] = "paper"
    small_model: bool = False
    window: Count | None = None
    demonstrations: Demonstrations | None = None
    threshold: Fraction = 0.7
    tokenizer: Literal["auto", "rouge", "unicode"] = "auto"
    rules: Rules = Rules()
    max_instances: Count = 5
    instructions: SamplingOptions | None = None
    classification: SamplingOptions = SamplingOptions(max_tokens=3, temperature=0.0)
    instances: SamplingOptions | None = None
    stop: StopRules = StopRules()

    @model_validator(mode="after")
    def _one_call_shows_seeds(self) -> Options:
        if self.variant == "one_call" and self.demonstrations is not None and self.demonstrations.machine:
            raise ValueError("variant one_call shows seed tasks only, as Alpaca did: set demonstrations.machine to 0")
        return self

    def effective(self) -> Options:
        """With the variant's values where the recipe gives none."""
        found = {
            "demonstrations": self.shown(),
            "instructions": self.instruction_sampling(),
            "instances": self.instance_sampling(),
            "rules": self.rules.model_copy(update={"blacklist": list(self.blacklist())}),
        }
        return self.model_copy(update=found)

    def blacklist(self) -> tuple[str, ...]:
        """The words of the recipe, or the variant's."""
        if self.rules.blacklist is not None:
            return tuple(self.rules.blacklist)
        return ONE_CALL_BLACKLIST if self.variant == "one_call" else BLACKLIST

    def shown(self) -> Demonstrations:
        """Demonstrations of the recipe, or the variant's: 6 + 2, Alpaca's 3 + 0, or 2 + 1 for a small model."""
        if self.demonstrations is not None:
            return self.demonstrations
        if self.variant == "one_call":
            return Demonstrations(seed=3, machine=0)
        return Demonstrations(seed=2, machine=1) if self.small_model else Demonstrations()

    def instruction_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or the variant's (paper: T 0.7, top-p 0.5, presence 2, 1024 tokens).

        The stops end an answer after as many tasks as the prompt asks for. They begin with a line end: a bare
        "16." as in the paper's code also ends "in 2016." in the middle, and the rest passes for a whole task.
        """
        if self.instructions is not None:
            return self.instructions
        if self.variant == "one_call":
            return SamplingOptions(max_tokens=3072, stop=["\n21. Instruction", "\n22. Instruction"])
        if self.small_model:
            return SamplingOptions(max_tokens=64, temperature=0.7, top_p=0.9, stop=["\n"])
        shown = self.shown()
        beyond = shown.seed + shown.machine + NEW_TASKS + 1
        stop = [f"\n{beyond}.", f"\n{beyond + 1}."]
        return SamplingOptions(max_tokens=1024, temperature=0.7, top_p=0.5, presence_penalty=2.0, stop=stop)

    def instance_sampling(self) -> SamplingOptions:
        """Sampling of the recipe, or the variant's (paper: T 0, presence 1.5, 350 tokens)."""
        if self.instances is not None:
            return self.instances
        if self.small_model:
            return SamplingOptions(max_tokens=256, temperature=0.2, top_p=0.9, repetition_penalty=1.1)
        return SamplingOptions(max_tokens=350, temperature=0.0, presence_penalty=1.5, stop=["\nExample 6", "\nTask:"])


def instruction_prompt(options: Options) -> str:
    """Name of the prompt that asks for instructions."""
    if options.variant == "one_call":
        return "self_instruct/one_call"
    return "self_instruct/instructions_small" if options.small_model else "self_instruct/instructions"


def prompt_names(small: bool) -> dict[str, str]:
    """Prompt of each stage."""
    suffix = "_small" if small else ""
    return {
        "classification": f"self_instruct/classification{suffix}",
        "input_first": f"self_instruct/input_first{suffix}",
        "output_first": f"self_instruct/output_first{suffix}",
    }
