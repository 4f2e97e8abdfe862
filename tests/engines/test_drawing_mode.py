"""A model that is borrowed for drawing is given back as it was, also where drawing fails."""

from __future__ import annotations

import pytest

from factory.engines.slots import drawing_mode
from tests.privacy.tiny import llama

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("fails", [False, True])
def test_a_model_is_given_back_as_it_was(fails: bool) -> None:
    model = llama(40)
    model.model.layers[0].train()
    model.model.layers[1].eval()
    before = (model.config._attn_implementation, [module.training for module in model.modules()])
    assert before[0] != "eager"
    try:
        with drawing_mode(model):
            assert not any(module.training for module in model.modules())
            assert torch.is_inference_mode_enabled()
            assert model.config._attn_implementation == ("eager" if model.device.type == "cpu" else before[0])
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert (model.config._attn_implementation, [module.training for module in model.modules()]) == before
    assert not torch.is_inference_mode_enabled()
