"""From a recipe to a dataset, and what is known of it: `init`, `check`, `plan`, `run`, `show`, `why`, `ls`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.app import (
    DirArgument,
    EngineOption,
    LimitOption,
    ModelOption,
    OutOption,
    RecipeArgument,
    SetOption,
    app,
    said_settings,
)


@app.command()
def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Recipe to start from, or a file of prompts/ or seeds/.")
    ] = "quickstart",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="File to write.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the recipes that ship with the factory.")] = False,
) -> None:
    """Write a commented starter recipe."""
    from factory import catalogue

    if list_:
        for entry in catalogue.ls():
            if entry.kind == "recipe":
                typer.echo(f"{entry.name:<20} {entry.summary}")
        return
    path = catalogue.init(name, out)
    following = f" Next: factory check {path}; factory run {path}" if path.suffix == ".yaml" else ""
    typer.echo(f"{path} written.{following}")


@app.command()
def check(
    recipe: RecipeArgument, set_: SetOption = None, engine: EngineOption = None, model: ModelOption = None
) -> None:
    """Find every error of a recipe, without loading a model."""
    from factory.recipe import load_recipe

    loaded = load_recipe(recipe, said_settings(set_, engine, model))
    for sentence in loaded.remarks():
        typer.echo(f"note: {sentence}", err=True)
    typer.echo(f"{recipe}: ok, {len(loaded.steps)} steps: {' -> '.join(step.name for step in loaded.steps)}")


@app.command()
def plan(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    limit: LimitOption = None,
) -> None:
    """Tell what a run would ask, reuse and drop."""
    from factory.planner import plan as make_plan
    from factory.terminal.plans import plan_text

    overrides = said_settings(set_, engine, model)
    typer.echo(plan_text(make_plan(recipe, out, overrides=overrides, limit=limit)))


@app.command()
def run(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    limit: LimitOption = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on in a directory of another recipe.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Run a recipe, or go on where it ended before."""
    from factory.runner import run as run_recipe
    from factory.terminal.runs import result_text

    overrides = said_settings(set_, engine, model)
    result = run_recipe(
        recipe, out, overrides=overrides, limit=limit, accept_changes=accept_changes, progress=not quiet
    )
    typer.echo(result_text(result, preview=limit is not None), err=result.status == "interrupted")
    raise typer.Exit(result.exit_code)


@app.command()
def show(
    directory: DirArgument,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=0, help="Records to show.")] = 3,
) -> None:
    """Show funnel, tokens, time and sample records of a run."""
    from factory.inspection import show as read
    from factory.terminal.runs import shown_text

    typer.echo(shown_text(read(directory, samples)))


@app.command()
def why(
    directory: DirArgument,
    record_id: Annotated[str, typer.Argument(metavar="ID", help="Record id, or its beginning.")],
    full: Annotated[bool, typer.Option("--full", help="Whole prompts and completions, of ancestors too.")] = False,
) -> None:
    """Tell how a record came to be, or why it was rejected."""
    from factory.inspection import why as tell
    from factory.terminal.stories import story_text

    typer.echo(story_text(tell(directory, record_id), full=full))


@app.command()
def ls(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A source, method or filter: its options.")] = None,
) -> None:
    """List what a recipe can name; with NAME, its options."""
    from factory import catalogue
    from factory.terminal.listing import catalogue_text, options_text

    typer.echo(catalogue_text(catalogue.ls()) if name is None else options_text(catalogue.options(name)))
