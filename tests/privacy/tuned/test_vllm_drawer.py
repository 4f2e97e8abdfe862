"""Texts through vLLM: greedily those of transformers, with a soft prompt, with adapters and without either."""

import pytest

from factory.engines.protocol import Sampling
from factory.errors import UserError
from factory.privacy.tuned.drawing import open_drawer
from factory.privacy.tuned.model import tuned
from factory.privacy.tuned.transformers_drawer import TransformersDrawer
from tests.privacy.tuned import small

pytestmark = pytest.mark.engine
pytest.importorskip("vllm")

GREEDY = Sampling(max_tokens=16, temperature=0)
OPTIONS = {"kv_cache_memory_bytes": 2**26}


def saved(base, folder):
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return str(folder)


def artifact_of(kind, base):
    return {"prompt": small.prompt, "lora": small.lora, "none": lambda _: None}[kind](base)


def opened(folder, artifact, **options):
    from factory.privacy.tuned.vllm_drawer import VllmDrawer

    return VllmDrawer(folder, artifact, dtype="float32", name="small", options=OPTIONS, **options)


@pytest.mark.parametrize(("kind", "start"), [("prompt", False), ("prompt", True), ("lora", True), ("none", True)])
def test_texts_are_those_of_transformers(tmp_path, kind, start):
    base = small.base(start)
    folder = saved(base, tmp_path)
    artifact = artifact_of(kind, base)
    heads = [base.ids(text) for text in ("Delivery: ", "A bill that somebody wrote about: ", "x")] * 5
    drawer = opened(folder, artifact, rows=4)
    try:
        drawn = drawer.draw(heads, list(range(15)), GREEDY)
        warm = drawer.draw(heads * 4, list(range(60)), Sampling(max_tokens=16))
        stop = drawn[0].text[4:6]
        (stopped,) = drawer.draw(heads[:1], [1], Sampling(max_tokens=16, temperature=0, stop=(stop,)))
        with pytest.raises(UserError, match="reads at most 128"):
            drawer.draw(heads, list(range(15)), Sampling(max_tokens=128))
        assert drawer.description.startswith("vllm ") and drawer.description.endswith("cpu float32")
        assert drawer.draw([], [], GREEDY) == []
    finally:
        drawer.close()
    other = TransformersDrawer(tuned(base, artifact))
    assert drawn == other.draw(heads, [0] * 15, GREEDY)
    assert [stopped] == other.draw(heads[:1], [0], Sampling(max_tokens=16, temperature=0, stop=(stop,)))
    assert len({text.text for text in warm}) > 40 and {text.finished for text in warm} == {True, False}
    assert all(text.token_count < 16 or not text.finished for text in warm)


def test_an_artifact_that_does_not_fit_is_refused(tmp_path):
    base = small.base()
    folder = saved(base, tmp_path)
    prompt = small.prompt(base)
    narrow = type(prompt)(about=prompt.about, vectors=prompt.vectors[:, :32])
    with pytest.raises(UserError, match="vectors have 32 numbers, the model's 64"):
        opened(folder, narrow)


def test_who_breaks_drawing_off_leaves_the_drawer_usable(tmp_path, monkeypatch):
    base = small.base()
    drawer = opened(saved(base, tmp_path), small.prompt(base), rows=4)
    try:
        expected = drawer.draw([[5, 6]] * 8, list(range(8)), GREEDY)

        def broken(output, sampling):
            raise InterruptedError

        with monkeypatch.context() as patched:
            patched.setattr(drawer, "_drawn", broken)
            with pytest.raises(InterruptedError):
                drawer.draw([[5, 6]] * 8, list(range(8)), GREEDY)
        assert drawer.draw([[5, 6]] * 8, list(range(8)), GREEDY) == expected
    finally:
        drawer.close()


def test_with_the_embedded_model_both_ways_write_the_same_text():
    from factory.engines.embedded import embedded_model_dir
    from factory.privacy.base import load_base

    folder = str(embedded_model_dir())
    base = load_base(folder, dtype="float32")
    import numpy as np
    import torch

    from factory.privacy.tuned.artifact import soft_prompt

    ids = (base.ids("A message that a customer wrote to a shop about a parcel:") * 2)[:20]
    vectors = base.embed(torch.tensor(ids)).detach().numpy().astype(np.float32)
    noise = np.random.default_rng(1).standard_normal(vectors.shape) * vectors.std() * 0.3
    prompt = soft_prompt(small.about(base), vectors + noise)
    heads = [base.ids(text) for text in ("Angry: ", "A polite message: ")]
    expected = TransformersDrawer(tuned(base, prompt)).draw(heads, [0, 0], GREEDY)
    drawer = open_drawer(folder, prompt, backend="vllm", texts=2, dtype="float32", context=256)
    try:
        assert drawer.draw(heads, [0, 0], GREEDY) == expected
    finally:
        drawer.close()
