"""The model that is fine-tuned: from a folder, with adapters or whole, or small from random weights; and its files.

    base = load_base(Settings(model="models/SmolLM2-135M"), table, seed=1)
    base.tokenizer, base.model        # what transformers loads, with LoRA of peft on all linear layers

Randomness (initial weights and adapters) depends on the seed alone; the global generators stay as they were.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.errors import UserError
from factory.tables.great.settings import SCRATCH, Scratch, Settings
from factory.tables.great.writing import Writer
from factory.tables.schema import Table

END = "<|endoftext|>"
TOKENIZER_ROWS = 5_000
LEAST_CONTEXT = CONTEXT_STEP = 1024
_ENDS = 1 << 20


def identity_of(model: str) -> str:
    """What tells a base model from another: a digest of its configuration, of the names and sizes of its weights, and of
    the first and last mebibyte of each.

    Raises:
        UserError: If the folder holds no model.
    """  # noqa: D205
    if model == SCRATCH:
        return SCRATCH
    folder = Path(model)
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not (folder / "config.json").is_file() or not weights:
        raise UserError(
            f"great.model: {model!r} holds no model; expected a folder with config.json and weights, or 'scratch'."
        )
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in weights:
        with file.open("rb") as stream:
            size = file.stat().st_size
            digest.update(f"{file.name} {size} ".encode() + stream.read(_ENDS))
            stream.seek(max(0, size - _ENDS))
            digest.update(stream.read())
    return digest.hexdigest()[:32]


def device_of() -> Any:
    """The device to train on."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wants_bf16(settings: Settings, device: Any) -> bool:
    """Whether products are made in bfloat16."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    if device.type == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported())
    from factory.engines.model_source import cpu_dtype

    return settings.model != SCRATCH and cpu_dtype("auto") == "bfloat16"


def load_tokenizer(settings: Settings, table: Table) -> Any:
    """The base model's tokenizer, or one trained on the table's sentences."""
    if settings.model == SCRATCH:
        return scratch_tokenizer(table, settings.scratch)
    try:
        return _transformers().AutoTokenizer.from_pretrained(settings.model)
    except (OSError, ValueError) as error:
        raise UserError(f"great.model: the tokenizer in {settings.model!r} does not load ({error}).") from error


def scratch_tokenizer(table: Table, sizes: Scratch) -> Any:
    """A byte-level BPE (as GPT-2's) of at most 5,000 sentences, columns in the table's order."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    writer, names = Writer(table.schema), [column.name for column in table.schema.learned]
    sentences = [writer.write(table.row(row), names) for row in range(min(table.rows, TOKENIZER_ROWS))]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=sizes.vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return _transformers().PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def load_model(
    settings: Settings, tokenizer: Any, seed: int, device: Any, *, bf16: bool, longest: int = LEAST_CONTEXT
) -> Any:
    """The model to train, in training mode.

    What is trained lies in float32; a frozen base lies in bfloat16 where products are made in it.

    Args:
        settings: Which.
        tokenizer: Its tokenizer.
        seed: Decides the initial weights.
        device: Where it lies.
        bf16: Whether products are made in bfloat16.
        longest: Tokens of the longest row, which a model from scratch reads unless its context is fixed.

    Raises:
        UserError: If the folder does not load as a causal language model.
    """
    import torch

    with _seeded(seed), quiet():
        if settings.model == SCRATCH:
            context = settings.scratch.context or max(LEAST_CONTEXT, -(-longest // CONTEXT_STEP) * CONTEXT_STEP)
            return _scratch(settings.scratch, context, tokenizer).to(device).train()
        dtype = torch.bfloat16 if bf16 and settings.lora else torch.float32
        model = _pretrained(settings.model, dtype, device)
        if not settings.lora:
            return model.train()
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=settings.rank or 0,
            lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft takes any number
            lora_dropout=settings.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        return get_peft_model(model, config).train()


def context_of(model: Any) -> int | None:
    """Most tokens that the model reads."""
    config = (model.get_base_model() if hasattr(model, "peft_config") else model).config.get_text_config()
    found = getattr(config, "max_position_embeddings", None)
    return int(found) if found else None


def trained(model: Any) -> dict[str, Any]:
    """The parameters that are trained, by name; each once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def set_trained(model: Any, weights: Mapping[str, Any]) -> None:
    """Give the trained parameters these values."""
    import torch

    with torch.no_grad():
        for name, parameter in trained(model).items():
            parameter.copy_(weights[name])


def save_model(model: Any, tokenizer: Any, settings: Settings, folder: Path) -> None:
    """Write what transformers or peft loads: an adapter with the path of its base, or all weights; and the tokenizer."""
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty card
    config = folder / "adapter_config.json"
    if config.exists():
        values = json.loads(config.read_text())
        values["base_model_name_or_path"] = settings.model
        if isinstance(values["target_modules"], list):
            values["target_modules"].sort()  # a set in peft: its order changes from process to process
        config.write_text(json.dumps(values, indent=2, sort_keys=True))


def load_trained(folder: Path, *, merge: bool, base: str | None = None, settings: Settings | None = None) -> Any:
    """The fine-tuned model, from the folder that `save_model` wrote.

    Args:
        folder: With an adapter or all weights.
        merge: Whether an adapter becomes part of the weights, which makes drawing faster.
        base: Folder of the adapter's base model, which may have moved; by default where it lay.
        settings: Say whether products are made in bfloat16, as they were in training; without them all is in float32.
            An adapter is merged in float32 all the same.
    """
    import torch

    device = device_of()
    dtype = torch.bfloat16 if settings is not None and wants_bf16(settings, device) else torch.float32
    config = folder / "adapter_config.json"
    with quiet():
        if not config.exists():
            return _pretrained(str(folder), dtype, device).eval()
        from peft import PeftModel

        place = base or json.loads(config.read_text())["base_model_name_or_path"]
        model = PeftModel.from_pretrained(_pretrained(place, torch.float32, device), folder)
        return (model.merge_and_unload() if merge else model).to(dtype).eval()


def merged(folder: Path, base: str | None = None) -> Path:
    """A folder of all weights for engines that take no adapter: `folder` itself, or one beside it, made on first use."""
    if not (folder / "adapter_config.json").exists():
        return folder
    target = folder.with_name(f"{folder.name}-merged")
    if not target.exists():
        work = folder.with_name(f".{target.name}")
        shutil.rmtree(work, ignore_errors=True)
        with quiet():
            load_trained(folder, merge=True, base=base).save_pretrained(work)
            _transformers().AutoTokenizer.from_pretrained(folder).save_pretrained(work)
        work.rename(target)
    return target


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal, and leave its setting as it was."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _transformers() -> Any:
    """The library as a whole, of which only a part is typed."""
    return importlib.import_module("transformers")


def _pretrained(folder: str, dtype: Any, device: Any) -> Any:
    try:
        return _transformers().AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map={"": device})
    except (OSError, ValueError) as error:
        raise UserError(f"great.model: {folder!r} does not load as a causal language model ({error}).") from error


def _scratch(sizes: Scratch, context: int, tokenizer: Any) -> Any:
    return _transformers().LlamaForCausalLM(
        _transformers().LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=sizes.hidden,
            intermediate_size=sizes.hidden * 8 // 3 // 16 * 16,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**63)
        yield
