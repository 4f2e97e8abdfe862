"""Between the journal and the engine: starts it when first needed, and again when it dies.

A run that finds every answer in its journal never loads a model. When the engine dies, the requests in
flight are asked again once it is back; deaths that follow each other too closely end the run with exit
code 3, and what was answered is safe in the journal.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory.engines.protocol import Completion, Engine, Request
from factory.errors import EngineDied, EngineError, UserError
from factory.recipe.schema import EngineOptions

MAX_DEATHS = 3
CALM_REQUESTS = 50


class EngineAsker:
    """Asks one engine, restarting it after a death.

    Attributes:
        loading_s: Seconds that starting the engine has taken.

    Args:
        build: Makes the engine; nothing is loaded before the first request.
        say: Called with one sentence for the user when the engine starts or dies.
    """

    def __init__(self, build: Callable[[], Engine], say: Callable[[str], None]) -> None:
        """Nothing is started yet."""
        self._build = build
        self._say = say
        self._engine: Engine | None = None
        self._lock = asyncio.Lock()
        self._generation = 0
        self._deaths = 0
        self._calm = 0
        self._failed: EngineError | None = None
        self.loading_s = 0.0

    @property
    def engine(self) -> Engine | None:
        """The engine, once started."""
        return self._engine

    async def ask(self, request: Request) -> Completion:
        """Answer one request, however often the engine has to be started for it.

        Raises:
            EngineError: If it cannot start, or dies `MAX_DEATHS` times with fewer than `CALM_REQUESTS`
                answers between.
            EngineError: If it cannot give the log-probabilities that the request asks for.
            RequestRefused: If this request cannot be answered.
        """
        while True:
            engine, generation = await self._ready()
            _check_logprobs(engine, request)
            try:
                completion = await engine.complete(request)
            except EngineDied as death:
                await self._bury(generation, death)
                continue
            self._calm += 1
            if self._calm >= CALM_REQUESTS:
                self._deaths = 0
            return completion

    async def _ready(self) -> tuple[Engine, int]:
        if self._engine is not None and self._failed is None:
            return self._engine, self._generation
        async with self._lock:
            if self._failed is not None:
                raise self._failed
            if self._engine is None:
                await self._start()
            if self._engine is None:
                raise EngineError("the engine did not start.")
            return self._engine, self._generation

    async def _start(self) -> None:
        engine, started = self._build(), False
        began = time.monotonic()
        try:
            await engine.start()
            started = True
            self.loading_s += time.monotonic() - began
        except EngineError as error:
            self._failed = error
            raise
        finally:
            if not started:
                await engine.close()
        self._say(f"engine: {engine.description}")
        self._engine = engine
        self._generation += 1

    async def _bury(self, generation: int, death: EngineDied) -> None:
        async with self._lock:
            if generation != self._generation or self._engine is None:
                return
            self._deaths, self._calm = self._deaths + 1, 0
            dead, self._engine = self._engine, None
            if self._deaths >= MAX_DEATHS:
                self._failed = EngineError(
                    f"the engine died {self._deaths} times in a row, last with: {death} What was answered is in the "
                    "journal: run the same command again to go on from there."
                )
            await dead.close()
        if self._failed is not None:
            raise self._failed
        self._say(f"the engine died ({death}); starting it again and asking what was in flight")

    async def close(self) -> None:
        """Close the engine, if it was started."""
        if self._engine is not None:
            await self._engine.close()
            self._engine = None


def _check_logprobs(engine: Engine, request: Request) -> None:
    most = engine.capabilities.logprobs
    if request.logprobs > most:
        found = f"at most {most:,}" if most else "none"
        raise EngineError(
            f"a step asks for the log-probabilities of {request.logprobs:,} tokens, but this engine gives {found} "
            f"({engine.description}); ask for fewer, or use another engine."
        )


def build_engine(options: EngineOptions, base: Path, say: Callable[[str], None]) -> Engine:
    """The engine that a recipe asks for, not yet started.

    Raises:
        UserError: If an option that this kind needs is missing.
        EngineError: If the library that it needs is not installed.
    """
    kind: str = options.kind
    if kind == "auto":
        kind, why = _automatic(options)
        say(f"engine: auto takes {kind}: {why}")
    if kind == "scripted":
        from factory.engines.scripted import from_script

        return from_script(base / str(options.script))
    if kind == "server":
        from factory.engines.server import ServerEngine

        return ServerEngine(
            urls=options.urls,
            model=options.model,
            api_key=_api_key(options),
            timeout_s=options.timeout_s,
            max_retries=options.max_retries,
            context_length=options.max_model_len,
            chat=options.chat,
            seeds=options.server_seeds,
            structured=options.server_structured,
            logprobs=options.server_logprobs,
        )
    if options.model == "embedded":
        from factory.engines.embedded import embedded_is_ready

        say(
            "engine: loading the model"
            if embedded_is_ready()
            else "engine: converting the embedded model, once (½ min)"
        )
    else:
        say(f"engine: loading {options.model}")
    return _local_engine(kind, options, base)


def _automatic(options: EngineOptions) -> tuple[str, str]:
    if options.urls:
        return "server", "the recipe gives urls"
    if importlib.util.find_spec("vllm") is not None:
        return "vllm", "vllm is installed"
    if importlib.util.find_spec("transformers") is not None:
        return "transformers", "vllm is not installed (pip install 'dataset-factory[vllm]', or [cpu] without a GPU)"
    raise EngineError(
        "engine.kind: auto found neither vllm nor transformers; install one: pip install 'dataset-factory[vllm]' on a "
        "GPU node, run scripts/quickstart on a CPU, or name a server in engine.urls."
    )


def _local_engine(kind: str, options: EngineOptions, base: Path) -> Engine:
    local = base / options.model
    shared: dict[str, Any] = {
        "model": str(local.resolve()) if local.is_dir() else options.model,
        "revision": options.revision,
        "max_model_len": options.max_model_len,
        "max_in_flight": options.max_in_flight,
        "dtype": options.dtype,
        "chat": options.chat,
    }
    if kind == "transformers":
        from factory.engines.transformers import TransformersEngine

        return TransformersEngine(**shared)
    from factory.engines.vllm import VllmEngine

    return VllmEngine(
        **shared,
        tensor_parallel_size=options.tensor_parallel_size,
        gpu_memory_utilization=options.gpu_memory_utilization,
        options=options.vllm_options,
    )


def _api_key(options: EngineOptions) -> str | None:
    if options.api_key_env is None:
        return None
    key = os.environ.get(options.api_key_env)
    if not key:
        raise UserError(f"engine.api_key_env: the environment variable {options.api_key_env} is not set.")
    return key
