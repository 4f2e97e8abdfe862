"""The filter decides as rouge_score does: same rejections, same nearest text, same float, on every path.

A path is a back end, with the texts handed over in batches of some sizes, and perhaps saved and loaded in between.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.errors import UserError
from factory.novelty import compiled, plain
from factory.novelty.measure import f_measure, required, widest_distance
from factory.novelty.pages import bucket, capacity, limits, width
from factory.novelty.rouge_l import Decisions, NoveltyFilter, RougeLPool
from factory.novelty.tokenizers import tokenize

MIXED = Path(__file__).parents[2].parent / "shared" / "data" / "instructions" / "mixed_5000.jsonl"
BACKENDS = ["numba", "numpy"]
THRESHOLDS = [0.0, 1 / 3, 0.5, 2 / 3, 0.7, 0.85, 1.0]
each_backend = pytest.mark.parametrize("backend", BACKENDS)

Row = tuple[bool, int, float]


def rows(decisions: Decisions) -> list[Row]:
    """Decisions as plain values; the score of a kept text as -1, so that rows can be compared."""
    return [
        (bool(kept), int(nearest), -1.0 if math.isnan(score) else float(score))
        for kept, nearest, score in zip(*decisions, strict=True)
    ]


def table_lcs(left: Sequence[str], right: Sequence[str]) -> int:
    line = [0] * (len(right) + 1)
    for token in left:
        diagonal = 0
        for column, other in enumerate(right, start=1):
            above = line[column]
            line[column] = diagonal + 1 if token == other else max(above, line[column - 1])
            diagonal = above
    return line[-1]


def reference(
    texts: Sequence[str], threshold: float, kind: str = "rouge", score: Callable[..., float] | None = None
) -> list[Row]:
    """The rule itself, pair by pair."""

    def by_table(left: Sequence[str], right: Sequence[str]) -> float:
        return f_measure(table_lcs(left, right), len(left), len(right)) if left and right else 0.0

    measure = score or by_table
    kept: list[tuple[str, list[str]]] = []
    decided: list[Row] = []
    for text in texts:
        tokens = tokenize(text, kind)  # type: ignore[arg-type]
        best, nearest = threshold, -1
        for number, (other, others) in enumerate(kept):
            same = not tokens and not others and text.strip() == other.strip()
            value = 1.0 if same else measure(others, tokens)
            if value > best:
                best, nearest = value, number
        decided.append((nearest < 0, nearest, best if nearest >= 0 else -1.0))
        if nearest < 0:
            kept.append((text, tokens))
    return decided


def run(
    texts: Sequence[str], threshold: float, kind: str, backend: str, sizes: Sequence[int], saved: Path | None = None
) -> list[Row]:
    """Our decisions, in batches of those sizes over and over; saved and loaded after each batch if wanted."""
    ours = NoveltyFilter(threshold, kind, backend=backend, threads=2)  # type: ignore[arg-type]
    decided: list[Row] = []
    iterator = iter(texts)
    turn = 0
    while batch := list(islice(iterator, sizes[turn % len(sizes)])):
        decided += rows(ours.add_batch(batch))
        turn += 1
        if saved is not None:
            ours.save(saved / "state.npz")
            ours = NoveltyFilter.load(saved / "state.npz", backend=BACKENDS[turn % 2], threads=2)  # type: ignore[arg-type]
    return decided


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Any:
    """Blocks of five texts and threads for any number of pairs, so that every seam is crossed by few texts."""
    patch = pytest.MonkeyPatch()
    patch.setattr(compiled.Compiled, "block", 5)
    patch.setattr(plain.Plain, "block", 4)
    patch.setattr(compiled, "_ENOUGH_PAIRS", 0)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def instructions() -> list[str]:
    if not MIXED.exists():
        pytest.skip(f"needs {MIXED.name} in ../shared")
    return [json.loads(line)["instruction"] for line in MIXED.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def scorer() -> Any:
    return pytest.importorskip("rouge_score.rouge_scorer", reason="needs the package rouge_score (extra `rouge`)")


def words(alphabet: str, longest: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(alphabet), max_size=longest).map(" ".join)


adversaries = st.one_of(
    st.lists(words("ab", 9), max_size=14),
    st.lists(words("abcde", 14), max_size=14),
    st.lists(words("abcdefghijklmnopqrstuvwxyz0123", 140), max_size=9),
    st.lists(st.text("aB c.写诗й🙂é\ud800\x00İK", max_size=14), max_size=12),
    st.lists(st.sampled_from(["", " ", "🙂", " 🙂", "?", "a", "b", "a b", "A  b!"]), max_size=14),
)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@each_backend
@settings(max_examples=60, deadline=None)
@given(texts=adversaries, sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4))
@example(texts=["a b"] * 4, sizes=[9])
@example(texts=["🙂", "a", "🙂", "a", "🙂"], sizes=[2])
def test_made_up_texts_are_decided_as_the_rule_says(backend, threshold, texts, sizes):
    for kind in ("rouge", "auto", "unicode"):
        assert run(texts, threshold, kind, backend, sizes) == reference(texts, threshold, kind)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.7])
@each_backend
def test_a_filter_saved_after_every_batch_goes_on_as_if_it_were_not(backend, threshold, tmp_path):
    rng = random.Random(3)
    texts = [" ".join(rng.choices("abcdefg", k=rng.randint(0, 12))) for _ in range(120)] + [
        "🙂",
        "",
        "🙂",
        "\ud800 写",
    ] * 2
    expected = reference(texts, threshold, "auto")
    assert run(texts, threshold, "auto", backend, [7, 1, 30], tmp_path) == expected
    assert not all(kept for kept, _, _ in expected)


@each_backend
def test_texts_of_every_length_class_meet(backend):
    """Families of near-duplicates from 1 to 5,000 tokens, so that every page width and its neighbours are crossed."""
    rng = random.Random(11)
    vocabulary = [f"w{number}" for number in range(900)]
    texts = []
    for length in (1, 2, 3, 46, 47, 48, 49, 62, 63, 64, 65, 67, 68, 95, 96, 130, 191, 192, 400, 800, 1600, 5000):
        base = rng.choices(vocabulary, k=length)
        for edits in (0, length // 7, length // 3, length // 2):
            edited = list(base)
            for _ in range(edits):
                place = rng.randrange(len(edited))
                edited[place : place + 1] = rng.choices(vocabulary, k=rng.choice([0, 1, 2]))  # gone, changed, more
                edited = edited or ["w0"]
            texts.append(" ".join(edited))
    from rapidfuzz.distance import LCSseq

    def score(left: Sequence[str], right: Sequence[str]) -> float:
        return f_measure(LCSseq.similarity(left, right), len(left), len(right)) if left and right else 0.0

    for threshold in (0.5, 0.7):
        expected = reference(texts, threshold, "rouge", score)
        assert 10 < sum(kept for kept, _, _ in expected) < len(texts) - 10
        assert run(texts, threshold, "rouge", backend, [len(texts)]) == expected
        assert run(texts, threshold, "rouge", backend, [3]) == expected


def shapes_at(threshold: tuple[int, int], limit: int) -> list[tuple[int, int, int]]:
    """Every (LCS, m, n), m <= n < limit, whose F-measure is the fraction exactly, on paper."""
    above, below = threshold
    found = []
    for m in range(1, limit):
        for n in range(m, limit):
            lcs, rest = divmod(above * (m + n), 2 * below)
            if rest == 0 and 0 < lcs <= m:
                found.append((lcs, m, n))
    return found


@pytest.mark.parametrize("fraction", [(1, 3), (1, 2), (2, 3), (7, 10), (17, 20)])
@each_backend
def test_pairs_exactly_at_a_threshold_follow_the_floats_of_rouge_score(backend, fraction):
    scoring = pytest.importorskip("rouge_score.scoring")
    threshold = fraction[0] / fraction[1]
    shapes = shapes_at(fraction, 70)
    random.Random(0).shuffle(shapes)
    for lcs, m, n in shapes[:250]:
        left = [f"s{i}" for i in range(lcs)] + [f"l{i}" for i in range(m - lcs)]
        right = [f"r{i}" for i in range(n - lcs)] + [f"s{i}" for i in range(lcs)]
        score = scoring.fmeasure(lcs / n, lcs / m)
        decided = run([" ".join(left), " ".join(right)], threshold, "rouge", backend, [2])
        assert decided[1] == ((False, 0, score) if score > threshold else (True, -1, -1.0)), (lcs, m, n)


@each_backend
def test_real_instructions_are_decided_as_by_rouge_score_on_every_pair(instructions, scorer, backend):
    def score(left: Sequence[str], right: Sequence[str]) -> float:
        return float(scorer._score_lcs(left, right).fmeasure)

    texts = random.Random(5).sample(instructions, 250)
    expected = reference(texts, 0.7, "rouge", score)
    assert run(texts, 0.7, "rouge", backend, [250]) == expected
    assert run(texts, 0.7, "rouge", backend, [1]) == expected


def test_a_thousand_real_instructions_are_decided_as_by_rouge_score_on_every_pair(instructions, scorer, tmp_path):
    def score(left: Sequence[str], right: Sequence[str]) -> float:
        return float(scorer._score_lcs(left, right).fmeasure)

    texts = random.Random(6).sample(instructions, 1000)
    expected = reference(texts, 0.7, "rouge", score)
    for backend in BACKENDS:
        assert run(texts, 0.7, "rouge", backend, [1000]) == expected
        assert run(texts, 0.7, "rouge", backend, [333], tmp_path) == expected


@each_backend
def test_mixed_5000_rejects_1346_whatever_the_batches(instructions, backend, tmp_path):
    whole = run(instructions, 0.7, "rouge", backend, [5000])
    assert sum(not kept for kept, _, _ in whole) == 1346
    assert run(instructions, 0.7, "rouge", backend, [1, 700, 13]) == whole
    assert run(instructions, 0.7, "rouge", backend, [1700], tmp_path) == whole
    if backend == "numpy":
        assert run(instructions, 0.7, "rouge", "numba", [512]) == whole


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(THRESHOLDS))
def test_required_is_the_least_subsequence_above_the_threshold(left, right, threshold):
    shorter = min(left, right)
    by_hand = next((n for n in range(1, shorter + 1) if f_measure(n, left, right) > threshold), shorter + 1)
    assert required(left, right, threshold) == by_hand


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 40), st.sampled_from([*THRESHOLDS, 0.3, 0.99]))
def test_the_widest_distance_rules_out_nothing_that_is_above_the_threshold(tokens, least, more, threshold):
    most = least + more
    bound = widest_distance(tokens, least, most, threshold)
    for other in range(least, most + 1):
        needed = required(tokens, other, threshold)
        if needed <= min(tokens, other):
            assert tokens + other - 2 * needed <= bound


def test_buckets_cover_every_length_once_and_keep_to_one_width():
    for tokens in [*range(1, 3000), 10_000, 123_456, 5_000_000]:
        low, high = limits(bucket(tokens))
        assert low <= tokens <= high
        assert bucket(low) == bucket(high) == bucket(tokens)
        assert width(low) == width(high)
    assert bucket(2**31 - 1) < 64 + 32 * 16
    assert all(capacity(width(tokens)) % 64 == 0 for tokens in range(1, 5000))


@each_backend
def test_the_pool_is_searched_before_the_block_and_the_lowest_number_wins(backend):
    ours = NoveltyFilter.build(["x y z w", "a b c d e f g h", "a b c d e f g i"], 0.5, "rouge", backend=backend)
    decided = ours.add_batch(["a b c d e f g j", "q r s t", "q r s u", "q r s t"])
    assert rows(decided) == [(False, 1, 7 / 8), (True, -1, -1.0), (False, 3, 0.75), (False, 3, 1.0)]
    assert [ours.text(number) for number in range(len(ours))] == [
        "x y z w",
        "a b c d e f g h",
        "a b c d e f g i",
        "q r s t",
    ]


def test_auto_changes_to_numba_when_the_work_is_worth_it_and_decides_the_same(monkeypatch, instructions):
    pytest.importorskip("numba")
    monkeypatch.delenv("FACTORY_NOVELTY_BACKEND", raising=False)
    texts = instructions[:1200]
    monkeypatch.setattr("factory.novelty.pool.FIRST_COMPILED", 300_000)
    ours = NoveltyFilter(0.7, "rouge")
    decided, used = [], []
    for first in range(0, len(texts), 100):
        decided += rows(ours.add_batch(texts[first : first + 100]))
        used.append(ours.pool.backend)
    assert used[0] == "numpy"
    assert used[-1] == "numba"
    assert decided == run(texts, 0.7, "rouge", "numpy", [1200])


def test_without_numba_there_is_numpy_and_asking_for_numba_names_the_package(monkeypatch):
    monkeypatch.setattr("factory.novelty.pool._has_numba", lambda: False)
    monkeypatch.setattr("factory.novelty.pool.FIRST_COMPILED", 0)
    monkeypatch.delenv("FACTORY_NOVELTY_BACKEND", raising=False)
    ours = NoveltyFilter()
    assert rows(ours.add_batch(["a b", "a b"]))[1] == (False, 0, 1.0)
    assert ours.pool.backend == "numpy"
    with pytest.raises(UserError, match=r"pip install 'dataset-factory\[novelty\]'"):
        NoveltyFilter(backend="numba")


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(UserError, match=r"expected a threshold in \[0, 1\]"):
        NoveltyFilter(threshold)


def test_many_texts_that_rouge_cannot_see_bring_a_warning():
    chinese = [f"写一首关于{name}的诗" for name in "山水风花雪月春夏秋冬"] * 12
    ours = NoveltyFilter(tokenizer="rouge")
    ours.add_batch(chinese)
    assert ours.warning is not None
    assert "120 of 120 texts (100%) have no tokens" in ours.warning
    assert "'auto' or 'unicode'" in ours.warning
    seeing = NoveltyFilter(tokenizer="auto")
    seeing.add_batch(chinese)
    assert seeing.warning is None


@each_backend
def test_a_filter_that_keeps_no_texts_gives_their_tokens(backend, tmp_path):
    ours = NoveltyFilter(tokenizer="unicode", backend=backend, keep_texts=False)
    ours.add_batch(["Write a POEM!", "写诗 now"])
    assert [ours.text(0), ours.text(1)] == ["write a poem", "写 诗 now"]
    ours.save(tmp_path / "state")
    assert NoveltyFilter.load(tmp_path / "state").text(1) == "写 诗 now"


def test_a_state_that_is_missing_damaged_or_something_else_is_named(tmp_path):
    path = tmp_path / "state.npz"
    with pytest.raises(UserError, match=r"state\.npz: cannot be read: No such file"):
        NoveltyFilter.load(path)
    ours = NoveltyFilter()
    ours.add_batch(["a b c", "🙂"])
    ours.save(path)
    whole = path.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(UserError, match="no saved novelty filter, or is damaged"):
            NoveltyFilter.load(path)
    for rest in (whole[:-30], whole[:10], b""):
        path.write_bytes(rest)
        with pytest.raises(UserError, match="damaged"):
            NoveltyFilter.load(path)


def test_a_state_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    NoveltyFilter.build(["a b c"]).save(path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="No space left"):
        NoveltyFilter.build(["d e f"]).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]
    assert NoveltyFilter.load(path).text(0) == "a b c"


@each_backend
def test_nearest_of_a_pool_crosses_widths_and_ties_to_the_first(backend):
    rng = random.Random(2)
    vocabulary = [f"w{number}" for number in range(40)]
    texts = [" ".join(rng.choices(vocabulary, k=rng.choice([1, 5, 40, 60, 70, 100, 250]))) for _ in range(150)]
    pool = RougeLPool("rouge", backend=backend)
    pool.extend(texts)
    for _ in range(60):
        query = " ".join(rng.choices(vocabulary, k=rng.choice([1, 6, 50, 66, 120])))
        tokens = query.split()
        scores = [f_measure(table_lcs(tokens, text.split()), len(tokens), len(text.split())) for text in texts]
        found = pool.nearest(query)
        assert found is not None
        assert (found.index, found.score) == (scores.index(max(scores)), max(scores))


@each_backend
def test_words_by_the_hundred_thousand_grow_the_tables(backend):
    ours = NoveltyFilter(0.7, "rouge", backend=backend)
    texts = [" ".join(f"t{number}x{place}" for place in range(20)) for number in range(6000)]
    edges = [0, 17, 1022, 1023, 1024, 1025, 2047, 2048, 5999]  # a page holds 1,024 of them
    decided = ours.add_batch([*texts, *(texts[edge] for edge in edges)])
    assert decided.kept[:6000].all()
    assert decided.nearest[6000:].tolist() == edges


@each_backend
def test_common_subsequences_that_leap_over_whole_words_of_the_bit_vector(backend):
    """A carry must pass through a word of 64 positions in which nothing matches."""
    from rapidfuzz.distance import LCSseq

    rng = random.Random(4)
    sets = [[f"{name}{number}" for number in range(size)] for name, size in (("a", 5), ("b", 90), ("c", 7))]

    def made(plan: str) -> list[str]:
        return [rng.choice(sets["abc".index(name)]) for name in plan for _ in range(rng.choice([60, 64, 68]))]

    pool = [made(plan) for plan in ("aca", "ac", "aaa", "cac", "aba")]
    ours = RougeLPool("rouge", backend=backend)
    ours.extend([" ".join(tokens) for tokens in pool])
    for plan in ("aba", "abba", "bab", "abcba", "babab", "cbc", "abbbac") * 3:
        query = made(plan)
        scores = [f_measure(LCSseq.similarity(query, tokens), len(query), len(tokens)) for tokens in pool]
        found = ours.nearest(" ".join(query))
        assert found is not None
        assert (found.index, found.score) == (scores.index(max(scores)), max(scores))


@each_backend
def test_more_candidates_than_are_noted_at_a_time(backend):
    """Forty thousand texts that a bitmap cannot rule out, and the best of them neither first nor last."""
    texts = ["a b c d e f g h x y"] * 40_000
    texts[31_111] = texts[35_000] = "a b c d e f g h i y"
    ours = NoveltyFilter.build(texts, 0.7, "rouge", backend=backend)
    decided = ours.add_batch(["a b c d e f g h i j", "a b c d e f g h i j k", "unlike all others"])
    assert rows(decided) == [
        (False, 31_111, f_measure(9, 10, 10)),
        (False, 31_111, f_measure(9, 10, 11)),
        (True, -1, -1.0),
    ]


def test_a_text_of_more_tokens_than_there_are_characters_below_the_surrogates():
    tokens = [f"t{number}" for number in range(57_000)]
    ours = NoveltyFilter.build([" ".join(tokens)], 0.7, "rouge", backend="numpy")
    tokens[56_000] = "other"
    decided = ours.add_batch([" ".join(tokens)])
    assert rows(decided) == [(False, 0, f_measure(56_999, 57_000, 57_000))]


@each_backend
@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.65])
def test_a_text_without_tokens_in_the_block_is_no_neighbour_of_a_long_one(backend, threshold):
    ours = NoveltyFilter(threshold, backend=backend)
    texts = ["...", *(" ".join(f"{c}{i}" for i in range(n)) for c, n in (("a", 3000), ("b", 1000), ("c", 1250)))]
    assert ours.add_batch(texts).kept.all()


@each_backend
@pytest.mark.parametrize("threshold", [1e-17, 1e-18, 1e-300, 5e-324])
def test_thresholds_next_to_zero(backend, threshold):
    ours = NoveltyFilter(threshold, "rouge", backend=backend)
    long = " ".join(f"w{number}" for number in range(60))
    assert rows(ours.add_batch([long, "w0 z1 z2 z3 z4"]))[1] == (False, 0, f_measure(1, 60, 5))


@each_backend
def test_threads_that_share_a_pool_take_turns(backend):
    rng = random.Random(8)
    texts = [" ".join(rng.choices("abcdefghij", k=8)) for _ in range(400)]
    pool = RougeLPool("rouge", backend=backend)
    pool.extend(texts)
    queries = [" ".join(rng.choices("abcdefghijkl", k=9)) for _ in range(60)]
    alone = [pool.nearest(query) for query in queries]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(pool.nearest, queries)) == alone


@each_backend
def test_what_is_no_list_of_texts_is_refused_before_anything_joins(backend):
    ours = NoveltyFilter(backend=backend)
    for wrong in (["a b", None], ["a b"] * 8192 + [3], "a b"):
        with pytest.raises(UserError, match="novelty filter: expected"):
            ours.add_batch(wrong)
    assert (len(ours), ours.seen) == (0, 0)
    assert ours.add_batch(text for text in ["a b", "a b"]).kept.tolist() == [True, False]
    with pytest.raises(UserError, match="no tokenizer is called 'rogue'"):
        NoveltyFilter(tokenizer="rogue")


def test_a_state_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x", tmp_path / ("n" * 250), Path()):
        with pytest.raises(UserError, match="cannot be written|expected the name"):
            NoveltyFilter().save(path)
