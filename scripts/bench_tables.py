"""Our table generators beside be_great 0.0.14: the same table, the same weights, in turn within one run.

    scripts/bench tables TRAIN.csv --test TEST.csv [--be-great FOLDER] [--work FOLDER] [--only sampling training ...]

    sampling   rows per second that are whole and in the domain of the training rows, and what is thrown away;
               A B B A on one small Llama, which is trained here on the sentences that both write: once in our tokens
               (cell by cell, EOS at the end), and once in be_great's (the whole sentence, no EOS: as its `fit` has it)
    poor       the same on weights that hardly know the format yet
    vllm       our sampler through vLLM beside be_great
    training   rows per second of a step: be_great as it loads a bfloat16 checkpoint, in float32, and ours
    quality    all generators by `factory.evaluation.tables`
    timed      be_great and ours fine-tune the same checkpoint for --minutes at the same time, each on half of the cores,
               and are evaluated; not part of the default

be_great is put into a folder of its own (--be-great, by default inside of --work) and run in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench_tables_peer import Peer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
TRAIN_ROWS, TEST_ROWS = 2_000, 6_000
BATCH, STEPS, POOR_STEPS = 32, 392, 53  # 12,544 rows; 53 steps leave a model that hardly knows the format


def silent(line: str) -> None:
    """Nobody listens."""


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and range."""
    if not values:
        return "-"
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


class Bench:
    """The table, the folder and be_great."""

    def __init__(self, given: argparse.Namespace) -> None:
        import numpy as np

        from factory.tables.inferring import infer
        from factory.tables.rules import Rules

        self.given, self.work = given, given.work
        self.work.mkdir(parents=True, exist_ok=True)
        with given.table.open() as lines:
            rows = list(csv.DictReader(lines))
        order = np.random.default_rng(0).permutation(len(rows))
        self.train = [rows[place] for place in order[:TRAIN_ROWS]]
        self.other = [rows[place] for place in order[TRAIN_ROWS : 2 * TRAIN_ROWS]]
        inferred = infer(self.train, origin=given.table.name)
        self.table, self.schema = inferred.table, inferred.schema
        self.rules = Rules(self.schema)
        self.csv = self.work / "train.csv"
        with self.csv.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(self.train)
        self._peer: Peer | None = None

    @property
    def peer(self) -> Peer:
        """be_great, started when it is first asked."""
        if self._peer is None:
            threads = max(1, (os.cpu_count() or 2) // 2) if "timed" in self.given.only else None
            self._peer = Peer(self.given.be_great or self.work / "be_great_site", self.work / "be_great.log", threads)
        return self._peer

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()

    def valid(self, row: dict[str, Any]) -> bool:
        """Whether a row is whole and in the domain of the training rows."""
        from factory.errors import UserError

        try:
            return self.rules.broken(self.schema.cells(row)) is None
        except UserError:
            return False

    def sampler(self, model: Path, temperature: float, backend: str = "transformers") -> Any:
        """Our sampler over a folder of weights."""
        from bench_tables_great import sampler_of

        return sampler_of(model, self.table, self.rules, temperature, backend)

    def model(self, tokens: str, steps: int) -> Path:
        """A small Llama from random weights, trained on sentences of the table in our tokens or in be_great's."""
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        from factory.tables.great.base import scratch_tokenizer
        from factory.tables.great.codec import RowCodec
        from factory.tables.great.settings import Scratch

        folder = self.work / f"llama-{tokens}-{steps}"
        if (folder / "config.json").exists():
            return folder
        tokenizer = scratch_tokenizer(self.table, Scratch(vocabulary=600))
        codec = RowCodec(tokenizer, self.schema)
        torch.manual_seed(1)
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=128, intermediate_size=344, num_hidden_layers=4, num_attention_heads=4,
            max_position_embeddings=512, bos_token_id=None, eos_token_id=codec.eos, pad_token_id=codec.eos,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
        began = time.perf_counter()
        for step in range(steps):
            loss = _loss(model, self._sentences(codec, tokenizer, tokens, step), codec.eos)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        model.eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        seconds = time.perf_counter() - began
        print(
            f"a Llama of 4 layers, {steps * BATCH:,} rows in {tokens} tokens: loss {loss.item():.2f}, {seconds:.0f} s"
        )
        return folder

    def _sentences(self, codec: Any, tokenizer: Any, tokens: str, step: int) -> list[list[int]]:
        """Tokens of the rows of a step, each in an order of its own; ours end with EOS, be_great's do not."""
        import numpy as np

        rng = np.random.default_rng([7, step])
        names = [column.name for column in self.schema.learned]
        found = []
        for row in rng.integers(0, self.table.rows, BATCH).tolist():
            order = [names[place] for place in rng.permutation(len(names))]
            cells = self.table.row(row)
            if tokens == "our":
                found.append(codec.row(cells, order))
            else:
                found.append(tokenizer(codec.encode_text(cells, order))["input_ids"])
        return found


def _loss(model: Any, sentences: list[list[int]], pad: int) -> Any:
    """Over all tokens but the padding, on the right."""
    import torch

    longest = max(map(len, sentences))
    inputs = torch.tensor([[*each, *[pad] * (longest - len(each))] for each in sentences])
    labels = torch.tensor([[*each, *[-100] * (longest - len(each))] for each in sentences])
    mask = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in sentences])
    return model(input_ids=inputs, attention_mask=mask, labels=labels).loss


