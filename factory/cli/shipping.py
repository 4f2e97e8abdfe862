"""A dataset looked at and sent out: `report`, `view`, `export`, `push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from factory.cli.app import EXIT_INTERRUPTED, DirArgument, app


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
        bool,
        typer.Option(
            "--replace", help="Replace another dataset there, or files that no push of the factory has written."
        ),
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
        raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(pushed_text(done, dry_run=dry_run))
