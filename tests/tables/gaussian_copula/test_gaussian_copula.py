import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.tables.column import Column, float_of
from factory.tables.domain import Domain, just
from factory.tables.gaussian_copula import CopulaSettings, GaussianCopula
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Want

from ..relating import AtMost
from ..small_tables import HUGE, mixed, say


def learnt(table, rules=None, seed=1):
    rules = rules or Rules(table.schema)
    copula = GaussianCopula(CopulaSettings(sweeps=10))
    return copula.load(copula.fit(table, rules, seed=seed, folder=None, say=say), table.schema, rules, None)


def normal_table(rho, rows=4_000, levels=None):
    """Two columns of a known correlation; `levels` cuts the second into so many."""
    x, y = np.random.default_rng(0).multivariate_normal([0, 0], [[1, rho], [rho, 1]], rows).T
    second = np.round(y * 1000) if levels is None else np.digitize(y, np.linspace(-1, 1, levels - 1))
    schema = Schema(
        (Column(name="x", kind="integer", low=-9000, high=9000), Column(name="y", kind="integer", low=-9000, high=9000))
    )
    return Table(schema, {"x": np.round(x * 1000).astype(int).tolist(), "y": second.astype(int).tolist()}, rows)


def test_rows_are_whole_in_domain_and_the_same_for_the_same_seed():
    table = mixed(300)
    sampler = learnt(table)
    rows = sampler.sample([Want()] * 200, 7, say)
    assert all(list(row) == [column.name for column in table.schema.learned] for row in rows)
    assert all(Rules(table.schema).broken(row) is None for row in rows)
    assert all(row["same"] == 7 and row["gone"] is None for row in rows)
    assert rows == learnt(table).sample([Want()] * 200, 7, say) != sampler.sample([Want()] * 200, 8, say)
    assert sampler.drawn == 400


def test_the_bytes_are_json_and_the_same_for_the_same_seed():
    table = mixed(50)
    models = [GaussianCopula().fit(table, Rules(table.schema), seed=s, folder=None, say=say) for s in (1, 1, 2)]
    assert models[0] == models[1] != models[2]
    assert set(json.loads(models[0])) == {"columns", "correlation"}


@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.6])
@pytest.mark.parametrize("levels", [None, 3])
def test_a_known_correlation_is_recovered_also_through_a_few_levels(rho, levels):
    table = normal_table(rho, levels=levels)
    model = json.loads(GaussianCopula().fit(table, Rules(table.schema), seed=1, folder=None, say=say))
    assert model["correlation"][0][1] == pytest.approx(rho, abs=0.04)
    rows = learnt(table).sample([Want()] * 4_000, 1, say)
    found = np.corrcoef([[row["x"], row["y"]] for row in rows], rowvar=False)[0, 1]
    assert found == pytest.approx(np.corrcoef(table.cells["x"], table.cells["y"])[0, 1], abs=0.06)


def test_a_condition_draws_the_rest_from_its_conditional_distribution():
    rows = learnt(normal_table(0.8)).sample([Want({"x": Domain(((995, 1005),))})] * 2_000, 3, say)
    y = np.array([row["y"] for row in rows])
    assert y.mean() == pytest.approx(800, abs=60)
    assert y.std() == pytest.approx(600, abs=60)


