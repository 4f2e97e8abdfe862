"""What was spent on a private file, written down beside it before it is spent.

    ledger = Ledger(Path("tickets.csv.privacy.jsonl"))
    run = ledger.begin(Run(…))           # one line: what is going to be done
    ledger.spend(run, steps=1)           # one line a step, on the disk before the step's noise is drawn
    ledger.runs()                        # every run that ever read the file, with the steps that it has paid

It lies beside the file and not in a run directory, which can be deleted. A line that a kill cut off belongs to a step that
had not begun. A line that cannot be read otherwise is an error: privacy fails closed.
"""

from __future__ import annotations

import fcntl
import math
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec

from factory.errors import UserError
from factory.privacy.accounting import Mechanism, epsilon
from factory.privacy.places import SUFFIX as SUFFIX
from factory.privacy.places import leave_mark
from factory.privacy.places import ledger_of as ledger_of

NotNegative = msgspec.Meta(ge=0)
Steps = Annotated[int, NotNegative]
Amount = Annotated[float, NotNegative]


class Run(msgspec.Struct, kw_only=True, tag="run", omit_defaults=True, forbid_unknown_fields=True):
    """One use of a private file.

    Attributes:
        id: Random name; it says nothing of the data.
        what: Digest of everything that decides the run, of the data too: whether the same was paid for before.
        method: Method of the recipe.
        at: When it began, UTC.
        noise_multiplier: Of each step; 0 where there is no noise.
        sample_rate: Of each step.
        planned: Steps that it is going to take.
        spent: Steps that it has paid.
        epsilon_counts: Epsilon of counts that it released with noise; pure, so that it adds up.
        ended: Whether it came to its end.
        unit: What it protects, as claims say it; empty in lines of before it was written down.
        again: Whether the same may have been paid for by another run.
        where: Its run directory; empty where it has none.
    """

    id: str = ""
    what: str
    method: str
    at: str
    noise_multiplier: Amount
    sample_rate: Annotated[float, msgspec.Meta(gt=0, le=1)]
    planned: Steps
    spent: Steps = 0
    epsilon_counts: Amount = 0.0
    ended: bool = False
    unit: str = ""
    again: bool = False
    where: str = ""

    @property
    def paid(self) -> bool:
        """Whether it has paid anything."""
        return self.spent > 0 or self.epsilon_counts > 0

    @property
    def told(self) -> str:
        """Which it is, in words."""
        return f"run {self.id}, {self.at}, in {self.where or 'another run directory'}"

    @property
    def mechanism(self) -> Mechanism:
        """What it has paid."""
        return Mechanism(noise_multiplier=self.noise_multiplier, sample_rate=self.sample_rate, steps=self.spent)


class Spend(msgspec.Struct, kw_only=True, tag="spend", omit_defaults=True, forbid_unknown_fields=True):
    """Steps that are going to be taken, or an epsilon that is going to be spent on counts."""

    run: str
    steps: Steps = 0
    epsilon_counts: Amount = 0.0


class End(msgspec.Struct, kw_only=True, tag="end", forbid_unknown_fields=True):
    """A run that came to its end."""

    run: str


Line = Run | Spend | End


