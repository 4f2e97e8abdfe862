"""Texts through vLLM: greedily those of transformers, with a soft prompt, with adapters and without either."""

import numpy as np
import pytest
import torch

from factory.engines.protocol import Sampling
from factory.errors import UserError
from factory.privacy.tuned.artifact import soft_prompt
from factory.privacy.tuned.drawing import open_drawer
from factory.privacy.tuned.model import Tuned, tuned
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


@pytest.fixture(scope="module")
def prompted(tmp_path_factory):
    """A drawer with a soft prompt, and its model; a token stands before every text."""
    base = small.base(start=True)
    artifact = small.prompt(base)
    drawer = opened(saved(base, tmp_path_factory.mktemp("small")), artifact, rows=4)
    yield drawer, tuned(base, artifact)
    drawer.close()


def heads_of(base):
    return [base.ids(text) for text in ("Delivery: ", "A bill that somebody wrote about: ", "x")] * 5


def test_with_a_soft_prompt_texts_are_those_of_transformers(prompted):
    drawer, model = prompted
    heads, other = heads_of(model.base), TransformersDrawer(model)
    drawn = drawer.draw(heads, list(range(15)), GREEDY)
    assert drawn == other.draw(heads, [0] * 15, GREEDY)
    assert drawn != TransformersDrawer(Tuned(model.base)).draw(heads, [0] * 15, GREEDY)
    ending = Sampling(max_tokens=16, temperature=0, stop=(drawn[0].text[4:6],))
    (stopped,) = drawer.draw(heads[:1], [1], ending)
    assert stopped.finished and stopped.text == other.draw(heads[:1], [1], ending)[0].text != drawn[0].text


def test_drawn_texts_end_by_themselves_or_are_cut(prompted):
    drawer, model = prompted
    drawn = drawer.draw(heads_of(model.base) * 4, list(range(60)), Sampling(max_tokens=16))
    assert len({text.text for text in drawn}) > 40 and {text.finished for text in drawn} == {True, False}
    assert all((text.token_count < 16) == text.finished for text in drawn)
    assert not any(special in text.text for text in drawn for special in ("<end>", "<other>", "<begin>"))
    assert drawer.draw([], [], GREEDY) == []
    assert drawer.description.startswith("vllm ") and drawer.description.endswith("cpu float32")
    with pytest.raises(UserError, match="reads at most 128"):
        drawer.draw(heads_of(model.base), list(range(15)), Sampling(max_tokens=128))


def test_who_breaks_drawing_off_leaves_the_drawer_usable(prompted, monkeypatch):
    drawer, model = prompted
    heads = heads_of(model.base)
    expected = drawer.draw(heads, list(range(15)), GREEDY)

    def broken(output, sampling):
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(drawer, "_drawn", broken)
        with pytest.raises(InterruptedError):
            drawer.draw(heads, list(range(15)), GREEDY)
    assert drawer.draw(heads, list(range(15)), GREEDY) == expected


@pytest.mark.parametrize(("kind", "start"), [("lora", False), ("none", True)])
def test_with_adapters_or_nothing_texts_are_those_of_transformers(tmp_path, kind, start):
    base = small.base(start)
    artifact, heads = artifact_of(kind, base), heads_of(base)
    drawer = opened(saved(base, tmp_path), artifact, rows=4)
    try:
        drawn = drawer.draw(heads, list(range(15)), GREEDY)
    finally:
        drawer.close()
    assert drawn == TransformersDrawer(tuned(base, artifact)).draw(heads, [0] * 15, GREEDY)
    if artifact is not None:
        assert drawn != TransformersDrawer(Tuned(small.base(start))).draw(heads, [0] * 15, GREEDY)


def test_a_soft_prompt_that_does_not_fit_is_refused_before_the_model_is_loaded(tmp_path):
    base = small.base()
    prompt = small.prompt(base)
    narrow = type(prompt)(about=prompt.about, vectors=prompt.vectors[:, :32])
    with pytest.raises(UserError, match="vectors have 32 numbers, the model's 64"):
        opened(saved(base, tmp_path), narrow)


def test_with_the_embedded_model_both_ways_write_the_same_text():
    from factory.engines.embedded import embedded_model_dir
    from factory.privacy.base import load_base

    folder = str(embedded_model_dir())
    base = load_base(folder, dtype="float32")
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
