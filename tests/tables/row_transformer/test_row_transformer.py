import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from factory.errors import UserError
from factory.tables.chains import Order
from factory.tables.column import Column, code_of_float
from factory.tables.domain import Domain, just, of_codes
from factory.tables.relations import relations
from factory.tables.row_transformer import RowTransformer, Settings
from factory.tables.row_transformer.checkpoint import restore
from factory.tables.row_transformer.synthesizer import CHECKPOINT
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Want

TINY = Settings(hidden_size=16, layers=1, heads=2, epochs=1, fewest_steps=1, bins=4)
AGES = Column(name="age", kind="integer", low=17, high=90, nullable=True)
COLOURS = Column(name="colour", kind="category", categories=("red", "green", "blue"))
PAID = Column(name="paid", kind="float", low=code_of_float(-1e6), high=code_of_float(1e6))
HUGE = Column(name="huge", kind="integer", low=-(10**40), high=10**40)
START = Column(name="start", kind="integer", low=0, high=30)
END = Column(name="end", kind="integer", low=0, high=30)
NUMBER = Column(name="number", kind="identifier")
SCHEMA = Schema((NUMBER, AGES, COLOURS, PAID, HUGE, START, END))
NOT_AFTER = [Order(SCHEMA, ("start", "end"))]


def mixed(rows, seed=0):
    random = np.random.default_rng(seed)
    start = random.integers(0, 20, rows)
    cells = {
        "number": [str(i) for i in range(rows)],
        "age": [None if random.random() < 0.2 else int(random.integers(17, 91)) for _ in range(rows)],
        "colour": random.integers(0, 3, rows).tolist(),
        "paid": [code_of_float(float(x)) for x in np.round(random.normal(0, 100, rows), 2)],
        "huge": [int(x) * 10**36 + i for i, x in enumerate(random.integers(-(10**3), 10**3, rows))],
        "start": start.tolist(),
        "end": (start + random.integers(0, 11, rows)).tolist(),
    }
    return Table(SCHEMA, cells, rows)


def fitted(table, settings=TINY, seed=1, folder=None):
    return RowTransformer(settings).fit(table, Rules(table.schema), seed=seed, folder=folder, say=quiet)


def quiet(_):
    pass


def sampler_of(model, rules, settings=TINY):
    return RowTransformer(settings).load(model, rules.schema, rules, None)


@pytest.fixture(scope="module")
def models():
    table = mixed(200)
    return {"untrained": fitted(table, Settings(**{**kept(TINY), "cells": 1})), "trained": fitted(table, longer())}


def kept(settings):
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


def longer():
    return Settings(**{**kept(TINY), "epochs": 10, "learning_rate": 3e-3})


