"""GReaT as a generator of rows: fit fine-tunes a language model, load draws from it with transformers or vLLM.

    great = Great(Settings(model="models/SmolLM2-135M"), Drawing(backend="vllm"))
    model = great.fit(table, rules, seed=1, folder=Path("run/great"), say=print)     # bytes: the adapter itself
    great.load(model, table.schema, rules, Path("run/great")).sample([Want()], seed=7, say=print)

GReaT: Borisov et al., "Language Models are Realistic Tabular Data Generators", 2210.06280; what is done otherwise is said
in `training` and `sampling`. Up to 200 MB the bytes hold the trained files themselves, so that the folder may be lost; more
than that stays in the folder, and the bytes hold digests of it. A base model is never in them, only its identity.
"""

from __future__ import annotations

import gc
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from factory.errors import UserError
from factory.tables.great.base import identity_of, load_trained, merged
from factory.tables.great.settings import Settings
from factory.tables.great.training import Trained, read_trained, train
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table
from factory.tables.synthesizer import Sampler, Say

MOST_BYTES = 200 * 10**6


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """How rows are drawn.

    Attributes:
        backend: `transformers`, or `vllm` where it is installed.
        temperature: What scores are divided by; 1 draws as the model has learnt (the paper takes 0.7, which narrows).
        rows: Rows that are drawn side by side; None takes the backend's default.
        max_text_tokens: Most tokens of a free text.
    """

    backend: Literal["transformers", "vllm"] = "transformers"
    temperature: float = 1.0
    rows: int | None = None
    max_text_tokens: int = 64


class _Packed(msgspec.Struct, frozen=True):
    """A trained model as bytes: its files, or their digests where they are too large."""

    files: dict[str, bytes]
    digests: dict[str, str]


class Great:
    """Fine-tunes a causal language model on rows written as sentences, and draws from it."""

    def __init__(self, settings: Settings, drawing: Drawing | None = None) -> None:
        """Keep the settings; nothing is loaded yet."""
        self._settings, self._drawing = settings, drawing or Drawing()

    def fit(self, table: Table, rules: Rules, *, seed: int, folder: Path | None, say: Say) -> bytes:
        """Fine-tune in the folder, going on from a checkpoint of the same training; see `Synthesizer.fit`.

        Raises:
            UserError: If table, settings and model do not fit, memory runs out, or there is no folder for a model that is
                too large for the journal.
        """
        with _some_folder(folder) as place:
            tokens = self._drawing.max_text_tokens
            made = train(table, self._settings, seed=seed, folder=place, say=say, max_text_tokens=tokens)
            packed = _packed(made, MOST_BYTES)
        if folder is None and not packed.files:
            raise UserError(
                "great: the trained model is too large for the journal, and there is no folder to keep it in."
            )
        return msgspec.msgpack.encode(packed)

    def about(self, model: bytes) -> str:
        """How the training went."""
        packed = msgspec.msgpack.decode(model, type=_Packed)
        if "great.json" not in packed.files:
            return "the trained model lies in the run directory"
        known = msgspec.json.decode(packed.files["great.json"], type=Trained)
        rows = known.steps * known.settings.rows * known.settings.accumulation
        held_out = [loss for _, _, loss in known.curve if loss is not None]
        best = f", held-out loss {min(held_out):.3f} nats a token" if held_out else ""
        return f"trained for {known.steps:,} steps ({rows:,} rows read){best}; ended: {known.ended}"

    def load(self, model: bytes, schema: Schema, rules: Rules, folder: Path | None) -> Sampler:
        """A sampler of what `fit` returned; see `Synthesizer.load`.

        Raises:
            UserError: If the files that the bytes stand for, or the base model, are gone or have changed.
            EngineError: If vLLM is asked for and does not load.
        """
        packed = msgspec.msgpack.decode(model, type=_Packed)
        _free()
        with _some_folder(folder) as place:
            trained = _unpacked(packed, place / "model")
            known = read_trained(trained)
            self._require_base(known)
            return self._sampler(trained, known, schema, rules)

    def _sampler(self, trained: Path, known: Trained, schema: Schema, rules: Rules) -> Sampler:
        from transformers import AutoTokenizer

        drawing, tokenizer = self._drawing, AutoTokenizer.from_pretrained(trained)
        options: dict[str, Any] = {} if drawing.rows is None else {"batch_rows": drawing.rows}
        if drawing.backend == "vllm":
            from factory.tables.great.vllm_sampling import VllmSampler

            return VllmSampler(
                merged(trained, self._base(known)),
                tokenizer,
                schema,
                rules,
                temperature=drawing.temperature,
                order=known.order or "random",
                max_text_tokens=drawing.max_text_tokens,
                **options,
            )
        from factory.tables.great.sampling import TransformersSampler

        return TransformersSampler(
            load_trained(trained, merge=True, base=self._base(known), settings=known.settings),
            tokenizer,
            schema,
            rules,
            temperature=drawing.temperature,
            order=known.order or "random",
            max_text_tokens=drawing.max_text_tokens,
            **options,
        )

    def _base(self, known: Trained) -> str | None:
        """Folder of the base model of an adapter: that of the settings, as it may have moved since."""
        return self._settings.model if known.settings.lora else None

    def _require_base(self, known: Trained) -> None:
        if known.settings.lora and identity_of(self._settings.model) != known.base:
            raise UserError(
                f"great.model: the model in {self._settings.model!r} is not the one that was fine-tuned; "
                "bring that one back, or train again."
            )


def _packed(folder: Path, most: int) -> _Packed:
    files = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}
    if sum(file.stat().st_size for file in files.values()) <= most:
        return _Packed({name: file.read_bytes() for name, file in files.items()}, {})
    return _Packed({}, {name: _digest(file) for name, file in files.items()})


def _unpacked(packed: _Packed, target: Path) -> Path:
    """The folder of the files, written where they do not lie there as they were."""
    digests = packed.digests or {name: hashlib.sha256(data).hexdigest() for name, data in packed.files.items()}
    wrong = [name for name, digest in digests.items() if not _holds(target / name, digest)]
    if wrong and not packed.files:
        raise UserError(
            f"great: the trained model in {target} is gone or has changed ({wrong[0]}), and it is too large for the "
            "journal; bring the folder back, or run again to train it anew."
        )
    for name in wrong:
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(packed.files[name])
    return target


def _holds(file: Path, digest: str) -> bool:
    return file.is_file() and _digest(file) == digest


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _free() -> None:
    """Give back what training has left in memory."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _some_folder(folder: Path | None) -> Iterator[Path]:
    """The folder, or one for the time being."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="great-") as made:
        yield Path(made)
