"""Another threshold: how many rows it would keep, and which stand at the border.

A rule that measures has left a score with each row that it turned away. What it had measured of the rows that it kept is
known where it is a column (`judge`, `discriminator`, `deita`) or can be measured again (`rescoring`); elsewhere only
a looser threshold can be counted, and `Rule.note` says so. Counts are those of this rule alone: what it lets in may be
turned away later, and where rows are compared with each other, one more or less changes the verdicts on others.
`factory refilter` gives the exact result.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.viewing.batches import KEPT, Reason
from factory.viewing.index import Columns, Floats, Ints

BINS = 40
BORDER_ROWS = 6
MOST_THRESHOLDS = 4
_AT_MOST = {"too_long", "above_maximum", "too_similar"}
_WHOLE = ("length.", "min_matches")  # options that take whole numbers
_MINIMUM = {"judge": ("below_minimum", "minimum"), "deita": ("below_minimum", "minimum")}


@dataclass(frozen=True)
class Rule:
    """A rule of a step that compares a score with a threshold.

    Attributes:
        key: Names it in a request; a number.
        step: The step.
        method: What the step runs.
        rule: The rule.
        reason: Its reason.
        threshold: What the run has used; of several, the one in the middle.
        varied: Whether rows were compared with different thresholds, as with one for each class.
        at_most: Whether scores up to the threshold are kept, or those from it on.
        at_equal: Whether a score that equals the threshold is kept.
        column: Column that holds the scores of kept rows; empty where none does.
        field: Column that is measured again for rows that were kept; empty where that cannot be.
        setting: Option that `factory refilter --set` changes; empty where it cannot.
    """

    key: str
    step: str
    method: str
    rule: str
    reason: str
    threshold: float
    varied: bool
    at_most: bool
    at_equal: bool
    column: str = ""
    field: str = ""
    setting: str = ""

    def passes(self, scores: Floats, at: float) -> npt.NDArray[np.bool_]:
        """Which scores a threshold would keep: [scores]."""
        if self.at_most:
            return scores <= at if self.at_equal else scores < at
        return scores >= at if self.at_equal else scores > at


def rules(columns: Columns, manifest: dict[str, Any]) -> list[Rule]:
    """Every rule of the run that has turned rows away by a score, and the novelty tests that have not."""
    groups: dict[tuple[str, str, str], list[tuple[int, Reason]]] = {}
    for code, reason in enumerate(columns.reason_names):
        if reason[3] is not None:
            groups.setdefault(reason[:3], []).append((code, reason))
    steps = _steps(manifest)
    found = []
    for named, members in groups.items():
        separate = [[member] for member in members] if len(members) <= MOST_THRESHOLDS else [members]
        for one in separate:
            codes = [code for code, _ in one]
            rule = _rule(columns, named, codes, [float(reason[3] or 0.0) for _, reason in one])
            if rule is not None:
                found.append(_with_recipe(rule, steps.get(named[0], ("", {})), columns))
    told = {(rule.step, rule.rule) for rule in found}
    return found + [rule for rule in _unused(steps) if (rule.step, rule.rule) not in told]


def _unused(steps: dict[str, tuple[str, dict[str, Any]]]) -> list[Rule]:
    """Novelty thresholds that have turned nothing away: what a tighter one would do can be measured all the same."""
    found = []
    for place, (step, (method, options)) in enumerate(steps.items()):
        limit = options.get("threshold")
        if method in ("rouge_l", "self_instruct") and isinstance(limit, int | float):
            setting = "threshold" if method == "rouge_l" else ""
            field = options.get("field", "instruction")
            named = (f"step-{place}", step, method, "rouge_l", "too_similar", float(limit))
            found.append(Rule(*named, varied=False, at_most=True, at_equal=True, field=field, setting=setting))
    return found


def codes_of(columns: Columns, rule: Rule) -> list[int]:
    """Codes of a rule's verdicts."""
    if rule.varied:
        return [code for code, one in enumerate(columns.reason_names) if one[:3] == (rule.step, rule.rule, rule.reason)]
    wanted = (rule.step, rule.rule, rule.reason, rule.threshold)
    return [code for code, one in enumerate(columns.reason_names) if one == wanted]


