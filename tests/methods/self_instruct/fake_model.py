"""A model made of word lists: it knows the stage by the prompt and answers by a hash of the request.

`answer(request)` is as deterministic as a real model with a seed, and as untidy: about a third of what it
proposes has to be turned away, for every reason that the method knows.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from factory.engines.protocol import Completion, Request
from factory.engines.scripted import ScriptedEngine
from factory.records import digest

STAGE_MARKS = {
    "one_call": ("Write a series of twenty varied tasks", "Twenty varied tasks for an assistant"),
    "classification": ("Say for the last task below whether it is a classification task", "Is it a classification"),
    "classification_small": ("Is this a classification task?",),
    "output_first": ("list possible class labels", "Classification tasks with their class labels"),
    "output_first_small": (
        "Give one class label, and a text that has this label.",
        "Classification tasks, each with a class",
    ),
    "input_first": ("write examples in the form of the ones above it", "Examples for tasks."),
    "instructions": ("Continue the numbered list below", "This is a varied list of tasks"),
    "instructions_small": ("Write a list of different questions and tasks", "A list of different questions and tasks"),
}


def _list(text: str) -> list[str]:
    return text.split(",")


VERBS = _list(
    "Describe,Explain,Compare,Summarise,List,Invent,Plan,Rewrite,Discuss,Outline,Improve,Judge,Predict,Design"
)
QUANTITIES = _list("two,three,five,seven,several,unusual,famous,cheap,forgotten,ancient,modern,local,seasonal")
THINGS = _list(
    "recipes,bridges,proverbs,careers,holidays,rivers,inventions,poems,bicycles,gardens,contracts,timetables,planets,"
    "medicines,novels,taxes,accents,markets,glaciers,instruments,fossils,lighthouses,puzzles,orchards,elections,"
    "volcanoes,libraries,sandwiches,algorithms,treaties,mushrooms,satellites,spices,dialects,harbours,vaccines"
)
PEOPLE = _list(
    "a nervous student,my grandmother,the town council,a retired sailor,new employees,a curious child,two neighbours,"
    "an impatient customer,a football coach,night nurses,beginners,a film critic,tourists from Peru,our landlord,"
    "a beekeeper,the school board,young parents,a chemist,long-distance drivers,a jazz singer"
)
ENDINGS = _list(
    "before the weekend,without using numbers,in the style of a letter,and give one reason each,as a short dialogue,"
    "for under twenty euros,while it rains outside,starting with the oldest,in plain words,with an honest warning,"
    "so that nobody is bored,as if it were 1950,and end with a question,in exactly four lines,ranked by risk,"
    "that fit on a postcard,from memory,using everyday examples,and say what is missing,with dates where possible"
)
FRAMES = (
    "{verb} {quantity} {thing} for {person} {ending}.",
    "What should {person} know about {quantity} {thing} {ending}?",
    "{person_cap} asks about {thing}: {verb_low} them {ending}.",
    "Which {thing} would suit {person} best, and how many {other} do they need {ending}?",
    "Turn a dull note on {thing} into something {person} enjoys {ending}.",
    "How do {quantity} {thing} differ from {other}? Answer {ending}.",
    "Suppose {person} lost all {thing}; {verb_low} the next steps {ending}.",
    "Classify the remark about {thing} by {person} as friendly or hostile {ending}.",
    "Decide whether {quantity} {thing} belong to {other} or not {ending}.",
)
REFUSALS = (
    "Say hello now.",
    "Draw a picture of {thing} for {person} {ending}.",
    "Write a program that sorts {thing} for {person} {ending}.",
    "(Optional) {verb} {quantity} {thing} for {person} {ending}.",
    "Écrivez {quantity} {thing} pour {person} {ending}.",
    "",
)


class SlowEngine(ScriptedEngine):
    """A scripted engine whose answers take their time, each one another, by `salt`."""

    def __init__(self, answer_: Any, salt: str) -> None:
        super().__init__(answer_)
        self._salt = salt

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(int(digest(self._salt, request)[:4], 16) / 0xFFFF * 0.02)
        return await super().complete(request)


def text_of(request: Request) -> str:
    return request.text if request.text is not None else "\n".join(message.content for message in request.messages)


def stage_of(request: Request) -> str:
    """Which prompt file the request was rendered from; `input_first_small` is nothing but the task."""
    text = text_of(request)
    for stage, marks in STAGE_MARKS.items():
        if any(mark in text for mark in marks):
            small_text = stage == "classification" and "Answer: " in text
            return "classification_small" if small_text else stage
    return "input_first_small"


def answer(request: Request) -> Completion:
    """The answer to any request of the method."""
    rng = random.Random(digest("fake", request))
    writers = {
        "instructions": _instructions,
        "instructions_small": lambda rng, text: f" {_instruction(rng, text)}",
        "classification": _verdict,
        "classification_small": _verdict,
        "input_first": _input_first,
        "input_first_small": lambda rng, text: _output(rng),
        "output_first": _output_first,
        "output_first_small": _output_first,
        "one_call": _blocks,
    }
    text = text_of(request)
    written = writers[stage_of(request)](rng, text)
    cut = rng.random() < 0.08
    if cut:
        written = written[: int(len(written) * rng.uniform(0.3, 0.95))]
    return Completion(
        text=written,
        finish_reason="length" if cut else "stop",
        prompt_tokens=len(text.split()),
        completion_tokens=max(1, len(written.split())),
    )


def fresh_instruction(rng: random.Random) -> str:
    person = rng.choice(PEOPLE)
    return rng.choice(FRAMES).format(**_slots(rng, person))


def _slots(rng: random.Random, person: str) -> dict[str, str]:
    verb, thing, other = rng.choice(VERBS), *rng.sample(THINGS, 2)
    return {
        "verb": verb,
        "verb_low": verb.lower(),
        "quantity": rng.choice(QUANTITIES),
        "thing": thing,
        "other": other,
        "person": person,
        "person_cap": person[:1].upper() + person[1:],
        "ending": rng.choice(ENDINGS),
    }


def _instruction(rng: random.Random, text: str) -> str:
    kind = rng.random()
    if kind < 0.72:
        return fresh_instruction(rng)
    if kind < 0.82:
        shown = [line.split(". ", 1)[1] for line in text.split("\n") if line[:1].isdigit() and ". " in line]
        return rng.choice(shown) if shown else fresh_instruction(rng)
    if kind < 0.84:
        return " ".join(fresh_instruction(rng) for _ in range(16))
    return rng.choice(REFUSALS).format(**_slots(rng, rng.choice(PEOPLE)))


def _instructions(rng: random.Random, text: str) -> str:
    items = [_instruction(rng, text) for _ in range(rng.randint(2, 5))]
    opened = text.rstrip().split("\n")[-1].rstrip(".").isdigit()
    shape = rng.choice(["{n}. {item}", "{n}) {item}", "**{n}.** {item}", "**{n}. {item}**", "### Task {n}: {item}"])
    lines = [shape.format(n=number, item=item) for number, item in enumerate(items, 9)]
    if opened:
        return " " + rng.choice(["\n", "\n\n"]).join([items[0], *lines[1:]])
    before = rng.choice(["", "", "Here are some more tasks:\n\n", "Sure!\n"])
    after = rng.choice(["", "", "\n\nLet me know if you need more."])
    return before + rng.choice(["\n", "\n\n"]).join(lines) + after


def _verdict(rng: random.Random, text: str) -> str:
    task = text.rstrip().split("\n")[-2 if "Is this a" in text or text.rstrip().endswith(":") else -1]
    return rng.choice([" Yes", "Yes.", "**Yes**"]) if "Classify" in task or "Decide" in task else "No"


def _output(rng: random.Random) -> str:
    return rng.choice(
        ["", "Here you go:", f"```\nInput: {rng.random():.3f}\n```"] + [f"{fresh_instruction(rng)} Yes"] * 9
    )


def _input_first(rng: random.Random, text: str) -> str:
    count = rng.choice([1, 1, 1, 2, 3, 7])
    if count == 1:
        given = rng.choice(["", f"Input: {rng.choice(THINGS)}, {rng.choice(THINGS)}\n", "**Input**: same\n"])
        return f"{given}Output: {_output(rng)}"
    heading = rng.choice(["Example {n}", "**Example {n}:**", "### Example {n}"])
    pairs = []
    for number in range(1, count + 1):
        given = rng.choice([f"case {number}", f"case {number}", f"case {number}", "case 1", "Done."])
        output = rng.choice([f"Result {number}", f"Result {number}", f"Result {number}", "Done.", _output(rng)])
        pairs.append(f"{heading.format(n=number)}\nInput: {given}\nOutput: {output}\n")
    return rng.choice(["", "Sure, some examples.\n"]) + "\n".join(pairs)


def _output_first(rng: random.Random, text: str) -> str:
    opened = text.rstrip().endswith("Class label:")
    labels = rng.sample(["friendly", "hostile", "neutral", "other", "unclear", "mixed"], rng.randint(1, 6))
    parts = [f"Class label: {label}\nInput: {fresh_instruction(rng)}" for label in labels]
    if rng.random() < 0.2:
        parts.append(f"Class label:\nInput: {rng.choice(THINGS)}")
    written = rng.choice(["\n", "\n\n"]).join(parts)
    return written.removeprefix("Class label:") if opened else rng.choice(["", "Of course.\n\n"]) + written


def _blocks(rng: random.Random, text: str) -> str:
    blocks = []
    for number in range(4, 4 + rng.randint(3, 6)):
        given = rng.choice(["<noinput>", "<noinput>", "<NoInput>", f"{rng.choice(THINGS)} and {rng.choice(THINGS)}"])
        output = rng.choice(["", "Such as these:"] + [fresh_instruction(rng)] * 8)
        fields = [f"{number}. Instruction: {_instruction(rng, text)}", f"{number}. Input:\n{given}"]
        fields += [] if rng.random() < 0.1 else [f"{number}. Output:\n{output}"]
        blocks.append("\n".join(fields))
    written = "\n###\n".join(blocks)
    if text.rstrip().endswith("Instruction:"):
        return written.removeprefix("4. Instruction:")
    return rng.choice(["###\n", "Here are more tasks.\n###\n", "Sure:\n"]) + written
