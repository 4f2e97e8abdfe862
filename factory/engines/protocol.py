"""The one seam between the factory and a language model.

An engine takes a `Request` and gives back a `Completion`:

    Request(messages=(Message("user", "Name a river."),), sampling=Sampling(max_tokens=8))
    -> Completion(text="The Nile.", finish_reason="stop", prompt_tokens=34, completion_tokens=4)

Whatever an engine is (vLLM in this process, a server, a script), it

* raises `RequestRefused("prompt_too_long", …)` before asking, if the prompt and at least one token
  do not fit the context; it never truncates;
* raises `EngineDied` for every request in flight when it stops;
* raises `EngineError` when asking again cannot help (wrong key, unknown model, no log-probabilities where a request
  asks for some);
* reports the token counts that the model's own tokenizer gave.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol

import msgspec

FinishReason = Literal["stop", "length", "refused"]


class Message(msgspec.Struct, frozen=True):
    """One chat message; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is drawn; the defaults are plain sampling from the model.

    Attributes:
        max_tokens: Most tokens in the answer.
        temperature: 0 takes the most likely token.
        top_p: Nucleus mass in (0, 1].
        top_k: Candidates kept; 0 keeps all.
        min_p: Least probability relative to the best token, in [0, 1].
        presence_penalty: Added once per token seen, in [-2, 2].
        frequency_penalty: Added per occurrence, in [-2, 2].
        repetition_penalty: Multiplicative; 1 changes nothing.
        stop: Strings that end the answer and are not part of it.
    """

    max_tokens: int = 512
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()


class Constraint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A form that the answer must have; exactly one of the attributes is set.

    An engine that cannot constrain asks without it, and the parser judges what comes back.
    """

    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    choice: tuple[str, ...] | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to a model.

    Attributes:
        messages: Chat messages; empty when `text` is set.
        text: Plain text to continue (base models); None when `messages` is set.
        sampling: How tokens are drawn.
        seed: Derived seed; an engine that cannot take seeds safely leaves it out.
        constraint: Form of the answer, if any.
        user_turn: The last message, a user's, is to be gone on with as the user, instead of answered: its content,
            which may be empty, is the beginning (Magpie, arXiv 2406.08464).
        logprobs: So many most likely tokens for the first place of the answer come back with their log-probabilities.
    """

    messages: tuple[Message, ...] = ()
    text: str | None = None
    sampling: Sampling = Sampling()
    seed: int | None = None
    constraint: Constraint | None = None
    user_turn: bool = False
    logprobs: int = 0


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """A token, as the text that it stands for, and the natural logarithm of its probability."""

    text: str
    logprob: float


class Completion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer.

    Attributes:
        text: What the model wrote, without the stop string.
        finish_reason: `stop`, `length` (cut at max_tokens), or `refused` (the server would not answer).
        prompt_tokens: Tokens of the rendered prompt, counted by the engine.
        completion_tokens: Tokens of the answer, counted by the engine.
        detail: Why it was refused; empty otherwise.
        logprobs: Most likely tokens for the first place of the answer, likeliest first, of the model as it is: before
            temperature, penalties and truncation. Empty if the request wants none, or the answer has no token.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    detail: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine can do.

    Attributes:
        seed_safe: Takes a seed per request without harm.
        structured: Enforces a `Constraint`.
        chat: The model has a chat template.
        context_length: Tokens of prompt and answer together; None when not known.
        logprobs: Most tokens whose log-probabilities a request may ask for; 0 if there are none to be had.
    """

    seed_safe: bool
    structured: bool
    chat: bool = True
    context_length: int | None = None
    logprobs: int = 0


def likeliest(found: Iterable[tuple[str, float]], count: int) -> tuple[TokenLogprob, ...]:
    """The most likely tokens in the order that a completion has them: equal ones by their text.

    >>> [token.text for token in likeliest([("a", -3.0), ("c", -0.5), ("b", -0.5)], 2)]
    ['b', 'c']
    """
    ordered = sorted(found, key=lambda token: (-token[1], token[0]))
    return tuple(TokenLogprob(text, logprob) for text, logprob in ordered[:count])


class Engine(Protocol):
    """Anything that answers requests; started by its constructor or by `start`."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do; valid after `start`."""

    @property
    def description(self) -> str:
        """One line for people: kind, model, device."""

    async def start(self) -> None:
        """Load or connect; called once before the first request and again after a death.

        Raises:
            EngineError: If it cannot start.
        """

    async def complete(self, request: Request) -> Completion:
        """Answer one request; called concurrently.

        Raises:
            RequestRefused: If this request cannot be answered by any engine of this run.
            EngineDied: If the engine stopped before the answer was there.
            EngineError: If asking again cannot help.
        """

    async def close(self) -> None:
        """Free what the engine holds; requests in flight are abandoned."""
