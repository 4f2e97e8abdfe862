"""Several sets side by side: what a perfect generator, copies and shuffled columns look like."""

import pytest

from factory.errors import UserError
from factory.evaluation.tables.compare import REAL, REAL_ALL, SHUFFLED, compare
from factory.evaluation.tables.metrics import METRICS
from factory.tables.column import Column
from factory.tables.schema import Schema, Table
from factory.terminal.table_evaluations import table_evaluation_text

from .made import made, shuffled, values

TRAIN, TEST, HOLDOUT = made(300, 1), made(400, 2), made(300, 3)


@pytest.fixture(scope="module")
def found():
    sets = {
        "perfect": made(300, 4),
        "copies": TRAIN,
        "shuffled": shuffled(made(300, 5), 6),
        "raw": values(made(260, 7)),
    }
    sets["raw"] += [{"age": "old"}] * 40
    return compare(sets, TRAIN, TEST, HOLDOUT, target="rich")


def line(found, name):
    return next(each for each in found.lines if each.name == name)


def overlap(one, other):
    return one.low <= other.high and other.low <= one.high


def test_a_perfect_generator_is_as_good_as_real_rows(found):
    perfect, real = line(found, "perfect"), line(found, REAL)
    for key in ("forest.auc", "linear.auc", "detection_auc", "closer", "attack", "shape", "pair"):
        assert overlap(perfect.figures[key], real.figures[key]), key
    assert perfect.figures["valid"].value == 1.0
    assert perfect.figures["violations"].value == 0.0


def test_copies_and_shuffled_columns_show(found):
    copies, mixed, reference = (line(found, name).figures for name in ("copies", "shuffled", SHUFFLED))
    assert copies["closer"].value > 0.95
    assert copies["attack"].value > 0.9
    assert copies["copies"].value == 1.0
    assert copies["detection_auc"].value < 0.6
    for each in (mixed, reference):
        assert each["detection_auc"].value > 0.9
        assert each["violations"].value > 0.5
        assert each["shape"].value > 0.9
        assert each["forest.auc"].value < 0.8


def test_all_are_measured_at_the_same_size_and_it_is_said(found):
    assert found.size == 260
    assert {each.used for each in found.lines if each.name != REAL_ALL} == {260}
    assert any("260 rows, drawn by seed" in note for note in found.notes)
    assert any(note.startswith("raw: 40 of 300 rows") for note in found.notes)
    assert line(found, "raw").validity.faults["age: unreadable"] == 40


def test_every_figure_is_known_and_has_an_interval(found):
    for each in found.lines:
        for key, figure in each.figures.items():
            assert METRICS[key].least <= figure.low <= figure.value <= figure.high <= METRICS[key].most, (
                each.name,
                key,
            )


def test_the_order_of_rows_and_of_sets_does_not_matter():
    sets = {"one": made(120, 4), "two": shuffled(made(120, 5), 1)}
    turned = {name: table.take(list(reversed(range(120)))) for name, table in reversed(sets.items())}
    train, test = made(120, 8), made(150, 9)
    first = compare(sets, train, test, target="rich", seeds=1)
    again = compare(turned, train.take(list(reversed(range(120)))), test, target="rich", seeds=1)
    for name in (*sets, REAL, REAL_ALL, SHUFFLED):
        assert line(first, name).figures == line(again, name).figures


def test_without_a_holdout_test_rows_are_halved_and_without_a_target_nothing_is_trained():
    found = compare({"one": made(100, 4)}, made(100, 5), made(120, 6), seeds=1)
    assert any("halved" in note for note in found.notes)
    assert not any(key.endswith(".auc") for key in line(found, "one").figures)
    assert line(found, REAL_ALL).figures == {}


def test_a_set_of_one_class_is_said():
    rows = made(100, 4)
    one = Table(rows.schema, {**rows.cells, "rich": [0] * 100}, 100)
    found = compare({"one": one}, made(100, 5), made(120, 6), target="rich", seeds=1)
    assert any("all rows have the target 'false'" in note for note in found.notes)
    assert line(found, "one").figures["forest.auc"].value == 0.5


