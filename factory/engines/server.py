"""Engine over OpenAI-compatible servers: vLLM, SGLang, llama.cpp, Ollama, hosted; one URL or many.

    Request(messages=(Message("user", "Name a river."),), sampling=Sampling(max_tokens=8))
    -> POST http://host:8000/v1/chat/completions
       {"model": "m", "max_tokens": 8, "temperature": 1.0, "top_p": 1.0,
        "messages": [{"role": "user", "content": "Name a river."}]}
    <- {"choices": [{"message": {"content": "The Nile."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 34, "completion_tokens": 4}}
    -> Completion(text="The Nile.", finish_reason="stop", prompt_tokens=34, completion_tokens=4)

A request goes to the healthy URL with the fewest requests in flight. A URL that fails rests; after its
rest one request at a time tries it, until one is answered. What may pass (no connection, no answer in
time, 408, 409, 429, 5xx, a broken answer) is asked again: at once on another URL, else after a pause
that doubles. What will not pass ends the run (wrong key, unknown model) or the request (refused).

Deviation from the protocol: there is no tokenizer on this side, so the server finds a prompt too long.
A server that cuts long prompts in silence (Ollama, unless told otherwise) is not caught.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from factory.engines.openai_wire import MAX_PAUSE_S, Fault, Reply, Structured, Wire, in_brackets
from factory.engines.protocol import Capabilities, Completion, Request
from factory.errors import EngineDied, EngineError, UserError
from factory.records import derive_seed

MAX_REPLY_BYTES = 8 * 2**20
MAX_DOUBLINGS = 16
CONNECT_TIMEOUT_S = 20.0
PROBE_TIMEOUT_S = 30.0
KEEPALIVE_S = 4.0  # below the 5 s after which uvicorn, hence vLLM, closes an idle connection
THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(eq=False)
class _Replica:
    """One URL and how it has been doing; times are those of `time.monotonic`."""

    url: str
    in_flight: int = 0
    asked: int = 0
    failures: int = 0
    resting_until: float = 0.0
    closed_until: float = 0.0
    idle: list[httpx.AsyncClient] = field(default_factory=list)

    def order(self, tried: set[_Replica]) -> tuple[bool, int, int, int]:
        """Sorts before another that should get fewer requests now."""
        now = time.monotonic()
        recovering = now >= self.resting_until and self.in_flight == 0
        well = now >= self.closed_until and (self.failures == 0 or recovering)
        return self in tried, 0 if well else max(self.failures, 1), self.in_flight, self.asked

    def rest(self, backoff_s: float, closed_s: float) -> None:
        """Put it last for a while; failures during a rest do not prolong it."""
        now = time.monotonic()
        self.closed_until = max(self.closed_until, now + closed_s)
        if now >= self.resting_until:
            self.resting_until = now + _doubled(backoff_s, self.failures)
            self.failures += 1


class ServerEngine:
    """An `Engine` over one or many OpenAI-compatible URLs that all serve the same model.

    The constructor only checks the settings; nothing is opened before `start`.

    Args:
        urls: Where the API begins, e.g. `http://host:8000/v1`.
        model: Name that the servers know the model by.
        api_key: Sent as a bearer token; never shown.
        timeout_s: Most seconds for one attempt, from connecting to the last byte.
        max_retries: Rounds after the first, per request; a round asks each URL once, until one answers.
        context_length: Tokens of prompt and answer; if None, what vLLM lists as `max_model_len`.
        chat: Whether the model has a chat template.
        seeds: Whether the servers take a `seed`.
        structured: How to ask for a `Constraint`: `openai` can do JSON schemas in chat only,
            `vllm` all three kinds, `none` asks without.
        logprobs: Most log-probabilities that the servers give for a token; 0 if none.
        backoff_s: First pause between rounds; it doubles with each, up to 60 s.

    Raises:
        UserError: If a URL or the key cannot be used.
    """

    def __init__(
        self,
        *,
        urls: Sequence[str],
        model: str,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        max_retries: int = 6,
        context_length: int | None = None,
        chat: bool = True,
        seeds: bool = True,
        structured: Structured = "openai",
        logprobs: int = 20,
        backoff_s: float = 0.5,
    ) -> None:
        if not urls:
            raise UserError("engine `server`: `urls` is empty, expected at least one such as http://host:8000/v1")
        self._replicas = [_Replica(url) for url in dict.fromkeys(map(_checked_url, urls))]
        self._model = model
        self._key = _checked_key(api_key)
        self._wire = Wire(model=model, key=self._key, seeds=seeds, structured=structured, context_length=context_length)
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._chat = chat
        self._seeds = seeds
        self._structured = structured
        self._logprobs = logprobs
        self._backoff_s = backoff_s
        self._tls: ssl.SSLContext | None = None
        self._clients: list[httpx.AsyncClient] = []

    @property
    def capabilities(self) -> Capabilities:
        """What the servers can do; `context_length` may become known in `start`."""
        structured = self._structured != "none"
        return Capabilities(
            seed_safe=self._seeds,
            structured=structured,
            chat=self._chat,
            context_length=self._wire.context_length,
            logprobs=self._logprobs,
        )

    @property
    def description(self) -> str:
        """One line for people."""
        others = len(self._replicas) - 1
        return f"server: {self._model} at {self._replicas[0].url}" + (f" and {others} more" if others else "")

    @property
    def usage_missing(self) -> bool:
        """Whether an answer came without token counts; those were counted as 0."""
        return self._wire.usage_missing

    async def start(self) -> None:
        """Ask each URL for its models; at least one must answer, and each that does must serve the model.

        Raises:
            EngineError: If no URL answers, the key is refused, or the model is not served.
        """
        self._tls = self._tls or self._load_tls()
        replies = await asyncio.gather(*(self._probe(replica) for replica in self._replicas))
        try:
            self._learn(replies)
        except EngineError:
            await self.close()
            raise

    async def complete(self, request: Request) -> Completion:
        """Answer one request, asking again for what may pass.

        Raises:
            RequestRefused: If the server finds the prompt too long.
            EngineDied: If the engine is closed.
            EngineError: If the retries are used up or asking again cannot help.
        """
        path, body = self._wire.encode(request)
        last, attempts = "", 0
        for retry in range(1 + self._max_retries):
            if retry:
                await asyncio.sleep(self._pause_s(body, retry))
            tried: set[_Replica] = set()
            while (replica := self._least_loaded(tried)) not in tried:
                tried.add(replica)
                attempts += 1
                try:
                    return await self._ask(replica, path, body, request.logprobs)
                except Fault as fault:
                    last = f"{replica.url} {fault}"
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        then = "check the server and run the same command again, it goes on where it stopped"
        raise EngineError(f"{last}; given up after {tries}: {then}")

    async def close(self) -> None:
        """Close all connections; requests in flight end with `EngineDied`."""
        clients, self._clients, self._tls = self._clients, [], None
        for replica in self._replicas:
            replica.idle.clear()
        await asyncio.gather(*(client.aclose() for client in clients))

    def _load_tls(self) -> ssl.SSLContext:
        if not any(replica.url.startswith("https:") for replica in self._replicas):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and takes no time to load
        try:
            return httpx.create_ssl_context()
        except OSError as error:
            raise EngineError(
                f"the certificates cannot be loaded ({error}): check SSL_CERT_FILE and SSL_CERT_DIR"
            ) from None

    def _open_client(self, url: str) -> httpx.AsyncClient:
        """A client that will hold one connection: httpcore's pool takes time quadratic in its connections."""
        if self._tls is None:
            raise EngineDied(f"the engine for {url} was closed, or never started")
        key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            client = httpx.AsyncClient(
                headers={"Content-Type": "application/json", **key},
                verify=self._tls,
                timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),  # the rest is timed as a whole, per attempt
                limits=httpx.Limits(keepalive_expiry=KEEPALIVE_S),
                follow_redirects=False,  # the key and the prompts go where the user said and nowhere else
                trust_env=httpx.URL(url).host not in THIS_MACHINE,  # no proxy on the way to a local server
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            why = str(error) if isinstance(error, ImportError) else "bad proxy URL"  # which may hold a password
            raise EngineError(f"{url} cannot be asked ({why}): check HTTPS_PROXY and ALL_PROXY") from None
        self._clients.append(client)
        return client

    # Starting.

    async def _probe(self, replica: _Replica) -> Reply | Fault:
        try:
            return await self._exchange(replica, "GET", "models", None, min(self._timeout_s, PROBE_TIMEOUT_S))
        except Fault as fault:
            return fault

    def _learn(self, replies: Sequence[Reply | Fault]) -> None:
        """Take health and context length from the answers to `GET /models`, in the order of the URLs."""
        problems, lengths = [], []
        for replica, reply in zip(self._replicas, replies, strict=True):
            try:
                if isinstance(reply, Fault):
                    raise reply
                served = self._wire.served(replica.url, reply)
            except Fault as fault:
                problems.append(f"{replica.url} {fault}")
                replica.rest(self._backoff_s, fault.retry_after_s)
                continue
            replica.failures, replica.resting_until = 0, 0.0
            if served and served.max_model_len:
                lengths.append(served.max_model_len)
        if len(problems) == len(replies):
            raise EngineError(f"no server can be used: {'; '.join(problems)}; start it or correct the engine's `urls`")
        if self._wire.context_length is None and lengths:
            self._wire.context_length = min(lengths)

    # Asking.

    def _least_loaded(self, tried: set[_Replica]) -> _Replica:
        return min(self._replicas, key=lambda replica: replica.order(tried))

    def _pause_s(self, body: str, retry: int) -> float:
        jitter = 0.5 + derive_seed("backoff", body, retry) / 2**32
        return _doubled(self._backoff_s, retry - 1) * jitter

    async def _ask(self, replica: _Replica, path: str, body: str, logprobs: int) -> Completion:
        """One attempt on one URL; what comes of it is noted for the choice of the next."""
        closed_s = replica.closed_until - time.monotonic()
        if closed_s > 0:
            await asyncio.sleep(closed_s + self._pause_s(body, 1))
        replica.in_flight += 1
        replica.asked += 1
        try:
            reply = await self._exchange(replica, "POST", path, body, self._timeout_s)
            completion = self._wire.judge(replica.url, reply, logprobs)
        except Fault as fault:
            replica.rest(self._backoff_s, fault.retry_after_s)
            raise
        finally:
            replica.in_flight -= 1
        replica.failures, replica.resting_until = 0, 0.0
        return completion

    async def _exchange(self, replica: _Replica, method: str, path: str, body: str | None, timeout_s: float) -> Reply:
        """One request and its whole answer, or a `Fault`."""
        client = replica.idle.pop() if replica.idle else self._open_client(replica.url)
        try:
            async with asyncio.timeout(timeout_s):
                return await _fetch(client, method, f"{replica.url}/{path}", body)
        except TimeoutError:
            option = " (option `timeout_s`)" if timeout_s == self._timeout_s else ""
            raise Fault(f"did not answer within {timeout_s:g} s{option}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Fault(f"cannot be connected to{in_brackets(str(error))}") from None
        except httpx.RequestError as error:
            raise Fault(f"broke off before its answer was complete{in_brackets(str(error))}") from None
        finally:
            if not client.is_closed:
                replica.idle.append(client)


async def _fetch(client: httpx.AsyncClient, method: str, url: str, body: str | None) -> Reply:
    received = bytearray()
    async with client.stream(method, url, content=body) as response:
        async for chunk in response.aiter_bytes():
            received += chunk
            if len(received) > MAX_REPLY_BYTES:
                raise Fault(f"sent more than {MAX_REPLY_BYTES // 2**20} MiB, which is no answer")
    return Reply(response.status_code, response.headers, bytes(received))


def _doubled(seconds: float, times: int) -> float:
    return min(MAX_PAUSE_S, seconds * 2.0 ** min(times, MAX_DOUBLINGS))


def _checked_url(url: str) -> str:
    expected = "expected one such as http://host:8000/v1"
    shown = "one of `urls`" if re.search("[@?#]", url) else f"'{url}'"  # what follows these may be a secret
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        raise UserError(f"engine `server`: {shown} is not a URL, {expected}") from None
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise UserError(f"engine `server`: {shown} has a password or query, {expected}; a key goes by `api_key_env`")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UserError(f"engine `server`: {shown} is not an http URL, {expected}")
    return str(parsed).rstrip("/")


def _checked_key(key: str | None) -> str | None:
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError("engine `server`: the API key has impossible characters; check the variable of `api_key_env`")
    return key or None
