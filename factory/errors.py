"""Every error that the factory raises on purpose, and the exit code each one ends a command with.

```
FactoryError
├── UserError               exit 2   the recipe, the arguments or a file of the user
│   ├── RecipeError                  one or many problems, each with file, line and column
│   ├── OptionError                  an option of a step that does not fit what is there
│   ├── PromptError                  a prompt file that does not load or render
│   ├── SourceError                  rows that cannot be read
│   └── RunDirError                  a run directory that is in use, foreign or unwritable
├── EngineError             exit 3   the engine cannot answer, and asking again will not help
│   └── EngineDied                   the engine stopped; a supervisor may start it again
├── DiskError               exit 3   a result cannot be written
├── HubError                exit 3   the Hub does not answer, or not as it should; the same command goes on
├── JournalError            exit 3   the journal cannot be read or written
└── RequestRefused          (none)   this one request cannot be answered; its record is rejected
```

A finished audit that found a claim not to hold ends with 5, which is no error of the factory's.

A message is a sentence that says where, what was found, what was expected, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass


class FactoryError(Exception):
    """Base of all errors raised on purpose; printed without a traceback."""

    exit_code = 2


class UserError(FactoryError):
    """Something that the user wrote or asked for cannot be done."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a recipe.

    Attributes:
        file: Recipe file as the user named it, or `--set` for an override.
        line: Line, counted from 1; 0 where there is none.
        column: Column, counted from 1; 0 where there is none.
        path: Dotted path of the offending key, e.g. `steps[1].self_instruct.accept`.
        message: What was found and what was expected.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        """`file:line:col: path: message`, leaving out what is not known."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class RecipeError(UserError):
    """A recipe with one or more problems; all of them are reported at once."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep the problems in file order."""
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class OptionError(UserError):
    """An option of a step that does not fit what is there: a missing file, a column that the rows lack.

    Attributes:
        option: Dotted path of the option below its step, e.g. `path`; where in the recipe the error is shown.
    """

    def __init__(self, option: str, message: str) -> None:
        """Keep the place and the sentence."""
        super().__init__(message)
        self.option = option


class PromptError(UserError):
    """A prompt file that is missing, malformed, or whose variables do not match its header."""


class SourceError(UserError):
    """Rows that cannot be read: missing file, broken line, unknown format, missing column."""


class RunDirError(UserError):
    """A run directory that is locked by another process, holds another run, or cannot be written."""


class EngineError(FactoryError):
    """The engine cannot answer and asking again will not help."""

    exit_code = 3


class EngineDied(EngineError):
    """The engine stopped while requests were in flight; starting it again may help."""


class DiskError(FactoryError):
    """A file of a result cannot be written: a full disk, a folder without permission."""

    exit_code = 3


class HubError(FactoryError):
    """The Hub does not answer, or not as it should; the same command goes on where it was."""

    exit_code = 3


class JournalError(FactoryError):
    """The journal cannot be read or written: damaged file, full disk, newer format."""

    exit_code = 3


class RequestRefused(FactoryError):
    """One request that no engine of this run can answer; the record it stands for is rejected.

    Attributes:
        reason: Machine-readable reason, e.g. `prompt_too_long`.
        score: What was measured, e.g. tokens in the prompt.
        threshold: The limit it was measured against.
    """

    def __init__(self, reason: str, message: str, score: float | None = None, threshold: float | None = None) -> None:
        """Name the reason and keep the evidence."""
        super().__init__(message)
        self.reason = reason
        self.score = score
        self.threshold = threshold
