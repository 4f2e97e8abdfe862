"""Trains the network of a row transformer: random orders, AdamW, an average of the weights, the best look kept.

    weights = Training(tokens, shape, settings, seed=1, say=print).run()
    say: "pass 12 of 100, loss 14.21 (held-out 14.63, best 14.60) nats a row, ETA 01:05"

Each row comes with a new order of its columns every time that it is read. A tenth of the rows is held out and looked at
once a pass; the averaged weights of the look with the least loss are kept, and training ends when `patience` looks have
brought nothing better. What is random in an update is drawn from the seed and the number of the update, so a training that
goes on from a checkpoint ends with the same bytes as one that was never stopped (on a CPU).

AdamW: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2, without decay for biases and
norms; linear warm-up and a cosine down to nothing.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factory.tables.row_transformer.checkpoint import PARTS, Place, restore, store
from factory.tables.row_transformer.network import Network, Shape, initial
from factory.tables.row_transformer.settings import Settings
from factory.tables.synthesizer import Say

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.optim import Optimizer

    from factory.tables.row_transformer.network import Weights

Ints = npt.NDArray[np.int64]
SAY_S = 2.0
STORE_S = 20.0
BATCH_CELLS = 8_192  # of an update at most, for memory
HELD_OUT_ROWS = 2_000  # at most: more tell no better when to stop
FEWEST_ROWS = 10  # for which some are held out
LOOK_STEPS = 10  # at least between two looks, where a pass has fewer updates
BETAS = (0.9, 0.99)  # of AdamW
MAX_GRAD_NORM = 1.0
_SPLIT, _INITIAL, _PASS, _STEP, _LOOK = range(5)  # what a random stream is for


class Training:
    """One training.

    Attributes:
        place: How far it is.
        history: Held-out loss of each look since this process began, in nats a row.
    """

    def __init__(
        self,
        tokens: Ints,
        shape: Shape,
        settings: Settings,
        *,
        seed: int,
        say: Say,
        key: str = "",
        path: Path | None = None,
    ) -> None:
        """Split the rows and begin, or go on from a checkpoint.

        Args:
            tokens: [rows, columns] Rows as tokens of each column's vocabulary.
            shape: Sizes of the network.
            settings: How it is trained.
            seed: Decides all that is random.
            say: Is told how far it is.
            key: Names the training in its checkpoint.
            path: Where the checkpoint is; None for none.
        """
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._shape, self._settings, self._seed, self._say, self._path = shape, settings, seed & (2**64 - 1), say, path
        self._train, self._held_out = self._split(torch.from_numpy(tokens))
        columns: int = tokens.shape[1]
        self._batch = max(1, min(settings.batch_rows, BATCH_CELLS // columns, len(self._train)))
        self._pass_steps = math.ceil(len(self._train) / self._batch)
        self._look_steps = max(self._pass_steps, LOOK_STEPS)
        wanted = max(settings.epochs * self._pass_steps, settings.fewest_steps)
        self._steps: int = max(1, min(wanted, settings.cells // (self._batch * columns)))
        self.place, self.history = Place(key=key), list[float]()
        self._parts: dict[str, Weights] = {part: {} for part in PARTS}
        self._begin()
        self._permutation: tuple[int, Tensor] = (-1, torch.empty(0))
        self._clock = {"say": time.monotonic(), "store": time.monotonic(), "begin": time.monotonic()}
        self._first_step = self.place.step
        if self._first_step:
            say(f"learning the table: going on from the checkpoint after step {self._first_step:,} of {self._steps:,}")

    def run(self) -> Weights:
        """Train to the end: the best averaged weights, on the CPU."""
        network = Network(self._shape, self._parts["weights"])
        loss = math.nan
        while not self.place.done:
            loss = self._update(network)
            self.place.step += 1
            if self.place.step % self._look_steps == 0 or self.place.step == self._steps:
                self._look()
            self._tell(loss)
            if self._due("store", STORE_S):
                self._store()
        self._store()
        return {name: tensor.cpu() for name, tensor in self._parts["best"].items()}

    def held_out_loss(self, weights: Weights) -> float:
        """Mean negative log-likelihood of the held-out rows, in nats a row, each in two orders that stay the same."""
        import torch

        network, total = Network(self._shape, weights), 0.0
        generator = self._generator(_LOOK, 0)
        rows = self._held_out.repeat(2, 1)
        orders = _orders(rows, generator)
        with torch.inference_mode():
            for start in range(0, len(rows), 2 * self._batch):
                part = slice(start, start + 2 * self._batch)
                losses = network.losses(rows[part], orders[part])
                total += float(torch.stack(losses).sum()) * len(rows[part])
                self._tell(math.nan)
        return total / len(rows)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Rows to learn from, and rows that decide when to stop; the same ones where there are too few."""
        import torch

        tokens = tokens.to(self._device)
        if len(tokens) < FEWEST_ROWS:
            return tokens, tokens
        shuffled = torch.randperm(len(tokens), generator=self._generator(_SPLIT, 0), device=self._device)
        held_out = min(HELD_OUT_ROWS, max(1, round(self._settings.held_out * len(tokens))))
        return tokens[shuffled[held_out:]], tokens[shuffled[:held_out]]

    def _begin(self) -> None:
        import torch

        state = np.random.SeedSequence([self._seed, _INITIAL, 0]).generate_state(1, np.uint64)
        fresh = self._moved(initial(self._shape, torch.Generator().manual_seed(int(state[0]))))
        stored = restore(self._path, self.place.key) if self._path is not None else None
        if stored is not None:
            self.place, parts = stored  # in the order of names that it had: sums over all weights come out the same
            self._parts = {part: self._moved({name: parts[part][name] for name in fresh}) for part in PARTS}
        else:
            self._parts["weights"] = fresh
            for part in ("average", "best"):
                self._parts[part] = {name: tensor.clone() for name, tensor in fresh.items()}
        for tensor in self._parts["weights"].values():
            tensor.requires_grad_(True)
        self._optimiser = self._adamw()

    def _adamw(self) -> Optimizer:
        """The optimiser, with the moments of the checkpoint or none; it changes `first_moment` and so on in place."""
        import torch

        weights = self._parts["weights"]
        decayed = [tensor for tensor in weights.values() if tensor.dim() > 1]
        others = [tensor for tensor in weights.values() if tensor.dim() <= 1]
        groups = [
            {"params": decayed, "weight_decay": self._settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=self._settings.learning_rate, betas=BETAS, foreach=True)
        for name, tensor in weights.items():
            for part in ("first_moment", "second_moment"):
                self._parts[part].setdefault(name, torch.zeros_like(tensor))
            optimiser.state[tensor] = {
                "step": torch.tensor(float(self.place.step)),
                "exp_avg": self._parts["first_moment"][name],
                "exp_avg_sq": self._parts["second_moment"][name],
            }
        return optimiser

    def _moved(self, weights: Weights) -> Weights:
        return {name: tensor.to(self._device) for name, tensor in weights.items()}

    def _generator(self, purpose: int, number: int) -> Generator:
        """A generator for one purpose, which needs no state to be stored."""
        import torch

        state = np.random.SeedSequence([self._seed, purpose, number]).generate_state(1, np.uint64)
        return torch.Generator(self._device).manual_seed(int(state[0]))

    def _update(self, network: Network) -> float:
        """One step of AdamW: the loss in nats a row."""
        import torch

        number, place = divmod(self.place.step, self._pass_steps)
        if self._permutation[0] != number:
            generator = self._generator(_PASS, number)
            self._permutation = (number, torch.randperm(len(self._train), generator=generator, device=self._device))
        rows = self._train[self._permutation[1][place * self._batch : (place + 1) * self._batch]]
        generator = self._generator(_STEP, self.place.step)
        losses = network.losses(rows, _orders(rows, generator), self._settings.dropout, generator)
        loss = torch.stack(losses).sum()
        self._optimiser.zero_grad()
        (loss / len(losses)).backward()  # type: ignore[no-untyped-call]
        weights = self._parts["weights"]
        torch.nn.utils.clip_grad_norm_(weights.values(), MAX_GRAD_NORM)
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.learning_rate * self._schedule(self.place.step + 1)
        self._optimiser.step()
        keep = min(self._settings.average, (self.place.step + 1) / (self.place.step + 11))
        with torch.no_grad():
            for name, average in self._parts["average"].items():
                average.lerp_(weights[name], 1 - keep)
        return float(loss.detach())

    def _schedule(self, step: int) -> float:
        """Share of the highest rate."""
        warm = max(1.0, self._settings.warmup * self._steps)
        if step <= warm:
            return step / warm
        done = (step - warm) / max(1.0, self._steps - warm)
        return 0.5 * (1.0 + math.cos(math.pi * done))

    def _look(self) -> None:
        """See whether the averaged weights are the best so far, and whether to go on."""
        loss = self.held_out_loss(self._parts["average"])
        self.history.append(loss)
        place = self.place
        place.looks += 1
        if place.best_loss is None or loss < place.best_loss * (1 - self._settings.least_gain):
            place.best_loss, place.best_look = loss, place.looks
            self._parts["best"] = {name: tensor.clone() for name, tensor in self._parts["average"].items()}
        place.done = place.step >= self._steps or place.looks - place.best_look >= self._settings.patience

    def _tell(self, loss: float) -> None:
        if not self._due("say", SAY_S):
            return
        done = self.place.step - self._first_step
        passed = time.monotonic() - self._clock["begin"]
        left = passed / done * (self._steps - self.place.step) if done else math.nan
        eta = f"{int(left) // 60:02}:{int(left) % 60:02}" if done else "-"
        best = "" if self.place.best_loss is None else f", held-out {self.place.best_loss:.3f}"
        shown = "" if math.isnan(loss) else f", loss {loss:.3f}{best} nats a row"
        passes = math.ceil(self._steps / self._pass_steps)
        number = self.place.step // self._pass_steps + 1
        self._say(f"learning the table: pass {min(number, passes)} of at most {passes}{shown}, ETA {eta}")

    def _due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._clock[what] < every_s:
            return False
        self._clock[what] = now
        return True

    def _store(self) -> None:
        if self._path is not None:
            store(self._path, self.place, self._parts)


def _orders(rows: Tensor, generator: Generator) -> Tensor:
    """A random order of the columns for each row: [rows, columns]."""
    import torch

    return torch.rand(rows.shape, generator=generator, device=rows.device).argsort(1)
