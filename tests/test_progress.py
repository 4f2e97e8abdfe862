"""The progress report: what each step has done, how fast, and when it will be done."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.context import Stats
from factory.datasets_io.rows import about
from factory.progress import Progress, Speed, clock, shares

from .small_runs import Model, one_step, run, tickets


def test_a_step_that_trains_says_what_it_does_and_not_what_it_does_not_ask(capsys: pytest.CaptureFixture[str]) -> None:
    stats = Stats(["dp_lora"])
    stats["dp_lora"].target, stats["dp_lora"].doing = 100, "training: step 3 of 60, about 20 s left"
    progress = Progress("demo", enabled=True)
    progress._session = SimpleNamespace(stats=stats)  # type: ignore[assignment]
    progress._speeds, progress._shares = {"dp_lora": Speed()}, {"dp_lora": Speed()}
    progress._session.ledger = SimpleNamespace(share=lambda: None)  # type: ignore[union-attr]
    progress._show()
    line = capsys.readouterr().err.strip()
    assert line.split("  ", 1)[1] == "dp_lora  kept 0/100  rejected 0  training: step 3 of 60, about 20 s left"


def test_a_speed_looks_back_a_while() -> None:
    speed = Speed(over_s=10.0)
    assert speed.now(0.0, 5) == 0.0
    assert speed.now(1.0, 7) == 2.0
    for second in range(2, 100):
        found = speed.now(float(second), 7 + second)
    assert found == pytest.approx(1.0)


def test_shares_follow_what_is_expected() -> None:
    stats = Stats(["rows", "prompt", "rouge_l", "last"])
    assert set(shares(stats.steps).values()) == {None}
    stats["rows"].expected, stats["rows"].kept = 200, 100
    stats["prompt"].done, stats["prompt"].read, stats["prompt"].kept = 50, 90, 40
    stats["prompt"].stage("requests").asked = 60
    stats["rouge_l"].read, stats["rouge_l"].kept = 40, 20
    stats["last"].target, stats["last"].counted, stats["last"].made = 10, 2, 4
    assert shares(stats.steps) == {"rows": 0.5, "prompt": 0.25, "rouge_l": 0.25, "last": 0.4}
    stats["rows"].finished = True
    stats["rows"].kept = 100
    assert shares(stats.steps) == {"rows": 1.0, "prompt": 0.5, "rouge_l": 0.5, "last": 0.4}


def test_a_step_with_more_made_than_it_needs_is_not_done_before_it_says_so() -> None:
    stats = Stats(["one"])
    stats["one"].target, stats["one"].counted, stats["one"].made = 24, 3, 40
    share = shares(stats.steps)["one"]
    assert share is not None and 0.9 < share < 1.0


@pytest.mark.parametrize("seconds", [0, 59.6, 61, 3661])
def test_a_clock(seconds: float) -> None:
    assert clock(seconds) == {0: "00:00", 59.6: "01:00", 61: "01:01", 3661: "1:01:01"}[seconds]


def test_rows_are_counted_without_reading_them_all(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"row {number:06d}"}) for number in range(100_000)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "a.csv").write_text("text\n" + "\n".join(lines[:10]).replace('"', ""))
    pq.write_table(pa.table({"text": lines[:77]}), tmp_path / "a.parquet")
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"text": lines[:5]}), tmp_path / "data" / "a.parquet")
    (tmp_path / "b.parquet").write_text("not Parquet")
    (tmp_path / "empty.jsonl").touch()
    found = {name: about(tmp_path / name) for name in ("a.csv", "a.parquet", "b.parquet", "none.csv", "x.json")}
    assert found == {"a.csv": 10, "a.parquet": 77, "b.parquet": None, "none.csv": None, "x.json": None}
    assert about(tmp_path) == 5
    assert about(tmp_path / "a.jsonl") == pytest.approx(100_000, rel=0.01)
    assert about(tmp_path / "empty.jsonl") in (0, 1)


def test_lines_for_a_file_say_what_happens_and_hold_no_control_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import factory
    from factory import progress

    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.05)
    recipe = one_step(tmp_path, tickets(60))
    factory.run(recipe, tmp_path / "out", engine=Model(most_s=0.06))
    told = capsys.readouterr().err
    assert "\x1b" not in told
    lines = [line for line in told.splitlines() if "  prompt  " in line]
    assert any("ETA 00:0" in line for line in lines), told
    assert "asked 60  reused 0  kept 60  rejected 0  in flight 0" in lines[-1]
    assert lines[-1].endswith("ETA done")
    assert run(recipe, tmp_path / "out").rows == 60
