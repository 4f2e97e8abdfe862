"""Losses of texts: those of the model one by one."""

import pytest
import torch

from factory.privacy.objective import Encoder
from factory.privacy.scoring import losses
from factory.privacy.tuned.model import tuned
from tests.privacy.tuned import small

TEXTS = ["my invoice has been paid twice", "", "late", "it does not start any more and nobody answers me 📦", "x" * 80]


def alone(model, example):
    """Nats of a text, computed by itself from the probabilities of its tokens."""
    ids = torch.tensor([example.text], dtype=torch.long)
    embeds = torch.cat([model.opening(example.head)[None], model.base.embed(ids)], 1)
    with torch.no_grad():
        scores = model.base.model(inputs_embeds=embeds).logits[0].double().log_softmax(-1)
    before = embeds.shape[1] - len(example.text)
    return -sum(float(scores[before + at - 1, token]) for at, token in enumerate(example.text))


@pytest.mark.parametrize("kind", ["prompt", "lora", "none"])
@pytest.mark.parametrize(("start", "architecture"), [(False, "llama"), (True, "llama"), (True, "gemma2")])
@pytest.mark.parametrize("tokens_at_once", [1, 100, 4096])
def test_losses_are_those_of_each_text_by_itself(kind, start, architecture, tokens_at_once):
    base = small.base(start, architecture)
    artifact = {"prompt": small.prompt, "lora": small.lora, "none": lambda _: None}[kind](base)
    model = tuned(base, artifact)
    encoder = Encoder(base, {"a": "Delivery: ", "b": "A longer head, of a bill: "}, 40, before=5)
    examples = [encoder.encode(text, "ab"[at % 2]) for at, text in enumerate(TEXTS)]
    found = losses(model, examples, tokens_at_once)
    assert [loss.nats for loss in found] == pytest.approx([alone(model, example) for example in examples], rel=1e-4)
    assert [loss.tokens for loss in found] == [len(base.ids(text)) + 1 for text in TEXTS[:4]] + [40]


def test_the_end_counts_where_a_text_has_one():
    base = small.base()
    encoder = Encoder(base, {"": "x"}, 40)
    whole = encoder.encode("late", "")
    (with_end,), (without,) = (
        losses(tuned(base, None), [whole]),
        losses(tuned(base, None), [whole._replace(text=whole.text[:-1])]),
    )
    assert with_end.tokens == without.tokens + 1 and with_end.nats > without.nats + 0.01


def test_no_text_has_no_loss():
    assert losses(tuned(small.base(), None), []) == []
