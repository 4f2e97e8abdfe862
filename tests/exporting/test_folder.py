"""The folder of an export: replaced as a whole, nothing stale, nothing of others touched, a warning that comes and goes."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factory.errors import UserError
from factory.exporting import export, folder
from factory.rundir import RunDir

from .directories import directory, lines, pairs, record

ROWS = [{"instruction": f"Task {n}.", "input": "", "output": f"Answer {n}."} for n in range(25)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pairs(tmp_path_factory.mktemp("run"), ROWS, rows_per_shard=7)


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def test_shards_are_full_numbered_and_in_order(run: Path, tmp_path: Path) -> None:
    done = export(run, tmp_path, format="alpaca", shard_rows=10)
    assert [path.name for path in done.files] == [f"train-0000{n}-of-00003.jsonl" for n in range(3)]
    assert [len(lines(path)) for path in done.files] == [10, 10, 5]
    assert [row for path in done.files for row in lines(path)] == ROWS
    exact = export(run, tmp_path, format="alpaca", shard_rows=25)
    assert [path.name for path in exact.files] == ["train-00000-of-00001.jsonl"]


def test_no_file_of_an_older_export_stays(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path, shard_rows=4, validation=0.3, test=0.2)
    export(run, tmp_path, shard_rows=10, parquet=True)
    assert names(tmp_path) == ["export.json", *(f"train-0000{n}-of-00003.parquet" for n in range(3))]
    (tmp_path / "notes.md").write_text("mine")
    export(run, tmp_path, format="csv")
    assert names(tmp_path) == ["export.json", "notes.md", "train.csv"]
    assert json.loads((tmp_path / "export.json").read_text())["files"] == ["train.csv"]


@pytest.mark.parametrize("name", ["validation.jsonl", "train-00000-of-00002.parquet", "test.csv", "train.jsonl"])
def test_files_of_somebody_else_are_not_touched(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name}: was not written by an export"):
        export(run, tmp_path)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}'])
def test_a_broken_record_is_one_sentence(run: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(UserError, match=r"export\.json: is no record of an export"):
        export(run, tmp_path)


def test_a_record_cannot_name_files_outside_or_of_others(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "train.jsonl").write_text("mine")
    (out / "notes.md").write_text("mine")
    (out / "export.json").write_text(json.dumps({"files": ["../train.jsonl", "notes.md", 7]}))
    export(run, out)
    assert (tmp_path / "train.jsonl").read_text() == (out / "notes.md").read_text() == "mine"


def test_an_export_that_fails_leaves_the_older_one(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(run, tmp_path, validation=0.2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    class Full(folder.Shards):
        def write(self, row: dict[str, Any]) -> None:
            super().write(row)
            if self.rows == 9:
                raise OSError(28, "No space left on device")

    monkeypatch.setattr("factory.exporting.flow.Shards", Full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); choose another folder"):
        export(run, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(UserError, match="cannot be written"):
        export(run, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("there", [True, False])
def test_two_exports_at_once_do_not_mix(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    out = tmp_path / "out"
    if there:
        export(run, out, format="csv")

    class Slow(folder.Shards):
        def write(self, row: dict[str, Any]) -> None:
            super().write(row)
            if self.rows == 9:
                with pytest.raises(UserError, match=r"out: another export is writing there; wait for it"):
                    export(run, out, format="alpaca")

    monkeypatch.setattr("factory.exporting.flow.Shards", Slow)
    export(run, out, shard_rows=10)
    monkeypatch.undo()
    assert names(out) == ["export.json", *(f"train-0000{n}-of-00003.jsonl" for n in range(3))]
    assert sum(len(lines(path)) for path in out.glob("train-*")) == len(ROWS)
    export(run, out)  # the lock is gone with the export


def test_no_run_changes_the_rows_while_they_are_exported(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunDir(run).locked():
        with pytest.raises(UserError, match="a process is running here; wait for it"):
            export(run, tmp_path / "a")
        assert not (tmp_path / "a").exists()

    class Tried(folder.Shards):
        def write(self, row: dict[str, Any]) -> None:
            super().write(row)
            with pytest.raises(UserError, match="is running here"), RunDir(run).locked():
                pass

    monkeypatch.setattr("factory.exporting.flow.Shards", Tried)
    assert export(run, tmp_path / "b").rows == {"train": len(ROWS)}
    with RunDir(run).locked():
        pass


def _killed_at(run: Path, out: Path, step: int) -> None:
    """Export, and die at the step-th change of the folder."""
    steps = iter(range(100))

    def counted(change: Any) -> Any:
        def changed(self: Path, *arguments: Any, **options: Any) -> Any:
            if out in (self.parent, self.parent.parent) and next(steps) == step:
                os._exit(9)
            return change(self, *arguments, **options)

        return changed

    Path.replace = counted(Path.replace)  # type: ignore[method-assign]
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]
    export(run, out, shard_rows=20)
    os._exit(0)


def test_after_a_kill_at_any_step_the_next_export_is_whole(run: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for step in range(20):
        out = tmp_path / str(step)
        export(run, out, shard_rows=10, validation=0.3)
        process = context.Process(target=_killed_at, args=(run, out, step))
        process.start()
        process.join()
        done = export(run, out, shard_rows=5)
        assert names(out) == ["export.json", *sorted(path.name for path in done.files)]
        assert len(done.files) == 5
        if process.exitcode == 0:
            assert step > 5
            return
        assert process.exitcode == 9
    raise AssertionError("the export was never let through")


@pytest.fixture
def taint(tmp_path: Path) -> Iterator[dict[str, Path]]:
    kept = [record("a", {"instruction": "Q", "output": "x"}, "r")]
    claims: dict[str, Any] = {"output_private": True, "why": "'rows' stays private", "claims": []}
    yield {
        "private": directory(tmp_path / "private", kept, privacy=claims),
        "public": directory(tmp_path / "public", kept, privacy={**claims, "output_private": False}),
    }


def test_rows_that_are_not_private_have_a_warning_beside_them(taint: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export(taint["private"], out)
    sentence = "NOT PRIVATE: 'rows' stays private. Do not share these rows.\n"
    assert (out / "NOT_PRIVATE.txt").read_text() == sentence == f"NOT PRIVATE: {done.not_private}\n"
    assert json.loads((out / "export.json").read_text())["not_private"] == done.not_private
    assert export(taint["public"], out).not_private == ""
    assert names(out) == ["export.json", "train.jsonl"]


def test_the_warning_is_there_before_the_rows_and_after_them(
    taint: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, order = tmp_path / "out", []
    replace, unlink = Path.replace, Path.unlink
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append(Path(to).name), replace(self, to))[1])
    monkeypatch.setattr(Path, "unlink", lambda self, **o: (order.append(f"-{self.name}"), unlink(self, **o))[1])
    export(taint["private"], out)
    assert [name for name in order if "export" not in name] == ["NOT_PRIVATE.txt", "train.jsonl"]
    order.clear()
    export(taint["public"], out)
    assert [name for name in order if "export" not in name] == ["train.jsonl", "-NOT_PRIVATE.txt"]
