"""Instances of one instruction: classification task or not, then output first or input first.

Self-Instruct (arXiv 2212.10560), section 2.2, steps 2 and 3. For a classification task the label comes
first and then an input that has it, which keeps a model from giving one label to everything.
"""

from __future__ import annotations

from collections.abc import Sequence

from factory.context import Answer, Context
from factory.draws import Candidates
from factory.engines.protocol import Constraint
from factory.errors import UserError
from factory.methods.self_instruct.options import Options, prompt_names
from factory.methods.self_instruct.parse import (
    Instance,
    parse_answer,
    parse_input_first,
    parse_output_first,
    parse_verdict,
)
from factory.methods.self_instruct.pool import places
from factory.methods.self_instruct.rules import judge_instances
from factory.prompts import Prompt, shipped_prompt
from factory.recipe.schema import SamplingOptions
from factory.records import Outcome, Record, reject

CLASSIFICATION_YES, CLASSIFICATION_NO = 12, 19
INPUT_FIRST, OUTPUT_FIRST = 11, 16
SMALL = 2


class InstanceMaker:
    """Asks for instances, with demonstrations that are the same in every request (shared prefixes)."""

    def __init__(self, ctx: Context, options: Options, seeds: Sequence[Record]) -> None:
        """Choose the demonstrations from the seeds.

        Raises:
            UserError: If the prompts for small models lack demonstrations.
        """
        self._ctx = ctx
        self._options = options
        self._prompts: dict[str, Prompt] = {
            stage: shipped_prompt(name) for stage, name in prompt_names(options.small_model).items()
        }
        yes = _fixed([seed for seed in seeds if seed.fields["is_classification"]], "classification tasks")
        no = _fixed([seed for seed in seeds if not seed.fields["is_classification"]], "other tasks")
        small = options.small_model
        if small and min(len(yes), len(no)) < SMALL:
            raise UserError(
                f"self_instruct: small_model shows {SMALL} classification tasks and {SMALL} others; the seed tasks have "
                f"{len(yes)} and {len(no)}. Add seed tasks, or set small_model to false."
            )
        self._verdicts = _interleave(
            yes[: SMALL if small else CLASSIFICATION_YES], no[: SMALL if small else CLASSIFICATION_NO]
        )
        self._input_first = [seed.fields for seed in no[: SMALL if small else INPUT_FIRST]]
        self._output_first = [seed.fields for seed in yes[: SMALL if small else OUTPUT_FIRST]]

    async def make(self, task: Record) -> list[Outcome]:
        """Instances of an accepted instruction, and whatever was turned away, in order."""
        verdict = await self._ask("classification", task, self._verdicts, Constraint(choice=("Yes", "No")))
        is_classification = parse_verdict(verdict.text)
        stage, demonstrations = (
            ("output_first", self._output_first) if is_classification else ("input_first", self._input_first)
        )
        answer = await self._ask(stage, task, demonstrations, None)
        return self._outcomes(task, is_classification, verdict, answer, self._parse(stage, answer))

    def size(self, stage: str, instruction: str) -> tuple[int, int]:
        """Characters of such a prompt for that instruction, and the most tokens of its answer."""
        shown = {"classification": self._verdicts, "output_first": self._output_first, "input_first": self._input_first}
        values = {"demonstrations": shown[stage], "instruction": instruction}
        rendered = self._prompts[stage].render(values, chat=self._ctx.session.chat)
        chars = len(rendered.text or "") + sum(len(message.content) for message in rendered.messages)
        return chars, self._sampling(stage).max_tokens

    def _sampling(self, stage: str) -> SamplingOptions:
        return self._options.classification if stage == "classification" else self._options.instance_sampling()

    def _parse(self, stage: str, answer: Answer) -> list[Instance]:
        chat = self._ctx.session.chat
        if stage == "input_first" and self._options.small_model:
            return parse_answer(answer.text, cut=answer.cut, chat=chat)
        parse = parse_input_first if stage == "input_first" else parse_output_first
        return parse(self._prompts[stage].opening(chat=chat) + answer.text, cut=answer.cut)

    async def _ask(self, stage: str, task: Record, demonstrations: object, constraint: Constraint | None) -> Answer:
        return await self._ctx.complete(
            self._prompts[stage],
            {"demonstrations": demonstrations, "instruction": task.fields["instruction"]},
            draw=task.id,
            sampling=self._sampling(stage).resolved(),
            constraint=constraint if self._options.small_model else None,
            stage=stage,
            priority=-1,
        )

    def _outcomes(
        self, task: Record, is_classification: bool, verdict: Answer, answer: Answer, instances: list[Instance]
    ) -> list[Outcome]:
        rows = []
        for ordinal, instance in enumerate(instances):
            fields = {
                "instruction": task.fields["instruction"],
                "input": instance.input,
                "output": instance.output,
                "is_classification": is_classification,
                "instruction_id": task.id,
            }
            rows.append(self._ctx.derive(answer, ordinal, fields, parents=(task.id,), also=(verdict.key,)))
        return judged(task, rows, instances, self._options.max_instances, answer)


def judged(
    task: Record, rows: Sequence[Record], instances: Sequence[Instance], most: int, answer: Answer
) -> list[Outcome]:
    """Rows with the instance filters applied; an instruction without any left is itself rejected."""
    outcomes: list[Outcome] = []
    reasons = judge_instances(instances)
    kept = [index for index, reason in enumerate(reasons) if reason is None]
    chosen = {kept[index] for index in Candidates(rows[index].id for index in kept).draw(task.id, most)}
    for index, (row, reason) in enumerate(zip(rows, reasons, strict=True)):
        if reason is not None:
            outcomes.append(reject(row, "parse" if instances[index].problem else "instance", reason))
        elif index in chosen:
            outcomes.append(row)
        else:
            outcomes.append(reject(row, "instance", "over_max_instances", score=len(kept), threshold=most))
    if not chosen:
        evidence = f"answer{' (cut off)' if answer.cut else ''}: {answer.text[:500]}"
        outcomes.append(reject(task, "instance", "no_instance", evidence=evidence))
    return outcomes


def _fixed(seeds: list[Record], name: str) -> list[Record]:
    """Seeds in an order that depends on nothing but themselves."""
    return [seeds[index] for index in Candidates(places(seeds)).draw(name, len(seeds))]


def _interleave(yes: list[Record], no: list[Record]) -> list[dict[str, object]]:
    """Both kinds mixed, so that the last few demonstrations do not suggest one answer."""
    mixed = [*yes, *no]
    order = Candidates(places(mixed)).draw("mixed", len(mixed))
    return [mixed[index].fields for index in order]
