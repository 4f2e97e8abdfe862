"""be_great for scripts/bench_tables.py: in a process and a folder of its own, as this project does not depend on it.

Asked by lines of JSON on standard input, it answers by lines on what was standard output; be_great's own prints go to
the log. What be_great does is not changed: its parser is only listened to, to count what it generates and what it keeps.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PINNED = ("be_great==0.0.14", "chugchug==0.1.3")  # all else that it needs is in this project's environment


def install(site: Path) -> None:
    """Put be_great into a folder, without what it depends on."""
    if not (site / "be_great").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), *PINNED]
        subprocess.run(command, check=True)


class Peer:
    """be_great in a process of its own."""

    def __init__(self, site: Path, log: Path, threads: int | None = None) -> None:
        install(site)
        environment = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        if threads:
            environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(threads)
        self._log = log.open("a")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"be_great has ended; see {self._log.name}")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        self._log.close()


class Worker:
    """What the process does."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def version(self) -> dict[str, Any]:
        from importlib.metadata import version

        return {"be_great": version("be_great")}

    def sample(
        self, model: str, table: str, rows: int, temperature: float, max_length: int, seed: int, k: int
    ) -> dict[str, Any]:
        """So many rows by `sample`; what it kept beyond them counts too."""
        import be_great.great as module
        import pandas as pd
        import torch
        from transformers import set_seed

        great = self._loaded.get(model)
        if great is None:
            great = self._loaded[model] = module.GReaT(model)
            frame = pd.read_csv(table)
            great._update_column_information(frame)  # what `fit` does before it trains
            great._update_conditional_information(frame, None)
            great.model.eval()
        set_seed(seed)
        parsed: list[Any] = []
        parse = module._convert_text_to_tabular_data

        def listened(*arguments: Any) -> Any:
            frame = parse(*arguments)
            parsed.append(frame.copy())
            return frame

        module._convert_text_to_tabular_data = listened
        began = time.perf_counter()
        try:
            with torch.no_grad():
                given = great.sample(rows, temperature=temperature, max_length=max_length, k=k, device="cpu")
        finally:
            module._convert_text_to_tabular_data = parse
        seconds = time.perf_counter() - began
        frame = pd.concat(parsed)
        frame = frame[~(frame == "placeholder").any(axis=1)].dropna(how="all")
        for name in great.num_cols:
            frame = frame[pd.to_numeric(frame[name], errors="coerce").notnull() | frame[name].isna()]
        found = json.loads(frame.to_json(orient="records"))
        return {
            "seconds": seconds, "generated": sum(map(len, parsed)), "kept": len(frame), "given": len(given), "rows": found
        }  # fmt: skip

    def fit(self, model: str, table: str, rows: int, steps: int, seed: int, folder: str) -> dict[str, Any]:
        """Seconds of each step but the first, of so many rows."""
        import pandas as pd
        from be_great.great import GReaT
        from be_great.great_trainer import GReaTTrainer
        from transformers import set_seed

        set_seed(seed)
        ends: list[float] = []
        step = GReaTTrainer.training_step

        def timed(trainer: Any, *arguments: Any, **named: Any) -> Any:
            ends.append(time.perf_counter())  # a step begins; the optimizer's part of the one before is over
            return step(trainer, *arguments, **named)

        GReaTTrainer.training_step = timed
        try:
            great = GReaT(model, folder, batch_size=rows, max_steps=steps + 2, save_strategy="no", use_cpu=True)
            great.fit(pd.read_csv(table))
        finally:
            GReaTTrainer.training_step = step
        dtype = str(next(great.model.parameters()).dtype)
        return {"seconds": [after - before for before, after in itertools.pairwise(ends[1:])], "dtype": dtype}

    def train(self, model: str, table: str, rows: int, seconds: float, seed: int, folder: str) -> dict[str, Any]:
        """Train with be_great's own defaults until the time is over, and save the model there."""
        import pandas as pd
        from be_great.great import GReaT
        from be_great.great_trainer import GReaTTrainer
        from transformers import set_seed

        set_seed(seed)
        step, began = GReaTTrainer.training_step, time.perf_counter()

        def limited(trainer: Any, *arguments: Any, **named: Any) -> Any:
            trainer.control.should_training_stop = time.perf_counter() - began >= seconds
            return step(trainer, *arguments, **named)

        GReaTTrainer.training_step = limited
        try:
            great = GReaT(model, folder, batch_size=rows, epochs=100, save_strategy="no", use_cpu=True)
            steps = great.fit(pd.read_csv(table)).state.global_step
        finally:
            GReaTTrainer.training_step = step
        great.model.save_pretrained(folder)
        great.tokenizer.save_pretrained(folder)
        return {"seconds": time.perf_counter() - began, "steps": steps}


def work() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = getattr(worker, asked.pop("what"))(**asked)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    work()
