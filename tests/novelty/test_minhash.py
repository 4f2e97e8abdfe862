"""MinHash with LSH: never wrong when verified, rarely blind, the same in every process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("datasketch")

from factory.errors import UserError
from factory.novelty.match import Match, best
from factory.novelty.minhash import MinHashPool, shingled
from factory.novelty.rouge_l import RougeLPool
from factory.novelty.tokenizers import tokenize

ROOT = Path(__file__).parents[2]
MIXED = ROOT.parent / "shared" / "data" / "instructions" / "mixed_5000.jsonl"
some_texts = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12).map(" ".join), min_size=1, max_size=12)


def jaccard(left: str, right: str, ngram: int) -> float:
    sets = [set(shingled(tokenize(text, "auto"), ngram)) for text in (left, right)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def _alone(text: str, asked: str, ngram: int) -> Match | None:
    pool = MinHashPool(0.5, ngram=ngram, permutations=32)
    pool.add(text)
    return pool.nearest(asked)


@example(["a b d", "a b c"], "a", 1)  # as near as each other, and the bands of one alone meet
@given(some_texts, st.text(st.sampled_from("abcdefgh "), max_size=20), st.integers(1, 3))
def test_a_verified_score_is_the_jaccard_index_and_equal_sets_are_always_found(
    texts: list[str], asked: str, ngram: int
) -> None:
    pool = MinHashPool(0.5, ngram=ngram, permutations=32)
    for text in texts:
        pool.add(text)
    found = pool.nearest(asked)
    if not asked.strip():
        assert found == next((Match(n, 1.0) for n, text in enumerate(texts) if not text), None)
        return
    scores = [jaccard(asked, text, ngram) for text in texts]
    alone = [_alone(text, asked, ngram) for text in texts]  # whether bands meet depends on no other text
    seen = [score if match is not None else -1.0 for score, match in zip(scores, alone, strict=True)]
    assert found == (None if max(seen) < 0 else Match(seen.index(max(seen)), max(seen)))
    if 1.0 in scores:
        assert found == Match(scores.index(1.0), 1.0)


def test_an_estimate_is_near_the_index_it_estimates() -> None:
    left, right = (" ".join(f"w{n}" for n in range(start, start + 400)) for start in (0, 50))
    pool = MinHashPool(0.3, permutations=256, verify=False)
    pool.add(left)
    found = pool.nearest(right)
    assert found is not None
    assert found.score == pytest.approx(jaccard(left, right, 1), abs=4 / 16)
    assert found.score * 256 == int(found.score * 256)


def test_texts_without_tokens_match_only_the_same_string() -> None:
    pool = MinHashPool()
    pool.add("!?")
    pool.add("…")
    assert pool.nearest(" … ") == Match(1, 1.0)
    assert pool.nearest("..") is None
    assert pool.nearest("word") is None


def test_a_text_shorter_than_a_shingle_is_one() -> None:
    assert shingled(["a", "b"], 3) == ["a b"]
    pool = MinHashPool(ngram=5)
    pool.add("Hello there")
    assert pool.nearest("hello, there!") == Match(0, 1.0)


def test_the_seed_and_nothing_else_decides_what_is_missed() -> None:
    code = (
        "import random; from factory.novelty.minhash import MinHashPool; draw = random.Random(1); "
        "words = [' '.join(draw.choices('abcdefghijklmno', k=9)) for _ in range(300)]; "
        "pools = [MinHashPool(0.6, permutations=16, seed=seed, verify=False) for seed in (1, 2)]; "
        "[pool.add(text) for pool in pools for text in words[:200]]; "
        "print([[(m.index, m.score) if (m := pool.nearest(t)) else None for t in words[200:]] for pool in pools])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    first, second = eval(printed.pop())
    assert first != second


def test_the_missing_package_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(UserError, match=r"pip install 'dataset-factory\[minhash\]'"):
        MinHashPool()


def test_the_best_match_is_the_first_of_the_greatest() -> None:
    assert best([]) is None
    assert best([Match(3, 0.5), Match(2, 0.9), Match(1, 0.9)]) == Match(1, 0.9)


def rejected(pool: MinHashPool | RougeLPool, texts: list[str], threshold: float) -> list[bool]:
    found = []
    for text in texts:
        nearest = pool.nearest(text)
        found.append(nearest is not None and nearest.score > threshold)
        if not found[-1]:
            pool.add(text)
    return found


@pytest.mark.skipif(not MIXED.exists(), reason="the shared data are not beside the checkout")
@pytest.mark.parametrize(
    ("ngram", "threshold", "recall", "precision"),
    [(1, 0.5, 0.994, 0.963), (1, 0.6, 0.960, 0.994), (1, 0.7, 0.846, 0.996), (2, 0.5, 0.710, 0.999)],
)
def test_recall_and_precision_against_exact_rouge_l_are_those_that_the_filter_documents(
    ngram: int, threshold: float, recall: float, precision: float
) -> None:
    texts = [json.loads(line)["instruction"] for line in MIXED.read_text().splitlines()]
    wanted = rejected(RougeLPool(), texts, 0.7)
    found = rejected(MinHashPool(threshold, ngram=ngram), texts, threshold)
    both = sum(left and right for left, right in zip(wanted, found, strict=True))
    assert both / sum(wanted) == pytest.approx(recall, abs=0.01)
    assert both / sum(found) == pytest.approx(precision, abs=0.01)
