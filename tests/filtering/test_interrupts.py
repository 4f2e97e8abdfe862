"""Ctrl-C at every step of a filter: what is told, and that the same call goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.filtering.chain import Chain
from factory.filtering.run import filter as filter_rows
from factory.filtering.session import Session
from factory.filtering.target import Target
from factory.filtering.workdir import Spool, WorkDir

from .small_inputs import rows, write

FILTERS = "rouge_l: {threshold: 0.7}"


def pressed(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool, times: int = 1) -> None:
    """Ctrl-C comes just before or just after the first call of a method."""
    method: Callable[..., Any] = getattr(owner, name)
    left = [times]

    def wrapped(*arguments: Any, **options: Any) -> Any:
        def press() -> None:
            while left[0]:  # the first may raise
                left[0] -= 1
                signal.raise_signal(signal.SIGINT)

        if not after:
            press()
        found = method(*arguments, **options)
        press()
        return found

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name", "read"),
    [
        (WorkDir, "_lock", 0),
        (WorkDir, "state", 0),
        (Target, "check", 0),
        (Chain, "__init__", 0),
        (Session, "__init__", 0),
        (Session, "_take", None),
        (Session, "check", 40),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file that is closed a moment later
def test_an_interrupted_filter_says_so_and_goes_on(
    owner: type, name: str, read: int | None, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("in.jsonl"), rows(40))
    with monkeypatch.context() as patch:
        pressed(patch, owner, name, after=after)
        ended = filter_rows("in.jsonl", "out.jsonl", filters=FILTERS)
    assert (ended.status, ended.exit_code) == ("interrupted", 130)
    assert not Path("out.jsonl").exists()
    assert Path("out.jsonl.partial").exists() == bool(ended.read)
    assert ended.read == (40 if read is None else read), "a chunk that is being judged is judged to its end"
    done = filter_rows("in.jsonl", "out.jsonl", filters=FILTERS)
    assert (done.status, done.read, done.kept, done.resumed) == ("complete", 40, 30, ended.read)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("owner", "name"), [(Target, "move"), (WorkDir, "remove")])
def test_what_is_being_moved_into_place_is_done(
    owner: type, name: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("in.jsonl"), rows(40))
    pressed(monkeypatch, owner, name, after=after)
    done = filter_rows("in.jsonl", "out.jsonl", filters=FILTERS)
    assert (done.status, done.exit_code, done.kept) == ("complete", 0, 30)
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl", "out.jsonl", "out.rejected.jsonl"]


def test_a_second_one_ends_the_moving_which_the_same_call_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("in.jsonl"), rows(40))
    with monkeypatch.context() as patch:
        pressed(patch, Target, "move", after=False, times=2)
        ended = filter_rows("in.jsonl", "out.jsonl", filters=FILTERS)
    assert (ended.status, ended.read) == ("interrupted", 40)
    done = filter_rows("in.jsonl", "out.jsonl", filters=FILTERS)
    assert (done.status, done.kept) == ("complete", 30)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("append", range(1, 10))
def test_a_second_one_between_two_spools_neither_doubles_nor_loses_a_row(
    append: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two signals right after one of the nine appends of three chunks; then the same call."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("factory.datasets_io.chunks.CHUNK_ROWS", 20)
    given = [{"n": number, **row} for number, row in enumerate(rows(60))]
    write(Path(f"in.{kind}"), given)
    whole = filter_rows(f"in.{kind}", f"whole.{kind}", filters=FILTERS)
    original, left = Spool.append, [append]

    def torn(self: Spool, data: bytes) -> None:
        original(self, data)
        left[0] -= 1
        if not left[0]:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", torn)
        ended = filter_rows(f"in.{kind}", f"out.{kind}", filters=FILTERS)
    assert ended.status == "interrupted"
    assert ended.read % 20 == 0
    done = filter_rows(f"in.{kind}", f"out.{kind}", filters=FILTERS)
    assert (done.status, done.resumed, done.read, done.kept) == ("complete", ended.read, 60, whole.kept)
    for name in ("", ".rejected"):
        assert Path(f"out{name}.{kind}").read_bytes() == Path(f"whole{name}.{kind}").read_bytes()