def of_peer(bench: Bench, model: Path, temperature: float, max_length: int, seed: int, rows: int) -> dict[str, float]:
    found = bench.peer.ask(
        "sample", model=str(model), table=str(bench.csv), rows=rows, temperature=temperature, max_length=max_length,
        seed=seed, k=min(rows, 100),
    )  # fmt: skip
    valid = sum(map(bench.valid, found["rows"]))
    return {**{name: found[name] for name in ("seconds", "generated", "kept", "given")}, "valid": valid}


def of_ours(sampler: Any, bench: Bench, seed: int, rows: int) -> dict[str, float]:
    from factory.tables.synthesizer import Want

    began = time.perf_counter()
    found = [row for row in sampler.sample([Want()] * rows, seed, silent) if row is not None]
    seconds = time.perf_counter() - began
    valid = sum(bench.valid(bench.schema.row(row)) for row in found)
    generated = getattr(sampler, "drawn", rows)
    return {"seconds": seconds, "generated": generated, "kept": len(found), "given": len(found), "valid": valid}


def _told(name: str, runs: Sequence[dict[str, float]]) -> None:
    total = {key: sum(run[key] for run in runs) for key in runs[0]}
    speeds = [run["valid"] / run["seconds"] for run in runs]
    kept = [run["kept"] / run["seconds"] for run in runs]
    print(
        f"  {name:34} {spread(speeds):>24} valid rows/s, {spread(kept):>24} kept rows/s; of {total['generated']:,.0f} rows "
        f"{1 - total['kept'] / total['generated']:6.1%} thrown away, {1 - total['valid'] / total['generated']:6.1%} not "
        "valid or thrown away"
    )


def pairs(bench: Bench, model: Path, temperature: float, max_length: int, ours: Any, rows: int) -> None:
    """A B B A …, each pair on its own seed."""
    theirs, own = [], []
    for place in range(bench.given.rounds):
        for first in (place % 2 == 0, place % 2 == 1):
            if first:
                theirs.append(of_peer(bench, model, temperature, max_length, place, rows))
            else:
                own.append(of_ours(ours, bench, place, rows))
    _told(f"be_great, max_length {max_length}", theirs)
    _told("ours", own)
    for key in ("valid", "kept"):
        ratios = [(b[key] / b["seconds"]) / (a[key] / a["seconds"]) for a, b in zip(theirs, own, strict=True) if a[key]]
        print(
            f"  {key} rows/s, ours over be_great: {spread(ratios, 2)} in {len(ratios)} of {len(own)} pairs ({load()})"
        )


def bench_sampling(bench: Bench) -> None:
    for tokens in bench.given.weights:
        model = bench.model(tokens, STEPS)
        for temperature in (1.0, 0.7):
            ours = bench.sampler(model, temperature)
            of_ours(ours, bench, 99, 20)  # both are warm before the first pair
            of_peer(bench, model, temperature, 20, 99, 2)
            print(f"weights trained in {tokens} tokens, temperature {temperature}, {bench.given.rows} rows asked:")
            pairs(bench, model, temperature, 160, ours, bench.given.rows)
    tokens = bench.given.weights[-1]
    print(f"be_great's own defaults (max_length 100, temperature 0.7), one run, weights trained in {tokens} tokens:")
    _told("be_great, max_length 100", [of_peer(bench, bench.model(tokens, STEPS), 0.7, 100, 1, 100)])


