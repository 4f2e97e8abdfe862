"""Preference pairs from what a run holds anyway: scores of a judge, and what elimination turned away.

**Answers** (`pair="answers"`). Two answers to the same question. The chosen one is a kept row, the best scored of its
question. The rejected one is the worst scored of the others, kept or not, if the judge put at least `margin` between
them; where no score tells, an answer that elimination turned away for what it says ("Sorry, I cannot.").

**Tasks** (`pair="tasks"`). Two evolutions of the same task, for a model that is to evolve tasks: the prompt is the
parent's task, chosen is the evolution that was kept, rejected one that a judge found equal to its parent or that repeats
words of the prompt.

One pair a question, so that none weighs more than another. Equal texts are never paired, nor are answers to different
questions, however near the rows are related: a prompt that one of the answers was not given to teaches nothing. Every
kept row is accounted for: in a pair, or left out with a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from factory.datasets_io.pairs import Pair, Preference, question
from factory.errors import UserError
from factory.exporting.candidates import PARENT, Candidate, Texts, candidates, parents, score_column, texts
from factory.exporting.item import Item
from factory.exporting.settings import Settings
from factory.exporting.source import Source

ROUNDING = 1e-9  # 0.8 and 0.7 are 0.1 apart


class Paired(NamedTuple):
    """Two record ids, the better one first."""

    chosen: str
    rejected: str


class Pairs:
    """The pairs of a run, by id; texts are read when they are written."""

    def __init__(self, source: Source, settings: Settings) -> None:
        """Find them.

        Raises:
            UserError: If a column is missing, or nothing can be paired.
        """
        source.require(settings)
        if settings.pair == "tasks":
            source.require_parents(PARENT)
        self._source, self._settings = source, settings
        self.score = score_column(source, settings)
        self.left_out: Counter[str] = Counter()
        self.from_rejected = 0
        self._pairs = list(self._found())
        if not self._pairs:
            raise self._nothing()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._pairs)

    def items(self) -> Iterator[Item]:
        """The pairs, each as soon as both of its halves were read."""
        of = {name: pair for pair in self._pairs for name in pair}
        tasks = self._parents(of) if self._settings.pair == "tasks" else None
        waiting: dict[Paired, Texts] = {}
        for half in texts(self._source, self._settings):
            pair = of.pop(half.id, None)
            if pair is None:
                continue
            other = waiting.pop(pair, None)
            if other is None:
                waiting[pair] = half
                continue
            chosen, rejected = (half, other) if half.id == pair.chosen else (other, half)
            yield _item(chosen, rejected, None if tasks is None else tasks[str(chosen.parent)])

    def _found(self) -> Iterator[Paired]:
        groups: dict[str, list[Candidate]] = {}
        for one in candidates(self._source, self._settings, self.score):
            if one is None:
                self.left_out["empty output"] += 1
            else:
                groups.setdefault(one.group, []).append(one)
        for group in groups.values():
            kept = [one for one in group if one.kept]
            pair = best_and_worst(group, self._settings.margin)
            if pair is not None:
                chosen, rejected = pair
                self.from_rejected += not rejected.kept
                yield Paired(chosen.id, rejected.id)
            used = 0 if pair is None else 1 + pair[1].kept
            self.left_out[self._reason(group, paired=pair is not None)] += len(kept) - used
        self.left_out = +self.left_out

    def _reason(self, group: list[Candidate], *, paired: bool) -> str:
        """Why kept rows of a question are in no pair."""
        if paired:
            return "neither best nor worst"
        if len({one.answer for one in group}) == 1:
            return "no other evolution of its parent" if self._settings.pair == "tasks" else "no other answer"
        return "no verdict between its answers" if self.score is None else "scores not far enough apart"

    def _parents(self, wanted: dict[str, Paired]) -> dict[str, Pair]:
        ids = {one.parent for one in texts(self._source, self._settings) if one.id in wanted and one.parent is not None}
        return parents(self._source, self._settings, ids)

    def _nothing(self) -> UserError:
        told = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        scores = "no judge has scored the answers" if self.score is None else f"scores are those of '{self.score}'"
        needed = (
            "--pair tasks needs several evolutions of one task: give a row several times to evol_instruct."
            if self._settings.pair == "tasks"
            else "Pairs need several answers to one question and a judge that reads them ('answers: 4' in the step 'prompt', and "
            "name its column with --score), or, with --pair tasks, a run of evol_instruct."
        )
        return UserError(
            f"{self._source.path}: no rows make a preference pair ({told or 'no rows'}; {scores}). {needed}"
        )


def best_and_worst(group: list[Candidate], margin: float) -> tuple[Candidate, Candidate] | None:
    """The two of a question that make a pair; None where nothing tells them apart.

    Ties go to the smaller id, so that the order of the rows plays no part.
    """
    kept = [one for one in group if one.kept]
    if not kept:
        return None
    best = min(kept, key=lambda one: (one.score is None, -(one.score or 0.0), one.id))
    others = [one for one in group if one.answer != best.answer]
    worse = [one for one in others if _is_worse(one, best, margin)] or [one for one in others if one.fault]
    return (best, min(worse, key=lambda one: (one.score or 0.0, not one.kept, one.id))) if worse else None


def _is_worse(one: Candidate, best: Candidate, margin: float) -> bool:
    if one.score is None or best.score is None:
        return False
    apart = best.score - one.score
    return apart > 0 and apart >= margin - ROUNDING


def _item(chosen: Texts, rejected: Texts, task: Pair | None) -> Item:
    ids = {"chosen_id": chosen.id, "rejected_id": rejected.id}
    roots = tuple(dict.fromkeys((*chosen.roots, *rejected.roots)))
    if task is None:
        content = Preference(chosen.pair, chosen.pair.output, rejected.pair.output)
    else:
        content = Preference(task, chosen.pair.instruction, rejected.pair.instruction)
    return Item(ids, roots, content.asked.instruction, question(content.asked), content)
