"""The gradient of each text is that which it would have alone: invariant 1, with the faults that it is to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from factory.errors import UserError
from factory.privacy.base import Base
from factory.privacy.objective import GRID, Encoder, Example, MicroBatch, losses, micro_batches
from factory.privacy.tuning import LoraTuning, PromptTuning, Tuning

from .tiny import TEXTS, base, tokenizer

TOKENS, SCALE = 5, 24.0
HEADS = {"a": "Say: ", "b": "Answer the question (class b): "}


def _prompt(start: bool = False) -> tuple[Any, Tuning]:
    model = base(torch.float64, exact=True, start=start)
    tuning = PromptTuning(model, tokens=TOKENS, initial="hello world", scale=SCALE)
    tuning.prompt.data = tuning.prompt.data.double()
    return model, tuning


def _lora() -> tuple[Any, Tuning]:
    model = base(torch.float64, exact=True)
    tuning = LoraTuning(model, rank=4, alpha=8, targets=None, scale=SCALE)
    generator = torch.Generator().manual_seed(1)
    for parameter in tuning.parameters.values():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3
    return model, tuning


def _examples(model: Any) -> list[Example]:
    encoder = Encoder(model, HEADS, 24, TOKENS)
    return [encoder.encode(text, "ab"[number % 2]) for number, text in enumerate(TEXTS)]


def _worst(found: list[Any], wanted: list[Any]) -> float:
    """Largest relative error of any example's gradient."""
    flat = [torch.cat([each.flatten(1) for each in side], dim=1) for side in (found, wanted)]
    return float(((flat[0] - flat[1]).norm(dim=1) / flat[1].norm(dim=1)).max())


def _alone(tuning: Tuning, examples: list[Example]) -> list[Any]:
    single = [tuning.gradients([example]) for example in examples]
    return [torch.cat(each) for each in zip(*single, strict=True)]


@pytest.mark.parametrize("make", [_prompt, lambda: _prompt(start=True), _lora], ids=["prompt", "with start", "lora"])
def test_a_gradient_in_a_batch_is_that_of_the_text_alone(make: Any) -> None:
    model, tuning = make()
    examples = _examples(model)
    found = tuning.gradients(examples)
    assert [tuple(each.shape) for each in found] == [
        (len(examples), *parameter.shape) for parameter in tuning.parameters.values()
    ]
    assert _worst(found, _alone(tuning, examples)) <= 1e-12


def test_the_gradient_of_a_text_alone_is_that_of_plain_autograd() -> None:
    """The reference for the reference: no expanding, no padding, the whole model, the library's own loss."""
    model, tuning = _prompt()
    example = _examples(model)[1]
    prompt = tuning.parameters["prompt"]
    ids = torch.tensor([[*example.head, *example.text]])
    embeds = torch.cat([prompt[None], model.embed(ids)], dim=1)
    labels = torch.cat([torch.full((1, TOKENS + len(example.head)), -100), torch.tensor([example.text])], dim=1)
    loss = model.model(inputs_embeds=embeds, labels=labels).loss * len(example.text) / SCALE
    (wanted,) = torch.autograd.grad(loss, prompt)
    found = tuning.gradients([example])[0][0]
    assert float((found - wanted).norm() / wanted.norm()) <= 1e-6  # the library's loss is made in float32


def test_a_loss_averaged_over_the_batch_would_be_found() -> None:
    """Planted: divided by the tokens of the batch, what a text contributes depends on who else is there."""
    model, tuning = _prompt()
    examples = _examples(model)

    def averaged(some: list[Example]) -> list[Any]:
        tokens = sum(len(example.text) for example in some)
        return [each * SCALE / tokens for each in tuning.gradients(some)]

    single = [torch.cat([averaged([example])[0] for example in examples])]
    assert _worst(averaged(examples), single) > 0.1


def test_pefts_prompt_tuning_under_hooks_is_found_by_its_shape() -> None:
    """Planted: peft expands the soft prompt after its embedding, so that the hooks see the batch as one row."""
    from opacus import GradSampleModule
    from peft import PromptTuningConfig, get_peft_model

    from factory.privacy.optimizer import private_optimizer
    from factory.privacy.randomness import SeededRandomness

    model = base()
    tuned = get_peft_model(model.model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS))
    hooked = GradSampleModule(tuned, batch_first=True, loss_reduction="sum", strict=False)
    ids = torch.tensor([model.ids("hello world")[:3]] * 4)
    hooked.train()
    hooked(input_ids=ids, labels=ids).loss.backward()
    (prompt,) = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    assert len(prompt.grad_sample) == 1, "peft has changed: 4 texts give 4 gradients now; look at it anew"
    optimizer = private_optimizer(
        torch.optim.SGD([prompt], lr=1.0),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch=4,
        randomness=SeededRandomness(0),
    )
    with pytest.raises(ValueError, match="4 records"):
        optimizer.accumulate([prompt.grad_sample], records=4)


