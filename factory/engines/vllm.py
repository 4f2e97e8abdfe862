"""vLLM in this process: no server, no subprocess, one thread that steps its engine.

    engine = VllmEngine(model="embedded")
    await engine.start()                                    # about 10 s on a CPU
    await engine.complete(Request(messages=(Message("user", "Name a river."),)))

Started as a library with its worker in this process, vLLM is ready in a quarter of the time that its
subprocesses take. On a CPU a per-request seed together with a prefill that is split over two steps ends
vLLM 0.32 (`CPU Generator does not use offset`): prefills are not split there, and seeds are left out.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import logging
import os
import secrets
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from factory.engines.model_source import (
    ModelSource,
    cpu_dtype,
    first_line,
    load_tokenizer,
    locate_model,
    wait_without_spinning,
)
from factory.engines.prompting import PromptRenderer, RenderedPrompt
from factory.engines.protocol import (
    Capabilities,
    Completion,
    Constraint,
    FinishReason,
    Request,
    TokenLogprob,
    likeliest,
)
from factory.engines.stepping import EngineThread, Outcome
from factory.errors import EngineError, UserError

CPU_CONTEXT_LENGTH = 4096
CPU_KV_CACHE_BYTES = 2 * 1024**3
FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "repetition": "length"}
INSTALL_LINE = "pip install 'dataset-factory[vllm]' on a GPU node, or 'dataset-factory[cpu]' without a GPU"


class VllmEngine:
    """A model served by vLLM inside this process.

    Args:
        model: `embedded`, a local folder, or a Hub id.
        revision: Hub revision.
        max_model_len: Tokens of prompt and answer together; None takes the model's, on a CPU at most 4096.
        max_in_flight: Requests that vLLM works on at once; more of them wait inside vLLM.
        tensor_parallel_size: GPUs that share the model.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        gpu_memory_utilization: Fraction of a GPU's memory, in (0, 1]; a CPU ignores it.
        chat: Use the chat template; None uses it if the model has one.
        options: Passed to vLLM's `EngineArgs`; these win over everything above.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        max_model_len: int | None = None,
        max_in_flight: int = 64,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        gpu_memory_utilization: float = 0.9,
        chat: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is loaded before `start`."""
        self._model = model
        self._revision = revision
        self._max_model_len = max_model_len
        self._chat = chat
        self._options = dict(options or {})
        self._arguments = {
            "max_num_seqs": max_in_flight,
            "tensor_parallel_size": tensor_parallel_size,
            "dtype": dtype,
            "gpu_memory_utilization": gpu_memory_utilization,
        }
        self._thread = EngineThread(self._build, "vllm")
        self._capabilities = Capabilities(seed_safe=False, structured=True)
        self._description = f"vllm: {model}"

    @property
    def capabilities(self) -> Capabilities:
        """Seeds are safe on a GPU only; valid after `start`."""
        return self._capabilities

    @property
    def description(self) -> str:
        """For example `vllm 0.32.0: SmolLM2-135M-Instruct (embedded), cpu float32, context 4096`."""
        return self._description

    async def start(self) -> None:
        """Load the model, also again after a death; returns at once while the engine is alive.

        Raises:
            EngineError: If vLLM is missing, or the model is, or it cannot be loaded.
            UserError: If `options` names something that vLLM does not know.
        """
        await self._thread.start()

    async def complete(self, request: Request) -> Completion:
        """Answer one request.

        Raises:
            RequestRefused: `prompt_too_long`, if prompt and one token do not fit.
            EngineDied: If the engine stopped before the answer was there.
            EngineError: If vLLM refuses the request, e.g. a schema that it cannot enforce.
        """
        completion = await self._thread.answer(request)
        if len(completion.logprobs) <= request.logprobs:
            return completion
        # vLLM adds the drawn token to the likeliest ones where it is none of them.
        return msgspec.structs.replace(completion, logprobs=completion.logprobs[: request.logprobs])

    async def close(self) -> None:
        """End the thread and free the model."""
        await self._thread.close()

    def load(self) -> tuple[Any, str, ModelSource]:
        """Load vLLM's engine in the calling thread; also names the device and where the weights come from.

        Raises:
            EngineError: If vLLM is missing, or the model is, or it cannot be loaded.
            UserError: If `options` names something that vLLM does not know.
        """
        if importlib.util.find_spec("vllm") is None:
            raise EngineError(f"engine vllm: the package vllm is not installed; run: {INSTALL_LINE}.")
        _set_environment(self._parallel())
        _without_made_up_attributes()
        source = locate_model(self._model, self._revision)
        try:
            with _library_manners():
                return *self._load(source), source
        except ImportError as error:
            raise EngineError(
                f"engine vllm: vllm does not import ({first_line(error)}); run: {INSTALL_LINE}."
            ) from error

    def _build(self) -> VllmStepper:
        engine, device, source = self.load()
        tokenizer = load_tokenizer(source, trust_remote_code=bool(self._options.get("trust_remote_code")))
        config = engine.vllm_config.model_config
        renderer = PromptRenderer(tokenizer, config.max_model_len, self._chat)
        seed_safe = device != "cpu"
        self._capabilities = Capabilities(
            seed_safe=seed_safe,
            structured=True,
            chat=renderer.chat,
            context_length=config.max_model_len,
            logprobs=config.max_logprobs if config.max_logprobs >= 0 else config.get_vocab_size(),
        )
        self._description = (
            f"vllm {_version()}: {source.name}, {device} {str(config.dtype).removeprefix('torch.')}, "
            f"context {config.max_model_len}"
        )
        return VllmStepper(engine, renderer, seed_safe=seed_safe)

    def _parallel(self) -> bool:
        arguments: dict[str, Any] = self._arguments | self._options
        return any(int(arguments.get(f"{kind}_parallel_size", 1)) > 1 for kind in ("tensor", "pipeline", "data"))

    def _load(self, source: ModelSource) -> tuple[Any, str]:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine

        arguments: dict[str, Any] = {
            **self._arguments,
            "model": source.path,
            "revision": source.revision,
            "tokenizer_revision": source.revision,
            "max_model_len": self._max_model_len,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            # Requests without a seed draw from this one: were it fixed, a run that is resumed would draw the same
            # answers to the same prompt again.
            "seed": secrets.randbits(32),
        }
        if current_platform.is_cpu():
            arguments |= _cpu_arguments(source, arguments)
        known = {field.name for field in dataclasses.fields(EngineArgs)}
        for name in self._options:
            if name not in known:
                raise UserError(_unknown_option(name, known))
        engine = LLMEngine.from_engine_args(EngineArgs(**(arguments | self._options)))
        return engine, str(current_platform.device_type)


def bare_engine(model: str, *, options: Mapping[str, Any] | None = None, **arguments: Any) -> Any:
    """An `LLMEngine` of vLLM's in this process, for who steps it with token ids and settings that requests lack.

    Args:
        model: As for `VllmEngine`.
        options: Passed to vLLM's `EngineArgs`.
        arguments: Further arguments of `VllmEngine`.

    Raises:
        EngineError: If vLLM is missing, or the model is, or it cannot be loaded.
        UserError: If `options` names something that vLLM does not know.
    """
    return VllmEngine(model=model, options=options, **arguments).load()[0]


class VllmStepper:
    """vLLM's engine as the thread sees it.

    Args:
        engine: A `vllm.v1.engine.llm_engine.LLMEngine`.
        renderer: Renders prompts for its model.
        seed_safe: Whether a seed per request does no harm.
    """

    def __init__(self, engine: Any, renderer: PromptRenderer, *, seed_safe: bool) -> None:
        """Take over a loaded engine."""
        from vllm import exceptions

        self.renderer = renderer
        self._engine = engine
        self._seed_safe = seed_safe
        self._refusals = (ValueError, TypeError, getattr(exceptions, "VLLMError", ValueError))

    @property
    def busy(self) -> bool:
        """Whether requests are unfinished."""
        return bool(self._engine.has_unfinished_requests())

    def add(self, number: int, prompt: RenderedPrompt, request: Request) -> None:
        """Submit token ids; vLLM schedules them in one of the next steps.

        Raises:
            EngineError: If vLLM refuses the sampling parameters or the constraint.
        """
        tokens = {"type": "token", "prompt_token_ids": prompt.ids}
        try:
            self._engine.add_request(str(number), tokens, self._sampling_params(prompt, request))
        except self._refusals as error:
            raise EngineError(
                f"engine vllm refuses a request ({type(error).__name__}: {first_line(error)}); "
                "correct the sampling options or the schema of the step."
            ) from error

    def abort(self, numbers: list[int]) -> None:
        """Drop requests and free their cache."""
        self._engine.abort_request([str(number) for number in numbers])

    def step(self) -> list[tuple[int, Outcome]]:
        """One forward pass for all running requests."""
        return [(int(output.request_id), _outcome(output)) for output in self._engine.step() if output.finished]

    def interrupt(self) -> None:
        """A step is short; nothing to cut."""

    def close(self) -> None:
        """Free the weights and the cache, so that an engine can be built again in this process."""
        engine, self._engine = self._engine, None
        engine.engine_core.shutdown()

    def _sampling_params(self, prompt: RenderedPrompt, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        return SamplingParams(
            max_tokens=prompt.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            stop=[*sampling.stop, *prompt.end_texts] or None,
            stop_token_ids=list(prompt.end_ids) or None,
            seed=request.seed if self._seed_safe else None,
            logprobs=request.logprobs or None,
            structured_outputs=_structured(request.constraint),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _structured(constraint: Constraint | None) -> Any:
    if constraint is None:
        return None
    from vllm.sampling_params import StructuredOutputsParams

    if constraint.json_schema is not None:
        return StructuredOutputsParams(json=constraint.json_schema)
    if constraint.choice is not None:
        return StructuredOutputsParams(choice=list(constraint.choice))
    return StructuredOutputsParams(regex=constraint.regex)


def _outcome(output: Any) -> Outcome:
    answer = output.outputs[0]
    reason = FINISH_REASONS.get(str(answer.finish_reason))
    if reason is None:
        return EngineError(f"engine vllm ended a request with {answer.finish_reason!r}; see vLLM's log.")
    return Completion(
        text=answer.text,
        finish_reason=reason,
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(answer.token_ids),
        logprobs=_first_logprobs(answer),
    )


def _first_logprobs(answer: Any) -> tuple[TokenLogprob, ...]:
    if not answer.logprobs:
        return ()
    tokens = list(answer.logprobs[0].values())
    return likeliest(((token.decoded_token or "", float(token.logprob)) for token in tokens), len(tokens))


def _set_environment(parallel: bool) -> None:
    """What vLLM reads when it is imported or started; what the user has set stays.

    Its warnings are about its own defaults (on a CPU a dozen at each start); what matters raises.
    """
    defaults = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        # Splitting the keys of one request over CPU threads can corrupt memory or hang where query heads do not
        # divide evenly (github.com/vllm-project/vllm/issues/46131); with many requests in flight it gains nothing.
        "VLLM_CPU_ATTN_SPLIT_KV": "0",
        # A regular expression that takes longer to compile ends its request as 'error', and with it the run: 5 s by default,
        # which a busy processor exceeds for patterns of ours. They come from recipes, not from strangers.
        "VLLM_REGEX_COMPILATION_TIMEOUT_S": "120",
    }
    wait_without_spinning()
    if not parallel:
        defaults |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_HOST_IP": "127.0.0.1"}
        if sys.platform == "linux":
            defaults["GLOO_SOCKET_IFNAME"] = "lo"  # its process group of one listens here and nowhere else
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # vLLM configures this logger late, after it has begun to warn.
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"].upper())


def _cpu_arguments(source: ModelSource, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a CPU needs beyond vLLM's defaults, which are made for subprocesses and compiled graphs.

    In this process vLLM binds no threads, so that torch uses every core; `VLLM_CPU_OMP_THREADS_BIND`
    is read by worker subprocesses only.
    """
    context_length = arguments["max_model_len"] or _cpu_context_length(source)
    chosen: dict[str, Any] = {
        "max_model_len": context_length,
        "dtype": cpu_dtype(str(arguments["dtype"])),
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(context_length, CPU_CONTEXT_LENGTH),
    }
    if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        chosen["kv_cache_memory_bytes"] = CPU_KV_CACHE_BYTES
    return chosen


