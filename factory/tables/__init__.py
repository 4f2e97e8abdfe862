"""Tables: what their columns may hold, and models that learn them and draw rows of which every cell is in domain.

`column` says what one column holds and turns cells into codes and text, with `dates` and `numbers`; `domain` is a set of
codes; `schema` puts the columns together. `inferring` tells a schema from rows (`gathering`, `recognising`, `correcting`
are its parts) and `describing` puts it in words. `rules` keeps relations between cells: `relations` reads them, and
`chains`, `sums` and `dependencies` are the kinds there are. `conditions` turns what a recipe asks of columns into domains,
`identifiers` makes up new ones, and `synthesizer` is what every generator of rows looks like. Nothing here knows of
recipes.
"""
