"""Measures what the README claims; every ratio is taken within one process, in A/B/A order.

scripts/bench cli      start-up of the command line
scripts/bench runner   requests/s of the runner alone, one core, scripted engine, journal on; then its replay
scripts/bench prompt   tokens/s of a `prompt` step over raw vLLM on the same requests
scripts/bench novelty FILE.jsonl   the novelty filter beside its peers: see scripts/bench_novelty.py
scripts/bench tables TRAIN.csv     our table generators beside be_great: see scripts/bench_tables.py
scripts/bench privacy step         a private training step beside an ordinary one: see scripts/bench_privacy.py
scripts/bench view [ROWS]          the local page at a million records: see scripts/bench_view.py
scripts/bench loop     tokens/s of the Self-Instruct loop over raw vLLM on the same requests
scripts/bench evol     tokens/s of chains of evolutions over the same requests with a barrier after each epoch
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IN_FLIGHT = 64


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def bench_cli() -> None:
    python = [sys.executable, "-m", "factory.cli"]
    for arguments in (["--help"], ["check", str(ROOT / "recipes" / "quickstart.yaml")]):
        times = []
        for _ in range(7):
            began = time.perf_counter()
            subprocess.run([*python, *arguments], check=True, capture_output=True)
            times.append(time.perf_counter() - began)
        print(f"factory {arguments[0]}: median {statistics.median(times):.2f} s, best {min(times):.2f} s ({load()})")


def _prompt_recipe(folder: Path, rows: int, max_tokens: int, model: str, kind: str) -> Path:
    tasks = [json.loads(line) for line in (ROOT / "seeds" / "self_instruct.jsonl").read_text().splitlines()]
    with (folder / "rows.jsonl").open("w") as out:
        for index in range(rows):
            task = tasks[index % len(tasks)]
            out.write(
                json.dumps({"n": index, "instruction": f"{task['instruction']} (variant {index // len(tasks)})"}) + "\n"
            )
    (folder / "script.json").write_text('{"answers": ["An answer of some eight words, number {hash}."]}')
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"name: bench\nengine: {{kind: {kind}, model: {model}, max_in_flight: {IN_FLIGHT}, script: script.json}}\n"
        "steps:\n  - rows: {path: rows.jsonl}\n"
        f"  - prompt: {{prompt: {ROOT}/prompts/prompt/answer.jinja, output: answer, keep_cut: true,\n"
        f"             sampling: {{max_tokens: {max_tokens}, temperature: 0.0}}}}\n"
    )
    return recipe


def bench_runner() -> None:
    import factory

    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = _prompt_recipe(folder, 10_000, 16, "scripted", "scripted")
        speeds = []
        for attempt in range(3):
            began = time.perf_counter()
            factory.run(recipe, folder / f"run{attempt}", progress=False)
            speeds.append(10_000 / (time.perf_counter() - began))
        print(f"runner alone: {statistics.median(speeds):,.0f} requests/s, whole run, one core ({load()})")
        began = time.perf_counter()
        result = factory.run(recipe, folder / "run0", progress=False)
        seconds = time.perf_counter() - began
        print(
            f"replay of 10,000 finished requests: {seconds:.2f} s, {result.manifest['requests']['asked']} asked again"
        )


class Recorder:
    """An engine that remembers what it was asked, and is not closed by a run."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.answered: list[tuple[Any, int]] = []

    @property
    def capabilities(self) -> Any:
        return self.engine.capabilities

    @property
    def description(self) -> str:
        return self.engine.description

    async def start(self) -> None:
        await self.engine.start()

    async def complete(self, request: Any) -> Any:
        completion = await self.engine.complete(request)
        self.answered.append((request, completion.completion_tokens))
        return completion

    async def close(self) -> None:
        """The benchmark closes the engine itself."""


