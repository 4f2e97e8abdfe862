"""What `dp_prompt_tuning` and `dp_lora` have in common: which model, which settings, how it is trained and loaded again.

maker = TextMaker(options, base, kind="soft prompt", more={"tokens": 20}, before=20, tune=lambda base, seed: …)
maker.fit(training, say)     ->  bytes for the journal
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from jinja2 import TemplateError

from factory.context.private_maker import Head, Training, Writer
from factory.context.private_options import PrivateTextOptions
from factory.engines.model_source import locate_model
from factory.engines.protocol import Sampling
from factory.errors import OptionError
from factory.prompts import Prompt
from factory.recipe.identity import model_folder, model_identity
from factory.recipe.schema import EngineOptions

if TYPE_CHECKING:
    from factory.privacy.base import Base
    from factory.privacy.fitting import Report
    from factory.privacy.objective import Encoder
    from factory.privacy.tuned.artifact import About, Artifact
    from factory.privacy.tuned.drawing import Drawer, Drawn
    from factory.privacy.tuning import Tuning

FORMAT = 1
Say = Callable[[str], None]


@dataclass(frozen=True)
class TextMaker:
    """A kind of training.

    Attributes:
        options: Of the step.
        base: Folder of the recipe.
        kind: `soft prompt` or `lora`.
        more: Settings of the kind that decide what is learnt, with a version of its code.
        before: Places that a soft prompt takes; 0 without one.
        head: The prompt file of what stands before a text.
        tune: Makes what is trained, as it is at first, for a model and a seed.
        release: What is kept of it.
    """

    options: PrivateTextOptions
    base: Path
    kind: str
    more: Mapping[str, Any]
    before: int
    head: Prompt
    tune: Callable[[Base, int], Tuning]
    release: Callable[[Any, About], Artifact]

    @property
    def learns(self) -> dict[str, Any]:
        """Everything that decides what is learnt, besides texts, heads, noise and seed."""
        options = self.options
        names = ("max_grad_norm", "learning_rate", "schedule", "max_tokens", "precision", "chat")
        return {
            "kind": self.kind,
            "format": FORMAT,
            "model": self._identity,
            **{name: getattr(options, name) for name in names},
            "noisy": options.noisy,
            **self.more,
        }

    @property
    def _identity(self) -> str:
        engine = EngineOptions(kind="transformers", model=self.options.model, revision=self.options.revision)
        return model_identity(engine, self.base)

    def fit(self, training: Training, say: Say) -> bytes:
        """Train; gives what is to be kept."""
        from factory.privacy.fitting import Job, fitted, packed
        from factory.privacy.training import Plan
        from factory.privacy.tuned.artifact import encoded, require_room

        options = self.options
        say("loading the model")
        base = self.load()
        if options.noisy and base.has_experts and options.micro_batch > 1:
            raise OptionError(
                "micro_batch",
                f"{options.model} is a mixture of experts, which read the tokens of all texts of a micro-batch in one list, so "
                "that by rounding a text moves what others contribute, beyond its clipping norm; set micro_batch: 1.",
            )
        encoder = self.encoder(base, training.heads)
        tuning = self.tune(base, training.seed)
        require_room(sum(int(each.numel()) for each in tuning.parameters.values()))  # before anything is paid
        plan = Plan(
            noise_multiplier=training.noise_multiplier,
            sample_rate=training.sample_rate,
            expected_batch=training.expected_batch,
            steps=training.steps,
            max_grad_norm=options.max_grad_norm if options.noisy else math.inf,
            learning_rate=options.learning_rate,
            schedule=options.schedule,
            micro_batch=options.micro_batch,
        )
        job = Job(
            [(text.text, text.label) for text in training.texts],
            training.ledger,
            training.run,
            training.randomness,
            training.folder,
            self._public(),
        )
        report = fitted(tuning, encoder, job, plan, say=say)
        report = msgspec.structs.replace(report, start=_start_vectors(base))
        return packed(report, encoded(self.release(tuning, self._about(base, encoder, training.run))))

    def _about(self, base: Base, encoder: Encoder, run: str) -> About:
        from factory.privacy.tuned.artifact import About

        return About(
            run=run,
            base=self._identity,
            base_name=self.options.model,
            start=tuple(base.start),
            end=base.end,
            head=self.head.id,
            head_hash=self.head.hash,
            heads={label: tuple(ids) for label, ids in encoder.heads.items()},
            max_tokens=self.options.max_tokens,
        )

    def about(self, trained: bytes) -> Report:
        """What is public of it."""
        from factory.privacy.fitting import unpacked

        return unpacked(trained)[0]

    def writer(self, trained: bytes, count: int) -> Writer:
        """Load it to write so many texts."""
        from factory.privacy.fitting import unpacked
        from factory.privacy.tuned.artifact import decoded
        from factory.privacy.tuned.drawing import open_drawer

        artifact, options = decoded(unpacked(trained)[1]), self.options
        drawer = open_drawer(
            self.folder(),
            artifact,
            backend=options.backend,
            texts=count,
            dtype=options.precision,
            name=options.model,
        )
        return _Writer(drawer, artifact.about.heads)

    def save(self, trained: bytes, folder: Path) -> None:
        """Write what was trained as files, also as peft loads it."""
        from factory.privacy.fitting import unpacked
        from factory.privacy.tuned.artifact import SoftPrompt, decoded
        from factory.privacy.tuned.folders import export_prompt, write

        report, blob = unpacked(trained)
        artifact = decoded(blob)
        write(artifact, folder)
        if isinstance(artifact, SoftPrompt):
            import numpy as np

            start = np.array(report.start, dtype=np.float32) if report.start else None
            export_prompt(artifact, folder / "peft", start)

    def load(self) -> Base:
        """The base model."""
        from factory.privacy.base import load_base

        return load_base(self.folder(), dtype=self.options.precision, name=self.options.model)

    def encoder(self, base: Base, heads: Mapping[str, Head]) -> Encoder:
        """What makes examples of texts."""
        from factory.privacy.objective import Encoder

        rendered = {label: self._rendered(base, head) for label, head in heads.items()}
        return Encoder(base, rendered, self.options.max_tokens, self.before)

    def _rendered(self, base: Base, head: Head) -> str:
        template = getattr(base.tokenizer, "chat_template", None)
        if self.options.chat and not template:
            raise OptionError("chat", f"is true, but {self.options.model} has no chat template; leave it out.")
        if not template or self.options.chat is False:
            return head.text
        turns = [{"role": role, "content": content} for role, content in head.messages]
        try:
            text = str(base.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        except (TemplateError, ValueError) as error:
            raise OptionError(
                "chat", f"{self.options.model}: its chat template fails ({error}); set chat: false."
            ) from error
        first = base.tokenizer.bos_token  # stands before the soft prompt already
        return text.removeprefix(first) if base.start and first else text

    def folder(self) -> str:
        """The folder of the base model; one on the Hub is fetched."""
        own = model_folder(self.options.model, self.base)
        place = locate_model(self.options.model if own is None else str(own), self.options.revision)
        if Path(place.path).is_dir():
            return place.path
        from huggingface_hub import snapshot_download

        return str(snapshot_download(place.path, revision=place.revision))

    def _public(self) -> list[tuple[str, str]]:
        """Public texts whose loss is looked at."""
        if self.options.validation is None:
            return []
        labelled = bool(self.options.classes)
        return [(each.text, each.label if labelled else "") for each in self.options.validation.read(self.base)]


class _Writer:
    """A drawer that is told classes."""

    def __init__(self, drawer: Drawer, heads: Mapping[str, tuple[int, ...]]) -> None:
        self._drawer, self._heads = drawer, heads

    def draw(self, labels: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> list[Drawn]:
        """One text for each class and seed."""
        return list(self._drawer.draw([self._heads[label] for label in labels], seeds, sampling))

    def close(self) -> None:
        """Free the model."""
        self._drawer.close()


def _start_vectors(base: Base) -> list[list[float]]:
    import torch

    if not base.start:
        return []
    with torch.no_grad():
        found = base.embed(torch.tensor(base.start, device=base.device)).float().cpu()
    return [[float(number) for number in row] for row in found.tolist()]
