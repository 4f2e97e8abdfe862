"""The run at a glance: status, rows, model, tokens, time, seed, versions, and whether its numbers agree."""

from __future__ import annotations

from typing import Any

from factory.manifest import asks_model, trained
from factory.progress import clock
from factory.reporting.gather.run import Run
from factory.reporting.markup import Markup, details, paragraph, table, text
from factory.reporting.panels import Panel

TITLE = "Summary"
ORDER = 10


def build(run: Run) -> Panel:
    """Always there."""
    manifest = run.manifest
    kept, rejected = run.rows
    tokens = manifest["tokens"]
    facts: list[tuple[str, object]] = [
        ("status", manifest["status"]),
        ("rows kept", kept),
        ("rows rejected", rejected),
        *((("tokens in", tokens["prompt"]), ("tokens out", tokens["completion"])) if any(tokens.values()) else ()),
        *((("engine at work", clock(manifest["seconds"])),) if manifest["seconds"] else ()),
        ("seed", manifest["seed"]),
    ]
    tiles = "".join(f"<div><dt>{text(name)}</dt><dd>{_value(name, value)}</dd></div>" for name, value in facts)
    parts = [
        paragraph(manifest["message"], kind="soft") if manifest["message"] else "",
        f'<dl class="tiles">{tiles}</dl>',
        paragraph(_models(manifest)),
        _agreement(run),
        paragraph(run.sampled, kind="soft"),
        details("Versions and files", _versions(manifest)),
    ]
    data = {"kept": kept, "rejected": rejected, "disagreements": list(run.disagreements), "share": run.share}
    return Panel("".join(parts), data)


def _value(name: str, value: object) -> str:
    return str(value) if name == "seed" else text(value)


def _models(manifest: dict[str, Any]) -> str:
    told = [f"Written by {manifest['model']}" + (f" ({manifest['engine']})" if manifest["engine"] else "") + "."]
    if not asks_model(manifest):
        told = []
    return " ".join([*told, *(f"Drawn from {model}.".replace("`", "") for model in trained(manifest))])


def _agreement(run: Run) -> str:
    if run.disagreements:
        items = "".join(f"<li>{text(each)}</li>" for each in run.disagreements)
        return (
            '<div class="banner" role="alert"><strong>Manifest and files disagree.</strong> Run the recipe into the same '
            f"directory again: the journal makes the files anew.<ul>{items}</ul></div>"
        )
    if not run.finished:
        return paragraph(
            f"The run has not ended ({run.manifest['status']}). Counts of steps are as far as it has come; rows are those of "
            "data/ and rejected/, which an earlier run may have written.",
            kind="note",
        )
    (kept, rejected), reasons = run.rows, len(run.rejections.by_reason)
    return paragraph(
        f"Checked: the manifest and the Parquet files agree on all counts ({kept:,} kept {'row' if kept == 1 else 'rows'}, "
        f"{rejected:,} rejected, {reasons:,} {'reason' if reasons == 1 else 'reasons'}).",
        kind="soft",
    )


def _versions(manifest: dict[str, Any]) -> str:
    rows = [("fingerprint of the recipe", manifest["fingerprint"])]
    rows += [(f"version of {name}", version) for name, version in manifest["versions"].items()]
    rows += [(f"prompt {name}", told) for name, told in manifest["prompts"].items()]
    rows += [(f"file {name}", told) for name, told in manifest["files"].items()]
    told = [(name, Markup(f"<code>{text(value)}</code>")) for name, value in rows]
    return table(("what", "version or hash"), told, "Versions, and hashes of prompts and files", sort=False)