def _rule(columns: Columns, named: tuple[str, str, str], codes: list[int], limits: list[float]) -> Rule | None:
    rows = np.flatnonzero(np.isin(columns.reasons, codes))
    scores = columns.scores[rows]
    rows, scores = rows[~np.isnan(scores)], scores[~np.isnan(scores)]
    if not len(rows):
        return None
    by_code = dict(zip(codes, limits, strict=True))
    own = np.array([by_code[int(code)] for code in columns.reasons[rows]])
    at_most = named[2] in _AT_MOST or float(np.mean(scores >= own)) > 0.5
    return Rule(
        key=str(codes[0]),
        step=named[0],
        method="",
        rule=named[1],
        reason=named[2],
        threshold=float(np.median(own)) if len(codes) > 1 else limits[0],
        varied=len(codes) > 1,
        at_most=at_most,
        at_equal=not bool(np.any(scores == own)),
    )


def _steps(manifest: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Method and options of every step, by its name."""
    written = manifest["recipe"]["steps"]
    pairs = zip(manifest["steps"], written, strict=False)
    return {told["step"]: (told["method"], next(iter(given.values())) or {}) for told, given in pairs}


def _with_recipe(rule: Rule, step: tuple[str, dict[str, Any]], columns: Columns) -> Rule:
    """What the recipe tells of a rule: the column of its scores, and the option to change."""
    method, options = step
    rule = replace(rule, method=method)
    if method in ("judge", "discriminator") and rule.rule == method:
        setting = {"below_minimum": "minimum", "above_maximum": "maximum"}.get(rule.reason, "")
        setting = "keep.probability" if (options.get("keep") or {}).get("probability") is not None else setting
        return replace(rule, column=_known(options.get("column"), columns), setting=setting)
    if method == "deita" and rule.rule == method:
        limits = {name: limit for name, limit in (options.get("minimum") or {}).items() if limit == rule.threshold}
        name = next(iter(limits), "") if len(limits) == 1 else ""
        return replace(rule, column=_known(name, columns), setting="")
    if rule.rule == "rouge_l":
        field, setting = options.get("field", "instruction"), "threshold" if method == "rouge_l" else ""
        return replace(rule, field=field, setting=setting)
    if rule.reason in ("too_short", "too_long") and rule.rule in ("quality", "instruction"):
        field = options.get("field", "output") if rule.rule == "quality" else "instruction"
        return replace(rule, field=field, setting=_length_setting(rule, options))
    if method == "decontaminate":
        setting = "min_share" if options.get("min_share") else "min_matches"
        return replace(rule, setting=setting, at_most=True, at_equal=False)
    return replace(rule, setting="threshold" if method in ("embedding", "minhash") else "")


def _length_setting(rule: Rule, options: dict[str, Any]) -> str:
    """Which limit of the length a verdict speaks of."""
    limits = (options.get("length") or {}) if rule.rule == "quality" else {}
    prefix = "min" if rule.reason == "too_short" else "max"
    for unit in ("words", "chars"):
        if limits.get(f"{prefix}_{unit}") == rule.threshold:
            return f"length.{prefix}_{unit}"
    return ""


def _known(column: Any, columns: Columns) -> str:
    return column if isinstance(column, str) and column in columns.measures else ""


# --- what a threshold comes to ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """Everything that is known of a rule's scores.

    Attributes:
        rejected: Rows that it turned away.
        rejected_scores: Their scores.
        kept: Rows that it kept.
        kept_scores: Their scores; both are empty where they are not known.
        known: Whether the scores of kept rows are known.
        note: Where they come from, or why they are not known.
        working: Whether they are being computed.
    """

    rejected: Ints
    rejected_scores: Floats
    kept: Ints
    kept_scores: Floats
    known: bool
    note: str
    working: bool = False


def stored(columns: Columns, rule: Rule) -> Scores:
    """Scores that the run has left."""
    rows = np.flatnonzero(np.isin(columns.reasons, codes_of(columns, rule)) & ~np.isnan(columns.scores))
    none = (np.zeros(0, np.int64), np.zeros(0))
    if not rule.column:
        note = "The rows that this rule kept have no score, so only a looser threshold can be counted."
        return Scores(rows, columns.scores[rows], *none, False, note)
    numbers = columns.measures[rule.column]
    kept = np.flatnonzero((columns.states == KEPT) & ~np.isnan(numbers))
    return Scores(rows, columns.scores[rows], kept, numbers[kept], True, f"Scores of kept rows: column {rule.column}.")


def what_if(rule: Rule, scores: Scores, at: float) -> dict[str, Any]:
    """Counts, and the rows at the border, at another threshold.

    Returns:
        `kept`, `rejected`: rows on either side, of those whose score is known; `entering`: rejected rows that would
        pass; `leaving`: kept rows that would not, None where their scores are not known; `above` and `below`: rows
        next to the threshold, nearest first.
    """
    passing, staying = rule.passes(scores.rejected_scores, at), rule.passes(scores.kept_scores, at)
    entering, leaving = int(passing.sum()), int((~staying).sum())
    rows = np.concatenate([scores.rejected, scores.kept])
    numbers = np.concatenate([scores.rejected_scores, scores.kept_scores])
    side = np.concatenate([passing, staying])
    return {
        "at": at,
        "kept": int(side.sum()),
        "rejected": int((~side).sum()),
        "entering": entering,
        "leaving": leaving if scores.known else None,
        "passing": _nearest(rows[side], numbers[side], at),
        "failing": _nearest(rows[~side], numbers[~side], at),
    }


def _nearest(rows: Ints, scores: Floats, at: float) -> list[tuple[int, float]]:
    order = np.argsort(np.abs(scores - at), kind="stable")[:BORDER_ROWS]
    return [(int(rows[place]), float(scores[place])) for place in order]


def histogram(rule: Rule, scores: Scores) -> dict[str, Any]:
    """Both sides' scores in bins of one width, and the range of the slider."""
    numbers = np.concatenate([scores.rejected_scores, scores.kept_scores, [rule.threshold]])
    low, high = float(numbers.min()), float(numbers.max())
    whole = bool(np.all(numbers == np.round(numbers)))
    if whole:
        low, high = low - 0.5, high + 0.5
        bins = int(min(BINS, high - low))
    else:
        margin = (high - low or abs(high) or 1.0) * 0.02
        low, high, bins = low - margin, high + margin, BINS
    edges = np.linspace(low, high, bins + 1)
    kept, _ = np.histogram(scores.kept_scores, edges)
    rejected, _ = np.histogram(scores.rejected_scores, edges)
    return {"edges": edges.tolist(), "kept": kept.tolist(), "rejected": rejected.tolist(), "whole": whole}


def command(rule: Rule, folder: str, at: float) -> str:
    """The command that gives the exact result; empty where there is none."""
    if not rule.setting or rule.varied:
        return ""
    if rule.setting.startswith(_WHOLE):
        at = math.floor(at) if rule.at_most == rule.at_equal else math.ceil(at)
    value = np.format_float_positional(at, trim="-")  # every digit: a row may stand exactly at the threshold
    safe = folder if re.fullmatch(r"[\w./-]+", folder) else "'" + folder.replace("'", "'\\''") + "'"
    return f"factory refilter {safe} --out NEW --set {rule.step}.{rule.setting}={value}"


def counted(columns: Columns) -> dict[str, Any]:
    """Rows by state, step and reason."""
    states = Counter({code: int(count) for code, count in enumerate(np.bincount(columns.states, minlength=4))})
    steps: Counter[str] = Counter()
    for code, count in enumerate(np.bincount(columns.steps, minlength=len(columns.step_names))):
        steps[columns.step_names[code]] += int(count)
    reasons: Counter[str] = Counter()
    for code, count in enumerate(np.bincount(columns.reasons[columns.reasons >= 0], minlength=1)):
        if count:
            reasons["{1}: {2}".format(*columns.reason_names[code])] += int(count)
    return {"states": [states[code] for code in range(4)], "steps": dict(steps), "reasons": dict(reasons.most_common())}
