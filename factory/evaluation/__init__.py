"""How good are synthetic texts? Measured against real ones, each figure with a 95 % interval.

`believability` asks a discriminator that has seen nothing of a text's source whether the text is real; `downstream`
trains a classifier on the synthetic texts and tests it on real ones; `diversity` looks for repetition, `drift` for
other lengths and words than the real texts have, `leakage` for texts that are on both sides of a test. `bootstrap`
makes the intervals, `compare` puts everything side by side for several sets of synthetic texts. Where the real texts may
not be shown, `public` does so on a public test set alone, and `private` tells their owner what they say.

Nothing here depends on the order of texts in a file: samples are drawn by hashes of ids, seeds come from the data.
"""
