"""Turn away texts that loop, refuse, leak a template, or have a wrong length, language or script.

`quality: {field: output}` applies the rules with their defaults: `{"output": "Sure! Sure! Sure! …"}` is rejected as
looped_ending, `{"output": "As an AI language model, I cannot …"}` as refusal. A rule is switched off by `off`, and each
of its limits can be set:

    quality: {field: output, refusals: off, length: {min_words: 5}, language: {allowed: [en, de]}}

The first rule that a text breaks is in its verdict, with what was measured and the words that show it. Rules are applied
in the order of the options. `language` and `script` have nothing to do until `allowed` names something.

Repetition after Gopher (Rae et al. 2021, arXiv 2112.11446, table A1), whose limits were set for web pages. Deviation:
n-grams are judged from 100 words on and if they are there four times, lines if there are five, since short answers and
code repeat words. What looks for phrases is ours: see `factory.novelty.refusals` and `factory.novelty.leaks`.

Measured with the defaults, English and Latin script: of the 52,002 instructions of Alpaca four are rejected, all
of them by `language`, for a French sentence that is to be translated; of 5,574 SMS one.

A row whose text is missing or empty is kept, unless `length` asks for more than nothing: `length: {min_chars: 1}`. A value
that is no text is judged as Python writes it. Rows are judged each by itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from factory.context import Context
from factory.context.sifting import Alone, Row, Sift, sifted, text_of
from factory.errors import OptionError, UserError
from factory.novelty.characters import Script, scripts, shares
from factory.novelty.languages import LanguageIdentifier, not_installed
from factory.novelty.leaks import leaked
from factory.novelty.refusals import WITHIN_CHARS, refusal
from factory.novelty.repetition import duplicate_lines, looped_ending, top_ngram
from factory.recipe.columns import Column, require
from factory.recipe.schema import Count, Fraction, StepOptions, Strict
from factory.recipe.suggest import did_you_mean
from factory.records import Outcome, Record, Verdict

Least = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Phrase = Annotated[str, Field(min_length=1)]
SHOWN_CHARS = 200
LEAST_TIMES = 4  # of a run of words before it counts as repeated


class Rule(Strict):
    """A rule that `off` switches off, in whole or by `on: false`."""

    on: bool = True

    @model_validator(mode="before")
    @classmethod
    def _switched(cls, given: Any) -> Any:
        if given in (False, "off"):
            return {"on": False}
        return {} if given in (True, "on") else given


class Length(Rule):
    """How long a text may be.

    Attributes:
        on: Whether the rule is applied.
        min_chars: Fewest characters, white space around the text not counted.
        max_chars: Most characters.
        min_words: Fewest words, as white space separates them.
        max_words: Most words.
    """

    min_chars: Least = 0
    max_chars: Least | None = 100_000
    min_words: Least = 0
    max_words: Least | None = None


class Repetition(Rule):
    """How much a text may repeat itself; null takes a limit away.

    Attributes:
        on: Whether the rule is applied.
        duplicate_lines: Highest share of lines that equal an earlier one.
        min_lines: Texts of fewer lines are not judged by that.
        top_2_gram: Highest share of characters in the most frequent run of two words.
        top_3_gram: The same of three words.
        top_4_gram: The same of four words.
        min_words: Texts of fewer words are not judged by those; nor does a run count that is there under four times.
        loop_repeats: Times that an ending repeats itself before it is a loop.
    """

    duplicate_lines: Fraction | None = 0.3
    min_lines: Count = 5
    top_2_gram: Fraction | None = 0.2
    top_3_gram: Fraction | None = 0.18
    top_4_gram: Fraction | None = 0.16
    min_words: Count = 100
    loop_repeats: Annotated[int, Field(ge=2, le=1000, strict=True)] | None = 4


class Symbols(Rule):
    """What a text may consist of.

    Attributes:
        on: Whether the rule is applied.
        max_symbols: Highest share of characters that are neither letters nor digits; white space is not counted.
        min_letters: Lowest share of letters.
        min_chars: Shorter texts are not judged: "4" and "x = 3" are answers.
    """

    max_symbols: Fraction = 0.5
    min_letters: Fraction = 0.2
    min_chars: Count = 50


class Scripts(Rule):
    """What a text may be written in.

    Attributes:
        on: Whether the rule is applied.
        allowed: Scripts, e.g. [Latin] or, for Japanese, [Han, Hiragana, Katakana]; nothing is judged if empty.
        min_share: Lowest share of letters in one of them.
        min_letters: Texts of fewer letters are not judged.
    """

    allowed: list[Script] = Field(default=[])
    min_share: Fraction = 0.5
    min_letters: Count = 10


class Languages(Rule):
    """Which languages a text may be in; needs the package py3langid.

    Attributes:
        on: Whether the rule is applied.
        allowed: Codes, e.g. [en, de]; nothing is judged if empty.
        min_confidence: Texts whose language is less certain stay.
        min_chars: Shorter texts are not judged.
    """

    allowed: list[str] = Field(default=[])
    min_confidence: Fraction = 0.8
    min_chars: Count = 20


class Refusals(Rule):
    """Answers that refuse, or speak of the model instead of the matter.

    Attributes:
        on: Whether the rule is applied.
        within: Characters at the beginning in which they are looked for.
        phrases: Further phrases of your own; case does not count.
    """

    within: Count = WITHIN_CHARS
    phrases: list[Phrase] = Field(default=[])


class Leaks(Rule):
    """Words of prompts and chat templates.

    Attributes:
        on: Whether the rule is applied.
        roles: Whether "User:", "Human:" or "Assistant:" at the beginning of a line is one; not for dialogues.
        phrases: Further phrases of your own; case does not count.
    """

    roles: bool = True
    phrases: list[Phrase] = Field(default=[])


class Options(StepOptions):
    """Options of the `quality` filter; each rule may also be `off`.

    Attributes:
        field: Column that is judged.
        length: How long the text may be.
        repetition: How much it may repeat itself.
        symbols: What it may consist of.
        script: In which scripts it may be written.
        language: In which languages it may be.
        refusals: Refusals, and phrases by which a model speaks of itself.
        leaks: Words of prompts and chat templates.
    """

    field: Column = "output"
    length: Length = Length()
    repetition: Repetition = Repetition()
    symbols: Symbols = Symbols()
    script: Scripts = Scripts()
    language: Languages = Languages()
    refusals: Refusals = Refusals()
    leaks: Leaks = Leaks()


def check(options: Options, base: Path) -> list[UserError]:
    """Whether the package for languages is there if it is needed, and knows the languages."""
    if not (options.language.on and options.language.allowed):
        return []
    if importlib.util.find_spec("py3langid") is None:
        return [OptionError("language", str(not_installed()))]
    known = LanguageIdentifier().codes
    return [
        OptionError("language.allowed", f"no language '{code}'{did_you_mean(code, known)}; known: {', '.join(known)}.")
        for code in options.language.allowed
        if code not in known
    ]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The same columns.

    Raises:
        OptionError: If the judged column is not among them.
    """
    require("field", options.field, incoming)
    return incoming


