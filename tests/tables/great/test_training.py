"""Fine-tuning: what is learnt, when it ends, and that a kill changes nothing."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from factory.errors import UserError
from factory.tables.column import Column
from factory.tables.great import training
from factory.tables.great.settings import Settings
from factory.tables.great.training import read_trained, train
from factory.tables.schema import Schema, Table, table_of

from .small_tables import QUICK, TINY, small_table

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a folder, to fine-tune."""
    return train(small_table(), QUICK, seed=1, folder=tmp_path_factory.mktemp("base"), say=lambda text: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def replaced(settings: Settings, **changes: Any) -> Settings:
    return msgspec.structs.replace(settings, **changes)


def fit(table: Table, settings: Settings, folder: Path, seed: int = 1) -> Path:
    return train(table, settings, seed=seed, folder=folder, say=lambda text: None)


@pytest.mark.parametrize("rank", [4, None])
def test_adapters_and_all_weights_train_and_load_anywhere(base: Path, tmp_path: Path, rank: int | None) -> None:
    settings = Settings(model=str(base), rank=rank, rows=16, epochs=1, holdout=0.0)
    folder = fit(small_table(), settings, tmp_path)
    if rank:
        peft = pytest.importorskip("peft")
        model = peft.AutoPeftModelForCausalLM.from_pretrained(folder)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert transformers.AutoTokenizer.from_pretrained(folder).eos_token_id == 0
    known = read_trained(folder)
    assert (known.ended, known.steps, known.best_step) == ("all steps done", 13, None)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0
    assert (folder / "adapter_config.json").exists() == bool(rank)


def test_the_frozen_base_stays_as_it_is(base: Path, tmp_path: Path) -> None:
    before = contents(base)
    fit(small_table(), Settings(model=str(base), rank=4, rows=16, epochs=1), tmp_path)
    assert contents(base) == before


@pytest.mark.parametrize("rank", [4, None])
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    base: Path, tmp_path: Path, rank: int | None
) -> None:
    settings = Settings(model=str(base), rank=rank, rows=16, epochs=1, dropout=0.1)
    first, again, other = (
        fit(small_table(), settings, tmp_path / name, seed) for name, seed in zip("abc", (5, 5, 6), strict=True)
    )
    assert contents(first) == contents(again)
    assert contents(first) != contents(other)


def test_global_randomness_is_neither_used_nor_touched(base: Path, tmp_path: Path) -> None:
    settings = Settings(model=str(base), rank=4, rows=16, epochs=1, dropout=0.1)
    torch.manual_seed(1)
    first = fit(small_table(), settings, tmp_path / "a")
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == after
    assert contents(first) == contents(fit(small_table(), settings, tmp_path / "b"))


def test_killed_at_any_moment_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = run_driver(tmp_path / "whole", 1e9)
    whole.communicate(timeout=120)
    assert whole.returncode == 0
    draw = random.Random(4)
    kills = 0
    for _ in range(3):
        process = run_driver(tmp_path / "killed", 0.0, 0.02)
        assert process.stdout is not None
        for _ in range(draw.randrange(4, 24)):
            process.stdout.readline()
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2
    last = run_driver(tmp_path / "killed", 0.0)
    said, _ = last.communicate(timeout=120)
    assert last.returncode == 0
    assert "step 1 of" not in said, "it began anew"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def run_driver(folder: Path, checkpoint_s: float, step_s: float = 0.0) -> "subprocess.Popen[str]":
    command = [sys.executable, str(HERE / "train_driver.py"), str(folder), str(checkpoint_s), str(step_s)]
    paths = os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("rank", [None, 4])
def test_who_says_nobody_waits_ends_it_and_it_goes_on_later(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int | None
) -> None:
    monkeypatch.setattr(training, "SAY_S", 0.0)
    heard = []

    def say(text: str) -> None:
        heard.append(text)
        if len(heard) == 6:
            raise InterruptedError

    settings = replaced(QUICK, checkpoint_s=0.0, evaluate_every=4)
    if rank:
        settings = replaced(settings, model=str(base), rank=rank, dropout=0.1)
    with pytest.raises(InterruptedError):
        train(small_table(), settings, seed=1, folder=tmp_path / "a", say=say)
    train(small_table(), settings, seed=1, folder=tmp_path / "a", say=heard.append)
    assert "step 1 of" in heard[1] and not any("step 1 of" in text for text in heard[6:])
    assert contents(tmp_path / "a" / "model") == contents(fit(small_table(), settings, tmp_path / "b"))


