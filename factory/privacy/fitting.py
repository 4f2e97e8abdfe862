"""From private texts to what is kept of them: encode, train, and the bytes that the journal holds.

    content = fitted(tuning, base, encoder, job, plan, kind="soft prompt", say=say)
    about_of(content)     ->  About(kind="soft prompt", trained="soft prompt, 20 x 576", dimensions=11520, …)

The bytes are a safetensors file: the trained numbers, and in its header what may be known of them. No number of the base
model, no moment of the optimizer and no state of a generator is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from factory.privacy.ledger import Ledger
from factory.privacy.objective import Encoder, Example
from factory.privacy.randomness import Randomness
from factory.privacy.training import CHECKPOINT, Checkpoint, Payment, Plan, check_plan, train
from factory.privacy.tuning import Tuning

Say = Callable[[str], None]
BATCH = 16


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of something trained.

    Attributes:
        kind: `soft prompt` or `lora`.
        run: Id in the ledger.
        trained: In words.
        dimensions: Numbers that were trained.
        max_tokens: Most tokens of a text.
        heads: What stands before a text of each class.
        spent: Steps that were paid.
        lost: Of these, steps whose result a kill took.
        notes: Sentences for the user; of public texts only.
        base: What the base model is.
        settings: Further settings, e.g. of the adapters.
    """

    kind: str
    run: str
    trained: str
    dimensions: int
    max_tokens: int
    heads: dict[str, str]
    spent: int
    lost: int
    notes: list[str] = []
    base: str = ""
    settings: dict[str, Any] = {}


class Job(NamedTuple):
    """Whose texts are learnt, who pays, and where checkpoints lie.

    Attributes:
        texts: Text and class.
        ledger: Who pays.
        run: Id of the run there.
        randomness: Where samples and noise come from.
        folder: For checkpoints; None keeps none.
        public: Public texts and classes whose loss is looked at; none of them is learnt.
    """

    texts: Sequence[tuple[str, str]]
    ledger: Ledger
    run: str
    randomness: Randomness
    folder: Path | None
    public: Sequence[tuple[str, str]] = ()


def fitted(
    tuning: Tuning,
    encoder: Encoder,
    job: Job,
    plan: Plan,
    about: Mapping[str, Any],
    *,
    say: Say,
) -> bytes:
    """Train as planned; gives the bytes to keep.

    Args:
        tuning: What is trained.
        encoder: Makes examples of texts.
        job: Texts and payment.
        plan: How; with no step nothing is read or paid.
        about: Further values of `About`.
        say: Told how far it is.
    """
    public = [encoder.encode(text, label) for text, label in job.public]
    before = _nats(tuning, public, encoder.max_tokens)
    spent = lost = 0
    if plan.steps:
        check_plan(plan, max(1, round(plan.expected_batch / plan.sample_rate)))
        say("reading the texts")
        examples = [encoder.encode(text, label) for text, label in job.texts]
        spent, lost = train(
            tuning, examples, plan, Payment(job.ledger, job.run), randomness=job.randomness, folder=job.folder, say=say
        )
    notes = []
    if public:
        after = _nats(tuning, public, encoder.max_tokens)
        notes = [f"loss of {len(public):,} public texts: {before:.3f} nats a token before, {after:.3f} after"]
    content = _encoded(tuning, About(**about, run=job.run, trained=tuning.about, dimensions=_count(tuning),
                                     max_tokens=encoder.max_tokens, spent=spent, lost=lost, notes=notes))  # fmt: skip
    return content


def about_of(content: bytes) -> About:
    """What may be known of what these bytes hold."""
    length = int.from_bytes(content[:8], "little")
    header = msgspec.json.decode(content[8 : 8 + length])
    return msgspec.json.decode(header["__metadata__"]["about"], type=About)


def restored(tuning: Tuning, content: bytes) -> None:
    """Give a tuning of the same shape the numbers that these bytes hold."""
    import torch
    from safetensors.torch import load

    found = load(content)
    with torch.no_grad():
        for name, parameter in tuning.parameters.items():
            parameter.copy_(found[name])


def forget(folder: Path | None, run: str) -> None:
    """Remove the checkpoint of a run, once what was trained is in the journal."""
    if folder is not None:
        Checkpoint(folder / CHECKPOINT, run).remove()


def _encoded(tuning: Tuning, about: About) -> bytes:
    from safetensors.torch import save

    tensors = {name: each.detach().cpu().contiguous() for name, each in tuning.parameters.items()}
    return bytes(save(tensors, metadata={"about": msgspec.json.encode(about).decode()}))


def _count(tuning: Tuning) -> int:
    return sum(int(each.numel()) for each in tuning.parameters.values())


def _nats(tuning: Tuning, examples: Sequence[Example], max_tokens: int) -> float:
    """Mean negative log-likelihood of a token of public texts."""
    total, tokens = 0.0, 0
    for first in range(0, len(examples), BATCH):
        batch = examples[first : first + BATCH]
        total += float(tuning.losses(batch).sum()) * max_tokens
        tokens += sum(len(example.text) for example in batch)
    return total / max(1, tokens)
