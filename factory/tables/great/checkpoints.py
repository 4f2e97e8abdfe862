"""Checkpoints of a training: written whole or not at all, the last two kept and the best weights so far.

    checkpoints = Checkpoints(folder, fingerprint)
    checkpoints.save(state, weights, optimizer)          # folder/step-120/{weights,optimizer}.safetensors, state.json
    checkpoints.last()                                   # the newest one, or None

A checkpoint is written beside its final place and renamed, so a kill at any moment leaves whole ones only. Those of
another table, seed or settings (another fingerprint) are never taken up, and are removed by the first of a new training.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

KEPT = 2


class State(msgspec.Struct, kw_only=True):
    """How far a training is.

    Attributes:
        fingerprint: Of table, seed, settings and base.
        step: Steps done.
        rows: Rows read.
        steps: Steps in all, as planned.
        timed: Whether the time limit has become a number of steps.
        elapsed_s: Seconds spent, over all processes.
        best: Held-out loss of the best weights, in nats per token.
        best_step: Their step; None where there are none yet.
        waited: Evaluations since.
        ended: Why training ended; empty while it has not.
        curve: Step, mean training loss since the last evaluation, and held-out loss.
        since: Sum of the training losses since the last evaluation, and their number.
    """

    fingerprint: str
    step: int = 0
    rows: int = 0
    steps: int = 0
    timed: bool = False
    elapsed_s: float = 0.0
    best: float | None = None
    best_step: int | None = None
    waited: int = 0
    ended: str = ""
    curve: list[tuple[int, float, float | None]] = []
    since: tuple[float, int] = (0.0, 0)


class Checkpoints:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Look into a folder, which is made when something is written."""
        self._folder, self._fingerprint = folder, fingerprint

    def last(self) -> tuple[State, Path] | None:
        """The newest checkpoint of this training."""
        for place in sorted(self._folder.glob("step-*"), key=_step_of, reverse=True):
            state = msgspec.json.decode((place / "state.json").read_bytes(), type=State)
            if state.fingerprint == self._fingerprint:
                return state, place
        return None

    def save(self, state: State, weights: dict[str, Any], optimizer: Any) -> None:
        """Write a checkpoint and remove those that it replaces."""
        from safetensors.torch import save_file

        work, target = self._folder / ".step", self._folder / f"step-{state.step}"
        self._prepare(work)
        save_file({name: _plain(tensor) for name, tensor in weights.items()}, work / "weights.safetensors")
        save_file(_flat(optimizer), work / "optimizer.safetensors")
        (work / "state.json").write_bytes(msgspec.json.encode(state))
        self._discard(target)
        work.rename(target)
        self._tidy()

    def save_best(self, step: int, weights: dict[str, Any]) -> None:
        """Write weights that are the best so far; older ones stay as long as a checkpoint names them."""
        from safetensors.torch import save_file

        work = self._folder / ".best"
        self._prepare(work)
        save_file({name: _plain(tensor) for name, tensor in weights.items()}, work / "weights.safetensors")
        target = self._folder / f"best-{step}"
        self._discard(target)
        work.rename(target)

    def best(self, step: int) -> dict[str, Any]:
        """The weights that `save_best` wrote."""
        return weights_of(self._folder / f"best-{step}")

    def remove(self) -> None:
        """Remove all of them."""
        for place in [*self._folder.glob("step-*"), *self._folder.glob("best-*")]:
            self._discard(place)

    def _discard(self, place: Path) -> None:
        """Remove a folder so that a kill leaves nothing half removed under its name."""
        if place.exists():
            gone = self._folder / ".gone"
            shutil.rmtree(gone, ignore_errors=True)
            place.rename(gone)
            shutil.rmtree(gone)

    def _prepare(self, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)

    def _tidy(self) -> None:
        named: set[int | None] = set()
        kept = 0
        for place in sorted(self._folder.glob("step-*"), key=_step_of, reverse=True):
            state = msgspec.json.decode((place / "state.json").read_bytes(), type=State)
            if state.fingerprint == self._fingerprint and kept < KEPT:
                kept += 1
                named.add(state.best_step)
            else:
                self._discard(place)
        for place in self._folder.glob("best-*"):
            if _step_of(place) not in named:
                self._discard(place)


def weights_of(place: Path) -> dict[str, Any]:
    """The weights of a checkpoint, by name."""
    from safetensors.torch import load_file

    return dict(load_file(place / "weights.safetensors"))


def restore_optimizer(optimizer: Any, place: Path) -> None:
    """Give an optimizer the moments that a checkpoint holds."""
    from safetensors.torch import load_file

    state: dict[int, dict[str, Any]] = {}
    for name, tensor in load_file(place / "optimizer.safetensors").items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _flat(optimizer: Any) -> dict[str, Any]:
    state = optimizer.state_dict()["state"]
    return {f"{number}.{key}": _plain(tensor) for number, values in state.items() for key, tensor in values.items()}


def _plain(tensor: Any) -> Any:
    return tensor.detach().cpu().contiguous()


def _step_of(place: Path) -> int:
    return int(place.name.rpartition("-")[2])
