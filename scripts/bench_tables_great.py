"""Our side of scripts/bench_tables.py: samplers over given weights, timed training steps, all generators, the report."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SHOWN = ("valid", "forest.auc", "boosting.auc", "linear.auc", "detection_auc", "shape", "pair", "violations", "closer")


class Timed(Exception):
    """Enough steps are timed."""


def sampler_of(model: Path, table: Any, rules: Any, temperature: float, backend: str) -> Any:
    """Our sampler over a folder of weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    if backend == "vllm":
        from factory.tables.great.vllm_sampling import VllmSampler

        return VllmSampler(model, tokenizer, table.schema, rules, temperature=temperature)
    from factory.tables.great.sampling import TransformersSampler

    weights = AutoModelForCausalLM.from_pretrained(model).eval()
    return TransformersSampler(weights, tokenizer, table.schema, rules, temperature=temperature)


def checkpoints(base: str, work: Path) -> tuple[Path, Path]:
    """A checkpoint in float32, and the same in bfloat16 as checkpoints are mostly given out."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from factory.engines.embedded import embedded_model_dir

    plain = embedded_model_dir() if base == "embedded" else Path(base)
    half = work / f"{plain.name}-bf16"
    if not (half / "config.json").exists():
        AutoModelForCausalLM.from_pretrained(plain, dtype=torch.bfloat16).save_pretrained(half)
        AutoTokenizer.from_pretrained(plain).save_pretrained(half)
    return plain, half


def step_seconds(table: Any, model: Path, rows: int, steps: int, seed: int, work: Path, **settings: Any) -> list[float]:
    """Seconds of each training step of ours but the first."""
    from factory.tables.great.gradients import Gradients
    from factory.tables.great.settings import Settings
    from factory.tables.great.training import train

    begins: list[float] = []
    learn = Gradients.learn

    def timed(self: Any, *arguments: Any, **named: Any) -> float:
        begins.append(time.perf_counter())  # the optimizer's part of the step before is over
        if len(begins) > steps + 1:
            raise Timed
        return learn(self, *arguments, **named)

    chosen = Settings(model=str(model), rows=rows, holdout=0.0, epochs=20, **settings)
    folder = Path(tempfile.mkdtemp(dir=work))
    Gradients.learn = timed  # type: ignore[method-assign]
    try:
        train(table, chosen, seed=seed, folder=folder, say=lambda line: None)
    except Timed:
        pass
    finally:
        Gradients.learn = learn  # type: ignore[method-assign]
        shutil.rmtree(folder)
    return [after - before for before, after in itertools.pairwise(begins[1:])]


def timed(table: Any, rules: Any, model: Path, seconds: float, rows: int, work: Path) -> tuple[int, float, list[Any]]:
    """Fine-tune with our defaults for so long and draw: steps, seconds of drawing, and rows as values."""
    from factory.tables.great.settings import Settings
    from factory.tables.great.synthesizer import Great
    from factory.tables.great.training import read_trained
    from factory.tables.synthesizer import Want

    folder = work / f"timed-ours-{seconds / 60:g}"
    great = Great(Settings(model=str(model), epochs=1000, max_seconds=seconds))
    fitted = great.fit(table, rules, seed=1, folder=folder, say=lambda line: print(f"  {line}", flush=True))
    sampler = great.load(fitted, table.schema, rules, folder)
    began = time.perf_counter()
    drawn = sampler.sample([Want()] * rows, 7, lambda line: None)
    found = [table.schema.row(row) for row in drawn if row is not None]
    return read_trained(folder / "model").steps, time.perf_counter() - began, found


def generators() -> Mapping[str, Any]:
    """All generators that train within minutes on a processor, with their defaults."""
    from factory.tables.gaussian_copula import GaussianCopula
    from factory.tables.row_transformer import RowTransformer
    from factory.tables.row_transformer import Settings as RowSettings
    from factory.tables.tvae import Tvae

    return {"gaussian_copula": GaussianCopula(), "tvae": Tvae(), "row_transformer": RowTransformer(RowSettings())}


def report(sets: Mapping[str, Any], train: Any, test: Sequence[Any], holdout: Sequence[Any], target: str) -> None:
    """Print what the evaluation finds of every set, with intervals of 95 %."""
    from factory.evaluation.tables.compare import compare

    found = compare(sets, train, test, holdout, target=target, seeds=3)
    print("\n".join(f"  note: {note}" for note in found.notes))
    print(f"  {'':20}" + "".join(f"{key:>26}" for key in SHOWN))
    for line in found.lines:
        print(f"  {line.name:20}" + "".join(f"{_shown(line.figures.get(key)):>26}" for key in SHOWN))


def _shown(figure: Any) -> str:
    if figure is None:
        return "-"
    return f"{figure.value:.3f}" + ("" if figure.low is None else f" ({figure.low:.3f} to {figure.high:.3f})")
