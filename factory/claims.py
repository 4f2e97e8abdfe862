"""What the steps of a run claim of their privacy: in the manifest, and on disk as `artifacts/<step>/privacy.json`.

    privacy(recipe, stats, finished=True)
        ->  {"output_private": False, "why": "", "claims": [{"step": "dp_lora", "epsilon": 1.99, …}]}
    not_private(manifest)  ->  ""      or why the rows may not be shared

It fails closed: a step that may read private rows, and neither claims anything nor says that it has read none, has released
nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from factory.context import Stats
from factory.datasets_io.whole import write_whole
from factory.errors import RunDirError
from factory.journal import disk_error
from factory.privacy.claim import Claim, decoded, encoded
from factory.privacy.section import contradicted
from factory.recipe import Recipe
from factory.recipe.taint import KEPT, declares_private

FILE = "privacy.json"


def privacy(recipe: Recipe, stats: Stats, *, finished: bool) -> dict[str, Any] | None:
    """What the manifest says of the privacy of all rows; None for a recipe without a differentially private step.

    Args:
        recipe: What is being run.
        stats: Its counts, with the claims so far.
        finished: Whether the steps have ended.
    """
    if not recipe.private_steps:
        return None
    claims = [claim for step in recipe.steps if (claim := stats[step.name].privacy) is not None]
    why = recipe.stays_private or next(iter(_held_back(claims)), "") or (_unclaimed(recipe, stats) if finished else "")
    return {"output_private": bool(why), "why": why, "claims": claims}


def _held_back(claims: Iterable[dict[str, Any]]) -> list[str]:
    """Steps that turned out not to protect the private rows that they have read."""
    return [
        f"what '{claim['step']}' gives out stays private: {claim['why_not'] or 'no bound on epsilon'}"
        for claim in claims
        if claim["private_source"] and not claim["private"]
    ]


def _unclaimed(recipe: Recipe, stats: Stats) -> str:
    told = [(step, stats[step.name]) for step in recipe.steps if declares_private(step)]
    silent = [step.name for step, found in told if found.privacy is None and not found.unread]
    return f"'{silent[0]}' has read private rows and claims no protection for them" if silent else ""


def claims_of(manifest: dict[str, Any]) -> list[Claim]:
    """The claims that a manifest holds."""
    return msgspec.convert((manifest.get("privacy") or {}).get("claims", []), list[Claim])


def not_private(manifest: dict[str, Any]) -> str:
    """Why the rows of a run are not differentially private; empty if they are, or nobody says that they are."""
    privacy, claims = manifest.get("privacy"), claims_of(manifest)
    if privacy is not None and privacy["output_private"]:
        return f"{privacy['why']}. Do not share these rows."
    for claim in claims:
        if (audit := contradicted(claim)) is not None:
            return f"an audit found epsilon of '{claim.step}' to be at least {audit.lower_bound:.2f}, more than is claimed."
    if why := manifest.get(KEPT):  # of what an earlier session has left
        return f"{why}. Do not share these rows."
    for claim in claims:
        if not claim.private:
            return (
                f"'{claim.step}': {claim.why_not or 'no bound on epsilon'}. The rows that it read were declared public."
            )
    return ""


# --- on disk ------------------------------------------------------------------------------------------


def take_audits(stats: Stats, artifacts: Path) -> None:
    """Let claims keep what audits have found of the same runs since they were first made."""
    for step, found in stats.steps.items():
        held = _held(artifacts / step / FILE)
        if found.privacy is not None and held is not None and held.run == found.privacy["run"]:
            found.privacy = {**found.privacy, "audits": msgspec.to_builtins(held.audits)}


def write_claims(stats: Stats, artifacts: Path) -> None:
    """Write `privacy.json` of every step that claims something, and remove what steps that are gone have left.

    Raises:
        DiskError: If it cannot be written.
    """
    claims = {step: found.privacy for step, found in stats.steps.items() if found.privacy is not None}
    try:
        for path in artifacts.glob(f"*/{FILE}"):
            if path.parent.name not in stats.steps:  # what that step has learnt, with noise or without
                shutil.rmtree(path.parent)
            elif path.parent.name not in claims:
                path.unlink()
        for step, claim in claims.items():
            (artifacts / step).mkdir(parents=True, exist_ok=True)
            write_whole(artifacts / step / FILE, encoded(msgspec.convert(claim, Claim)))
    except OSError as error:
        raise disk_error(artifacts, error) from error


def _held(path: Path) -> Claim | None:
    try:
        return decoded(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise RunDirError(f"{path}: cannot be read ({error}); remove it, and audit the run again.") from error
