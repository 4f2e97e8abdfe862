"""What privacy costs, in seconds, in memory, and in what the texts are worth.

scripts/bench privacy step [--method lora] [--layers 8]   seconds of a training step: private, not private, one text at a time
scripts/bench privacy memory [--method lora]              peak memory of the same steps, each in a process of its own
scripts/bench privacy utility TICKETS TEST --out FOLDER   accuracy of real texts, zero-shot, epsilon inf, 8 and 2

`step` interleaves the three in one process, in an order that turns around each round; ratios are taken within a round. All
of them read the same texts with the same model; the ordinary step is Adam on the mean loss of the batch. `utility` runs a
recipe for each epsilon (again: it goes on where it was) and prints what `factory evaluate` does, the texts of TICKETS taken
for public: it is a benchmark, so name texts that are. Nothing is tuned on them unless you do it.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import load

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(__file__).resolve()
PRIVATE, PLAIN, ONE = "private", "not private", "one text at a time"
NOISE, NORM, RATE = 0.6, 0.1, 0.01
CLASSES = {
    "billing": "about a bill, a payment, a refund or a price",
    "delivery": "about a parcel, its way, its driver or its date",
    "technical": "about a device, an app or an account that does not work",
}


# --- steps --------------------------------------------------------------------------------------------


class Times(NamedTuple):
    """Seconds of a step: on the clock, and those of all cores together, which others on the machine disturb less."""

    wall: float
    cpu: float


class Bench:
    """A tuning, its two optimizers and the texts of one step."""

    def __init__(self, given: argparse.Namespace) -> None:
        import torch

        from factory.privacy.objective import micro_batches
        from factory.privacy.optimizer import private_optimizer
        from factory.privacy.randomness import SecureRandomness

        base = _base(given)
        self.tuning = _tuning(given, base)
        parameters = list(self.tuning.parameters.values())
        self.plain_optimizer = torch.optim.Adam(parameters, lr=RATE)
        self.private_optimizer = private_optimizer(
            torch.optim.Adam(parameters, lr=RATE),
            noise_multiplier=NOISE,
            max_grad_norm=NORM,
            expected_batch=given.batch,
            randomness=SecureRandomness(),
        )
        self.examples = _examples(base, given)
        self.parts = list(micro_batches(self.examples, given.micro_batch))
        self.about = f"{self.tuning.about}; {base.name}, {str(base.dtype).removeprefix('torch.')}, {base.device}"
        self.cuda = torch.cuda if torch.cuda.is_available() else None

    def private(self) -> None:
        """A step as the factory does it."""
        self._private(self.parts)

    def one(self) -> None:
        """The same, each text by itself: what is exact without any trick."""
        from factory.privacy.objective import micro_batches

        self._private(list(micro_batches(self.examples, 1)))

    def _private(self, parts: list[Any]) -> None:
        for part in parts:
            found = [each[: part.records] for each in self.tuning.gradients(part.examples)]
            self.private_optimizer.accumulate(found, records=part.records)
        self.private_optimizer.release()

    def plain(self) -> None:
        """An ordinary step."""
        for part in self.parts:
            self.tuning.mean_gradients(part.examples[: part.records], len(self.examples))
        self.plain_optimizer.step()
        self.plain_optimizer.zero_grad()

    def seconds(self, step: Callable[[], None]) -> Times:
        """Of one step, the device's work included."""
        began, used = time.perf_counter(), time.process_time()
        step()
        if self.cuda is not None:
            self.cuda.synchronize()
        return Times(time.perf_counter() - began, time.process_time() - used)


def _base(given: argparse.Namespace) -> Any:
    """The model, cut to its first layers if that is asked for."""
    from factory.engines.model_source import locate_model
    from factory.privacy.base import load_base

    base = load_base(locate_model(given.model, None).path, dtype=given.precision, name=given.model)
    if given.layers:
        base.model.model.layers = base.model.model.layers[: given.layers]
        base.model.config.num_hidden_layers = given.layers
        base.name += f", first {given.layers} layers"
    return base


def _tuning(given: argparse.Namespace, base: Any) -> Any:
    from factory.privacy.tuning import LoraTuning, PromptTuning

    if given.method == "prompt":
        return PromptTuning(base, tokens=given.prompt_tokens, initial=None, scale=given.max_tokens)
    return LoraTuning(base, rank=given.rank, alpha=2.0 * given.rank, targets=None, scale=given.max_tokens)


def _examples(base: Any, given: argparse.Namespace) -> list[Any]:
    """Tickets of the demonstration corpus."""
    import csv

    from factory.privacy.objective import Encoder

    heads = {label: f"A ticket ({what}): " for label, what in CLASSES.items()}
    encoder = Encoder(base, heads, given.max_tokens, given.prompt_tokens if given.method == "prompt" else 0)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ROOT / "scripts" / "make_tickets", "--out", folder, "--rows", str(given.batch)]
        subprocess.run(command, check=True, capture_output=True)
        with (Path(folder) / "tickets.csv").open(encoding="utf-8") as file:
            return [encoder.encode(row["text"], row["label"]) for row in csv.DictReader(file)]


