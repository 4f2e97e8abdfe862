"""Learning a Gaussian copula, and its bytes.

GaussianCopula().fit(table, rules, seed=1, folder=None, say=print)  -> b'{"columns": [...], "correlation": [...]}'

Each cell becomes the interval of its column's observed distribution, and of the normal curve (Nelsen 2006, An
Introduction to Copulas, section 2.3, for ties); correlations of the scores in these intervals tie the columns. The bytes
are JSON: codes with their frequencies, whole numbers of any size, and the correlations.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np

from factory.tables.gaussian_copula.correlation import estimate
from factory.tables.gaussian_copula.margin import Margin
from factory.tables.gaussian_copula.normal import scores
from factory.tables.gaussian_copula.sampling import CopulaSampler
from factory.tables.learnable import check
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Say


class CopulaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the copula.

    Attributes:
        sweeps: How often the scores are drawn anew while the correlations are learnt.
        rows: Most rows that the correlations are learnt from, taken at random; the columns are learnt from all.
    """

    sweeps: int = 30
    rows: int = 20_000


class GaussianCopula:
    """Learns a table as a Gaussian copula; see `factory.tables.synthesizer.Synthesizer`."""

    def __init__(self, settings: CopulaSettings | None = None) -> None:
        """Learn with these settings."""
        self._settings = settings or CopulaSettings()

    def fit(self, table: Table, rules: Rules, *, seed: int, folder: Path | None, say: Say) -> bytes:
        """Learn the table.

        Raises:
            UserError: If the table has no rows, or a column of free text.
        """
        check(table, "gaussian_copula")
        rng = np.random.default_rng(seed)
        margins = [Margin.of(column, table.cells[column.name]) for column in table.schema.learned]
        taken = range(table.rows)
        if table.rows > self._settings.rows:
            taken = sorted(rng.choice(table.rows, self._settings.rows, replace=False).tolist())  # type: ignore[assignment]
        low, high = np.zeros((2, len(taken), len(margins)))
        for place, margin in enumerate(margins):
            cells = table.cells[margin.column.name]
            low[:, place], high[:, place] = margin.pieces([cells[row] for row in taken])
        correlation = np.eye(len(margins))
        for found in estimate(scores(low), scores(high), self._settings.sweeps, rng):
            correlation = found
            say("correlations are learnt")
        columns = [
            {"codes": list(margin.counts), "counts": list(margin.counts.values()), "missing": margin.missing}
            for margin in margins
        ]
        return json.dumps({"columns": columns, "correlation": correlation.tolist()}).encode()

    def load(self, model: bytes, schema: Schema, rules: Rules, folder: Path | None) -> CopulaSampler:
        """A sampler of what `fit` has returned."""
        read = json.loads(model)
        margins = [
            Margin(column, dict(zip(learnt["codes"], learnt["counts"], strict=True)), learnt["missing"])
            for column, learnt in zip(schema.learned, read["columns"], strict=True)
        ]
        size = len(margins)
        return CopulaSampler(margins, np.array(read["correlation"], dtype=np.float64).reshape(size, size), rules)
