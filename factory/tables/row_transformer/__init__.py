"""A generator of table rows: an any-order transformer over one token for each cell.

`synthesizer` ties the parts together: `binning` makes each column's vocabulary (`bins`, `spans`), `network` is the model,
`training` fits it (`checkpoint` survives a kill), `sampling` draws rows that are in domain and as they are wanted.
"""

from factory.tables.row_transformer.settings import Settings
from factory.tables.row_transformer.synthesizer import RowTransformer

__all__ = ["RowTransformer", "Settings"]
