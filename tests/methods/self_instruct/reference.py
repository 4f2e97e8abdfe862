"""Self-Instruct's parsing and filtering, a second time: slow, line by line, as plain as can be.

Written from the description of the paper and of its released code, with these corrections: a cut answer
loses its last item only; capitals inside words stay; an item begins only at a number at the beginning of
a line and ends at a blank line; markers inside fenced code are none. `rouge_score` itself does the scoring.
"""

from __future__ import annotations

import string
import unicodedata
from dataclasses import dataclass
from typing import Any

from rouge_score import rouge_scorer, tokenize

WORDS = [
    *("image", "images", "graph", "graphs", "picture", "pictures"),
    *("file", "files", "map", "maps", "draw", "plot"),
]
ONE_CALL_WORDS = [*WORDS, "video", "audio", "music", "flowchart", "diagram"]
ASCII_PUNCTUATION = set(string.punctuation)

Found = tuple[str, str | None]  # text, problem
Pair = tuple[str, str, str | None]  # input, output, problem


# --- typography -----------------------------------------------------------------------------------------------


def skip(line: str, characters: str) -> str:
    return line.lstrip(characters)


def take_digits(line: str, most: int) -> tuple[str, str]:
    count = 0
    while count < most and count < len(line) and line[count].isdecimal():
        count += 1
    return line[:count], line[count:]


def item_start(line: str) -> tuple[str, bool] | None:
    """What follows `9. `, `9) `, `**9.** `, `### Task 9: ` …; and whether an emphasis is still open."""
    rest = skip(line, " \t")
    if rest.startswith("#"):
        hashes = len(rest) - len(skip(rest, "#"))
        if hashes > 6 or rest[hashes : hashes + 1] != " ":
            return None
        rest = skip(rest[hashes:], " ")
    opened = rest.startswith("**")
    rest = rest.removeprefix("**").removeprefix("Task ")
    digits, rest = take_digits(rest, 3)
    rest = rest.removeprefix(" ")
    if not digits or rest[:1] not in (".", ")", ":"):
        return None
    rest = rest[1:]
    closed = rest.startswith("**") and (len(rest) == 2 or rest[2] in " \t")
    if closed:
        rest = rest[2:]
    if rest and rest[0] not in " \t":
        return None
    return skip(rest, " \t"), opened != closed


def marker(line: str, names: tuple[str, ...], *, numbered: bool = True) -> str | None:
    """What follows `Output:`, `**Output 2**:`, `### Output :` … at the beginning of a line."""
    rest = skip(line, " \t")
    if rest.startswith("#"):
        hashes = len(rest) - len(skip(rest, "#"))
        if hashes > 6:
            return None
        rest = skip(rest[hashes:], " ")
    rest = skip(rest, "*")
    name = next((name for name in names if rest.startswith(name)), None)
    if name is None:
        return None
    rest = rest.removeprefix(name)
    if numbered:
        digits, after = take_digits(rest.removeprefix(" "), 2)
        rest = after if digits else rest
    rest = skip(rest, "*").removeprefix(" ")
    if not rest.startswith(":"):
        return None
    return skip(skip(rest[1:], "*"), " \t")


def example_heading(line: str) -> tuple[bool, str] | None:
    """Whether an `Example n` heading stands alone on its line, and what follows it there."""
    rest = skip(line, " \t")
    if rest.startswith("#"):
        hashes = len(rest) - len(skip(rest, "#"))
        if hashes > 6:
            return None
        rest = skip(rest[hashes:], " ")
    rest = skip(rest, "*")
    if not rest.startswith("Example"):
        return None
    rest = rest.removeprefix("Example").removeprefix(" ").removeprefix("#")
    digits, rest = take_digits(rest, 3)
    if not digits:
        return None
    rest = skip(rest, "*").removeprefix(" ")
    point = rest[:1] in (".", ":") and rest != ""
    rest = skip(skip(rest[1:], "*") if point else skip(rest, "*"), " \t")
    if rest == "":
        return True, ""
    return (False, rest) if point else None