def raw(engine: Any, requests: list[Any]) -> tuple[int, float]:
    """vLLM itself: all requests at once, stepped in this thread until they are done."""
    thread, stepper = engine._thread, engine._thread._stepper
    while stepper.busy or not thread._inbox.empty():
        time.sleep(0.05)  # what a run has abandoned is still being taken back; two threads must not step one engine
    time.sleep(0.5)
    vllm = stepper._engine
    vllm.reset_prefix_cache()
    began = time.perf_counter()
    for number, request in enumerate(requests):
        stepper.add(10_000_000 + number, stepper.renderer.render(request), request)
    tokens = 0
    while vllm.has_unfinished_requests():
        tokens += sum(len(output.outputs[0].token_ids) for output in vllm.step() if output.finished)
    return tokens, time.perf_counter() - began


def _ratio(name: str, recipe: Path, out: Path) -> None:
    import factory
    from factory.engines.vllm import VllmEngine

    engine = VllmEngine(model="embedded", max_in_flight=IN_FLIGHT)
    asyncio.run(engine.start())
    stepper = engine._thread._stepper
    recorder = Recorder(engine)
    raw(engine, [])
    factory.run(recipe, out / "warm", engine=Recorder(engine), limit=8, progress=False)  # compiles grammars, warms up
    stepper._engine.reset_prefix_cache()
    began = time.perf_counter()
    factory.run(recipe, out / "run", engine=recorder, progress=False)
    seconds = time.perf_counter() - began
    tokens = sum(count for _, count in recorder.answered)
    requests = [request for request, _ in recorder.answered]
    recipe_speed = tokens / seconds
    before = raw(engine, requests)
    second = Recorder(engine)
    stepper._engine.reset_prefix_cache()
    began = time.perf_counter()
    factory.run(recipe, out / "again", engine=second, progress=False)
    again_speed = sum(count for _, count in second.answered) / (time.perf_counter() - began)
    after = raw(engine, requests)
    raw_speed = statistics.mean([before[0] / before[1], after[0] / after[1]])
    own = statistics.mean([recipe_speed, again_speed])
    print(
        f"{name}: {own:.0f} tok/s (recipe: {recipe_speed:.0f}, {again_speed:.0f}) over {raw_speed:.0f} tok/s (raw vLLM: "
        f"{before[0] / before[1]:.0f}, {after[0] / after[1]:.0f}) = {own / raw_speed:.3f}; {len(requests)} requests, "
        f"{tokens} tokens ({load()})"
    )
    asyncio.run(engine.close())


def bench_prompt() -> None:
    with tempfile.TemporaryDirectory() as name:
        _ratio("prompt step / raw vLLM", _prompt_recipe(Path(name), 192, 48, "embedded", "vllm"), Path(name))


def bench_loop() -> None:
    with tempfile.TemporaryDirectory() as name:
        text = (ROOT / "recipes" / "quickstart.yaml").read_text()
        text = text.replace("accept: 24 ", "accept: 100").replace("max_in_flight: 32", f"max_in_flight: {IN_FLIGHT}")
        recipe = Path(name) / "loop.yaml"
        recipe.write_text(text.replace("window: 64 ", "window: 256"))
        _ratio("Self-Instruct loop / raw vLLM", recipe, Path(name))


def _chains(out: Path) -> list[list[list[Any]]]:
    """Requests and answers of a finished Evol-Instruct run, by row and epoch, in the order in which they were asked."""
    import msgspec
    import pyarrow.parquet as pq

    from factory.journal import Journal

    journal = Journal(out / "journal.sqlite", read_only=True)
    chains: dict[str, dict[int, list[Any]]] = {}
    for folder in ("data", "rejected"):
        for path in sorted((out / folder).glob("*.parquet")):
            for row in pq.read_table(path).to_pylist():
                epoch = row["epoch"] if folder == "data" else json.loads(row["fields"])["epoch"]
                for key in row["provenance"]["requests"] if epoch else ():
                    found = journal.request(key)
                    assert found is not None
                    # Greedy, so that every replay writes the same answers.
                    sampling = msgspec.structs.replace(found[0].sampling, temperature=0.0)
                    request = msgspec.structs.replace(found[0], sampling=sampling)
                    pair = request, found[1].completion_tokens
                    chains.setdefault(row["provenance"]["root"], {}).setdefault(epoch, []).append(pair)
    journal.close()
    return [[requests for _, requests in sorted(epochs.items())] for epochs in chains.values()]


