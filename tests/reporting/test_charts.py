"""Drawings show every value: no bar lies outside of the axes."""

from __future__ import annotations

import re

import pytest

from factory.reporting.charts.histogram import histogram
from factory.reporting.charts.shares import bars
from factory.reporting.charts.svg import WIDTH

BAR = re.compile(r'<rect class="kept" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"')


@pytest.mark.parametrize("longest", [9, 24, 30, 200, 1234])
def test_bars_of_whole_numbers_are_equally_wide_and_inside(longest: int) -> None:
    found = [
        (float(x), float(width)) for x, width in BAR.findall(histogram({"kept": [0, longest // 2, longest]}, "words"))
    ]
    assert len(found) == 3
    assert max(width for _, width in found) - min(width for _, width in found) < 0.3
    assert all(x + width <= WIDTH for x, width in found)


def test_names_beside_bars_are_whole_where_there_is_room() -> None:
    drawn = bars([("self_instruct/classification", 2.0), ("judge", 1.0)], title="Tokens")
    assert ">self_instruct/classification<" in drawn
    assert all(float(x) + float(width) <= WIDTH for x, width in BAR.findall(drawn))