ranges = {
    "age": st.builds(
        lambda ends, null: Domain(((min(ends), max(ends)),), null),
        st.tuples(st.integers(17, 90), st.integers(17, 90)),
        st.booleans(),
    ),
    "colour": st.sets(st.integers(0, 2), min_size=1).map(of_codes),
    "paid": st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(
        lambda ends: Domain((tuple(sorted(map(code_of_float, ends))),))
    ),
    "huge": st.tuples(st.integers(-(10**40), 10**40), st.integers(-(10**40), 10**40)).map(
        lambda ends: Domain((tuple(sorted(ends)),))
    ),
    "start": st.one_of(st.integers(0, 30).map(just), st.just(Domain(((3, 5), (9, 9))))),
    "end": st.one_of(st.integers(0, 30).map(just), st.just(Domain(((0, 1), (15, 16))))),
}
wants = st.lists(st.fixed_dictionaries({}, optional=ranges).map(Want), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", ["untrained", "trained"])
@hypothesis_settings(deadline=None, max_examples=60)
@given(
    wanted=wants,
    seed=st.integers(0, 2**63),
    temperature=st.floats(0.5, 1.5),
    order=st.sampled_from(["random", "fixed"]),
)
def test_rows_are_in_domain_as_wanted_and_in_relation(models, kind, wanted, seed, temperature, order):
    rules = Rules(SCHEMA, NOT_AFTER)
    settings = Settings(**{**kept(TINY), "temperature": temperature, "order": order, "sample_rows": 4})
    rows = sampler_of(models[kind], rules, settings).sample(wanted, seed, quiet)
    assert len(rows) == len(wanted)
    for want, row in zip(wanted, rows, strict=True):
        if row is None:
            assert {"start", "end"} <= want.domains.keys()
            continue
        assert list(row) == [column.name for column in SCHEMA.learned]
        assert rules.broken(row) is None
        assert all(domain.holds(row[name]) for name, domain in want.domains.items())


@pytest.mark.parametrize("kind", ["untrained", "trained"])
def test_all_rows_are_valid_where_nothing_is_wanted(models, kind):
    rules = Rules(SCHEMA, NOT_AFTER, {"age": Domain(((30, 40), (50, 50)))})
    rows = sampler_of(models[kind], rules).sample([Want()] * 300, 3, quiet)
    assert all(row is not None and rules.broken(row) is None for row in rows)
    assert len({row["paid"] for row in rows}) > 100


def test_sums_and_dependencies_are_kept():
    random = np.random.default_rng(4)
    part, other, shop = random.integers(0, 50, 300), random.integers(0, 900, 300), random.integers(0, 5, 300)
    schema = Schema(
        (
            Column(name="part", kind="integer", low=0, high=49),
            Column(name="other", kind="integer", low=0, high=899),
            Column(name="total", kind="integer", low=0, high=948),
            Column(name="shop", kind="category", categories=tuple("abcde")),
            Column(name="town", kind="category", categories=tuple("xyz")),
        )
    )
    columns = {"part": part, "other": other, "total": part + other, "shop": shop, "town": shop % 3}
    table = Table(schema, {name: cells.tolist() for name, cells in columns.items()}, 300)
    found = relations(schema, table, ["part + other = total", "shop -> town"])
    rules = Rules(schema, found.relations)
    wanted = [Want(), Want({"total": Domain(((500, 510),))}), Want({"town": just(2), "part": just(7)})] * 60
    model = RowTransformer(TINY).fit(table, rules, seed=1, folder=None, say=quiet)
    rows = sampler_of(model, rules).sample(wanted, 3, quiet)
    assert all(row is not None and rules.broken(row) is None for row in rows)
    assert all(row["part"] + row["other"] == row["total"] for row in rows)
    assert all(500 <= row["total"] <= 510 for row in rows[1::3])


def test_contradicting_wants_give_the_row_up(models):
    rules = Rules(SCHEMA, NOT_AFTER)
    wanted = [Want({"start": just(9), "end": just(8)}), Want({"age": just(200)}), Want()]
    rows = sampler_of(models["trained"], rules).sample(wanted, 3, quiet)
    assert rows[0] is None
    assert rows[1] is None
    assert rows[2] is not None


def test_a_strong_dependency_is_learnt_and_imputed():
    random = np.random.default_rng(5)
    schema = Schema(
        (
            Column(name="x", kind="category", categories=tuple("abcdef")),
            Column(name="noise", kind="integer", low=0, high=99),
            Column(name="y", kind="integer", low=0, high=1_000),
        )
    )
    image = np.array([10, 700, 10, 300, 999, 0])
    x = random.integers(0, 6, 1_000)
    cells = {"x": x.tolist(), "noise": random.integers(0, 100, 1_000).tolist(), "y": image[x].tolist()}
    settings = Settings(hidden_size=32, layers=2, heads=2, epochs=60, bins=8, learning_rate=5e-3)
    table = Table(schema, cells, 1_000)
    sampler = sampler_of(fitted(table, settings), Rules(schema), settings)
    rows = sampler.sample([Want()] * 500, 1, quiet)
    assert np.mean([image[row["x"]] == row["y"] for row in rows]) >= 0.97
    rows = sampler.sample([Want({"y": just(700), "noise": just(i % 100)}) for i in range(200)], 1, quiet)
    assert np.mean([row["x"] == 1 for row in rows]) >= 0.97
    shares = np.bincount([row["x"] for row in sampler.sample([Want({"y": just(10)})] * 400, 2, quiet)], minlength=6)
    assert shares[0] + shares[2] >= 0.97 * 400
    assert 120 < shares[0] < 280


def test_same_seed_same_bytes_and_rows():
    table, rules = mixed(60), Rules(SCHEMA)
    one, other = fitted(table), fitted(table)
    assert one == other
    assert one != fitted(table, seed=2)
    wanted = [Want({"colour": just(i % 3)}) for i in range(40)]
    rows = sampler_of(one, rules).sample(wanted, 5, quiet)
    assert rows == sampler_of(other, rules).sample(wanted, 5, quiet)
    assert rows != sampler_of(other, rules).sample(wanted, 6, quiet)


def test_the_global_generators_are_left_alone():
    torch.manual_seed(1)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    sampler_of(fitted(mixed(30)), Rules(SCHEMA)).sample([Want()] * 3, 5, quiet)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numbers, np.random.get_state()[1])