def test_the_head_has_no_part_in_the_loss_and_padding_none() -> None:
    model, tuning = _prompt()
    examples = _examples(model)
    alone = torch.cat([tuning.losses([example]) for example in examples])
    assert torch.allclose(tuning.losses(examples), alone, rtol=1e-12)
    example = examples[1]
    prompt = tuning.parameters["prompt"].detach()[None]
    logits = model.model(
        inputs_embeds=torch.cat([prompt, model.embed(torch.tensor([[*example.head, *example.text]]))], dim=1)
    ).logits[0]
    first = TOKENS + len(example.head) - 1
    chosen = logits[first : first + len(example.text)].log_softmax(dim=-1)
    wanted = -chosen[range(len(example.text)), example.text].sum() / SCALE
    assert abs(float(tuning.losses([example])[0]) - float(wanted)) <= 1e-9


def test_a_long_text_is_cut_without_an_end_and_a_short_one_has_one() -> None:
    model = base()
    encoder = Encoder(model, {"": "Say: "}, 6, 0)
    long, short = encoder.encode("the parcel never came and nobody answers at all", ""), encoder.encode("x", "")
    assert len(long.text) == 6
    assert model.end not in long.text
    assert short.text[-1] == model.end
    assert encoder.encode("", "").text == [model.end]


def test_micro_batches_hold_each_example_once_and_are_of_one_shape() -> None:
    examples = _examples(base())
    parts = list(micro_batches(examples, 4))
    assert sorted(repr(each) for part in parts for each in part.examples[: part.records]) == sorted(map(repr, examples))
    assert {len(part.examples) for part in parts} == {4}
    assert all(len({each.width for each in part.examples}) == 1 for part in parts)
    assert all(each.length <= each.width < each.length + GRID for each in examples)
    assert not list(micro_batches([], 4))


def _by_text(tuning: Tuning, parts: list[MicroBatch]) -> dict[tuple[int, ...], Any]:
    found = {}
    for part in parts:
        gradients = tuning.gradients(part.examples)
        for row, example in enumerate(part.examples[: part.records]):
            found[tuple(example.text)] = torch.cat([each[row].flatten().float() for each in gradients])
    return found


def _most_changed(tuning: Tuning, examples: list[Example], cut: Callable[[list[Example]], list[MicroBatch]]) -> float:
    """Most that any text's gradient changes, over its length, when another text is not there."""
    whole = _by_text(tuning, cut(examples))
    worst = 0.0
    for left_out in range(len(examples)):
        less = _by_text(tuning, cut(examples[:left_out] + examples[left_out + 1 :]))
        worst = max(worst, *(float((whole[text] - less[text]).norm() / whole[text].norm()) for text in less))
    return worst


def _long(model: Any) -> list[Example]:
    """Eight texts of many lengths."""
    encoder = Encoder(model, {"": "Say what you want to say about this: "}, 48, 20)
    texts = [*TEXTS, "what a fine day it is", "nobody came"]
    return [encoder.encode(text * 3 + " the parcel never came" * (at % 3), "") for at, text in enumerate(texts)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["prompt", "lora"])
def test_no_text_changes_anothers_gradient_by_a_bit(kind: str, dtype: Any) -> None:
    """Rounding depends on shapes; were they decided by the batch, one text would move the others beyond the clipping norm."""
    model = base(dtype, hidden=64)
    if kind == "prompt":
        tuning: Tuning = PromptTuning(model, tokens=20, initial="hello world", scale=SCALE)
    else:
        tuning = LoraTuning(model, rank=4, alpha=8, targets=None, scale=SCALE)
    assert _most_changed(tuning, _long(model), lambda some: list(micro_batches(some, 4))) == 0.0


