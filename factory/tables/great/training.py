"""Fine-tuning on rows: steps, evaluations, checkpoints, and a folder that transformers or peft loads.

    folder = train(table, Settings(model="models/SmolLM2-135M"), seed=1, folder=Path("run/great"), say=print)
    # training: step 120 of 800, loss 1.234, held-out 1.201, 34 rows/s, about 2 min left
    folder / "adapter_model.safetensors", folder / "great.json"

GReaT (Borisov et al., 2210.06280, section 3.1): each row is a sentence, its columns in a fresh order each time it is
read, and a causal language model learns to go on. Deviations: every sentence ends with the token for the end, and padding
is not learnt (be_great 0.0.14 learns it and no end); what is trained lies in float32, so that small updates are not lost;
a held-out share of the rows decides which weights are best.

Every step depends on the seed and its number alone. A training that was killed goes on from its last checkpoint and ends
with the same bytes as one that was not, on the same machine with the same number of threads.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from factory.errors import UserError
from factory.tables.great.base import (
    context_of,
    device_of,
    identity_of,
    load_model,
    load_tokenizer,
    save_model,
    set_trained,
    trained,
    wants_bf16,
)
from factory.tables.great.batches import Batch, Batches
from factory.tables.great.checkpoints import Checkpoints, State, restore_optimizer, weights_of
from factory.tables.great.codec import RowCodec
from factory.tables.great.gradients import Gradients
from factory.tables.great.orders import Orders, chosen_order, generator
from factory.tables.great.settings import Settings
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Say

MOST_HELD_OUT = 1_000
SAY_S = 2.0
PROBE_SHARE, PROBE_STEPS, TIME_USED = 0.05, 3, 0.95
_FORMAT = 1


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What `great.json` says of a trained model.

    Attributes:
        fingerprint: Of table, seed, settings and base.
        table: Columns.
        settings: How it was trained.
        base: Identity of the base model.
        order: The order of columns; None for random ones.
        steps: Steps done.
        ended: Why training ended.
        best_step: Step of the weights; None for the last.
        curve: Step, training loss and held-out loss (nats per token) of each evaluation.
    """

    fingerprint: str
    table: Schema
    settings: Settings
    base: str
    order: list[str] | None
    steps: int
    ended: str
    best_step: int | None
    curve: list[tuple[int, float, float | None]]


def train(table: Table, settings: Settings, *, seed: int, folder: Path, say: Say, max_text_tokens: int = 0) -> Path:
    """Fine-tune on a table, going on from a checkpoint of the same training if there is one.

    Args:
        table: Rows; all are read.
        settings: How.
        seed: Decides all that is random.
        folder: Gets the checkpoints, and `model`.
        say: Hears how far it is; what it raises ends the training, which can be taken up again.
        max_text_tokens: Most tokens of a free text that will be drawn, for which a model from scratch gets room.

    Returns:
        The folder of the trained model: an adapter or all weights, the tokenizer, and `great.json`.

    Raises:
        UserError: If the table or the settings do not fit the model, or memory runs out.
    """
    base = identity_of(settings.model)
    fingerprint = _fingerprint(table, settings, seed, base, max_text_tokens if settings.fits_the_table else 0)
    target = folder / "model"
    if (target / "great.json").exists() and read_trained(target).fingerprint == fingerprint:
        return target
    if table.rows == 0:
        raise UserError("great: the table has no rows; expected at least one to learn from.")
    say("training: the model is being loaded")
    training = _Training(table, settings, seed, Checkpoints(folder, fingerprint), fingerprint, say, max_text_tokens)
    try:
        training.run()
        about = training.about(base)
        _write(training, settings, about, target)
    finally:
        training.gradients.close()
    return target


def read_trained(folder: Path) -> Trained:
    """What is known of a trained model.

    Raises:
        UserError: If the folder holds none.
    """
    try:
        return msgspec.json.decode((folder / "great.json").read_bytes(), type=Trained)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{folder}: no trained model of rows ({error}); train it again.") from error


