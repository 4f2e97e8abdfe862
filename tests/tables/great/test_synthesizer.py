"""From a table to rows: what is learnt shows in what is drawn, and the bytes are all that is needed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from factory.errors import UserError
from factory.tables.domain import just
from factory.tables.great import synthesizer
from factory.tables.great.settings import Scratch, Settings
from factory.tables.great.synthesizer import Drawing, Great
from factory.tables.rules import Rules
from factory.tables.schema import Cells
from factory.tables.synthesizer import Sampler, Want

from .small_tables import QUICK, SCHEMA, small_table

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

RULES = Rules(SCHEMA)
NAMES = {"x", "y", "n"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def silent(text: str) -> None:
    """Nobody listens."""


def fit(great: Great, folder: Path | None) -> bytes:
    return great.fit(small_table(), RULES, seed=1, folder=folder, say=silent)


def rows_of(sampler: Sampler, *wants: Want) -> list[Cells | None]:
    return sampler.sample(wants, seed=7, say=silent)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    folder = tmp_path_factory.mktemp("great")
    return fit(Great(QUICK), folder), folder


def test_a_strong_dependency_is_learnt(tmp_path: Path) -> None:
    sizes = Scratch(vocabulary=320, hidden=64, layers=2, heads=4, context=64)
    settings = Settings(scratch=sizes, rows=8, epochs=25, learning_rate=4e-3, order="determining", patience=100)
    great = Great(settings)
    sampler = great.load(fit(great, tmp_path), SCHEMA, RULES, tmp_path)
    drawn = rows_of(sampler, *[Want()] * 300)
    assert sum(row is not None and row["x"] == row["y"] for row in drawn) >= 0.95 * 300
    assert all(row is not None and set(row) == NAMES and RULES.broken(row) is None for row in drawn)


def test_the_bytes_are_enough(trained: tuple[bytes, Path], tmp_path: Path) -> None:
    model, folder = trained
    great = Great(QUICK)
    expected = rows_of(great.load(model, SCHEMA, RULES, folder), *[Want()] * 20)
    assert rows_of(great.load(model, SCHEMA, RULES, None), *[Want()] * 20) == expected
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"damaged")
    assert rows_of(great.load(model, SCHEMA, RULES, tmp_path), *[Want()] * 20) == expected


def test_without_a_folder_the_same_bytes_come_out(trained: tuple[bytes, Path]) -> None:
    assert fit(Great(QUICK), None) == trained[0]


def test_what_is_wanted_is_so(trained: tuple[bytes, Path]) -> None:
    sampler = Great(QUICK).load(*trained[:1], SCHEMA, RULES, trained[1])
    wants = [Want({"y": just(at % 6), "n": just(None)}) for at in range(30)]
    drawn = rows_of(sampler, *wants)
    assert [(row["y"], row["n"]) if row else None for row in drawn] == [(at % 6, None) for at in range(30)]


def test_adapters_need_their_base(trained: tuple[bytes, Path], tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(trained[1] / "model", base)
    great = Great(Settings(model=str(base), rank=4, rows=16, epochs=1))
    model = fit(great, tmp_path / "run")
    assert len(model) < len(trained[0])
    sampler = great.load(model, SCHEMA, RULES, None)
    assert None not in rows_of(sampler, Want(), Want())
    (base / "config.json").write_text((base / "config.json").read_text() + "\n")
    with pytest.raises(UserError, match="is not the one that was fine-tuned"):
        great.load(model, SCHEMA, RULES, None)


def test_what_is_too_large_for_the_journal_stays_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesizer, "MOST_BYTES", 1000)
    great = Great(QUICK)
    model = fit(great, tmp_path)
    assert len(model) < 2000
    assert None not in rows_of(great.load(model, SCHEMA, RULES, tmp_path), Want())
    (tmp_path / "model" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="is gone or has changed"):
        great.load(model, SCHEMA, RULES, tmp_path)
    with pytest.raises(UserError, match="there is no folder to keep it in"):
        fit(great, None)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rows": 0}, r"great\.rows: 0 is out of range; expected 1 or more"),
        ({"holdout": 1.0}, r"great\.holdout: 1\.0 is out of range"),
        ({"scratch": {"hidden": 50, "heads": 4}}, r"the heads divide"),
    ],
)
def test_settings_out_of_range_are_the_users_error(changes: dict[str, Any], found: str) -> None:
    with pytest.raises((UserError, msgspec.ValidationError), match=found):
        msgspec.convert(changes, Settings)


def test_the_rate_rises_and_falls() -> None:
    settings = Settings(learning_rate=1.0, warmup=0.1)
    rates = [settings.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([at / 10 for at in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
    assert Drawing().temperature == 1.0
