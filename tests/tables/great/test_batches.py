"""What is read in a step, and what of it is learnt."""

import msgspec
import pytest

from factory.tables.column import Column
from factory.tables.great.base import scratch_tokenizer
from factory.tables.great.batches import Batches
from factory.tables.great.codec import RowCodec
from factory.tables.great.orders import Orders
from factory.tables.great.settings import Settings
from factory.tables.schema import Schema, Table, table_of

from .small_tables import QUICK, TINY, small_table

pytest.importorskip("transformers")
TABLE = small_table()


def batches(table: Table = TABLE, seed: int = 1, **changes: object) -> tuple[Batches, RowCodec]:
    codec = RowCodec(scratch_tokenizer(table, TINY), table.schema)
    names = [column.name for column in table.schema.learned]
    settings: Settings = msgspec.structs.replace(QUICK, **changes)
    return Batches(table, codec, Orders(names, None, seed), settings, range(table.rows), seed), codec


def test_an_epoch_reads_every_row_once_in_fresh_orders() -> None:
    made, codec = batches(rows=16, accumulation=2)
    assert made.per_epoch == 7
    epochs = []
    for epoch in range(2):
        steps = [made.step(epoch * 7 + at) for at in range(7)]
        assert [len(step) for step in steps] == [2] * 6 + [1]
        epochs.append([tuple(row) for step in steps for batch in step for row in batch.tokens])
    cells = [sorted(str(sorted(codec.decode(row).items())) for row in rows) for rows in epochs]
    names = [column.name for column in TABLE.schema.learned]
    rows = ({name: TABLE.cells[name][at] for name in names} for at in range(TABLE.rows))
    assert cells[0] == cells[1] == sorted(str(sorted(row.items())) for row in rows)
    assert epochs[0] != epochs[1]
    assert {tuple(codec.decode(row)) for row in epochs[0]} == {tuple(codec.decode(row)) for row in epochs[1]}
    assert len({tuple(codec.decode(row)) for row in epochs[0]}) == 6


def test_a_step_depends_on_its_number_and_the_seed_alone() -> None:
    first, _ = batches()
    again, _ = batches()
    other, _ = batches(seed=2)
    expected = [first.step(at) for at in range(30)]
    assert again.step(17) == expected[17]
    assert again.step(3) == expected[3]
    assert other.step(3) != expected[3]


def test_every_row_ends_and_its_end_is_learnt() -> None:
    for loss in ("all", "values"):
        made, codec = batches(loss=loss)
        for batch in made.step(0):
            for tokens, learnt in zip(batch.tokens, batch.learnt, strict=True):
                assert len(tokens) == len(learnt)
                assert tokens[-1] == codec.eos and learnt[-1]
                assert tokens.count(codec.eos) == 1
                assert not learnt[0]


def test_of_values_only_the_names_are_not_learnt() -> None:
    made, codec = batches(loss="values", order=("x", "y", "n"))
    batch = made.step(0)[0]
    for tokens, learnt in zip(batch.tokens, batch.learnt, strict=True):
        known = [token for token, wanted in zip(tokens, learnt, strict=True) if wanted]
        cells = codec.decode(tokens)
        expected = []
        for at, name in enumerate(cells):
            expected += [*codec.value(name, cells[name]), codec.eos if at == len(cells) - 1 else codec.comma]
        assert known == expected


def test_rows_of_similar_length_share_a_batch_where_lengths_differ() -> None:
    schema = Schema((Column(name="a", kind="text"),))
    ragged = table_of(schema, [{"a": "word " * (1 + at * 37 % 40)} for at in range(160)])
    made, _ = batches(ragged, rows=8)
    spread = [max(map(len, batch.tokens)) - min(map(len, batch.tokens)) for at in range(20) for batch in made.step(at)]
    assert sum(spread) / len(spread) < 20
    even, _ = batches(rows=8)
    assert not even._sorted and made._sorted
