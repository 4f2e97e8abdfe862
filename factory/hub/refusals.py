"""Why a run may not go to the Hub: it did not end, its claims do not hold, it has no licence, its files are others.

    require_sound(RunDir(Path("runs/private")), partial=False)
    ->  UserError: runs/private: is not private: … Do not share these rows.

It fails closed: what cannot be read or is not said is a reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from factory.claims import FILE, claims_of, not_private
from factory.datasets_io.parquet import damaged
from factory.errors import RunDirError, UserError
from factory.hub.files import same_digest, shards
from factory.privacy.claim import Claim, decoded
from factory.privacy.section import contradicted
from factory.recipe import fingerprint
from factory.rundir import RunDir


def require_sound(run: RunDir, *, partial: bool) -> dict[str, Any]:
    """The manifest of a run that may go to the Hub.

    Args:
        run: The run directory.
        partial: Whether a preview or a run that was stopped short will do.

    Raises:
        UserError: If it may not, with the reason.
    """
    manifest = run.require_manifest()
    _require_end(run, manifest, partial=partial)
    _require_privacy(run, manifest)
    _require_licence(run, manifest)
    _require_data(run, manifest)
    return manifest


def _require_end(run: RunDir, manifest: dict[str, Any], *, partial: bool) -> None:
    status = manifest["status"]
    if status in ("partial", "preview"):
        if not partial:
            what = "a preview" if status == "preview" else f"a part of what was asked for ({manifest['message']})"
            raise UserError(
                f"{run.path}: holds {what}; finish it with 'factory run', or push it as it is with --partial."
            )
    elif status != "complete":
        raise UserError(f"{run.path}: the run has not ended ({status}); finish it with 'factory run'.")
    if manifest["fingerprint"] != fingerprint(manifest["recipe"]):
        raise UserError(
            f"{run.path}: manifest.json was changed: its recipe has another fingerprint. Run the recipe into the same "
            "directory again; the journal answers."
        )


def _require_privacy(run: RunDir, manifest: dict[str, Any]) -> None:
    if "privacy" not in manifest:
        if _declares_private(manifest["recipe"]):
            raise UserError(f"{run.path}: reads a private source and claims nothing for it; its rows stay here.")
        return
    if why := not_private(manifest):
        raise UserError(f"{run.path}: is not private: {why}")
    for claim in claims_of(manifest):
        held = _held(run.artifacts / claim.step / FILE)
        if (audit := contradicted(held)) is not None:
            raise UserError(
                f"{run.path}: an audit found epsilon of '{claim.step}' to be at least {audit.lower_bound:.2f}, more than is "
                "claimed. Do not share these rows."
            )
        if msgspec.structs.replace(held, audits=()) != msgspec.structs.replace(claim, audits=()):
            raise UserError(
                f"{run.path}: manifest.json and artifacts/{claim.step}/{FILE} claim different things; run the recipe into the "
                "same directory again."
            )


def _declares_private(written: Any) -> bool:
    """Whether `private: true` stands anywhere in a resolved recipe."""
    if isinstance(written, dict):
        return written.get("private") is True or any(map(_declares_private, written.values()))
    return isinstance(written, list) and any(map(_declares_private, written))


def _held(path: Path) -> Claim:
    try:
        return decoded(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise RunDirError(
            f"{path}: cannot be read ({error}), and the claim of privacy rests on it; run the recipe into the same directory "
            "again."
        ) from error


def require_claims_on(card: str, manifest: dict[str, Any]) -> None:
    """Make sure that a card says all that a run claims.

    Raises:
        UserError: If it does not.
    """
    for claim in claims_of(manifest):
        if f"`{claim.step}`: this is {claim.sentence}." not in card:
            raise UserError(
                f"the card does not say what '{claim.step}' claims; this is an error of the factory: report it."
            )


def _require_licence(run: RunDir, manifest: dict[str, Any]) -> None:
    if not (manifest["recipe"]["output"]["license"] or "").strip():
        raise UserError(
            f"{run.path}: has no licence, so nobody knows what they may do with it. Name one that its sources and its model "
            "allow: 'factory run' with the same recipe, --out and --set output.license=cc-by-4.0 asks nothing again."
        )


def _require_data(run: RunDir, manifest: dict[str, Any]) -> None:
    """The shards are whole, and those that the manifest tells of."""
    held = manifest["dataset"] or {}
    counted = _rows(run.path, "data", decode="digest" not in held)
    if not counted == held.get("rows") == manifest["rows"]:
        raise RunDirError(
            f"{run.path}: data/ holds {counted:,} rows where manifest.json tells of {manifest['rows']:,}; run the recipe into "
            "the same directory again."
        )
    if held["status"] != manifest["status"]:
        raise RunDirError(
            f"{run.path}: data/ is of another run ({held['status']}) than manifest.json tells of; run the recipe into the same "
            "directory again."
        )
    if "digest" in held and not same_digest(run.path, held["digest"]):
        raise RunDirError(
            f"{run.path}: the files in data/ are not those that the run has written; run the recipe into the same directory "
            "again: the journal makes them anew."
        )


def require_whole(run: Path, folders: tuple[str, ...]) -> None:
    """Make sure that the shards of other folders, which the manifest has no digest of, can be read to their end.

    Raises:
        RunDirError: If one is damaged or missing.
    """
    for folder in folders:
        _rows(run, folder, decode=True)


def _rows(run: Path, folder: str, *, decode: bool) -> int:
    """Rows of all shards; `decode` reads all of them, where the manifest has no digest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for name in shards(run, folder):
        try:
            file = pq.ParquetFile(run / name)
            rows += file.metadata.num_rows
            for _ in file.iter_batches() if decode else ():
                pass
        except (pa.ArrowException, OSError) as error:
            raise damaged(run / name, error) from error
    return rows
