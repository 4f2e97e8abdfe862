"""`factory evaluate` where real texts may not be shown: sets of synthetic texts on a public test set.

    evaluate_public(["runs/eps8", "runs/inf", "runs/zero"], "tickets_test.csv")
    -> PublicEvaluation(sources=(PublicLine("eps8", claims=(Claim(epsilon=7.99, …),), equal=Utility(0.71 …), …), …), …)

Nothing of it is learnt from private texts but what a run has learnt itself: where that is differentially private, the figures
are. With `private`, the private texts are read as well, for diagnostics that belong in no card, report or push; the same holds
for figures of a run whose rows are not protected (epsilon = inf). `check_private_out` keeps them out of runs and datasets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from factory.claims import claims_of
from factory.errors import RunDirError, UserError
from factory.evaluating import check_out, check_sources
from factory.evaluation.bootstrap import RESAMPLES
from factory.evaluation.downstream import DRAWS
from factory.evaluation.private import Diagnostics, diagnose
from factory.evaluation.public import PublicEvaluation, compare_public, equal_size
from factory.evaluation.texts import Text
from factory.privacy.claim import Claim
from factory.rundir import JOURNAL, MANIFEST
from factory.text_sets import (
    Labelled,
    read_private,
    read_real,
    read_sets,
    real_columns,
    settings_of,
    source_names,
    unprotected,
)

STEP: Final = "step"
PUBLISHED: Final = ("*.parquet", "data/*.parquet", "train.jsonl", "dataset_info.json")
"""What a folder that is published as a dataset has in it."""


def evaluate_public(
    sources: Sequence[str | Path],
    test: Labelled,
    *,
    private: Labelled | None = None,
    text: str = "text",
    label: str | None = None,
    by: str | None = None,
    values: Mapping[str, str] | None = None,
    real_text: str | None = None,
    real_label: str | None = None,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
) -> PublicEvaluation:
    """Measure synthetic texts on public ones.

    Args:
        sources: Run directories and files of rows.
        test: Public texts that nothing was trained on; a file, or a mapping as of `LabelledSource`, also as YAML.
        private: Private texts for diagnostics, named in the same ways.
        text: Column of the text.
        label: Column of the class; `label` by default, where there is one.
        by: Column whose values are compared, or entry of the provenance: `step` tells the steps of a run apart.
        values: Class for values of the columns of classes; others are classes themselves.
        real_text: Column of the text in `test` and `private`, if it is another.
        real_label: Column of their class, if it is another.
        draws: Samples that a classifier is trained on.
        resamples: Of each bootstrap.

    Raises:
        UserError: If texts cannot be read, are too few, or are private where public ones are expected.
    """
    check_sources(sources, draws, resamples)
    columns = real_columns(real_text or text, real_label or label, values)
    notes: list[str] = []
    tested = read_real(columns | settings_of(test, "--test"), "--test", notes)
    sets = read_sets(sources, text, label, by, values or {}, notes)
    claims = _claims(sources, by, sets)
    notes += unprotected(sources)
    found = compare_public(sets, tested, claims, draws=draws, resamples=resamples)
    found = msgspec.structs.replace(found, notes=(*notes, *found.notes))
    if private is None:
        return found
    settings = columns | settings_of(private, "--private")
    told = _diagnostics(settings, test, sets, tested, draws=draws, resamples=resamples)
    return msgspec.structs.replace(found, private=told)


def _diagnostics(
    settings: dict[str, Any],
    test: Labelled,
    sets: Mapping[str, Sequence[Text]],
    tested: Sequence[Text],
    *,
    draws: int,
    resamples: int,
) -> Diagnostics:
    """What the private texts say; also how many of them could not be read is theirs alone."""
    notes: list[str] = []
    private = read_private(settings, "--private", notes)
    if Path(settings["path"]).resolve() == Path(settings_of(test, "--test")["path"]).resolve():
        raise UserError("--private: expected another file than --test, whose texts are public.")
    found = diagnose(sets, tested, private, size=equal_size(sets), draws=draws, resamples=resamples)
    return msgspec.structs.replace(found, notes=(*notes, *found.notes))


# --- what runs claim ----------------------------------------------------------------------------------


def _claims_of(source: Path) -> list[Claim]:
    """What a run claims of its privacy; nothing where a source is no run, or makes no claim.

    Raises:
        RunDirError: If the claim cannot be read.
    """
    try:
        return claims_of(json.loads((source / MANIFEST).read_bytes()))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return []  # it is no run directory, or one that is reported when its rows are read
    except (msgspec.ValidationError, AttributeError) as error:
        raise RunDirError(f"{source / MANIFEST}: its claim of privacy cannot be read: {error}.") from error


def _claims(
    sources: Sequence[str | Path], by: str | None, sets: Mapping[str, Sequence[Text]]
) -> dict[str, list[Claim]]:
    """Claims by the name of a set: those of its run, of the step alone where sets are steps."""
    found: dict[str, list[Claim]] = {}
    for source, path in source_names(sources).items():
        prefix = f"{source}: " if by is not None and len(sources) > 1 else ""
        claims = _claims_of(path)
        for name in sets:
            if by == STEP:
                of_set = [claim for claim in claims if name == prefix + claim.step]
            else:
                of_set = claims if name == source or (by is not None and name.startswith(prefix)) else []
            if of_set:
                found[name] = of_set
    return found


# --- what is private stays out of runs and datasets ---------------------------------------------------


def check_private_out(path: str | Path, sources: Sequence[str | Path]) -> None:
    """Make sure that private figures are written where nothing is published from.

    Raises:
        RunDirError: If there is a run or a dataset, a source among them, or something else lies there.
    """
    path = Path(path)
    check_out(path)
    folder = path.resolve().parent
    among = {each if each.is_dir() else each.parent for each in (Path(source).resolve() for source in sources)}
    runs = [each for each in (folder, *folder.parents) if (each / MANIFEST).exists() or (each / JOURNAL).exists()]
    if runs or folder in among or any(next(folder.glob(name), None) for name in PUBLISHED):
        what = f"the run directory {runs[0]}" if runs else "a folder with a dataset in it"
        raise RunDirError(
            f"{path}: the figures are private and would lie in {what}, which may be published; choose another folder."
        )
