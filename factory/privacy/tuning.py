"""What is trained for a frozen model, and the gradient that each text gives it by itself.

    tuning = PromptTuning(base, tokens=20, initial="A message that somebody wrote:", scale=64)
    tuning.gradients(examples)        # one tensor a parameter: [rows, 20, width]

A soft prompt is expanded to one copy a row before the model reads it, so that autograd gives each row's gradient at once,
at the cost of an ordinary step. peft's own prompt tuning under Opacus' hooks gives the sum of the batch instead, without
an error: it must never be used. LoRA goes through Opacus' hooks, which see the rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from factory.errors import UserError
from factory.privacy.base import Base
from factory.privacy.objective import Example, losses


class Tuning(Protocol):
    """Something that is trained beside a frozen model."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The trained parameters, in float32, by name."""

    @property
    def about(self) -> str:
        """What it is, e.g. `soft prompt, 20 x 576`."""

    def gradients(self, examples: Sequence[Example]) -> list[Any]:
        """Gradient of each example's loss by each parameter: [rows, *shape]."""

    def mean_gradients(self, examples: Sequence[Example], divisor: float) -> None:
        """Add the gradient of the summed losses, divided, to `grad`: what an ordinary step does; for measuring."""

    def losses(self, examples: Sequence[Example]) -> Any:
        """Loss of each example as it is now: [rows], without gradients."""


class PromptTuning:
    """A soft prompt [P, width] before everything that the model reads (Lester et al. 2021, arXiv 2104.08691).

    Args:
        base: The model.
        tokens: P.
        initial: Public text whose embeddings it begins as, repeated as often as needed; None begins with random ones of
            the vocabulary's spread.
        scale: See `objective.losses`.
        seed: Of the random beginning.

    Raises:
        UserError: If the text has no token.
    """

    def __init__(self, base: Base, *, tokens: int, initial: str | None, scale: float, seed: int = 0) -> None:
        """Begin with the text's embeddings."""
        import torch

        self._base, self._scale = base, scale
        begin = _of_text(base, initial, tokens) if initial is not None else _random(base, tokens, seed)
        self.prompt = torch.nn.Parameter(begin.float().clone())

    @property
    def parameters(self) -> dict[str, Any]:
        """The soft prompt."""
        return {"prompt": self.prompt}

    @property
    def about(self) -> str:
        """For example `soft prompt, 20 x 576`."""
        return f"soft prompt, {self.prompt.shape[0]} x {self.prompt.shape[1]}"

    def gradients(self, examples: Sequence[Example]) -> list[Any]:
        """Gradient of each example by the soft prompt: [rows, P, width]."""
        import torch

        leaf = self._expanded(len(examples)).clone().requires_grad_(True)
        (found,) = torch.autograd.grad(losses(self._base, examples, leaf, self._scale).sum(), leaf)
        return [found]

    def mean_gradients(self, examples: Sequence[Example], divisor: float) -> None:
        """Add the gradient of the summed losses."""
        prompt = self.prompt.expand(len(examples), -1, -1)
        (losses(self._base, examples, prompt, self._scale).sum() / divisor).backward()

    def losses(self, examples: Sequence[Example]) -> Any:
        """Loss of each example."""
        import torch

        with torch.no_grad():
            return losses(self._base, examples, self._expanded(len(examples)), self._scale)

    def _expanded(self, rows: int) -> Any:
        return self.prompt.detach().expand(rows, -1, -1)


