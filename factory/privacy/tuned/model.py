"""A base model together with what was tuned for it, in transformers.

model = tuned(load_base("models/SmolLM2-135M"), prompt)     # or an adapter, or None: the model as it is
model.opening([9690, 365])          # [start + P + 2, width]: what the model reads before a text
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from factory.errors import UserError
from factory.privacy.base import Base
from factory.privacy.tuned.artifact import Adapter, Artifact, SoftPrompt
from factory.privacy.tuned.folders import write


class Tuned(NamedTuple):
    """A base model and what was tuned for it.

    Attributes:
        base: The model; with adapters, if it has some.
        prompt: Soft prompt [P, width] in float32, or None.
    """

    base: Base
    prompt: Any = None

    def opening(self, head: Sequence[int]) -> Any:
        """Embeddings that the model reads before a text: [tokens, width], in the model's precision."""
        import torch

        parts = [self._embedded(self.base.start), self._embedded(head)]
        if self.prompt is not None:
            parts.insert(1, self.prompt.to(parts[0].dtype))
        return torch.cat(parts)

    def _embedded(self, ids: Sequence[int]) -> Any:
        import torch

        return self.base.embed(torch.tensor(ids, dtype=torch.long, device=self.base.device))


def tuned(base: Base, artifact: Artifact | None) -> Tuned:
    """Put an artifact on its base model.

    Adapters stay beside the weights: merged, they would be rounded with them, and the model would be another one for whoever
    else uses it.

    Args:
        base: The model that the artifact is for; adapters are added to it in place.
        artifact: A soft prompt, adapters, or None for the model as it is.

    Raises:
        UserError: If the artifact does not fit the model.
    """
    import torch

    if artifact is None:
        return Tuned(base)
    if isinstance(artifact, SoftPrompt):
        width = artifact.vectors.shape[1]
        if width != base.width:
            raise UserError(misfit(artifact, base.name, f"its vectors have {width} numbers, the model's {base.width}"))
        return Tuned(base, torch.tensor(artifact.vectors, device=base.device))
    if hasattr(base.model, "peft_config"):
        raise ValueError("the base model has adapters already; load it anew")
    base.model = _with_adapters(base, artifact)
    return Tuned(base)


def require_base(artifact: Artifact, identity: str, name: str) -> None:
    """Refuse a base model that is not the one that the artifact was tuned for.

    Raises:
        UserError: In one sentence.
    """
    if artifact.about.base != identity:
        raise UserError(misfit(artifact, name, f"it was tuned for {artifact.about.base}, and this is {identity}"))


def misfit(artifact: Artifact, name: str, why: str) -> str:
    """The sentence for an artifact that is for another model."""
    what = "soft prompt" if isinstance(artifact, SoftPrompt) else "adapter"
    return f"model {name}: the {what} is for another model ({why}); take {artifact.about.base_name}, or tune again."


@contextmanager
def adapter_folder(adapter: Adapter) -> Iterator[Path]:
    """A folder with the adapter's files, for libraries that load from nowhere else."""
    with tempfile.TemporaryDirectory(prefix="adapter-") as made:
        write(adapter, Path(made))
        yield Path(made)


def _with_adapters(base: Base, artifact: Adapter) -> Any:
    from peft import PeftModel, get_peft_model_state_dict

    with adapter_folder(artifact) as folder:
        try:
            model: Any = PeftModel.from_pretrained(base.model, folder)
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(misfit(artifact, base.name, str(error).splitlines()[0])) from error
    if set(get_peft_model_state_dict(model, save_embedding_layers=False)) != set(artifact.weights):
        raise UserError(misfit(artifact, base.name, "other layers have adapters"))
    model.requires_grad_(False)
    return model.eval()
