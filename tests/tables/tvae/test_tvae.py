import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.tables.column import Column, code_of_float
from factory.tables.domain import Domain, just
from factory.tables.inferring import infer
from factory.tables.relations import relations
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Want
from factory.tables.tvae import Tvae, TvaeSettings
from factory.tables.tvae.features import feature_of

from ..relating import AtMost
from ..small_tables import mixed, say


def learnt(table, rules=None, epochs=3, seed=1, batch_rows=500):
    rules = rules or Rules(table.schema)
    tvae = Tvae(TvaeSettings(epochs=epochs, batch_rows=batch_rows))
    return tvae.load(tvae.fit(table, rules, seed=seed, folder=None, say=say), table.schema, rules, None)


@pytest.fixture(scope="module")
def dependent():
    """Two groups with their own categories and numbers, learnt."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 1_000)
    schema = Schema(
        (Column(name="group", kind="category", categories=("a", "b")), Column(name="n", kind="integer", high=200))
    )
    cells = {"group": group.tolist(), "n": (50 + 100 * group + np.round(rng.normal(0, 5, 1_000))).astype(int).tolist()}
    return learnt(Table(schema, cells, 1_000), epochs=100, batch_rows=50)


def test_rows_are_whole_in_domain_and_the_same_for_the_same_seed():
    table = mixed(300)
    sampler = learnt(table)
    rows = sampler.sample([Want()] * 200, 7, say)
    assert all(list(row) == [column.name for column in table.schema.learned] for row in rows)
    assert all(Rules(table.schema).broken(row) is None for row in rows)
    assert all(row["same"] == 7 and row["gone"] is None for row in rows)
    assert rows == learnt(table).sample([Want()] * 200, 7, say) != sampler.sample([Want()] * 200, 8, say)


def test_the_bytes_are_the_same_for_the_same_seed():
    table, tvae = mixed(50), Tvae(TvaeSettings(epochs=2))
    models = [tvae.fit(table, Rules(table.schema), seed=seed, folder=None, say=say) for seed in (1, 1, 2)]
    assert models[0] == models[1] != models[2]


def test_a_dependency_is_learnt(dependent):
    rows = dependent.sample([Want()] * 1_000, 1, say)
    assert np.mean([(row["n"] > 100) == (row["group"] == 1) for row in rows]) > 0.85
    assert np.mean([row["group"] for row in rows]) == pytest.approx(0.5, abs=0.15)
    assert np.median([row["n"] for row in rows if row["group"] == 0]) == pytest.approx(50, abs=5)


def test_wants_are_met_and_what_was_drawn_for_them_is_counted(dependent):
    before = dependent.drawn
    wants = [Want({"group": just(1)}), Want(), Want({"n": Domain(((40, 60),)), "group": just(0)})] * 50
    rows = dependent.sample(wants, 1, say)
    assert all(row["group"] == 1 for row in rows[::3])
    assert all(row["group"] == 0 and 40 <= row["n"] <= 60 for row in rows[2::3])
    assert dependent.drawn - before > 150
    assert len({id(row) for row in rows}) == 150, "no row is given out twice"


def test_a_want_that_no_row_meets_gets_a_row_with_cells_changed_for_it(dependent):
    before = dependent.corrected
    rows = dependent.sample([Want({"n": just(199), "group": just(0)}), Want()], 1, say)
    assert rows[0] == {"group": 0, "n": 199}
    assert rows[1] is not None
    assert dependent.corrected - before == 1


def test_relations_are_kept():
    table = mixed(200)
    rules = Rules(table.schema, [AtMost("weight", "price")], {"weight": Domain(((0, 30),), null=True)})
    rows = learnt(table, rules).sample([Want()] * 200, 1, say)
    assert all(row is not None and rules.broken(row) is None for row in rows)


def test_sums_are_kept_which_free_rows_hardly_ever_have():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 10_000, 300), rng.integers(0, 10_000, 300)
    rows = [{"a": int(one), "b": int(two), "total": int(one + two)} for one, two in zip(a, b, strict=True)]
    table = infer(rows, origin="t.csv").table
    rules = Rules(table.schema, relations(table.schema, table, ["a + b = total"]).relations)
    sampler = learnt(table, rules)
    found = sampler.sample([Want()] * 150 + [Want({"a": Domain(((9_000, 9_900),))})] * 50, 1, say)
    assert all(row is not None and row["a"] + row["b"] == row["total"] for row in found)
    assert all(row["a"] >= 9_000 for row in found[150:])
    assert sampler.corrected > 100
    assert len({row["total"] for row in found}) > 100


def test_one_row_no_row_wanted_and_no_learned_column():
    table = mixed(1)
    row = learnt(table).sample([Want()], 1, say)[0]
    assert row == {name: cell for name, cell in table.row(0).items() if name != "id"}
    assert learnt(table).sample([], 1, say) == []
    schema = Schema((Column(name="id", kind="identifier"),))
    assert learnt(Table(schema, {"id": ["a", "b"]}, 2)).sample([Want()], 1, say) == [{}]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.one_of(st.none(), st.integers(-(10**30), 10**30)), min_size=1, max_size=30),
    st.sampled_from(["integer", "float"]),
)
def test_features_give_cells_back(cells, kind):
    """Places are exact to a few parts in 2**53 of the range unless they lie far outside of a mode."""
    if kind == "float":
        cells = [None if cell is None else code_of_float(float(cell)) for cell in cells]
    codes = [cell for cell in cells if cell is not None] or [0]
    column = Column(name="x", kind=kind, low=min(codes), high=max(codes), nullable=True)
    rng = np.random.default_rng(0)
    feature = feature_of(column, cells, rng)
    rows = feature.encode(column, cells, rng)
    assert rows.shape == (len(cells), feature.numbers + feature.choices)
    assert (rows[:, feature.numbers :].sum(axis=1) == 1).all()
    back = feature.decode(column, rows[:, 0], rows[:, feature.numbers :].argmax(axis=1))
    assert [cell is None for cell in back] == [cell is None for cell in cells]
    assert all(cell is None or column.domain.holds(cell) for cell in back)
    ends = feature.decode(column, np.array([-1.0, 1.0]), np.array([0, 0]))
    assert all(cell is None or column.domain.holds(cell) for cell in ends)
    value = (lambda code: code) if kind == "integer" else column.value
    off = [abs(value(a) - value(b)) for a, b in zip(back, cells, strict=True) if a is not None and b is not None]
    assert max(off, default=0) <= 0.02 * (value(max(codes)) - value(min(codes)))
