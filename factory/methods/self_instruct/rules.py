"""Which instructions and instances are kept (Self-Instruct, arXiv 2212.10560, section 2.2, steps 3 and 4).

Rules are tried in the order of the released code; the first that fires gives the verdict. Each can be
switched off in the recipe.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import Field, StringConstraints

from factory.methods.self_instruct.parse import Instance
from factory.recipe.schema import Strict
from factory.records import Verdict

BLACKLIST = (
    "image",
    "images",
    "graph",
    "graphs",
    "picture",
    "pictures",
    "file",
    "files",
    "map",
    "maps",
    "draw",
    "plot",
    "go to",
)
ONE_CALL_BLACKLIST = (*BLACKLIST, "video", "audio", "music", "flowchart", "diagram")

Text = Annotated[str, StringConstraints(min_length=1)]
# Scripts that put no spaces between words: Thai, Lao, Myanmar, Khmer, kana, Chinese characters.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")


class Rules(Strict):
    """Limits on an instruction; None, false or an empty list switches a rule off.

    Attributes:
        min_words: Fewest words, by white space; the paper's code rejects three or fewer. In scripts without
            spaces between words each character counts as one.
        max_words: Most words.
        blacklist: Words that speak of something a language model cannot see or do; whole words, any case.
            None takes the list of the paper's code, longer for the one-call variant.
        banned_prefixes: Beginnings that are turned away; models tire of nothing less than writing programs.
        punctuation_start: Reject an instruction that begins with ASCII punctuation.
        non_ascii_start: Reject an instruction that begins with a character outside ASCII: the paper's way to
            keep to English. Switch it off for other languages.
    """

    min_words: int | None = 4
    max_words: int | None = 150
    blacklist: list[Text] | None = None
    banned_prefixes: list[Text] = Field(default=["Write a program"])
    punctuation_start: bool = True
    non_ascii_start: bool = True


def judge_instruction(text: str, rules: Rules, blacklist: Sequence[str]) -> Verdict | None:
    """The verdict that rejects an instruction, or None.

    >>> judge_instruction("Sort the picture by colour.", Rules(), BLACKLIST).reason
    'blacklisted_word'
    >>> judge_instruction("Sort the photographs by colour.", Rules(), BLACKLIST) is None
    True
    """
    words = count_words(text)
    if not text:
        return _rejected("empty")
    if rules.min_words is not None and words < rules.min_words:
        return _rejected("too_short", words, rules.min_words)
    if rules.max_words is not None and words > rules.max_words:
        return _rejected("too_long", words, rules.max_words)
    found = _pattern(tuple(blacklist)).search(text) if blacklist else None
    if found is not None:
        return _rejected("blacklisted_word", evidence=found.group(0))
    for prefix in rules.banned_prefixes:
        if text.startswith(prefix):
            return _rejected("banned_prefix", evidence=prefix)
    if rules.punctuation_start and text[0] in string.punctuation:
        return _rejected("punctuation_start", evidence=text[0])
    if rules.non_ascii_start and not text[0].isascii():
        return _rejected("non_ascii_start", evidence=text[0])
    return None


def count_words(text: str) -> int:
    """Words by white space; in scripts that put none between words, each character is one.

    >>> count_words("Name a river."), count_words("写一首诗")
    (3, 4)
    """
    return len(_UNSPACED.sub(r" \g<0> ", text).split())


def _rejected(
    reason: str, score: float | None = None, threshold: float | None = None, evidence: str | None = None
) -> Verdict:
    return Verdict(keep=False, rule="instruction", reason=reason, score=score, threshold=threshold, evidence=evidence)


@lru_cache(maxsize=8)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_whole(word) for word in words), re.IGNORECASE)


def _whole(word: str) -> str:
    """The word with nothing of a word on either side, where its script tells words apart by spaces."""
    before = "" if _UNSPACED.match(word[0]) else r"(?<!\w)"
    after = "" if _UNSPACED.match(word[-1]) else r"(?!\w)"
    return before + re.escape(word) + after


def judge_instances(instances: Sequence[Instance]) -> list[str | None]:
    """Reason for rejection of each instance of one task, or None.

    In order: the parser's problem; empty output; input equal to output; input or output that ends with a colon.
    Then, if any two of the rest share an input that is not empty but differ in output, all of them go; else
    repeated ones go.
    """
    reasons: list[str | None] = []
    for instance in instances:
        if instance.problem is not None or not instance.output:
            reasons.append(instance.problem or "empty_output")
        elif instance.input == instance.output:
            reasons.append("input_equals_output")
        elif instance.input.endswith(":") or instance.output.endswith(":"):
            reasons.append("ends_with_colon")
        else:
            reasons.append(None)
    outputs: dict[str, set[str]] = {}
    for instance, reason in zip(instances, reasons, strict=True):
        if reason is None and instance.input:
            outputs.setdefault(instance.input, set()).add(instance.output)
    if any(len(found) > 1 for found in outputs.values()):
        return [reason or "contradicting_outputs" for reason in reasons]
    seen: set[Instance] = set()
    for index, instance in enumerate(instances):
        if reasons[index] is None and instance in seen:
            reasons[index] = "duplicate_instance"
        seen.add(instance)
    return reasons
