"""Made-up texts whose properties are known: from a small grammar, by a seed."""

from __future__ import annotations

import random

from factory.evaluation.texts import Text

SUBJECTS = [
    "the old {a} cat",
    "my {a} neighbour",
    "a {a} train",
    "our {a} teacher",
    "this {a} river",
    "her {a} brother",
]
ADJECTIVES = ["quiet", "green", "tired", "clever", "tall", "wet", "famous", "lazy", "kind", "brave", "rusty", "plain"]
VERBS = ["sees", "finds", "paints", "sells", "carries", "forgets", "repairs", "follows"]
OBJECTS = ["three {a} apples", "the {a} bridge", "a {a} letter", "some {a} chairs", "two {a} birds", "the {a} harbour"]
ENDINGS = ["in {m}", "before {m}", "after {m}", "every {m}", "until late {m}"]
MONTHS = ["January", "March", "April", "June", "July", "autumn", "winter", "the morning", "the evening"]
CLASSES = {"happy": ["wonderful", "sunny", "joyful", "lovely"], "sad": ["gloomy", "awful", "broken", "lonely"]}


def sentence(random_: random.Random, mood: str | None = None) -> str:
    adjectives = ADJECTIVES + (CLASSES[mood] * 9 if mood else [])
    parts = [random_.choice(part) for part in (SUBJECTS, VERBS, OBJECTS, ENDINGS)]
    filled = " ".join(parts).replace("{m}", random_.choice(MONTHS))
    while "{a}" in filled:
        filled = filled.replace("{a}", random_.choice(adjectives), 1)
    return f"{filled}, number {random_.randrange(10**6)}"


def texts(count: int, seed: int, *, labelled: bool = False, prefix: str = "t") -> list[Text]:
    random_ = random.Random(f"{prefix} {seed}")
    moods = list(CLASSES)
    made = []
    for number in range(count):
        mood = moods[number % 2] if labelled else None
        made.append(Text(f"{prefix}{seed}-{number}", sentence(random_, mood), mood or "", f"{prefix}{seed}-{number}"))
    return made


def corrupted(sources: list[Text], share: float, seed: int) -> list[Text]:
    """One text made from each source: in that share of them the words are in another order, the others are copies."""
    random_ = random.Random(f"corrupt {seed}")
    made = []
    for number, source in enumerate(sources):
        words = source.text.split()
        if number < share * len(sources):
            random_.shuffle(words)
        made.append(Text(f"c{number}", " ".join(words), source.label, ground=source.id))
    return made
