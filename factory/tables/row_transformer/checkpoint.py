"""The state of a training on disk, to go on from after a kill: one file, replaced as a whole.

    store(path, State(key="5f0c…", step=240, …))
    restore(path, "5f0c…")      # the state, or None if there is none of this training

The file is in safetensors form: tensors under "<part>/<name>", the rest as JSON in its metadata. Nothing is pickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from factory.errors import DiskError

if TYPE_CHECKING:
    from factory.tables.row_transformer.network import Weights

PARTS = ("weights", "average", "best", "first_moment", "second_moment")


class Place(msgspec.Struct, kw_only=True):
    """Where a training is.

    Attributes:
        key: Names the training: its table, settings and seed.
        step: Updates so far.
        looks: Looks at the held-out rows so far.
        best_look: The one with the least loss.
        best_loss: That loss, in nats a row; None before the first look.
        done: Whether training has ended.
    """

    key: str
    step: int = 0
    looks: int = 0
    best_look: int = 0
    best_loss: float | None = None
    done: bool = False


def store(path: Path, place: Place, parts: dict[str, Weights]) -> None:
    """Write a state in place of the one before.

    Raises:
        DiskError: If it cannot be written.
    """
    from safetensors.torch import save

    tensors = {f"{part}/{name}": tensor.cpu() for part, named in parts.items() for name, tensor in named.items()}
    written = save(tensors, {"place": json.dumps(msgspec.to_builtins(place))})
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(written)
        beside.replace(path)
    except OSError as error:
        raise DiskError(f"{path}: the checkpoint of the training cannot be written: {error}.") from error


def restore(path: Path, key: str) -> tuple[Place, dict[str, Weights]] | None:
    """The state that was stored, by part; None if there is none, or one of another training."""
    if not path.exists():
        return None
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        place = msgspec.convert(json.loads(file.metadata()["place"]), Place)
        if place.key != key:
            return None
        parts: dict[str, Weights] = {part: {} for part in PARTS}
        for whole in file.keys():  # noqa: SIM118 - no mapping
            part, name = whole.split("/", 1)
            parts[part][name] = file.get_tensor(whole).clone()
    return place, parts
