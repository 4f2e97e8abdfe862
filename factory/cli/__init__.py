"""The command line: results on standard output, progress and errors on standard error.

Every command is a thin layer over the Python function of the same name in `factory`.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper

import typer

from factory.cli import building, judging, shipping  # noqa: F401  they register their commands
from factory.cli.app import app
from factory.errors import FactoryError, RecipeError


def main() -> None:
    """Run a command; errors of the user print one sentence, bugs a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a model may write what the terminal cannot show
    if (sentence := _clash()) is not None:
        typer.echo(sentence, err=True)
    try:
        app()
    except FactoryError as error:
        typer.echo(str(error) if isinstance(error, RecipeError) else _for_people(f"error: {error}"), err=True)
        sys.exit(error.exit_code)


def _clash() -> str | None:
    """A sentence if factory_boy, which also installs a package called `factory`, is in this environment."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version("factory_boy")
    except PackageNotFoundError:
        return None
    return (
        "warning: factory_boy is installed here too, and both packages are imported as 'factory': whichever was "
        "installed last wins. Keep them in separate environments."
    )


def _for_people(sentence: str) -> str:
    """A sentence that breaks between words, where a terminal shows it."""
    if not sys.stderr.isatty() or "\n" in sentence:
        return sentence
    from factory.terminal.layout import fill

    return fill(sentence)