@pytest.mark.parametrize("last", [2, 3, 11])
def test_a_training_goes_on_from_its_checkpoint_with_the_same_bytes(tmp_path, monkeypatch, last):
    monkeypatch.setattr("factory.tables.row_transformer.training.STORE_S", 0.0)
    monkeypatch.setattr("factory.tables.row_transformer.training.SAY_S", 0.0)
    table, whole = mixed(150), fitted(mixed(150), longer())
    calls = []

    def gone(text):
        calls.append(text)
        if len(calls) == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RowTransformer(longer()).fit(table, Rules(SCHEMA), seed=1, folder=tmp_path, say=gone)
    first = len(calls)
    again = RowTransformer(longer()).fit(table, Rules(SCHEMA), seed=1, folder=tmp_path, say=calls.append)
    assert again == whole
    fresh = []
    RowTransformer(longer()).fit(table, Rules(SCHEMA), seed=1, folder=None, say=fresh.append)
    assert "going on from the checkpoint after step" in calls[first]
    assert len(calls[first + 1 :]) < len(fresh)


def test_a_checkpoint_of_another_training_is_not_used(tmp_path):
    fitted(mixed(60), folder=tmp_path)
    assert restore(tmp_path / CHECKPOINT, "another") is None
    assert fitted(mixed(60, seed=3), folder=tmp_path) == fitted(mixed(60, seed=3))


KILLED = """
import sys
from pathlib import Path
from factory.tables.row_transformer import training
from tests_row_transformer import fitted, longer, mixed
training.STORE_S = 0.0
Path(sys.argv[2]).write_bytes(fitted(mixed(150), longer(), folder=Path(sys.argv[1])))
"""


def test_a_kill_changes_nothing(tmp_path):
    (tmp_path / "tests_row_transformer.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "run.py").write_text(KILLED, encoding="utf-8")
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "kept"), str(tmp_path / "model")]
    process = subprocess.Popen(command, env=environment)
    until = time.monotonic() + 60
    while not (tmp_path / "kept" / CHECKPOINT).exists() and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, env=environment, check=True)
    assert (tmp_path / "model").read_bytes() == fitted(mixed(150), longer())


def test_one_row():
    table = mixed(1)
    rows = sampler_of(fitted(table), Rules(SCHEMA)).sample([Want()] * 5, 1, quiet)
    assert all(row is not None and Rules(SCHEMA).broken(row) is None for row in rows)


def test_missing_and_constant_columns():
    schema = Schema(
        (
            Column(name="gone", kind="integer", nullable=True, low=0, high=-1),
            Column(name="lost", kind="category", nullable=True),
            Column(name="same", kind="integer", low=7, high=7),
            Column(name="only", kind="category", categories=("a",)),
        )
    )
    cells = {"gone": [None] * 30, "lost": [None] * 30, "same": [7] * 30, "only": [0] * 30}
    rows = sampler_of(fitted(Table(schema, cells, 30)), Rules(schema)).sample([Want()] * 20, 1, quiet)
    assert rows == [{"gone": None, "lost": None, "same": 7, "only": 0}] * 20


def test_three_hundred_columns():
    random = np.random.default_rng(1)
    schema = Schema(tuple(Column(name=f"c{i}", kind="integer", low=0, high=999) for i in range(300)))
    cells = {f"c{i}": random.integers(0, 1_000, 40).tolist() for i in range(300)}
    settings = Settings(**{**kept(TINY), "epochs": 1})
    rows = sampler_of(fitted(Table(schema, cells, 40), settings), Rules(schema)).sample([Want()] * 60, 1, quiet)
    assert all(row is not None and Rules(schema).broken(row) is None for row in rows)


def test_text_is_referred_to_great_and_empty_tables_are_refused():
    text = Schema((AGES, Column(name="story", kind="text")))
    with pytest.raises(UserError, match="free text of 'story'.*'great'"):
        fitted(Table(text, {"age": [30], "story": ["so"]}, 1))
    with pytest.raises(UserError, match="no rows"):
        fitted(mixed(0))
    with pytest.raises(UserError, match="no column to learn"):
        fitted(Table(Schema((NUMBER,)), {"number": ["a"]}, 1))


def test_a_model_of_other_columns_is_refused():
    schema = Schema((AGES,))
    with pytest.raises(UserError, match="has learnt the columns age, .*learn the table again"):
        sampler_of(fitted(mixed(12)), Rules(schema))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"heads": 7}, "no multiple of heads"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        Settings(**wrong)
