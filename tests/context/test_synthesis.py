"""The drawing loop, with the Gaussian copula as its model: it learns in milliseconds."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.context import synthesis
from factory.errors import FactoryError, RecipeError
from factory.runner import RunResult
from factory.tables.gaussian_copula import sampling

ROWS = [
    {
        "id": f"C-{number:05d}",
        "age": 20 + number % 50,
        "retires": 60 + number % 9,
        "city": ("Riga", "Oslo", "Rome")[number % 3],
        "income": ("low", "high")[number % 7 == 0],
        "debt": None if number % 5 == 0 else round(number * 1.37 % 400, 2),
    }
    for number in range(300)
]


@pytest.fixture(autouse=True)
def people(tmp_path: Path) -> None:
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def run(folder: Path, step: str, out: str = "out", table: str = "{path: people.jsonl}", **named: Any) -> RunResult:
    (folder / "r.yaml").write_text(f"name: people\ntable: {table}\nsteps:\n  - gaussian_copula: {step}\n")
    return factory.run(folder / "r.yaml", folder / out, progress=False, **named)


def rows(result: RunResult, part: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted((result.path / part).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_exactly_the_rows_that_are_asked_for_with_made_up_identifiers(tmp_path: Path) -> None:
    result = run(tmp_path, "{rows: 700}")
    found = rows(result)
    assert (result.status, len(found)) == ("complete", 700)
    assert [*found[0]] == [*ROWS[0], "record_id", "provenance"]
    ids = {row["id"] for row in found}
    assert len(ids) == 700
    assert not ids & {row["id"] for row in ROWS}
    assert len({row["record_id"] for row in found}) == 700
    assert {row["city"] for row in found} <= {"Riga", "Oslo", "Rome"}
    assert 0.1 < sum(row["debt"] is None for row in found) / 700 < 0.3


def test_as_many_rows_as_are_learnt_by_default(tmp_path: Path) -> None:
    assert run(tmp_path, "{}", table="{path: people.jsonl, sample: 123}").rows == 123


def test_conditions_are_kept_by_every_row_and_throw_nothing_away(tmp_path: Path) -> None:
    result = run(tmp_path, '{rows: 400, where: {age: ">= 60", city: [Riga, Rome], debt: null}}')
    found = rows(result)
    assert len(found) == 400
    assert all(row["age"] >= 60 and row["city"] in ("Riga", "Rome") and row["debt"] is None for row in found)
    assert "400 rows given out of 400 drawn: 0.00% drawn again" in result.manifest["steps"][0]["notes"]


def test_shares_are_exact_also_where_they_do_not_come_out_even(tmp_path: Path) -> None:
    balance = "{income: {high: 0.5, low: 0.5}, city: {Riga: 0.2, Oslo: 0.7, Rome: 0.1}}"
    found = rows(run(tmp_path, f"{{rows: 101, balance: {balance}}}"))
    assert sum(Counter(row["income"] for row in found).values()) == 101
    assert abs(Counter(row["income"] for row in found)["high"] - 50.5) <= 1.5
    assert abs(Counter(row["city"] for row in found)["Oslo"] - 70.7) <= 1.5
    first = Counter(row["income"] for row in found[:40])
    assert 8 <= first["high"] <= 32, "the parts are mixed, not one after the other"


def test_conditions_and_shares_go_together(tmp_path: Path) -> None:
    found = rows(run(tmp_path, '{rows: 50, where: {age: "< 30"}, balance: {income: {high: 1.0}}}'))
    assert all(row["age"] < 30 and row["income"] == "high" for row in found)


def test_gaps_are_filled_and_given_cells_stay_as_they_are(tmp_path: Path) -> None:
    gaps = [
        {**row, "city": None} if number % 2 else {**row, "age": None, "income": None} for number, row in enumerate(ROWS)
    ]
    gaps[0] |= {"city": "Bonn", "debt": 99999.5, "more": "kept"}
    (tmp_path / "gaps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gaps))
    found = rows(run(tmp_path, "{impute: {path: gaps.jsonl}}"))
    assert len(found) == len(gaps)
    for given, row in zip(gaps, found, strict=True):
        assert {name: row[name] for name, value in given.items() if value is not None} == {
            name: value for name, value in given.items() if value is not None
        }
        assert row["city"] is not None and row["age"] is not None and row["income"] is not None
    assert sum(row["debt"] is None for row in found) < sum(row["debt"] is None for row in gaps), (
        "debts are filled as well"
    )


def test_a_filled_row_tells_which_row_it_was(tmp_path: Path) -> None:
    result = run(tmp_path, "{impute: {first: 20}}")
    found = rows(result)
    story = factory.why(result.path, found[0]["record_id"])
    assert [each.state for each in story] == ["kept", "source row"]
    assert story[1].fields["debt"] is None


def test_relations_hold_in_every_row(tmp_path: Path) -> None:
    table = '{path: people.jsonl, constraints: ["age < retires"]}'
    (tmp_path / "people.jsonl").write_text("".join(json.dumps({**row, "age": row["age"] - 10}) + "\n" for row in ROWS))
    found = rows(run(tmp_path, '{rows: 500, where: {age: ">= 55"}}', table=table))
    assert len(found) == 500
    assert all(row["age"] < row["retires"] for row in found)


def test_rows_that_must_be_unique_are_drawn_again_and_told_of(tmp_path: Path) -> None:
    table = '{path: people.jsonl, only: [city, age, income], columns: {age: {kind: integer}}, constraints: ["unique(age, city)"]}'
    unique = [{**row, "age": number // 3} for number, row in enumerate(ROWS)]
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in unique))
    result = run(tmp_path, "{rows: 200}", table=table)
    found = rows(result)
    assert len({(row["age"], row["city"]) for row in found}) == 200
    step = result.manifest["steps"][0]
    assert step["rejected"]["table: repeated"] == len(rows(result, "rejected")) > 0
    assert "drawn again (repeated" in " ".join(step["notes"])


def test_more_unique_rows_than_there_can_be_end_short_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesis, "MOST_TRIES", 20)
    table = '{path: people.jsonl, only: [city, income], constraints: ["unique(city, income)"]}'
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:1] + ROWS[2:4]))
    result = run(tmp_path, "{rows: 9}", table=table)
    assert (result.status, result.exit_code) == ("partial", 4)
    assert 0 < result.rows < 9
    assert f"9 rows were asked for; {9 - result.rows} could not be drawn in 20 tries each" in result.message


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ('{where: {agee: "> 3"}}', "no column 'agee' (did you mean 'age'?)"),
        ("{where: {city: Bonn}}", "Bonn"),
        ('{where: {age: "> 500"}}', "500"),
        ("{where: {id: C-00001}}", "identifier"),
        ("{balance: {income: {high: 0.9, low: 0.9}}}", "sum to 1.8"),
        ('{where: {income: high}, balance: {income: {low: 1.0}}}', "no row can be like that"),
        ("{impute: {path: none.csv}}", "no such file"),
        ("{impute: {}, rows: 5}", "leave out 'rows'"),
        ("{rows: 0}", "at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_wanted_is_refused_before_anything_is_learnt(tmp_path: Path, step: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        run(tmp_path, step)
    assert told in str(error.value)
    assert len(error.value.problems) == 1


def test_free_text_is_refused_with_what_to_do(tmp_path: Path) -> None:
    texts = [{"note": f"the {number}th customer asked twice, then left without a word"} for number in range(60)]
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    with pytest.raises(RecipeError, match="'note': free text, which this method cannot learn; take the method 'great'"):
        run(tmp_path, "{}")


def test_nothing_is_learnt_or_drawn_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rows(run(tmp_path, "{rows: 300, batch_rows: 64}"))
    calls: list[int] = []
    sample = sampling.CopulaSampler.sample

    def counted(self: Any, wants: Any, seed: int, say: Any) -> Any:
        calls.append(len(wants))
        return sample(self, wants, seed, say)

    monkeypatch.setattr(sampling.CopulaSampler, "sample", counted)
    assert rows(run(tmp_path, "{rows: 300, batch_rows: 64}")) == first
    assert calls == []
    longer = rows(run(tmp_path, "{rows: 400, batch_rows: 64}"))
    assert calls == [64, 64, 16], "the fifth batch was not full, and two more follow"
    assert longer[:256] == first[:256]


def test_a_run_that_stopped_between_two_batches_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(run(tmp_path, "{rows: 200, batch_rows: 50}", out="whole"))
    sample = sampling.CopulaSampler.sample
    calls: list[int] = []

    def dying(self: Any, wants: Any, seed: int, say: Any) -> Any:
        calls.append(seed)
        if len(calls) == 3:
            raise FactoryError("the power fails")
        return sample(self, wants, seed, say)

    monkeypatch.setattr(sampling.CopulaSampler, "sample", dying)
    with pytest.raises(FactoryError, match="the power fails"):
        run(tmp_path, "{rows: 200, batch_rows: 50}")
    assert rows(run(tmp_path, "{rows: 200, batch_rows: 50}")) == whole
    assert len(calls) == 5, "two batches, the one that failed, and the two that were missing"


def test_another_seed_draws_other_rows_and_the_same_the_same(tmp_path: Path) -> None:
    one, same = (rows(run(tmp_path, "{rows: 50}", out=out)) for out in ("one", "same"))
    other = rows(run(tmp_path, "{rows: 50}", out="other", overrides=["seed=7"]))
    assert one == same
    assert [row["age"] for row in one] != [row["age"] for row in other]


def test_a_changed_row_of_the_table_is_learnt_anew(tmp_path: Path) -> None:
    before = rows(run(tmp_path, "{rows: 50}"))
    changed = [{**ROWS[0], "age": 21}, *ROWS[1:]]
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    after = rows(run(tmp_path, "{rows: 50}"))
    assert before[0]["provenance"]["model"] != after[0]["provenance"]["model"]


def test_a_preview_draws_no_more_than_it_shows(tmp_path: Path) -> None:
    result = run(tmp_path, "{rows: 5000}", limit=4)
    assert (result.status, result.rows) == ("preview", 4)
    assert "4 rows given out of 4 drawn: 0.00% drawn again" in result.manifest["steps"][0]["notes"]


def test_a_plan_counts_the_rows_and_draws_none(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: p\ntable: {path: people.jsonl}\nsteps:\n  - gaussian_copula: {rows: 70}\n")
    plan = factory.plan(tmp_path / "r.yaml", tmp_path / "out")
    assert [(line.stage, line.ask) for line in plan.lines] == [("rows", 70)]
    factory.run(tmp_path / "r.yaml", tmp_path / "out", progress=False)
    plan = factory.plan(tmp_path / "r.yaml", tmp_path / "out")
    assert (plan.total("ask"), plan.rows) == (0, 70)


def test_steps_one_after_the_other_add_their_rows(tmp_path: Path) -> None:
    steps = "  - gaussian_copula: {rows: 5, name: one}\n  - gaussian_copula: {rows: 6, name: two}\n"
    (tmp_path / "r.yaml").write_text(f"name: p\ntable: {{path: people.jsonl}}\nsteps:\n{steps}")
    found = rows(factory.run(tmp_path / "r.yaml", tmp_path / "out", progress=False))
    assert Counter(row["provenance"]["step"] for row in found) == {"one": 5, "two": 6}


def test_the_card_says_what_the_rows_were_drawn_from_and_that_nothing_is_private(tmp_path: Path) -> None:
    card = (run(tmp_path, "{rows: 5}").path / "README.md").read_text()
    assert "Drawn from `gaussian_copula` trained on 300 rows of people.jsonl." in card
    assert "Generated by" not in card
    assert "no differential privacy" in card
    assert "- tabular" in card


def test_huge_numbers_come_out_whole(tmp_path: Path) -> None:
    huge = [{"n": 2**70 + number * 3, "m": number} for number in range(40)]
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in huge))
    found = rows(
        run(tmp_path, "{rows: 30}", table="{path: people.jsonl, columns: {n: {kind: integer}, m: {kind: integer}}}")
    )
    assert all(2**70 <= int(row["n"]) <= 2**70 + 117 for row in found)


def other(folder: Path, rows_of: list[dict[str, Any]], text: str, out: str = "out", **named: Any) -> RunResult:
    """A run over another table, `other.jsonl`; the text follows `name: other`."""
    (folder / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of))
    (folder / "o.yaml").write_text(f"name: other\n{text}\n")
    return factory.run(folder / "o.yaml", folder / out, progress=False, **named)


def gaps_of(folder: Path, *gaps: dict[str, Any]) -> None:
    (folder / "gaps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gaps))


def test_shares_of_several_columns_are_each_kept_to_within_a_row(tmp_path: Path) -> None:
    table = [{"u": "abcd"[at % 4], "v": "efgh"[at // 4 % 4], "w": "ijkl"[at // 16 % 4]} for at in range(128)]
    quarter = {name: dict.fromkeys(letters, 0.25) for name, letters in (("u", "abcd"), ("v", "efgh"), ("w", "ijkl"))}
    for count in (16, 100, 10):
        step = json.dumps({"rows": count, "balance": quarter})
        found = rows(
            other(tmp_path, table, f"table: {{path: other.jsonl}}\nsteps: [gaussian_copula: {step}]", f"o{count}")
        )
        for name in "uvw":
            counts = Counter(row[name] for row in found)
            assert max(counts.values()) - min(counts.values()) <= 1, (count, name)
    together = Counter((row["u"], row["v"]) for row in rows(RunResultAt(tmp_path / "o100")))
    assert max(together.values()) <= 100 / 16 + 2, "combinations come as often as the product of the shares says"


class RunResultAt:
    """The dataset of an earlier run."""

    def __init__(self, path: Path) -> None:
        self.path = path


def test_identifiers_are_those_of_nobody(tmp_path: Path) -> None:
    table = [{"id": number, "k": "ab"[number % 2]} for number in range(1, 101)]
    found = rows(
        other(
            tmp_path,
            table,
            "table: {path: other.jsonl, held_out: 0.5}\nsteps: [gaussian_copula: {rows: 40}, tvae: {rows: 40, epochs: 1}]",
        )
    )
    ids = [row["id"] for row in found]
    assert len(set(ids)) == 80, "two steps share no identifier"
    assert not set(ids) & set(range(1, 101)), "none of a row that was held out either"
    gaps_of(tmp_path, {"id": None, "k": "a"}, {"id": 101, "k": "b"}, {"id": None, "k": None}, {"id": 103, "k": None})
    text = "table: {path: other.jsonl}\nsteps: [gaussian_copula: {impute: {path: gaps.jsonl}}]"
    ids = [row["id"] for row in rows(other(tmp_path, table, text, "filled"))]
    assert ids[1::2] == [101, 103] and len(set(ids)) == 4


def test_filled_rows_are_unique_beside_those_that_are_given(tmp_path: Path) -> None:
    table = [{"a": a, "b": b} for a, b in ("xp", "xq", "xr", "yp", "yq")]
    gaps_of(tmp_path, *({"a": a, "b": b} for a, b in (("x", None), ("x", "p"), ("x", "q"), ("y", None), ("y", "p"))))
    text = 'table: {path: other.jsonl, constraints: ["unique(a, b)"]}\n'
    for seed in range(4):
        step = f"seed: {seed}\nsteps: [gaussian_copula: {{impute: {{path: gaps.jsonl}}}}]"
        found = [(row["a"], row["b"]) for row in rows(other(tmp_path, table, text + step, f"o{seed}"))]
        assert found == [("x", "r"), ("x", "p"), ("x", "q"), found[3], ("y", "p")]
        assert found[3] in (("y", "q"), ("y", "r"))


def test_what_is_filled_keeps_relations_to_given_cells_that_nobody_has(tmp_path: Path) -> None:
    table = [{"a": at % 30, "b": at % 30 + at * 7 % 41} for at in range(60)]
    text = "table: {path: other.jsonl, constraints: [a <= b]}\nsteps: [gaussian_copula: {impute: {path: gaps.jsonl}}]"
    gaps_of(tmp_path, *[{"a": 45, "b": None}] * 30)
    result = other(tmp_path, table, text)
    assert all(row["a"] == 45 <= row["b"] for row in rows(result))
    assert "30 rows given out of 30 drawn: 0.00% drawn again" in result.manifest["steps"][0]["notes"]
    gaps_of(tmp_path, {"a": 20, "b": 3}, {"a": 5, "b": None})
    result = other(tmp_path, table, text, "broken")
    assert result.status == "partial" and len(rows(result)) == 1
    assert "broken_by_given 1" in result.message


def test_given_numbers_of_any_size_are_kept(tmp_path: Path) -> None:
    table = [{"n": number, "g": "xy"[number % 2]} for number in range(13)]
    (tmp_path / "gaps.csv").write_text("n,g,more\n99999999999999999999,,1\n3,,-88888888888888888888\n")
    text = "table: {path: other.jsonl}\nsteps: [gaussian_copula: {impute: {path: gaps.csv}}]"
    found = rows(other(tmp_path, table, text))
    assert [row["n"] for row in found] == ["99999999999999999999", "3"]
    assert [row["more"] for row in found] == ["1", "-88888888888888888888"]


@pytest.mark.parametrize(
    ("table", "step", "told"),
    [
        ([{"id": f"{letter}{digit}", "k": digit} for letter in "ABCD" for digit in range(10)], "{rows: 400}", "rows: "),
        ([{"k": 1}, {"k": 2}], "{impute: {path: empty.csv}}", "impute.path: empty.csv: no rows"),
        ([{"k": 1}, {"k": 2}], "{impute: {quotes: false}}", "tell of the file in 'path'"),
    ],
)
def test_what_cannot_be_is_known_before_anything_is_learnt(
    tmp_path: Path, table: list[dict[str, Any]], step: str, told: str
) -> None:
    (tmp_path / "empty.csv").write_text("k\n")
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    (tmp_path / "o.yaml").write_text(f"name: other\ntable: {{path: other.jsonl}}\nsteps: [gaussian_copula: {step}]\n")
    with pytest.raises(RecipeError, match=re.escape(told)):
        factory.check(tmp_path / "o.yaml")


def test_a_given_cell_that_nobody_has_counts_as_it_is_for_what_must_be_unique(tmp_path: Path) -> None:
    table = [{"a": at % 5, "b": "pqr"[at // 5]} for at in range(15)]
    gaps_of(tmp_path, {"a": 9, "b": None}, {"a": 9, "b": "p"}, {"a": 9, "b": "q"})
    text = 'table: {path: other.jsonl, constraints: ["unique(a, b)"]}\n'
    text += "steps: [gaussian_copula: {impute: {path: gaps.jsonl}}]"
    for seed in range(4):
        found = rows(other(tmp_path, table, f"seed: {seed}\n{text}", f"o{seed}"))
        assert [(row["a"], row["b"]) for row in found] == [(9, "r"), (9, "p"), (9, "q")]
