"""The demonstration corpus: the same seed makes the same files, nobody is in both, and the classes can be learnt, not read off."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from factory.classifiers.tfidf import TfidfClassifier

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "make_tickets"


def made(folder: Path, *arguments: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The private and the public tickets."""
    subprocess.run([sys.executable, SCRIPT, "--out", folder, *arguments], check=True, capture_output=True)
    private, public = (
        list(csv.DictReader((folder / f"{name}.csv").open(encoding="utf-8"))) for name in ("tickets", "tickets_test")
    )
    return private, public


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    return made(tmp_path_factory.mktemp("tickets"))


def test_the_shapes(corpus: tuple[list[dict[str, str]], list[dict[str, str]]]) -> None:
    private, public = corpus
    assert (len(private), len(public)) == (6_000, 1_000)
    assert list(private[0]) == list(public[0]) == ["text", "label", "customer"]
    shares = Counter(row["label"] for row in private)
    assert sorted(shares) == ["billing", "delivery", "technical"]
    assert min(shares.values()) > 0.2 * len(private)
    assert all(5 <= len(row["text"].split()) <= 40 for row in [*private, *public])


def test_no_customer_is_in_both_files_and_some_write_twice(
    corpus: tuple[list[dict[str, str]], list[dict[str, str]]],
) -> None:
    private, public = corpus
    writers = Counter(row["customer"] for row in private)
    assert not writers.keys() & {row["customer"] for row in public}
    assert 2 <= max(writers.values()) <= 3


def test_no_text_is_there_twice_also_but_for_its_names_and_numbers(
    corpus: tuple[list[dict[str, str]], list[dict[str, str]]],
) -> None:
    rows = [row["text"] for file in corpus for row in file]
    assert len(set(rows)) == len(rows)
    bare = {re.sub(r"\S*\d\S*", "", text).casefold() for text in rows}
    assert len(bare) > 0.95 * len(rows)


def test_there_is_what_must_not_come_out_word_for_word(
    corpus: tuple[list[dict[str, str]], list[dict[str, str]]],
) -> None:
    texts = "\n".join(row["text"] for row in corpus[0])
    for pattern in (r"@example\.org", r"07700 900\d{3}", r"NT-?\d{5}", r"\b(?:Okafor|Brandt)\b"):
        assert len(re.findall(pattern, texts)) > 50
    assert not re.findall(r"@(?!example\.org)", texts, re.IGNORECASE)
    assert not re.findall(r"[{}<>|]", texts)


def test_the_same_seed_makes_the_same_bytes_and_another_makes_others(tmp_path: Path) -> None:
    for name, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        made(tmp_path / name, "--rows", "300", "--test-rows", "40", "--seed", seed)
    for name in ("tickets.csv", "tickets_test.csv"):
        one, again, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "again", "two"))
        assert one == again != two


def test_the_classes_are_learnt_from_many_texts_and_never_wholly(
    corpus: tuple[list[dict[str, str]], list[dict[str, str]]],
) -> None:
    private, public = corpus
    accuracy = []
    for size in (200, 1_000):
        rows = private[:size]
        model = TfidfClassifier().fit([row["text"] for row in rows], [row["label"] for row in rows])
        named = model.probabilities([row["text"] for row in public]).argmax(axis=1)
        right = [model.classes[place] == row["label"] for place, row in zip(named, public, strict=True)]
        accuracy.append(sum(right) / len(right))
    assert 0.68 < accuracy[0] < 0.82
    assert 0.86 < accuracy[1] < 0.94
