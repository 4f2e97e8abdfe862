"""`factory view` as a user meets it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from factory.viewing.marks import Marks

from ..driver import Command, in_process


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(tmp_path, monkeypatch, capsys)


@contextmanager
def viewing(path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the link that it prints."""
    command = [sys.executable, "-m", "factory.cli", "view", str(path), "--no-browser", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert process.stdout is not None
        link = ""
        while not link.startswith("http"):
            link = process.stdout.readline().strip()
            assert link or process.poll() is None, process.stderr.read() if process.stderr else ""
        yield process, link
    finally:
        process.kill()
        process.communicate()


def test_it_prints_a_link_that_opens_and_ends_with_ctrl_c(judged: tuple[Path, Path]) -> None:
    with viewing(judged[0], "--compare", str(judged[1])) as (process, link):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{40,}", link)
        with urllib.request.urlopen(link) as reply:
            assert b"<title>factory view</title>" in reply.read()
        port = int(link.split(":")[2].split("/")[0])
        idle = socket.create_connection(("127.0.0.1", port))
        idle.sendall(f"GET /none HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\nGET".encode())  # and half of another request
        assert b"403" in idle.recv(100)
        idle.close()
        idle = socket.create_connection(("127.0.0.1", port))
        idle.sendall(b"GET / HTTP/1.1\r\n")
        time.sleep(0.3)  # so that a thread has it
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=5)
        assert time.monotonic() - began < 1.5
        assert process.returncode == 0
        assert "Traceback" not in errors
        idle.close()


def test_wrong_arguments_are_one_sentence(factory: Command, tmp_path: Path, judged: tuple[Path, Path]) -> None:
    done = factory("view", tmp_path / "nothing", "--no-browser")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "holds no run" in done.err
    done = factory("view", judged[0], "--compare", tmp_path, "--no-browser")
    assert done.code == 2
    assert "holds no run" in done.err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = factory("view", judged[0], "--no-browser", "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "cannot be taken" in done.err


def test_marks_are_exported(factory: Command, tmp_path: Path, judged: tuple[Path, Path]) -> None:
    done = factory("view", judged[0], "--export-marks", "marks.csv")
    assert done.out == "marks.csv: 0 marks\n"
    assert (tmp_path / "marks.csv").read_text().startswith("id,mark,note,at,state")
    assert not Marks(judged[0]).path.exists()
    assert factory("view", judged[0], "--export-marks", "marks.xlsx").code == 2


def test_the_page_travels_with_the_package() -> None:
    from importlib import resources

    folder = resources.files("factory.viewing").joinpath("page")
    assert {"view.html", "view.css", "view.js", "dom.js"} <= {one.name for one in folder.iterdir()}
