"""What a dataset may say of its privacy: `privacy.json`, the card's section, and what `push` looks at.

    Claim(step="dp_lora", private=True, epsilon=1.99, delta=1e-5, …).sentence
    -> "(1.99, 1e-05)-differentially private for adding or removing one record"

A claim is made from what was done, not from what was asked for: the steps that the ledger counts, the noise that was
drawn, and where it came from.
"""

from __future__ import annotations

import math

import msgspec

from factory.privacy.accounting import EPSILON_ERROR

FORMAT = 1
MOST_EPSILON = 50.0  # beyond it nothing is claimed: odds of e^50 bound nothing


def no_bound(epsilon: float) -> str:
    """Why rows of such an epsilon stay private."""
    return f"it was learnt with epsilon {shown(epsilon)}, and what is above {MOST_EPSILON:g} protects nobody"


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found.

    Attributes:
        kind: `white-box`, `canaries`, or `accountant` where what was done costs more than is claimed.
        lower_bound: Epsilon is at least this, at this confidence.
        confidence: In (0, 1).
        violation: Whether the bound is above what is claimed.
        claimed: Epsilon of what was audited: of fewer steps, where the whole claim is too large for an audit to see
            anything.
        delta: Of both.
        steps: Steps that were audited.
        canaries: Canaries whose coins were thrown.
    """

    kind: str
    lower_bound: float
    confidence: float
    violation: bool
    claimed: float | None = None
    delta: float | None = None
    steps: int = 0
    canaries: int = 0


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim of a step.

    Attributes:
        step: Step of the recipe.
        method: Its method.
        run: Id in the ledger; random, it says nothing of the data.
        private: Whether the output may be treated as public: a finite epsilon, and noise that nobody can repeat.
        why_not: Why it may not; empty if it may.
        epsilon: Upper bound for all that this step spent; None for no bound.
        delta: Of the same claim.
        accountant: How epsilon was computed.
        accountant_error: Most that epsilon may be too high by.
        mechanism: What was done, in words.
        noise_multiplier: Standard deviation of the noise over the sensitivity.
        max_grad_norm: The sensitivity, that is the clipping norm; None where nothing is clipped.
        sample_rate: Probability that a record takes part in a step.
        steps: Steps that were paid.
        records: The public size that the rate and delta were computed from.
        records_policy: `public`, `rounded` or `given`.
        unit: What may be added or removed, e.g. `one record`.
        sampler: How the records of a step are drawn.
        randomness: Where noise and samples come from.
        labels: How the classes' shares came about.
        epsilon_counts: Part of epsilon that label counts took.
        trained: What was trained, e.g. `soft prompt, 20 x 576`.
        dimensions: Numbers that were trained; 0 where none were.
        expected_batch: Records that a step reads on average.
        private_source: Whether the source was declared private.
        ledger_runs: Runs that the ledger of the source knows, this one included.
        ledger_epsilon: Epsilon of all of them together; None for no bound.
        audits: What audits have found since.
        version: Of the factory.
    """

    step: str
    method: str
    run: str
    private: bool
    why_not: str = ""
    epsilon: float | None
    delta: float
    accountant: str
    accountant_error: float = EPSILON_ERROR
    mechanism: str
    noise_multiplier: float
    max_grad_norm: float | None
    sample_rate: float
    steps: int
    records: int
    records_policy: str
    unit: str
    sampler: str
    randomness: str
    labels: str
    epsilon_counts: float = 0.0
    trained: str = ""
    dimensions: int = 0
    expected_batch: float = 0.0
    private_source: bool = True
    ledger_runs: int = 1
    ledger_epsilon: float | None = None
    audits: tuple[Audit, ...] = ()
    version: str = ""

    @property
    def sentence(self) -> str:
        """The claim in one sentence; what follows `This is`."""
        if not self.private or self.epsilon is None:
            return f"NOT differentially private: {self.why_not or 'no bound on epsilon'}"
        return f"({shown(self.epsilon)}, {self.delta:.3g})-differentially private for adding or removing {self.unit}"


def shown(epsilon: float | None) -> str:
    """An epsilon with two decimals, rounded up so that no claim is better than what was computed.

    >>> shown(1.991), shown(None)
    ('2', 'infinite')
    """
    if epsilon is None or math.isinf(epsilon):
        return "infinite"
    return f"{math.ceil(epsilon * 100 - 1e-9) / 100:g}"


def encoded(claim: Claim) -> bytes:
    """`privacy.json`."""
    return msgspec.json.format(msgspec.json.encode({"format": FORMAT, **msgspec.to_builtins(claim)}), indent=2) + b"\n"


def decoded(content: bytes) -> Claim:
    """The claim of a `privacy.json`.

    Raises:
        msgspec.DecodeError: If it is none.
    """
    found = msgspec.json.decode(content, type=_Formatted).format
    if found != FORMAT:
        raise msgspec.ValidationError(f"format {found}, expected {FORMAT}: it is of another version of the factory")
    return msgspec.json.decode(content, type=Claim)


class _Formatted(msgspec.Struct):
    format: int
