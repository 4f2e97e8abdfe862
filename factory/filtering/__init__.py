"""Filters on files, without a recipe and without a model: what `factory filter` does."""
