from __future__ import annotations

from pathlib import Path

import pytest

from factory.errors import OptionError, RecipeError
from factory.recipe import Recipe, load_recipe
from factory.recipe.tables import TableSource, fitting

PEOPLE = "age,city,income\n" + "".join(
    f"{20 + number % 50},{('Riga', 'Oslo', 'Rome')[number % 3]},{('low', 'high')[number % 7 == 0]}\n"
    for number in range(200)
)
STEPS = "steps:\n  - gaussian_copula: {rows: 10}\n  - tvae: {rows: 10}\n"


def recipe(folder: Path, table: str, steps: str = STEPS, csv: str = PEOPLE) -> Path:
    (folder / "people.csv").write_text(csv)
    path = folder / "r.yaml"
    path.write_text(f"name: people\ntable: {table}\n{steps}")
    return path


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        load_recipe(path, overrides)
    return [str(problem) for problem in error.value.problems]


def options(loaded: Recipe, step: int) -> TableSource:
    found = loaded.steps[step].options.table  # type: ignore[attr-defined]
    assert isinstance(found, TableSource)
    return found


def test_the_table_of_the_recipe_is_that_of_every_step_without_one_of_its_own(tmp_path: Path) -> None:
    steps = (
        "steps:\n  - gaussian_copula: {rows: 10}\n  - tvae: {rows: 10, table: {path: people.csv, only: [age, city]}}\n"
    )
    loaded = load_recipe(recipe(tmp_path, "{path: people.csv, sample: 100}", steps))
    assert options(loaded, 0).sample == 100
    assert options(loaded, 1).sample is None
    assert options(loaded, 1).only == ["age", "city"]


def test_setting_an_option_of_the_table_reaches_every_step(tmp_path: Path) -> None:
    loaded = load_recipe(recipe(tmp_path, "{path: people.csv}"), ["table.sample=50"])
    assert [options(loaded, step).sample for step in (0, 1)] == [50, 50]


def test_what_is_wrong_with_the_shared_table_is_told_once_and_where_it_stands(tmp_path: Path) -> None:
    found = problems(recipe(tmp_path, "{path: people.csv, target: incme}"))
    assert len(found) == 1
    assert "r.yaml:2:" in found[0]
    assert "table.target: no column 'incme' (did you mean 'income'?)" in found[0]


def test_an_unknown_key_of_the_shared_table_is_told_where_it_stands(tmp_path: Path) -> None:
    found = problems(recipe(tmp_path, "{path: people.csv, targt: income}"))
    assert [line.split("r.yaml")[1] for line in found] == [":2:27: table.targt: unknown key (did you mean 'target'?)"]


@pytest.mark.parametrize(
    ("table", "csv", "told"),
    [
        ("{path: nowhere.csv}", PEOPLE, "no such file"),
        ("{path: people.csv}", "", "expected a header line"),
        ("{path: people.csv}", "age,age\n1,2\n", "distinct column names"),
        ("{path: people.csv}", "age,city\n", "has no rows"),
        ("{path: people.csv}", "age,city\n1,Riga\n2\n", "people.csv:3: 1 cells where the header has 2"),
        ("{path: people.csv}", 'age,city\n1,"Riga\n', "people.csv:2: not CSV: a quote that opens here is never closed"),
        ("{path: people.csv}", "age;city\n1;Riga\n2;Oslo\n", "seem to be parted by semicolons"),
        ("{path: people.csv}", "age;price\n1;3,50\n2;4,70\n", "people.csv:2: 2 cells where the header has 1; the cells seem to be parted by semicolons: part them by commas"),
        ("{path: people.csv, only: [agee]}", PEOPLE, "no column 'agee' (did you mean 'age'?)"),
        ("{path: people.csv, columns: {town: {kind: category}}}", PEOPLE, "no column 'town'"),
        ("{path: people.csv, columns: {city: {kind: integer}}}", PEOPLE, "city"),
        ("{path: people.csv, constraints: [\"age <= citty\"]}", PEOPLE, "no column 'citty' (did you mean 'city'?)"),
        ("{path: people.csv, constraints: [\"city -> income\"]}", PEOPLE, "'city -> income'"),
        ("{path: people.csv, private: true}", PEOPLE, "no method for tables has a differentially private form"),
        ("{path: \"sklearn:irs\"}", PEOPLE, "no such table (did you mean 'iris'?)"),
        ("{path: people.csv, held_out: 0.999}", "a\n1\n2\n", "is left to learn"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_learnt_is_told_in_one_sentence(tmp_path: Path, table: str, csv: str, told: str) -> None:
    found = problems(recipe(tmp_path, table, csv=csv))
    assert len(found) == 1, found
    assert told in found[0]


def test_rows_are_held_out_by_their_content_and_not_by_their_place(tmp_path: Path) -> None:
    lines = PEOPLE.splitlines(keepends=True)
    (tmp_path / "one.csv").write_text(PEOPLE)
    (tmp_path / "other.csv").write_text(lines[0] + "".join(reversed(lines[1:])))
    one, other = (TableSource(path=f"{name}.csv", held_out=0.25).load(tmp_path) for name in ("one", "other"))
    assert one.table.rows == other.table.rows == 150
    assert len(one.held_out) == 50
    assert set(one.ids) == set(other.ids)

    def shown(rows: object) -> list[str]:
        return sorted(map(str, rows))  # type: ignore[call-overload]

    assert shown(one.held_out) == shown(other.held_out)


def test_a_sample_leaves_the_rest_held_out_and_a_larger_one_holds_the_smaller(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(PEOPLE)
    small, large = (TableSource(path="p.csv", held_out=0.2, sample=size).load(tmp_path) for size in (40, 80))
    assert (small.table.rows, len(small.held_out)) == (40, 160)
    assert set(small.ids) < set(large.ids)


@pytest.mark.parametrize(
    ("name", "rows", "last"),
    [("iris", 150, "species"), ("breast_cancer", 569, "diagnosis"), ("diabetes", 442, "target")],
)
def test_tables_that_scikit_learn_ships_can_be_named(name: str, rows: int, last: str, tmp_path: Path) -> None:
    loaded = TableSource(path=f"sklearn:{name}", target=last).load(tmp_path)
    assert loaded.table.rows == rows
    assert loaded.schema.names[-1] == last
    assert loaded.name == name


def test_rows_that_the_schema_cannot_hold_are_counted(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(PEOPLE)
    schema = TableSource(path="p.csv").load(tmp_path).schema
    table, left_out = fitting(schema, [{"age": "20", "city": "Riga", "income": "low"}, {"age": "20", "city": "Bonn"}])
    assert (table.rows, left_out) == (1, 1)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("a\n1\n2\n")
    assert TableSource(path="p.csv").load(tmp_path).table.rows == 2
    (tmp_path / "p.csv").write_text("a\n1\n2\n3\n")
    assert TableSource(path="p.csv").load(tmp_path).table.rows == 3


def test_a_private_table_is_not_read_by_whoever_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no method for tables protects private rows yet"):
        TableSource(path="people.csv", private=True).load(tmp_path)
