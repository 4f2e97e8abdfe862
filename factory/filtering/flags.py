"""The flags of `factory filter`, which are short forms of `--filter`.

`--exact --rouge-l 0.7` becomes `exact: {}` and `rouge_l: {threshold: 0.7}`, in the order of the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factory.filtering.steps import Asked

# Filter that a flag names, and the option that takes its value; None for a flag without one.
FLAGS: dict[str, tuple[str, str | None]] = {
    "exact": ("exact", None),
    "quality": ("quality", None),
    "decontaminate": ("decontaminate", "against"),
    "rouge_l": ("rouge_l", "threshold"),
    "minhash": ("minhash", "threshold"),
    "embedding": ("embedding", "threshold"),
}
GENERAL = "filters"  # parameter of `--filter`


def in_order(order: Sequence[str], values: Mapping[str, Any], general: Sequence[str]) -> list[str | Asked]:
    """The filters of a command line.

    Args:
        order: Names of its parameters, one for each time that one was given.
        values: Values of the flags above, by parameter.
        general: Values of `--filter`.
    """
    written, found = iter(general), list[str | Asked]()
    for index, name in enumerate(order):
        if name == GENERAL:
            found.append(next(written))
        elif name in FLAGS and name not in order[:index]:
            found.append(_asked(name, values[name]))
    return found


def _asked(name: str, value: Any) -> Asked:
    kind, option = FLAGS[name]
    options = {} if option is None else {option: tuple(value) if isinstance(value, list) else value}
    return Asked(f"--{name.replace('_', '-')}", kind, options)
