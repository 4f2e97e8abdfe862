"""Batched `generate` of transformers: for machines where vLLM cannot be installed, and for small models.

    engine = TransformersEngine(model="embedded", max_in_flight=16)
    await engine.start()
    await engine.complete(Request(text="Once upon a time", sampling=Sampling(max_tokens=20)))

Requests that wait are batched first come first served; each has its own sampling, seed, token limit and
stop strings. A batch ends with its longest answer, so this engine is several times slower than vLLM.
Constraints are not enforced.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from factory.engines.drawing import BatchDraw, RowDraw
from factory.engines.embedded import without_progress_bars
from factory.engines.model_source import (
    ModelSource,
    cpu_dtype,
    first_line,
    load_tokenizer,
    locate_model,
    wait_without_spinning,
)
from factory.engines.prompting import PromptRenderer, RenderedPrompt
from factory.engines.protocol import Capabilities, Completion, FinishReason, Request, likeliest
from factory.engines.stepping import EngineThread, Outcome
from factory.errors import EngineError

GATHER_S = 0.02
INSTALL_LINE = "pip install 'dataset-factory[train]', with torch installed first"
UNKNOWN_CONTEXT_LENGTH = 2048
_Likeliest = list[tuple[int, float]]


class TransformersEngine:
    """A model run by transformers inside this process.

    Args:
        model: `embedded`, a local folder, or a Hub id.
        revision: Hub revision.
        max_model_len: Tokens of prompt and answer together; None takes the model's.
        max_in_flight: Most requests in a batch.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.
        device: `auto` takes the first GPU if there is one.
        chat: Use the chat template; None uses it if the model has one.
        options: Passed to `AutoModelForCausalLM.from_pretrained`.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        max_model_len: int | None = None,
        max_in_flight: int = 16,
        dtype: str = "auto",
        device: str = "auto",
        chat: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is loaded before `start`."""
        self._model = model
        self._revision = revision
        self._max_model_len = max_model_len
        self._batch_size = max_in_flight
        self._dtype = dtype
        self._device = device
        self._chat = chat
        self._options = dict(options or {})
        self._thread = EngineThread(self._build, "transformers", linger_s=GATHER_S)
        self._capabilities = Capabilities(seed_safe=True, structured=False)
        self._description = f"transformers: {model}"

    @property
    def capabilities(self) -> Capabilities:
        """Seeds, but no constraints; valid after `start`."""
        return self._capabilities

    @property
    def description(self) -> str:
        """For example `transformers 5.19.0: SmolLM2-135M-Instruct (embedded), cpu float32, context 8192`."""
        return self._description

    async def start(self) -> None:
        """Load the model, also again after a death; returns at once while the engine is alive.

        Raises:
            EngineError: If transformers is missing, or the model is, or it cannot be loaded.
        """
        await self._thread.start()

    async def complete(self, request: Request) -> Completion:
        """Answer one request.

        Raises:
            RequestRefused: `prompt_too_long`, if prompt and one token do not fit.
            EngineDied: If the engine stopped before the answer was there.
        """
        return await self._thread.answer(request)

    async def close(self) -> None:
        """End the thread and free the model; a running batch is cut short."""
        await self._thread.close()

    def _build(self) -> GenerateStepper:
        wait_without_spinning()
        for module in ("torch", "transformers"):
            if importlib.util.find_spec(module) is None:
                raise EngineError(f"engine transformers: {module} is not installed; run: {INSTALL_LINE}.")
        source = locate_model(self._model, self._revision)
        tokenizer = load_tokenizer(source, trust_remote_code=bool(self._options.get("trust_remote_code")))
        model = self._load(source)
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", UNKNOWN_CONTEXT_LENGTH)
        renderer = PromptRenderer(tokenizer, self._max_model_len or int(limit), self._chat)
        self._capabilities = Capabilities(
            seed_safe=True,
            structured=False,
            chat=renderer.chat,
            context_length=renderer.context_length,
            logprobs=int(model.config.get_text_config().vocab_size),
        )
        self._description = _describe(source, model, renderer)
        return GenerateStepper(model, tokenizer, renderer, self._batch_size)

    def _load(self, source: ModelSource) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        device = self._device if self._device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = cpu_dtype(self._dtype) if device == "cpu" else self._dtype
        arguments = {"revision": source.revision, "dtype": dtype, **self._options}
        try:
            with without_progress_bars():
                model: Any = AutoModelForCausalLM.from_pretrained(source.path, **arguments)
        except (OSError, ValueError, ImportError) as error:
            raise EngineError(f"engine transformers: {source.name} does not load ({first_line(error)}).") from error
        return model.to(device).eval()


class _Waiting(NamedTuple):
    number: int
    prompt: RenderedPrompt
    request: Request


class GenerateStepper:
    """transformers' `generate` as the thread sees it; a step is a whole batch.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        renderer: Renders prompts for it.
        batch_size: Most requests in a batch.
    """

    def __init__(self, model: Any, tokenizer: Any, renderer: PromptRenderer, batch_size: int) -> None:
        """Take over a loaded model."""
        self.renderer = renderer
        self._model = model
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._waiting: list[_Waiting] = []
        self._interrupted = threading.Event()
        self._end_ids = _end_ids(model, tokenizer)
        model.generation_config = _plain_generation(self._end_ids)

    @property
    def busy(self) -> bool:
        """Whether requests wait."""
        return bool(self._waiting)

    def add(self, number: int, prompt: RenderedPrompt, request: Request) -> None:
        """Let a request wait for a batch."""
        self._waiting.append(_Waiting(number, prompt, request))

    def abort(self, numbers: list[int]) -> None:
        """Forget requests that still wait; a running batch goes on."""
        self._waiting = [one for one in self._waiting if one.number not in numbers]

    def step(self) -> list[tuple[int, Outcome]]:
        """Answer the requests that have waited longest; after `interrupt` some have no outcome."""
        batch, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
        endings = [_Ending(one.prompt, one.request.sampling.stop) for one in batch]
        generated, first = self._generate(batch, endings)
        rows = zip(batch, endings, generated, first, strict=True)
        return [
            (one.number, self._completion(one, end, ids, tokens))
            for one, end, ids, tokens in rows
            if end.reason is not None
        ]

    def interrupt(self) -> None:
        """Let `generate` return after its current token."""
        self._interrupted.set()

    def close(self) -> None:
        """Free the model."""
        self._model = None

    def _generate(self, batch: list[_Waiting], endings: list[_Ending]) -> tuple[list[list[int]], list[_Likeliest]]:
        """Generated ids of each row, of which what comes after its ending means nothing, and its likeliest first tokens."""
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        width = max(len(one.prompt.ids) for one in batch)
        device = self._model.device
        padding = [width - len(one.prompt.ids) for one in batch]
        pad_id = self._model.generation_config.pad_token_id
        rows = [[pad_id] * pad + one.prompt.ids for pad, one in zip(padding, batch, strict=True)]
        mask = [[0] * pad + [1] * (width - pad) for pad in padding]
        asked = [(one.prompt.ids, one.request) for one in batch]
        draws = [RowDraw(ids, request.sampling, request.seed, request.logprobs) for ids, request in asked]
        draw = BatchDraw(draws, width, device)
        with torch.inference_mode():
            out = self._model.generate(
                torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=max(one.prompt.max_tokens for one in batch),
                do_sample=False,  # BatchDraw has drawn already
                logits_processor=LogitsProcessorList([draw]),
                stopping_criteria=StoppingCriteriaList([self._watch(endings, width)]),
            )
        return [row[width:] for row in out.tolist()], draw.first

    def _watch(self, endings: list[_Ending], width: int) -> Callable[..., Any]:
        """A stopping criterion that notes where and why each row ends."""
        import torch

        def watch(input_ids: Any, scores: Any, **_: Any) -> Any:
            for ending, ids in zip(endings, input_ids[:, width:].tolist(), strict=True):
                if ending.reason is None:
                    ending.reason = self._reason_to_end(ending, ids)
                    ending.length = len(ids)
            done = [self._interrupted.is_set() or ending.reason is not None for ending in endings]
            return torch.tensor(done, device=input_ids.device)

        return watch

    def _reason_to_end(self, ending: _Ending, ids: list[int]) -> FinishReason | None:
        if ids[-1] in self._end_ids or ids[-1] in ending.end_ids:
            return "stop"
        if ending.stop:
            # A token is at least one byte, and four more cover a character that is split over tokens.
            tail = self._tokenizer.decode(ids[-ending.stop_bytes - 4 :], skip_special_tokens=True)
            if any(stop in tail for stop in ending.stop):
                return "stop"
        return "length" if len(ids) >= ending.max_tokens else None

    def _completion(self, one: _Waiting, ending: _Ending, ids: list[int], first: _Likeliest) -> Completion:
        text = self._tokenizer.decode(ids[: ending.length], skip_special_tokens=True)
        places = [place for stop in ending.stop if (place := text.find(stop)) >= 0]
        return Completion(
            text=text[: min(places)] if places else text,
            finish_reason="stop" if places else ending.reason or "length",
            prompt_tokens=len(one.prompt.ids),
            completion_tokens=ending.length,
            logprobs=likeliest(((self._tokenizer.decode([token]), value) for token, value in first), len(first)),
        )


class _Ending:
    """Where and why a row ends; `reason` is None while it goes on."""

    def __init__(self, prompt: RenderedPrompt, stop: tuple[str, ...]) -> None:
        self.max_tokens = prompt.max_tokens
        self.end_ids = prompt.end_ids
        self.stop = (*stop, *prompt.end_texts)
        self.stop_bytes = max((len(text.encode()) for text in self.stop), default=0)
        self.reason: FinishReason | None = None
        self.length = 0


def _end_ids(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end an answer: those of the generation config, and the tokenizer's."""
    configured = model.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return sorted({int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None})


def _plain_generation(end_ids: list[int]) -> Any:
    """A generation config that draws nothing and penalises nothing by itself, whatever the model came with."""
    import transformers

    generation_config: Any = transformers.GenerationConfig
    return generation_config(eos_token_id=end_ids or None, pad_token_id=end_ids[0] if end_ids else 0)


def _describe(source: ModelSource, model: Any, renderer: PromptRenderer) -> str:
    import transformers

    kind = f"{model.device.type} {str(model.dtype).removeprefix('torch.')}"
    return f"transformers {transformers.__version__}: {source.name}, {kind}, context {renderer.context_length}"
