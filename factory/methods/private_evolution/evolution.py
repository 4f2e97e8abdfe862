"""The rounds: texts are written, private texts vote for them with noise, the winners are varied, and voted on again.

The first pool holds `rows` first texts and the variations of each; every later one the winners and theirs. The winners of
the last vote are the rows. Whatever lost is rejected with its noisy vote, which is public as the votes are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence

import msgspec

from factory.context import Context
from factory.context.flow import not_needed
from factory.context.session import NotYetKnown
from factory.methods.private_evolution.ballot import Ballot
from factory.methods.private_evolution.options import Options
from factory.methods.private_evolution.writing import FIRST, LOOKAHEAD, Writer
from factory.privacy.claim import Claim, shown
from factory.records import Outcome, Record, Unknown, derive_seed, reject

RULE = "private_evolution"
UNVOTED = "epsilon is 0: no private text was read; these are first texts, which the model writes by itself"
PREVIEW = (
    "a preview shows first texts, on which nobody has voted yet: it reads no private text and spends nothing; a run "
    "without --limit goes on from here"
)


class Evolution:
    """One run of the method."""

    def __init__(self, ctx: Context, options: Options) -> None:
        """Begin with no texts."""
        self._ctx = ctx
        self._options = options
        self._writer = Writer(ctx, options)
        self._pool: list[Record] = []
        self._winners: list[Record] = []
        self._ready: deque[Outcome] = deque()
        self._votes: dict[str, float] = {}
        self._round = 0
        self._yielded = 0

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Rejected texts as they lose, then the rows."""
        limit, options = self._ctx.session.limit, self._options
        try:
            if limit is None and options.votes:
                await self._evolve()
            else:
                rows = options.rows if limit is None else min(limit, options.rows)
                await self._unvoted(rows, PREVIEW if options.votes else UNVOTED)
            while self._ready:
                yield self._ready.popleft()
            for record in self._winners:
                self._yielded += 1
                self._ctx.stats.counted += 1
                yield record
        except NotYetKnown:
            self._foresee()
            for number in range(self._options.rows if self._ctx.planning else 0):
                yield Unknown(f"{self._ctx.step}/{number}")
        finally:
            self._leave()

    def _leave(self) -> None:
        """File what nobody has asked for any more."""
        for outcome in [*self._ready, *self._writer.rejected]:
            self._ctx.leave(outcome)
        for record in {record.id: record for record in [*self._winners[self._yielded :], *self._pool]}.values():
            self._ctx.leave(not_needed(self._ctx.session, self._ctx.step, record))

    async def _unvoted(self, rows: int, note: str) -> None:
        """First texts alone, which say nothing of private ones."""
        equal = dict.fromkeys(self._options.labels or [""], 1.0)
        wanted = quotas(rows, self._options.shares or equal)
        self._ctx.stats.target = rows
        self._winners = await self._writer.first(wanted)
        self._take_rejected()
        self._ctx.stats.unread = True
        self._ctx.note(note)
        if self._ctx.session.limit is None:
            self._tell_end(wanted)

    async def _evolve(self) -> None:
        options, ctx = self._options, self._ctx
        ballot = Ballot(ctx, options)
        ctx.stats.target = options.rows
        if (sentence := ballot.budget.drowned(options)) is not None:
            ctx.note(sentence)
        wanted = quotas(options.rows, await ballot.shares())
        self._pool = await self._writer.first(wanted)
        self._pool += await self._writer.varied(self._pool, 0, options.variations)
        while self._round < options.rounds and await self._vote(ballot, wanted):
            if self._round < options.rounds:
                more = await self._writer.varied(self._winners, self._round, options.variations)
                self._pool = [*self._winners, *more]
        self._conclude(ballot, wanted)

    async def _vote(self, ballot: Ballot, wanted: Mapping[str, int]) -> bool:
        """One round; whether the evolution goes on."""
        self._take_rejected()
        if not self._pool or self._writer.spent is not None:
            return False
        number = self._round + 1
        shown = await self._writer.looked_ahead(self._pool, number)
        self._take_rejected()
        if self._writer.spent is not None:
            return False
        labels = {record.id: label_of(record) for record in self._pool}
        votes = await ballot.votes(number, shown, labels)
        self._claim(ballot)
        if votes is None:
            self._lost_vote()
            return False
        self._round = number
        threshold = self._options.threshold
        after = {
            name: max(vote - threshold, 0.0) if threshold else vote for name, vote in zip(shown, votes, strict=True)
        }
        self._votes |= dict(zip(shown, votes, strict=True))
        self._select(after, wanted)
        return True

    def _lost_vote(self) -> None:
        """Say that a step was paid and gave nothing."""
        rounds = self._options.rounds
        if self._round:
            self._ctx.note(
                "a vote was paid for and lost to a kill, or cast on texts that are no longer written; it is not taken again, so "
                f"that no more is spent than the recipe says: the rows are those of {self._round:,} of {rounds:,} rounds"
            )
            return
        self._ctx.end(
            "stop_rule",
            f"{self._ctx.step}: all {rounds:,} votes that the recipe pays for were lost to kills, or cast on texts that are no longer "
            "written; to pay for more, run it in another directory with 'data.again: true'.",
        )

    def _select(self, votes: Mapping[str, float], wanted: Mapping[str, int]) -> None:
        """Keep the winners of each class, and turn the rest away."""
        winners: list[Record] = []
        for label, count in wanted.items():
            standing = [record for record in self._pool if label_of(record) == label]
            ordered = self._ordered(standing, votes)
            winners += ordered[:count]
            least = min((self._votes[record.id] for record in ordered[:count]), default=None)
            for record in ordered[count:]:
                self._ready.append(self._lost(record, least))
        self._winners = winners
        self._pool = winners

    def _ordered(self, standing: Sequence[Record], votes: Mapping[str, float]) -> list[Record]:
        """Best first: by their votes, or drawn by them; of equal ones the first."""
        if self._options.select == "rank":
            return sorted(standing, key=lambda record: -votes[record.id])
        return sorted(standing, key=lambda record: self._luck(record, votes[record.id]))

    def _luck(self, record: Record, vote: float) -> tuple[float, float]:
        """Smallest wins: drawing without replacement, each in proportion to its votes (Efraimidis and Spirakis 2006)."""
        if vote <= 0:
            return (1.0, -vote)
        uniform = (derive_seed(self._ctx.session.seed, self._ctx.step, "select", self._round, record.id) + 0.5) / 2**31
        return (0.0, -(uniform ** (1 / vote)))

    def _lost(self, record: Record, least: float | None) -> Outcome:
        vote = self._votes[record.id]
        evidence = f"{vote:.3f} votes with noise in round {self._round:,}"
        return reject(record, RULE, "not_selected", score=vote, threshold=least, evidence=evidence)

    def _take_rejected(self) -> None:
        while self._writer.rejected:
            self._ready.append(self._writer.rejected.popleft())

    def _claim(self, ballot: Ballot) -> None:
        claim = ballot.claim()
        if claim is not None:
            self._ctx.stats.privacy = msgspec.to_builtins(claim)

    def _tell_claim(self, claim: Claim | None) -> None:
        if claim is None:
            return
        if not claim.private:  # a claim that holds is told by itself
            self._ctx.note(claim.sentence)
        if claim.ledger_runs > 1:
            together = shown(claim.ledger_epsilon)
            self._ctx.note(
                f"the ledger has {claim.ledger_runs:,} runs on these texts: together they come to epsilon {together}"
            )

    def _conclude(self, ballot: Ballot, wanted: Mapping[str, int]) -> None:
        """File what nobody has voted on, and say how it ended."""
        self._take_rejected()
        kept = {record.id for record in self._winners}
        for record in self._pool:
            if record.id not in kept:
                self._ready.append(
                    reject(record, RULE, "not_voted", evidence=f"made after round {self._round:,}, the last")
                )
        self._pool = []
        claim = ballot.claim()
        self._tell_claim(claim)
        self._ctx.stats.unread = claim is None  # no vote was taken, so that nothing is known of them
        if self._writer.spent is None:
            ballot.finish()
        self._tell_end(wanted)

    def _tell_end(self, wanted: Mapping[str, int]) -> None:
        """Say why there are fewer rows than were asked for, if there are."""
        if self._writer.spent is not None:
            self._ctx.end("budget", self._writer.spent)
            return
        short = [
            label for label, count in wanted.items() if sum(label_of(row) == label for row in self._winners) < count
        ]
        if short:
            named = ", ".join(f"'{label}'" for label in short if label)
            self._ctx.end(
                "short",
                f"{self._options.rows:,} rows were asked for; {len(self._winners):,} texts could be used"
                f"{f' (too few of {named})' if named else ''}. 'factory show' tells why.",
            )

    def _foresee(self) -> None:
        """While planning: what is asked beyond what can be known."""
        options, stats = self._options, self._ctx.stats
        total = {FIRST: float(options.rows)}
        weight = sum(options.kinds.values())
        for kind, share in options.kinds.items():
            total[kind] = options.votes * options.rows * options.variations * options.rounds * share / weight
        if options.lookahead:
            total[LOOKAHEAD] = float(options.candidates * options.lookahead * options.rounds)
        for stage, count in total.items():
            known = stats.stage(stage)
            left = max(0, round(count) - known.missing - known.reused)
            tries = 1 if stage == LOOKAHEAD else options.attempts
            most = left + (tries - 1) * (left + known.missing)
            sampling = options.writing_sampling() if stage == FIRST else options.varying_sampling()
            basis = f"every answer can be used, or each is asked for {tries:,} times"
            self._ctx.forecast(stage, left, most, basis, max_tokens=sampling.max_tokens)
        if self._ctx.planning:
            self._ctx.note(
                "a plan spends nothing; a run writes each of its votes into the privacy ledger before it draws noise"
            )


def label_of(record: Record) -> str:
    """Class of a text; empty if there are none."""
    return str(record.fields.get("label", ""))


def quotas(rows: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Rows of each class, by largest remainder.

    >>> quotas(10, {"billing": 1, "delivery": 1, "technical": 1})
    {'billing': 4, 'delivery': 3, 'technical': 3}
    """
    whole = sum(shares.values())
    exact = {label: rows * share / whole for label, share in shares.items()}
    found = {label: int(count) for label, count in exact.items()}
    for label in sorted(exact, key=lambda each: found[each] - exact[each])[: rows - sum(found.values())]:
        found[label] += 1
    return found
