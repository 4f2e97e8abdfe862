"""The row transformer: learns a table with one token for each cell, and draws rows in any order of their columns.

    model = RowTransformer(Settings()).fit(table, rules, seed=1, folder=None, say=print)
    sampler = RowTransformer(Settings()).load(model, table.schema, rules, None)
    sampler.sample([Want(), Want({"income": just(1)})], seed=7, say=print)

About half a million parameters on a vocabulary that is the table's own: what a text model must learn first (names,
separators, how numbers are written) is given here, so that all of it goes into how columns depend on each other. Free
text it cannot learn; that is what `great` is for.

The bytes of a model are a file in safetensors form: the weights, and in its metadata, as JSON, the columns' vocabularies
and the sizes of the network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from factory.errors import UserError
from factory.tables.column import Column
from factory.tables.row_transformer.binning import bins_of
from factory.tables.row_transformer.bins import Bins
from factory.tables.row_transformer.network import Network, Shape
from factory.tables.row_transformer.sampling import RowSampler
from factory.tables.row_transformer.settings import Settings
from factory.tables.row_transformer.training import Ints, Training
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Sampler, Say

CHECKPOINT = "row_transformer.safetensors"


class RowTransformer:
    """A synthesizer (`factory.tables.synthesizer.Synthesizer`)."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings."""
        self._settings = settings

    def fit(self, table: Table, rules: Rules, *, seed: int, folder: Path | None, say: Say) -> bytes:
        """Learn the table; see `Synthesizer.fit`. Rules are kept when rows are drawn and need no learning.

        Raises:
            UserError: If there are no rows, nothing to learn, a column of free text, or no torch.
            DiskError: If a checkpoint cannot be written.
        """
        _check_torch()
        from safetensors.torch import save

        columns = _learnable(table.schema)
        if table.rows == 0:
            raise UserError("row_transformer: the table has no rows; expected at least one to learn from.")
        vocabularies = [bins_of(column, table.cells[column.name], self._settings) for column in columns]
        tokens = _tokens(columns, vocabularies, table)
        settings = self._settings
        shape = Shape(
            tuple(bins.tokens for bins in vocabularies), settings.hidden_size, settings.layers, settings.heads
        )
        described = json.dumps(
            {
                "columns": [column.name for column in columns],
                "bins": msgspec.to_builtins(vocabularies),
                "shape": msgspec.to_builtins(shape),
            }
        )
        key = _key(described, tokens, settings, seed)
        path = None if folder is None else folder / CHECKPOINT
        weights = Training(tokens, shape, settings, seed=seed, say=say, key=key, path=path).run()
        return bytes(save(weights, {"model": described}))

    def load(self, model: bytes, schema: Schema, rules: Rules, folder: Path | None) -> Sampler:
        """A sampler of what `fit` has returned; temperature, order and batches are those of these settings.

        Raises:
            UserError: If the model was learnt from a table with other columns, or there is no torch.
        """
        _check_torch()
        import torch
        from safetensors.torch import load

        described = json.loads(_metadata(model)["model"])
        columns = _learnable(schema)
        names = [column.name for column in columns]
        if described["columns"] != names:
            raise UserError(
                f"row_transformer: the model has learnt the columns {', '.join(described['columns'])}, but the schema "
                f"has {', '.join(names)}; learn the table again."
            )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights = {name: tensor.to(device) for name, tensor in load(model).items()}
        network = Network(msgspec.convert(described["shape"], Shape), weights)
        vocabularies = msgspec.convert(described["bins"], list[Bins])
        return RowSampler(network, columns, vocabularies, rules, self._settings)


def _check_torch() -> None:
    try:
        import safetensors.torch  # noqa: F401 - imports torch
    except ImportError as error:
        raise UserError(
            f"row_transformer: {error}; it needs torch and safetensors, which pip install 'dataset-factory[train]' brings."
        ) from error


def _learnable(schema: Schema) -> tuple[Column, ...]:
    """The columns that are learnt."""
    text = [f"'{column.name}'" for column in schema.learned if column.kind == "text"]
    if text:
        raise UserError(
            f"row_transformer: cannot learn the free text of {', '.join(text)}; expected categories, numbers or dates. "
            "Use the synthesizer 'great', or leave the text out."
        )
    if not schema.learned:
        raise UserError("row_transformer: no column to learn; expected one that is not an identifier.")
    return schema.learned


def _tokens(columns: Sequence[Column], vocabularies: Sequence[Bins], table: Table) -> Ints:
    """[rows, columns]."""
    tokens = np.zeros((table.rows, len(columns)), np.int64)
    for number, (column, bins) in enumerate(zip(columns, vocabularies, strict=True)):
        tokens[:, number] = [bins.token(cell) for cell in table.cells[column.name]]
    return tokens


def _key(described: str, tokens: Ints, settings: Settings, seed: int) -> str:
    """Names a training: the same table, settings and seed."""
    parts = (described.encode(), tokens.tobytes(), msgspec.json.encode(settings), str(seed).encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _metadata(model: bytes) -> dict[str, str]:
    """Metadata of bytes in safetensors form: 8 bytes of length, then JSON."""
    length = int.from_bytes(model[:8], "little")
    found: dict[str, str] = json.loads(model[8 : 8 + length])["__metadata__"]
    return found
