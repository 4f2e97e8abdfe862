"""Texts through vLLM in this process: soft prompts as embeddings, LoRA adapters as adapters, all texts in flight at once.

    drawer = VllmDrawer(folder, prompt)
    drawer.draw([head] * 500, seeds=list(range(500)), sampling=Sampling(max_tokens=64))

Of [start][soft prompt][head] the soft prompt alone is handed over as embeddings, the rest as tokens, which vLLM embeds
itself. Seeds are passed on a GPU; on a CPU they end vLLM (see `factory.engines.vllm`) and are left out, so that texts drawn
again are others.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from factory.engines.model_source import first_line, load_tokenizer, locate_model
from factory.engines.protocol import Sampling
from factory.engines.vllm import bare_engine
from factory.errors import EngineError, UserError
from factory.privacy.base import start_of
from factory.privacy.tuned.artifact import Adapter, Artifact, Floats, SoftPrompt
from factory.privacy.tuned.drawing import Drawn, check_asked, special_ids, text_of
from factory.privacy.tuned.model import adapter_folder, misfit

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for
_ROWS = 256


class VllmDrawer:
    """Draws texts with vLLM, as `drawing.Drawer`."""

    def __init__(
        self,
        folder: str,
        artifact: Artifact | None,
        *,
        dtype: str = "auto",
        name: str = "",
        rows: int | None = None,
        context: int | None = None,
        gpu_memory: float = 0.9,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Load the model into vLLM.

        Args:
            folder: The base model, in Hugging Face layout.
            artifact: A soft prompt, adapters, or None for the base model as it is.
            dtype: Of vLLM's weights.
            name: What people call the base model.
            rows: Texts that vLLM works on at once; the others wait inside vLLM.
            context: Most tokens that are read and written for a text.
            gpu_memory: Share of a GPU's memory that vLLM takes.
            options: Passed to vLLM's `EngineArgs`; these win over everything above.

        Raises:
            EngineError: If vLLM or the model does not load.
            UserError: If the artifact does not fit the model.
        """
        source = locate_model(folder, None)
        self._name = name or source.name
        self._tokenizer = load_tokenizer(source)
        self._start = start_of(self._tokenizer)
        self._ends = special_ids(self._tokenizer) | ({artifact.about.end} if artifact is not None else set())
        self._prompt = artifact.vectors if isinstance(artifact, SoftPrompt) else None
        self._engine = bare_engine(
            source.path,
            max_model_len=context,
            max_in_flight=rows or _ROWS,
            dtype=dtype,
            gpu_memory_utilization=gpu_memory,
            options=_options(artifact) | (options or {}),
        )
        self._held = ExitStack()
        try:
            self._lora = self._adapter(artifact) if isinstance(artifact, Adapter) else None
            if isinstance(artifact, SoftPrompt):
                self._require_width(artifact)
        except UserError:
            self.close()
            raise

    @property
    def description(self) -> str:
        """For example `vllm 0.32.0, cpu float32`."""
        import vllm

        config = self._engine.vllm_config
        kind = f"{config.device_config.device_type} {str(config.model_config.dtype).removeprefix('torch.')}"
        return f"vllm {vllm.__version__}, {kind}"

    def draw(self, heads: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling) -> list[Drawn]:
        """One text for each head; see `Drawer.draw`."""
        before = len(self._start) + (0 if self._prompt is None else len(self._prompt))
        check_asked(heads, before, sampling, self._engine.vllm_config.model_config.max_model_len, self._name)
        drawn: dict[int, Drawn] = {}
        asked: list[str] = []
        try:
            for number, (head, seed) in enumerate(zip(heads, seeds, strict=True)):
                asked.append(str(number))
                self._ask(asked[-1], head, self._parameters(sampling, seed))
            while len(drawn) < len(asked):
                for output in self._engine.step():
                    if output.finished:
                        drawn[int(output.request_id)] = self._drawn(output.outputs[0], sampling)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"engine vllm failed ({type(error).__name__}: {first_line(error)}).") from error
        finally:  # also where drawing is broken off
            self._engine.abort_request([name for name in asked if int(name) not in drawn])
        return [drawn[number] for number in range(len(asked))]

    def close(self) -> None:
        """Free the weights and the cache."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.engine_core.shutdown()
        self._held.close()

    def _ask(self, name: str, head: Sequence[int], parameters: Any) -> None:
        self._engine.add_request(name, self._input(head), parameters, lora_request=self._lora)

    def _input(self, head: Sequence[int]) -> dict[str, Any]:
        """What vLLM reads: tokens, and embeddings in the place of some of them."""
        if self._prompt is None:
            return {"type": "token", "prompt_token_ids": [*self._start, *head]}
        soft = len(self._prompt)
        tokens = [*self._start, *[0] * soft, *head]
        given = [True] * len(self._start) + [False] * soft + [True] * len(head)
        return {
            "type": "embeds",
            "prompt_embeds": self._embeddings(len(tokens), self._prompt),
            "prompt_token_ids": tokens,
            "is_token_ids": given,
        }

    def _embeddings(self, tokens: int, prompt: Floats) -> Any:
        """The soft prompt in its place, [tokens, width]; what stands elsewhere is not read."""
        import torch

        held = torch.zeros((tokens, prompt.shape[1]), dtype=self._engine.vllm_config.model_config.dtype)
        held[len(self._start) : len(self._start) + len(prompt)] = torch.from_numpy(prompt)
        return held

    def _parameters(self, sampling: Sampling, seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            stop=list(sampling.stop) or None,
            stop_token_ids=sorted(self._ends),
            detokenize=bool(sampling.stop),
            seed=seed % 2**63 if self._engine.vllm_config.device_config.device_type != "cpu" else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _drawn(self, output: Any, sampling: Sampling) -> Drawn:
        if output.finish_reason not in ("stop", "length"):
            raise EngineError(f"engine vllm ended a text with {output.finish_reason!r}; see vLLM's log.")
        ids = list(output.token_ids)
        finished = output.finish_reason == "stop"
        if finished and not isinstance(output.stop_reason, str):
            ids = ids[:-1]  # the token that ended it
        return Drawn(text_of(self._tokenizer, ids, sampling), len(ids), finished)

    def _adapter(self, adapter: Adapter) -> Any:
        """Have vLLM load the adapter, from files that it reads once."""
        from vllm.lora.request import LoRARequest

        folder = self._held.enter_context(adapter_folder(adapter))
        request = LoRARequest("tuned", 1, str(folder))
        try:
            self._engine.add_lora(request)
        except (RuntimeError, ValueError) as error:
            raise UserError(misfit(adapter, self._name, first_line(error))) from error
        return request

    def _require_width(self, prompt: SoftPrompt) -> None:
        width, own = prompt.vectors.shape[1], self._engine.vllm_config.model_config.get_hidden_size()
        if width != own:
            raise UserError(misfit(prompt, self._name, f"its vectors have {width} numbers, the model's {own}"))


def _options(artifact: Artifact | None) -> dict[str, Any]:
    """What vLLM must be told of what is tuned."""
    if isinstance(artifact, SoftPrompt):
        return {"enable_prompt_embeds": True}
    if isinstance(artifact, Adapter):
        room = next((rank for rank in LORA_RANKS if rank >= artifact.rank), LORA_RANKS[-1])
        return {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}
    return {}