def test_no_text_decides_whether_another_is_read_with_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers leaves the mask out where no row has padding, and other kernels run, which round otherwise on a GPU."""
    plain, masks = torch.nn.functional.scaled_dot_product_attention, []

    def seen(*given: Any, **named: Any) -> Any:
        masks.append(named.get("attn_mask") is not None)
        return plain(*given, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", seen)
    tuning = PromptTuning(base(), tokens=4, initial="hello world", scale=SCALE)
    full = Example([2, 3], list(range(4, 19)), 2)
    other = Example([2, 3], list(range(4, 13)), 2)
    assert full.length == full.width == other.width
    for company in ([full], [full, other], [full, other, full]):
        masks.clear()
        first = next(part for part in micro_batches(company, 4) if full in part.examples)
        tuning.gradients(first.examples)
        assert not any(masks)


@pytest.mark.parametrize("fault", ["as wide as the longest", "as many rows as there are"])
def test_shapes_that_depend_on_the_batch_would_be_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted; on processors that multiply bfloat16 in tiles a text's gradient moves by a third of a percent."""
    if fault == "as wide as the longest":
        monkeypatch.setattr(Example, "width", property(lambda example: example.length))
    model = base(torch.bfloat16, hidden=64)
    tuning = PromptTuning(model, tokens=20, initial="hello world", scale=SCALE)

    def together(examples: list[Example]) -> list[MicroBatch]:
        return [MicroBatch(examples, len(examples))]

    changed = _most_changed(tuning, _long(model), together)
    if changed == 0.0:
        pytest.skip("this processor rounds alike in all shapes: nothing to find here")
    assert changed > 1e-4


def test_adapters_of_a_layer_that_reads_all_tokens_in_one_list_are_refused() -> None:
    """Its hooks give a gradient for each token; a text would have many of them, each clipped by itself."""
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    words = tokenizer()
    config = Qwen2MoeConfig(
        vocab_size=len(words),
        hidden_size=32,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=256,
    )
    model = Base(Qwen2MoeForCausalLM(config), words, "experts")  # type: ignore[no-untyped-call]
    tuning = LoraTuning(model, rank=2, alpha=4, targets=["gate_proj"], scale=SCALE)
    with pytest.raises(UserError, match=r"targets: .*gate_proj.* row by row"):
        tuning.gradients(_long(model)[:1] * 4)


@pytest.mark.parametrize("rows", [1, 4])
def test_experts_that_read_all_texts_in_one_list_are_told_and_one_text_at_a_time_is_alone(rows: int) -> None:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    assert not base().has_experts
    words = tokenizer()
    config = Qwen3MoeConfig(
        vocab_size=len(words), hidden_size=256, intermediate_size=512, moe_intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, num_experts=8, num_experts_per_tok=2,
        max_position_embeddings=256, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Base(Qwen3MoeForCausalLM(config), words, "experts")  # type: ignore[no-untyped-call]
    assert model.has_experts
    tuning = PromptTuning(model, tokens=20, initial="hello world", scale=SCALE)
    changed = _most_changed(tuning, _long(model), lambda some: list(micro_batches(some, rows)))
    if rows > 1 and changed == 0.0:
        pytest.skip("this processor rounds alike in all shapes: nothing to find here")
    assert (changed == 0.0) == (rows == 1)


def test_what_does_not_fit_is_told() -> None:
    model = base()
    with pytest.raises(UserError, match="lower max_tokens"):
        Encoder(model, {"": "Say: "}, 254, 5)
    with pytest.raises(UserError, match="nothing to begin from"):
        Encoder(model, {"": ""}, 10, 0)
    with pytest.raises(UserError, match="no token"):
        PromptTuning(model, tokens=3, initial="", scale=1.0)
    with pytest.raises(UserError, match="targets"):
        LoraTuning(model, rank=2, alpha=4, targets=["nothing_like_it"], scale=1.0)


def test_a_model_that_scales_its_logits_is_read_through_its_own_head() -> None:
    """Some models do more after the output matrix; what they do must not be left out."""
    model = base()
    inner = model.model
    plain = inner.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        found = plain(*args, **kwargs)
        found.logits = 7 * torch.tanh(found.logits / 7)
        return found

    example = _examples(model)[1]
    before = losses(model, [example], None, SCALE)
    inner.forward = scaled
    from factory.privacy.base import Base

    again = Base(inner, model.tokenizer, "capped")
    after = losses(again, [example], None, SCALE)
    logits = inner(torch.tensor([[*example.head, *example.text]])).logits[0]
    first = len(example.head) - 1
    chosen = logits[first : first + len(example.text)].log_softmax(dim=-1)
    wanted = -chosen[range(len(example.text)), example.text].sum() / SCALE
    assert float(after[0]) == pytest.approx(float(wanted), rel=1e-5)
    assert abs(float(after[0]) - float(before[0])) > 1e-3


def test_models_without_what_is_needed_are_refused() -> None:
    from factory.privacy.base import Base

    words = base().tokenizer
    model = base().model
    model.set_input_embeddings(torch.nn.Linear(4, 32))
    with pytest.raises(UserError, match="ordinary token embedding"):
        Base(model, words, "strange")
    model = base().model
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        Base(model, words, "broken")
