"""A language model of a few thousand weights and its tokenizer, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TEXTS = [
    "hello world",
    "the parcel never came and nobody answers",
    "spam spam spam win a prize",
    "I was charged twice for one order",
    "x",
    "thanks for the quick help with my router",
]


def tokenizer(*, start: bool = False) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<end>", "<start>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS * 3, trainer)
    if start:
        made.post_processor = processors.TemplateProcessing(single="<start> $A", special_tokens=[("<start>", 1)])
    extra = {"bos_token": "<start>"} if start else {}
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<end>", **extra)


def llama(vocabulary: int, dtype: Any = torch.float32, *, exact: bool = False, hidden: int = 32) -> Any:
    """A random Llama; `exact` takes out what rounds to float32 inside, so that float64 is float64."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            initializer_range=0.2,
            bos_token_id=1,
            eos_token_id=0,
            pad_token_id=0,
        )
        model = LlamaForCausalLM(config).to(dtype)
    if exact:
        for module in model.modules():
            if type(module).__name__ == "LlamaRMSNorm":
                module.forward = _norm(module)
    return model


def _norm(module: Any) -> Any:
    def forward(hidden: Any) -> Any:
        scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)
        return module.weight * hidden * scale

    return forward


def base(dtype: Any = torch.float32, *, exact: bool = False, start: bool = False, hidden: int = 32) -> Any:
    from factory.privacy.base import Base

    words = tokenizer(start=start)
    return Base(llama(len(words), dtype, exact=exact, hidden=hidden), words, "tiny")


def saved(folder: Path) -> Path:
    """The same as a folder that anything loads."""
    words = tokenizer()
    llama(len(words)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
