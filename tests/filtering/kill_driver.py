"""Runs filters in processes that die at a chosen place: `python kill_driver.py`, one JSON command a line.

A command `{"call": {"inputs": "in.jsonl", "out": "out.jsonl", "filters": […]}}` is carried out in a child of this process
(forked, so that nothing is imported twice) with a commit after every chunk of `chunk_rows` rows. The answer is
`{"code": 0, "told": "…", "places": 57}`: `places` is how many writes, syncs, renames and deletions there were.
Further keys let the child die, or fail, at one of them:

    kill_at: n          before the n-th of them, as by `kill -9`
    torn_at: n          in the middle of the n-th of them, if it is a write
    signal_at: [n, s]   signal s before the n-th
    max_file_bytes: n   no file may grow beyond n bytes
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

import factory
from factory.datasets_io import chunks
from factory.errors import FactoryError
from factory.filtering import run, session
from factory.filtering.workdir import Spool, WorkDir


class Places:
    """Counts what may be interrupted, and interrupts."""

    def __init__(self, command: dict[str, Any]) -> None:
        self.command = command
        self.count = 0

    def watch(self, owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.count == self.command.get("kill_at"):
                os.kill(os.getpid(), signal.SIGKILL)
            if self.count == self.command.get("torn_at"):
                if name == "append":
                    function(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            if self.count == self.command.get("signal_at", [0])[0]:
                os.kill(os.getpid(), self.command["signal_at"][1])
            return function(*arguments, **named)

        setattr(owner, name, watched)


def child(command: dict[str, Any], told: int) -> None:
    """Filter as the command line does, with its exit codes, and never return."""
    session.COMMIT_EVERY_S = 0.0
    chunks.CHUNK_ROWS = command.get("chunk_rows", 8)
    places = Places(command)
    for owner, name in (
        (Spool, "append"),
        (Spool, "sync"),
        (WorkDir, "save"),
        (run, "build"),
        (Path, "replace"),
        (Path, "rename"),
        (Path, "unlink"),
        (Path, "rmdir"),
        (shutil, "rmtree"),
    ):
        places.watch(owner, name)
    if "max_file_bytes" in command:
        resource.setrlimit(resource.RLIMIT_FSIZE, (command["max_file_bytes"], resource.RLIM_INFINITY))
    try:
        result = factory.filter(**command["call"])
        code, sentence = result.exit_code, result.status
    except FactoryError as error:
        code, sentence = error.exit_code, str(error)
    os.write(told, json.dumps({"code": code, "told": sentence, "places": places.count}).encode())
    os._exit(0)


def main() -> None:
    pa.array([1])  # imports what pyarrow imports late
    for line in sys.stdin:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(json.loads(line), write)
        os.close(write)
        with os.fdopen(read, "rb") as answer:
            found = answer.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sys.stdout.write((found.decode() or json.dumps({"code": code, "told": "", "places": 0})) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
