"""The command itself, and the arguments that its subcommands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from factory import __version__

EXIT_INTERRUPTED = 130


class _Commands(TyperGroup):
    """Says so where Ctrl-C ends a command; typer ends it without a word."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _told():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    name="factory",
    cls=_Commands,
    help="Recipes in, datasets out. Begin with: factory init; factory run quickstart.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="Recipe file (YAML), or the name of a shipped one.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Run directory; runs/<recipe name> by default.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="STEP.OPTION=VALUE", help="Override an option; repeatable.")
]
EngineOption = Annotated[str | None, typer.Option("--engine", metavar="KIND", help="Short for --set engine.kind=…")]
ModelOption = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Short for --set engine.model=…")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Preview: end after so many rows.")
]
DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Run directory.")]


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Recipes in, datasets out."""


def said_settings(set_: list[str] | None, engine: str | None, model: str | None) -> list[str]:
    """Settings of `--set`, `--engine` and `--model`."""
    extra = [f"engine.kind={engine}"] if engine is not None else []
    if model is not None:
        quoted = model.replace("'", "''")
        extra.append(f"engine.model='{quoted}'")
    return [*(set_ or []), *extra]
