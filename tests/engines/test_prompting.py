"""Rendering with the real tokenizer of the embedded model."""

import copy
from typing import Any

import pytest

from factory.engines.embedded import embedded_model_dir
from factory.engines.model_source import ModelSource, load_tokenizer
from factory.engines.prompting import PromptRenderer
from factory.engines.protocol import Message, Request, Sampling
from factory.errors import EngineError, RequestRefused, UserError

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


# --- a user's turn that is opened ------------------------------------------------------------------------------

LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}{{ m.content }}{% endif %}{% endfor %}"


def opened(tokenizer: Any, *messages: Message, template: str | None = None) -> tuple[str, Any]:
    changed = copy.deepcopy(tokenizer)
    if template is not None:
        changed.chat_template = template
    found = PromptRenderer(changed, 4096).render(Request(messages=messages, user_turn=True))
    return str(changed.decode(found.ids)), found


def test_an_opened_turn_is_the_template_up_to_it_token_by_token(tokenizer: Any) -> None:
    text, found = opened(tokenizer, Message("user", ""))
    assert text == HEAD + "<|im_start|>user\n"
    whole = tokenizer(tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False))["input_ids"]
    assert found.ids == whole[: len(found.ids)]
    assert found.end_ids == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    assert found.end_texts == ()


def test_a_turn_may_have_begun_and_follow_others(tokenizer: Any) -> None:
    text, _ = opened(tokenizer, Message("system", "You know birds."), Message("user", "How do"))
    assert text == "<|im_start|>system\nYou know birds.<|im_end|>\n<|im_start|>user\nHow do"


@pytest.mark.parametrize(
    ("template", "text", "ending"),
    [
        (LLAMA_3, "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        (MISTRAL, "[INST] ", "[/INST]"),
    ],
)
def test_templates_of_other_models_are_opened_too(tokenizer: Any, template: str, text: str, ending: str) -> None:
    shown, found = opened(tokenizer, Message("user", ""), template=template)
    assert shown.endswith(text)
    assert found.end_texts == (ending,)


def test_what_cannot_be_opened_says_so(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="can only be opened by a chat template"):
        PromptRenderer(tokenizer, 4096, False).render(Request(messages=(Message("user", ""),), user_turn=True))
    with pytest.raises(EngineError, match="changes what it is given"):
        opened(tokenizer, Message("user", ""), template="{% for m in messages %}{{ m.content | upper }}{% endfor %}")
