"""The command line: results on standard output, progress and errors on standard error.

Every command is a thin layer over the Python function of the same name in `factory`.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from factory import __version__
from factory.errors import FactoryError, RecipeError

app = typer.Typer(
    name="factory",
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
ORDER = "factory.order"
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

    loaded = load_recipe(recipe, _overrides(set_, engine, model))
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

    overrides = _overrides(set_, engine, model)
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

    overrides = _overrides(set_, engine, model)
    result = run_recipe(
        recipe, out, overrides=overrides, limit=limit, accept_changes=accept_changes, progress=not quiet
    )
    typer.echo(result_text(result, preview=limit is not None), err=result.status == "interrupted")
    raise typer.Exit(result.exit_code)


@app.command()
def refilter(
    directory: DirArgument,
    out: Annotated[Path, typer.Option("--out", metavar="NEW", help="Directory of the new run.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="STEP.OPTION=VALUE", help="A threshold, e.g. rouge_l.threshold=0.6; repeatable."),
    ] = None,
    generate: Annotated[
        bool, typer.Option("--generate", help="Ask the model for what rows that are let in still lack.")
    ] = False,
    engine: EngineOption = None,
    base: Annotated[
        Path | None, typer.Option("--base", metavar="FOLDER", help="Folder of the recipe file that DIR was run from.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Judge a finished run again with other thresholds.

    Its journal answers, and DIR is only read. Without --generate a model is asked for nothing: rows that are let in
    and lack later steps are counted and filed as rejected.
    """
    from factory.refiltering import refilter as judge_again
    from factory.terminal.judged import refilter_text

    settings = _overrides(set_, engine, None)
    result = judge_again(directory, out, settings, generate=generate, base=base, progress=not quiet)
    typer.echo(refilter_text(result), err=result.rows is None)
    raise typer.Exit(result.run.exit_code)


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
def view(
    directory: DirArgument,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="OTHER", help="Run to compare with: rows that stay, enter, leave."),
    ] = None,
    marks: Annotated[bool, typer.Option("--marks", help="Allow marking records; writes DIR/marks.jsonl.")] = False,
    export_marks: Annotated[
        Path | None, typer.Option("--export-marks", metavar="FILE", help="Write marks as .jsonl or .csv, and end.")
    ] = None,
) -> None:
    """Show a run on a local page: search, lineage, thresholds, marks.

    The page is served on 127.0.0.1 until Ctrl-C, to whoever has the link. Nothing is written, except marks with --marks.
    """
    from factory.viewing.view import export_marks as write
    from factory.viewing.view import view as show_page

    if export_marks is not None:
        count = write(directory, export_marks)
        typer.echo(f"{export_marks}: {count:,} {'mark' if count == 1 else 'marks'}")
        return
    show_page(directory, port=port, browser=browser, marks=marks, compare=compare, say=typer.echo)


@app.command()
def ls(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A source, method or filter: its options.")] = None,
) -> None:
    """List what a recipe can name; with NAME, its options."""
    from factory import catalogue
    from factory.terminal.listing import catalogue_text, options_text

    typer.echo(catalogue_text(catalogue.ls()) if name is None else options_text(catalogue.options(name)))


@app.command()
def export(
    directory: DirArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="messages, prompt-completion, alpaca, sharegpt, preference, text or csv.",
        ),
    ] = "messages",
    validation: Annotated[
        float, typer.Option("--validation", metavar="SHARE", help="Share of families held out, in [0, 1).")
    ] = 0.0,
    test: Annotated[
        float, typer.Option("--test", metavar="SHARE", help="Share of families to test on, in [0, 1).")
    ] = 0.0,
    templates: Annotated[
        str | None,
        typer.Option("--templates", metavar="NAME", help="Layout: plain, self-instruct or conversational."),
    ] = None,
    instruction: Annotated[
        str, typer.Option("--instruction", metavar="COLUMN", help="Column of the instruction.")
    ] = "instruction",
    input_: Annotated[str, typer.Option("--input", metavar="COLUMN", help="Column of the input.")] = "input",
    output: Annotated[str, typer.Option("--output", metavar="COLUMN", help="Column of the answer.")] = "output",
    system: Annotated[
        str | None, typer.Option("--system", metavar="COLUMN", help="Column of a system message.")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Write record ids as well, for 'factory why'.")] = False,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer", metavar="NAME", help="Folder, Hub id or embedded: counts tokens; chat template of text."
        ),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", min=1, help="Leave out rows that are longer.")
    ] = None,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option("--decontaminate", metavar="FILE", help="Take out what overlaps with a benchmark; repeatable."),
    ] = None,
    shard_rows: Annotated[
        int | None, typer.Option("--shard-rows", metavar="N", min=1, help="Most rows in a file; all by default.")
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="Parquet instead of JSON Lines.")] = False,
    pair: Annotated[
        str, typer.Option("--pair", metavar="WHAT", help="preference: answers (to a question) or tasks (evolved).")
    ] = "answers",
    score: Annotated[
        str | None,
        typer.Option(
            "--score", metavar="COLUMN", help="preference: the score, more is better; the judge's by default."
        ),
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", metavar="X", min=0, help="preference: least difference of scores.")
    ] = 0.0,
    formulas: Annotated[
        str, typer.Option("--formulas", metavar="WHAT", help="csv: neutralise what a spreadsheet calculates, or keep.")
    ] = "neutralise",
) -> None:
    """Write the dataset in a fine-tuning format, or as CSV.

    With --validation and --test, rows of one family never end up in two files. Whatever is left out is counted with its
    reason; export.json in OUT tells how the files were made.
    """
    from factory.exporting import export as write
    from factory.terminal.exports import exported_text

    done = write(
        directory,
        out,
        format=format_,
        validation=validation,
        templates=templates,
        instruction=instruction,
        input=input_,
        output=output,
        system=system,
        test=test,
        ids=ids,
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        decontaminate=decontaminate,
        shard_rows=shard_rows,
        parquet=parquet,
        pair=pair,
        score=score,
        margin=margin,
        formulas=formulas,
    )
    typer.echo(exported_text(done))
    if done.not_private:
        typer.echo(f"NOT PRIVATE: {done.not_private}", err=True)


