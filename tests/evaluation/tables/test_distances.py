"""Distances by hand, copies found, attacks that succeed on copies and fail on fresh rows."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.evaluation.tables.closeness import between, closeness, copies, nearest
from factory.evaluation.tables.encoding import Encoded, Encoder, pooled
from factory.evaluation.tables.membership import membership
from factory.tables.column import Column
from factory.tables.schema import Schema, Table

from .made import made

PLAIN = Schema(
    (
        Column(name="x", kind="integer", nullable=True, low=0, high=99),
        Column(name="c", kind="category", nullable=True, categories=("a", "b")),
    )
)


def encoded(train, *tables):
    encoder = Encoder(train)
    return [encoder(each) for each in (train, *tables)]


def test_distances_by_hand():
    train = Table(PLAIN, {"x": [0, 10, 20, 30], "c": [0, 0, 1, None]}, 4)
    rows = Table(PLAIN, {"x": [0, 20, None], "c": [0, 0, None]}, 3)
    known, other = encoded(train, rows)
    found = nearest(other, known)
    # places of 0, 10, 20, 30 are 1/8, 3/8, 5/8, 7/8; missing is 1 away from any number, and equal to missing
    assert found.first.tolist() == pytest.approx([0.0, 0.25, 1.0])
    assert found.second.tolist() == pytest.approx([0.25, 0.5, 2.0])
    assert found.back.tolist() == pytest.approx([0.0, 0.25, 1.0, 1.0])


def test_blocks_do_not_change_distances():
    train, rows = encoded(made(700, 1), made(900, 2))
    found = nearest(rows, train)
    assert found.first.tolist() == [float(nearest(rows.take(np.array([at])), train).first[0]) for at in range(900)]
    assert nearest(train, rows).first.tolist() == found.back.tolist()


def scores(rows, train, holdout):
    encoder = Encoder(train, pooled(train, holdout))
    known, fresh, other = (encoder(each) for each in (train, holdout, rows))
    found = between(other, known, fresh)
    even = min(len(known), len(fresh))
    attacks = membership(found.train.back[:even], found.holdout.back[:even])
    return {**closeness(found, np.random.default_rng(0)), "copies": copies(other, known), **attacks}


def test_fresh_rows_are_as_close_to_others_and_give_nothing_away():
    found = scores(made(600, 1), made(600, 2), made(600, 3))
    assert found["closer"].value == pytest.approx(0.5, abs=0.06)
    assert found["dcr_ratio"].value == pytest.approx(1.0, abs=0.2)
    assert found["attack"].value == pytest.approx(0.5, abs=0.05)
    assert found["copies"].value < 0.02


def test_nothing_to_find_is_a_half_in_the_mean():
    """Scales of the training rows alone would give 0.47."""
    found = [scores(made(300, 3 * at + 1002), made(300, 3 * at + 1000), made(300, 3 * at + 1001)) for at in range(24)]
    for key, best in (("attack", 0.5), ("closer", 0.5), ("dcr_ratio", 1.0)):
        values = [each[key].value for each in found]
        assert np.mean(values) == pytest.approx(best, abs=3 * np.std(values) / np.sqrt(24))
        covered = [abs(each[key].value - best) < 1.96 * each[key].error for each in found]
        assert np.mean(covered) >= 0.75


def test_copies_are_found():
    train, holdout = made(600, 2), made(600, 3)
    found = scores(train, train, holdout)
    assert found["closer"].value > 0.98
    assert found["dcr"].value == found["dcr_ratio"].value == 0.0
    assert found["attack"].value > 0.98
    assert found["copies"].value == 1.0


def test_a_third_of_copies_shows():
    train, holdout, fresh = made(600, 2), made(600, 3), made(400, 4)
    mixed = Table(train.schema, {name: cells[:200] + fresh.cells[name] for name, cells in train.cells.items()}, 600)
    found = scores(mixed, train, holdout)
    assert found["copies"].value == pytest.approx(1 / 3, abs=0.02)
    assert found["closer"].value > 0.6
    assert found["attack"].value > 0.6


@pytest.mark.parametrize(("train", "holdout"), [(300, 300), (300, 150), (300, 30)])
def test_copies_are_found_however_few_rows_are_held_out(train, holdout):
    known = made(train, 2)
    near = Table(known.schema, {**known.cells, "wage": [cell + 1 for cell in known.cells["wage"]]}, train)
    for rows in (known, near):
        found = scores(rows, known, made(holdout, 3))
        assert found["closer"].value > 0.98
        assert found["dcr"].value < 0.01 < found["dcr_holdout"].value


def places(random, rows):
    values = random.random((rows, 3)).astype(np.float32)
    return Encoded(values, values, values, np.zeros((rows, 0), np.int64), np.arange(rows))


def codes(random, rows):
    """Few different rows, so that almost all are ties."""
    found = np.column_stack([random.choice(6, rows, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04]) for _ in range(3)])
    none = np.zeros((rows, 0), np.float32)
    return Encoded(none, none, none, found, np.arange(rows))


@pytest.mark.parametrize("draw", [places, codes])
@pytest.mark.parametrize(("train", "holdout"), [(200, 200), (200, 100), (400, 40), (60, 300)])
def test_honest_rows_are_a_half_whatever_the_sizes_and_intervals_hold_it(draw, train, holdout):
    random = np.random.default_rng(train + holdout)
    found = []
    for _ in range(60):
        each = between(draw(random, 200), draw(random, train), draw(random, holdout))
        found.append(closeness(each, random)["closer"])
    values, errors = np.array([(each.value, each.error) for each in found]).T
    assert values.mean() == pytest.approx(0.5, abs=3 * values.std() / np.sqrt(60) + 0.01)
    assert errors.mean() == pytest.approx(values.std(), rel=0.35)
    assert np.mean(np.abs(values - 0.5) < 1.96 * errors) >= 0.85


def test_as_many_rows_on_both_sides_give_the_plain_share():
    train, holdout, rows = (Encoder(made(300, 1))(made(300, seed)) for seed in (1, 2, 3))
    ours, theirs = nearest(rows, train), nearest(rows, holdout)
    found = between(rows, train, holdout)
    assert found.train.first.tolist() == found.even[0].tolist() == ours.first.tolist()
    assert found.holdout.back.tolist() == theirs.back.tolist()
    assert not (ours.first == theirs.first).any()
    scored = closeness(found, np.random.default_rng(0))["closer"]
    assert scored.value == pytest.approx(np.mean(ours.first < theirs.first))


def test_a_ratio_of_distances_is_to_as_many_rows_of_both():
    random = np.random.default_rng(0)
    found = closeness(between(places(random, 300), places(random, 600), places(random, 60)), random)
    assert found["dcr"].value < 0.7 * found["dcr_holdout"].value
    assert found["dcr_ratio"].value == pytest.approx(1.0, abs=0.15)


def test_density_helps_where_distances_alone_are_blurred():
    random = np.random.default_rng(0)
    usual = random.uniform(0.1, 5, 400)  # how far rows lie from others like them
    near = usual * random.uniform(0.6, 0.9, 400)  # members: a synthetic row is somewhat nearer than that
    member = np.arange(400) < 200
    distances = np.where(member, near, usual)
    found = membership(distances[:200], distances[200:], usual[:200], usual[200:])
    assert found["attack_density"].value == 1.0
    assert found["attack"].value < 0.65


def test_one_row_on_either_side():
    train, single = made(50, 1), made(1, 2)
    found = scores(single, train, made(50, 3))
    assert all(np.isfinite([each.value, each.error]).all() for each in found.values())
    assert np.isinf(nearest(*encoded(train, single)).second).all()


def test_two_thousand_rows_take_about_a_second():
    columns = [Column(name=f"c{at}", kind="category", categories=tuple("abcdef")) for at in range(9)]
    columns += [Column(name=f"x{at}", kind="integer", low=0, high=10**6) for at in range(6)]
    random = np.random.default_rng(0)
    cells = {each.name: random.integers(0, 6 if each.kind == "category" else 10**6, 2000).tolist() for each in columns}
    train = Table(Schema(tuple(columns)), cells, 2000)
    (known,) = encoded(train)
    began = time.process_time()
    nearest(known, known)
    assert time.process_time() - began < 3


CELLS = st.tuples(st.none() | st.integers(0, 99), st.none() | st.integers(0, 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(CELLS, min_size=2, max_size=12), st.lists(CELLS, min_size=1, max_size=12))
def test_nearest_is_what_a_plain_search_finds(known, rows):
    train, other = (
        Table(PLAIN, {"x": [x for x, _ in each], "c": [c for _, c in each]}, len(each)) for each in (known, rows)
    )
    one, two = encoded(train, other)
    place = dict(zip(other.cells["x"], two.places[:, 0].astype(float), strict=True))
    place |= dict(zip(train.cells["x"], one.places[:, 0].astype(float), strict=True))

    def distance(left, right):
        apart = 1.0 if (left[0] is None) != (right[0] is None) else abs(place[left[0]] - place[right[0]])
        return apart + (left[1] != right[1])

    found = nearest(two, one)
    table = [[distance(row, each) for each in known] for row in rows]
    assert found.first.tolist() == pytest.approx([min(each) for each in table], abs=1e-6)
    assert found.second.tolist() == pytest.approx([sorted(each)[1] for each in table], abs=1e-6)
    assert found.back.tolist() == pytest.approx([min(each) for each in zip(*table, strict=True)], abs=1e-6)
    exact = [any(row == each for each in known) for row in rows]
    assert copies(two, one).value == np.mean(exact)
