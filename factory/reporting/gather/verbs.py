"""What instructions ask for: the verb that they begin with and the noun that it takes, as in the picture of Self-Instruct.

    verb_and_noun("Write a short story about a fox.")      ->  ("write", "story")
    verb_and_noun("Please give me three tips for sleep.")  ->  ("give", "tip")
    verb_and_noun("Why is the sky blue?")                  ->  ("ask why", "")

Self-Instruct (arXiv 2212.10560, figure 3) takes the root verb and its direct object from a constituency parser. A parser is
a model to be fetched; this is a lighter method for English that needs none. The verb is the first word of a list that an
instruction begins with, after courtesies ("please", "can you") and an opening phrase that ends in a comma ("Given a text, …"); a sentence that sets a scene is passed over.
The noun is the last word of the phrase that follows, up to a preposition, a relative word, a verb form or a mark. Questions are filed
by their question word. On 100 instructions that were labelled by hand, by whoever wrote the
rules, it finds 97 verbs and 93 pairs (`MEASURED`); the tests measure it again.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

VERBS: Final = frozenset(
    """
    abbreviate abstract accept act adapt add adjust advise advertise allocate alphabetize analyse analyze annotate announce answer apply
    appraise argue arrange articulate assemble assess assign assist assume attempt avoid balance begin bake brainstorm break
    briefly bring build calculate call capitalise capitalize categorise categorize change characterise characterize chart check choose cite clarify
    classify clean close code collect combine come comment compare compile complete compose compute concatenate conclude condense conduct
    confirm consider construct contrast convert convince cook correct count craft create criticise criticize critique cut debug decide decode
    decompose deduce deepen define delete deliver demonstrate derive describe design detect determine develop devise diagnose differentiate
    discover discuss distinguish divide draft draw edit elaborate eliminate emphasise emphasize encode encourage end enhance enumerate estimate
    evaluate examine expand explain explore express extend extract fill filter find finish fix follow forecast form format formulate gather generate
    give go grade greet group guess guide help highlight hypothesise identify illustrate imagine implement improve include incorporate indicate
    infer inform insert inspect integrate interpret introduce invent investigate invite join judge justify keep label learn let link list locate look
    make map mark match measure mention merge model modify move name narrate negotiate note number offer open optimise optimize order organise
    organize outline paraphrase parse perform persuade pick plan play point praise predict prepare present prioritise prioritize produce program
    pronounce proofread propose prove provide punctuate put quote rank rate read rearrange recall recite recognise recognize recommend reconstruct record
    reduce refer refine reflect reformulate relate remove rename reorder reorganise repeat rephrase replace reply report represent request research
    resolve respond restate restructure retell retrieve return reverse review revise reword rewrite round sample say schedule score search select
    send separate set share shorten show simplify simulate sketch solve sort speak specify spell split start state structure study subtract suggest sum
    summarise summarize supply support suppose synthesise synthesize tag take talk teach tell test think trace train transcribe transform translate try turn
    underline understand unscramble update use validate verify visualise visualize weigh work write
    act anonymise anonymize ask challenge coin commentate continue contrast cover detect document explore invent negate pair pitch place
    port pose pretend quiz refactor render repair rhyme roleplay scale soften speed spot strengthen swap thank trace transpose triage uncover
    """.split()  # noqa: SIM905
)
_QUESTIONS: Final = ("what", "which", "who", "whom", "whose", "when", "where", "why", "how")
_AUXILIARY: Final = frozenset(
    [
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "can",
        "could",
        "will",
        "would",
        "should",
        "shall",
        "may",
        "might",
        "has",
        "have",
        "had",
        "am",
    ]
)
_COURTESY: Final = re.compile(
    r"^(?:please|kindly|now|next|then|first|also|ok|okay|hi|hello|hey|can you|could you|would you|will you|can you please|"
    r"i want you to|i would like you to|i'd like you to|i need you to|you (?:are asked|need|have|should|must)(?: to)?|"
    r"your (?:task|job|goal) is to|the (?:task|goal) is to|try to|help me(?: to)?|let's|briefly|carefully|quickly|in your own words)\b[\s,:]*",
    re.IGNORECASE,
)
_OPENING: Final = re.compile(
    r"^(?:given|using|based on|in|for|from|with|imagine|suppose|assume|if|as|after|before|when|considering|according to|"
    r"you are|you're|i am|i'm|i have|here is|here are|to|without|considering)\b[^.?!:\n]*?[,:.]\s+(?=\S)",
    re.IGNORECASE,
)
_SENTENCE: Final = re.compile(r"(?<=[.?!:;])\s+")
_SCENE: Final = ("imagine", "suppose", "assume", "consider", "pretend")
MEASURED: Final = (97, 93)
"""Right verbs, and right pairs of verb and noun, of the 100 instructions in the tests."""
MOST_WORDS: Final = 80
MOST_SENTENCES: Final = 4
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d[\w.,]*|[^\w\s]")
_SKIP: Final = frozenset(
    """
    a an the this that these those my your his her its our their me us him them you it someone somebody yourself some any each every all both one two three four
    five six seven eight nine ten several many few more most another other following given provided above below out up down back away
    off in on now today here there please again only just very really exactly at least possible
    """.split()  # noqa: SIM905
)
_END: Final = frozenset(
    """
    about above across after against along among and around as at because before behind below between but by during except for from how if
    in inside into is are was were be has have had can could would should like near nor of off on onto or out over per since so such than that then through throughout
    to toward towards under until unless up upon using versus via what when where whether which while who whose why with within without
    """.split()  # noqa: SIM905
)
_PARTICLES: Final = frozenset(["out", "up", "down", "off", "back", "away", "in", "on", "over"])
_NOT_A_NOUN: Final = re.compile(r"^(?:\w{3,}ly|\d[\w.,]*)$")
_SIBILANT: Final = ("sses", "shes", "ches", "xes", "zzes")
_UNCHANGED: Final = ("ss", "us", "is", "news", "series", "species", "mathematics", "physics")
_IRREGULAR: Final = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "lives": "life",
    "criteria": "criterion",
}


class Picture(msgspec.Struct, frozen=True):
    """Verbs and nouns of many instructions.

    Attributes:
        branches: Verb and its nouns with their counts, the most frequent first.
        read: Instructions in which a verb or a question word was found.
        of: All instructions.
        verbs: Different verbs.
    """

    branches: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    read: int
    of: int
    verbs: int


def picture(instructions: Iterable[str], verbs: int = 15, nouns: int = 4) -> Picture:
    """Count verbs and their nouns; rarer nouns are together in `other`.

    Args:
        instructions: Texts.
        verbs: Most verbs to give.
        nouns: Most nouns of each.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    total = read = 0
    for instruction in instructions:
        total += 1
        verb, noun = verb_and_noun(instruction)
        if verb:
            read += 1
            found[verb][noun or "no noun"] += 1
    ranked = sorted(found.items(), key=lambda each: (-each[1].total(), each[0]))
    branches = tuple((verb, _leaves(counts, nouns)) for verb, counts in ranked[:verbs])
    return Picture(branches, read, total, len(found))


