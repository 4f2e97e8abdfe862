"""Rows through vLLM: valid, as wanted, and those that transformers draws from the same weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factory.errors import UserError
from factory.tables.column import Column
from factory.tables.domain import Domain, just
from factory.tables.great.base import load_trained
from factory.tables.great.sampling import TransformersSampler
from factory.tables.great.training import train
from factory.tables.rules import Known, Rules
from factory.tables.schema import Schema, table_of
from factory.tables.synthesizer import Want

pytestmark = pytest.mark.engine
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SCHEMA = Schema(
    (
        Column(name="start", kind="date", low=19_000, high=19_400),
        Column(name="end", kind="date", low=19_000, high=19_400),
        Column(name="price", kind="decimal", places=2, low=-500, high=129_999),
        Column(name="kind", kind="category", categories=("a", "b, c", "d"), nullable=True),
        Column(name="note", kind="text", nullable=True),
    )
)


class InOrder:
    """start <= end."""

    shown = "start <= end"
    columns = ("start", "end")

    def narrow(self, column: str, known: Known, domains: Any) -> Domain:
        other = known.get("end" if column == "start" else "start")
        if not isinstance(other, int):
            return Domain(((0, 10**6),))
        return Domain(((0, other),)) if column == "start" else Domain(((other, 10**6),))

    def broken(self, cells: Known) -> bool:
        return cells["start"] > cells["end"]  # type: ignore[operator]


RULES = Rules(SCHEMA, [InOrder()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that has hardly learnt anything, so that validity is the sampler's doing."""
    from factory.tables.great.settings import Scratch, Settings

    rows = [
        {"start": "2022-02-01", "end": "2022-03-01", "price": 1.5, "kind": "a", "note": f"so {at}"} for at in range(40)
    ]
    sizes = Scratch(vocabulary=400, hidden=64, layers=2, heads=2, context=256)
    settings = Settings(scratch=sizes, max_steps=2)
    place = tmp_path_factory.mktemp("great")
    return train(table_of(SCHEMA, rows), settings, seed=1, folder=place, say=lambda text: None)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def sampler(folder: Path, tokenizer: Any) -> Iterator[Any]:
    pytest.importorskip("vllm")
    from factory.tables.great.vllm_sampling import VllmSampler

    made = VllmSampler(
        folder, tokenizer, SCHEMA, RULES, dtype="float32", max_text_tokens=8, options={"kv_cache_memory_bytes": 2**26}
    )
    yield made
    made.close()


def test_rows_are_valid_and_those_of_transformers(sampler: Any, folder: Path, tokenizer: Any) -> None:
    wants = [Want()] * 200
    rows = sampler.sample(wants, 3, lambda text: None)
    assert all(row is not None and RULES.broken(row) is None and list(row) == SCHEMA.names for row in rows)
    assert len({str(row) for row in rows}) > 190
    other = TransformersSampler(load_trained(folder, merge=True), tokenizer, SCHEMA, RULES, max_text_tokens=8)
    same = sum(one == two for one, two in zip(rows, other.sample(wants, 3, lambda text: None), strict=True))
    assert same >= 190  # rounding may turn a draw


def test_what_is_wanted_is_so(sampler: Any) -> None:
    wanted = {"kind": just(1), "price": Domain(((100, 120),)), "note": just("it's, so")}
    rows = sampler.sample([Want(wanted), Want({"start": just(19_400)}), Want({"kind": just(None)})] * 20, 5, print)
    for at, row in enumerate(rows):
        assert RULES.broken(row) is None
        if at % 3 == 0:
            assert row["kind"] == 1 and 100 <= row["price"] <= 120 and row["note"] == "it's, so"
        elif at % 3 == 1:
            assert row["start"] == row["end"] == 19_400
        else:
            assert row["kind"] is None


def test_a_row_depends_on_its_number_and_the_seed_alone(sampler: Any) -> None:
    rows = sampler.sample([Want()] * 70, 9, print)
    assert sampler.sample([Want()] * 5, 9, print) == rows[:5]
    assert sampler.sample([Want()] * 5, 10, print) != rows[:5]


def test_what_cannot_be_is_given_up(sampler: Any) -> None:
    impossible = Want({"start": just(19_300), "end": just(19_200)})
    rows = sampler.sample([impossible, Want()], 1, print)
    assert rows[0] is None and rows[1] is not None


def test_who_ends_it_leaves_the_sampler_usable(sampler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.tables.great.drafts._SAY_EVERY_S", 0.0)
    expected = sampler.sample([Want()] * 30, 2, lambda text: None)

    def impatient(text: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sampler.sample([Want()] * 30, 2, impatient)
    assert sampler.sample([Want()] * 30, 2, lambda text: None) == expected


def test_cells_that_are_all_given_need_no_model(sampler: Any) -> None:
    cells = {"start": 19_001, "end": 19_002, "price": -1, "kind": None, "note": ""}
    assert sampler.sample([Want({name: just(cell) for name, cell in cells.items()})], 1, print) == [cells]


def test_a_context_that_is_too_short_is_the_users_error(folder: Path, tokenizer: Any) -> None:
    from factory.tables.great.vllm_sampling import VllmSampler

    with pytest.raises(UserError, match="and the model reads at most 256; lower max_text_tokens"):
        VllmSampler(folder, tokenizer, SCHEMA, RULES, max_text_tokens=256)


def test_no_temperature_is_the_users_error(folder: Path, tokenizer: Any) -> None:
    from factory.tables.great.vllm_sampling import VllmSampler

    with pytest.raises(UserError, match="expected a number above 0"):
        VllmSampler(folder, tokenizer, SCHEMA, RULES, temperature=0.0)