def _at_constant_step_time(chains: list[list[list[Any]]]) -> float:
    """The same ratio where a step takes as long for one request as for all, as on a GPU that is not full."""
    lengths = [[sum(tokens for _, tokens in requests) for requests in chain] for chain in chains]
    barred = sum(
        max(chain[epoch] for chain in lengths if epoch < len(chain)) for epoch in range(max(map(len, lengths)))
    )
    return barred / max(map(sum, lengths))


async def _replay(engine: Any, chains: list[list[list[Any]]], *, barrier: bool) -> tuple[int, float]:
    """Tokens and seconds of all chains, each asking one request after the other."""
    slots = asyncio.Semaphore(IN_FLIGHT)
    tokens = 0

    async def ask(requests: list[Any]) -> None:
        nonlocal tokens
        for request, _ in requests:
            async with slots:
                completion = await engine.complete(request)
            tokens += completion.completion_tokens

    async def whole(chain: list[list[Any]]) -> None:
        for requests in chain:
            await ask(requests)

    engine._thread._stepper._engine.reset_prefix_cache()
    began = time.perf_counter()
    if barrier:
        for epoch in range(max(map(len, chains))):
            await asyncio.gather(*(ask(chain[epoch]) for chain in chains if epoch < len(chain)))
    else:
        await asyncio.gather(*map(whole, chains))
    return tokens, time.perf_counter() - began


def bench_evol() -> None:
    import factory
    from factory.engines.vllm import VllmEngine

    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "evol.yaml"
        text = (ROOT / "recipes" / "evol_instruct.yaml").read_text().replace("epochs: 2 ", "epochs: 3 ")
        text = text.replace("first: 40", "first: 64").replace("max_in_flight: 32", f"max_in_flight: {IN_FLIGHT}")
        recipe.write_text(text)
        engine = VllmEngine(model="embedded", max_in_flight=IN_FLIGHT)

        async def measure() -> None:
            await engine.start()
            speeds: dict[bool, list[float]] = {False: [], True: []}
            for barrier in (False, True, True, False):
                tokens, seconds = await _replay(engine, chains, barrier=barrier)
                speeds[barrier].append(tokens / seconds)
            free, barred = statistics.mean(speeds[False]), statistics.mean(speeds[True])
            print(
                f"Evol-Instruct, {len(chains)} chains of 3 epochs: {free:.0f} tok/s ({_all(speeds[False])}) over "
                f"{barred:.0f} tok/s with a barrier after each epoch ({_all(speeds[True])}) = {free / barred:.2f} ({load()}); "
                f"at a constant step time {_at_constant_step_time(chains):.2f}"
            )

        factory.run(recipe, Path(name) / "run", progress=False)
        chains = _chains(Path(name) / "run")
        asyncio.run(measure())
        asyncio.run(engine.close())


def _all(speeds: list[float]) -> str:
    return ", ".join(f"{speed:.0f}" for speed in speeds)


BENCHES = {"cli": bench_cli, "runner": bench_runner, "prompt": bench_prompt, "loop": bench_loop, "evol": bench_evol}

if __name__ == "__main__":
    if sys.argv[1:2] in (["novelty"], ["discriminator"], ["tables"], ["privacy"], ["view"]):
        script = ROOT / "scripts" / f"bench_{sys.argv[1]}.py"
        sys.exit(subprocess.run([sys.executable, script, *sys.argv[2:]]).returncode)
    for bench in sys.argv[1:] or list(BENCHES):
        if bench not in BENCHES:
            sys.exit(f"bench: no benchmark is called {bench!r}; there are {', '.join(BENCHES)}")
        BENCHES[bench]()