def _leaves(counts: Counter[str], most: int) -> tuple[tuple[str, int], ...]:
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    rest = sum(count for _, count in ranked[most:])
    return (*ranked[:most], *([("other", rest)] if rest else []))


def verb_and_noun(instruction: str) -> tuple[str, str]:
    """The verb that an instruction asks with and its noun; `("", "")` where none is found.

    The first of its sentences that begins with a verb or a question word counts: some set a scene before they ask.

    >>> verb_and_noun("Given a list of words, sort them by length."), verb_and_noun("You are a poet. Write a haiku."), verb_and_noun("42")
    (('sort', ''), ('write', 'haiku'), ('', ''))
    """
    told = " ".join(instruction.split()[:MOST_WORDS])
    for sentence in _SENTENCE.split(told)[:MOST_SENTENCES]:
        if (found := _of_sentence(sentence))[0]:
            return found
    return "", ""


def _of_sentence(sentence: str) -> tuple[str, str]:
    told = _without_courtesy(sentence)
    words = [word.lower().replace("’", "'") for word in _WORD.findall(told)]
    if not words:
        return "", ""
    if (question := _question(words)) is not None:
        return question, ""
    if words[0] in _SCENE or words[0] not in VERBS:
        opened = _OPENING.sub("", told, count=1)
        later = ("", "") if opened == told else _of_sentence(opened)
        if later[0] or words[0] not in VERBS:
            return later
    return words[0], _noun(words[1:])


def _without_courtesy(told: str) -> str:
    told = told.strip(" \"'“”*#-")
    for _ in range(3):
        told = _COURTESY.sub("", told, count=1)
    return told


def _question(words: list[str]) -> str | None:
    first = words[0].split("'")[0]
    if first in _QUESTIONS:
        return f"ask {first}"
    if first in _AUXILIARY and len(words) > 1:
        return "ask yes or no"
    if words[0] in _END and len(words) > 2 and words[1] in ("which", "what", "whom"):
        return f"ask {words[1]}"
    return None


def _noun(words: list[str]) -> str:
    """The last word of the phrase that the words begin with."""
    found = ""
    for at, word in enumerate(words):
        if not word[0].isalnum():
            if word in "\"'“”‘’([" and not found:
                continue
            break
        if word in _SKIP:
            if found:
                break
            continue
        if word in _END and not (not found and word in _PARTICLES and at == 0):
            break
        if found and _participle(word):
            break
        if not _NOT_A_NOUN.match(word) or word in ("family", "reply", "assembly", "supply"):
            found = word
    return _singular(found.removesuffix("'s"))


def _participle(word: str) -> bool:
    """Whether a word behind a noun rather begins a new phrase: `a story involving`, `the words written`."""
    return word.endswith(("ing", "ed")) and len(word) > 5


def _singular(noun: str) -> str:
    """A noun without its plural.

    >>> [_singular(word) for word in ("stories", "boxes", "rivers", "analysis", "people")]
    ['story', 'box', 'river', 'analysis', 'person']
    """
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if len(noun) < 4 or noun.endswith(_UNCHANGED) or not noun.endswith("s"):
        return noun
    if noun.endswith("ies") and len(noun) > 4:
        return f"{noun[:-3]}y"
    return noun[:-2] if noun.endswith(_SIBILANT) else noun[:-1]