class LoraTuning:
    """Adapters of low rank on some of the model's linear layers (Hu et al. 2021, arXiv 2106.09685), by peft.

    Args:
        base: The model, which is wrapped in place.
        rank: Of the adapters.
        alpha: Their scale is alpha / rank.
        targets: Names of the layers; None takes those that peft knows for this kind of model (queries and values).
        scale: See `objective.losses`.
        seed: Of the initial weights.

    Raises:
        UserError: If the model has no layers of these names.
    """

    def __init__(
        self, base: Base, *, rank: int, alpha: float, targets: Sequence[str] | None, scale: float, seed: int = 0
    ) -> None:
        """Add the adapters and the hooks that keep the rows apart."""
        from opacus import GradSampleModule

        self._base, self._scale, self._rank = base, scale, rank
        base.model = _with_adapters(base, rank, alpha, targets, seed)
        self._parameters = {
            name: parameter for name, parameter in base.model.named_parameters() if parameter.requires_grad
        }
        base.model.eval()
        for module in base.model.modules():
            if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
                module.train()  # Opacus' hooks look at modules in training only; these have no dropout
        self._hooks = GradSampleModule(base.model, batch_first=True, loss_reduction="sum", strict=False)

    @property
    def model(self) -> Any:
        """The model with its adapters, as peft has it."""
        return self._base.model

    @property
    def parameters(self) -> dict[str, Any]:
        """The adapters' weights."""
        return self._parameters

    @property
    def about(self) -> str:
        """For example `LoRA of rank 8, 460,800 numbers`."""
        count = sum(parameter.numel() for parameter in self._parameters.values())
        return f"LoRA of rank {self._rank}, {count:,} numbers"

    def gradients(self, examples: Sequence[Example]) -> list[Any]:
        """Gradient of each example by each adapter matrix."""
        self._hooks.enable_hooks()
        try:
            with _hooks_at_the_first_layer():
                losses(self._base, examples, None, self._scale).sum().backward()
            found = [parameter.grad_sample for parameter in self._parameters.values()]
        finally:
            for parameter in self._parameters.values():
                parameter.grad = parameter.grad_sample = None
        for name, each in zip(self._parameters, found, strict=True):
            if each is None or len(each) != len(examples):
                raise UserError(
                    f"targets: {name} is not given texts row by row, as in layers that read all tokens in one list, so that "
                    "what a text contributes has no bound; name other layers."
                )
        return found

    def mean_gradients(self, examples: Sequence[Example], divisor: float) -> None:
        """Add the gradient of the summed losses."""
        self._hooks.disable_hooks()
        with _hooks_at_the_first_layer():
            (losses(self._base, examples, None, self._scale).sum() / divisor).backward()

    def losses(self, examples: Sequence[Example]) -> Any:
        """Loss of each example."""
        import torch

        with torch.no_grad():
            return losses(self._base, examples, None, self._scale)


@contextmanager
def _hooks_at_the_first_layer() -> Iterator[None]:
    """Torch warns that the first adapter's input needs no gradient, which is as it should be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        yield


def _of_text(base: Base, text: str, tokens: int) -> Any:
    import torch

    ids = base.ids(text)
    if not ids:
        raise UserError("the text that the soft prompt begins as has no token.")
    repeated = (ids * -(-tokens // len(ids)))[:tokens]
    with torch.no_grad():
        return base.embed(torch.tensor(repeated, device=base.device)).detach()


def _random(base: Base, tokens: int, seed: int) -> Any:
    import torch

    weight = base.model.get_input_embeddings().weight.detach().float()
    generator = torch.Generator().manual_seed(seed % 2**63)
    drawn = torch.randn((tokens, base.width), generator=generator).to(base.device)
    return drawn * weight.std(dim=0) + weight.mean(dim=0)


def _with_adapters(base: Base, rank: int, alpha: float, targets: Sequence[str] | None, seed: int) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft takes any number
        lora_dropout=0.0,
        target_modules=None if targets is None else list(targets),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**63)
        try:
            model = get_peft_model(base.model, config)
        except ValueError as error:
            raise UserError(f"targets: {str(error).splitlines()[0]} Name layers of {base.name}.") from error
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            if "lora_" not in name:
                raise UserError(f"model {base.name}: {name} would be trained; only adapters may be.")
            parameter.data = parameter.data.float()
    return model
