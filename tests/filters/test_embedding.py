"""Embeddings as a filter, with the real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory.errors import OptionError
from factory.filters import embedding
from factory.filters.embedding import Options
from factory.novelty.encoder import missing

from .sifting import holds_for_batches, kept, verdicts

needs_model = pytest.mark.skipif(
    missing("embedded") is not None, reason="the embedded model of meaning is not installed"
)
TASKS = [
    "Name three rivers.",
    None,
    "How do I bake bread?",
    "List three rivers.",
    "",
    "Name three rivers!",
    "Bake bread how?",
]
ROWS: list[dict[str, Any]] = [{"instruction": text} for text in TASKS]


@needs_model
@pytest.mark.engine
def test_what_means_the_same_is_rejected_with_its_nearest_neighbour() -> None:
    found = verdicts(embedding, ROWS)
    assert [verdict is None for verdict in found] == [True, True, True, False, True, False, False]
    verdict = found[3]
    assert verdict is not None
    assert (verdict.rule, verdict.reason, verdict.threshold) == ("embedding", "too_similar", 0.9)
    assert verdict.score == pytest.approx(0.928, abs=0.002)
    assert verdict.score == round(verdict.score, 3)
    assert verdict.evidence == "Name three rivers."
    assert kept(embedding, ROWS, threshold=1.0) == list(range(7))


@needs_model
@pytest.mark.engine
def test_batches_and_a_resumed_run_change_no_verdict() -> None:
    rows = [*ROWS, *({"instruction": f"{verb} {n} rivers."} for verb in ("Name", "List") for n in range(4)), *ROWS]
    sift = embedding.sift(Options(), Path())

    class Fresh:
        """The filter with an empty pool; the model is loaded once."""

        def __new__(cls) -> Any:
            made = embedding.sift(Options(), Path())
            made._pool._encoder = sift._pool._encoder  # type: ignore[attr-defined]
            return made

    for at, sizes in ((3, [1, 2, 5]), (9, [4, 4, 4])):
        holds_for_batches(Fresh, rows, sizes, at)


def test_a_model_or_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = embedding.check(Options(model=str(tmp_path)), tmp_path)[0]
    assert isinstance(found, OptionError)
    assert found.option == "model"
    with pytest.raises(OptionError, match="did you mean 'text'"):
        embedding.columns(Options(field="txt"), Path(), {"text"})