def code_lines(text: str) -> list[tuple[str, str]]:
    """Lines as (original, what counts), fenced code being one long line of which nothing counts."""
    lines, found, index = text.split("\n"), [], 0
    while index < len(lines):
        line = lines[index]
        at = next(
            (
                place
                for place in range(len(line) - 2)
                if line[place : place + 3] == "```"
                and (place == 0 or line[place - 1].isspace())
                and "`" not in line[place + 3 :]
            ),
            None,
        )
        closing = next((n for n in range(index + 1, len(lines)) if lines[n].strip(" \t") == "```"), None)
        if at is None or closing is None:
            found.append((line, line))
            index += 1
        else:
            whole = "\n".join(lines[index : closing + 1])
            found.append((whole, line[:at] + "`" * (len(whole) - at)))
            index = closing + 1
    return found


# --- instructions ---------------------------------------------------------------------------------------------


def instructions(text: str, cut: bool, opened: bool) -> list[Found]:
    pieces: list[tuple[bool, list[str]]] = [(False, [])]
    bold = [False]
    for line in text.split("\n"):
        start = item_start(line)
        if start is None:
            pieces[-1][1].append(line)
        else:
            pieces.append((True, [start[0]]))
            bold.append(start[1])
    found: list[Found] = []
    for (numbered, lines), is_open in zip(pieces, bold, strict=True):
        if numbered:
            found.append((tidy(("**" if is_open else "") + first_paragraph(lines)), None))
        elif any(line.strip() for line in lines) and opened:
            found.append((tidy(first_paragraph(lines)), None))
        elif any(line.strip() for line in lines):
            found.append((tidy("\n".join(lines))[:500], "preamble" if len(pieces) > 1 else "no_list"))
    if cut and found:
        found[-1] = (found[-1][0], "cut_off")
    return found


def first_paragraph(lines: list[str]) -> str:
    kept: list[str] = []
    for line in "\n".join(lines).strip().split("\n"):
        if not line.strip(" \t") and kept:
            break
        kept.append(line)
    return "\n".join(kept)


def tidy(text: str) -> str:
    text = without_colon(" ".join(text.split()))
    if text.startswith("**") and text.find("**", 3) != -1:
        end = text.find("**", 3)
        text = (text[2:end] + text[end + 2 :]).strip()
    if len(text) > 2:
        inner = text[1:-1]
        if (text[0] == '"' and text[-1] == '"' and '"' not in inner) or (
            text[0] == "“" and text[-1] == "”" and "“" not in inner
        ):
            text = inner.strip()
    text = without_colon(text)
    return text[:1].upper() + text[1:]


def without_colon(text: str) -> str:
    while text and text[-1] in ": ":
        text = text[:-1]
    return text


def instruction_reason(text: str, words: list[str], *, non_ascii_start: bool = True) -> str | None:
    """The first rule of the released code that turns the instruction away."""
    if not text:
        return "empty"
    length = word_count(text)
    if length <= 3:
        return "too_short"
    if length > 150:
        return "too_long"
    lower = "".join(char if char.isalnum() or char == "_" else f" {char} " for char in text.lower())
    split = lower.split()
    if any(word in split for word in words) or go_to(text.lower()):
        return "blacklisted_word"
    if text.startswith("Write a program"):
        return "banned_prefix"
    if text[0] in ASCII_PUNCTUATION:
        return "punctuation_start"
    if non_ascii_start and ord(text[0]) > 127:
        return "non_ascii_start"
    return None


def go_to(text: str) -> bool:
    for start in range(len(text)):
        if text.startswith("go to", start):
            before, after = text[start - 1 : start] if start else "", text[start + 5 : start + 6]
            if not (before.isalnum() or before == "_") and not (after.isalnum() or after == "_"):
                return True
    return False


def word_count(text: str) -> int:
    spaced = []
    for char in text:
        name = unicodedata.name(char, "")
        alone = name.startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"))
        spaced.append(f" {char} " if alone else char)
    return len("".join(spaced).split())


