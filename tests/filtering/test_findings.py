"""What attacks on the command have found: each of these went wrong once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import factory
from factory.errors import FactoryError, RunDirError, UserError
from factory.filtering import target as target_module
from factory.filtering.session import Session
from factory.filtering.stopping import Stop


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"instruction": text}) + "\n" for text in texts))
    return path


TEXTS = ["name three rivers", "name three large rivers", "write a poem", "write a poem"]
ROUGE = ["rouge_l: {threshold: 0.7}"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("in.jsonl"), TEXTS)


def test_a_folder_of_the_user_with_the_name_of_the_working_folder_is_left_alone() -> None:
    own = Path("out.jsonl.partial")
    own.mkdir()
    (own / "thesis.txt").write_text("precious")
    for filters in (ROUGE, ["rouge_l: {field: nosuch}"]):
        with pytest.raises(RunDirError, match="holds something of yours \\('thesis.txt'\\)"):
            factory.filter("in.jsonl", "out.jsonl", filters=filters, restart=True)
    assert (own / "thesis.txt").read_text() == "precious"
    Path("elsewhere").mkdir()
    Path("two.jsonl.partial").symlink_to("elsewhere")
    with pytest.raises(RunDirError, match="a link"):
        factory.filter("in.jsonl", "two.jsonl", filters=ROUGE)


def test_a_result_that_waits_to_be_moved_is_not_taken_for_that_of_other_filters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(self: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target_module.Target, "move", killed)
        assert factory.filter("in.jsonl", "out.jsonl", filters=["rouge_l: {threshold: 0.9}"]).status == "interrupted"
    with pytest.raises(RunDirError, match=r"rouge_l.threshold: 0.9 -> 0.7"):
        factory.filter("in.jsonl", "out.jsonl", filters=ROUGE)
    assert factory.filter("in.jsonl", "out.jsonl", filters=["rouge_l: {threshold: 0.9}"]).kept == 3


def test_against_without_a_filter_that_compares_is_refused() -> None:
    for name in ("quality: {field: instruction}", "decontaminate: {against: [in.jsonl]}"):
        with pytest.raises(UserError, match="no filter that is given compares rows with each other"):
            factory.filter("in.jsonl", "out.jsonl", filters=[name], against=["in.jsonl"])
    done = factory.filter(
        "in.jsonl", "out.jsonl", filters=["quality: {field: instruction}", *ROUGE], against=["in.jsonl"]
    )
    assert (done.kept, done.warnings) == (0, ("no row is left.",))
    assert done.compared == {"quality": "instruction", "rouge_l": "instruction"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_chunk_end_and_keeps_what_was_judged(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.datasets_io.chunks.CHUNK_ROWS", 2)
    judge = Session._judge
    seen: list[int] = []

    def signalled(self: Session, *arguments: Any) -> None:
        if not seen:
            os.kill(os.getpid(), number)
        seen.append(1)
        judge(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_judge", signalled)
        stopped = factory.filter("in.jsonl", "out.jsonl", filters=ROUGE)
    assert (stopped.status, stopped.read, stopped.exit_code) == ("interrupted", 2, 130)
    done = factory.filter("in.jsonl", "out.jsonl", filters=ROUGE)
    assert (done.resumed, done.read, done.kept) == (2, 4, 2)


def test_a_second_signal_does_not_wait() -> None:
    stop = Stop()
    with pytest.raises(KeyboardInterrupt), stop.held():
        stop.signalled(signal.SIGINT, None)
        stop.signalled(signal.SIGINT, None)
        raise AssertionError("the second one had to wait")


def test_a_number_is_not_taken_for_a_folder_and_folders_within_folders_are_not_skipped() -> None:
    with pytest.raises(UserError, match="looks like a threshold"):
        factory.filter("in.jsonl", "0.7", filters=["exact"])
    Path("shards/more").mkdir(parents=True)
    write(Path("shards/a.jsonl"), TEXTS)
    write(Path("shards/more/b.jsonl"), TEXTS)
    with pytest.raises(FactoryError, match="shards/more: a folder within the folder"):
        factory.filter("shards", "out.jsonl", filters="exact")


def test_more_filters_than_a_byte_tells_apart_are_refused() -> None:
    with pytest.raises(UserError, match="251 filters are given; expected at most 250"):
        factory.filter("in.jsonl", "out.jsonl", filters=["exact"] * 251)


@pytest.mark.parametrize("out", ["out.parquet", "out.jsonl", "out.csv"])
def test_columns_of_string_views_are_passed_on(out: str) -> None:
    table = pa.table({"instruction": pa.array(TEXTS, pa.string_view()), "n": [1, 2, 3, 4]})
    pq.write_table(table, "in.parquet")
    done = factory.filter("in.parquet", out, filters=["exact"])
    assert (done.kept, done.rejected) == (3, {"exact: duplicate": 1})
