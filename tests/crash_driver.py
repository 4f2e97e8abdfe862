"""Runs recipes in processes that may be killed: `python crash_driver.py`, one JSON command a line on standard input.

A command such as `{"recipe": "r.yaml", "out": "out", "log": "asked.txt", "latency_s": 0.004}` is run in a
child of this process (forked, so that nothing is imported twice). The answers on standard output are
`{"pid": 123}` when it has begun and `{"code": 0, "stderr": "…"}` when it has ended; a child that was killed by
signal n has the code -n. Further keys of a command make the child kill itself, or fail, at a chosen place:

    kill_after_s: t      after so many seconds
    kill_at_rename: n    before the n-th rename of the final swap
    kill_at_shards: n    before the n-th group of Parquet files of the final write
    signal_at_shards: n  signal n before the first group
    kill_in_shard: true  in the middle of a Parquet file
    max_file_bytes: n    no file may grow beyond n bytes
    die_after: [n, …]    the engine dies after so many requests
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import factory
from factory import dataset, rundir, runner
from factory.errors import FactoryError

sys.path.insert(0, str(Path(__file__).parent))
import small_runs


def kill_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def nth(count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; its n-th call ends the process as `kill -9` does."""
    calls = iter(range(1, count + 1))

    def counted(*arguments: Any, **named: Any) -> Any:
        if next(calls, None) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return counted


def arrange(command: dict[str, Any]) -> None:
    """Prepare the accident that the command asks for."""
    if "kill_after_s" in command:
        threading.Thread(target=kill_after, args=(command["kill_after_s"],), daemon=True).start()
    if "kill_at_rename" in command:
        install = rundir.RunDir.install

        def installed(directory: rundir.RunDir) -> None:
            Path.rename = nth(command["kill_at_rename"], Path.rename)  # type: ignore[method-assign]
            install(directory)

        rundir.RunDir.install = installed  # type: ignore[method-assign]
    if "kill_at_shards" in command:
        dataset.write_shards = nth(command["kill_at_shards"], dataset.write_shards)  # type: ignore[attr-defined]
    if "signal_at_shards" in command:
        write = dataset.write_shards

        def interrupted(*arguments: Any, **named: Any) -> Any:
            os.kill(os.getpid(), command["signal_at_shards"])
            return write(*arguments, **named)

        dataset.write_shards = interrupted  # type: ignore[attr-defined]
    if "kill_in_shard" in command:
        pq.ParquetWriter.close = nth(1, pq.ParquetWriter.close)
    if "max_file_bytes" in command:
        resource.setrlimit(resource.RLIMIT_FSIZE, (command["max_file_bytes"], resource.RLIM_INFINITY))


def child(command: dict[str, Any], errors: int) -> None:
    """Run as the command line does, with its exit codes, and never return."""
    os.dup2(errors, 2)
    arrange(command)
    engine = small_runs.Model(
        most_s=command.get("latency_s", 0.0),
        log=Path(command["log"]),
        die_after=tuple(command.get("die_after", ())),
    )
    code = 1
    try:
        result = factory.run(
            command["recipe"], command["out"], engine=engine, progress=False, **command.get("options", {})
        )
        sys.stderr.write(f"{result.message}\n")
        code = result.exit_code
    except FactoryError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = runner.EXIT_INTERRUPTED
    finally:
        sys.stderr.flush()
        os._exit(code)


def reply(**found: Any) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main() -> None:
    pa.array([1])  # imports what pyarrow imports late
    for line in sys.stdin:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            child(json.loads(line), write)
        os.close(write)
        reply(pid=pid)
        with os.fdopen(read, encoding="utf-8") as errors:
            told = errors.read()
        reply(code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), stderr=told)


if __name__ == "__main__":
    main()