def _cpu_context_length(source: ModelSource) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source.path, revision=source.revision).get_text_config()
    return min(int(getattr(config, "max_position_embeddings", CPU_CONTEXT_LENGTH)), CPU_CONTEXT_LENGTH)


@contextmanager
def _library_manners() -> Iterator[None]:
    """Undo what vLLM does to the process around it: a no-op `torch.set_num_threads`, warnings about its own code."""
    import torch

    set_num_threads = torch.set_num_threads
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        torch.set_num_threads = set_num_threads


def _version() -> str:
    import vllm

    return str(vllm.__version__)


def _unknown_option(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "; see the fields of vLLM's EngineArgs."
    return f"engine.vllm_options.{name}: vLLM has no such option{hint}"


def _without_made_up_attributes() -> None:
    """Let vLLM look through all modules although numba is loaded, as it is where texts were filtered before.

    vLLM's CPU build (0.32) walks through every module's names and reads `__dict__` where there is one; the handle of
    llvmlite, on which numba stands, answers to any name, `__dict__` included, with a foreign function.
    """
    try:
        from llvmlite.binding import ffi
    except ImportError:
        return
    if not hasattr(ffi.lib, "__dict__"):
        return
    handle = type(ffi.lib)
    found = handle.__getattr__

    def named(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return found(self, name)

    handle.__getattr__ = named
