"""What the novelty filter costs, beside its peers and the limit of its own scan; all from one file of instructions.

scripts/bench novelty FILE.jsonl [peers|scan|alpaca|million|passages|batch|fallback|start|minhash ...]

FILE has a column `instruction`; the figures of the README are those of the 52,002 instructions of Alpaca. Every part
is text in, decisions out, in a process of its own, on one core unless it says otherwise.

peers      1,000 texts against a loop over rouge_score, 5,000 against rapidfuzz (LCSseq, cdist); a third are edited copies
scan       population counts a second that this processor reaches, and what a pair costs at that rate
alpaca     all texts of the file, best of three
million    1,000,000 texts, each the first half of one text and the second half of another; then on two cores
passages   50,000 passages of 1 to 40 texts, one in 500 of up to 400
batch      20 texts against all of them; the nearest of one
fallback   all texts without numba
start      a new process with compiled functions on disk, from import to the first decision
minhash    10,000 texts: MinHash against the exact decisions
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Texts = list[str]
SEED = 20
WORDS_OF_EDITS = ("please", "now", "three", "new", "simple", "your", "short")


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def read(path: Path) -> Texts:
    return [json.loads(line)["instruction"] for line in path.read_text(encoding="utf-8").splitlines()]


def one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def with_edits(texts: Texts, count: int) -> Texts:
    """That many texts, a third of them copies of earlier ones with a word or two changed."""
    rng = random.Random(SEED)
    made: Texts = []
    while len(made) < count:
        if made and rng.random() < 1 / 3:
            words = rng.choice(made).split()
            for _ in range(rng.choice((1, 1, 2, 4))):
                words[rng.randrange(len(words)) :][:1] = [rng.choice(WORDS_OF_EDITS)]
                words[rng.randrange(len(words))] = rng.choice(WORDS_OF_EDITS)
            made.append(" ".join(words))
        else:
            made.append(rng.choice(texts))
    return made


def halves(texts: Texts, count: int) -> Texts:
    rng = random.Random(SEED)
    words = [text.split(" ") for text in texts]
    made = []
    for _ in range(count):
        first, second = rng.choice(words), rng.choice(words)
        made.append(" ".join(first[: len(first) // 2] + second[len(second) // 2 :]))
    return made


def passages(texts: Texts, count: int) -> Texts:
    rng = random.Random(SEED)
    return [
        " ".join(rng.choices(texts, k=rng.randint(41, 400) if rng.random() < 0.002 else rng.randint(1, 40)))
        for _ in range(count)
    ]


def decide(texts: Texts, backend: str = "numba", threads: int = 1) -> tuple[float, Any]:
    """Seconds from texts to decisions, and the decisions."""
    from factory.novelty.rouge_l import NoveltyFilter

    began = time.perf_counter()
    decisions = NoveltyFilter(0.7, "rouge", backend=backend, threads=threads).add_batch(texts)
    return time.perf_counter() - began, decisions


def warm(texts: Texts) -> None:
    decide(texts[:3000])


def bench_peers(texts: Texts) -> None:
    from rapidfuzz import process
    from rapidfuzz.distance import LCSseq
    from rouge_score import rouge_scorer, tokenize

    one_core()
    some = with_edits(texts, 5000)
    warm(some)
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    ours = statistics.median(decide(some[:1000])[0] for _ in range(9))
    _, decisions = decide(some[:1000])
    pairs, began = 0, time.perf_counter()
    kept: list[list[str]] = []
    rejected = 0
    for text in some[:1000]:
        tokens = tokenize.tokenize(text, None)
        scores = [rouge_scorer._score_lcs(other, tokens).fmeasure for other in kept]
        pairs += len(scores)
        if scores and max(scores) > 0.7:
            rejected += 1
        else:
            kept.append(tokens)
    theirs = time.perf_counter() - began
    assert rejected == int((~decisions.kept).sum())
    print(
        f"1,000 texts ({rejected} rejected by both): rouge_score, tokenised once, {theirs:.1f} s "
        f"({theirs / pairs * 1e6:.0f} us a pair); ours {ours * 1000:.1f} ms: {theirs / ours:,.0f} times faster"
    )
    began = time.perf_counter()
    for left, right in zip(some[:300], some[300:600], strict=True):
        scorer.score(left, right)
    whole = (time.perf_counter() - began) / 300
    print(
        f"  RougeScorer.score on the texts themselves: {whole * 1e6:.0f} us a pair, {whole * pairs / ours:,.0f} times"
    )
    ours = statistics.median(decide(some)[0] for _ in range(5))
    began = time.perf_counter()
    numbers: dict[str, int] = {}
    codes = [
        "".join(chr(numbers.setdefault(token, len(numbers))) for token in tokenize.tokenize(text, None))
        for text in some
    ]
    for first in range(0, len(codes), 500):
        process.cdist(codes[first : first + 500], codes[: first + 500], scorer=LCSseq.similarity, dtype=np.int32)
    theirs = time.perf_counter() - began
    print(
        f"5,000 texts: rapidfuzz LCSseq, cdist against all before, {theirs:.2f} s; ours {ours * 1000:.0f} ms: "
        f"{theirs / ours:.0f} times faster ({load()})"
    )


def bench_scan(texts: Texts) -> None:
    from numba import njit

    from factory.novelty.kernels import _scan_narrow

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def scan(page: Any, queries: Any, hits: Any, gaps: Any) -> int:
        total = 0
        for place in range(len(queries)):
            total += _scan_narrow(page, 0, 1024, 1024, queries[place, 0], queries[place, 1], np.uint64(5), hits, gaps)
        return total

    one_core()
    rng = np.random.default_rng(SEED)
    page = rng.integers(0, 2**63, 2048, dtype=np.uint64)
    queries = rng.integers(0, 2**63, (4096, 2), dtype=np.uint64)
    hits, gaps = np.zeros(2048, np.int32), np.zeros(2048, np.int32)
    scan(page, queries, hits, gaps)
    times = []
    for _ in range(9):
        began = time.perf_counter()
        scan(page, queries, hits, gaps)
        times.append(time.perf_counter() - began)
    pair = min(times) / 4096 / 1024
    print(f"scan limit: {pair * 1e9:.3f} ns a pair (16 bytes, 2 population counts), {2 / pair / 1e9:.0f} G counts/s")


def in_window(texts: Texts, kept: Any) -> int:
    """Pairs of a text with one kept before it whose lengths allow a score above 0.7."""
    from factory.novelty.encoding import Vocabulary

    lengths = Vocabulary("rouge").encode(texts).lengths
    seen = np.zeros(int(lengths.max()) + 1, np.int64)
    total = 0
    for length, stays in zip(lengths.tolist(), kept.tolist(), strict=True):
        total += int(seen[int(length * 0.7 / 1.3) : int(length * 1.3 / 0.7) + 1].sum())
        seen[length] += stays
    return total


def bench_alpaca(texts: Texts) -> None:
    one_core()
    warm(texts)
    times = [decide(texts)[0] for _ in range(3)]
    _, decisions = decide(texts)
    pairs = in_window(texts, decisions.kept)
    print(
        f"{len(texts):,} texts: {min(times):.2f} s, {int((~decisions.kept).sum()):,} rejected, "
        f"{min(times) / pairs * 1e9:.2f} ns for each of {pairs:,} pairs of fitting length ({load()})"
    )


def bench_million(texts: Texts) -> None:
    warm(texts)
    made = halves(texts, 1_000_000)
    held = (sum(map(sys.getsizeof, made)) + sys.getsizeof(made)) / 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cores = os.sched_getaffinity(0)
    one_core()
    seconds, decisions = decide(made)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"1,000,000 texts: {seconds:.1f} s on one core, {int((~decisions.kept).sum()):,} rejected; "
        f"memory {after - before:.0f} MiB more than before, {after - held:.0f} MiB in all beyond the texts ({load()})"
    )
    if len(cores) > 1:
        os.sched_setaffinity(0, cores)
        two, again = decide(made, threads=2)
        assert np.array_equal(again.nearest, decisions.nearest)
        print(f"  on two cores {two:.1f} s: {seconds / two:.2f} times faster ({load()})")


def bench_passages(texts: Texts) -> None:
    one_core()
    warm(texts)
    made = passages(texts, 50_000)
    decide(made[:2000])
    seconds, decisions = decide(made)
    print(f"50,000 passages: {seconds:.1f} s, {int((~decisions.kept).sum())} rejected ({load()})")


def bench_batch(texts: Texts) -> None:
    from factory.novelty.rouge_l import NoveltyFilter

    one_core()
    for backend in ("numba", "numpy"):
        held = NoveltyFilter.build(texts, 0.7, "rouge", backend=backend, threads=1)
        made = halves(texts, 400)
        held.add_batch(made[:20])
        held.pool.nearest(made[0])
        batches, singles = [], []
        for first in range(20, 400, 20):
            began = time.perf_counter()
            held.add_batch(made[first : first + 20])
            batches.append(time.perf_counter() - began)
            began = time.perf_counter()
            held.pool.nearest(made[first])
            singles.append(time.perf_counter() - began)
        print(
            f"{backend}: 20 texts against {len(texts):,}: {statistics.median(batches) * 1000:.2f} ms; "
            f"nearest of one, whatever its score: {statistics.median(singles) * 1000:.2f} ms"
        )


def bench_fallback(texts: Texts) -> None:
    one_core()
    seconds, decisions = decide(texts, "numpy")
    print(f"{len(texts):,} texts without numba: {seconds:.1f} s, {int((~decisions.kept).sum())} rejected ({load()})")


def bench_start(texts: Texts) -> None:
    program = (
        "import time; began = time.perf_counter()\n"
        "from factory.novelty.rouge_l import NoveltyFilter\n"
        "NoveltyFilter(backend='numba').add_batch(['a b c', 'a b c'])\n"
        "print(time.perf_counter() - began)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
        for _ in range(4)
    ]
    print(
        f"new process to first decision: {min(times[1:]):.2f} s with compiled functions on disk; the first {times[0]:.1f} s"
    )


def _by_minhash(pool: Any, texts: Texts, threshold: float) -> list[bool]:
    rejected = []
    for text in texts:
        nearest = pool.nearest(text)
        rejected.append(nearest is not None and nearest.score > threshold)
        if not rejected[-1]:
            pool.add(text)
    return rejected


def bench_minhash(texts: Texts) -> None:
    from factory.novelty.minhash import MinHashPool

    one_core()
    some = with_edits(texts, 10_000)
    warm(some)
    exact_seconds, exact = decide(some)
    print(f"10,000 texts, exact: {exact_seconds:.2f} s, {int((~exact.kept).sum()):,} rejected")
    for ngram, threshold in ((1, 0.5), (1, 0.7), (2, 0.5), (3, 0.5)):
        began = time.perf_counter()
        rejected = np.array(_by_minhash(MinHashPool(threshold, ngram=ngram, tokenizer="rouge"), some, threshold))
        seconds = time.perf_counter() - began
        both = int((rejected & ~exact.kept).sum())
        print(
            f"  MinHash, {ngram}-grams, Jaccard {threshold}: {seconds:.2f} s, {int(rejected.sum()):,} rejected, "
            f"recall {both / int((~exact.kept).sum()):.3f}, precision {both / max(1, int(rejected.sum())):.3f}"
        )


PARTS: dict[str, Callable[[Texts], None]] = {
    "peers": bench_peers,
    "scan": bench_scan,
    "alpaca": bench_alpaca,
    "million": bench_million,
    "passages": bench_passages,
    "batch": bench_batch,
    "fallback": bench_fallback,
    "start": bench_start,
    "minhash": bench_minhash,
}


def main(path: str, *wanted: str) -> None:
    """Each part in a process of its own, so that none inherits memory or a warm cache."""
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        sys.exit(f"bench novelty: no part is called {unknown[0]!r}; there are {', '.join(PARTS)}")
    if len(wanted) == 1:
        PARTS[wanted[0]](read(Path(path)))
        return
    for part in wanted or PARTS:
        subprocess.run([sys.executable, __file__, path, part], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
