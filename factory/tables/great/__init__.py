"""GReaT (Borisov et al., 2210.06280): a language model learns rows as sentences, and draws only what the columns allow.

Sentences: `writing` turns a row into a sentence and back, `pieces` a sentence into tokens, `codec` does both.
Learning: `settings`, the model to start from (`base`), column orders (`orders`), what a step reads (`batches`), its
gradient (`gradients`), `checkpoints`, and `training`, which puts them together.
Drawing: `automata` says which tokens may follow within a cell, `drafts` within a row; `sampling` draws rows from a model
of transformers, `vllm_sampling` with vLLM. `synthesizer` is the whole as a generator of rows.
"""
