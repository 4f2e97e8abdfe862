"""What a trained artifact remembers of canaries, as `factory.audit` asks it: exposure, and a lower bound of epsilon.

    found = remembered(canaries, claim, lambda texts, labels: losses)
    found.mean, found.finding.bound.lower     ->  1.5, 0.0

Canaries are made-up texts that took part in the training where their coins said so (`factory.privacy.canaries`). Their losses
are compared with those of canaries that were left out and of others that were never drawn before. Only the artifact is
seen, once, at the end: that shows far less than what `factory.privacy.auditing` sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from factory.engines.model_source import locate_model
from factory.errors import RunDirError, UserError
from factory.privacy.accounting import Mechanism, epsilon
from factory.privacy.auditing import MOST_DELTA, Finding
from factory.privacy.canaries import Canary, canary_bound, decoded, draw, exposure
from factory.privacy.claim import Claim
from factory.privacy.games import taking_part
from factory.privacy.randomness import SecureRandomness
from factory.recipe import model_identity
from factory.recipe.identity import model_folder
from factory.recipe.schema import EngineOptions

REFERENCES = 256
Scorer = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """How much a trained thing remembers of canaries.

    Attributes:
        finding: The lower bound, and what it is compared with.
        taken_part: Canaries that were trained on.
        mean: Their mean exposure in bits; about 1.44, that is log2(e), where nothing is remembered.
        most: The largest.
        possible: The largest that there can be.
    """

    finding: Finding
    taken_part: int
    mean: float
    most: float
    possible: float


def remembered(canaries: Sequence[Canary], claim: Claim, score: Scorer) -> Remembered:
    """Compare losses.

    Args:
        canaries: All that were drawn; one at least took part.
        claim: Of the training.
        score: Losses of texts of some classes under what was trained.
    """
    labels = sorted({canary.label for canary in canaries} - {""})
    every = [*canaries, *draw(REFERENCES, SecureRandomness(), labels)]
    losses = [float(loss) for loss in score([each.text for each in every], [each.label for each in every])]
    own, coins = losses[: len(canaries)], [canary.included for canary in canaries]
    inside = [loss for loss, coin in zip(own, coins, strict=True) if coin]
    outside = [loss for loss, coin in zip(own, coins, strict=True) if not coin] + losses[len(canaries) :]
    found = exposure(inside, outside)
    delta = min(claim.delta, MOST_DELTA)
    spent = Mechanism(noise_multiplier=claim.noise_multiplier, sample_rate=claim.sample_rate, steps=claim.steps)
    share = taking_part(claim.sample_rate, claim.steps)
    finding = Finding(
        bound=canary_bound([-loss for loss in own], coins, delta, share=share),
        claimed=epsilon([spent], delta),
        delta=delta,
        steps=claim.steps,
        unpaid=0,
    )
    return Remembered(
        finding=finding,
        taken_part=len(inside),
        mean=float(np.mean(found)),
        most=max(found),
        possible=math.log2(len(outside) + 1),
    )


def read_canaries(path: Path) -> list[Canary]:
    """The canaries of a file.

    Raises:
        RunDirError: If it holds none.
    """
    try:
        found = decoded(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise RunDirError(f"{path}: the canaries cannot be read ({error}); audit with --no-canaries.") from error
    if not any(canary.included for canary in found):
        raise RunDirError(f"{path}: no canary took part in the training; audit with --no-canaries.")
    return found


def losses_under(folder: Path, model: str, revision: str | None) -> Scorer:
    """Losses under the artifact that a step has written.

    Args:
        folder: Of the artifact.
        model: The base model, as the step names it.
        revision: Of that.

    Raises:
        UserError: If there is no artifact, or the model is another one.
    """
    from factory.privacy.base import load_base
    from factory.privacy.objective import Encoder
    from factory.privacy.scoring import losses
    from factory.privacy.tuned.folders import read
    from factory.privacy.tuned.model import require_base, tuned

    artifact = read(folder)
    here, place = Path.cwd(), _place(model, revision)
    identity = model_identity(EngineOptions(kind="transformers", model=model, revision=revision), here)
    require_base(artifact, identity, model)
    base = load_base(place, dtype="float32", name=model)
    encoder = Encoder(base, {}, artifact.about.max_tokens)
    encoder.heads = {label: list(ids) for label, ids in artifact.about.heads.items()}
    with_it = tuned(base, artifact)

    def score(texts: Sequence[str], labels: Sequence[str]) -> list[float]:
        unknown = sorted(set(labels) - set(encoder.heads))
        if unknown:
            raise UserError(f"{folder}: the artifact knows no class '{unknown[0]}', which canaries have.")
        examples = [encoder.encode(text, label) for text, label in zip(texts, labels, strict=True)]
        return [loss.nats for loss in losses(with_it, examples)]

    return score


def _place(model: str, revision: str | None) -> str:
    """The folder of the base model; one on the Hub is fetched."""
    own = model_folder(model, Path.cwd())
    place = locate_model(model if own is None else str(own), revision)
    if Path(place.path).is_dir():
        return place.path
    from huggingface_hub import snapshot_download

    return str(snapshot_download(place.path, revision=place.revision))
