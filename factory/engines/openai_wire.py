"""The OpenAI-compatible protocol as seen from the asking side: requests to JSON, replies to completions.

    {"choices": [{"message": {"content": "The Nile."}, "finish_reason": "stop"}],
     "usage": {"prompt_tokens": 34, "completion_tokens": 4}}
    -> Completion(text="The Nile.", finish_reason="stop", prompt_tokens=34, completion_tokens=4)

A reply means one of four things: a completion; a `Fault`, which may pass; `RequestRefused`, when the
prompt is too long; an `EngineError`, when asking again cannot help. No connection is opened here.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import msgspec

from factory.engines.protocol import Completion, Constraint, FinishReason, Request, TokenLogprob, likeliest
from factory.errors import EngineError, RequestRefused, UserError

Structured = Literal["openai", "vllm", "none"]

MAX_PAUSE_S = 60.0
MOST_TOKENS = 10**9
DETAIL_CHARS = 300
RETRIED = frozenset({408, 409, 429})
REFUSED = frozenset({400, 413, 422})
WRONG_KEY = frozenset({401, 403})
NO_MODEL_LIST = frozenset({404, 405, 429, 501})
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
FINISH_REASONS: dict[str | None, FinishReason] = {"length": "length", "content_filter": "refused"}
# How vLLM, SGLang, llama.cpp, TGI and hosted servers say that a prompt does not fit.
TOO_LONG = re.compile(
    r"context (length|size|window)|maximum (context|model)|(prompt|input) (is )?too long|max_new_tokens` must be <=",
    re.I,
)
TOO_LONG_CODE = re.compile(rb'"(code|type)"\s*:\s*"\w*context\w*"')


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Token(msgspec.Struct):
    token: str
    logprob: float


class _Position(msgspec.Struct):
    top_logprobs: list[_Token] = []


class _Logprobs(msgspec.Struct):
    """Positions under `content` in chat; under `top_logprobs` a mapping for each position elsewhere."""

    content: list[_Position] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None

    def first(self) -> list[tuple[str, float]]:
        if self.content:
            return [(found.token, found.logprob) for found in self.content[0].top_logprobs]
        return list((self.top_logprobs[0] or {}).items()) if self.top_logprobs else []


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | msgspec.UnsetType | None = msgspec.UNSET
    finish_reason: str | None = None
    logprobs: Any = None  # read where it is asked for; else it may be anything


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


def _counts(usage: _Usage | None) -> tuple[int, int, bool]:
    """Tokens of prompt and answer, 0 for counts that are missing or cannot be, and whether one is."""
    given = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    prompt, completion = (count if count is not None and 0 <= count <= MOST_TOKENS else None for count in given)
    return prompt or 0, completion or 0, prompt is None or completion is None


class Model(msgspec.Struct):
    """A model that a server lists."""

    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[Model]


@dataclass(frozen=True)
class Reply:
    """An answer as it came in: status, headers, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fault(Exception):
    """A failure that may pass; its text completes a sentence that begins with the URL."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        """Keep how long the server asked to be left alone."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Wire:
    """How one model is spoken to: requests to JSON, replies to completions or faults.

    Args:
        model: Name that the servers know the model by.
        key: API key, so that it can be kept out of every message.
        seeds: Whether the servers take a `seed`.
        structured: How to ask for a `Constraint`.
        context_length: Tokens of prompt and answer; may become known later.
    """

    def __init__(
        self, *, model: str, key: str | None, seeds: bool, structured: Structured, context_length: int | None
    ) -> None:
        """Nothing is sent from here."""
        self.context_length = context_length
        self.usage_missing = False
        self._model = model
        self._key = key
        self._seeds = seeds
        self._structured = structured

    def encode(self, request: Request) -> tuple[str, str]:
        """Path below the base URL, and the JSON to post there.

        Raises:
            UserError: If the request needs the model's chat template on this side.
        """
        if request.user_turn:
            raise UserError(
                "engine server cannot open a user's turn: the chat template is on the server. Use engine vllm or "
                "transformers, or give the step a prompt file with a 'text' section and set engine.chat to false."
            )
        sampling = request.sampling
        payload: dict[str, Any] = {
            "model": self._model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **msgspec.to_builtins(sampling),  # without defaults: strict servers refuse fields they do not know
        }
        if self._seeds and request.seed is not None:
            payload["seed"] = request.seed
        chat = request.text is None
        if request.constraint is not None:
            payload |= self._constrain(request.constraint, chat)
        if request.logprobs:
            payload |= {"logprobs": True, "top_logprobs": request.logprobs} if chat else {"logprobs": request.logprobs}
        if chat:
            return "chat/completions", json.dumps(payload | {"messages": msgspec.to_builtins(request.messages)})
        return "completions", json.dumps(payload | {"prompt": request.text})

    def _constrain(self, constraint: Constraint, chat: bool) -> dict[str, Any]:
        schema = constraint.json_schema
        if self._structured == "vllm":
            kinds = {"json": schema, "regex": constraint.regex, "choice": constraint.choice}
            return {"structured_outputs": {kind: form for kind, form in kinds.items() if form is not None}}
        if self._structured == "openai" and chat and schema is not None:
            named = {"name": "answer", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        return {}

    def served(self, url: str, reply: Reply) -> Model | None:
        """The listed model that requests will go to; None if the server lists none.

        Raises:
            Fault: If it does not list models for now.
            EngineError: If it refuses the key, sends elsewhere or serves other models.
        """
        if reply.status in WRONG_KEY or 300 <= reply.status < 400:
            raise self._dead_end(url, reply)
        if reply.status in NO_MODEL_LIST:
            return None
        if reply.status != 200:
            raise Fault(f"answered GET /models with {reply.status}{self._quote(reply)}")
        try:
            listed = msgspec.json.decode(reply.body, type=_Models | list[Model])
        except UNREADABLE:
            raise Fault("answered GET /models with something other than a list of models (is /v1 missing?)") from None
        models = {model.id: model for model in (listed.data if isinstance(listed, _Models) else listed)}
        for alias in (self._model, f"{self._model}:latest", f"models/{self._model}"):  # Ollama, Gemini
            if alias in models:
                return models[alias]
        if models:
            serves = self._shown(_listing(self._model, list(models)))
            raise EngineError(f"{url} does not serve the model '{self._model}', but {serves}")
        return None

    def judge(self, url: str, reply: Reply, logprobs: int = 0) -> Completion:
        """What an answer to a request that asks for so many log-probabilities means.

        Raises:
            Fault: For what may pass.
            RequestRefused: If the server finds the prompt too long.
            EngineError: For what will not pass.
        """
        if 200 <= reply.status < 300:
            return self._read(url, reply, logprobs)
        if reply.status in RETRIED or reply.status >= 500:
            raise Fault(f"answered {reply.status}{self._quote(reply)}", retry_after_s(reply.headers))
        if reply.status not in REFUSED:
            raise self._dead_end(url, reply)
        said = self._shown(server_message(reply.body))
        if TOO_LONG.search(said) or TOO_LONG_CODE.search(reply.body):
            found, limit = _number(r"(\d+) input tokens", said), _number(r"maximum context length is (\d+)", said)
            message = f"{url} finds the prompt too long{in_brackets(said)}"
            raise RequestRefused("prompt_too_long", message, found, limit or self.context_length)
        said = said or f"status {reply.status} without a message"
        return Completion(text="", finish_reason="refused", prompt_tokens=0, completion_tokens=0, detail=said)

    def _read(self, url: str, reply: Reply, logprobs: int) -> Completion:
        try:
            answer = _decoded(reply.body)
        except (*UNREADABLE, ValueError):
            raise Fault(f"sent something other than a completion{self._quote(reply)}") from None
        choice = answer.choices[0] if answer.choices else _Choice()
        if choice.finish_reason in ("abort", "error"):
            raise Fault(f"broke off its answer (finish_reason '{choice.finish_reason}')")
        if choice.message is None and choice.text is msgspec.UNSET:
            raise Fault(f"sent a completion without an answer{self._quote(reply)}")
        prompt_tokens, completion_tokens, missing = _counts(answer.usage)
        self.usage_missing |= missing
        text = choice.message.content if choice.message else choice.text
        refusal = choice.message.refusal if choice.message else None
        reason: FinishReason = "refused" if refusal else FINISH_REASONS.get(choice.finish_reason, "stop")
        return Completion(
            text=text or "",
            finish_reason=reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            detail=self._shown(refusal or ("content filter" if choice.finish_reason == "content_filter" else "")),
            logprobs=_first_logprobs(url, choice, logprobs, expected=bool(text) and reason != "refused"),
        )

    def _dead_end(self, url: str, reply: Reply) -> EngineError:
        """The error for a status that asking again will not change."""
        advice = "asking again will not help; check the server and the engine's settings"
        if reply.status in WRONG_KEY:
            fault = "it wants an API key" if self._key is None else "it refuses the API key"
            advice = f"{fault}; name the environment variable that holds the right one in the engine's `api_key_env`"
        elif reply.status == 404:
            advice = f"check that it serves the model '{self._model}' and that the URL ends where its API begins (/v1)"
        elif 300 <= reply.status < 400:
            target = self._shown(reply.headers.get("location", "nowhere"))
            advice = f"redirects (here to {target}) are not followed; put the final URL into the engine's `urls`"
        return EngineError(f"{url} answered {reply.status}{self._quote(reply)}: {advice}")

    def _quote(self, reply: Reply) -> str:
        return in_brackets(self._shown(server_message(reply.body)))

    def _shown(self, text: str) -> str:
        """A server's words on one line, short, and without the key if it echoes it."""
        for form in (self._key, json.dumps(self._key)[1:-1]) if self._key else ():
            text = text.replace(form, "[api key]")
        text = "".join(char if char.isprintable() else " " for char in text)  # no escape code reaches a terminal
        return " ".join(text.split())[:DETAIL_CHARS]


def _first_logprobs(url: str, choice: _Choice, count: int, *, expected: bool) -> tuple[TokenLogprob, ...]:
    """What was asked for.

    Raises:
        EngineError: If it is expected and missing: the server leaves out what it cannot do.
    """
    if not count:
        return ()
    try:
        found = msgspec.convert(choice.logprobs, _Logprobs).first()
    except msgspec.ValidationError:
        found = []
    if expected and not found:
        raise EngineError(
            f"{url} sends no log-probabilities (`top_logprobs`) with its answers, and this step reads scores from them; "
            "use a server that sends them, such as vLLM's, or engine vllm or transformers"
        )
    # Rounding may put a probability above 1.
    return likeliest([(token, min(logprob, 0.0)) for token, logprob in found], count)


def _decoded(body: bytes) -> _Answer:
    """A completion; an escape of half a surrogate pair becomes `?`, for asking again would bring it back."""
    try:
        return msgspec.json.decode(body, type=_Answer)
    except UNREADABLE:
        lenient = json.loads(body.decode("utf-8"))
        return msgspec.json.decode(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"), type=_Answer)


def server_message(body: bytes) -> str:
    """The message in the body of an error: `error.message`, `message` or `detail` if JSON, else all of it.

    >>> server_message(b'{"error": {"message": "no such model", "code": 404}}')
    'no such model'
    """
    try:
        node: Any = msgspec.json.decode(body)
    except UNREADABLE:
        return body.decode("utf-8", "replace")
    for key in ("error", "message", "detail"):
        if isinstance(node, dict) and key in node:
            node = node[key]
    return node if isinstance(node, str) else json.dumps(node)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a `Retry-After` header (a number or a date) asks for, in [0, 60]; 0 without one.

    >>> retry_after_s({"retry-after": "3600"})
    60.0
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d*)?", value):
        return min(float(value), MAX_PAUSE_S)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), MAX_PAUSE_S)


def _listing(model: str, listed: list[str]) -> str:
    """The first few names, and the one that was probably meant."""
    near = difflib.get_close_matches(model.lower(), [name.lower() for name in listed], n=1, cutoff=0.5)
    meant = [name for name in listed if name.lower() in near]
    named = ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
    return f"{named} (did you mean '{meant[0]}'?)" if meant else f"{named}; correct the engine's `model`"


def in_brackets(text: str) -> str:
    """The text as an aside, or nothing."""
    return f" ({text.rstrip('.')})" if text else ""


def _number(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text)
    return float(match.group(1)) if match else None