@app.command()
def report(
    directory: DirArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write; DIR/report.html by default.")
    ] = None,
) -> None:
    """Write one offline HTML page that shows a run.

    Funnel, reasons with examples, novelty, lengths, lineage and more. The page needs nothing else and asks nobody for anything.
    """
    from factory.reporting import report as write
    from factory.terminal.reports import report_text, warnings

    done = write(directory, out)
    for sentence in warnings(done):
        typer.echo(f"warning: {sentence}", err=True)
    typer.echo(report_text(done))


class _Ordered(TyperCommand):
    """A command that knows in which order its options were given; `ctx.meta[ORDER]` has their names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[ORDER] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


@app.command(name="filter", cls=_Ordered)
def filter_(
    ctx: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN", help="Files or folders of rows; - is JSON Lines on standard input.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="A .jsonl, .csv, .tsv or .parquet file, or a folder.")],
    exact: Annotated[bool, typer.Option("--exact", help="Drop equal texts.")] = False,
    rouge_l: Annotated[
        float | None, typer.Option("--rouge-l", metavar="F", help="Drop texts with a ROUGE-L above F.")
    ] = None,
    minhash: Annotated[
        float | None, typer.Option("--minhash", metavar="J", help="Drop near-duplicates: Jaccard from about J on.")
    ] = None,
    embedding: Annotated[
        float | None, typer.Option("--embedding", metavar="COS", help="Drop texts of like meaning: cosine.")
    ] = None,
    quality: Annotated[bool, typer.Option("--quality", help="Drop texts that break rules of quality.")] = False,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option("--decontaminate", metavar="FILE", help="Drop what overlaps with a benchmark; repeatable."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="STEP", help="Any filter: 'NAME: {option: value}'; repeatable."),
    ] = None,
    field: Annotated[str | None, typer.Option("--field", metavar="COLUMN", help="Column that is compared.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="POOL", help="Rows that count as kept before the first; repeatable."),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", metavar="NAME", help="auto, rouge (a-z and 0-9) or unicode.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be used.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT, at the end.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew instead of going on.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Filter files without a recipe and without a model.

    Filters apply in the order in which they are given. Every rejected row is kept, with its reason, beside OUT. Killed
    at any moment, the same command goes on.
    """
    from factory.filtering.flags import in_order
    from factory.filtering.run import filter as run_filter
    from factory.terminal.judged import filtered_text

    flags: dict[str, Any] = {"exact": exact, "quality": quality, "decontaminate": decontaminate}
    flags |= {"rouge_l": rouge_l, "minhash": minhash, "embedding": embedding}
    result = run_filter(
        inputs,
        out,
        filters=in_order(ctx.meta[ORDER], flags, filters or []),
        field=field,
        against=against or [],
        tokenizer=tokenizer,
        strict=strict,
        overwrite=overwrite,
        restart=restart,
        progress=not quiet,
    )
    for sentence in result.warnings:
        typer.echo(f"warning: {sentence}", err=True)
    typer.echo(filtered_text(result), err=result.status == "interrupted")
    raise typer.Exit(result.exit_code)


