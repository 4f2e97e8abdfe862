"""How good are synthetic tables? Measured against real rows, each figure with a 95 % interval over seeds.

`efficiency` trains models on synthetic rows and tests them on real ones; `detection` asks a classifier which rows are
synthetic; `closeness` and `membership` ask whether training rows show through; `validity` and `dependencies` count what no
row may be; `shapes` compares columns and pairs, which proves little on its own. `compare` puts everything side by side for
several sets, with real rows and shuffled columns as reference lines; `encoding` makes matrices of cells, `scores` makes the
intervals, `metrics` says how to read each figure, `distributions` holds what `page` draws.

Nothing here depends on the order of rows in a file.
"""