class Ledger:
    """The ledger of one private file.

    Args:
        path: Where it lies, see `ledger_of`.
        also: Other ledgers of the same texts, or of some of them; what they have counts too.
        beside: Where it would lie beside the texts; None where it does.
    """

    def __init__(self, path: Path, also: Sequence[Path] = (), beside: Path | None = None) -> None:
        """Nothing is read or written yet."""
        self.path, self._also, self._beside = path, also, beside
        self._first_paid: set[str] = set()

    def runs(self) -> list[Run]:
        """All runs in the order in which they began; empty where there is no ledger.

        Raises:
            UserError: If a ledger is damaged or cannot be read.
        """
        return [run for path in (*self._also, self.path) for run in _runs_in(path)]

    def mark(self) -> str:
        """Leave a mark beside the texts if the ledger lies elsewhere; gives a sentence where that is not possible."""
        if self._beside is None:
            return ""
        try:
            leave_mark(self._beside, self.path)
        except OSError as error:
            return (
                f"{self._beside} cannot be written ({error.strerror}), so that nothing beside the private texts tells of their "
                f"ledger: every recipe that reads them has to say 'private: true' and to name {self.path} in 'data.ledger'"
            )
        return ""

    def find(self, run: str) -> Run | None:
        """The run of that id, the last one if there are several."""
        return next((each for each in reversed(self.runs()) if each.id == run), None)

    def begin(self, run: Run, name: str | None = None) -> str:
        """Write down a run that is going to read the file; returns its new id.

        Args:
            run: What it is going to do.
            name: Its id, for tests alone; a random one says nothing of the data.

        Raises:
            UserError: If it cannot be written.
        """
        name = name or secrets.token_hex(8)
        self._append(msgspec.structs.replace(run, id=name, spent=0, ended=False))
        return name

    def spend(self, run: str, *, steps: int = 0, epsilon_counts: float = 0.0) -> None:
        """Write down, on the disk, what is going to be spent.

        Raises:
            UserError: If it cannot be written, or another run pays for the same: then nothing may be spent.
            ValueError: If that is nothing, or less.
        """
        if not (steps > 0 or epsilon_counts > 0):
            raise ValueError(f"expected steps or an epsilon to spend, found {steps} and {epsilon_counts:g}")
        first = run not in self._first_paid
        self._append(Spend(run=run, steps=steps, epsilon_counts=epsilon_counts), alone=run if first else None)
        self._first_paid.add(run)

    def end(self, run: str) -> None:
        """Write down that a run has come to its end."""
        self._append(End(run=run))

    def epsilon(self, delta: float) -> float:
        """Epsilon of all runs together at that delta."""
        return composed(self.runs(), delta)

    def _require_alone(self, name: str) -> None:
        """Two processes may have begun the same at once, each before the other had paid: one of them pays."""
        runs = self.runs()
        run = next((each for each in reversed(runs) if each.id == name), None)
        if run is None or run.paid or run.again:
            return
        other = next((each for each in runs if each.what == run.what and each.id != name and each.paid), None)
        if other is not None:
            raise UserError(
                f"{self.path}: the same is being paid for by another process ({other.told}); let that one go on, "
                "or set data.again to true to pay for it twice."
            )

    def _append(self, line: Line, alone: str | None = None) -> None:
        content = msgspec.json.encode(line)
        msgspec.json.decode(content, type=Line)  # what could not be read again would make the ledger useless
        try:
            with self._locked() as file:
                _cut_broken_end(file)
                if alone is not None:
                    self._require_alone(alone)
                file.seek(0, os.SEEK_END)
                file.write(content + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"{self.path}: the privacy ledger cannot be written ({error.strerror}), and without it nothing may be "
                "learnt from the private file; make its folder writable, or name another place in 'data.ledger'."
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not file.seek(0, os.SEEK_END):  # new, or made by one that was killed before it wrote
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            yield file


def _runs_in(path: Path) -> list[Run]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: the privacy ledger cannot be read: {error.strerror}.") from error
    found: list[Run] = []
    for number, line in enumerate(_whole_lines(content), 1):
        try:
            _apply(found, msgspec.json.decode(line, type=Line))
        except (msgspec.DecodeError, KeyError) as error:
            raise UserError(
                f"{path}:{number}: the privacy ledger is damaged, so that nobody can say what was spent; "
                "restore it from a copy."
            ) from error
    return found


def composed(runs: list[Run], delta: float, unit: str | None = None) -> float:
    """Epsilon of these runs together at that delta.

    Args:
        runs: The runs.
        delta: Of them all.
        unit: What is protected. A run that protects something else, say a record where this is a user who may have many,
            bounds nothing for it: epsilon is infinite.
    """
    if unit is not None and any(run.unit != unit for run in runs):
        return math.inf
    return epsilon([run.mechanism for run in runs], delta) + sum(run.epsilon_counts for run in runs)


def _apply(found: list[Run], line: Line) -> None:
    """Take up a line. A run that begins under an id of before takes nothing away from what that one has spent."""
    if isinstance(line, Run):
        found.append(line)
        return
    run = next((each for each in reversed(found) if each.id == line.run), None)
    if run is None:
        raise KeyError(line.run)
    if isinstance(line, Spend):
        run.spent += line.steps
        run.epsilon_counts += line.epsilon_counts
    else:
        run.ended = True


def _whole_lines(content: bytes) -> list[bytes]:
    """Lines that end; what a kill cut off at the end of the file was never acted upon."""
    return content.split(b"\n")[:-1]


def _cut_broken_end(file: IO[Any]) -> None:
    """Remove what a kill cut off, so that the next line begins where a line begins."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
