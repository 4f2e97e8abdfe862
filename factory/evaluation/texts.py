"""Texts as an evaluation sees them, and what is drawn of them.

    Text(id="5f0c…", text="Oh great, rain again", label="sarcastic", group="91ab…", ground="91ab…")

The group of a text is its source: a real text and everything that was made from it have one group, so that a split by
group never tests a model on a variation of what it was trained on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import msgspec

from factory.classifiers.crossfit import Joined, form
from factory.novelty.tokenizers import tokenize
from factory.records import digest

_APOSTROPHES = str.maketrans("", "", "'’")


class Text(msgspec.Struct, frozen=True):
    """A real or synthetic text.

    Attributes:
        id: Names the text; what is drawn depends on it.
        text: The text, not empty.
        label: Its class; "" if it has none.
        group: Its source; texts of one group are resampled, and split, together.
        ground: Id of the real text that it was made from, if there is one.
        others: Ids of further texts that it may have been made from; those of real texts count.
    """

    id: str
    text: str
    label: str = ""
    group: str = ""
    ground: str | None = None
    others: tuple[str, ...] = ()


def by_source(real: Sequence[Text], synthetic: Iterable[Text]) -> tuple[list[Text], list[Text]]:
    """The texts with their groups: what is of one source, or reads alike, is one group.

    A synthetic text joins all real texts that it was made from, and every text of the same wording. A ground that is
    none of the real texts (a seed) is a group too. A group has the id of its first real text, else of its ground.
    """
    made = list(synthetic)
    ids = {each.id for each in real}
    joined = Joined()
    for each in real:
        joined.join(f"id {each.id}", f"text {form(each.text)}")
    for each in made:
        joined.join(f"text {form(each.text)}", f"text {form(each.text)}")
        for ground in grounds_of(each, ids):
            joined.join(f"text {form(each.text)}", f"id {ground}")
    names: dict[str, str] = {}
    for each in real:
        names.setdefault(joined.root(f"id {each.id}"), each.id)
    for each in made:
        wording = digest("wording", form(each.text))
        names.setdefault(joined.root(f"text {form(each.text)}"), each.ground if each.ground is not None else wording)

    def grouped(texts: Iterable[Text]) -> list[Text]:
        return [msgspec.structs.replace(each, group=names[joined.root(f"text {form(each.text)}")]) for each in texts]

    return grouped(real), grouped(made)


def grounds_of(text: Text, real: Collection[str]) -> list[str]:
    """Ids of all real texts that a text was made from; the ground that it names, if none of them is a real text."""
    named = [ground for ground in (text.ground, *text.others) if ground is not None]
    return [ground for ground in dict.fromkeys(named) if ground in real] or named[:1]


def fold(group: str) -> int:
    """0 or 1, by the hash of a group."""
    return int(digest("fold", group)[:8], 16) % 2


def held_out(real: Sequence[Text], grounds: set[str], share: float) -> tuple[list[Text], list[Text]]:
    """Real texts to train with, and those held out by the hash of their group; a ground is never held out.

    Args:
        real: With their groups.
        grounds: Groups that synthetic texts were made from.
        share: Share of the groups to hold out, in (0, 1).
    """
    limit = round(share * 2**32)
    out = {each.group for each in real if int(digest("held out", each.group)[:8], 16) < limit} - grounds
    return [each for each in real if each.group not in out], [each for each in real if each.group in out]


def drawn(texts: Sequence[Text], size: int, draw: int = 0) -> list[Text]:
    """So many of the texts, without replacement; which ones follows from their ids and the number of the draw."""
    return sorted(texts, key=lambda each: digest("draw", draw, each.id))[:size]


def drawn_by_class(texts: Sequence[Text], size: int, draw: int = 0) -> list[Text]:
    """So many of the texts, each class with its share (largest remainder) and at least one text."""
    classes: dict[str, list[Text]] = defaultdict(list)
    for each in texts:
        classes[each.label].append(each)
    shares = {name: size * len(members) / len(texts) for name, members in sorted(classes.items())}
    counts = {name: max(1, int(share)) for name, share in shares.items()}
    for name in sorted(shares, key=lambda name: int(shares[name]) - shares[name]):
        if sum(counts.values()) < size and counts[name] < len(classes[name]):
            counts[name] += 1
    return [each for name, members in sorted(classes.items()) for each in drawn(members, counts[name], draw)]


def words(text: str) -> list[str]:
    """Words without case and punctuation; of scripts without spaces, characters.

    >>> words("I'm SO happy, really!")
    ['im', 'so', 'happy', 'really']
    """
    return tokenize(text.translate(_APOSTROPHES), "unicode")


def opening(text: str) -> str:
    """The first two words; the text itself if it has none.

    >>> opening("Oh, great. Another Monday"), opening("🥺")
    ('oh great', '🥺')
    """
    return " ".join(words(text)[:2]) or text.strip()
