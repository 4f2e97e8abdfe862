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

import html
import re
import unicodedata

SORRY_WORDS = 80
SIGNS = ("Sm", "Sc", "So")  # of mathematics, of money, and others
MARKERS = ("given", "rewritten", "created", "evolved")
_MARKERS = re.compile(
    r"(?<!\w)(?<!\ba )(?<!\bany )(?<!\beach )(?<!\bevery )"
    rf"(?:{'|'.join(MARKERS)})[\s_#*-]+(?:task|prompt|instruction|version)s?(?!\w)",
    re.IGNORECASE,
)
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
    found = _SORRY.search(_visible(answer))
    if found is None or len(answer.split()) >= SORRY_WORDS or _ASKS_FOR_IT.search(task):
        return None
    return found.group()


def _visible(text: str) -> str:
    """One kind of letters, without characters that do not show and marks around words."""
    text = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf").replace("_", " ")


def only_stop_words(answer: str) -> bool:
    """Whether an answer says nothing: punctuation and English stop words only.

    A single letter may be the right choice, and a sign such as "+" or "→" the right sign.
    """
    if re.fullmatch(r"[\W_]*[^\W_][\W_]*", answer) or any(unicodedata.category(letter) in SIGNS for letter in answer):
        return False
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", answer.casefold())
    return all(word.replace("’", "'").split("'")[0] in STOP_WORDS for word in words)


# --- the judge's verdict -------------------------------------------------------------------------------

_THOUGHT = re.compile(r"\A.*</think>|<think>.*\Z", re.DOTALL)
_CHOICE = re.compile(
    r"equal\W{1,4}(?:or|and|/|\||vs\.?|versus)\W{0,4}(?:not|un|in|non)\W{0,3}equal"
    r"|(?:not|un|in|non)\W{0,3}equal\W{1,4}(?:or|and|/|\||vs\.?|versus)\W{0,4}equal"
)
_WORD = r"\bequals?\b|\bequal(?:ly|ity)\b|\bis_equal\b"
_NEGATED = re.compile(
    r"(?:\b(?:not|n0t|never|neither|nor|no|hardly|cannot|isnt|arent|aint|without)\b|n['’]t\b)"
    r"(?!\W+(?:differ\w*|distinct|only|just|merely)\b)[^.!?;\n]{0,200}?"
    rf"(?:{_WORD})"
    r"|\b(?:un|in|non|dis)[\W_]*equal(?:ly|ity)?\b|\bn\W?[o0]\W?t[\W_]*equals?\b|(?:≠|!=|\\neq?\b\$?|[¬!~])\W*equal\b"
    r"|\b(?:is_)?equal[\W_]{0,4}(?:not|no|false|nope|0|n)\b|\bequal\W{0,4}[✗✘❌×]"
)
_EQUAL = re.compile(r"\bequal(?:ly)?\b")
_SYMBOL = re.compile(r"(?:≠|!=|\\neq?\b\$?|[¬!~])\W*equal\b")
_STATED = re.compile(
    r"\A[\W_]*(?:(?:final\s+)?(?:verdict|answer|judg\w*|result|conclusion|decision)\W{0,6}(?:is\W{1,3})?)?"
)
# What takes back, limits or doubts a verdict. Such an answer is no verdict: the judge is asked again.
_DOUBT = re.compile(
    r"\b(?:not|no|never|nor|false|wrong|incorrect|doubt\w*|reject\w*|except|unless|but|although|though|however|instead|while"
    r"|whereas|almost|nearly|barely|partly|partially|mostly|roughly|far|fail\w*|differ\w*|distinct|unlike|deeper|broader|wait"
    r"|actually|deny|denies|hard)\b|n['’]t\b|\bequal\s+(?:conditions|constraints|requirements|numbers?|amounts?|parts|shares?)\b"
)
_SENTENCE = re.compile(r"[^.!?;\n]*[.!?;\n]?")
_FINE = re.compile(
    r"\b(?:do|does|did|are|is) (?:not|n['’]t) (?:differ\w*|distinct)\b|\bnot (?:only|just|merely)\b|\bbut (?:also|actually)\b"
)
_TAKEN_BACK = re.compile(
    r"\b(?:differ\w*|unlike|unequal|wait|however|except|additional|extra)\b|\bactually\b|^\W*(?:no|false|nope)\W*$",
    re.MULTILINE,
)


def read_verdict(text: str) -> bool | None:
    """Whether a judge finds two tasks equal; None where that cannot be told.

    A line that is nothing but a verdict decides, if all such lines agree and nothing takes it back; else the whole text
    does, if it holds one kind of verdict only and no doubt about an "equal". "Not Equal" is never read as equal,
    whatever stands between or around it: an evolution without a verdict is turned away as an equal one is.

    >>> [read_verdict(text) for text in ("Equal.", "NOT-EQUAL", "They are not really equal.", "Equal or Not Equal?")]
    [True, False, False, None]
    """
    plain = _folded(text)
    stated = {verdict for line in plain.splitlines() if (verdict := _verdict_line(line)) is not None}
    if len(stated) == 2:
        return None
    if stated == {True}:
        return None if _TAKEN_BACK.search(plain) or _NEGATED.search(plain) else True
    return False if stated else _verdict(plain)


def _folded(text: str) -> str:
    """Lower case, one kind of letters, without markup, thoughts and repeated choices."""
    text = unicodedata.normalize("NFKC", html.unescape(_THOUGHT.sub("\n", text))).casefold()
    text = "".join(character for character in text if unicodedata.category(character) not in ("Cf", "Mn"))
    text = re.sub(r"[*`#\"“”'’](?!t\b)|(?<![^\W_])_+|_+(?![^\W_])", "", text)
    text = re.sub(r"\b(not|no|un|non|in)[\W_]*\n[\W_]*(?=equal\b)", r"\1 ", text)
    return _CHOICE.sub(" ", text)


def _verdict_line(line: str) -> bool | None:
    """The verdict of a line that holds nothing else."""
    if _SYMBOL.search(line):
        return False
    rest = _STATED.sub("", line, count=1).strip(" \t.:;,!()[]{}<>-–—")
    words = re.findall(r"[^\W_]+", rest)
    return _verdict(rest) if 1 <= len(words) <= 2 and "?" not in line else None


def _verdict(text: str) -> bool | None:
    negated = _NEGATED.search(text) is not None
    rest = _NEGATED.sub(" ", text)
    affirmed = [found.start() for found in _EQUAL.finditer(rest)]
    if negated:
        return None if affirmed else False
    spoken = [sentence for sentence in _SENTENCE.findall(rest) if _EQUAL.search(sentence)]
    doubted = any(sentence.endswith("?") or _DOUBT.search(_FINE.sub(" ", sentence)) for sentence in spoken)
    if not affirmed or doubted or any(_lookalike(rest[:place]) for place in affirmed):
        return None
    return True


def _lookalike(before: str) -> bool:
    """Whether letters that can pass for Latin ones stand before the word: they may spell "not"."""
    near = before.splitlines()[-1][-8:] if before else ""
    return any(
        not letter.isascii() and unicodedata.name(letter, "").startswith(("LATIN", "CYRILLIC", "GREEK"))
        for letter in near
    )
