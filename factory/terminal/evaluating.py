"""What `factory evaluate` does with its flags: which evaluation is asked for, and where it is written.

texts(Given(["runs/eps8"], test="tickets_test.csv"), {"text": "text", …}, {})  ->  "utility at equal size: …"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from factory.errors import UserError
from factory.table_evaluating import holds_tables

__all__ = ["Given", "holds_tables", "tables", "texts"]

DEFAULTS = {"text": "text", "draws": 5, "resamples": 1000, "seeds": 3}


class Given(NamedTuple):
    """Flags of texts and tables alike."""

    sources: list[str]
    real: str | None = None
    test: str | None = None
    private: str | None = None
    by: str | None = None
    out: Path | None = None
    page: Path | None = None


def texts(given: Given, of_texts: Mapping[str, Any], of_tables: Mapping[str, Any]) -> str:
    """The text to print; the file is written.

    Raises:
        UserError: If flags do not go together, or texts cannot be measured.
    """
    _only_for("tables (name --target, or say --table)", {**of_tables, "page": given.page})
    settings = {**of_texts, "values": dict(_pair(each) for each in of_texts["values"]), "by": given.by}
    if given.real is None:
        return _on_public_texts(given, settings)
    _only_for("--test without --real", {"private": given.private})
    return _beside_real_texts(given, given.real, settings)


def _beside_real_texts(given: Given, real: str, settings: Mapping[str, Any]) -> str:
    from factory.evaluating import evaluate, write
    from factory.terminal.evaluations import evaluation_text

    is_private = _checked_out(given)
    result = evaluate(given.sources, real, test=given.test, **settings)
    if given.out is not None:
        write(result, given.out, private=is_private)
    return evaluation_text(result)


def _on_public_texts(given: Given, settings: Mapping[str, Any]) -> str:
    from factory.evaluating import write
    from factory.public_evaluating import evaluate_public
    from factory.terminal.public_evaluations import public_evaluation_text

    if given.test is None:
        raise UserError("evaluate: expected --real FILE, or --test FILE alone: public texts to test on.")
    is_private = _checked_out(given)
    result = evaluate_public(given.sources, given.test, private=given.private, **settings)
    if given.out is not None:
        write(result, given.out, private=is_private)
    return public_evaluation_text(result)


def _checked_out(given: Given) -> bool:
    """Whether the figures are private; the place to write them to is one where they may lie."""
    from factory.evaluating import check_out
    from factory.public_evaluating import check_private_out
    from factory.text_sets import unprotected

    is_private = given.private is not None or bool(unprotected(given.sources))
    if given.out is not None and is_private:
        check_private_out(given.out, given.sources)
    elif given.out is not None:
        check_out(given.out)
    return is_private


def tables(given: Given, of_tables: Mapping[str, Any], of_texts: Mapping[str, Any], say: Callable[[str], None]) -> str:
    """The text to print; the files are written.

    Raises:
        UserError: If flags do not go together, or rows cannot be measured.
    """
    from factory.evaluating import check_out, write
    from factory.table_evaluating import check_page, evaluate_tables, write_page
    from factory.terminal.table_evaluations import table_evaluation_text

    _only_for("texts", {**of_texts, "private": given.private})
    if given.real is None:
        raise UserError("--real: expected a file with the real rows that the generators were trained on.")
    if given.out is not None:
        check_out(given.out)
    if given.page is not None:
        check_page(given.page)
    found = evaluate_tables(given.sources, given.real, test=given.test, by=given.by, say=say, **of_tables)
    if given.out is not None:
        write(found.evaluation, given.out)
    if given.page is not None:
        write_page(found, given.page, f"Synthetic rows beside {Path(given.real).name}")
    return table_evaluation_text(found.evaluation)


def _only_for(what: str, given: Mapping[str, Any]) -> None:
    """Refuse options that would be ignored."""
    wrong = [f"--{name.replace('_', '-')}" for name, value in given.items() if value and value != DEFAULTS.get(name)]
    if wrong:
        raise UserError(f"{' and '.join(wrong)}: only for {what}; leave out what does not apply.")


def _pair(setting: str) -> tuple[str, str]:
    value, equals, name = setting.partition("=")
    if not equals or not name:
        raise UserError(f"--values {setting}: expected VALUE=CLASS, e.g. 1=sarcastic.")
    return value, name
