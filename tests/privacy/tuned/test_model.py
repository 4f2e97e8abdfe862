"""A base model with what was tuned for it."""

import pytest
import torch

from factory.errors import UserError
from factory.privacy.tuned.model import adapter_folder, require_base, tuned
from tests.privacy.tuned import small


def test_the_model_reads_start_soft_prompt_and_head_in_this_order():
    base = small.base(start=True)
    prompt = small.prompt(base)
    opening = tuned(base, prompt).opening([7, 8])
    embedded = base.embed(torch.tensor([*base.start, 7, 8]))
    assert len(base.start) == 1 and opening.shape == (1 + 5 + 2, 64)
    assert torch.equal(opening[:1], embedded[:1]) and torch.equal(opening[6:], embedded[1:])
    assert torch.equal(opening[1:6], torch.from_numpy(prompt.vectors))
    assert torch.equal(tuned(base, None).opening([7, 8]), embedded)
    assert tuned(base, prompt).opening([]).shape == (6, 64)


def test_the_base_is_as_it_was_but_for_the_adapters():
    base = small.base()
    before = {name: each.clone() for name, each in base.model.state_dict().items()}
    lora = small.lora(base)
    model = tuned(base, lora)
    kept = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): each
        for name, each in model.base.model.state_dict().items()
    }
    assert all(torch.equal(kept[name], each) for name, each in before.items())
    assert not any(parameter.requires_grad for parameter in model.base.model.parameters())
    with pytest.raises(ValueError, match="adapters already"):
        tuned(base, lora)


def test_what_does_not_fit_the_model_is_refused():
    base = small.base()
    other = small.prompt(base)
    narrow = type(other)(about=other.about, vectors=other.vectors[:, :32])
    with pytest.raises(UserError, match="vectors have 32 numbers, the model's 64"):
        tuned(base, narrow)
    wide = small.base()
    wide.model = small.model(300, kind="gpt2")
    with pytest.raises(UserError, match="model small: the adapter is for another model"):
        tuned(wide, small.lora(base))
    lora = small.lora(base)
    fewer = type(lora)(about=lora.about, config=lora.config, weights=dict(list(lora.weights.items())[:2]))
    with (
        pytest.raises(UserError, match="other layers have adapters"),
        pytest.warns(UserWarning, match="missing adapter keys"),
    ):
        tuned(small.base(), fewer)


def test_an_artifact_of_another_base_is_refused():
    prompt = small.prompt(small.base())
    require_base(prompt, "small@1", "small")
    with pytest.raises(UserError, match="tuned for small@1, and this is local:77.*take small, or tune again"):
        require_base(prompt, "local:77", "mine")


def test_a_folder_for_an_adapter_is_gone_afterwards():
    with adapter_folder(small.lora(small.base())) as folder:
        assert (folder / "adapter_config.json").exists()
    assert not folder.exists()