class Novelty:
    """Sequential ROUGE-L by `rouge_score`; texts of other scripts are compared character by character."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = list(texts)
        self.tokens = [self.tokenize(text) for text in texts]

    @staticmethod
    def tokenize(text: str) -> list[str]:
        if any(unicodedata.name(char, "").startswith("CJK UNIFIED") for char in text):
            return [char for char in text if char.isalnum()]
        return tokenize.tokenize(text, None)

    def best(self, text: str) -> tuple[float, list[str]]:
        """The greatest score, and every text that has it."""
        tokens = self.tokenize(text)
        scores = [rouge_scorer._score_lcs(known, tokens).fmeasure for known in self.tokens]
        top = max(scores, default=0.0)
        return top, [known for known, score in zip(self.texts, scores, strict=True) if score == top]

    def add(self, text: str) -> None:
        self.texts.append(text)
        self.tokens.append(self.tokenize(text))


@dataclass
class Decision:
    """What becomes of one candidate instruction."""

    text: str
    reason: str | None
    score: float | None = None


def decide(found: list[Found], pool: Novelty, words: list[str], **rules: Any) -> list[Decision]:
    """Judge the candidates of one answer in order; accepted ones join the pool at once."""
    decisions = []
    for text, problem in found:
        reason, score = problem or instruction_reason(text, words, **rules), None
        if reason is None:
            score, _ = pool.best(text)
            reason = "too_similar" if score > 0.7 else None
        if reason is None:
            pool.add(text)
        decisions.append(Decision(text, reason, score))
    return decisions


# --- instances ------------------------------------------------------------------------------------------------


def is_classification(text: str) -> bool:
    letters = text.lstrip(" \t\r\n*\"'`(")
    word = ""
    while letters and letters[0] in string.ascii_letters:
        word, letters = word + letters[0], letters[1:]
    return word.lower() == "yes"


def own_part(text: str, cut: bool, wanted: tuple[str, ...]) -> tuple[list[tuple[str, str]], bool]:
    """Lines of an answer without a fence around it all, a repeated task before it, further tasks after it."""
    lines = code_lines(text)
    if not any(marker(counts, wanted) is not None for _, counts in lines):
        fenced = next((whole for whole, counts in lines if whole != counts), None)
        inside = "\n".join(fenced.split("\n")[1:-1]) if fenced is not None else ""
        if any(marker(line, wanted) is not None for line in inside.split("\n")):
            lines, cut = code_lines(inside), False
    lines = code_lines("\n".join(whole for whole, _ in lines).strip())
    if marker(lines[0][0].split("\n")[0], ("Task",), numbered=False) is not None:
        lines = code_lines("\n".join(whole for whole, _ in lines).partition("\n")[2])
    for index, (_, counts) in enumerate(lines):
        if marker(counts, ("Task",), numbered=False) is not None:
            return lines[:index], False
    return lines, cut


def input_first(text: str, cut: bool) -> list[Pair]:
    lines, cut = own_part(text, cut, ("Output",))
    chunks = split_examples(lines)
    found: list[Pair] = []
    for index, chunk in enumerate(chunks):
        incomplete = cut and index == len(chunks) - 1
        whole = "\n".join(original for original, _ in chunk).strip()
        if any(marker(counts, ("Output",)) is not None for _, counts in chunk):
            found.append(pair_of(chunk, incomplete))
        elif index and whole:
            found.append(("", whole, "cut_off" if incomplete else "no_output"))
    return found


def split_examples(lines: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Chunks between headings; headings count only if an `Output:` follows the first of them."""
    for alone in (True, False):
        chunks: list[list[tuple[str, str]]] = [[]]
        for original, counts in lines:
            heading = example_heading(counts)
            if heading is None or (alone and not heading[0]):
                chunks[-1].append((original, counts))
            else:
                length = len(heading[1])
                chunks.append([(original[len(original) - length :], counts[len(counts) - length :])])
        after = [line for chunk in chunks[1:] for line in chunk]
        if any(marker(counts, ("Output",)) is not None for _, counts in after):
            return chunks
    return [lines]


def pair_of(chunk: list[tuple[str, str]], cut: bool) -> Pair:
    at = next(index for index, (_, counts) in enumerate(chunk) if marker(counts, ("Output",)) is not None)
    original, counts = chunk[at]
    rest = marker(counts, ("Output",)) or ""
    output = [original[len(original) - len(rest) :]]
    for line, line_counts in chunk[at + 1 :]:
        if marker(line_counts, ("Input",)) is not None:
            cut = False
            break
        output.append(line)
    given = "\n".join(line for line, _ in chunk[:at])
    return given_of(given), "\n".join(output).strip(), "cut_off" if cut else None


