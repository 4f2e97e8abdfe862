"""Rendering with the real tokenizer of the embedded model."""

import copy
from typing import Any

import pytest

from factory.engines.embedded import embedded_model_dir
from factory.engines.model_source import ModelSource, load_tokenizer
from factory.engines.prompting import PromptRenderer
from factory.engines.protocol import Message, Request, Sampling
from factory.errors import EngineError, RequestRefused

pytestmark = pytest.mark.engine
HEAD = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(ModelSource(str(embedded_model_dir()), None, "embedded"))


def rendered(tokenizer: Any, request: Request, chat: bool | None = None) -> str:
    return str(tokenizer.decode(PromptRenderer(tokenizer, 4096, chat).render(request).ids))


def test_messages_go_through_the_template(tokenizer: Any) -> None:
    request = Request(messages=(Message("user", "Hi"),))
    assert rendered(tokenizer, request) == HEAD + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(("prefill", "ending"), [("The Nile", "The Nile"), ("", "")])
def test_a_last_assistant_message_is_continued(tokenizer: Any, prefill: str, ending: str) -> None:
    request = Request(messages=(Message("user", "Hi"), Message("assistant", prefill)))
    expected = HEAD + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" + ending
    assert rendered(tokenizer, request) == expected


def test_text_is_not_wrapped(tokenizer: Any) -> None:
    assert rendered(tokenizer, Request(text="Once upon")) == "Once upon"


def test_a_beginning_token_is_added_to_text_and_not_twice_to_a_rendered_template(tokenizer: Any) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    beginning = copy.deepcopy(tokenizer)
    beginning.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    assert rendered(beginning, Request(text="Once")) == "<|im_start|>Once"
    assert rendered(beginning, Request(messages=(Message("user", "Hi"),))).startswith(HEAD)


def test_without_a_template_messages_are_joined_by_blank_lines(tokenizer: Any) -> None:
    request = Request(messages=(Message("system", "S"), Message("user", "U")))
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    assert rendered(bare, request) == "S\n\nU"
    assert rendered(tokenizer, request, chat=False) == "S\n\nU"
    assert not PromptRenderer(bare, 10).chat
    with pytest.raises(EngineError, match="no chat template"):
        PromptRenderer(bare, 10, chat=True)


def test_the_limit_is_the_context_less_one_token(tokenizer: Any) -> None:
    request = Request(text="one two three four", sampling=Sampling(max_tokens=100))
    length = len(PromptRenderer(tokenizer, 99).render(request).ids)
    assert PromptRenderer(tokenizer, length + 1).render(request).max_tokens == 1
    assert PromptRenderer(tokenizer, length + 50).render(request).max_tokens == 50
    assert PromptRenderer(tokenizer, length + 200).render(request).max_tokens == 100
    with pytest.raises(RequestRefused, match=f"{length} tokens, but the context holds {length}") as refused:
        PromptRenderer(tokenizer, length).render(request)
    assert (refused.value.reason, refused.value.score, refused.value.threshold) == ("prompt_too_long", length, length)


def test_a_template_that_refuses_names_the_roles(tokenizer: Any) -> None:
    strict = copy.deepcopy(tokenizer)
    strict.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(EngineError, match=r"roles system, user \(System role not supported\)"):
        PromptRenderer(strict, 4096).render(Request(messages=(Message("system", "S"), Message("user", "U"))))
