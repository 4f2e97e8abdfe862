"""Runs a recipe of a table in a process that may be killed: `python killed_driver.py RECIPE OUT LOG`.

The log has a line `step N` for each training step, N being how many were done before, and a line `rows SEED` for each
batch of rows that is begun. Checkpoints come five times a second, and a batch takes at least a tenth of a second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

import factory
from factory.tables.great import training as great
from factory.tables.great.sampling import TransformersSampler
from factory.tables.row_transformer import training as row_transformer
from factory.tables.row_transformer.sampling import RowSampler


def main(recipe: Path, out: Path, log: Path) -> int:
    torch.set_num_threads(1)
    row_transformer.STORE_S = 0.2

    def note(line: str) -> None:
        with log.open("a") as lines:
            lines.write(f"{line}\n")

    def noted_steps(kind: Any, name: str, done: Any) -> None:
        step = getattr(kind, name)

        def noted(self: Any, *arguments: Any) -> Any:
            note(f"step {done(self)}")
            return step(self, *arguments)

        setattr(kind, name, noted)

    def noted_rows(kind: Any) -> None:
        sample = kind.sample

        def noted(self: Any, wants: Any, seed: int, say: Any) -> Any:
            note(f"rows {seed}")
            time.sleep(0.1)
            return sample(self, wants, seed, say)

        kind.sample = noted

    noted_steps(great._Training, "_step", lambda training: training.state.step)
    noted_steps(row_transformer.Training, "_update", lambda training: training.place.step)
    noted_rows(TransformersSampler)
    noted_rows(RowSampler)
    return factory.run(recipe, out, progress=False).exit_code


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
