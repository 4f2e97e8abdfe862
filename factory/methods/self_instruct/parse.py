r"""From a model's answer to instructions and instances (Self-Instruct, arXiv 2212.10560, section 2.2).

    parse_instructions(" Name a river.\n10. Add 2 and 3.")
    -> [Item("Name a river."), Item("Add 2 and 3.")]

Deviations from the released code, each one a bug there: an answer that was cut loses its last item, not
all; case inside a word is left alone ("NASA"); an item is split off only at a number at the beginning of
a line. A blank line ends an item, as the paper's stop string does. What was cut off or has no output is
handed on with its problem, so that it can be filed as rejected.

Chat models wrap what they are asked for: sentences before and after the list, emphasised numbers and
markers, headings, a fence around it all are recognised. A marker inside a fenced piece of code is none.
"""

from __future__ import annotations

import re

import msgspec


def _marker(name: str) -> re.Pattern[str]:
    """`Name:` at the beginning of a line, in any of the typographies that chat models use."""
    return re.compile(rf"(?m)^[ \t]*(?:#{{1,6}}[ ]*)?\**{name}\**[ ]?:\**[ \t]*")


_NUMBER = re.compile(r"(?m)^[ \t]*(?:#{1,6}[ ]+)?(?:\*\*)?(?:Task[ ])?\d{1,3}[ ]?[.):](?:\*\*)?(?:[ \t]+|$)")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_BOLD_START = re.compile(r"^\*\*(.+?)\*\*")
_EXAMPLE = re.compile(r"(?m)^[ \t]*(?:#{1,6}[ ]*)?\**Example[ ]?#?\d{1,3}\**[ ]?[.:]?\**[ \t]*$")
_LINE_EXAMPLE = re.compile(r"(?m)^[ \t]*(?:#{1,6}[ ]*)?\**Example[ ]?#?\d{1,3}\**[ ]?(?:[.:]\**[ \t]*|[ \t]*$)")
_OUTPUT = _marker(r"Output(?:[ ]?\d{1,2})?")
_INPUT = _marker(r"Input(?:[ ]?\d{1,2})?")
_LABEL = _marker(r"Class [Ll]abel(?:[ ]?\d{1,2})?")
_NEXT_TASK = _marker("Task")
_FENCED = re.compile(r"(?ms)(?<!\S)```[^\n`]*\n(?P<inside>.*?)^[ \t]*```[ \t]*$")
_BLOCK = re.compile(r"(?m)^[ \t]*#{2,}[ \t]*$")
_FIELD = re.compile(r"(?m)^[ \t]*(?:\d{1,3}[ ]?\.[ ]*)?\**(Instruction|Input|Output)\**[ ]?:\**[ \t]*")
_QUOTES = {'"': '"', "“": "”"}
_SHOWN_CHARS = 500


class Item(msgspec.Struct, frozen=True):
    """One candidate read from an answer; `problem` is set where it is none.

    Attributes:
        text: The instruction.
        problem: Reason why it cannot be one: `cut_off`, `preamble`, `no_list`, `malformed` or `empty_answer`.
        input: The instance's input (one-call variant only).
        output: The instance's output; None where the method asks for it later.
    """

    text: str
    problem: str | None = None
    input: str = ""
    output: str | None = None


class Instance(msgspec.Struct, frozen=True):
    """One input (may be empty) and its output; `problem` is `cut_off` or `no_output` where it is none."""

    input: str
    output: str
    problem: str | None = None


def parse_instructions(text: str, *, cut: bool = False, opened: bool = True) -> list[Item]:
    """Read a numbered list.

    Args:
        text: The answer.
        cut: Whether the answer ended at `max_tokens`; its last item is then incomplete.
        opened: Whether the prompt ended with a number, so that the answer begins inside the first item.

    Returns:
        Items in order; what stands before the first number is an instruction only if the prompt had opened one.
    """
    marks = list(_NUMBER.finditer(text))
    head = text[: marks[0].start()] if marks else text
    items = []
    if head.strip():
        problem = None if opened else "preamble" if marks else "no_list"
        items.append(Item(clean(_first_paragraph(head)) if opened else clean(head)[:_SHOWN_CHARS], problem))
    for mark, following in zip(marks, [*marks[1:], None], strict=False):
        body = _first_paragraph(text[mark.end() : following.start() if following else None])
        bold_is_open = mark.group().count("**") == 1
        items.append(Item(clean(f"**{body}" if bold_is_open else body)))
    if cut and items:
        items[-1] = Item(items[-1].text, "cut_off")
    return items


def _first_paragraph(text: str) -> str:
    """What the paper's stop string, a blank line, would have left: models like to add a closing remark."""
    return _BLANK_LINE.split(text.strip(), maxsplit=1)[0]


def clean(text: str) -> str:
    """Collapse white space; drop emphasis at the beginning, quotes around it all and final colons; capitalise."""
    text = " ".join(text.split()).rstrip(": ")
    text = _BOLD_START.sub(r"\1", text).strip()
    if len(text) > 2 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    text = text.rstrip(": ")
    return text[:1].upper() + text[1:]


def parse_verdict(text: str) -> bool:
    """Whether an answer says that a task is a classification task: yes only if its first word is yes."""
    word = re.match(r"[\s*\"'`(]*([A-Za-z]+)", text)
    return word is not None and word.group(1).lower() == "yes"


