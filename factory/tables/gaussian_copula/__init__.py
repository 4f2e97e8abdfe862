"""A Gaussian copula: every column by its own distribution, tied together by correlations of normal scores.

`margin` is one column, `correlation` what ties the columns, `sampling` draws rows, `synthesizer` learns and loads.
It learns in seconds, and knows of nothing but pairs of columns that rise or fall together: a baseline.
"""

from factory.tables.gaussian_copula.synthesizer import CopulaSettings, GaussianCopula

__all__ = ["CopulaSettings", "GaussianCopula"]
