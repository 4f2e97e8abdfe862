"""What flows between steps: records, verdicts, and where each of them came from.

Example: a record `Record(id="5f0c…", fields={"instruction": "Name three rivers."}, provenance=…)`
leaves one step and enters the next; a `Rejected(record, verdict)` leaves a step and is filed with
its rule, reason and evidence.

Identity never depends on a position in a file or a run, which is what makes reuse after an edit
possible: a source record is named by its content, a derived record by the request that made it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

ID_HEX_DIGITS = 20


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How a record came to be.

    Attributes:
        step: Name of the step in the recipe.
        method: Method, filter or source that the step runs.
        parents: Ids of the records that this one was made from.
        root: Id of the source record that this one descends from, if it descends from exactly one.
        prompt: Prompt id, e.g. `self_instruct/instructions`.
        prompt_hash: Hash of the prompt file.
        model: Model and revision.
        seed: Seed derived for the request.
        requests: Journal keys of the requests whose answers made it.
    """

    step: str
    method: str
    parents: tuple[str, ...] = ()
    root: str | None = None
    prompt: str | None = None
    prompt_hash: str | None = None
    model: str | None = None
    seed: int | None = None
    requests: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True):
    """One row on its way through the steps; `fields` is what the user will see as columns."""

    id: str
    fields: dict[str, Any]
    provenance: Provenance

    @property
    def family(self) -> str:
        """Id of the record that this one and all that is made of it descend from; the `root` of those.

        The instances of one instruction have it as their only parent, and stay one family.
        """
        if self.provenance.root is not None:
            return self.provenance.root
        return self.provenance.parents[0] if len(self.provenance.parents) == 1 else self.id


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and what it rests on; a rejection is never unexplained.

    Attributes:
        keep: Whether the record stays.
        rule: The rule that decided, e.g. `rouge_l`.
        reason: Short machine-readable reason, e.g. `too_similar`.
        score: The measured value, if the rule measures one.
        threshold: The limit that the score was compared with.
        evidence: What a reader needs to agree: the nearest text, the matched word, the error.
    """

    keep: bool
    rule: str
    reason: str
    score: float | None = None
    threshold: float | None = None
    evidence: str | None = None


class Rejected(msgspec.Struct, frozen=True):
    """A record that a step turned away, with the verdict that did it."""

    record: Record
    verdict: Verdict


class Unknown(msgspec.Struct, frozen=True):
    """Stands, while planning, for the records that a request not yet asked would lead to."""

    parent: str


Outcome = Record | Rejected | Unknown


def reject(
    record: Record,
    rule: str,
    reason: str,
    *,
    score: float | None = None,
    threshold: float | None = None,
    evidence: str | None = None,
) -> Rejected:
    """Turn a record away and say why."""
    verdict = Verdict(keep=False, rule=rule, reason=reason, score=score, threshold=threshold, evidence=evidence)
    return Rejected(record, verdict)


def digest(*parts: object) -> str:
    """Hex digest of values that JSON can hold; the same in every process and on every machine."""
    encoded = msgspec.json.encode(parts, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=ID_HEX_DIGITS // 2).hexdigest()


def source_id(fields: dict[str, Any], occurrence: int) -> str:
    """Id of a source record: its content, and how many equal records came before it (from 0)."""
    return digest("source", fields, occurrence)


def derived_id(step: str, request_key: str, ordinal: int, parents: tuple[str, ...] = ()) -> str:
    """Id of a record read from an answer: step, key of the request, position in the answer (from 0), parents.

    Two rows may lead to one and the same request (a prompt without variables, and equal seeds of 31 bits): they
    share its answer, and are told apart by their parents.
    """
    return digest("derived", step, request_key, ordinal, parents)


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**31) from the recipe's seed and whatever names the draw; never from a clock."""
    return int(digest("seed", *parts)[:8], 16) & 0x7FFFFFFF
