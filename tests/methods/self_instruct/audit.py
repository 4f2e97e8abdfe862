"""What a run should have come to, worked out from its journal by the reference, request by request."""

from __future__ import annotations

from typing import Any

from factory.records import derive_seed

from . import reference, runs

Row = tuple[str, str, str]  # instruction, input, output
Turned = tuple[str, str | None, str | None, str]  # instruction, input, output, reason


class Audit:
    """Goes through the answers in request order until enough instructions have instances."""

    def __init__(self, run: runs.Run, *, wanted: int, chat: bool, small: bool = False, one_call: bool = False) -> None:
        self.journal = run.journal()
        self.ids = {row["fields"].get("instruction"): name for name, row in run.lineage.items()}
        self.chat, self.small, self.one_call = chat, small, one_call
        self.pool = reference.Novelty([seed["instruction"] for seed in runs.shipped_seeds()])
        self.kept: list[Row] = []
        self.turned: list[Turned] = []
        self.scores: dict[str, tuple[float, list[str]]] = {}
        self.accepted = 0
        number = 0
        while self.accepted < wanted:
            self._answer(number, wanted)
            number += 1

    def _answer(self, number: int, wanted: int) -> None:
        _, completion = self.journal["instructions", derive_seed(runs.SEED, runs.STEP, str(number), 0)]
        cut = completion.finish_reason == "length"
        extra: dict[int, tuple[str, str | None]] = {}
        if self.one_call:
            blocks = reference.blocks(completion.text, cut)
            found: list[reference.Found] = [(text, problem) for text, problem, _, _ in blocks]
            extra = {index: (given, output) for index, (_, _, given, output) in enumerate(blocks)}
        else:
            found = reference.instructions(completion.text, cut, self.small or not self.chat)
        words = reference.ONE_CALL_WORDS if self.one_call else reference.WORDS
        for index, (text, problem) in enumerate(found or [("", "empty_answer")]):
            if self.accepted == wanted:
                return
            reason = problem or reference.instruction_reason(text, words)
            if reason is None:
                self.scores[text] = self.pool.best(text)
                reason = "too_similar" if self.scores[text][0] > 0.7 else None
            if reason is None:
                self.pool.add(text)
                self._instances(text, extra.get(index))
            else:
                self.turned.append((text, None, None, reason))

    def _instances(self, text: str, given: tuple[str, str | None] | None) -> None:
        pairs = [(given[0], given[1] or "", None)] if given is not None else self._asked_for(text)
        reasons = reference.instance_reasons(pairs)
        kept = [pair for pair, reason in zip(pairs, reasons, strict=True) if reason is None]
        for pair, reason in zip(pairs, reasons, strict=True):
            if reason is not None:
                self.turned.append((text, *pair[:2], reason))
            elif len(kept) <= 5:
                self.kept.append((text, *pair[:2]))
            else:  # any five of them may have been drawn
                self.kept.append((text, *pair[:2]))
                self.turned.append((text, *pair[:2], "over_max_instances"))
        self.accepted += bool(kept)
        if not kept:
            self.turned.append((text, None, None, "no_instance"))

    def _asked_for(self, text: str) -> list[reference.Pair]:
        seed = derive_seed(runs.SEED, runs.STEP, self.ids[text], 0)
        verdict = reference.is_classification(self.journal["classification", seed][1].text)
        stage = "output_first" if verdict else "input_first"
        request, completion = self.journal[stage, seed]
        cut = completion.finish_reason == "length"
        if self.small and not verdict:
            return [reference.direct(completion.text, cut, self.chat)]
        opened = "Class label:" if verdict and not self.chat else ""
        return (reference.output_first if verdict else reference.input_first)(opened + completion.text, cut)

    def differences(self, run: runs.Run) -> list[str]:
        """Where the run differs from what it should be; beyond the end it may file what it had made."""
        data = [(row["instruction"], row["input"], row["output"]) for row in run.data]
        turned = [
            (row["fields"]["instruction"], row["fields"].get("input"), row["fields"].get("output"), row["reason"])
            for row in run.rejected
        ]
        left_out = {entry[:3] for entry in turned if entry[3] == "over_max_instances"}
        expected = [row for row in self.kept if row not in left_out]
        planned = [entry for entry in self.turned if entry[3] != "over_max_instances" or entry[:3] in left_out]
        found = []
        found += _compare("kept", data, expected)
        found += _compare("rejected", turned[: len(planned)], planned)
        found += [f"surplus before the end: {entry}" for entry in turned[: len(planned)] if entry[3] == "surplus"]
        return found


def _compare(name: str, found: list[Any], expected: list[Any]) -> list[str]:
    differences = [f"{name}: {one} instead of {two}" for one, two in zip(found, expected, strict=False) if one != two]
    if len(found) != len(expected):
        differences.append(f"{name}: {len(found)} instead of {len(expected)}")
    return differences
