"""What a recipe may say, apart from the options of its steps.

Every model forbids unknown keys; the options of a step are checked by the step's own model, which
derives from `StepOptions`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from factory.engines.protocol import Sampling

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
Count = Annotated[int, Field(ge=1, le=10**12, strict=True)]
Tokens = Annotated[int, Field(ge=1, le=10**8, strict=True)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Strict(BaseModel):
    """Base of everything that humans write: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class MayBePrivate(Strict):
    """Base of options that name rows of the user, and have `private: bool`: whether nobody may see those.

    Only differentially private methods may read them then (see `factory.recipe.taint`).
    """

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `private: false` where that is the default: runs from before there was the option stay the same runs."""
        told: dict[str, Any] = handler(self)
        if not told.get("private") and not type(self).model_fields["private"].default:
            told.pop("private", None)
        return told


class SamplingOptions(Strict):
    """How tokens are drawn; see `factory.engines.protocol.Sampling` for ranges and meanings."""

    max_tokens: Tokens = 512
    temperature: Annotated[float, Field(ge=0.0, le=5.0)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    top_k: Annotated[int, Field(ge=0, le=10**8)] = 0
    min_p: Fraction = 0.0
    presence_penalty: Annotated[float, Field(ge=-2.0, le=2.0)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2.0, le=2.0)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0.0, le=5.0)] = 1.0
    stop: list[Annotated[str, Field(min_length=1)]] = []

    def resolved(self) -> Sampling:
        """The frozen form that requests carry."""
        values = self.model_dump()
        return Sampling(**{**values, "stop": tuple(values["stop"])})


class EngineOptions(Strict):
    """Which model answers, and how it is reached."""

    kind: Literal["auto", "vllm", "server", "transformers", "scripted"] = "auto"
    model: Annotated[str, Field(min_length=1)] = "embedded"
    revision: str | None = None
    chat: bool = True
    max_in_flight: Count = 64
    max_model_len: Tokens | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tensor_parallel_size: Count = 1
    gpu_memory_utilization: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    urls: list[str] = []
    api_key_env: str | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 600.0
    max_retries: Annotated[int, Field(ge=0)] = 6
    server_seeds: bool = True
    server_structured: Literal["openai", "vllm", "none"] = "openai"
    server_logprobs: Annotated[int, Field(ge=0, le=10**6)] = 20
    script: str | None = None
    vllm_options: dict[str, Any] = {}


class Prices(Strict):
    """Price per million tokens, in whatever currency the budget is in."""

    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]


class Budget(Strict):
    """What the run may spend over the whole life of its directory; the first limit reached ends it."""

    requests: Count | None = None
    tokens: Count | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    money: Annotated[float, Field(gt=0)] | None = None
    prices: Prices | None = None

    @model_validator(mode="after")
    def _money_needs_prices(self) -> Budget:
        if self.money is not None and self.prices is None:
            raise ValueError("a limit on money needs 'prices: {prompt: …, completion: …}' per million tokens")
        return self


class Rate(Strict):
    """A share that must not fall below `rate` over the last `over` candidates."""

    rate: Fraction
    over: Count


class Output(Strict):
    """What the dataset says of itself, and how it is cut into files."""

    license: str | None = None
    language: list[str] = []
    rows_per_shard: Count = 500_000


class StepOptions(Strict):
    """Options that every step has.

    Attributes:
        name: Tells two steps of a kind apart; the method's name by default.
    """

    name: Name | None = None

    def effective(self) -> Self:
        """The options with every default that depends on others written out; what the manifest says of the step."""
        return self


class Head(Strict):
    """A recipe without its steps.

    `table` is what every step with an option of that name has where it has none of its own; it is checked there.
    """

    name: Name
    description: str = ""
    seed: Annotated[int, Field(ge=0, strict=True)] = 42
    engine: EngineOptions = EngineOptions()
    accept: Count | None = None
    budget: Budget = Budget()
    table: dict[str, Any] | None = None
    output: Output = Output()
