"""`factory filter` as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factory.filtering import meter as meters
from factory.filtering.meter import Meter

from ..driver import Command, in_process
from .small_inputs import lines, register, rows, write

LIMIT_MB = 150


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(tmp_path, monkeypatch, capsys)


def test_the_summary_says_what_was_read_kept_and_rejected(factory: Command) -> None:
    write(Path("in.jsonl"), rows(40))
    done = factory("filter", "in.jsonl", "out.jsonl", "--rouge-l", "0.7")
    assert (done.code, done.err) == (0, "")
    table, judged, speed, places = done.out.split("\n\n")
    assert [line.split() for line in table.splitlines()] == [
        ["rows", "by", "count"],
        ["--------", "--------------------", "-----"],
        ["read", "40"],
        ["kept", "30"],
        ["rejected", "rouge_l:", "too_similar", "10"],
    ]
    assert judged == "column that was judged: rouge_l: instruction"
    assert speed.endswith(" rows/s")
    assert places == "30 rows in out.jsonl\n10 rejected in out.rejected.jsonl\n"
    again = factory("filter", "in.jsonl", "out.jsonl", "--rouge-l", "0.7")
    assert (again.code, again.out) == (2, "")
    assert again.err == (
        "error: out.rejected.jsonl: exists already; choose another OUT, or replace it with --overwrite.\n"
    )
    assert factory("filter", "in.jsonl", "out.jsonl", "--rouge-l", "0.7", "--overwrite").code == 0


def test_filters_apply_in_the_order_of_the_command_line(factory: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    write(Path("in.jsonl"), [{"text": "a b c"}, {"text": "a b c"}])
    general = ["--filter", "same_text: {}"]
    factory("filter", "in.jsonl", "one.jsonl", "--rouge-l", "0.7", *general)
    factory("filter", *general, "in.jsonl", "two.jsonl", "--rouge-l=0.7")
    found = [json.loads(Path(f"{name}.rejected.jsonl").read_text())["filter"] for name in ("one", "two")]
    assert found == ["rouge_l", "same_text"]


def test_several_files_can_be_named(factory: Command) -> None:
    for name in ("a", "b", "c"):
        write(Path(f"{name}.jsonl"), [{"text": f"{name} one"}, {"text": f"{name} two"}])
    done = factory("filter", "a.jsonl", "b.jsonl", "c.jsonl", "out.jsonl", "--rouge-l", "0.7", "--field", "text")
    assert done.code == 0
    assert Path("out.jsonl").read_text() == "".join(Path(f"{name}.jsonl").read_text() for name in ("a", "b", "c"))


def test_errors_are_sentences_with_code_2(factory: Command) -> None:
    write(Path("in.jsonl"), rows(4))
    for arguments, told in (
        (["--rouge-l", "7"], "--rouge-l: rouge_l.threshold: expected at most 1.0, found 7.0\n"),
        (["--filter", "rouge: {}"], "--filter:1:1: rouge: no filter is called 'rouge'"),
        (["--rouge-l", "0.7", "--tokenizer", "word"], "--rouge-l: rouge_l.tokenizer: expected one of 'auto', 'rouge'"),
        (["--rouge-l", "0.7", "--field", "outptu"], "error: --field: no column 'outptu' (did you mean 'output'?)"),
        ([], "error: no filter is given"),
    ):
        done = factory("filter", "in.jsonl", "out.jsonl", *arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(told)
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl"]


def test_warnings_go_to_standard_error(factory: Command) -> None:
    write(Path("in.jsonl"), [{"text": "写一首诗"}, {"text": "Name a river"}])
    done = factory("filter", "in.jsonl", "out.jsonl", "--rouge-l", "0.7", "--tokenizer", "rouge")
    assert done.code == 0
    assert done.err.startswith("warning: rouge_l: 1 of 2 texts have no word for the tokenizer 'rouge'")


def test_rows_come_from_standard_input_and_a_killed_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "factory.cli", "filter", "-", "out.jsonl", "--rouge-l", "0.7"]
    stdin = b"".join(lines(rows(40)))
    done = subprocess.run(command, cwd=tmp_path, input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 30
    first = json.loads((tmp_path / "out.rejected.jsonl").read_text().splitlines()[0])
    assert first["row"] == "-:4"


def test_an_interrupted_command_says_how_to_go_on(tmp_path: Path) -> None:
    """Rows come through a pipe that stays open, so that the command is at work when Ctrl-C comes."""
    command = [sys.executable, "-m", "factory.cli", "filter", "-", "out.jsonl", "--rouge-l", "0.7"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(b"".join(lines(rows(40))))
        process.stdin.flush()
        end = time.monotonic() + 60
        while not (tmp_path / "out.jsonl.partial").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(2)
        assert process.wait(60) == 130
        assert process.stdout.read() == b""
        assert process.stderr.read() == b"interrupted after 0 rows; run the same command again to go on from here\n"
    assert not list(tmp_path.iterdir())


def test_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([100.0, 101.0, 120.0, 121.0])
    monkeypatch.setattr(meters.time, "monotonic", lambda: next(clock))
    with Meter(1000, enabled=True) as meter:
        meter.update(10, 10, 9)
        meter.update(400, 200, 150)
        meter.update(410, 210, 160)
    assert capsys.readouterr().err == "00:20  rows 200  kept 150  rejected 50  10 rows/s  40%  ETA 00:30\n"


def peak_mb(folder: Path, *arguments: str) -> float:
    """Largest memory of a process that filters."""
    code = "import sys; from factory.cli import main\ntry: main()\nexcept SystemExit as end: assert not end.code\n"
    code += "print(*open('/proc/self/status').read().split('VmHWM:')[1].split()[:1], file=sys.stderr)"  # in kB
    command = [sys.executable, "-c", code, "filter", *arguments, "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250, check=True, env=os.environ)
    return float(done.stderr.split()[-1]) / 1024


@pytest.mark.slow
def test_a_line_of_200_mb_is_never_in_memory(tmp_path: Path) -> None:
    write(tmp_path / "small.jsonl", rows(40))
    with (tmp_path / "in.jsonl").open("wb") as file:
        file.write(b"".join(lines(rows(20))))
        file.write(b'{"instruction": "')
        for _ in range(200):
            file.write(b"y" * 10**6)
        file.write(b'"}\n')
        file.write(b"".join(lines(rows(40)[20:])))
    least = peak_mb(tmp_path, "small.jsonl", "a.jsonl", "--rouge-l", "0.7")
    most = peak_mb(tmp_path, "in.jsonl", "b.jsonl", "--rouge-l", "0.7")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert most - least < LIMIT_MB, "twice the 64 MiB that a line may have"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".parquet"])
def test_memory_does_not_grow_with_the_rows(kind: str, tmp_path: Path) -> None:
    """All rows but the first are equal, so that the filter itself remembers nothing."""
    peaks = []
    for count in (60_000, 240_000):  # both beyond the first batches, whose memory is kept
        some = [{"id": 1, "instruction": "the same words", "output": "x" * 200}] * count
        write(tmp_path / f"in{kind}", some)
        peaks.append(peak_mb(tmp_path, f"in{kind}", f"out{count}{kind}", "--rouge-l", "0.7"))
    assert peaks[1] - peaks[0] < 20
