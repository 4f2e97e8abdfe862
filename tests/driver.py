"""What the tests of the command line share: small recipes, and the `factory` command in and out of this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from factory.cli import main

FACTORY = str(Path(sys.executable).with_name("factory"))
ROWS = [{"text": f"Ticket {number}: my order never came."} for number in range(6)]
PROMPT = "---\ninputs: [text]\n---\n=== user ===\nSummarise: {{ text }}\n"
RECIPE = """\
name: demo
engine: {kind: scripted, script: script.json, model: m}
steps:
  - rows: {path: rows.jsonl}
  - prompt: {prompt: prompt.jinja, output: summary}
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Done]


def workplace(folder: Path) -> Path:
    """Write rows, a prompt, a script of answers and the recipe `demo.yaml`."""
    write_rows(folder / "rows.jsonl", ROWS)
    (folder / "prompt.jinja").write_text(PROMPT)
    (folder / "script.json").write_text(json.dumps({"answers": ["Answer {hash}."], "log": "asked.txt"}))
    (folder / "demo.yaml").write_text(RECIPE)
    return folder


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def asked(folder: Path) -> int:
    """How many requests the scripted engine has answered so far."""
    log = folder / "asked.txt"
    return len(log.read_text().split()) if log.exists() else 0


def dedent(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def in_process(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `factory` inside this process, in that folder: quick."""
    monkeypatch.chdir(folder)

    def command(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["factory", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return command


def in_subprocess(folder: Path, *arguments: str | Path, **environment: str) -> Done:
    """Run the installed `factory` as a user does."""
    done = subprocess.run(
        [FACTORY, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
