"""Recipes: strict YAML in, typed steps out, every error at once."""

from factory.recipe.identity import difference, fingerprint, model_identity
from factory.recipe.load import Recipe, load_recipe
from factory.recipe.step import Step

__all__ = ["Recipe", "Step", "difference", "fingerprint", "load_recipe", "model_identity"]
