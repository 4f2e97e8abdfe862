"""GReaT (Borisov et al., 2210.06280): a language model learns rows as sentences, and draws only what the columns allow.

`writing` turns a row into a sentence and back, `pieces` a sentence into tokens, `codec` does both, `automata` says
which tokens may follow within a cell, `sampling` draws rows from a model of transformers.
"""