def given_of(text: str) -> str:
    """The input without `Input:` before it and without an announcement, which ends in a colon."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        rest = marker(line, ("Input",))
        if rest is not None:
            before = "\n".join(lines[:index]).rstrip("* \t\n")
            if before == "" or before.endswith(":"):
                return "\n".join([rest, *lines[index + 1 :]]).strip()
            break
    return text.strip()


def output_first(text: str, cut: bool) -> list[Pair]:
    names = ("Class label", "Class Label")
    lines, cut = own_part(text, cut, names)
    chunks: list[list[tuple[str, str]]] = []
    for original, counts in lines:
        rest = marker(counts, names)
        if rest is not None:
            chunks.append([(original[len(original) - len(rest) :], rest)])
        elif chunks:
            chunks[-1].append((original, counts))
    found: list[Pair] = []
    for index, chunk in enumerate(chunks):
        incomplete = cut and index == len(chunks) - 1
        kept = []
        for place, (original, counts) in enumerate(chunk):
            heading = example_heading(counts) if place else None
            if heading is not None and heading[0]:
                incomplete = False
                break
            kept.append(original)
        whole = "\n".join(kept).strip()
        label, _, rest = whole.partition("\n")
        if marker(label, ("Input",)) is not None:
            label, rest = "", whole
        found.append((given_of(rest), label.strip("* \t"), "cut_off" if incomplete else None))
    return found


def direct(text: str, cut: bool, chat: bool) -> Pair:
    """The answer of a small model to which the task itself was put."""
    if not chat:
        lines, cut = own_part(text, cut, ("Output",))
        text = "\n".join(original for original, _ in lines)
    first, newline, others = text.partition("\n")
    echo = marker(first, ("Output",))
    text = text if echo is None else echo + newline + others
    return "", text.strip(), "cut_off" if cut else None


def instance_reasons(pairs: list[Pair]) -> list[str | None]:
    reasons: list[str | None] = []
    for given, output, problem in pairs:
        if problem:
            reasons.append(problem)
        elif output == "":
            reasons.append("empty_output")
        elif given == output:
            reasons.append("input_equals_output")
        elif given.endswith(":") or output.endswith(":"):
            reasons.append("ends_with_colon")
        else:
            reasons.append(None)
    alive = [pair for pair, reason in zip(pairs, reasons, strict=True) if reason is None]
    for given, output, _ in alive:
        if given != "" and any(other[0] == given and other[1] != output for other in alive):
            return [reason or "contradicting_outputs" for reason in reasons]
    for index, pair in enumerate(pairs):
        if reasons[index] is None and pair in pairs[:index]:
            reasons[index] = "duplicate_instance"
    return reasons


# --- everything in one call -----------------------------------------------------------------------------------


def blocks(text: str, cut: bool) -> list[tuple[str, str | None, str, str | None]]:
    """Instruction, problem, input, output of each `###` block."""
    chunks: list[list[str]] = [[]]
    for line in text.split("\n"):
        bare = line.strip(" \t")
        if len(bare) >= 2 and set(bare) == {"#"}:
            chunks.append([])
        else:
            chunks[-1].append(line)
    found: list[tuple[str, str | None, str, str | None]] = []
    for index, chunk in enumerate(chunks):
        whole = "\n".join(chunk)
        if not whole.strip():
            continue
        if cut and index == len(chunks) - 1:
            found.append((tidy(whole)[:500], "cut_off", "", None))
            continue
        fields = fields_of(chunk)
        names = [name for name, _ in fields]
        texts = [text.strip() for _, text in fields]
        if names == ["", "Instruction", "Input", "Output"] and (not found or not texts[0]):
            instruction, given, output = texts[1:]
        elif names == ["", "Input", "Output"] and not found and texts[0]:
            instruction, given, output = texts
        else:
            problem = "preamble" if not found and names == [""] else "malformed"
            found.append((tidy(whole)[:500], problem, "", None))
            continue
        found.append((tidy(instruction), None, "" if given.lower() == "<noinput>" else given, output))
    return found


def fields_of(lines: list[str]) -> list[tuple[str, str]]:
    fields: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        for name in ("Instruction", "Input", "Output"):
            rest = field(line, name)
            if rest is not None:
                fields.append((name, [rest]))
                break
        else:
            fields[-1][1].append(line)
    return [(name, "\n".join(texts)) for name, texts in fields]


def field(line: str, name: str) -> str | None:
    rest = skip(line, " \t")
    digits, after = take_digits(rest, 3)
    if digits and after.removeprefix(" ").startswith("."):
        rest = skip(after.removeprefix(" ")[1:], " ")
    rest = skip(rest, "*")
    if not rest.startswith(name):
        return None
    rest = skip(rest.removeprefix(name), "*").removeprefix(" ")
    return skip(skip(rest[1:], "*"), " \t") if rest.startswith(":") else None
