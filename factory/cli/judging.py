"""Rows judged, again or from elsewhere: `refilter`, `filter`, `evaluate`, `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from factory.cli.app import DirArgument, EngineOption, app, said_settings

ORDER = "factory.order"


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

    settings = said_settings(set_, engine, None)
    result = judge_again(directory, out, settings, generate=generate, base=base, progress=not quiet)
    typer.echo(refilter_text(result), err=result.rows is None)
    raise typer.Exit(result.run.exit_code)


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
