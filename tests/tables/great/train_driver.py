"""Trains in a process of its own, to be killed: `train_driver.py FOLDER CHECKPOINT_S STEP_S`."""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from small_tables import QUICK, small_table

import factory.tables.great.training as training
from factory.tables.great.training import train


def main() -> None:
    import msgspec

    torch.set_num_threads(1)
    folder, checkpoint_s, step_s = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    training.SAY_S = 0.0

    def say(text: str) -> None:
        print(text, flush=True)
        time.sleep(step_s)

    settings = msgspec.structs.replace(QUICK, checkpoint_s=checkpoint_s, epochs=4, evaluate_every=7)
    train(small_table(), settings, seed=3, folder=folder, say=say)


if __name__ == "__main__":
    main()
