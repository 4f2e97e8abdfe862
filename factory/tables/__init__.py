"""Tables: what their columns may hold, and models that learn them and draw rows of which every cell is in domain.

`column` says what one column holds and turns cells into codes and text; `domain` is a set of codes; `schema` puts the
columns together; `rules` keeps relations between cells; `synthesizer` is what every generator of rows looks like.
Nothing here knows of recipes.
"""
