"""Measures `factory view` at a million records: `scripts/bench view [ROWS]`.

Makes a run directory (80 % kept, 15 % rejected with scores, 5 % on the way, each with a parent), starts the command in
a process of its own and asks it as the page does. The record that is searched for is the last one that is read, so
everything before it has to be gone through.
"""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLANTED = "Zanzibar planted"
REPEATS = 5


def bench_view(arguments: list[str]) -> None:
    count = int(arguments[0]) if arguments else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        path = make(Path(name) / "run", count)
        size = sum(file.stat().st_size for file in path.rglob("*.parquet"))
        print(f"{count:,} records, {size / 1e6:,.0f} MB of Parquet, made in {time.perf_counter() - began:.0f} s")
        measure(path, count)


def make(path: Path, count: int) -> Path:
    """A run directory of so many records, 40 words each."""
    import pyarrow as pa

    from factory.datasets_io.parquet import LINEAGE, PROVENANCE, REJECTED, write_shards

    draw = random.Random(1)
    words = ["".join(draw.choices("etaoinshrdlucmfwyp", k=draw.randint(2, 9))) for _ in range(30_000)]
    sizes = {"data": count * 80 // 100, "rejected": count * 15 // 100}
    sizes["lineage"] = count - sum(sizes.values())
    parents = [f"{draw.getrandbits(80):020x}" for _ in range(sizes["lineage"])]

    def fields(last: bool) -> dict[str, Any]:
        text = " ".join(draw.choices(words, k=30)) + (f" {PLANTED}" if last else "")
        return {"instruction": " ".join(draw.choices(words, k=10)), "output": text, "difficulty": draw.randint(1, 10)}

    def rows(folder: str) -> Iterator[dict[str, Any]]:
        for place in range(sizes[folder]):
            provenance = {"step": "self_instruct", "method": "self_instruct", "model": "m@main", "seed": place}
            provenance |= {"requests": [f"{draw.getrandbits(80):020x}"], "parents": [draw.choice(parents)]}
            name = f"{draw.getrandbits(80):020x}"
            held = fields(folder == "lineage" and place == sizes[folder] - 1)
            if folder == "data":
                yield {**held, "record_id": name, "provenance": provenance}
                continue
            row = {"record_id": name, "fields": json.dumps(held), "provenance": provenance}
            if folder == "rejected":
                row |= {"step": "rouge_l", "rule": "rouge_l", "reason": "too_similar", "evidence": held["instruction"]}
                row |= {"score": draw.uniform(0.7, 1.0), "threshold": 0.7}
            else:
                row |= {"record_id": parents[place], "provenance": {**provenance, "parents": []}}
            yield row

    columns = [("instruction", pa.string()), ("output", pa.string()), ("difficulty", pa.int64())]
    schemas = {
        "data": pa.schema([*columns, ("record_id", pa.string()), ("provenance", PROVENANCE)]),
        "rejected": REJECTED,
        "lineage": LINEAGE,
    }
    for folder, stem in (("data", "train"), ("rejected", "rejected"), ("lineage", "records")):
        write_shards(path / folder, stem, rows(folder), sizes[folder], schemas[folder], 250_000)
    steps = [{"step": name, "method": name, "read": 0, "kept": sizes["data"], "rejected": {}, "stages": {}, "notes": []}
             for name in ("self_instruct", "rouge_l")]  # fmt: skip
    recipe = {"steps": [{"self_instruct": {}}, {"rouge_l": {"threshold": 0.7, "field": "instruction"}}]}
    manifest = {"format": 1, "name": "bench", "status": "complete", "message": "", "fingerprint": "0" * 16, "recipe": recipe,
                "model": "m@main", "rows": sizes["data"], "steps": steps, "requests": {}, "seconds": 0.0}  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


class Asking:
    """The command in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.began = time.perf_counter()
        command = [sys.executable, "-m", "factory.cli", "view", str(path), "--no-browser"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        link = ""
        while not link.startswith("http"):
            link = self.process.stdout.readline().strip()
        self.root, _, _ = link.partition("/?")
        with urllib.request.urlopen(link) as reply:
            reply.read()
            self.cookie = reply.headers["Set-Cookie"].partition(";")[0]

    def __call__(self, question: str) -> tuple[Any, float]:
        """The answer, and how long it took."""
        began = time.perf_counter()
        request = urllib.request.Request(f"{self.root}/api/{question}", headers={"Cookie": self.cookie})
        with urllib.request.urlopen(request) as reply:
            found = json.loads(reply.read())
        return found, time.perf_counter() - began

    def whole(self, question: str) -> tuple[Any, float, float]:
        """The whole answer of a search, the time until its first row, and until its end."""
        began = time.perf_counter()
        first, offset = 0.0, 0
        while True:
            found, _ = self(f"{question}&offset={offset}")
            offset = found["total"]
            passed = time.perf_counter() - began
            first = first or (passed if found["rows"] else 0.0)
            if found["done"]:
                return found, first, passed

    def memory_mb(self, which: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{which}:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]


def measure(path: Path, count: int) -> None:
    """Ask, and print how long it took."""
    ask = Asking(path)
    try:
        print(f"command to page: {time.perf_counter() - ask.began:.2f} s")
        while not ask("records?state=kept")[0]["rows"]:
            time.sleep(0.02)
        print(f"command to first rows: {time.perf_counter() - ask.began:.2f} s")
        while not ask("run")[0]["indexing"]["done"]:
            time.sleep(0.1)
        print(f"command to everything indexed: {time.perf_counter() - ask.began:.2f} s")
        figures(ask, count)
        print(f"memory: {ask.memory_mb('VmRSS')} MB now, {ask.memory_mb('VmHWM')} MB at most", end="")
        print(f" (load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")
    finally:
        ask.process.terminate()
        ask.process.wait()


def figures(ask: Asking, count: int) -> None:
    found, first, whole = ask.whole(f"records?q={PLANTED.upper().replace(' ', '+')}")
    assert found["total"] == 1, found["total"]
    print(f"search for the last record: first result {first:.3f} s, all {whole:.3f} s")
    times = []
    for place in range(REPEATS):
        _, first, _ = ask.whole(f"records?q={PLANTED[3 : 7 + place].lower().replace(' ', '+')}")
        times.append(first)
    print(f"the same, {REPEATS} other pieces of it: median {statistics.median(times):.3f} s, worst {max(times):.3f} s")
    _, first, whole = ask.whole("records?q=tea&state=kept")
    print(f"search for what is frequent: first page {first:.3f} s, counted {whole:.3f} s")
    _, seconds = ask(f"records?state=kept&offset={count // 2}")
    print(f"page in the middle: {seconds:.3f} s")
    _, seconds = ask("records?state=rejected&sort=down")
    print(f"rejected rows by score: {seconds:.3f} s")
    row = ask("records?state=kept&measure=difficulty&sort=down&low=9")[0]["rows"][0]
    for word in ("first", "again"):
        print(f"a record with its lineage, {word}: {ask('record?key=' + row['key'])[1]:.3f} s")
    rule = ask("rules")[0]["rules"][0]
    ask(f"threshold?rule={rule['key']}&at=0.8")
    print(f"another threshold: {ask('threshold?at=0.85&rule=' + rule['key'])[1]:.3f} s")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    bench_view(sys.argv[1:])
