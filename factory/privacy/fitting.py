"""From private texts to what is kept of them: encode, train, and the bytes that the journal holds.

    report = fitted(tuning, encoder, job, plan, say=say)
    content = packed(report, encoded(soft_prompt(about, report…)))
    unpacked(content)     ->  (Report(trained="soft prompt, 20 x 576", dimensions=11520, spent=60, …), b"…")

What is kept is what was trained (see `factory.privacy.tuned`) and what may be known of it. No number of the base model, no
moment of the optimizer and no state of a generator is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from factory.privacy.ledger import Ledger
from factory.privacy.objective import Encoder, Example
from factory.privacy.randomness import Randomness
from factory.privacy.training import Payment, Plan, check_plan, train
from factory.privacy.tuning import Tuning

Say = Callable[[str], None]
BATCH = 16
_LENGTH_BYTES = 8


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of a training.

    Attributes:
        trained: What was trained, in words.
        dimensions: Numbers that were trained.
        spent: Steps that were paid.
        lost: Of these, steps whose result a kill took.
        notes: Sentences for the user; of public texts only.
        start: Embeddings of the tokens that stand before a soft prompt; most models have none.
    """

    trained: str
    dimensions: int
    spent: int
    lost: int
    notes: list[str] = []
    start: list[list[float]] = []


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


def fitted(tuning: Tuning, encoder: Encoder, job: Job, plan: Plan, *, say: Say) -> Report:
    """Train as planned.

    Args:
        tuning: What is trained, which holds the result then.
        encoder: Makes examples of texts.
        job: Texts and payment.
        plan: How; with no step nothing is read or paid.
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
    count = sum(int(each.numel()) for each in tuning.parameters.values())
    return Report(trained=tuning.about, dimensions=count, spent=spent, lost=lost, notes=notes)


def packed(report: Report, artifact: bytes) -> bytes:
    """Both as bytes."""
    head = msgspec.json.encode(report)
    return len(head).to_bytes(_LENGTH_BYTES, "little") + head + artifact


def unpacked(content: bytes) -> tuple[Report, bytes]:
    """What was packed."""
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    return msgspec.json.decode(content[_LENGTH_BYTES:end], type=Report), content[end:]


def _nats(tuning: Tuning, examples: Sequence[Example], max_tokens: int) -> float:
    """Mean negative log-likelihood of a token of public texts."""
    total, tokens = 0.0, 0
    for first in range(0, len(examples), BATCH):
        batch = examples[first : first + BATCH]
        total += float(tuning.losses(batch).sum()) * max_tokens
        tokens += sum(len(example.text) for example in batch)
    return total / max(1, tokens)
