"""Columns that an option names must be among those that come in.

`require("field", "instrction", {"instruction"})` raises an `OptionError` whose sentence is "no column 'instrction' (did
you mean 'instruction'?); the rows have instruction.", shown at the option's place in the recipe.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from factory.errors import OptionError
from factory.recipe.suggest import did_you_mean

Column = Annotated[str, Field(min_length=1)]
Columns = Column | Annotated[list[Column], Field(min_length=1)]


def listed(columns: Columns) -> list[str]:
    """What an option names that takes one column or several, as a list.

    >>> listed("text"), listed(["question", "answer"])
    (['text'], ['question', 'answer'])
    """
    return [columns] if isinstance(columns, str) else columns


def require(option: str, name: str | None, incoming: set[str] | None) -> None:
    """Check one column; nothing is checked where the columns are not known or the option names none.

    Raises:
        OptionError: If the rows have no such column.
    """
    if incoming is not None and name is not None and name not in incoming:
        hint = did_you_mean(name, incoming)
        raise OptionError(option, f"no column '{name}'{hint}; the rows have {', '.join(sorted(incoming))}.")