def test_several_given_cells_are_taken_together():
    """x and y say nearly the same of z; only together they leave z the spread that it has in the table."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 4_000)
    cells = {
        "x": np.where(rng.random(4_000) < 0.9, z, 1 - z).tolist(),
        "y": np.where(rng.random(4_000) < 0.9, z, 1 - z).tolist(),
        "z": z.tolist(),
    }
    table = Table(Schema(tuple(Column(name=name, kind="integer", low=0, high=1) for name in cells)), cells, 4_000)
    sampler = learnt(table)
    for x, y in ((0, 0), (0, 1), (1, 1)):
        rows = sampler.sample([Want({"x": just(x), "y": just(y)})] * 3_000, 3, say)
        true = z[(np.array(cells["x"]) == x) & (np.array(cells["y"]) == y)].mean()
        assert np.mean([row["z"] for row in rows]) == pytest.approx(true, abs=0.08)


def test_margins_are_those_of_the_table_missing_cells_too():
    table = mixed(1_000)
    rows = learnt(table).sample([Want()] * 5_000, 1, say)
    for name in ("size", "weight"):
        seen, drawn = Counter(table.cells[name]), Counter(row[name] for row in rows)
        assert all(drawn[cell] / 5_000 == pytest.approx(seen[cell] / 1_000, abs=0.03) for cell in seen)
        assert set(drawn) <= set(seen), "a column of repeated values gets no new ones"
    numbers = np.array([float_of(row["number"]) for row in rows])
    assert np.median(numbers) == pytest.approx(np.median([float_of(c) for c in table.cells["number"]]), abs=0.1)
    assert len(set(numbers)) > 4_000, "a continuous column gets new values"
    assert len({row["huge"] % HUGE for row in rows}) > 4_000


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_want_is_met_exactly(data):
    table = mixed(40)
    sampler = learnt(table)
    wants = []
    for _ in range(data.draw(st.integers(1, 6))):
        names = data.draw(st.sets(st.sampled_from([column.name for column in table.schema.learned]), max_size=8))
        domains = {}
        for name in sorted(names):
            whole = table.schema.named[name].domain
            parts = []
            for low, high in whole.intervals:
                a, b = sorted((data.draw(st.integers(low, high)), data.draw(st.integers(low, high))))
                parts.append((a, data.draw(st.sampled_from([a, b]))))
            domains[name] = Domain(tuple(parts), whole.null and (not parts or data.draw(st.booleans())))
        wants.append(Want(domains))
    for want, row in zip(wants, sampler.sample(wants, data.draw(st.integers(0, 9)), say), strict=True):
        assert row is not None
        assert all(domain.holds(row[name]) for name, domain in want.domains.items())
        assert Rules(table.schema).broken(row) is None


def test_what_was_never_seen_is_drawn_where_it_is_wanted():
    sampler = learnt(mixed(30))
    rows = sampler.sample([Want({"size": just(3), "huge": Domain(((5, 8),)), "same": just(7)})] * 20, 1, say)
    assert all(row["size"] == 3 and 5 <= row["huge"] <= 8 for row in rows)


def test_a_want_far_from_all_that_fits_it_is_met_too():
    sampler = learnt(normal_table(0.99))
    rows = sampler.sample([Want({"x": just(3000), "y": Domain(((-3500, -3000),))})] * 20, 1, say)
    assert all(row["x"] == 3000 and -3500 <= row["y"] <= -3000 for row in rows)


def test_one_row_and_no_learned_column():
    table = mixed(1)
    assert learnt(table).sample([Want()] * 3, 1, say)[2]["huge"] == table.cells["huge"][0]
    schema = Schema((Column(name="id", kind="identifier"),))
    assert learnt(Table(schema, {"id": ["a", "b"]}, 2)).sample([Want()], 1, say) == [{}]
    assert learnt(table).sample([], 1, say) == []


def test_relations_are_kept_in_both_directions():
    table = normal_table(0.0)
    rules = Rules(table.schema, [AtMost("x", "y")])
    sampler = learnt(table, rules)
    rows = sampler.sample([Want()] * 300 + [Want({"y": Domain(((-100, 100),))})] * 300, 1, say)
    assert sum(row is None for row in rows) < 5
    assert all(row is None or row["x"] <= row["y"] for row in rows)
    assert all(row is None or -100 <= row["y"] <= 100 for row in rows[300:])


def test_a_row_that_leaves_nothing_is_given_up_and_the_others_stay():
    table = normal_table(0.0)
    rules = Rules(table.schema, [AtMost("x", "y")])
    wants = [Want({"x": just(100), "y": Domain(((0, 50),))}), Want({"x": just(10), "y": Domain(((0, 50),))})]
    first, second = learnt(table, rules).sample(wants, 1, say)
    assert first is None
    assert 10 <= second["y"] <= 50


def test_a_domain_that_rules_cut_down_is_kept():
    table = normal_table(0.5)
    rules = Rules(table.schema, restricted={"x": Domain(((0, 500), (600, 700)))})
    rows = learnt(table, rules).sample([Want()] * 500, 1, say)
    assert all(rules.broken(row) is None for row in rows)
    assert np.mean([row["x"] > 500 for row in rows]) == pytest.approx(0.13, abs=0.05)
