"""Small models from random weights, with what may be tuned for them."""

import numpy as np
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from factory.privacy.base import Base
from factory.privacy.tuned.artifact import About, adapter_of, soft_prompt

SENTENCES = [
    "the parcel is late and nobody answers",
    "my invoice has been paid twice",
    "it does not start any more",
] * 5
HEADS = {"late": "Delivery: ", "paid": "A bill that somebody wrote about: ", "": ""}


def tokenizer(start=False):
    """A byte-level BPE; with `start` it puts a token before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<end>", "<other>", *(["<begin>"] if start else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    backend.train_from_iterator(SENTENCES, trainer)
    options = {"eos_token": "<end>", "extra_special_tokens": ["<other>"]}
    if start:
        found = [("<begin>", backend.token_to_id("<begin>"))]
        backend.post_processor = processors.TemplateProcessing(single="<begin> $A", special_tokens=found)
        options["bos_token"] = "<begin>"
    return PreTrainedTokenizerFast(tokenizer_object=backend, **options)


def model(size, kind="llama", context=128, seed=0):
    """An untrained model; its weights are large enough for next tokens to differ in likelihood."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": size, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    shared = {**sizes, "intermediate_size": 96, "max_position_embeddings": context}
    if kind == "gpt2":
        made = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=64, n_layer=2, n_head=2, n_positions=context))
    elif kind == "neox":
        made = GPTNeoXForCausalLM(GPTNeoXConfig(**shared))
    elif kind == "opt":
        made = OPTForCausalLM(
            OPTConfig(**sizes, ffn_dim=96, word_embed_proj_dim=64, max_position_embeddings=context, dropout=0.0)
        )
    elif kind == "gemma2":  # scales embeddings and caps logits
        options = {"num_key_value_heads": 1, "head_dim": 32, "final_logit_softcapping": 0.5, "sliding_window": context}
        made = Gemma2ForCausalLM(Gemma2Config(**shared, **options))
    else:
        made = LlamaForCausalLM(LlamaConfig(**shared, num_key_value_heads=1))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6.0)
    made.generation_config.eos_token_id = None
    return made.eval()


def base(start=False, kind="llama", **options):
    words = tokenizer(start)
    return Base(model(len(words), kind, **options), words, "small")


def about(base, **changes):
    heads = {label: tuple(base.ids(text)) for label, text in HEADS.items()}
    known = {"run": "5f0c", "base": "small@1", "base_name": "small", "start": tuple(base.start), "end": base.end}
    known |= {"head": "heads/label", "head_hash": "ab12", "heads": heads, "max_tokens": 20}
    return About(**(known | changes))


def prompt(base, tokens=5, seed=1, **changes):
    vectors = np.random.default_rng(seed).standard_normal((tokens, base.width)).astype(np.float32)
    return soft_prompt(about(base, **changes), vectors)


def lora(base, seed=2, targets=("q_proj", "v_proj"), rank=4, **options):
    """Adapters that change the model, of a copy of it."""
    import copy

    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=rank, target_modules=list(targets), init_lora_weights=False, task_type="CAUSAL_LM", **options)
    return adapter_of(get_peft_model(copy.deepcopy(base.model), config), about(base))
