"""Learning an autoencoder of rows, and its bytes.

Tvae().fit(table, rules, seed=1, folder=None, say=print)  -> b'...', 2,000 rows in half a minute

The bytes are msgpack: features as JSON, for their whole numbers may be of any size, and weights as little-endian floats.
Always on the processor: the network is too small for a device to be of use.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from factory.tables.learnable import check
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Say
from factory.tables.tvae.features import Choices, Feature, Modes, feature_of
from factory.tables.tvae.network import LEAST_SIGMA, MOST_SIGMA, initial, loss, parts_of
from factory.tables.tvae.sampling import TvaeSampler

if TYPE_CHECKING:
    import torch


class TvaeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the autoencoder; the values given here are those of Xu et al. 2019.

    Attributes:
        epochs: Passes over the table.
        batch_rows: Rows of a step.
        hidden: Width of its layers.
        latent: Dimensions between encoder and decoder.
        learning_rate: Of Adam.
        weight_decay: L2 penalty.
    """

    epochs: int = 300
    batch_rows: int = 500
    hidden: int = 128
    latent: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5


class Tvae:
    """Learns a table as an autoencoder; see `factory.tables.synthesizer.Synthesizer`."""

    def __init__(self, settings: TvaeSettings | None = None) -> None:
        """Learn with these settings."""
        self._settings = settings or TvaeSettings()

    def fit(self, table: Table, rules: Rules, *, seed: int, folder: Path | None, say: Say) -> bytes:
        """Learn the table.

        Raises:
            UserError: If the table has no rows, or a column of free text.
        """
        import torch

        check(table, "tvae")
        rng = np.random.default_rng(seed)
        features, encoded = [], []
        for column in table.schema.learned:
            say(f"modes of '{column.name}'")
            cells = table.cells[column.name]
            features.append(feature_of(column, cells, rng))
            encoded.append(features[-1].encode(column, cells, rng))
        rows = torch.from_numpy(np.concatenate([np.zeros((table.rows, 0)), *encoded], axis=1)).float()
        weights = self._train(rows, features, torch.Generator().manual_seed(seed), say)
        return _written(features, weights)

    def load(self, model: bytes, schema: Schema, rules: Rules, folder: Path | None) -> TvaeSampler:
        """A sampler of what `fit` has returned."""
        features, weights = _read(model)
        return TvaeSampler(schema, features, weights, rules)

    def _train(
        self, rows: torch.Tensor, features: Sequence[Feature], generator: torch.Generator, say: Say
    ) -> dict[str, torch.Tensor]:
        """Weights after all epochs over the encoded rows, [rows, width]."""
        import torch

        settings, parts = self._settings, parts_of(features)
        weights = initial(rows.shape[1], settings.hidden, settings.latent, generator)
        for weight in weights.values():
            weight.requires_grad_()
        optimizer = torch.optim.Adam(weights.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        began = said = time.monotonic()
        for epoch in range(settings.epochs):
            order = torch.randperm(len(rows), generator=generator)
            for batch in torch.split(order, settings.batch_rows):
                optimizer.zero_grad()
                found: Any = loss(weights, rows[batch], parts, generator)
                found.backward()
                optimizer.step()
                with torch.no_grad():
                    weights["sigma"].clamp_(LEAST_SIGMA, MOST_SIGMA)
                if time.monotonic() - said > 1.0:
                    said = time.monotonic()
                    done = max(epoch, 1) / settings.epochs
                    left_s = (said - began) * (1 - done) / done
                    say(f"epoch {epoch + 1} of {settings.epochs}, loss {found.item():.3f}, {left_s:.0f} s left")
        return {name: weight.detach() for name, weight in weights.items()}


def _written(features: Sequence[Feature], weights: dict[str, torch.Tensor]) -> bytes:
    described = [msgspec.structs.asdict(feature) for feature in features]
    arrays = {name: [list(weight.shape), weight.numpy().astype("<f4").tobytes()] for name, weight in weights.items()}
    return msgspec.msgpack.encode({"features": json.dumps(described), "weights": arrays})


def _read(model: bytes) -> tuple[list[Feature], dict[str, torch.Tensor]]:
    import torch

    read = msgspec.msgpack.decode(model)
    features: list[Feature] = []
    for each in json.loads(read["features"]):
        if "cells" in each:
            features.append(Choices(tuple(each["cells"])))
        else:
            features.append(
                Modes(each["low"], each["high"], tuple(each["means"]), tuple(each["spreads"]), each["missing"])
            )
    weights = {
        name: torch.from_numpy(np.frombuffer(written, dtype="<f4").reshape(shape).astype(np.float32))
        for name, (shape, written) in read["weights"].items()
    }
    return features, weights