class _Training:
    """One training in this process."""

    def __init__(
        self,
        table: Table,
        settings: Settings,
        seed: int,
        checkpoints: Checkpoints,
        fingerprint: str,
        say: Say,
        max_text_tokens: int,
    ) -> None:
        self._settings, self._seed, self._checkpoints, self._say = settings, seed, checkpoints, say
        self._schema = table.schema
        self._clock = time.monotonic()
        device = device_of()
        bf16 = wants_bf16(settings, device)
        self.tokenizer = load_tokenizer(settings, table)
        codec = RowCodec(self.tokenizer, table.schema)
        names = [column.name for column in table.schema.learned]
        self.orders = Orders(names, chosen_order(settings.order, table), seed)
        learned, held_out = _split(table.rows, settings.holdout, seed)
        self._batches = Batches(table, codec, self.orders, settings, learned, seed)
        longest = codec.longest(table)
        drawn = max(longest, codec.longest(max_text_tokens=max_text_tokens)) if settings.fits_the_table else longest
        self.model = load_model(settings, self.tokenizer, seed, device, bf16=bf16, longest=drawn)
        _require_room(longest, context_of(self.model), len(names))
        self._held_out = list(Batches(table, codec, self.orders, settings, held_out, seed).all()) if held_out else []
        self.gradients = Gradients(self.model, bf16=bf16)
        self._weights = trained(self.model)
        self._optimizer = _optimizer(list(self._weights.values()), settings)
        self._learned = len(learned)
        self.state = self._resumed(fingerprint)
        self._said, self._saved, self._began = 0.0, self._clock, self.state.elapsed_s

    def run(self) -> None:
        """Train to the end and leave the best weights in the model."""
        while not self.state.ended:
            self._step()
            self._plan()
            if self._evaluates():
                self._evaluate()
            self._decide()
            if self.state.ended or time.monotonic() - self._saved >= self._settings.checkpoint_s:
                self._save()
            if time.monotonic() - self._said >= SAY_S or self.state.ended:
                self._tell()
        if self.state.best_step is not None and self.state.best_step != self.state.step:
            set_trained(self.model, self._checkpoints.best(self.state.best_step))

    def about(self, base: str) -> Trained:
        """What `great.json` will say."""
        state = self.state
        return Trained(
            fingerprint=state.fingerprint,
            table=self._schema,
            settings=_lasting(self._settings),
            base=base,
            order=self.orders.fixed,
            steps=state.step,
            ended=state.ended,
            best_step=state.best_step,
            curve=state.curve,
        )

    def finish(self) -> None:
        """Remove the checkpoints, which nothing needs any more."""
        self._checkpoints.remove()

    def _resumed(self, fingerprint: str) -> State:
        found = self._checkpoints.last()
        if found is None:
            wanted = self._settings.epochs * self._batches.per_epoch
            return State(fingerprint=fingerprint, steps=min(wanted, self._settings.max_steps or wanted))
        state, place = found
        set_trained(self.model, weights_of(place))
        restore_optimizer(self._optimizer, place)
        self._say(f"training: going on from the checkpoint after step {state.step:,} of {state.steps:,}")
        return state

    def _step(self) -> None:
        import torch

        state, settings = self.state, self._settings
        for group in self._optimizer.param_groups:
            group["lr"] = settings.rate(state.step, state.steps)
        batches = self._batches.step(state.step)
        loss = _with_room(self._learn, batches)
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(self._weights.values(), settings.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        state.step += 1
        state.rows += sum(len(batch.tokens) for batch in batches)
        state.since = (state.since[0] + loss, state.since[1] + 1)
        state.elapsed_s = self._began + time.monotonic() - self._clock

    def _learn(self, batches: list[Batch]) -> float:
        seed = int(generator(self._seed, 3, self.state.step).integers(2**62)) if self._settings.dropout else None
        return self.gradients.learn(batches, seed)

    def _plan(self) -> None:
        """Turn the time limit into a number of steps, once it shows how long a step takes."""
        state, limit = self.state, self._settings.max_seconds
        if limit is None or state.timed or state.step < PROBE_STEPS or state.elapsed_s < PROBE_SHARE * limit:
            return
        state.timed = True
        state.steps = max(state.step, min(state.steps, int(state.step / state.elapsed_s * limit * TIME_USED)))
        self._save()

    def _decide(self) -> None:
        state, limit = self.state, self._settings.max_seconds
        if state.waited >= self._settings.patience:
            state.ended = "no better on held-out rows"
        elif state.step >= state.steps:
            state.ended = "all steps done"
        elif limit is not None and state.elapsed_s >= limit:
            state.ended = "time limit"
            if not state.curve or state.curve[-1][0] != state.step:
                self._evaluate()

    def _evaluates(self) -> bool:
        every = self._settings.evaluate_every or self._batches.per_epoch
        return self.state.step % every == 0 or self.state.step >= self.state.steps

    def _evaluate(self) -> None:
        state = self.state
        held_out = self._held_out_loss() if self._held_out else None
        state.curve = [*state.curve, (state.step, state.since[0] / max(1, state.since[1]), held_out)]
        state.since = (0.0, 0)
        if held_out is None:
            return
        if state.best is None or held_out < state.best:
            state.best, state.best_step, state.waited = held_out, state.step, 0
            self._checkpoints.save_best(state.step, self._weights)
        else:
            state.waited += 1

    def _held_out_loss(self) -> float:
        self.model.eval()
        loss = self.gradients.loss(self._heard(self._held_out))
        self.model.train()
        return loss

    def _heard(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """The batches; says where it is in between, as there may be many."""
        for batch in batches:
            if time.monotonic() - self._said >= SAY_S:
                self._tell()
            yield batch

    def _save(self) -> None:
        self._checkpoints.save(self.state, self._weights, self._optimizer)
        self._saved = time.monotonic()

    def _tell(self) -> None:
        self._said = time.monotonic()
        state = self.state
        rate = state.step / max(1e-9, state.elapsed_s)
        done = f"step {state.step:,} of {state.steps:,}"
        last = state.curve[-1][1] if state.curve else 0.0
        loss = state.since[0] / state.since[1] if state.since[1] else last
        held_out = f", held-out {state.curve[-1][2]:.3f}" if state.curve and state.curve[-1][2] is not None else ""
        rows = f"{state.rows / max(1e-9, state.elapsed_s):,.0f} rows/s"
        left = f"ended: {state.ended}" if state.ended else f"about {_duration((state.steps - state.step) / rate)} left"
        self._say(f"training: {done}, loss {loss:.3f}{held_out}, {rows}, {left}")


def _write(training: _Training, settings: Settings, about: Trained, target: Path) -> None:
    """Write the model beside its place and rename it."""
    work = target.with_name(".model")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    save_model(training.model, training.tokenizer, settings, work)
    (work / "great.json").write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=1))
    if target.exists():
        shutil.rmtree(target)
    shutil.rmtree(target.with_name(f"{target.name}-merged"), ignore_errors=True)
    work.rename(target)
    training.finish()


