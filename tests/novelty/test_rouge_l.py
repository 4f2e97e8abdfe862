"""The pool finds the nearest text exactly: same index, same float and same decisions as rouge_score."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.novelty.rouge_l import BACKEND_VARIABLE, Neighbour, RougeLPool, f_measure, rouge_l
from factory.novelty.tokenizers import tokenize

MIXED = Path(__file__).parents[2].parent / "shared" / "data" / "instructions" / "mixed_5000.jsonl"
THRESHOLD = 0.7

few_tokens = st.lists(st.sampled_from("abcd"), max_size=12)
short_text = st.one_of(
    st.text("ab c", max_size=16),
    st.text("aB. 写诗й🙂é\ud800", max_size=12),
    st.sampled_from(["", " ", "🙂", "🙂 ", "?"]),
)


@pytest.fixture(scope="module", params=["numba", "numpy"], autouse=True)
def backend(request) -> Iterator[None]:
    """Every test runs on both back ends."""
    if request.param == "numba":
        pytest.importorskip("numba", reason="needs numba (extra `novelty`)")
    patch = pytest.MonkeyPatch()
    patch.setenv(BACKEND_VARIABLE, request.param)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def instructions() -> list[str]:
    if not MIXED.exists():
        pytest.skip(f"needs {MIXED.name} in ../shared")
    return [json.loads(line)["instruction"] for line in MIXED.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def scorer():
    return pytest.importorskip("rouge_score.rouge_scorer", reason="needs the package rouge_score (extra `rouge`)")


def naive_lcs(left: Sequence[str], right: Sequence[str]) -> int:
    row = [0] * (len(right) + 1)
    for token in left:
        diagonal = 0
        for column, other in enumerate(right, start=1):
            above = row[column]
            row[column] = diagonal + 1 if token == other else max(above, row[column - 1])
            diagonal = above
    return row[-1]


def naive_score(left: str, right: str, kind="auto") -> float:
    tokens, others = tokenize(left, kind), tokenize(right, kind)
    if not tokens and not others:
        return float(left.strip() == right.strip())
    lcs = naive_lcs(tokens, others)
    if not lcs:
        return 0.0
    precision, recall = lcs / len(others), lcs / len(tokens)
    return 2 * precision * recall / (precision + recall)


def naive_nearest(pool: Sequence[str], text: str, kind="auto") -> Neighbour:
    scores = [naive_score(other, text, kind) for other in pool]
    return Neighbour(scores.index(max(scores)), max(scores))


def greedy(texts: Sequence[str], kind="auto") -> Iterator[tuple[bool, Neighbour | None]]:
    """What a Self-Instruct loop does: keep a text unless it is above the threshold to a kept one."""
    pool = RougeLPool(kind)
    for text in texts:
        nearest = pool.nearest(text)
        keep = nearest is None or nearest.score <= THRESHOLD
        if keep:
            pool.add(text)
        yield keep, nearest


def reference_greedy(texts: Sequence[str], scorer) -> Iterator[tuple[bool, Neighbour | None]]:
    """The same by rouge_score, every pair."""
    pool: list[list[str]] = []
    for text in texts:
        tokens = tokenize(text, "rouge")
        scores = [scorer._score_lcs(kept, tokens).fmeasure for kept in pool]
        keep = not scores or max(scores) <= THRESHOLD
        if keep:
            pool.append(tokens)
        yield keep, Neighbour(scores.index(max(scores)), max(scores)) if scores else None


def reference_greedy_bounded(texts: Sequence[str], scorer) -> Iterator[tuple[bool, Neighbour | None]]:
    """The same by rouge_score, without pairs that share too few tokens to reach the best score found."""
    rows: dict[str, int] = {}
    for text in texts:
        for token in tokenize(text, "rouge"):
            rows.setdefault(token, len(rows))
    counts = np.zeros((len(rows), len(texts)), dtype=np.int16)
    pool: list[list[str]] = []
    for text in texts:
        tokens = tokenize(text, "rouge")
        shared = sum(np.minimum(counts[rows[token], : len(pool)], many) for token, many in Counter(tokens).items())
        bounds = [2 * int(most) / (len(tokens) + len(kept)) for most, kept in zip(shared, pool, strict=True)]
        best = Neighbour(0, 0.0)
        for index in sorted(range(len(pool)), key=lambda index: -bounds[index]):
            if bounds[index] < best.score - 1e-9:
                break
            score = scorer._score_lcs(pool[index], tokens).fmeasure
            if (score, -index) > (best.score, -best.index):
                best = Neighbour(index, score)
        keep = best.score <= THRESHOLD
        yield keep, best if pool else None
        if keep:
            for token, many in Counter(tokens).items():
                counts[rows[token], len(pool)] = many
            pool.append(tokens)


@pytest.mark.parametrize(
    "count",
    [300, pytest.param(1000, marks=pytest.mark.slow)],
)
def test_greedy_run_equals_rouge_score_on_every_pair_of_real_instructions(instructions, scorer, count):
    assert list(greedy(instructions[:count], "rouge")) == list(reference_greedy(instructions[:count], scorer))


def test_greedy_run_equals_rouge_score_on_all_real_instructions(instructions, scorer):
    ours = list(greedy(instructions, "rouge"))
    assert ours == list(reference_greedy_bounded(instructions, scorer))
    assert sum(not keep for keep, _ in ours) == 1346


def test_auto_rejects_the_same_real_instructions_as_rouge(instructions):
    some = instructions[:2500]
    assert [keep for keep, _ in greedy(some)] == [keep for keep, _ in greedy(some, "rouge")]


def test_first_text_of_an_empty_pool_has_no_neighbour():
    pool = RougeLPool()
    assert len(pool) == 0
    assert pool.nearest("anything") is None
    assert pool.nearest("") is None


def test_pool_returns_what_was_added():
    pool = RougeLPool()
    texts = ["Name a river.", "", "Name a river.", "\ud800"]
    assert [pool.add(text) for text in texts] == [0, 1, 2, 3]
    assert len(pool) == 4
    assert [pool.text(index) for index in range(4)] == texts


def test_asking_changes_nothing_and_the_pool_grows_between_questions():
    pool = RougeLPool()
    for index in range(50):
        assert pool.add(f"number {index} of many") == index
        assert pool.nearest("unseen words only") == Neighbour(0, 0.0)
        assert pool.nearest(f"number {index} of many") == Neighbour(index, 1.0)
    assert len(pool) == 50


@pytest.mark.parametrize("kind", ["auto", "rouge", "unicode"])
@settings(max_examples=300)
@given(pool=st.lists(short_text, min_size=1, max_size=12), text=short_text)
def test_nearest_is_the_first_best_of_all(kind, pool, text):
    ours = RougeLPool(kind)
    for other in pool:
        ours.add(other)
    assert ours.nearest(text) == naive_nearest(pool, text, kind)


@pytest.mark.parametrize("alphabet", [2, 5, 30])
def test_nearest_is_exact_where_many_texts_promise_more_than_they_hold(alphabet):
    """Shuffled texts share all their tokens and little order, so hundreds must be compared."""
    rng = random.Random(alphabet)
    letters = "abcdefghijklmnopqrstuvwxyz0123"[:alphabet]
    texts = [" ".join(rng.choices(letters, k=rng.randint(8, 12))) for _ in range(700)]
    pool = RougeLPool()
    for text in texts[:660]:
        pool.add(text)
    for text in texts[660:]:
        assert pool.nearest(text) == naive_nearest(texts[:660], text)


def test_lowest_index_wins_a_tie_across_blocks():
    """One early text that promises little ties with many later ones that promise more."""
    query = "a b c d e f"
    late = "b a d c f e"
    early = "a b c x y z"
    assert naive_score(query, late) == naive_score(query, early) == 0.5
    pool = RougeLPool()
    for text in ["nothing shared", early, *[late] * 200]:
        pool.add(text)
    assert pool.nearest(query) == Neighbour(1, 0.5)


@settings(max_examples=300)
@given(few_tokens, few_tokens)
def test_rouge_l_equals_a_plain_table_and_rouge_score(scorer, left, right):
    assert rouge_l(left, right) == rouge_l(right, left) == scorer._score_lcs(left, right).fmeasure
    assert rouge_l(left, right) == f_measure(naive_lcs(left, right), len(left), len(right))


@given(st.text("ab cde", max_size=30), st.text("ab cde", max_size=30))
def test_pool_and_rouge_l_give_the_same_float(left, right):
    pool = RougeLPool()
    pool.add(left)
    if tokenize(left, "auto") or tokenize(right, "auto"):
        assert pool.nearest(right) == Neighbour(0, rouge_l(left.split(), right.split()))


def exact_threshold_shapes(limit: int) -> list[tuple[int, int, int]]:
    """Every (LCS, m, n) with LCS <= m <= n < limit and 2 * LCS / (m + n) exactly 0.7."""
    shapes = ((7 * k, m, 20 * k - m) for k in range(1, limit) for m in range(7 * k, 10 * k + 1))
    return [shape for shape in shapes if shape[2] < limit]


@pytest.mark.parametrize(
    ("shape", "reject"),
    [((7, 7, 13), True), ((7, 8, 12), True), ((7, 9, 11), True), ((7, 10, 10), False), ((14, 20, 20), False)],
)
def test_rounding_at_the_threshold_decides_as_in_rouge_score(scorer, shape, reject):
    lcs, left, right = shape
    texts = [
        " ".join([f"same{i}" for i in range(lcs)] + [f"{side}{i}" for i in range(length - lcs)])
        for side, length in (("l", left), ("r", right))
    ]
    score = scorer.RougeScorer(["rougeL"]).score(texts[0], texts[1])["rougeL"].fmeasure
    assert [keep for keep, _ in greedy(texts)] == [True, not reject]
    assert list(greedy(texts))[1][1] == Neighbour(0, score)
    assert (score > THRESHOLD) is reject


def test_all_shapes_at_the_threshold_equal_rouge_score():
    scoring = pytest.importorskip("rouge_score.scoring")
    shapes = exact_threshold_shapes(80)
    scores = [f_measure(*shape) for shape in shapes]
    assert scores == [scoring.fmeasure(lcs / right, lcs / left) for lcs, left, right in shapes]
    assert scores == [f_measure(lcs, right, left) for lcs, left, right in shapes]
    assert Counter((score > THRESHOLD) - (score < THRESHOLD) for score in scores) == {1: 42, 0: 34, -1: 3}


def test_text_without_tokens_is_compared_as_a_string():
    pool = RougeLPool()
    for text in ["words", "🙂", "", "!?", "🙂"]:
        pool.add(text)
    assert pool.nearest("🙂") == Neighbour(1, 1.0)
    assert pool.nearest(" 🙂\n") == Neighbour(1, 1.0)
    assert pool.nearest("  ") == Neighbour(2, 1.0)
    assert pool.nearest("🙁") == Neighbour(0, 0.0)
    assert pool.nearest("other 🙂") == Neighbour(0, 0.0)


def test_chinese_instructions_are_compared_and_repeats_rejected():
    texts = [
        "用Python写代码",
        "用Python翻译诗歌",
        "写一首关于春天的诗",
        "写一首关于春天的诗",
        "写一首关于秋天的诗",
        "如何保持健康？",
    ]
    assert [keep for keep, _ in greedy(texts)] == [True, True, True, False, False, True]
    as_reference = RougeLPool("rouge")
    as_reference.add("用Python写代码")
    assert as_reference.nearest("用Python翻译诗歌") == Neighbour(0, 1.0)


@pytest.mark.parametrize(
    "text", ["Напиши стих о море", "اكتب قصيدة عن البحر", "समुद्र पर कविता लिखो", "바다에 대한 시를 써 줘", "เขียนบทกวี"]
)
def test_repeats_are_rejected_and_other_texts_kept_in_any_script(text):
    other = {
        "Н": "Назови три реки",
        "ا": "اذكر ثلاثة أنهار",
        "स": "तीन नदियों के नाम",
        "바": "강 이름 세 개",
        "เ": "ชื่อแม่น้ำ",
    }
    assert [keep for keep, _ in greedy([text, other[text[0]], text])] == [True, True, False]


def test_texts_of_ten_thousand_tokens():
    tokens = [f"w{number % 6000}" for number in range(10_000)]
    pool = RougeLPool()
    pool.add("a " * 7_000)
    pool.add(" ".join(tokens))
    pool.add("")
    edited = [*tokens[:5_000], "unseen", *tokens[5_001:]]
    assert pool.nearest(" ".join(edited)) == Neighbour(1, f_measure(9_999, 10_000, 10_000))
    assert pool.nearest("a " * 10_000) == Neighbour(0, f_measure(7_000, 7_000, 10_000))
    assert pool.nearest("a") == Neighbour(0, f_measure(1, 7_000, 1))


def test_tokens_around_surrogates_and_beyond_16_bits_stay_apart():
    """The tokens numbered 0xD800 to 0xDFFF are compared as lone surrogates."""
    starts = [*range(0xD7FC, 0xD804), *range(0xFFFC, 0x10004)]
    pool = RougeLPool()
    pool.add(" ".join(f"w{number}" for number in range(70_000)))
    for start in starts:
        pool.add(f"w{start} w{start + 1} w{start + 2}")
    for offset, start in enumerate(starts):
        assert pool.nearest(f"w{start} w{start + 1} w{start + 2}") == Neighbour(1 + offset, 1.0)
