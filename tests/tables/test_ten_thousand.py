"""10,000 rows of each way to draw them, at three temperatures, untrained too: each whole, in domain, in format, as wanted.

The checks know nothing of schemas and automata: they compare the values of the dataset with those of the learned table.
Run by `FACTORY_SLOW=1 scripts/test tests/tables/test_ten_thousand.py -s`, which prints what had to be drawn again.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

ROWS = 10_000
CITIES = {"Riga, centre": "LV", "Oslo is cold": "NO", 'Rome "old"': "IT", "None": "-", "Łódź": "PL"}
TEXT = "note"
GIVEN = 400

SCRATCH = "model: scratch, scratch: {hidden: 64, layers: 2, heads: 2, vocabulary: 400}, text_tokens: 12"
UNTRAINED = f"{SCRATCH}, train: {{max_steps: 1, learning_rate: 1.0e-9, stop_on: 0}}"
LITTLE = f"{SCRATCH}, train: {{max_steps: 300, epochs: 100, rows: 16}}"
WAYS = {
    "great-untrained": ("great", UNTRAINED),
    "great-trained": ("great", LITTLE),
    "great-vllm-untrained": ("great", f"{UNTRAINED}, backend: vllm"),
    "row_transformer-untrained": ("row_transformer", "epochs: 1, fewest_steps: 1, learning_rate: 1.0e-9"),
    "row_transformer-trained": ("row_transformer", "epochs: 20"),
    "gaussian_copula": ("gaussian_copula", ""),
    "tvae": ("tvae", "epochs: 20"),
}
TEMPERATURES = {"great": (0.5, 1.0, 1.5), "row_transformer": (0.5, 1.0, 1.5)}
CASES = [(way, temperature) for way, (method, _) in WAYS.items() for temperature in TEMPERATURES.get(method, (None,))]
CONSTRAINTS = ["begins <= ends", "low < high", "city -> country", "rent + heat == total"]


def table() -> list[dict[str, Any]]:
    rng = random.Random(3)
    rows = []
    for _ in range(GIVEN):
        city = rng.choice(list(CITIES))
        begins = date(2019, 1, 1) + timedelta(days=rng.randrange(1500))
        low, rent, heat = rng.randrange(-50, 900), rng.randrange(10_000, 90_000), rng.randrange(0, 20_000)
        rows.append(
            {
                "city": city,
                "country": CITIES[city],
                "begins": begins.isoformat(),
                "ends": None if rng.random() < 0.1 else (begins + timedelta(days=rng.randrange(400))).isoformat(),
                "low": low,
                "high": low + rng.randrange(1, 300),
                "rent": rent / 100,
                "heat": heat / 100,
                "total": (rent + heat) / 100,
                "paid": rng.random() < 0.7,
                "rate": None if rng.random() < 0.2 else rng.random() * 1e-6,
                TEXT: rng.choice(["called twice, is late", "", "moved in — fine", "x" * rng.randrange(1, 30)]),
            }
        )
    return rows


def hundredths(value: Any) -> int:
    assert isinstance(value, float) and abs(value * 100 - round(value * 100)) < 1e-6, "two places"
    return round(value * 100)


def check(rows: list[dict[str, Any]], known: list[dict[str, Any]]) -> None:
    """Every row is whole, in the domain of the known rows, in their format, and keeps what relates columns."""
    values = {name: [row[name] for row in known if row[name] is not None] for name in known[0]}
    nullable = {name for name in values if len(values[name]) < len(known)}
    for row in rows:
        for name, value in row.items():
            if value is None:
                assert name in nullable, f"{name} is never missing"
            elif name in ("city", "country", "paid"):
                assert value in values[name]
            elif name != TEXT:
                assert type(value) is type(values[name][0]), f"{name}: {value!r}"
                assert min(values[name]) <= value <= max(values[name])
            else:
                assert isinstance(value, str)
        for name in ("begins", "ends"):
            if row[name] is not None:
                assert re.fullmatch(r"\d{4}-\d\d-\d\d", row[name]) and date.fromisoformat(row[name])
        assert row["ends"] is None or row["begins"] <= row["ends"]
        assert row["low"] < row["high"]
        assert row["country"] == CITIES[row["city"]]
        assert hundredths(row["rent"]) + hundredths(row["heat"]) == hundredths(row["total"])


def drawn(folder: Path, way: str, temperature: float | None, asked: str, *, note: str = "") -> list[dict[str, Any]]:
    """Rows of a run, after those of the table; it prints which had to be drawn again."""
    known = table()
    (folder / "rents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known))
    method, options = WAYS[way]
    columns = f"{{{TEXT}: {{kind: text}}}}" if method == "great" else "{}"
    only = "[" + ", ".join(name for name in known[0] if method == "great" or name != TEXT) + "]"
    options = ", ".join(filter(None, (asked, options, f"temperature: {temperature}" if temperature else "")))
    (folder / "r.yaml").write_text(
        f"name: rents\ntable:\n  path: rents.jsonl\n  only: {only}\n  columns: {columns}\n"
        f"  constraints: {json.dumps(CONSTRAINTS)}\nsteps:\n  - {method}: {{{options}}}\n"
    )
    result = factory.run(folder / "r.yaml", folder / "out", progress=False)
    assert result.status == "complete", result.message
    told = [line for line in result.manifest["steps"][0]["notes"] if "drawn again" in line]
    print(f"\n{way} at {temperature}, {note or asked}: {told[0]}")
    shards = sorted((result.path / "data").glob("*.parquet"))
    rows = [row for path in shards for row in pq.read_table(path).to_pylist()]
    for row in rows:
        del row["record_id"], row["provenance"]
    return rows


@pytest.mark.parametrize(("way", "temperature"), CASES)
def test_ten_thousand_rows_are_whole_and_keep_everything(tmp_path: Path, way: str, temperature: float | None) -> None:
    rows = drawn(tmp_path, way, temperature, f"rows: {ROWS}")
    assert len(rows) == ROWS
    check(rows, table())


@pytest.mark.parametrize("way", [way for way in WAYS if way != "great-vllm-untrained"])
def test_conditions_and_shares_are_kept_by_every_row(tmp_path: Path, way: str) -> None:
    asked = (
        'where: {low: ">= 100", begins: ">= 2020-06-01"}, balance: {city: {"Riga, centre": 0.25, "None": 0.75}}, '
        "rows: 2000"
    )
    rows = drawn(tmp_path, way, None, asked, note="conditions")
    assert len(rows) == 2000
    check(rows, table())
    assert all(row["low"] >= 100 and row["begins"] >= "2020-06-01" for row in rows)
    assert Counter(row["city"] for row in rows) == {"Riga, centre": 500, "None": 1500}


@pytest.mark.parametrize("way", [way for way in WAYS if way != "great-vllm-untrained"])
def test_gaps_are_filled_and_nothing_else_is_touched(tmp_path: Path, way: str) -> None:
    rng = random.Random(8)
    gaps = [{name: None if rng.random() < 0.4 else value for name, value in row.items()} for row in table() * 5]
    if not way.startswith("great"):
        gaps = [{name: value for name, value in row.items() if name != TEXT} for row in gaps]
    (tmp_path / "gaps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gaps))
    rows = drawn(tmp_path, way, None, "impute: {path: gaps.jsonl}")
    assert len(rows) == len(gaps)
    for given, row in zip(gaps, rows, strict=True):
        assert all(row[name] == value for name, value in given.items() if value is not None)
    check(rows, table())
