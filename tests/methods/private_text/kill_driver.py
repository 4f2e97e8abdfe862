"""Runs a recipe in a process that kills itself in a given step, before the noise or after the step; to be started by tests."""

from __future__ import annotations

import os
import signal
import sys

import factory
from factory.privacy import training


def main(recipe: str, out: str, at: int, where: str) -> None:
    """Run, and die there."""
    plain = training._Training.take

    def take(self: training._Training, examples: object) -> None:
        if self.step + 1 == at and where == "drawing":
            self._payment.ledger.spend(self._payment.run, steps=1)
            os.kill(os.getpid(), signal.SIGKILL)
        plain(self, examples)  # type: ignore[arg-type]
        if self.step == at and where == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    training._Training.take = take  # type: ignore[method-assign]
    factory.run(recipe, out, progress=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
