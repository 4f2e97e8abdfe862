"""Tuned artifacts as bytes: all of what must be known, and nothing that must not be released."""

import json

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load, save

from factory.errors import UserError
from factory.privacy.tuned import artifact as module
from factory.privacy.tuned.artifact import Adapter, SoftPrompt, adapter, decoded, encoded, soft_prompt
from tests.privacy.tuned import small


@pytest.fixture(scope="module")
def base():
    return small.base()


@pytest.fixture(scope="module")
def lora(base):
    return small.lora(base)


def test_a_soft_prompt_comes_back_as_it_was(base):
    made = small.prompt(base)
    found = decoded(encoded(made))
    assert isinstance(found, SoftPrompt) and found.about == made.about
    assert found.vectors.dtype == np.float32 and np.array_equal(found.vectors, made.vectors)
    assert encoded(found) == encoded(made)


def test_numbers_come_back_however_they_lie_in_memory(base):
    vectors = np.asfortranarray(np.arange(64 * 3, dtype=np.float64).reshape(64, 3)).T
    assert np.array_equal(decoded(encoded(soft_prompt(small.about(base), vectors))).vectors, vectors)
    strided = SoftPrompt(about=small.about(base), vectors=np.arange(60, dtype=np.float32).reshape(6, 10)[::2, ::-1])
    assert np.array_equal(decoded(encoded(strided)).vectors, strided.vectors)


def test_adapters_come_back_as_they_were(lora):
    found = decoded(encoded(lora))
    assert isinstance(found, Adapter) and (found.about, found.config) == (lora.about, lora.config)
    assert list(found.weights) == sorted(lora.weights) and found.rank == 4
    assert all(np.array_equal(found.weights[name], lora.weights[name]) for name in lora.weights)


def test_a_file_holds_the_trained_numbers_and_little_else(base, lora):
    for made, numbers in ((small.prompt(base), 5 * 64), (lora, sum(each.size for each in lora.weights.values()))):
        blob = encoded(made)
        assert sum(each.size for each in load(blob).values()) == numbers
        assert len(blob) < 4 * numbers + 6000


def test_adapters_of_peft_carry_no_path_and_no_weights_of_the_base(base, lora):
    config = json.loads(lora.config)
    assert config["base_model_name_or_path"] == "small" and config["target_modules"] == ["q_proj", "v_proj"]
    assert len(lora.weights) == 2 * 2 * 2 and all(".lora_" in name for name in lora.weights)
    with pytest.raises(UserError, match="LoRA matrices and nothing else; found .*lm_head"):
        small.lora(base, modules_to_save=["lm_head"])


@pytest.mark.parametrize("name", ["model.layers.0.self_attn.q_proj.weight", "exp_avg"])
def test_what_is_no_adapter_is_not_released_as_one(lora, name):
    with pytest.raises(UserError, match="nothing else"):
        adapter(lora.about, lora.config, {**lora.weights, name: np.zeros((2, 2))})


def test_numbers_that_are_not_finite_are_refused(base, lora):
    vectors = np.zeros((2, 64))
    vectors[1, 3] = np.nan
    with pytest.raises(UserError, match="not finite"):
        soft_prompt(small.about(base), vectors)
    with pytest.raises(UserError, match="not finite"):
        adapter(lora.about, lora.config, {name: each * np.inf for name, each in lora.weights.items()})


@pytest.mark.parametrize("shape", [(0, 64), (64,), (1, 2, 64)])
def test_a_soft_prompt_is_a_matrix(base, shape):
    with pytest.raises(UserError, match="matrix of at least one row"):
        soft_prompt(small.about(base), np.zeros(shape))


def test_what_is_too_large_for_the_journal_is_refused(base, monkeypatch):
    monkeypatch.setattr(module, "MAX_ARTIFACT_BYTES", 5 * 64 * 4)
    encoded(small.prompt(base))
    with pytest.raises(UserError, match="takes 1,536 bytes, and the journal holds at most 1,280"):
        encoded(small.prompt(base, tokens=6))


def test_what_is_damaged_or_something_else_is_refused(base):
    blob = encoded(small.prompt(base))
    others = [b"", b"{}", blob[:-1], blob[:40], b"\xff" * 64, save({"x": np.zeros(2, np.float32)})]
    others.append(save({"x": np.zeros(2, np.float32)}, metadata={"factory": "[]"}))
    for other in others:
        with pytest.raises(UserError, match="no soft prompt and no adapter"):
            decoded(other)
    with pytest.raises(UserError, match="has one tensor"):
        decoded(save({**load(blob), "exp_avg": np.zeros(2, np.float32)}, metadata=metadata(blob)))


def test_a_newer_format_is_refused(base):
    newer = small.prompt(base, format=2)
    with pytest.raises(UserError, match="format 2 .* newer than 1"):
        decoded(encoded(newer))


def metadata(blob):
    return {"factory": module._header_text(blob)}


def test_the_header_says_whose_it_is(base):
    known = msgspec.json.decode(module._header_text(encoded(small.prompt(base))))
    assert known["about"]["run"] == "5f0c" and known["about"]["base"] == "small@1"
    assert known["about"]["heads"]["late"] == base.ids("Delivery: ")
