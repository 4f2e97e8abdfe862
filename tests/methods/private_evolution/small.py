"""What the tests of private evolution share: small corpora, a model that writes about things, and an encoder by words."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq

from factory.context.context import request_key
from factory.engines.protocol import Request
from factory.privacy.ledger import Ledger, ledger_of

from ...small_runs import MODEL, jsonl, recipe, text_of

CLASSES = {"billing": "a question about an invoice.", "delivery": "a question about a parcel."}
THINGS = {
    "billing": ["invoice", "refund", "card", "tax", "discount", "receipt"],
    "delivery": ["parcel", "courier", "address", "depot", "tracking", "box"],
}
MOODS = ["late", "wrong", "missing", "double", "broken", "unclear", "early", "fine"]
COMMON = {
    "billing": (["invoice", "refund"], ["double", "wrong"]),
    "delivery": (["parcel", "courier"], ["late", "missing"]),
}
PRIVATE_WORD = "zanzibar"  # in every private text and in no synthetic one


def private_rows(count: int = 300) -> list[dict[str, Any]]:
    """Private texts, most of them about what is `COMMON`."""
    draw = random.Random(5)
    rows = []
    for number in range(count):
        label = ("billing", "delivery")[number % 2]
        things, moods = COMMON[label] if draw.random() < 0.9 else (THINGS[label], MOODS)
        text = f"my {draw.choice(things)} is {draw.choice(moods)} {PRIVATE_WORD} {number}"
        rows.append({"text": text, "label": label})
    return rows


def answer(request: Request) -> str:
    """Writes about a thing of the class that the prompt names, and keeps a part of the text that it is to vary."""
    text, draw = text_of(request), random.Random(request_key(MODEL, request))
    label = next((name for name, about in CLASSES.items() if about in text), "billing")
    thing, mood = draw.choice(THINGS[label]), draw.choice(MOODS)
    if (shown := re.search(r"\w+ (\w+) \w+ (\w+), \w+ \w+\.", text)) is not None:
        kept = draw.choice(["thing", "mood"])
        thing = shown[1] if kept == "thing" and shown[1] != "_" else thing
        mood = shown[2] if kept == "mood" and shown[2] != "_" else mood
    return f'"The {thing} is {mood}, order {draw.randrange(10**6)}."'


class Words:
    """Unit vectors that count words; a text's vector depends on nothing else."""

    calls: list[int] = []

    def __init__(self, model: str = "embedded", **_: Any) -> None:
        self.model = model

    def __call__(self, texts: Sequence[str]) -> Any:
        Words.calls.append(len(texts))
        found = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in zip(found, texts, strict=True):
            for word in re.findall(r"[a-z]+", text.lower()):
                row[zlib.crc32(word.encode()) % 256] += 1.0
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


def evolving(folder: Path, private: list[dict[str, Any]] | None = None, *, head: Any = None, **options: Any) -> Path:
    """A recipe over private rows in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "private.jsonl", private_rows() if private is None else private)
    data = {"path": "private.jsonl", **options.pop("data", {})}
    method = {"task": "messages to a shop", "classes": CLASSES, "rows": 8, "rounds": 3, "variations": 2, **options}
    if not {"epsilon", "noise_multiplier"} & method.keys():
        method["epsilon"] = 4.0
    return recipe(folder, [{"private_evolution": {"data": data, **method}}], **(head or {}))


def ledger(folder: Path) -> Ledger:
    return Ledger(ledger_of(folder / "private.jsonl"))


def spends(folder: Path) -> list[dict[str, Any]]:
    """Lines of the ledger in which something is paid."""
    lines = [msgspec.json.decode(line) for line in ledger(folder).path.read_bytes().splitlines()]
    return [line for line in lines if line["type"] == "spend"]


def read(out: Path, part: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted((out / part).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