def test_a_set_of_one_row_does_not_cut_down_the_others():
    found = compare({"tiny": made(1, 4), "one": made(100, 5), "none": []}, made(100, 6), made(120, 7), seeds=1)
    assert found.size == 100
    assert set(line(found, "tiny").figures) == {
        "valid",
        "complete",
        "readable",
        "in_domain",
        "in_relation",
        "violations",
    }
    assert line(found, "none").figures == {}
    assert any("too few" in note for note in found.notes)


@pytest.mark.parametrize("part", [6, 60])
def test_test_rows_that_are_training_rows_are_said(part):
    train, fresh = made(100, 6), made(120, 7)
    cells = {name: train.cells[name][:part] + column[part:60] for name, column in fresh.cells.items()}
    leaked = Table(train.schema, cells, 60)
    found = compare({"one": made(60, 5)}, train, leaked, seeds=1)
    assert any(note.startswith(f"test rows: {part} of 60") and "equal a training row" in note for note in found.notes)
    found = compare({"one": made(60, 5)}, train, fresh, leaked, seeds=1)
    assert [note.split(":")[0] for note in found.notes if "equal a training row" in note] == ["hold-out"]


def test_rows_that_are_equal_by_chance_are_not_said():
    schema = Schema((Column(name="c", kind="category", categories=("a", "b", "c")),))
    train, test, one = (Table(schema, {"c": [(at * 7 + turn) % 3 for at in range(90)]}, 90) for turn in range(3))
    assert not any("equal a training row" in note for note in compare({"one": one}, train, test, seeds=1).notes)


def test_near_copies_show_beside_few_test_rows():
    train = made(200, 6)
    near = Table(train.schema, {**train.cells, "wage": [cell + 1 for cell in train.cells["wage"]]}, 200)
    figures = line(compare({"near": near}, train, made(60, 7), seeds=1), "near").figures
    assert figures["copies"].value == 0.0
    assert figures["closer"].value > 0.98
    assert figures["dcr"].value < 0.01


def test_valid_rows_are_counted_over_all_rows():
    found = compare({"tiny": made(1, 4), "one": made(100, 5)}, made(80, 6), [*values(made(119, 7)), {}], seeds=1)
    assert {each.name: each.judged for each in found.lines} == {
        "tiny": 1,
        "one": 100,
        REAL: 120,
        REAL_ALL: 0,
        SHUFFLED: 0,
    }
    shown = table_evaluation_text(found).split("rows such as the table may hold")[1].splitlines()[3:6]
    assert [row.split("  ")[0] for row in shown] == ["tiny", "one", REAL]
    assert [row[len(REAL) :].split()[0] for row in shown] == ["1", "100", "120"]


def test_columns_that_are_missing_everywhere():
    columns = (*made(1, 1).schema.columns, Column(name="gone", kind="category", nullable=True))
    columns += (Column(name="never", kind="integer", nullable=True, low=1, high=0),)

    def wider(table):
        more = {"gone": [None] * table.rows, "never": [None] * table.rows}
        return Table(Schema(columns), {**table.cells, **more}, table.rows)

    found = compare({"one": wider(made(80, 1))}, wider(made(80, 2)), wider(made(120, 3)), target="rich", seeds=1)
    assert line(found, "one").figures["shape"].value > 0.8


def test_regression():
    found = compare({"one": made(100, 4)}, made(100, 5), made(150, 6), target="wage", seeds=2)
    assert found.kind == "regression"
    assert line(found, "one").figures["linear.r2"].value > 0.8
    assert line(found, SHUFFLED).figures["linear.r2"].value < 0.3


@pytest.mark.parametrize(
    ("sets", "settings", "message"),
    [
        ({}, {}, "at least one set"),
        ({REAL: made(30, 1)}, {}, "rename it"),
        ({"one": made(30, 1)}, {"target": "no"}, "no such column"),
        ({"one": made(30, 1)}, {"seeds": 0}, "at least one seed"),
        ({"one": made(30, 1)}, {"holdout": made(3, 1)}, "hold-out: expected at least 20 real rows"),
    ],
)
def test_what_cannot_be_compared(sets, settings, message):
    with pytest.raises(UserError, match=message):
        compare(sets, made(50, 2), made(60, 3), **settings)