def bench_poor(bench: Bench) -> None:
    for tokens in bench.given.weights:
        model = bench.model(tokens, POOR_STEPS)
        print(f"weights after {POOR_STEPS} steps in {tokens} tokens, 200 rows asked:")
        for name, found in (
            ("be_great", of_peer(bench, model, 0.7, 160, 1, 200)),
            ("ours", of_ours(bench.sampler(model, 0.7), bench, 1, 200)),
        ):
            print(
                f"  {name:10} gives {found['given']} rows of {found['generated']:,} generated, {found['valid']} valid, "
                f"in {found['seconds']:.1f} s"
            )


def bench_vllm(bench: Bench) -> None:
    model = bench.model("our", STEPS)
    ours = bench.sampler(model, 1.0, "vllm")
    of_ours(ours, bench, 99, 20)
    of_peer(bench, model, 1.0, 20, 99, 2)
    print(f"through vLLM, weights trained in our tokens, temperature 1.0, {bench.given.rows} rows asked:")
    pairs(bench, model, 1.0, 160, ours, bench.given.rows)
    ours.close()


def bench_training(bench: Bench) -> None:
    """Rows per second of steps of 8 rows, the first left out; all variants in turn, forwards and backwards."""
    from bench_tables_great import checkpoints, step_seconds

    plain, half = checkpoints(bench.given.base, bench.work)
    steps, rows = bench.given.steps, 8

    def peer(model: Path) -> Callable[[int], list[float]]:
        def run(seed: int) -> list[float]:
            asked = {"model": str(model), "table": str(bench.csv), "rows": rows, "steps": steps, "seed": seed}
            found = bench.peer.ask("fit", folder=str(bench.work / "trainer"), **asked)
            if (found["dtype"] == "torch.bfloat16") != (model == half):
                sys.exit(f"training: be_great trains in {found['dtype']}, other than the checkpoint has it")
            return found["seconds"]

        return run

    def own(**settings: Any) -> Callable[[int], list[float]]:
        return lambda seed: step_seconds(bench.table, plain, rows, steps, seed, bench.work, **settings)

    variants = {
        "be_great, bfloat16 checkpoint (as shipped)": peer(half),
        "be_great, float32 checkpoint": peer(plain),
        "ours, all weights, fp32": own(rank=None, precision="fp32"),
        "ours, all weights, bf16 over fp32": own(rank=None, precision="bf16"),
        "ours, LoRA rank 16, bf16": own(rank=16, precision="bf16"),
    }
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    for place in range(bench.given.rounds):
        for name in list(variants)[:: 1 if place % 2 == 0 else -1]:
            speeds[name].append(rows / statistics.median(variants[name](place)))
            gc.collect()
    shipped = speeds[next(iter(variants))]
    print(f"training steps of {rows} rows, {bench.given.rounds} rounds in turn, {steps} steps each ({load()}):")
    for name, found in speeds.items():
        ratios = [one / other for one, other in zip(found, shipped, strict=True)]
        print(f"  {name:44} {spread(found, 2):>22} rows/s, over be_great as shipped {spread(ratios, 2)}")