def _optimizer(weights: Sequence[Any], settings: Settings) -> Any:
    import torch

    return torch.optim.AdamW(weights, lr=settings.peak_rate, weight_decay=settings.weight_decay, fused=True)


def _split(rows: int, holdout: float, seed: int) -> tuple[list[int], list[int]]:
    """Rows to learn from and rows to keep back, each ascending."""
    count = min(MOST_HELD_OUT, int(rows * holdout))
    shuffled = generator(seed, 0).permutation(rows).tolist()
    return sorted(shuffled[count:]), sorted(shuffled[:count])


def _require_room(longest: int, context: int | None, columns: int) -> None:
    if context is not None and longest > context:
        raise UserError(
            f"great: a row of this table takes up to {longest:,} tokens in {columns} columns, and the model reads at "
            f"most {context:,}; choose a model with a longer context, or leave columns or long texts out."
        )


def _with_room(learn: Any, batches: list[Batch]) -> float:
    """Learn, and name what to do where memory runs out."""
    import torch

    try:
        return float(learn(batches))
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
        if not known:
            raise
        raise UserError(
            f"great.rows: memory ran out with {len(batches[0].tokens)} rows of up to "
            f"{max(map(len, batches[0].tokens)):,} tokens in a batch; lower great.rows and raise great.accumulation "
            "by as much, which learns the same."
        ) from error


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _lasting(settings: Settings) -> Settings:
    """The settings without what changes nothing of the model."""
    return msgspec.structs.replace(settings, checkpoint_s=Settings().checkpoint_s)


def _fingerprint(table: Table, settings: Settings, seed: int, base: str, room: int) -> str:
    digest = hashlib.sha256(msgspec.json.encode([_FORMAT, table.schema, _lasting(settings), seed, base, room]))
    for name, cells in table.cells.items():
        digest.update(msgspec.json.encode([name, [str(cell) if isinstance(cell, int) else [cell] for cell in cells]]))
    return digest.hexdigest()[:32]