def parse_input_first(text: str, *, cut: bool = False) -> list[Instance]:
    """Read `Input: …` and `Output: …` pairs, one to an example.

    An answer without examples and without `Output:` holds none.
    """
    text, cut = _own_part(text, cut, _OUTPUT)
    outside = _without_code(text)
    found = []
    for index, (start, end) in enumerate(_between(_headings(outside), len(text))):
        chunk, plain = text[start:end], outside[start:end]
        if _OUTPUT.search(plain) or (index and chunk.strip()):
            found.append(_pair(chunk, plain, cut and end == len(text)))
    return found


def _headings(outside: str) -> list[re.Match[str]]:
    """`Example n` headings: on lines of their own, else at the beginning of lines; an output follows the first one."""
    for pattern in (_EXAMPLE, _LINE_EXAMPLE):
        marks = list(pattern.finditer(outside))
        if marks and _OUTPUT.search(outside[marks[0].end() :]):
            return marks
    return []


def _pair(chunk: str, outside: str, cut: bool) -> Instance:
    """Input and output of one example; `outside` is the chunk without fenced code."""
    output = _OUTPUT.search(outside)
    if output is None:
        return Instance("", chunk.strip(), "cut_off" if cut else "no_output")
    following = _INPUT.search(outside, output.end())
    answer = chunk[output.end() : following.start() if following else None]
    return Instance(_given(chunk[: output.start()]), answer.strip(), "cut_off" if cut and following is None else None)


def _given(text: str) -> str:
    """The input without `Input:` and without an announcement before it, which is told by its colon."""
    lead = _INPUT.search(text)
    before = text[: lead.start()].rstrip("* \t\n") if lead else ""
    if lead is not None and (not before or before.endswith(":")):
        text = text[lead.end() :]
    return text.strip()


def parse_output_first(text: str, *, cut: bool = False) -> list[Instance]:
    """Read `Class label: …` lines, each followed by the input that has that label; without any there is none."""
    text, cut = _own_part(text, cut, _LABEL)
    outside = _without_code(text)
    found = []
    for start, end in _between(list(_LABEL.finditer(outside)), len(text))[1:]:
        heading = _EXAMPLE.search(outside, start, end)
        chunk = text[start : heading.start() if heading else end].strip()
        label, _, rest = chunk.partition("\n")
        if _INPUT.match(label):
            label, rest = "", chunk
        problem = "cut_off" if cut and end == len(text) and heading is None else None
        found.append(Instance(_given(rest), label.strip("* \t"), problem))
    return found


def parse_answer(text: str, *, cut: bool = False, chat: bool = True) -> list[Instance]:
    """One instance without an input: the answer to a task that was put to the model directly.

    Args:
        text: The answer.
        cut: Whether it ended at `max_tokens`.
        chat: Whether a chat model gave it; a base model goes on with a task of its own, which is left out.
    """
    if not chat:
        text, cut = _own_part(text, cut, _OUTPUT)
    echo = _OUTPUT.match(text)
    return [Instance("", text[echo.end() if echo else 0 :].strip(), "cut_off" if cut else None)]


def _between(marks: list[re.Match[str]], end: int) -> list[tuple[int, int]]:
    """Where the pieces between the marks lie; the first one is what stands before the first mark."""
    starts = [0, *(mark.end() for mark in marks)]
    return list(zip(starts, [*(mark.start() for mark in marks), end], strict=True))


def _own_part(text: str, cut: bool, wanted: re.Pattern[str]) -> tuple[str, bool]:
    """The part of an answer that is about the task asked for, and whether it is cut.

    A fence around it all, a repeated `Task: …` line before it, and further tasks after it are left out.
    """
    fence = _FENCED.search(text)
    if fence is not None and not wanted.search(_without_code(text)) and wanted.search(fence["inside"]):
        text, cut = fence["inside"], False
    text = text.strip()
    if _NEXT_TASK.match(text):
        text = text.partition("\n")[2]
    following = _NEXT_TASK.search(_without_code(text))
    return (text, cut) if following is None else (text[: following.start()], False)


def _without_code(text: str) -> str:
    """The text with fenced code overwritten by backticks, every other character in its place."""
    return _FENCED.sub(lambda fence: "`" * len(fence.group()), text)


def parse_blocks(text: str, *, cut: bool = False) -> list[Item]:
    """Read `###` blocks of instruction, input and output (the one-call variant of Alpaca)."""
    blocks = _BLOCK.split(text)
    items: list[Item] = []
    for index, block in enumerate(blocks):
        if not block.strip():
            continue
        if cut and index == len(blocks) - 1:
            items.append(Item(clean(block)[:_SHOWN_CHARS], "cut_off"))
        else:
            items.append(_block(block, first=not items))
    return items


def _block(block: str, *, first: bool) -> Item:
    """One block; the first may have a sentence before it, or begin inside the instruction that the prompt opened."""
    parts = _FIELD.split(block)
    before, names, texts = parts[0].strip(), parts[1::2], [part.strip() for part in parts[2::2]]
    if names == ["Instruction", "Input", "Output"] and (first or not before):
        instruction, given, output = texts
    elif names == ["Input", "Output"] and first and before:
        instruction, given, output = before, *texts
    else:
        return Item(clean(block)[:_SHOWN_CHARS], "preamble" if first and not names else "malformed")
    return Item(clean(instruction), None, "" if given.lower() == "<noinput>" else given, output)
