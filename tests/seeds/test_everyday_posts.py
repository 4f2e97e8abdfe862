"""The labelled corpus of our own: balanced, varied, and without near-duplicates."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from factory.novelty import NoveltyFilter

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "seeds" / "everyday_posts.jsonl").read_text(encoding="utf-8").splitlines()
]
TEXTS = [row["text"] for row in ROWS]


def test_there_are_at_least_220_posts_of_two_classes_of_equal_size() -> None:
    assert len(ROWS) >= 220
    assert all(set(row) == {"text", "label"} for row in ROWS)
    counts = Counter(row["label"] for row in ROWS)
    assert counts == {"humblebrag": len(ROWS) // 2, "plain": len(ROWS) // 2}


def test_posts_are_short_and_whole() -> None:
    for text in TEXTS:
        assert text == " ".join(text.split())
        assert 3 <= len(text.split()) <= 45, text


def test_no_post_is_a_near_duplicate_of_another() -> None:
    decisions = NoveltyFilter(threshold=0.7, tokenizer="rouge").add_batch(TEXTS)
    assert [text for text, kept in zip(TEXTS, decisions.kept, strict=True) if not kept] == []


def test_no_opening_is_worn_out() -> None:
    first = Counter(text.lower().split()[0] for text in TEXTS)
    two = Counter(" ".join(text.lower().split()[:2]) for text in TEXTS)
    assert max(first.values()) <= 0.08 * len(TEXTS), first.most_common(3)
    assert max(two.values()) <= 3, two.most_common(3)


def test_length_and_signs_do_not_give_the_class_away() -> None:
    words = {
        label: sum(len(row["text"].split()) for row in ROWS if row["label"] == label) / (len(ROWS) / 2)
        for label in ("humblebrag", "plain")
    }
    assert max(words.values()) / min(words.values()) < 1.5, words
    for sign in "!?.":
        share = {
            label: sum(sign in row["text"] for row in ROWS if row["label"] == label)
            for label in ("humblebrag", "plain")
        }
        assert abs(share["humblebrag"] - share["plain"]) < 0.2 * len(ROWS) / 2, (sign, share)
