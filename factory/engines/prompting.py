"""Rendered prompts: from messages or text to the token ids that a local model reads.

    PromptRenderer(tokenizer, context_length=4096).render(Request(messages=(Message("user", "Hi"),)))
    -> RenderedPrompt(ids=[1, 9690, 198, …], max_tokens=512)

A prompt is rendered and counted once, here, by the model's own tokenizer. A trailing assistant
message is a prefill: the answer continues it. A model without a chat template reads the contents of
the messages, joined by blank lines.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from factory.engines.model_source import first_line
from factory.engines.protocol import Message, Request
from factory.errors import EngineError, RequestRefused, UserError

_HERE = "\u241fhere\u241f"  # marks a place in a user's turn; no template or text has it


class RenderedPrompt(NamedTuple):
    """What is submitted to a model.

    Attributes:
        ids: Token ids of the prompt.
        max_tokens: Most tokens of the answer, clamped to what the context leaves.
        end_ids: Tokens that end the answer besides the model's own: those that end a user's turn.
        end_texts: The same as texts, where a template ends the turn with plain text.
    """

    ids: list[int]
    max_tokens: int
    end_ids: tuple[int, ...] = ()
    end_texts: tuple[str, ...] = ()


class PromptRenderer:
    """Renders requests for one model.

    Args:
        tokenizer: A transformers tokenizer that no other thread encodes with.
        context_length: Tokens of prompt and answer together.
        chat: Use the chat template; None uses it if there is one.

    Raises:
        EngineError: If `chat` is asked for and the model has no template.
    """

    def __init__(self, tokenizer: Any, context_length: int, chat: bool | None = None) -> None:
        """Decide once whether messages are rendered by a template."""
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if chat and not has_template:
            raise EngineError(
                "engine.chat is true, but the model has no chat template; leave engine.chat out (messages are "
                "then joined by blank lines), or name an instruction-tuned model."
            )
        self.chat = has_template if chat is None else chat
        self.context_length = context_length
        self._tokenizer = tokenizer

    def render(self, request: Request) -> RenderedPrompt:
        """Token ids of a request, and how many tokens its answer may have.

        Raises:
            RequestRefused: `prompt_too_long`, if prompt and one token do not fit the context.
            EngineError: If the model's template refuses the messages.
        """
        ids, end_ids, end_texts = (
            self._encode_user_turn(request) if request.user_turn else (self._encode(request), (), ())
        )
        room = self.context_length - len(ids)
        if room < 1:
            raise RequestRefused(
                "prompt_too_long",
                f"the prompt has {len(ids)} tokens, but the context holds {self.context_length} with at least one "
                "for the answer; shorten the prompt or raise engine.max_model_len.",
                len(ids),
                self.context_length,
            )
        return RenderedPrompt(ids, min(request.sampling.max_tokens, room), end_ids, end_texts)

    def _encode(self, request: Request) -> list[int]:
        if request.text is not None:
            return list(self._tokenizer(request.text)["input_ids"])
        if not self.chat:
            joined = "\n\n".join(message.content for message in request.messages)
            return list(self._tokenizer(joined)["input_ids"])
        return list(self._tokenizer(self._apply_template(request.messages), add_special_tokens=False)["input_ids"])

    def _encode_user_turn(self, request: Request) -> tuple[list[int], tuple[int, ...], tuple[str, ...]]:
        """The template up to and into the user's turn, and what ends such a turn."""
        if not self.chat:
            raise UserError(
                "a user's turn can only be opened by a chat template, and this model has none, or engine.chat is false; "
                "name an instruction-tuned model."
            )
        *before, last = request.messages
        marked = (*before, Message(last.role, f"{last.content}{_HERE}"))
        text, found, ending = self._apply_template(marked, generate=False).partition(_HERE)
        if not found:
            raise EngineError(
                "the model's chat template changes what it is given, so that no user's turn can be opened."
            )
        ids = list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        ends = list(self._tokenizer(ending.strip(), add_special_tokens=False)["input_ids"])
        if ends and ends[0] in self._tokenizer.all_special_ids:
            return ids, (ends[0],), ()
        return ids, (), (ending.strip(),) if ending.strip() else ()

    def _apply_template(self, messages: tuple[Message, ...], *, generate: bool = True) -> str:
        from jinja2 import TemplateError

        turns = [{"role": message.role, "content": message.content} for message in messages]
        prefill = bool(turns) and turns[-1]["role"] == "assistant"
        if prefill and not turns[-1]["content"]:
            turns, prefill = turns[:-1], False
        try:
            text = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=generate and not prefill, continue_final_message=prefill
            )
        except (TemplateError, ValueError) as error:
            roles = ", ".join(message.role for message in messages)
            raise EngineError(
                f"the model's chat template refuses messages with the roles {roles} ({first_line(error)}); "
                "change the prompt file, or set engine.chat to false."
            ) from error
        return str(text)