def bench_quality(bench: Bench) -> None:
    from bench_tables_great import generators, report

    from factory.tables.synthesizer import Want

    test = _test_rows(bench)
    sets: dict[str, Any] = {}
    for name, synthesizer in generators().items():
        began = time.perf_counter()
        fitted = synthesizer.fit(bench.table, bench.rules, seed=1, folder=bench.work / name, say=silent)
        learnt = time.perf_counter()
        sampler = synthesizer.load(fitted, bench.schema, bench.rules, bench.work / name)
        rows = sampler.sample([Want()] * TRAIN_ROWS, 7, silent)
        ended = time.perf_counter()
        sets[name] = [bench.schema.row(row) for row in rows if row is not None]
        print(
            f"{name}: fit {learnt - began:.1f} s, {len(sets[name]) / (ended - learnt):,.0f} rows/s ({load()})",
            flush=True,
        )
    reals = (bench.table, test, bench.other, bench.given.target)
    report(sets, *reals)
    print(f"the small Llama, {TRAIN_ROWS // 2:,} rows of each sampler, named by sampler and tokens of the weights:")
    report(llama_rows(bench, TRAIN_ROWS // 2), *reals)


def _test_rows(bench: Bench) -> list[dict[str, str]]:
    import numpy as np

    if not bench.given.test:
        sys.exit("--test TEST.csv is needed, rows that no generator has seen.")
    with bench.given.test.open() as lines:
        test = list(csv.DictReader(lines))
    return [test[place] for place in np.random.default_rng(0).permutation(len(test))[:TEST_ROWS].tolist()]


def llama_rows(bench: Bench, rows: int) -> dict[str, Any]:
    """Rows of the shared weights at temperature 1: what be_great keeps on its own, and ours on both."""
    from factory.tables.synthesizer import Want

    home = bench.model("be_great", STEPS)
    asked = {"rows": rows, "temperature": 1.0, "max_length": 160, "seed": 1, "k": 100}
    sets = {"be_great, be_great": bench.peer.ask("sample", model=str(home), table=str(bench.csv), **asked)["rows"]}
    for tokens in ("be_great", "our"):
        drawn = bench.sampler(bench.model(tokens, STEPS), 1.0).sample([Want()] * rows, 1, silent)
        sets[f"ours, {tokens}"] = [bench.schema.row(row) for row in drawn if row is not None]
    return sets


def bench_timed(bench: Bench) -> None:
    """Both at once, so that neither has the quieter machine: training for so long, then rows of each at its default."""
    import torch
    from bench_tables_great import checkpoints, report, timed

    test = _test_rows(bench)
    plain, half = checkpoints(bench.given.base, bench.work)
    seconds, rows = 60 * bench.given.minutes, bench.given.rows
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    home = bench.work / f"timed-be_great-{bench.given.minutes:g}"
    tell = f"be_great and ours, {bench.given.minutes:g} min on {torch.get_num_threads()} core each"

    def theirs() -> Any:
        asked = {"rows": 8, "seconds": seconds, "seed": 1, "folder": str(home)}
        trained = bench.peer.ask("train", model=str(half), table=str(bench.csv), **asked)
        drawn = {"rows": rows, "temperature": 0.7, "max_length": 160, "seed": 1, "k": 100}
        return trained, bench.peer.ask("sample", model=str(home), table=str(bench.csv), **drawn)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(theirs)
        steps, spent, drawn = timed(bench.table, bench.rules, plain, seconds, rows, bench.work)
        trained, found = answer.result()
    print(f"{tell} ({load()}):")
    print(
        f"  be_great: {trained['steps']:,} steps of 8 rows; of {found['generated']:,} rows generated {found['kept']:,} kept, "
        f"{sum(map(bench.valid, found['rows'])):,} valid, {found['given']:,} given out, in {found['seconds']:.0f} s"
    )
    print(f"  ours: {steps:,} steps of 8 rows; {len(drawn):,} rows in {spent:.0f} s")
    valid = [row for row in found["rows"] if bench.valid(row)]
    sets = {"be_great, kept": found["rows"], "be_great, valid": valid, "ours": drawn}
    report(
        {name: each for name, each in sets.items() if len(each) > 50},
        bench.table,
        test,
        bench.other,
        bench.given.target,
    )


PARTS: dict[str, Callable[[Bench], None]] = {
    "sampling": bench_sampling,
    "poor": bench_poor,
    "training": bench_training,
    "quality": bench_quality,
    "vllm": bench_vllm,
    "timed": bench_timed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="CSV of which 2,000 rows are learnt")
    parser.add_argument("--test", type=Path, help="CSV of rows to evaluate on")
    parser.add_argument("--target", default="income", help="column to predict")
    parser.add_argument("--be-great", type=Path, help="folder with be_great, filled if there is none")
    parser.add_argument("--work", type=Path, default=Path("bench-tables"), help="folder for weights and logs")
    parser.add_argument("--base", default="embedded", help="folder of the checkpoint for `training`")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=[part for part in PARTS if part != "timed"])
    parser.add_argument("--weights", nargs="+", choices=("our", "be_great"), default=("our", "be_great"))
    parser.add_argument("--rounds", type=int, default=4, help="pairs")
    parser.add_argument("--rows", type=int, default=200, help="rows asked of each in a pair")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training in `timed`")
    parser.add_argument("--steps", type=int, default=3, help="training steps that are timed in a round")
    given = parser.parse_args()
    bench = Bench(given)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy"))
    print(
        f"{given.table.name}, {TRAIN_ROWS:,} rows; {versions}, be_great {bench.peer.ask('version')['be_great']}; {load()}"
    )
    try:
        for part in given.only:
            print(f"\n{part}", flush=True)
            PARTS[part](bench)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
