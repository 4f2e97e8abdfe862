"""Tuned artifacts as files, ours and peft's."""

import copy
import json

import numpy as np
import pytest
import torch
from peft import PeftModel

from factory.errors import UserError
from factory.privacy.tuned.folders import export_prompt, read, write
from factory.privacy.tuned.model import tuned
from tests.privacy.tuned import small


@pytest.fixture(scope="module")
def base():
    return small.base()


def start_embeddings(base):
    return base.embed(torch.tensor(base.start)).detach().numpy() if base.start else None


def logits(model, head):
    """After each token of a head, as the model itself gives them without any cache."""
    opening = model.opening(head)[None]
    with torch.no_grad():
        return model.base.model(inputs_embeds=opening).logits[0, -len(head) :]


def test_what_is_written_is_read(base, tmp_path):
    prompt, lora = small.prompt(base), small.lora(base)
    assert [file.name for file in write(prompt, tmp_path / "a")] == ["soft_prompt.safetensors", "soft_prompt.json"]
    assert {file.name for file in write(lora, tmp_path / "b")} == {file.name for file in (tmp_path / "b").iterdir()}
    found, other = read(tmp_path / "a"), read(tmp_path / "b")
    assert found.about == prompt.about and np.array_equal(found.vectors, prompt.vectors)
    assert other.about == lora.about and other.config == lora.config
    assert all(np.array_equal(other.weights[name], lora.weights[name]) for name in lora.weights)
    assert json.loads((tmp_path / "a" / "soft_prompt.json").read_text())["run"] == "5f0c"


def test_folders_without_an_artifact_or_with_half_of_one_are_refused(base, tmp_path):
    with pytest.raises(UserError, match="holds no soft prompt and no adapter; expected"):
        read(tmp_path)
    write(small.lora(base), tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)
    write(small.lora(base), tmp_path)
    tensors = tmp_path / "adapter_model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-4])
    with pytest.raises(UserError, match=f"{tmp_path}: the adapter is damaged"):
        read(tmp_path)
    write(small.prompt(base), tmp_path / "a")
    (tmp_path / "a" / "soft_prompt.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match=r"a: this is no soft prompt"):
        read(tmp_path / "a")


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_peft_loads_an_exported_soft_prompt_and_gives_the_same_logits(tmp_path, kind, start):
    base = small.base(start, kind)
    prompt = small.prompt(base)
    export_prompt(prompt, tmp_path, start_embeddings(base))
    head = base.ids("Delivery: ")
    ours = logits(tuned(base, prompt), head)
    theirs = PeftModel.from_pretrained(copy.deepcopy(base.model), tmp_path).eval()
    with torch.no_grad():
        found = theirs(input_ids=torch.tensor([head])).logits[0, -len(head) :]
    torch.testing.assert_close(found, ours, atol=1e-5, rtol=1e-4)
    other = small.prompt(base, seed=9)
    assert (logits(tuned(base, other), head) - ours).abs().max() > 0.01
    generated = theirs.generate(input_ids=torch.tensor([head]), max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert int(generated[0, len(head)]) == int(ours[-1].argmax())


def test_an_export_needs_the_embeddings_of_what_stands_before(tmp_path):
    base = small.base(start=True)
    with pytest.raises(ValueError, match="1 start tokens, found 0"):
        export_prompt(small.prompt(base), tmp_path)


def test_an_adapter_folder_is_what_peft_loads(base, tmp_path):
    lora = small.lora(base)
    write(lora, tmp_path)
    theirs = PeftModel.from_pretrained(copy.deepcopy(base.model), tmp_path).eval()
    head = torch.tensor([base.ids("Delivery: ")])
    plain = base.model(input_ids=head).logits
    own = tuned(small.base(), lora)
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=head).logits, own.base.model(input_ids=head).logits)
        assert (theirs(input_ids=head).logits - plain).abs().max() > 0.01
