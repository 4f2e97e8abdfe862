"""A variational autoencoder of table rows, after Xu et al. 2019 (arXiv 1907.00503): a baseline.

`features` turns cells into numbers and back, `network` is the autoencoder, `sampling` draws rows, `synthesizer` learns
and loads.
"""

from factory.tables.tvae.synthesizer import Tvae, TvaeSettings

__all__ = ["Tvae", "TvaeSettings"]
