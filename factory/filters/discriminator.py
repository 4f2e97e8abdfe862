"""Keep the texts that a classifier of real against synthetic texts takes for real, as many of every class.

    discriminator:
      real: {path: tweets.csv, text: tweet, label: sarcastic, values: {"1": sarcastic, "0": plain}}
      text: text                # columns of the rows; the classes must be called the same
      label: label
      ground: ground_id         # id of the real text that a row was made from
      keep: {quantile: 0.5}     # of each class the half that looks most real; or {probability: 0.3}

gives every row the column `believable`, its probability of being real, and turns away
`{"text": "Oh great, another Monday!", "label": "sarcastic", "believable": 0.08}` as `discriminator: looks_synthetic`
with the cut of its class as threshold and its rank in the class as evidence.

Filtering after Veselovsky et al. 2023 (arXiv 2305.15041), who train BERT on real and synthetic texts and keep what lies
below one logit. Deviations: one cut for all classes turned their 50/50 into 68/32, so a quantile is taken of every class
(`per_class: false` is theirs, and says what it does to the balance); a limit is a probability. Their classifier judged
what it was trained on. Here nothing is judged by a classifier that has seen its source: texts are cross-fitted in
`folds`, drawn by a hash of the real texts' ids (all that a row was made from), and texts that are equal but for case and
punctuation lie in one fold (see `factory.classifiers.crossfit`).
A row without a value in `ground` belongs to the source row that it descends from; one that descends from none, to its
own text. All classes are learned together; each of them, and real and synthetic texts in it, count the same.

What is kept has been chosen by this classifier, so its own scores say nothing about what is left: believability is
measured by a fresh discriminator on texts that were held out (`factory evaluate`).

All rows must be there before one is judged: the step holds them in memory and passes none on before the last has come
(20,000 short texts: 0.3 GB in the process; see `scripts/bench discriminator`). They come out in the order in which they
came in. A preview (`--limit`) therefore judges nothing, and leaves `believable` empty.

Training is done once: its scores are in the journal under a hash of all texts, ids, classes, folds, the back end and
the versions of its libraries. A run that goes on finds them, and `factory refilter` with another `keep` trains nothing.

`backend: tfidf` takes seconds. `encoder` needs transformers: with `finetune: false` the vectors of `encoder.model`, as they
are, and a logistic regression; with `finetune: true` the whole model is trained, once a fold.

Rows without text or class are turned away as `no_text` and `no_label`; the former count as the last of their class. A
class that the real texts lack, and one of too few texts to learn from, are errors: the answers stay in the journal.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from pydantic import Field, model_validator

from factory.classifiers.crossfit import Example, assign, auc, cross_fit, require_enough
from factory.classifiers.finetuning import FineTuned
from factory.classifiers.keeping import Standing, select
from factory.context import Context
from factory.context.flow import ALL_KEPT, not_needed
from factory.context.making import Say
from factory.context.session import NotYetKnown
from factory.context.sifting import text_of
from factory.errors import OptionError, SourceError, UserError
from factory.recipe import back_end
from factory.recipe.columns import Column, require
from factory.recipe.labelled import LabelledSource, LabelledText, label_value
from factory.recipe.schema import Fraction, StepOptions, Strict
from factory.records import Outcome, Record, Rejected, Unknown, reject

FORMAT = 1  # of the stored scores, and of how they are computed
RULE, KIND = "discriminator", "scores"
SKEWED = 0.5  # share of the texts in one fold from which on it is worth a note


class Keep(Strict):
    """What is kept; exactly one of the two.

    Attributes:
        quantile: Share of each class, those with the highest probability of being real; half to even.
        probability: Lowest probability of being real.
    """

    quantile: Fraction | None = None
    probability: Fraction | None = None

    @model_validator(mode="after")
    def _one(self) -> Keep:
        if (self.quantile is None) == (self.probability is None):
            raise ValueError("expected either {quantile: 0.5} or {probability: 0.3}; null takes one of them away")
        return self


class Options(StepOptions):
    """Options of the `discriminator` filter.

    Attributes:
        real: Real texts with their classes.
        text: Column that is judged.
        label: Column of the class, called as in `real`.
        ground: Column of the real text's id that a row was made from; it may be missing.
        keep: What is kept, by quantile or by probability.
        per_class: Whether the quantile is taken of each class; `false` changes the balance of classes.
        folds: Parts of the cross-fitting.
        backend: `tfidf`, or `encoder`.
        encoder: What the encoder is.
        seed: Of the training; the recipe's by default.
        column: Name of the new column.
    """

    real: LabelledSource
    text: Column = "text"
    label: Column = "label"
    ground: Column = "ground_id"
    keep: Keep = Keep(quantile=0.5)
    per_class: bool = True
    folds: Annotated[int, Field(ge=2, le=100, strict=True)] = 5
    backend: back_end.Kind = "tfidf"
    encoder: back_end.EncoderOptions = back_end.EncoderOptions()
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] | None = None
    column: Column = "believable"


def check(options: Options, base: Path) -> list[UserError]:
    """Whether the real texts can be read, and the encoder is there; nothing is loaded."""
    problems: list[UserError] = []
    try:
        options.real.read(base)
    except SourceError as error:
        problems.append(OptionError("real.path", str(error)))
    if (absent := back_end.absent(options.backend, options.encoder, base)) is not None:
        problems.append(OptionError("encoder.model", str(absent)))
    return problems


def files(options: Options, base: Path) -> list[Path]:
    """The real texts."""
    return [options.real.find(base)]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The incoming columns and the score.

    Raises:
        OptionError: If a column is missing, or the new one is there already.
    """
    if incoming is None:
        return None
    for option in ("text", "label", *(("ground",) if "ground" in options.model_fields_set else ())):
        require(option, getattr(options, option), incoming)
    if options.column in incoming:
        raise OptionError("column", f"the rows have a column '{options.column}' already; give the score another name.")
    return {*incoming, options.column}


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Take in all rows, score them, and let them go in the order in which they came."""
    held: deque[Outcome] = deque()
    try:
        async for record in records:
            if ctx.session.limit is not None:
                ctx.note("preview: no row is judged, as the discriminator needs all of them")
                yield _scored(record, options, None)
            else:
                held.append(record)
        rows = [record for record in held if isinstance(record, Record)]
        judged = await _judged(rows, ctx, options)
        held.clear()
        held.extend(judged)
        while held:
            yield held.popleft()
    finally:  # closed before its end: by a later step that has enough, or with the run
        for outcome in held:
            ctx.leave(not_needed(ctx.session, ctx.step, outcome) if isinstance(outcome, Record) else outcome)


class Scores(msgspec.Struct, frozen=True):
    """What is stored of a training.

    Attributes:
        rows: Probability of being real of each row that was judged.
        real: The same of each real text.
        log: Sentences about the training.
    """

    rows: list[float]
    real: list[float]
    log: list[str]


class _Split(NamedTuple):
    """Rows, and what is to be learned from.

    Attributes:
        judged: Rows that have a text and a class.
        examples: Those, in order.
        real: Real texts of the same classes.
    """

    judged: list[Record]
    examples: list[Example]
    real: list[Example]


async def _judged(rows: list[Record], ctx: Context, options: Options) -> list[Outcome]:
    split = _split(rows, ctx, options)
    if ctx.planning and ctx.stats.unknown:
        ctx.note("training to come, once all rows are there")
        ctx.assume(ALL_KEPT)
        return [Unknown(row.id) for row in rows]
    scores: list[float] = []
    if split.judged:
        try:
            scores = await _scores(split, ctx, options)
        except NotYetKnown:
            return _foreseen(rows, split, ctx, options)
    return _verdicts(rows, dict(zip((row.id for row in split.judged), scores, strict=True)), ctx, options)


def _split(rows: Sequence[Record], ctx: Context, options: Options) -> _Split:
    """Rows that can be judged, and the real texts of their classes.

    Raises:
        UserError: If the real texts lack a class.
    """
    judged = [row for row in rows if text_of(row.fields, options.text).strip() and _label(row, options)]
    texts = options.real.read(ctx.base, ctx.note) if judged else []
    ids = {text.id for text in texts}
    examples = [_example(row, options, ids) for row in judged]
    classes, known = Counter(example.label for example in examples), Counter(text.label for text in texts)
    if lacking := [f"'{label}' ({count:,})" for label, count in classes.items() if label not in known]:
        raise UserError(
            f"{ctx.step}: the rows have classes that the real texts of {options.real.path} lack: {', '.join(lacking)}; "
            f"those have {', '.join(repr(label) for label in known)}. Rename them by real.values, or leave these rows out "
            "before this step; what was answered is in the journal."
        )
    if spare := [repr(label) for label in known if label not in classes and classes]:
        ctx.note(f"real texts of {', '.join(spare)} are not used: no row is of that class")
    real = [Example(text.text, text.label, text.id, True) for text in texts if text.label in classes]
    _note_sources(examples, texts, ctx, options)
    return _Split(judged, examples, real)


def _note_sources(examples: Sequence[Example], texts: Sequence[LabelledText], ctx: Context, options: Options) -> None:
    """Say so where cross-fitting by source is not what it seems."""
    sources, ids = {example.source for example in examples if example.source}, {text.id for text in texts}
    if sources and not sources & ids:
        ctx.note(
            f"none of the {len(sources):,} sources of the rows is among the real texts: if they were made from these, "
            f"'{options.ground}' must hold the ids that the source 'rows' gives them"
        )


def _label(row: Record, options: Options) -> str:
    return label_value(row.fields.get(options.label))


def _example(row: Record, options: Options, real: set[str]) -> Example:
    first, *more = _sources(row, options, real)
    return Example(text_of(row.fields, options.text), _label(row, options), first, False, tuple(more))


def _sources(row: Record, options: Options, real: set[str]) -> list[str]:
    """Ids of the real texts that a row was made from, all of them; the id that it names, if that is of no real text."""
    ground = row.fields.get(options.ground)
    named = [str(ground)] if ground not in (None, "") else []
    named += [row.provenance.root] if row.provenance.root else []
    known = [name for name in dict.fromkeys([*named, *row.provenance.parents]) if name in real]
    return known or named[:1] or [""]


async def _scores(split: _Split, ctx: Context, options: Options) -> list[float]:
    """Scores of the judged rows, trained for or found; and what to know of them, as notes."""
    examples = [*split.examples, *split.real]
    require_enough(examples, assign(examples, options.folds), options.folds)
    seed = ctx.session.seed if options.seed is None else options.seed
    made = await ctx.artifact(
        _key(examples, ctx.base, options, seed),
        lambda say: _train(examples, len(split.examples), options, ctx.base, seed, say),
        kind=KIND,
    )
    found = msgspec.msgpack.decode(made, type=Scores)
    if ctx.planning:
        ctx.note("the training is reused: its scores are in the journal")
    for sentence in found.log:
        ctx.note(sentence)
    _note_auc(found, examples, ctx)
    return found.rows


def _key(examples: Sequence[Example], base: Path, options: Options, seed: int) -> str:
    """Hash of everything that decides the scores."""
    learns = back_end.named(options.backend, options.encoder, base, seed)
    how = {"format": FORMAT, "folds": options.folds, "learns": learns}
    hasher = hashlib.blake2b(msgspec.json.encode(how, order="deterministic"), digest_size=10)
    encode = msgspec.msgpack.Encoder().encode
    for example in examples:
        hasher.update(encode(example))
    return hasher.hexdigest()


def _train(examples: list[Example], rows: int, options: Options, base: Path, seed: int, say: Say) -> bytes:
    learner = back_end.build(options.backend, options.encoder, base, seed)
    scores = cross_fit(examples, options.folds, learner, say)
    log = []
    folds = Counter(assign(examples, options.folds).tolist())
    if (largest := max(folds.values()) / len(examples)) > SKEWED:
        log.append(
            f"equal texts tie so many sources together that {largest:.0%} of the texts are one fold: put the filter "
            "'exact' before this one"
        )
    if isinstance(learner, FineTuned):
        shown = "; ".join(" -> ".join(f"{loss:.3f}" for loss in losses) for losses in learner.losses)
        log.append(f"loss by epoch, fold by fold: {shown}")
    return msgspec.msgpack.encode(Scores(scores[:rows].tolist(), scores[rows:].tolist(), log))


def _note_auc(found: Scores, examples: Sequence[Example], ctx: Context) -> None:
    scores = np.array([*found.rows, *found.real])
    real = np.array([example.real for example in examples])
    labels = np.array([example.label for example in examples])
    by_class = ", ".join(
        f"{label} {auc(scores[labels == label], real[labels == label]):.3f}" for label in sorted(set(labels.tolist()))
    )
    ctx.note(
        f"AUC of real against synthetic, out of fold (0.5: cannot be told apart): {auc(scores, real):.3f} ({by_class})"
    )


# --- what is kept --------------------------------------------------------------------------------------------------------


def _standings(rows: Sequence[Record], scores: dict[str, float], options: Options) -> dict[str, Standing]:
    """Where each row that has a class stands, by id."""
    classed = [row for row in rows if _label(row, options)]
    groups = [_label(row, options) if options.per_class else "" for row in classed]
    keep = options.keep
    found = select(
        [scores.get(row.id) for row in classed], groups, quantile=keep.quantile, probability=keep.probability
    )
    return dict(zip((row.id for row in classed), found, strict=True))


def _verdicts(rows: list[Record], scores: dict[str, float], ctx: Context, options: Options) -> list[Outcome]:
    """What comes of each row: [rows]."""
    standings = _standings(rows, scores, options)
    outcomes: list[Outcome] = []
    for row in rows:
        scored = _scored(row, options, scores.get(row.id))
        if row.id in scores:
            outcomes.append(scored if standings[row.id].kept else _looks_synthetic(scored, standings[row.id], options))
        elif not text_of(row.fields, options.text).strip():
            outcomes.append(reject(scored, RULE, "no_text", evidence=f"the column '{options.text}' is empty"))
        else:
            outcomes.append(reject(scored, RULE, "no_label", evidence=f"the column '{options.label}' is empty"))
    _note_balance(rows, outcomes, ctx, options)
    return outcomes


def _scored(row: Record, options: Options, score: float | None) -> Record:
    return msgspec.structs.replace(row, fields={**row.fields, options.column: score})


def _looks_synthetic(row: Record, standing: Standing, options: Options) -> Rejected:
    group = f"class '{_label(row, options)}'" if options.per_class else "all classes together"
    evidence = f"{group}: rank {standing.rank:,} of {standing.of:,}"
    evidence += "" if standing.first is None else f", the first {standing.first:,} are kept"
    score = row.fields[options.column]
    return reject(row, RULE, "looks_synthetic", score=score, threshold=standing.cut, evidence=evidence)


def _note_balance(rows: Sequence[Record], outcomes: Sequence[Outcome], ctx: Context, options: Options) -> None:
    """Say what was kept of each class, and loudly if that has changed their balance."""
    before = Counter(label for row in rows if (label := _label(row, options)))
    after = Counter(_label(row, options) for row in outcomes if isinstance(row, Record))
    if not before:
        return
    shares = ", ".join(f"{label} {after[label]:,} of {count:,}" for label, count in sorted(before.items()))
    ctx.note(f"kept by class: {shares}")
    even = options.per_class and options.keep.quantile is not None
    if not even and after:
        turned = ", ".join(
            f"{label} {count / before.total():.1%} -> {after[label] / after.total():.1%}"
            for label, count in sorted(before.items())
        )
        why = "keep.probability is one limit for all classes" if options.per_class else "per_class is false"
        ctx.note(f"WARNING: {why}, so the balance of classes has changed: {turned}")


def _foreseen(rows: Sequence[Record], split: _Split, ctx: Context, options: Options) -> list[Outcome]:
    """While planning: as many rows as will be kept, which ones cannot be known before the training."""
    ctx.note(
        f"training to come: {len(split.examples):,} rows against {len(split.real):,} real texts in {options.folds} folds "
        f"({options.backend}); it asks the model for nothing"
    )
    if options.keep.quantile is None:
        ctx.assume(ALL_KEPT)
        return [Unknown(row.id) for row in split.judged]
    standings = _standings(rows, {row.id: 0.0 for row in split.judged}, options)
    return [Unknown(row.id) for row in split.judged if standings[row.id].kept]
