r"""How much a text repeats itself: equal lines, a phrase that comes again and again, an ending that loops.

    duplicate_lines("a b c\nd e f\na b c\na b c")        -> Repeated(share=0.5, text="a b c", times=3)
    top_ngram("to be or not to be that is".split(), 2)   -> Repeated(share=0.421, text="to be", times=2)
    looped_ending("Done. " + "I am here to help. " * 4)  -> Repeated(share=0.95…, text="i am here to help", times=4)

The first two are measures of Gopher's repetition filter (Rae et al. 2021, arXiv 2112.11446, table A1), which were set for
web pages. Deviation: lines of fewer than three words are not counted, since code and lists have equal ones ("}", "yes").
The third is what small models do when they do not find the end: they write the last sentence until their tokens are spent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from factory.novelty.tokenizers import tokenize

LEAST_WORDS: Final = 3  # of a line that is counted
LONGEST_UNIT: Final = 100  # tokens of what an ending repeats
LEAST_LOOPED: Final = 16  # tokens that a looped ending has; "row, row, row your boat" is none
_ENDING_CHARS: Final = 4000
_LETTER = re.compile(r"[^\W\d_]")


class Repeated(msgspec.Struct, frozen=True):
    """Something that a text has several times.

    Attributes:
        share: Share of the text that is repetition, in [0, 1].
        text: What is repeated most.
        times: How often it is there.
    """

    share: float
    text: str
    times: int


def duplicate_lines(text: str) -> Repeated:
    """Share of the lines that equal an earlier one; of lines of at least three words."""
    lines = [line for line in (line.strip() for line in text.splitlines()) if len(line.split()) >= LEAST_WORDS]
    counts = Counter(lines)
    if not counts:
        return Repeated(0.0, "", 0)
    line, times = counts.most_common(1)[0]
    return Repeated((len(lines) - len(counts)) / len(lines), line, times)


def top_ngram(words: Sequence[str], ngram: int, times: int = 2) -> Repeated:
    """Share of the characters that belong to the run of n words that takes up most, of those there so many times."""
    total = sum(map(len, words))
    counts = Counter(zip(*(words[offset:] for offset in range(ngram)), strict=False))
    most, run, found = max(
        ((count * sum(map(len, run)), run, count) for run, count in counts.items() if count >= times),
        key=lambda each: each[0],
        default=(0, (), 0),
    )
    return Repeated(min(1.0, most / total) if total else 0.0, " ".join(run), found)


def looped_ending(text: str, repeats: int = 4) -> Repeated | None:
    """What the end of a text repeats at least so often without a pause, if it does.

    The last time may be cut off. Runs of numbers alone are no loop: a matrix of zeros is none.
    """
    tokens = tokenize(text[-_ENDING_CHARS:], "unicode")
    for unit in range(1, min(LONGEST_UNIT, len(tokens) // repeats) + 1):
        looped = _looped(tokens, unit)
        if looped >= max(LEAST_LOOPED, repeats * unit):
            found = tokens[-unit:] if looped % unit == 0 else tokens[len(tokens) - looped :][:unit]
            if any(map(_LETTER.search, found)):
                return Repeated(looped / len(tokens), " ".join(found), looped // unit)
    return None


def _looped(tokens: Sequence[str], unit: int) -> int:
    """Tokens at the end that repeat with that period."""
    place = len(tokens) - 1
    while place >= unit and tokens[place] == tokens[place - unit]:
        place -= 1
    same = len(tokens) - 1 - place
    return same + unit if same else 0
