"""Shards of a pool, as Ray actors on this machine, decide as one filter does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import UserError
from factory.novelty import cluster
from factory.novelty.cluster import Shard, ShardedNoveltyFilter, _best_of
from factory.novelty.rouge_l import NoveltyFilter


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    module = pytest.importorskip("ray", reason="needs Ray (extra `ray`)")
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    module.init(
        address="local", num_cpus=4, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False
    )
    yield module
    module.shutdown()
    patch.undo()


def families() -> list[str]:
    """Near-duplicates at every distance, ties between many texts, and texts without tokens."""
    rng = random.Random(9)
    vocabulary = [f"w{number}" for number in range(30)]
    texts = ["🙂", "", "🙂 ", "!", "!"]
    for _ in range(60):
        base = rng.choices(vocabulary, k=rng.choice([1, 3, 8, 20, 70]))
        for _ in range(6):
            edited = [rng.choice(vocabulary) if rng.random() < 0.2 else word for word in base]
            texts.append(" ".join(edited))
    rng.shuffle(texts)
    return texts


@pytest.mark.parametrize(("workers", "block", "backend"), [(3, 50, "numba"), (2, 7, "numpy"), (1, 10_000, "numba")])
def test_shards_decide_as_one_filter_does(ray, workers, block, backend):
    texts = families()
    expected = NoveltyFilter(0.6, "auto").add_batch(texts)
    assert 50 < expected.kept.sum() < len(texts) - 50
    ours = ShardedNoveltyFilter(0.6, "auto", workers=workers, block=block, backend=backend)
    halves = [ours.add_batch(texts[:101]), ours.add_batch(texts[101:])]
    for found, wanted in zip(zip(*halves, strict=True), expected, strict=True):
        assert np.array_equal(np.concatenate(found), wanted, equal_nan=wanted.dtype == float)
    kept = [text for text, stays in zip(texts, expected.kept, strict=True) if stays]
    assert len(ours) == len(kept)
    assert [ours.text(number) for number in range(0, len(kept), 17)] == kept[::17]
    ours.close()


def test_a_pool_from_before_is_dealt_to_the_shards_too(ray):
    ours = ShardedNoveltyFilter(0.5, "rouge", workers=3, block=2)
    ours.extend(["a b c d", "e f g h", "i j k l", "m n o p", "q r s t"])
    decided = ours.add_batch(["m n o x", "new one here", "new one there", "q r s t"])
    assert decided.kept.tolist() == [False, True, False, False]
    assert decided.nearest.tolist() == [3, -1, 5, 4]
    assert [ours.text(number) for number in (0, 3, 4, 5)] == ["a b c d", "m n o p", "q r s t", "new one here"]
    ours.close()


def test_the_lowest_number_wins_a_tie_between_shards():
    first = (np.array([4, -1, 7]), np.array([0.9, 0.5, 0.8]))
    second = (np.array([1, 3, -1]), np.array([0.9, 0.6, 0.5]))
    nearest, best = _best_of([first, second])
    assert (nearest.tolist(), best.tolist()) == ([1, 3, 7], [0.9, 0.6, 0.8])


def test_a_shard_names_texts_by_their_number_among_all():
    shard = Shard(2, 5, {"tokenizer": "rouge"})
    shard.extend(["a b c", "d e f"])
    nearest, _ = shard.above(["d e f", "x"], 0.7)
    assert nearest.tolist() == [7, -1]
    assert shard.text(7) == "d e f"


def test_without_a_running_ray_it_says_what_to_do():
    module = pytest.importorskip("ray")
    if not module.is_initialized():
        with pytest.raises(UserError, match=r"call ray\.init"):
            ShardedNoveltyFilter(workers=2)
    with pytest.raises(UserError, match=r"expected a threshold in \[0, 1\]"):
        ShardedNoveltyFilter(2, workers=2)


class _Here:
    """Ray's calls, answered at once in this process: what is tested on many made-up texts is the logic, not the network."""

    class _Actor:
        def __init__(self, made: Any) -> None:
            self._made = made

        def __getattr__(self, name: str) -> Any:
            return SimpleNamespace(remote=getattr(self._made, name))

    def remote(self, **_: Any) -> Any:
        return lambda kind: SimpleNamespace(remote=lambda *arguments: _Here._Actor(kind(*arguments)))

    def put(self, value: Any) -> Any:
        return value

    def get(self, value: Any) -> Any:
        return value


made_up = st.lists(
    st.one_of(
        st.lists(st.sampled_from("abc"), max_size=9).map(" ".join),
        st.text("aB c写🙂é\ud800", max_size=10),
        st.sampled_from(["", "🙂", "a b"]),
    ),
    max_size=16,
)


@pytest.mark.parametrize("threshold", [0.0, 1 / 3, 0.5, 0.7, 1.0])
@settings(max_examples=60, deadline=None)
@given(texts=made_up, workers=st.integers(1, 5), block=st.integers(1, 9), tokenizer=st.sampled_from(["rouge", "auto"]))
def test_made_up_texts_are_decided_as_by_one_filter(threshold, texts, workers, block, tokenizer):
    patch = pytest.MonkeyPatch()
    patch.setattr(cluster, "_running_ray", _Here)
    try:
        ours = ShardedNoveltyFilter(threshold, tokenizer, workers=workers, block=block)
    finally:
        patch.undo()
    expected = NoveltyFilter(threshold, tokenizer).add_batch(texts)
    for found, wanted in zip(ours.add_batch(texts), expected, strict=True):
        assert np.array_equal(found, wanted, equal_nan=wanted.dtype == float)
    kept = [text for text, stays in zip(texts, expected.kept, strict=True) if stays]
    assert [ours.text(number) for number in range(len(ours))] == kept
