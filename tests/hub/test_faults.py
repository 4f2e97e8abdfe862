"""A push over a bad line: cut, refused, slowed down, killed, overtaken. What is on the Hub is whole, or as it was."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("huggingface_hub")

import factory
from factory.errors import HubError, UserError
from factory.hub.remote import THREADS

from .places import REPO, a_run, pushing_process
from .server import Fault, Hub

LFS, COMMIT = "^/lfs/", "/commit/"
SHARDS, LONG = 10, 100_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(tmp_path_factory.mktemp("large"), SHARDS, long=LONG, rows_per_shard=1)


def push(path: Path, **options: Any) -> Any:
    return factory.push(path, REPO, progress=False, **options)


def shards(path: Path) -> dict[str, bytes]:
    return {f"data/{shard.name}": shard.read_bytes() for shard in sorted((path / "data").glob("*.parquet"))}


def assert_whole(hub: Hub, path: Path) -> None:
    held = hub.files(REPO)
    assert {name: content for name, content in held.items() if name.startswith("data/")} == shards(path)
    assert held["manifest.json"] == (path / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", LFS, cut=20_000),
        Fault("PUT", LFS, status=500, times=2),
        Fault("PUT", LFS, status=429, headers={"Retry-After": "0"}),
        Fault("PUT", LFS, wait_s=0.5, times=3),
        Fault("POST", "/objects/batch", status=503),
        Fault("POST", "/preupload/", status=502),
        Fault("POST", COMMIT, status=500),
        Fault("POST", COMMIT, lost=True),
        Fault("POST", COMMIT, cut=10),
        Fault("POST", COMMIT, wait_s=0.5),
    ],
    ids=["cut", "500", "429", "slow", "batch", "preupload", "commit-500", "answer-lost", "commit-cut", "commit-slow"],
)
def test_one_call_gets_over_it(hub: Hub, large: Path, fault: Fault) -> None:
    hub.faults.append(fault)
    done = push(large)
    assert not hub.faults
    assert done.changed
    assert_whole(hub, large)
    assert len(hub.repos[REPO].commits) == 1  # a commit whose answer was lost is not made twice


def test_in_parts(hub: Hub, large: Path) -> None:
    hub.chunk = 16_384
    hub.faults.append(Fault("PUT", r"^/lfs/\w+/3", cut=1000))
    push(large)
    assert_whole(hub, large)
    assert {number for _, number in hub.parts} == {1, 2, 3, 4}


def test_a_hub_that_is_gone_between_upload_and_commit(hub: Hub, large: Path) -> None:
    hub.faults.append(Fault("POST", "/validate-yaml", act=hub.stop))
    with pytest.raises(HubError, match="the same command goes on where it was"):
        push(large)
    assert not hub.repos[REPO].commits
    sent = dict(hub.put)
    assert len(sent) == SHARDS
    hub.start()
    assert push(large).changed
    assert_whole(hub, large)
    assert dict(hub.put) == sent  # not a byte of them again


def test_a_push_that_gives_up_says_what_to_do_and_goes_on(
    hub: Hub, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.faults.append(Fault("POST", COMMIT, status=500, times=99))
    with pytest.raises(HubError, match=r"answered 500 when sent the commit, 5 times; the same command goes on"):
        push(large)
    hub.faults.clear()
    push(large)
    assert_whole(hub, large)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_a_killed_push_sends_again_only_what_was_under_way(hub: Hub, tmp_path: Path, number: signal.Signals) -> None:
    path = a_run(tmp_path, SHARDS, long=LONG, rows_per_shard=1)
    hub.faults.append(Fault("PUT", LFS, after=5, times=99, wait_s=2.0))
    process = pushing_process(tmp_path, hub, path, REPO)
    deadline = time.monotonic() + 30
    while len([each for each in hub.blobs.values() if len(each) > 10_000]) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number), told
    assert "run the same command again" in told or number == signal.SIGKILL
    assert not hub.repos[REPO].commits
    hub.faults.clear()
    held = len([each for each in hub.blobs.values() if len(each) > 10_000])
    process = pushing_process(tmp_path, hub, path, REPO)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert_whole(hub, path)
    sizes = {name: len(content) for name, content in shards(path).items()}
    assert 5 <= held < SHARDS
    assert 0 <= sum(hub.put.values()) - sum(sizes.values()) <= THREADS * max(sizes.values())


def test_somebody_else_commits_at_the_same_time(hub: Hub, large: Path) -> None:
    """Their notes stay; their shards of another dataset would make it a mix, and go."""
    push(large)
    line = hub.repos[REPO].branches["main"]
    _, tree = line[-1]
    hub.blobs["x" * 40] = b"theirs"
    theirs = ("file", "x" * 40, 6)
    line.append(("a" * 40, {**tree, "README.md": theirs}))

    def overtake() -> None:
        line.append(("b" * 40, {**tree, "notes.md": theirs, "data/train-00000-of-00099.parquet": theirs}))

    hub.faults.append(Fault("POST", COMMIT, act=overtake))
    done = push(large)
    assert [asked.status for asked in hub.log if asked.path.endswith("/commit/main")] == [200, 412, 200]
    assert done.deleted == ["data/train-00000-of-00099.parquet"]
    assert hub.files(REPO)["notes.md"] == b"theirs"
    assert_whole(hub, large)


def test_a_repository_that_is_opened_while_files_are_on_their_way(hub: Hub, large: Path) -> None:
    def open_up() -> None:
        hub.repos[REPO].private = False

    hub.faults.append(Fault("PUT", LFS, act=open_up))
    with pytest.raises(UserError, match="is public, so everybody would see"):
        push(large)
    assert not hub.repos[REPO].commits


def test_what_a_gitignore_leaves_out_is_missed(hub: Hub, large: Path) -> None:
    hub.make(REPO, private=True, files={".gitignore": b"manifest.json"})
    with pytest.raises(UserError, match=r"was committed without manifest\.json; if its \.gitignore names them"):
        push(large)
    assert len(hub.repos[REPO].commits) == 1
