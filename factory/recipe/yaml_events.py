"""What strict_yaml reads from: PyYAML's parser, made to go on after a tab, and its errors in words for people.

Example: `Events("a: 'b")` raises, as PyYAML does, "while scanning a quoted scalar: found unexpected end of
stream"; `explain` makes of it `((1, 4), "the quote that opens here is never closed: add the closing quote")`.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

Position = tuple[int, int]

MAX_DEPTH = 100

# What PyYAML complains of ("context: problem"), and the sentence for people; these point at the context,
_AT_CONTEXT = {
    r"scanning a quoted scalar": "the quote that opens here is never closed: add the closing quote",
    r"scanning an (alias|anchor)": "'*' and '&' begin an alias or an anchor, which recipes cannot have: use quotes",
    r"\btag\b": "'!' begins a tag, which a recipe cannot have: put the text in quotes",
    r"or '(?P<found>.)', but got '<stream end>'": "the bracket that opens here is never closed: add '{found}'",
    r"find expected ':'": "expected 'key: value' or a list item here: add the ':', or indent it like the text above",
}
# and these at the problem. The first that fits is taken.
_AT_PROBLEM = {
    r"unknown escape character (?P<found>.+)": "{found} cannot follow a backslash in double quotes: use single quotes",
    r"sequence of (?P<found>\d+) hex": "this escape needs {found} hexadecimal digits: complete it, or use single quotes",
    r"scanning a block scalar": "only '+', '-', a digit or a comment may follow '|' and '>': begin on the next line",
    r"character (?P<found>.+) that cannot start": "a value cannot begin with {found}: put it in quotes",
    r"expected ',' or '(?P<found>.)'": "expected ',' or '{found}' in the brackets that open at {place}: close or quote them",
    r"expected the node content, but found (?P<found>.+)": "expected a value, found {found}: write one, or use quotes",
    r"<block end>, but found '(-|:|\?|<block)": "this line does not fit the block that begins at {place}: align its indentation",
    r"<block end>": "something follows a value that has already ended: put the whole value in quotes",
    r"mapping values": "a ':' cannot stand here: put a value that holds ': ' in quotes, or check the indentation",
    r"sequence entries": "a list item cannot begin here: begin it on a line of its own, or put the value in quotes",
    r"beyond Unicode": "this escape names no character: correct it, or use single quotes",
    r"too deep": f"this is nested more than {MAX_DEPTH} levels deep: flatten it",
    r"directive|document|handle": "nothing may follow the last value or begin with '%': remove it, or use quotes",
}
LAYOUT = re.compile(r"block end|not allowed here|expected ':'|document start")


class Events(Reader, Scanner, Parser):
    """The events of a text.

    Attributes:
        tabs: Where a tab indents a line; reading goes on behind it.
    """

    def __init__(self, text: str) -> None:
        """Begin at the start of the text."""
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        self.tabs: list[Position] = []

    def fetch_more_tokens(self) -> None:
        """Scan on; an escape beyond Unicode is an error of the text, not of the program."""
        try:
            super().fetch_more_tokens()
        except (ValueError, OverflowError) as error:
            raise yaml.MarkedYAMLError(problem="beyond Unicode", problem_mark=self.get_mark()) from error

    def scan_to_next_token(self) -> None:
        """Skip blanks, tabs among them."""
        super().scan_to_next_token()
        while self.peek() == "\t":
            line = self.line
            self.forward()
            super().scan_to_next_token()
            before = str(self.buffer[self.pointer - self.column : self.pointer])
            if self.line == line and self.peek() not in "\t\0" and not self.flow_level and not before.strip(" \t-"):
                self.tabs.append((line + 1, before.index("\t") + 1))

    def scan_plain_spaces(self, indent: Any, start_mark: Any) -> Any:
        """Blanks inside plain text, tabs among them."""
        length = 0
        while self.peek(length) in " \t":
            length += 1
        run = self.prefix(length)
        if "\t" not in run:
            return super().scan_plain_spaces(indent, start_mark)
        self.forward(length)
        return super().scan_plain_spaces(indent, start_mark) if self.peek() in "\r\n\0" else [run]


def explain(error: yaml.MarkedYAMLError) -> tuple[Position, str]:
    """Where PyYAML stopped, and one sentence that says what to do."""
    problem_at = place_of(error.problem_mark or error.context_mark)
    context_at = place_of(error.context_mark or error.problem_mark)
    for at, sentences in ((context_at, _AT_CONTEXT), (problem_at, _AT_PROBLEM)):
        for pattern, sentence in sentences.items():
            match = re.search(pattern, f"{error.context}: {error.problem}")
            if match:
                return at, sentence.format(**match.groupdict(), place=spoken(context_at))
    return problem_at, f"this is not valid YAML ({error.problem}): check quotes, brackets and indentation"


def place_of(mark: Any) -> Position:
    """Line and column, counted from 1."""
    return mark.line + 1, mark.column + 1


def spoken(at: Position) -> str:
    """A position in words: `line 3, column 1`."""
    return f"line {at[0]}, column {at[1]}"
