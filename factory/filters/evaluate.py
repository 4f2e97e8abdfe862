"""Pass every record on, and measure them all against real texts at the end.

With `real: {path: tweets.csv, text: tweet}` every `{"text": "…", "label": "…"}` goes on as it is, and `factory show` has
a note such as "grounded (500 texts): judged real 0.20 [0.18, 0.22] (real texts 0.81), AUC 0.88 [0.87, 0.89]; …".
The figures are those of `factory evaluate`, see `factory.evaluation`; the whole table comes of `factory evaluate DIR`.

Real texts that are private may not be read here. Then `test` alone names public ones, `test: {path: tickets_test.csv}`: the notes
say how well a classifier does on these that is trained on the records, and how far the records are from them.

Belongs last: what a later step turns away is measured too, and a later step that has enough ends this one without figures.
A plan measures nothing. Texts are kept in memory.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

from factory.context import Context
from factory.errors import OptionError, SourceError, UserError
from factory.evaluation.bootstrap import RESAMPLES, Figure
from factory.evaluation.compare import Evaluation, Line, compare
from factory.evaluation.downstream import DRAWS
from factory.evaluation.public import PublicEvaluation, PublicLine, compare_public
from factory.evaluation.texts import Text
from factory.recipe.columns import Column, require
from factory.recipe.labelled import LabelledSource, label_value
from factory.recipe.schema import Count, StepOptions
from factory.records import Outcome, Record

ALL = "records"


class Options(StepOptions):
    """Options of the `evaluate` step.

    Attributes:
        real: Real texts with their classes; their labels are the names that the records use. Without them `test` is public.
        test: Real texts to test classifiers on; by default a part of `real` that served as no ground.
        field: Column of the text.
        label: Column of the class.
        ground: Column of the id of the real text that a record was made from; its family where it has none.
        by: Column whose values are compared, e.g. the strategy.
        draws: Samples that a classifier is trained on.
        resamples: Of each bootstrap.
    """

    real: LabelledSource | None = None
    test: LabelledSource | None = None
    field: Column = "text"
    label: Column = "label"
    ground: Column = "ground_id"
    by: Column | None = None
    draws: Count = DRAWS
    resamples: Count = RESAMPLES


def check(options: Options, base: Path) -> list[UserError]:
    """Whether the real texts can be read."""
    found: list[UserError] = []
    if options.real is None and options.test is None:
        found.append(
            OptionError("real", "expected real texts to compare with, or 'test' alone: public texts to test on.")
        )
    for option, source in (("real", options.real), ("test", options.test)):
        try:
            if source is not None:
                source.read(base)
        except SourceError as error:
            found.append(OptionError(option, str(error)))
    return found


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The same columns.

    Raises:
        OptionError: If a named column is not among them.
    """
    for option, name in (("field", options.field), ("by", options.by)):
        require(option, name, incoming)
    return incoming


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield each record; note the figures when there are no more, or when no more are wanted."""
    sets: dict[str, list[Text]] = defaultdict(list)
    try:
        async for record in records:
            _take(sets, record, options)
            yield record
    except GeneratorExit:
        task = asyncio.current_task()
        if task is not None and not task.cancelling():  # the dataset has enough; the run was not interrupted
            _note(sets, ctx, options)
        raise
    await asyncio.to_thread(_note, sets, ctx, options)


def _take(sets: dict[str, list[Text]], record: Record, options: Options) -> None:
    text = str(record.fields.get(options.field) or "")
    if text.strip():
        name = ALL if options.by is None else label_value(record.fields.get(options.by)) or ALL
        ground = record.fields.get(options.ground) or record.family
        label = label_value(record.fields.get(options.label))
        others = (record.family, *record.provenance.parents)
        sets[name].append(Text(record.id, text, label, ground=str(ground), others=others))


def _note(sets: dict[str, list[Text]], ctx: Context, options: Options) -> None:
    """Measure, and tell the main figures; what cannot be measured is told instead and ends no run."""
    if ctx.planning:
        return
    if not sets:
        ctx.note("nothing was evaluated: no record has a text")
        return
    try:
        said = _measured(sets, ctx, options)
    except UserError as error:
        ctx.note(f"nothing was evaluated: {error}")
        return
    for sentence in said:
        ctx.note(sentence)


def _measured(sets: dict[str, list[Text]], ctx: Context, options: Options) -> list[str]:
    test = None if options.test is None else _texts(options.test, ctx)
    if options.real is not None:
        real = _texts(options.real, ctx)
        return sentences(compare(sets, real, test, draws=options.draws, resamples=options.resamples))
    return public_sentences(compare_public(sets, test or [], draws=options.draws, resamples=options.resamples))


def _texts(source: LabelledSource, ctx: Context) -> list[Text]:
    return [Text(each.id, each.text, each.label) for each in source.read(ctx.base, ctx.note)]


def sentences(found: Evaluation) -> list[str]:
    """The main figures, one sentence for each set, then the lines to compare with and what to know."""
    lines = [*found.sources, found.real]
    said = [f"{line.name} ({line.texts:,} texts): {'; '.join(_parts(line))}" for line in lines]
    if found.majority is not None:
        said.append(f"most frequent class: macro-F1 {_shown(found.majority.macro_f1)}")
    return [*said, *found.notes]


def public_sentences(found: PublicEvaluation) -> list[str]:
    """The main figures of each set on public texts, then the line to compare with and what to know."""
    said = [f"{line.name} ({line.texts:,} texts): {'; '.join(_public_parts(line))}" for line in found.sources]
    if found.majority is not None:
        accuracy, macro_f1 = _shown(found.majority.accuracy), _shown(found.majority.macro_f1)
        said.append(f"most frequent class of {found.test.texts:,} test texts: accuracy {accuracy}, macro-F1 {macro_f1}")
    return [*said, *found.notes]


def _public_parts(line: PublicLine) -> list[str]:
    parts = [
        f"accuracy {_shown(used.accuracy)}, macro-F1 {_shown(used.macro_f1)}, trained on {used.trained_on:,}"
        for used in (line.whole,)
        if used is not None
    ]
    if line.drift is not None:
        parts.append(f"longer than test texts by {_shown(line.drift.words_mean)} words")
    if line.diversity is not None:
        parts.append(f"repeated {_shown(line.diversity.repeated)}")
    return parts


def _parts(line: Line) -> list[str]:
    parts = []
    if line.believability is not None:
        judged, real = line.believability.judged_real, line.believability.real_judged_real
        parts.append(
            f"judged real {_shown(judged)} (real texts {real.value:.2f}), AUC {_shown(line.believability.auc)}"
        )
    if line.utility is not None:
        parts.append(f"macro-F1 {_shown(line.utility.macro_f1)}, trained on {line.utility.trained_on:,}")
    if line.diversity is not None:
        found = line.diversity
        parts.append(f"repeated {_shown(found.repeated)}, begin with '{found.opening}' {_shown(found.top_opening)}")
    return parts


def _shown(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
