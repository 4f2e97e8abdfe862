"""The novelty curve and its forecast, on series whose end is known."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from factory.reporting.gather.curve import FEWEST, check, curve, forecast, why_no_forecast
from factory.reporting.gather.novelty import nearest
from factory.reporting.gather.run import Run

from .made import manifest_of


def series(made: int, power: float, seed: int) -> list[int]:
    """Kept or not, where the share that is kept falls as a power of how many were made."""
    draw = random.Random(seed)
    return [int(draw.random() < 0.9 * (1 + at / 50) ** power) for at in range(made)]


@pytest.mark.parametrize("power", [0.0, -0.2, -0.4])
def test_a_forecast_from_half_of_a_series_holds_for_the_other_half(power: float) -> None:
    held = bent = 0
    for seed in range(20):
        whole = series(2000, power, seed)
        seen = forecast(whole[:1000])
        held += seen.low <= sum(whole) <= seen.high
        bent += seen.expected < 2 * sum(whole[:1000])
        assert abs(seen.expected - sum(whole)) < 0.15 * sum(whole)
    assert held >= 17  # of 20, at 95 %: 16 or fewer would happen once in 400 times
    assert power == 0.0 or bent == 20


def test_the_check_forecasts_the_last_fifth_from_the_rest() -> None:
    found = check(series(1000, -0.3, 1))
    assert found is not None
    assert (found.of, found.came) == (200, sum(series(1000, -0.3, 1)[800:]))
    assert found.held
    sudden = check([1] * 790 + [0] * 10 + [0] * 200)  # nothing is new any more, which nothing had told of
    assert sudden is not None
    assert not sudden.held


def test_uneven_runs_have_wider_intervals() -> None:
    even = [int(at % 2 == 0) for at in range(1000)]
    uneven = [int(at // 50 % 2 == 0) for at in range(1000)]
    narrow, wide = forecast(even), forecast(uneven)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_too_few_or_too_plain_is_no_forecast() -> None:
    assert "fewer than 100" in why_no_forecast([0, 1] * (FEWEST // 2 - 1))
    assert "turned away" in why_no_forecast([1] * 200)
    assert "kept" in why_no_forecast([0] * 200)
    assert why_no_forecast([0, 1] * 60) == ""


def test_an_instruction_counts_once_whatever_its_instances(runs: dict[str, Path]) -> None:
    run = Run(runs["self_instruct"], manifest_of(runs["self_instruct"]))
    found = curve(run)
    assert found is not None
    assert found.unit == "instructions"
    assert sum(found.kept) == len({row.fields["instruction_id"] for row in run.kept})
    judged = {row.parents[0] if row.rule == "instance" and len(row.parents) == 1 else row.id for row in run.rejected}
    assert sum(found.kept) < len(found.kept) <= sum(found.kept) + len(judged)


def test_scores_of_kept_rows_stay_at_or_below_the_threshold_and_rejected_ones_above(runs: dict[str, Path]) -> None:
    for kind, threshold in (("self_instruct", 0.7), ("filters", 0.6)):
        (found,) = nearest(Run(runs[kind], manifest_of(runs[kind])))
        assert found.threshold == threshold
        assert found.kept and max(found.kept) <= threshold
        assert found.rejected and min(found.rejected) > threshold
        assert found.closest[0].score == max(found.kept)


def test_scores_of_some_stand_for_all(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nearest(Run(runs["filters"], manifest_of(runs["filters"])))[0]
    monkeypatch.setattr("factory.reporting.gather.novelty.MOST_ASKED", 15)
    (some,) = nearest(Run(runs["filters"], manifest_of(runs["filters"])))
    assert 3 <= len(some.kept) < len(whole.kept)
    assert set(some.kept) <= set(whole.kept)
    assert some.passing(1.0) == whole.passing(1.0) == len(whole.kept) + len(whole.rejected)
    assert f"{len(some.kept):,} of" in some.told


def test_scores_of_a_filter_are_those_that_it_compared(runs: dict[str, Path]) -> None:
    from rapidfuzz.distance import LCSseq

    run = Run(runs["filters"], manifest_of(runs["filters"]))
    (found,) = nearest(run)
    texts = [row.fields["summary"].split() for row in run.kept]

    def score(one: list[str], other: list[str]) -> float:
        return 2 * LCSseq.similarity(one, other) / (len(one) + len(other))

    assert len(found.kept) == len(texts) - 1
    for at, value in enumerate(found.kept, 1):
        assert value == pytest.approx(max(score(texts[at], before) for before in texts[:at]))
