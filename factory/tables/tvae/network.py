"""The autoencoder: two layers of 128 to a normal distribution of 128 dimensions, and back.

Xu et al. 2019, section 4.5 and the authors' settings: reconstruction counts twice, Adam 1e-3, weight decay 1e-5. The
decoder gives each number a mean, and all rows share its standard deviation; each choice gets a softmax. Rows are drawn
from these distributions, as the paper writes the model; the authors' code takes the most probable choice instead, by
which a discriminator tells the rows of Adult apart more easily (AUC .97 against .89, 2,000 rows, two seeds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from factory.tables.tvae.features import Feature

if TYPE_CHECKING:
    import torch

FACTOR: Final = 2.0  # of the reconstruction against the divergence
LEAST_SIGMA, MOST_SIGMA, FIRST_SIGMA = 0.01, 1.0, 0.1  # from the authors' code


class Part(msgspec.Struct, frozen=True):
    """Where a column lies in a row of features.

    Attributes:
        start: First of its numbers.
        numbers: How many places within modes it has, 0 or 1.
        choices: Length of its one-hot part, behind these.
    """

    start: int
    numbers: int
    choices: int

    @property
    def hot(self) -> slice:
        """The one-hot part."""
        return slice(self.start + self.numbers, self.start + self.numbers + self.choices)


def parts_of(features: Sequence[Feature]) -> tuple[Part, ...]:
    """The parts of a row, one after the other."""
    parts: list[Part] = []
    for feature in features:
        start = parts[-1].hot.stop if parts else 0
        parts.append(Part(start, feature.numbers, feature.choices))
    return tuple(parts)


def initial(width: int, hidden: int, latent: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Weights to begin with, uniform within 1 / sqrt(inputs) as in torch's linear layers; none touches a global seed."""
    import torch

    shapes = {
        "encoder.0": (width, hidden), "encoder.1": (hidden, hidden), "mean": (hidden, latent), "spread": (hidden, latent),
        "decoder.0": (latent, hidden), "decoder.1": (hidden, hidden), "decoder.2": (hidden, width),
    }  # fmt: skip
    weights = {}
    for name, (inputs, outputs) in shapes.items():
        bound = max(inputs, 1) ** -0.5
        weights[f"{name}.weight"] = (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * bound
        weights[f"{name}.bias"] = (torch.rand(outputs, generator=generator) * 2 - 1) * bound
    weights["sigma"] = torch.full((width,), FIRST_SIGMA)
    return weights


def encoded(weights: dict[str, torch.Tensor], rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and logarithm of the variance of rows, each [rows, latent]."""
    hidden = _layer(weights, "encoder.1", _layer(weights, "encoder.0", rows).relu()).relu()
    return _layer(weights, "mean", hidden), _layer(weights, "spread", hidden)


def decoded(weights: dict[str, torch.Tensor], latent: torch.Tensor) -> torch.Tensor:
    """Means before tanh, and logits, [rows, width]."""
    hidden = _layer(weights, "decoder.1", _layer(weights, "decoder.0", latent).relu()).relu()
    return _layer(weights, "decoder.2", hidden)


def loss(
    weights: dict[str, torch.Tensor], rows: torch.Tensor, parts: Sequence[Part], generator: torch.Generator
) -> torch.Tensor:
    """The negative lower bound of the likelihood of rows, [rows, width], per row."""
    import torch

    mean, spread = encoded(weights, rows)
    noise = torch.randn(mean.shape, generator=generator)
    found = decoded(weights, mean + noise * (spread / 2).exp())
    total = torch.zeros(())
    for part in parts:
        if part.numbers:
            sigma = weights["sigma"][part.start]
            off = rows[:, part.start] - torch.tanh(found[:, part.start])
            total = total + (off**2 / 2 / sigma**2).sum() + len(rows) * torch.log(sigma)
        total = total - (rows[:, part.hot] * torch.log_softmax(found[:, part.hot], dim=1)).sum()
    divergence = -0.5 * (1 + spread - mean**2 - spread.exp()).sum()
    return (FACTOR * total + divergence) / len(rows)


def drawn(
    weights: dict[str, torch.Tensor], count: int, parts: Sequence[Part], generator: torch.Generator
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each part, places within modes and numbers of choices of new rows, each [rows]."""
    import torch

    found = decoded(weights, torch.randn(count, weights["mean.bias"].shape[0], generator=generator))
    result = []
    for part in parts:
        shares = torch.softmax(found[:, part.hot], dim=1).cumsum(dim=1)
        point = torch.rand(count, 1, generator=generator) * shares[:, -1:]
        place = torch.zeros(count)
        if part.numbers:
            noise = torch.randn(count, generator=generator) * weights["sigma"][part.start]
            place = (torch.tanh(found[:, part.start]) + noise).clamp(-1.0, 1.0)
        result.append((place, (shares < point).sum(dim=1).clamp(max=part.choices - 1)))
    return result


def _layer(weights: dict[str, torch.Tensor], name: str, inputs: torch.Tensor) -> torch.Tensor:
    return inputs @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
