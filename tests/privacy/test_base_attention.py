"""The attention that training reads through: as the model's own, for any padding, and not there when text is written."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from .tiny import base  # noqa: E402


def read(tiny: object, ids: object, mask: object) -> object:
    with torch.no_grad():
        return tiny.logits(tiny.hidden(tiny.embed(ids), mask))


def test_it_is_taken_for_bfloat16_on_a_processor_only() -> None:
    assert not base(torch.float32).own_attention
    assert base(torch.bfloat16).own_attention == (not torch.cuda.is_available())


def test_it_gives_what_the_models_own_gives() -> None:
    tiny = base(torch.float32)
    ids = torch.arange(60).view(3, 20) * 11 % 300
    mask = torch.ones_like(ids)
    mask[1, 13:] = mask[2, 5:] = 0
    own = read(tiny, ids, mask)[mask.bool()]
    tiny.own_attention = True
    ours = read(tiny, ids, mask)[mask.bool()]
    assert torch.allclose(own, ours, atol=1e-5)


def test_a_model_that_attends_otherwise_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe compares: with scores that are scaled in another way, ours is left alone."""
    from factory.engines import attention

    real = attention.products

    def wrong(*args: object, scaling: float | None = None, **options: object) -> object:
        return real(*args, scaling=3.0 * (scaling or 0.35), **options)

    monkeypatch.setattr(attention, "products", wrong)
    assert not base(torch.bfloat16).own_attention


def test_text_is_written_with_the_models_own() -> None:
    tiny = base(torch.bfloat16)
    read(tiny, torch.arange(8)[None], torch.ones(1, 8, dtype=torch.long))
    assert tiny.model.config._attn_implementation == "sdpa"
