"""The growing pool of tasks, and the demonstrations that each request draws from it.

Request i sees the seeds and those machine tasks that were accepted from answers 0 to i - window: so
requests are built while others are in flight, and yet the same answers always give the same requests.

What is drawn is a place in the pool: a seed by its own `id` (by its content if it has none), a machine task
by the answer that it was read from. A seed that is edited in place, or an answer that comes out otherwise,
then changes the requests that show it, and no draw in which it has no part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from factory.draws import Candidates
from factory.novelty.rouge_l import Neighbour, RougeLPool
from factory.records import Record, digest


class TaskPool:
    """Seed tasks and accepted machine tasks."""

    def __init__(self, seeds: list[Record], tokenizer: str, window: int) -> None:
        """Begin with the seeds."""
        self.seeds = seeds
        self.machine: list[Record] = []
        self._machine_names: list[str] = []
        self._window = window
        self._after: list[int] = []
        self._seed_names = places(seeds)
        self._seed_candidates = Candidates(self._seed_names)
        self._machine_candidates = Candidates()
        self._novelty = RougeLPool(tokenizer)  # type: ignore[arg-type]
        for seed in seeds:
            self._novelty.add(seed.fields["instruction"])

    @property
    def applied(self) -> int:
        """Answers whose accepted instructions are in the pool."""
        return len(self._after)

    def nearest(self, text: str) -> tuple[Neighbour, str] | None:
        """The most similar task of the whole pool, seeds included, and its text."""
        found = self._novelty.nearest(text)
        return None if found is None else (found, self._novelty.text(found.index))

    def accept(self, record: Record) -> None:
        """Add a machine task."""
        before = self._after[-1] if self._after else 0
        self._machine_names.append(digest("machine", self.applied, len(self.machine) - before))
        self._machine_candidates.add(self._machine_names[-1])
        self.machine.append(record)
        self._novelty.add(record.fields["instruction"])

    def answer_applied(self) -> None:
        """All accepted instructions of the next answer have been added."""
        self._after.append(len(self.machine))

    def visible(self, request: int) -> int:
        """Machine tasks that request number `request` may show."""
        last = request - self._window
        return self._after[last] if last >= 0 else 0

    def demonstrations(self, request: int, draw: str, seeds: int, machine: int) -> list[Record]:
        """Demonstrations of a request, in the order in which it shows them.

        While there are fewer machine tasks than wanted, seeds take their places, as in the released code.
        """
        drawn = self._machine_candidates.draw(f"{draw}/machine", machine, self.visible(request))
        chosen = [(self._machine_names[index], self.machine[index]) for index in drawn]
        wanted = seeds + machine - len(drawn)
        for index in self._seed_candidates.draw(f"{draw}/seed", wanted):
            chosen.append((self._seed_names[index], self.seeds[index]))
        order = Candidates(name for name, _ in chosen).draw(f"{draw}/order", len(chosen))
        return [chosen[index][1] for index in order]


def places(seeds: Sequence[Record]) -> list[str]:
    """A name for the place of each seed that outlives an edit: from its `id` field, else from its content."""
    seen: Counter[str] = Counter()
    names = []
    for seed in seeds:
        name = digest("seed", seed.fields["id"]) if seed.fields.get("id") else seed.id
        names.append(digest(name, seen[name]) if seen[name] else name)
        seen[name] += 1
    return names