def bench_step(given: argparse.Namespace) -> None:
    bench = Bench(given)
    steps = {PLAIN: bench.plain, PRIVATE: bench.private, ONE: bench.one}
    for step in steps.values():
        bench.seconds(step)  # warms up
    times: dict[str, list[Times]] = {name: [] for name in steps}
    for number in range(given.rounds):
        for name in list(steps)[:: -1 if number % 2 else 1]:
            times[name].append(bench.seconds(steps[name]))
    tokens = sum(example.length for example in bench.examples)
    print(
        f"{bench.about}; {given.batch} texts of {tokens / given.batch:.0f} tokens on average, {given.micro_batch} at once"
    )
    for name, found in times.items():
        walls = [each.wall for each in found]
        cpu = statistics.median(each.cpu for each in found)
        print(
            f"  {name:<20} median {statistics.median(walls):.3f} s ({min(walls):.3f} to {max(walls):.3f}), cores {cpu:.3f} s"
        )
    print(f"  private / not private: {_ratio(times[PRIVATE], times[PLAIN])}")
    print(f"  one text at a time / private: {_ratio(times[ONE], times[PRIVATE])}")
    print(f"  {given.rounds} rounds; {load()}")


def _ratio(above: list[Times], below: list[Times]) -> str:
    """Median of the ratios of each round, with their range."""
    parts = []
    for name in Times._fields:
        found = [getattr(one, name) / getattr(other, name) for one, other in zip(above, below, strict=True)]
        parts.append(f"{name} {statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})")
    return ", ".join(parts)


def bench_memory(given: argparse.Namespace) -> None:
    if given.only is not None:
        print(_peak(given))
        return
    peaks = {}
    for name in (PLAIN, PRIVATE, ONE):
        found = []
        for _ in range(given.rounds):
            command = [sys.executable, SCRIPT, *sys.argv[1:], "--only", name]
            found.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
        peaks[name] = found
        print(
            f"  {name:<20} median {statistics.median(found):,.0f} MB ({min(found):,.0f} to {max(found):,.0f})",
            flush=True,
        )
    more = statistics.median(peaks[PRIVATE]) - statistics.median(peaks[PLAIN])
    print(f"  private over not private: {more:+,.0f} MB; {given.micro_batch} of {given.batch} texts at once ({load()})")


def _peak(given: argparse.Namespace) -> float:
    """Megabytes at the peak of three steps: of the device where there is one, else of this process."""
    bench = Bench(given)
    step = {PLAIN: bench.plain, PRIVATE: bench.private, ONE: bench.one}[given.only]
    for _ in range(3):
        bench.seconds(step)
    if bench.cuda is not None:
        return float(bench.cuda.max_memory_allocated()) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 * 1.048576


# --- utility ------------------------------------------------------------------------------------------


def bench_utility(given: argparse.Namespace) -> None:
    import factory
    from factory.terminal.public_evaluations import public_evaluation_text

    runs = []
    for epsilon in given.epsilons.split(","):
        name = {"0": "zero-shot", "inf": "inf"}.get(epsilon, f"eps{epsilon}")
        began = time.perf_counter()
        result = factory.run(_recipe(given, name, epsilon), given.out / name, progress=True)
        print(
            f"{name}: {result.rows:,} rows, {result.status}, {time.perf_counter() - began:,.0f} s ({load()})",
            flush=True,
        )
        runs.append(given.out / name)
    columns = {"text": given.text, "label": given.label}
    test = {"path": str(given.test), **columns}
    found = factory.evaluate_public(runs, test, private={"path": str(given.tickets), **columns})
    print(public_evaluation_text(found))


def _recipe(given: argparse.Namespace, name: str, epsilon: str) -> Path:
    """A recipe with that epsilon; everything else is the same for all."""
    classes = CLASSES if given.classes is None else json.loads(given.classes)
    data = {"path": str(given.tickets.resolve()), "text": given.text, "label": given.label, "private": False}
    options = {"data": data, "classes": classes, "task": given.task, "model": given.model, "rows": given.rows}
    options |= {"epsilon": "inf" if math.isinf(float(epsilon)) else float(epsilon), "steps": given.steps}
    options |= {"batch_size": given.batch, "micro_batch": given.micro_batch, "max_tokens": given.max_tokens}
    options |= json.loads(given.options)
    recipe = {
        "name": name,
        "engine": {"kind": "auto", "model": given.model},
        "steps": [{f"dp_{'prompt_tuning' if given.method == 'prompt' else 'lora'}": options}],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{name}.yaml"
    path.write_text(json.dumps(recipe, indent=2), encoding="utf-8")
    return path


BENCHES = {"step": bench_step, "memory": bench_memory, "utility": bench_utility}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=list(BENCHES))
    parser.add_argument("tickets", type=Path, nargs="?", help="utility: texts to learn, which are public")
    parser.add_argument("test", type=Path, nargs="?", help="utility: texts to test on")
    parser.add_argument("--method", choices=("prompt", "lora"), default="prompt")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--layers", type=int, default=0, help="first layers of the model only")
    parser.add_argument("--batch", type=int, default=None, help="texts of a step; 32, for utility 256")
    parser.add_argument("--micro-batch", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=64, help="of a text; longer ones are cut")
    parser.add_argument("--prompt-tokens", type=int, default=20)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=(PLAIN, PRIVATE, ONE), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("runs/bench_privacy"))
    parser.add_argument("--epsilons", default="0,inf,8,2")
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--task", default="messages of customers to a shop")
    parser.add_argument("--classes", help="JSON: what a text of each class is like; those of the tickets by default")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--options", default="{}", help="JSON: more options of the step")
    given = parser.parse_args()
    if given.bench == "utility" and given.test is None:
        parser.error("utility: expected a file of texts to learn and one to test on")
    given.batch = given.batch or (256 if given.bench == "utility" else 32)
    BENCHES[given.bench](given)


if __name__ == "__main__":
    main()