def sift(options: Options, base: Path) -> Sift:
    """The filter itself, for rows of any origin.

    Raises:
        UserError: If languages are asked for and their package is not installed.
    """
    rules = _rules(options)

    def judged(row: Row) -> Verdict | None:
        text = text_of(row, options.field).strip()
        return next((verdict for rule in rules for verdict in rule(text)), None)

    return Alone(judged)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Judge each record by itself."""
    async for outcome in sifted(records, sift(options, ctx.base)):
        yield outcome


# --- the rules ---------------------------------------------------------------------------------------------------------

Verdicts = Iterator[Verdict]


def _rules(options: Options) -> list[Callable[[str], Verdicts]]:
    """The rules that are on, each with its limits."""
    rules: list[Callable[[str], Verdicts]] = []
    if options.length.on:
        rules.append(lambda text: _length(text, options.length))
    if options.repetition.on:
        rules.append(lambda text: _repetition(text, options.repetition))
    if options.symbols.on:
        rules.append(lambda text: _symbols(text, options.symbols))
    if options.script.on and options.script.allowed:
        rules.append(lambda text: _script(text, options.script))
    if options.language.on and options.language.allowed:
        identifier = LanguageIdentifier()
        rules.append(lambda text: _language(text, options.language, identifier))
    if options.refusals.on:
        rules.append(lambda text: _refusals(text, options.refusals))
    if options.leaks.on:
        rules.append(lambda text: _leaks(text, options.leaks))
    return rules


def _broken(reason: str, evidence: str, score: float | None = None, threshold: float | None = None) -> Verdict:
    shown = evidence if len(evidence) <= SHOWN_CHARS else f"{evidence[:SHOWN_CHARS]}…"
    return Verdict(keep=False, rule="quality", reason=reason, score=score, threshold=threshold, evidence=shown)


def _length(text: str, limits: Length) -> Verdicts:
    for unit, size, least, most in (
        ("characters", len(text), limits.min_chars, limits.max_chars),
        ("words", len(text.split()), limits.min_words, limits.max_words),
    ):
        if size < least:
            yield _broken("too_short", f"{size:,} {unit}", size, least)
        elif most is not None and size > most:
            yield _broken("too_long", f"{size:,} {unit}", size, most)


def _repetition(text: str, limits: Repetition) -> Verdicts:
    if limits.loop_repeats is not None and (loop := looped_ending(text, limits.loop_repeats)) is not None:
        yield _broken("looped_ending", loop.text, loop.times, limits.loop_repeats)
    if limits.duplicate_lines is not None and len(text.splitlines()) >= limits.min_lines:
        lines = duplicate_lines(text)
        if lines.share > limits.duplicate_lines:
            yield _broken("duplicate_lines", f"{lines.times} times: {lines.text}", lines.share, limits.duplicate_lines)
    words = text.casefold().split()
    if len(words) < limits.min_words:
        return
    for ngram, limit in ((2, limits.top_2_gram), (3, limits.top_3_gram), (4, limits.top_4_gram)):
        if limit is not None and (top := top_ngram(words, ngram, LEAST_TIMES)).share > limit:
            yield _broken("repeated_ngram", f"{top.times} times: {top.text}", top.share, limit)


def _symbols(text: str, limits: Symbols) -> Verdicts:
    if len(text) < limits.min_chars:
        return
    found = shares(text)
    if found.symbols > limits.max_symbols:
        yield _broken("symbols", text, found.symbols, limits.max_symbols)
    if found.letters < limits.min_letters:
        yield _broken("few_letters", text, found.letters, limits.min_letters)


def _script(text: str, limits: Scripts) -> Verdicts:
    found = scripts(text)
    letters = sum(found.values())
    if letters < limits.min_letters:
        return
    share = sum(count for name, count in found.items() if name in limits.allowed) / letters
    if share < limits.min_share:
        yield _broken("script", f"mostly {next(iter(found))}", share, limits.min_share)


def _language(text: str, limits: Languages, identifier: LanguageIdentifier) -> Verdicts:
    if len(text) < limits.min_chars:
        return
    found = identifier.identify(text)
    if found.code not in limits.allowed and found.confidence >= limits.min_confidence:
        yield _broken("language", found.code, found.confidence, limits.min_confidence)


def _refusals(text: str, limits: Refusals) -> Verdicts:
    words = refusal(text, limits.within) or _phrase(text[: limits.within], limits.phrases)
    if words is not None:
        yield _broken("refusal", words)


def _leaks(text: str, limits: Leaks) -> Verdicts:
    words = leaked(text, roles=limits.roles) or _phrase(text, limits.phrases)
    if words is not None:
        yield _broken("leaked_words", words)


def _phrase(text: str, phrases: list[str]) -> str | None:
    folded = text.casefold()
    return next((phrase for phrase in phrases if phrase.casefold() in folded), None)
