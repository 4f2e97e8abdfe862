"""Differential privacy: accounting, secure randomness, the ledger, claims, and what learns under them.

Nothing here knows of recipes. `accounting` says what noise costs, `randomness` draws it from the operating system,
`ledger` remembers beside the private file what was spent on it, `claim` is what a dataset may say of itself.
"""