@app.command()
def evaluate(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Run directories and files of rows.")],
    real: Annotated[
        str | None, typer.Option("--real", metavar="FILE", help="Real texts; or YAML: '{path: a.csv, text: tweet}'.")
    ] = None,
    test: Annotated[
        str | None, typer.Option("--test", metavar="FILE", help="Real texts to test on; a part of --real by default.")
    ] = None,
    private: Annotated[
        str | None,
        typer.Option("--private", metavar="FILE", help="Private texts, with --test alone: diagnostics for you only."),
    ] = None,
    text: Annotated[str, typer.Option("--text", metavar="COLUMN", help="Column of the text.")] = "text",
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="Column of the class; label, if there is one.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="COLUMN", help="Compare the values of a column, or step.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--values", metavar="VALUE=CLASS", help="Class for a value; repeatable.")
    ] = None,
    real_text: Annotated[
        str | None, typer.Option("--real-text", metavar="COLUMN", help="Column of the text in real rows.")
    ] = None,
    real_label: Annotated[
        str | None, typer.Option("--real-label", metavar="COLUMN", help="Column of the class in real rows.")
    ] = None,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=1, help="Samples to train on.")] = 5,
    resamples: Annotated[int, typer.Option("--resamples", metavar="N", min=1, help="Of each bootstrap.")] = 1000,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COLUMN", help="Tables: column that models predict.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Tables: the rows are one, though no target is named.")
    ] = False,
    holdout: Annotated[
        Path | None,
        typer.Option("--holdout", metavar="FILE", help="Tables: real rows to compare with; half of --test."),
    ] = None,
    missing: Annotated[
        list[str] | None, typer.Option("--missing", metavar="TEXT", help="Tables: stands for no value; repeatable.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Tables: seeds to measure with.")] = 3,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Tables: write an HTML page with drawings as well.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write everything as JSON as well.")] = None,
) -> None:
    """Measure synthetic texts or tables against real ones.

    Texts: utility of a classifier trained on them, believability, diversity, drift and leakage. Tables (--target, --table
    or a run that makes rows of a table; --real has the rows trained on): efficiency of models trained on them, detection,
    closeness, membership, validity and shapes. Intervals of 95 %.

    Texts of private runs: --test alone names public texts to test on. What reads private ones (--private: classifiers trained
    on them, synthetic texts that repeat one) is printed last, and written nowhere but to --out, outside runs and datasets.
    """
    from factory.terminal import evaluating

    of_tables = {"target": target, "holdout": holdout, "missing": missing or [], "seeds": seeds}
    of_texts: dict[str, Any] = {
        "text": text,
        "label": label,
        "real_text": real_text,
        "real_label": real_label,
        "values": values or [],
    }
    of_texts |= {"draws": draws, "resamples": resamples}
    given = evaluating.Given(sources, real, test, private, by, out, page)
    if target is not None or table or evaluating.holds_tables(sources):
        typer.echo(evaluating.tables(given, of_tables, of_texts, lambda told: typer.echo(told, err=True)))
    else:
        typer.echo(evaluating.texts(given, of_texts, of_tables))


@app.command()
def audit(
    directory: DirArgument,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Steps to audit; as many as cost an epsilon of 2 by default."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Repeatable randomness; the system's by default.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="K", min=1, help="Audit so many times.")] = 1,
    canaries: Annotated[
        bool, typer.Option("--canaries/--no-canaries", help="Score canaries that took part in the training.")
    ] = True,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON as well.")
    ] = None,
) -> None:
    """Look for faults in a run's claims of privacy.

    It puts a lower bound beside each epsilon that is claimed. An audit finds faults; it never shows that something is safe.
    What it found goes into the claims and the card of the run. Exit code 5 where a claim does not hold.
    """
    from factory.auditing import audit as look
    from factory.auditing import check_out, write
    from factory.terminal.audits import audit_text

    if json_ is not None:
        check_out(json_)
    report = look(directory, steps=steps, canaries=canaries, seed=seed, repeats=seeds)
    if json_ is not None:
        write(report, json_)
    typer.echo(audit_text(report))
    raise typer.Exit(report.exit_code)


@app.command()
def push(
    directory: DirArgument,
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="Dataset repository: OWNER/NAME.")],
    public: Annotated[bool, typer.Option("--public/--private", help="Who sees it; private by default.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show every file and the card; send nothing.")] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", "--branch", metavar="NAME", help="Branch; the main one by default.")
    ] = None,
    message: Annotated[str | None, typer.Option("--message", metavar="TEXT", help="Of the commit.")] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Send report.html as well.")] = True,
    rejected: Annotated[bool, typer.Option("--rejected", help="Send the rejected rows as well.")] = False,
    lineage: Annotated[bool, typer.Option("--lineage", help="Send the records that others were made from.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Send a preview, or a run that stopped short.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files there that no push of the factory has written.")
    ] = False,
    allow_secrets: Annotated[bool, typer.Option("--allow-secrets", help="Do not look for keys and tokens.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Send the dataset to the Hugging Face Hub, private by default.

    The token is that of HF_TOKEN or of 'hf auth login'. What may not be shared is refused with the reason. Killed or cut off
    at any moment, the same command goes on; one commit at the end puts all files in place.
    """
    from factory.hub.pushing import push as send
    from factory.terminal.pushes import pushed_text

    try:
        done = send(
            directory,
            repo_id,
            public=public,
            dry_run=dry_run,
            revision=revision,
            message=message,
            report=report,
            rejected=rejected,
            lineage=lineage,
            partial=partial,
            replace=replace,
            allow_secrets=allow_secrets,
            progress=not quiet,
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to go on from here", err=True)
        raise typer.Exit(130) from None
    typer.echo(pushed_text(done, dry_run=dry_run))


def _overrides(set_: list[str] | None, engine: str | None, model: str | None) -> list[str]:
    extra = [f"engine.kind={engine}"] if engine is not None else []
    if model is not None:
        quoted = model.replace("'", "''")
        extra.append(f"engine.model='{quoted}'")
    return [*(set_ or []), *extra]


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


if __name__ == "__main__":
    main()