def test_a_trained_model_is_not_trained_again_and_another_table_is(tmp_path: Path) -> None:
    heard: list[str] = []
    fit(small_table(), QUICK, tmp_path)
    train(small_table(), QUICK, seed=1, folder=tmp_path, say=heard.append)
    assert heard == []
    before = read_trained(tmp_path / "model").fingerprint
    train(small_table(seed=2), QUICK, seed=1, folder=tmp_path, say=heard.append)
    assert heard and read_trained(tmp_path / "model").fingerprint != before


def test_checkpoints_of_another_training_are_not_taken_up(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        train(small_table(), replaced(QUICK, checkpoint_s=0.0), seed=9, folder=tmp_path / "a", say=impatient)
    assert list((tmp_path / "a").glob("step-*"))
    assert contents(fit(small_table(), QUICK, tmp_path / "a")) == contents(fit(small_table(), QUICK, tmp_path / "b"))
    assert not list((tmp_path / "a").glob("step-*"))


def impatient(text: str) -> None:
    if text.startswith("training: step"):
        raise InterruptedError


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    settings = replaced(QUICK, epochs=60, patience=2, learning_rate=2e-2, holdout=0.3, schedule="constant", warmup=0.0)
    folder = fit(small_table(60), settings, tmp_path)
    known = read_trained(folder)
    assert known.ended == "no better on held-out rows"
    losses = {step: held_out for step, _, held_out in known.curve}
    assert known.best_step is not None and losses[known.best_step] == min(losses.values())  # type: ignore[type-var]
    assert known.steps == known.curve[-1][0] > known.best_step
    shorter = replaced(settings, max_steps=known.best_step)
    weights = (fit(small_table(60), shorter, tmp_path / "shorter") / "model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == weights


def test_a_time_limit_ends_it_and_lets_the_rate_fall(tmp_path: Path) -> None:
    folder = fit(small_table(), replaced(QUICK, epochs=100_000, max_seconds=3.0, patience=10**9), tmp_path)
    known = read_trained(folder)
    assert known.ended in ("all steps done", "time limit")
    assert 3 <= known.steps < 100_000


def test_where_time_ran_out_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replaced(QUICK, epochs=100_000, max_seconds=0.5, patience=10**9)
    whole = fit(small_table(), settings, tmp_path / "a")
    steps = read_trained(whole).steps

    def killed(*_: Any) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(training, "_write", killed)
        fit(small_table(), settings, tmp_path / "b")
    kept = max(int(place.name[5:]) for place in (tmp_path / "b").glob("step-*"))
    assert read_trained(fit(small_table(), settings, tmp_path / "b")).steps == kept
    assert steps >= 3


def test_a_row_that_the_model_cannot_read_is_the_users_error(tmp_path: Path) -> None:
    settings = replaced(QUICK, scratch=msgspec.structs.replace(TINY, context=8))
    with pytest.raises(UserError, match=r"takes up to \d+ tokens in 3 columns, and the model reads at most 8"):
        fit(small_table(), settings, tmp_path)


def test_a_folder_without_a_model_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        fit(small_table(), Settings(model=str(tmp_path)), tmp_path / "out")


def test_a_table_without_rows_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no rows"):
        fit(small_table(0), QUICK, tmp_path)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("x"), RuntimeError("[enforce] can't allocate memory: 9")])
def test_too_little_memory_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*_: Any) -> float:
        raise error

    monkeypatch.setattr(training.Gradients, "learn", full)
    with pytest.raises(UserError, match=r"lower great\.rows"):
        fit(small_table(), QUICK, tmp_path)


def test_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAY_S", 0.0)
    heard: list[str] = []
    train(small_table(), QUICK, seed=1, folder=tmp_path, say=heard.append)
    assert heard[0] == "training: the model is being loaded"
    assert heard[1].startswith("training: step 1 of 24, loss ")
    assert all(word in heard[-1] for word in ("step 24 of 24", "held-out", "rows/s", "ended: all steps done"))


def test_the_context_from_scratch_is_as_long_as_needed(tmp_path: Path) -> None:
    note = Column(name="note", kind="text")
    table = table_of(Schema((note,)), [{"note": "abc"}, {"note": "some more"}])
    sizes = msgspec.structs.replace(TINY, context=None)
    settings = replaced(QUICK, scratch=sizes, max_steps=1)
    made = {}
    for tokens in (0, 1000, 1500):
        place = train(table, settings, seed=1, folder=tmp_path, say=lambda text: None, max_text_tokens=tokens)
        made[tokens] = json.loads((place / "config.json").read_text())["max_position_embeddings"]
    assert made == {0: 1024, 1000: 1024, 1500: 2048}
