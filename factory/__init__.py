"""Dataset factory: recipes in, datasets out.

>>> import factory
>>> result = factory.run("recipes/quickstart.yaml", out="runs/quickstart")  # doctest: +SKIP
>>> result.rows, result.status  # doctest: +SKIP
(31, 'complete')

What the command line does, these functions do: `init`, `check`, `plan`, `run`, `refilter`, `filter`,
`show`, `why`, `view`, `ls`, `export`, `report`, `evaluate`, `audit`, `push`. Nothing heavy is imported before one of
them needs it.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "run": "factory.runner",
    "RunResult": "factory.runner",
    "plan": "factory.planner",
    "refilter": "factory.refiltering",
    "RefilterResult": "factory.refiltering",
    "check": "factory.recipe.load",
    "load_recipe": "factory.recipe.load",
    "show": "factory.inspection",
    "why": "factory.inspection",
    "view": "factory.viewing.view",
    "export": "factory.exporting",
    "report": "factory.reporting",
    "Report": "factory.reporting",
    "evaluate": "factory.evaluating",
    "Evaluation": "factory.evaluating",
    "evaluate_public": "factory.public_evaluating",
    "audit": "factory.auditing",
    "AuditReport": "factory.auditing",
    "filter": "factory.filtering.run",
    "FilterResult": "factory.filtering.run",
    "push": "factory.hub.pushing",
    "Pushed": "factory.hub.pushing",
    "init": "factory.catalogue",
    "ls": "factory.catalogue",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'factory' has no attribute '{name}'; is 'factory_boy' what you wanted?")
