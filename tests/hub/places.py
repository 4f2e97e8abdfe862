"""What the tests of `factory push` share: runs to push, the client pointed at a local Hub, and pushes in processes of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factory.hub import pushing

from ..small_runs import Model, one_step, run, text_of
from .server import OWNER, Hub

REPO = "me/tickets"
LICENCE = {"license": "apache-2.0", "language": ["en"]}


def a_run(folder: Path, rows: int = 6, *, long: int = 0, name: str = "tickets", **output: Any) -> Path:
    """A finished run of so many rows; `long` makes each answer so many random letters."""
    recipe = one_step(folder, [{"text": f"Ticket {n}."} for n in range(rows)], name=name, output=LICENCE | output)

    def reply(request: Any) -> str:
        text = text_of(request)
        return random.Random(text).randbytes(long // 2).hex() if long else f"Answer to {text}"

    run(recipe, folder / "run", Model(reply))
    return folder / "run"


def point(monkeypatch: pytest.MonkeyPatch, folder: Path, hub: Hub, token: str | None = OWNER) -> None:
    """Let huggingface_hub in this process talk to that Hub, as it would if it had been started with these variables."""
    from huggingface_hub import constants

    for name, value in environment(folder, hub, token).items():
        monkeypatch.setenv(name, value)
    if token is None:
        monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
    monkeypatch.setattr(pushing, "PAUSE_S", 0.01)


def environment(folder: Path, hub: Hub, token: str | None = OWNER) -> dict[str, str]:
    found = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    return found | ({"HF_TOKEN": token} if token else {})


def pushing_process(folder: Path, hub: Hub, *arguments: str | Path) -> subprocess.Popen[str]:
    """`factory push` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "factory.cli", "push", *map(str, arguments)],
        env={**os.environ, **environment(folder, hub)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
from datasets import load_dataset
folder = snapshot_download(sys.argv[1], repo_type="dataset", local_dir=sys.argv[2])
rows = load_dataset(folder, split="train", cache_dir=sys.argv[2] + "-cache")
rows.to_parquet(sys.argv[3])
"""


def downloaded(folder: Path, hub: Hub, repo: str = REPO) -> list[dict[str, Any]]:
    """Rows of the repository, by way of `snapshot_download` and `load_dataset`."""
    import pyarrow.parquet as pq

    target = folder / "rows.parquet"
    done = subprocess.run(
        [sys.executable, "-c", DOWNLOAD, repo, str(folder / "snapshot"), str(target)],
        env={**os.environ, **environment(folder, hub)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return pq.read_table(target).to_pylist()
