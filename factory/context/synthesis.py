"""The loop of every method that makes table rows: learn once, draw batch by batch, give out exactly what was asked.

`synthesize(records, ctx, options, maker)` passes on what comes in, trains (or finds the model in the journal), and draws
until every wanted row is there: as many as `rows` says, under `where`, in the shares of `balance`, or the rows of a table
whose missing cells are to be filled. Model and batches are artifacts of the journal, so a run that was killed goes on with
the batch that was being drawn, and no row comes twice.

A row that was given up (the cells drawn first left nothing for a later one) or that breaks `unique(…)` is rejected for
that reason and drawn again, as is a filled one that breaks a relation by a given cell which no learned row has; nothing
else is ever thrown away. A row whose given cells break a relation by themselves is rejected at once.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from factory.context.context import Context
from factory.context.session import NotYetKnown
from factory.context.wanting import Slot, SynthesisOptions, known_identifiers, slots
from factory.recipe.tables import LoadedTable
from factory.records import Outcome, Provenance, Record, Unknown, derive_seed, derived_id, digest, reject
from factory.tables.column import Value
from factory.tables.domain import Cell
from factory.tables.identifiers import fresh
from factory.tables.schema import Cells
from factory.tables.synthesizer import Sampler, Say, Synthesizer

FORMAT = 1
MOST_TRIES = 100
INT64 = 2**63
RULE = "table"
BROKEN_BY_GIVEN = "broken_by_given"


@dataclass(frozen=True)
class Maker:
    """A kind of model, with the settings that decide what it learns and what it draws.

    Attributes:
        synthesizer: Learns and draws.
        learns: Everything that decides what it learns, besides the table and the seed; with a version of its code.
        draws: Everything more that decides what it draws.
    """

    synthesizer: Synthesizer
    learns: dict[str, Any]
    draws: dict[str, Any] = field(default_factory=dict)


async def synthesize(
    records: AsyncIterator[Record], ctx: Context, options: SynthesisOptions, maker: Maker
) -> AsyncIterator[Outcome]:
    """Yield what comes in, then the rows that are asked for.

    Raises:
        UserError: If the table cannot be learnt.
    """
    loaded = options.table.load(ctx.base)
    taken: dict[str, list[Value]] = {column.name: [] for column in loaded.schema.columns if column.kind == "identifier"}
    async for record in records:
        if isinstance(record, Record):
            for name, values in taken.items():
                values.append(record.fields.get(name))
        yield record
    for note in loaded.notes:
        ctx.note(note)
    drawing = _Drawing(ctx, options, loaded, maker, taken)
    try:
        async for outcome in drawing.rows():
            yield outcome
    except NotYetKnown:
        for outcome in _foreseen(ctx, drawing):
            yield outcome
    finally:
        drawing.close()


def _foreseen(ctx: Context, drawing: _Drawing) -> list[Outcome]:
    """While planning: as many rows as are asked for."""
    left = len(drawing.wanted) - drawing.given
    ctx.note("training and drawing rows asks no language model through the engine; a plan knows no time for it")
    ctx.forecast("rows", left, left, "rows to draw, after the training where the journal holds no model")
    return [Unknown(f"{ctx.step}/{slot.number}") for slot in drawing.wanted[drawing.given :]]


class _Drawing:
    """One model, and the rows that are drawn from it."""

    def __init__(
        self,
        ctx: Context,
        options: SynthesisOptions,
        loaded: LoadedTable,
        maker: Maker,
        taken: Mapping[str, Iterable[Value]],
    ) -> None:
        self._ctx = ctx
        self._options = options
        self._loaded = loaded
        self._maker = maker
        self._rules = loaded.rules()
        self._sampler: Sampler | None = None
        self._seed = ctx.session.seed
        self._model_key = digest(
            "table model", FORMAT, maker.learns, _content(loaded), list(options.table.constraints), self._seed
        )
        self._model = b""
        self._seen: dict[tuple[str, ...], set[tuple[Cell, ...]]] = {group: set() for group in loaded.constraints.unique}
        self._thrown: Counter[str] = Counter()
        self._drawn = self._corrected = 0
        self.wanted = slots(options, loaded, ctx.base, self._seed)[: ctx.session.limit]
        self.given = 0
        self._as_text = self._too_large_for_files()
        self._made_up = self._identifiers(taken)
        for slot in self.wanted:
            for group, seen in self._seen.items():
                if not slot.draws(group) and set(group) <= slot.cells.keys():
                    seen.add(tuple(slot.cells[name] for name in group))

    async def rows(self) -> AsyncIterator[Outcome]:
        """Draw until every wanted row is there; in their order."""
        ctx = self._ctx
        ctx.stats.target = len(self.wanted)
        self._model = await ctx.artifact(self._model_key, self._fit, kind="model")
        table = self._loaded.table
        told = getattr(self._maker.synthesizer, "about", None)
        if told is not None:
            ctx.note(told(self._model))
        ctx.stats.trained = f"`{ctx.method}` trained on {table.rows:,} rows of {self._loaded.name}"
        todo: deque[tuple[Slot, int]] = deque()
        ready: dict[int, Record | None] = {}
        for rejected in self._contradicted(todo, ready):
            yield rejected
        async for outcome in self._in_order(ready):
            yield outcome
        for number in range(MOST_TRIES * len(self.wanted)):
            if not todo:
                break
            batch = [todo.popleft() for _ in range(min(self._batch_rows, len(todo)))]
            key, drawn = await self._draw([slot for slot, _ in batch], number)
            for ordinal, ((slot, tries), cells) in enumerate(zip(batch, drawn, strict=True)):
                record = self._record(slot, cells, derived_id(ctx.step, key, ordinal), key, number)
                problem = self._problem(slot, cells)
                if problem is None:
                    ready[slot.number] = record
                    continue
                yield reject(record, RULE, *problem)
                if tries + 1 < MOST_TRIES:
                    todo.append((slot, tries + 1))
                else:
                    ready[slot.number] = None
            async for outcome in self._in_order(ready):
                yield outcome

    def _contradicted(self, todo: deque[tuple[Slot, int]], ready: dict[int, Record | None]) -> Iterator[Outcome]:
        """Sort out the wanted rows whose given cells break a relation by themselves, whatever is drawn."""
        for slot in self.wanted:
            if self._rules.unrelated(slot.cells) is None:
                todo.append((slot, 0))
                continue
            self._thrown[BROKEN_BY_GIVEN] += 1
            ready[slot.number] = None
            name = derived_id(self._ctx.step, self._model_key, slot.number)
            yield reject(self._record(slot, None, name, self._model_key, 0), RULE, BROKEN_BY_GIVEN)

    async def _in_order(self, ready: dict[int, Record | None]) -> AsyncIterator[Outcome]:
        """What is there up to the first row that is not."""
        while self.given < len(self.wanted) and self.wanted[self.given].number in ready:
            record = ready.pop(self.wanted[self.given].number)
            parent = self.wanted[self.given].parent
            self.given += 1
            self._ctx.stats.counted += record is not None
            if self.given == len(self.wanted):
                self._report()  # before the last row, as nobody may ask for more
            if record is not None:
                if parent is not None:
                    self._ctx.remember(parent)
                yield record

    @property
    def _batch_rows(self) -> int:
        return self._ctx.lookahead(self._options.batch_rows)

    def _fit(self, say: Say) -> bytes:
        folder = self._ctx.folder
        if folder is not None:
            folder = folder / self._model_key
            folder.mkdir(parents=True, exist_ok=True)
        model = self._maker.synthesizer.fit(self._loaded.table, self._rules, seed=self._seed, folder=folder, say=say)
        for empty in (folder, self._ctx.folder) if folder is not None else ():
            with suppress(OSError):  # it holds files, or is gone
                empty.rmdir()  # type: ignore[union-attr]
        return model

    async def _draw(self, batch: list[Slot], number: int) -> tuple[str, list[Cells | None]]:
        """The key of a batch and its rows: one for each slot, None for one that was given up."""
        wants = [slot.want for slot in batch]
        seed = derive_seed(self._seed, self._ctx.step, "rows", number)
        asked = [sorted((name, repr(domain)) for name, domain in want.domains.items()) for want in wants]
        key = digest("table rows", FORMAT, self._model_key, self._maker.draws, asked, seed)

        def make(say: Say) -> bytes:
            sampler = self._loaded_sampler(say)
            before, corrected = getattr(sampler, "drawn", None), getattr(sampler, "corrected", 0)
            rows = sampler.sample(wants, seed, say)
            drawn = len(wants) if before is None else sampler.drawn - before  # type: ignore[attr-defined]
            changed = getattr(sampler, "corrected", 0) - corrected
            return json.dumps({"rows": rows, "drawn": drawn, "corrected": changed}, ensure_ascii=False).encode(
                "utf-8", "surrogatepass"
            )

        found = json.loads((await self._ctx.artifact(key, make, kind="rows")).decode("utf-8", "surrogatepass"))
        self._drawn += found["drawn"]
        self._corrected += found.get("corrected", 0)
        return key, found["rows"]

    def _loaded_sampler(self, say: Say) -> Sampler:
        if self._sampler is None:
            say("loading the model")
            folder = self._ctx.folder
            self._sampler = self._maker.synthesizer.load(
                self._model, self._loaded.schema, self._rules, None if folder is None else folder / self._model_key
            )
        return self._sampler

    def _identifiers(self, taken: Mapping[str, Iterable[Value]]) -> dict[str, list[Value]]:
        """Identifiers for all rows, by column; none is one that is known, that is given, or that a step before made."""
        count = len(self.wanted)
        found: dict[str, list[Value]] = {}
        for column in self._loaded.schema.columns:
            if column.kind == "identifier":
                known = known_identifiers(column, self._loaded, self.wanted, taken[column.name])
                seed = derive_seed(self._seed, self._ctx.step, "identifiers", column.name)
                found[column.name] = list(fresh(column, known, count, seed))
        return found

    def _too_large_for_files(self) -> set[str]:
        """Columns with whole numbers that no file format holds as numbers, in what is learnt or what is given."""
        columns = self._loaded.schema.columns
        found = {
            each.name for each in columns if each.kind == "integer" and not INT64 > each.high >= each.low >= -INT64
        }
        for slot in self.wanted:
            found |= {
                name for name, value in slot.given.items() if isinstance(value, int) and not -INT64 <= value < INT64
            }
        return found

    def _problem(self, slot: Slot, cells: Cells | None) -> tuple[str] | None:
        """Why a row is drawn again: the reason, or None if it is given out."""
        if cells is None:
            self._thrown["given_up"] += 1
            return ("given_up",)
        broken = self._rules.broken(cells)
        if broken is not None:
            raise RuntimeError(f"a row of '{self._ctx.method}' breaks {broken}; its sampler must not give it out")
        cells = {**cells, **slot.cells}  # those that are given as they are, also where the model knows a near one only
        if slot.cells and self._rules.unrelated(cells) is not None:
            self._thrown[BROKEN_BY_GIVEN] += 1
            return (BROKEN_BY_GIVEN,)
        for group, seen in self._seen.items():
            if not set(group) <= cells.keys() or not slot.draws(group):
                continue
            values = tuple(cells[name] for name in group)
            if values in seen:
                self._thrown["repeated"] += 1
                return ("repeated",)
            seen.add(values)
        return None

    def _record(self, slot: Slot, cells: Cells | None, name: str, key: str, number: int) -> Record:
        """The row as a record; what was given in a table with gaps stays as it was."""
        ids = {column: values[slot.number] for column, values in self._made_up.items()}
        drawn = {} if cells is None else self._loaded.schema.row(cells)
        fields = {column: slot.given.get(column, drawn.get(column, ids.get(column))) for column in self._columns(slot)}
        provenance = Provenance(
            step=self._ctx.step,
            method=self._ctx.method,
            parents=() if slot.parent is None else (slot.parent.id,),
            root=None if slot.parent is None else slot.parent.id,
            model=f"{self._ctx.method}@{self._model_key}",
            seed=derive_seed(self._seed, self._ctx.step, "rows", number),
            requests=(key,),
        )
        return Record(name, {column: self._stored(column, value) for column, value in fields.items()}, provenance)

    def _columns(self, slot: Slot) -> list[str]:
        names = self._loaded.schema.names
        return [*names, *(name for name in slot.given if name not in names)]

    def _stored(self, column: str, value: Value) -> Value:
        """Whole numbers of a column that holds too large ones are kept as text, all of them."""
        return str(value) if column in self._as_text and type(value) is int else value

    def _report(self) -> None:
        ctx, given = self._ctx, self._ctx.stats.counted
        again = self._drawn - given
        why = ", ".join(f"{reason} {count:,}" for reason, count in self._thrown.items())
        share = f"{again / self._drawn:.2%}" if self._drawn else "0 %"
        ctx.note(f"{given:,} rows given out of {self._drawn:,} drawn: {share} drawn again{f' ({why})' if why else ''}")
        if self._corrected:
            ctx.note(f"of {self._corrected:,} rows cells were changed for such as keep the conditions and relations")
        restricted = [name for name in ("where", "balance") if getattr(self._options, name)]
        if restricted:
            ctx.note(
                f"these rows were restricted ({' and '.join(restricted)}); compared with real rows that are not, they "
                "differ by that"
            )
        if given < len(self.wanted):
            ctx.end(
                "short",
                f"{len(self.wanted):,} rows were asked for; {len(self.wanted) - given:,} could not be drawn in "
                f"{MOST_TRIES} tries each ({why}).",
            )

    def close(self) -> None:
        """Let go of the model."""
        closing = getattr(self._sampler, "close", None)
        self._sampler = None
        if closing is not None:
            closing()


def _content(loaded: LoadedTable) -> str:
    """Hash of the schema and of all cells that are learnt, in their order."""
    hasher = hashlib.blake2b(digest_size=10)
    hasher.update(msgspec.json.encode([_plain(column) for column in loaded.schema.columns]))
    for name, cells in loaded.table.cells.items():
        hasher.update(name.encode("utf-8", "surrogatepass"))
        for cell in cells:
            hasher.update(repr(cell).encode("utf-8", "surrogatepass"))
            hasher.update(b"\0")
    return hasher.hexdigest()


def _plain(column: Any) -> dict[str, str]:
    """A column with numbers as text, of any size."""
    return {name: repr(getattr(column, name)) for name in column.__struct_fields__}
