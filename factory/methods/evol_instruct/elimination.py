r"""Elimination evolving: which evolutions fail, and on which field (WizardLM, arXiv 2304.12244, section 3.2).

1. A judge finds parent and evolved *task* equal in constraints, depth and breadth: `read_verdict`.
2. The *answer* says "sorry" in fewer than 80 words: `says_sorry`.
3. The *answer* consists of punctuation and stop words: `only_stop_words`.
4. The evolved *task* repeats words of the prompt: `leaked_words`.

    read_verdict("**Not Equal**")                        -> False
    says_sorry("Write an essay.", "Sorry, I cannot.")    -> "sorry"
    says_sorry("Write an apology.", "I am so sorry.")    -> None

Deviations, and why: "sorry" is what some tasks ask for; "no" alone is an answer, so it is no stop word here;
a leak must be the model's own, not its parent's.
"""

from __future__ import annotations

import re
import unicodedata

SORRY_WORDS = 80
MARKERS = (
    "given task",
    "rewritten task",
    "created task",
    "given prompt",
    "rewritten prompt",
    "created prompt",
    "new prompt",
    "given instruction",
    "rewritten instruction",
    "created instruction",
)
_MARKERS = re.compile(r"(?<!\w)(?:" + "|".join(MARKERS).replace(" ", r"[\s_#*-]+") + r")(?!\w)", re.IGNORECASE)
_SORRY = re.compile(r"(?<!\w)sorry(?!\w)", re.IGNORECASE)
_ASKS_FOR_IT = re.compile(
    r"(?<!\w)(?:sorry|apolog\w*|regrets?|regretful\w*|condolences?|sympathy|forgive\w*|excuses?)(?!\w)", re.IGNORECASE
)
_STOP_WORDS = """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just may me might more most must my myself nor of off on
    once only or other our ours ourselves out over own same shall she should so some such than that the their theirs
    them themselves then there these they this those through to too under until up very was we were what when where
    which while who whom why will with would you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def leaked_words(parent: str, evolved: str) -> str | None:
    """Words of the prompt that the evolved task has and its parent has not."""
    of_parent = {_plain(found.group()) for found in _MARKERS.finditer(parent)}
    return next((found.group() for found in _MARKERS.finditer(evolved) if _plain(found.group()) not in of_parent), None)


def _plain(marker: str) -> str:
    return " ".join(re.split(r"[\s_#*-]+", marker.casefold()))


def says_sorry(task: str, answer: str) -> str | None:
    """The word, if a short answer apologises and the task did not ask for an apology."""
    found = _SORRY.search(answer)
    if found is None or len(answer.split()) >= SORRY_WORDS or _ASKS_FOR_IT.search(task):
        return None
    return found.group()


def only_stop_words(answer: str) -> bool:
    """Whether an answer says nothing: punctuation, symbols and English stop words only."""
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", answer.casefold())
    return all(word.replace("’", "'").split("'")[0] in STOP_WORDS for word in words)


# --- the judge's verdict -------------------------------------------------------------------------------

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_CHOICE = re.compile(
    r"equal\W{1,4}(?:or|and|/|\||vs\.?|versus)\W{0,4}(?:not|un|in|non)\W{0,3}equal"
    r"|(?:not|un|in|non)\W{0,3}equal\W{1,4}(?:or|and|/|\||vs\.?|versus)\W{0,4}equal"
)
_NEGATED = re.compile(
    r"(?:\b(?:not|never|neither|nor|no|hardly|cannot|isnt|arent|without)\b|n['’]t\b)(?!\W+(?:differ\w*|distinct|only|just|merely)\b)"
    r"[^.!?;\n]{0,40}?\bequal(?:ly|ity)?\b"
    r"|\b(?:un|in|non)[\W_]*equal(?:ly|ity)?\b|\bn\W?o\W?t[\W_]*equal\b|(?:≠|!=|[¬!~])\s*equal\b"
    r"|\bequal[\W_]{0,3}(?:not|no|false|nope)\b"
)
_DOUBTFUL = re.compile(
    r"\bequal\b[^.!?;\n]{0,30}(?:\b(?:not|no|false|wrong)\b|n['’]t\b)"
    r"|\bequal\b[^.!?;\n]{0,80}\b(?:but|although|though|however|except)\b[^.!?;\n]{0,60}\b(?:more|less|other|different)\b"
    r"|\bequal\s+(?:conditions|constraints|requirements|numbers?|amounts?|parts|shares?|opportunit\w+)\b"
)
_EQUAL = re.compile(r"\bequal(?:ly)?\b")
_SYMBOL = re.compile(r"(?:≠|!=|[¬!~])\s*equal\b")
_STATED = re.compile(
    r"\A[\W_]*(?:(?:final\s+)?(?:verdict|answer|judg\w*|result|conclusion|decision)\W{0,6}(?:is\W{1,3})?)?"
)


def read_verdict(text: str) -> bool | None:
    """Whether a judge finds two tasks equal; None where that cannot be told.

    A line that is nothing but a verdict decides, the last one if there are several; else the whole text does, if
    it holds one kind of verdict only. "Not Equal" is never read as equal, whatever stands between or around it.

    >>> [read_verdict(text) for text in ("Equal.", "NOT-EQUAL", "They are not really equal.", "Equal or Not Equal?")]
    [True, False, False, None]
    """
    plain = _folded(text)
    stated = [verdict for line in plain.splitlines() if (verdict := _verdict_line(line)) is not None]
    if stated:
        return stated[-1]
    return _verdict(plain)


def _folded(text: str) -> str:
    """Lower case, one kind of letters, without markup, thoughts and repeated choices."""
    text = unicodedata.normalize("NFKC", _THOUGHT.sub("\n", text)).casefold()
    text = "".join(character for character in text if unicodedata.category(character) not in ("Cf", "Mn"))
    text = re.sub(r"[*`#\"“”'’](?!t\b)|(?<![^\W_])_+|_+(?![^\W_])", "", text)
    text = re.sub(r"\b(not|un|non|in)[\W_]*\n[\W_]*(?=equal\b)", r"\1 ", text)
    return _CHOICE.sub(" ", text)


def _verdict_line(line: str) -> bool | None:
    """The verdict of a line that holds nothing else."""
    if _SYMBOL.search(line):
        return False
    rest = _STATED.sub("", line, count=1).strip(" \t.:;,!()[]{}-–—=>")
    words = re.findall(r"[^\W_]+", rest)
    return _verdict(rest) if 1 <= len(words) <= 2 and "?" not in line else None


def _verdict(text: str) -> bool | None:
    negated = _NEGATED.search(text) is not None
    rest = _NEGATED.sub(" ", text)
    affirmed = [found.start() for found in _EQUAL.finditer(rest)]
    if negated:
        return None if affirmed else False
    if not affirmed or _DOUBTFUL.search(rest) or any(_lookalike(rest[:place]) for place in affirmed):
        return None
    return True


def _lookalike(before: str) -> bool:
    """Whether letters that can pass for Latin ones stand before the word: they may spell "not"."""
    near = before.splitlines()[-1][-8:] if before else ""
    return any(
        not letter.isascii() and unicodedata.name(letter, "").startswith(("LATIN", "CYRILLIC", "GREEK"))
        for letter in near
    )
