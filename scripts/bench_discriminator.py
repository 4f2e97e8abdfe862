"""Seconds and peak memory of the `discriminator` filter: `scripts/bench discriminator [--texts 20000] [--backend tfidf]`.

Half of the texts are real and half synthetic, ten of a source. They are made up, of words with the frequencies of English
(Zipf's law), in sentences of about the length of a tweet; `--real FILE --synthetic FILE` takes texts of your own, a text a
line. The first run trains; the second finds the scores in the journal, as a run does that goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES = ("sarcastic", "plain")
WORDS = 30_000
OF_A_SOURCE = 10


def made_up(count: int, draw: random.Random, favourites: int) -> list[str]:
    """Sentences of about 20 words; the synthetic ones have favourites among the words."""
    words = [f"w{number}" for number in range(WORDS)]
    weights = [1 / (rank + 2) for rank in range(WORDS)]
    for rank in range(favourites):
        weights[50 + rank] *= 3
    return [" ".join(draw.choices(words, weights, k=draw.randint(10, 30))) for _ in range(count)]


def texts(path: Path | None, count: int, draw: random.Random, favourites: int) -> list[str]:
    """The texts of a file, or made-up ones."""
    if path is None:
        return made_up(count, draw, favourites)
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()][:count]


def write(folder: Path, given: argparse.Namespace) -> Path:
    """The two files and a recipe."""
    from factory.records import source_id

    draw, half = random.Random(7), given.texts // 2
    real = [
        {"text": text, "label": CLASSES[number % 2]} for number, text in enumerate(texts(given.real, half, draw, 0))
    ]
    grounds = [source_id(row, 0) for row in real[: max(1, half // OF_A_SOURCE)]]
    rows = [
        {"text": text, "label": CLASSES[number % 2], "ground_id": grounds[number % len(grounds)], "number": number}
        for number, text in enumerate(texts(given.synthetic, half, draw, 40))
    ]
    for name, found in (("real", real), ("rows", rows)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    (folder / "script.json").write_text('{"answers": ["unused"]}', encoding="utf-8")
    options = {"real": {"path": "real.jsonl"}, "backend": given.backend, "encoder": {"finetune": given.finetune}}
    recipe = {
        "name": "bench",
        "engine": {"kind": "scripted", "model": "none", "script": "script.json"},
        "steps": [{"rows": {"path": "rows.jsonl"}}, {"discriminator": options}],
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    return folder / "recipe.yaml"


def measure(recipe: Path, out: Path) -> None:
    """One run, in this process, whose peak it is."""
    import factory

    began = time.perf_counter()
    result = factory.run(recipe, out, progress=False)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    notes = [note for step in result.manifest["steps"] for note in step["notes"]]
    print(f"{result.rows:,} rows kept in {seconds:.1f} s, peak {peak:,.0f} MB")
    print("\n".join(f"  {note}" for note in notes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--backend", choices=("tfidf", "encoder"), default="tfidf")
    parser.add_argument("--finetune", action="store_true")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--synthetic", type=Path)
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(*given.measure)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = write(folder, given)
        print(f"{given.texts:,} texts, {given.backend}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for what in ("trained", "found in the journal"):
            print(f"{what}: ", end="", flush=True)
            command = [sys.executable, __file__, "--measure", str(recipe), str(folder / "out")]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
