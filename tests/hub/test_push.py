"""`factory push` against a local Hub, with the real client: what goes up, what never does, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("huggingface_hub")

import factory
from factory.datasets_io.parquet import read_shards
from factory.errors import HubError, UserError

from ..driver import Command, in_process
from .places import REPO, a_run, downloaded, point
from .server import OWNER, READER, STRANGER, Hub

CORE = ["README.md", "manifest.json", "recipe.yaml"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(tmp_path_factory.mktemp("small"))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(tmp_path, monkeypatch, capsys)


def push(path: Path, repo: str = REPO, **options: Any) -> Any:
    """Without the report, which takes time to make, unless a test is about it."""
    return factory.push(path, repo, **{"progress": False, "report": False, **options})


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("shards", [1, 50])
def test_what_comes_down_is_what_went_up(hub: Hub, tmp_path: Path, shards: int) -> None:
    path = a_run(tmp_path, 50, rows_per_shard=50 // shards)
    done = push(path)
    assert (done.changed, done.private, len(done.files)) == (True, True, shards + 3)
    assert len(hub.repos[REPO].commits) == 1
    assert downloaded(tmp_path, hub) == list(read_shards(path / "data"))


def test_a_push_is_private_and_sends_nothing_but_what_is_on_the_list(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path)
    planted = [
        ".env",
        "notes.txt",
        "marks.jsonl",
        "data/.secret",
        "data/extra.csv",
        "artifacts/s/canaries.json",
        "rows.privacy.jsonl",
    ]
    planted += ["journal.sqlite-wal", "data/train-00000-of-00001.parquet.partial", "lineage/more.parquet"]
    for name in planted:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"PLANTED in {name}")
    before = everything(path)
    done = push(path)
    assert everything(path) == before
    created = next(json.loads(asked.body) for asked in hub.log if asked.path == "/api/repos/create")
    assert created.get("private") is True or created.get("visibility") == "private"
    assert hub.repos[REPO].private
    assert sorted(hub.files(REPO)) == [*CORE[:1], "data/train-00000-of-00001.parquet", *CORE[1:]]
    assert hub.files(REPO)["recipe.yaml"] == before["recipe.yaml"]
    journal = before["journal.sqlite"]
    for asked in hub.log:
        assert b"PLANTED" not in asked.body and b"PLANTED" not in str(asked.path).encode()
        assert journal[:64] not in asked.body
    assert {asked.path.split("/")[2] for asked in hub.log if asked.method == "PUT"} == {
        upload.sha256 for upload in done.files if upload.path.startswith("data/")
    }


def test_the_token_goes_in_the_authorization_header_and_nowhere_else(hub: Hub, small: Path) -> None:
    push(small)
    assert len(hub.log) > 8
    for asked in hub.log:
        others = {name: value for name, value in asked.headers.items() if name != "authorization"}
        assert OWNER not in f"{asked.path} {asked.query} {others}" and OWNER.encode() not in asked.body
        if asked.method == "PUT":
            assert "authorization" not in asked.headers
    assert any(asked.headers.get("authorization") == f"Bearer {OWNER}" for asked in hub.log)


def test_the_same_files_are_not_committed_again(hub: Hub, small: Path) -> None:
    first = push(small)
    again = push(small)
    assert (again.changed, again.commit) == (False, first.commit)
    assert len(hub.repos[REPO].commits) == 1
    assert max(hub.put.values()) == (small / "data/train-00000-of-00001.parquet").stat().st_size


def test_shards_of_an_earlier_push_go_in_the_commit_that_brings_the_new_ones(hub: Hub, tmp_path: Path) -> None:
    push(a_run(tmp_path / "many", 9, rows_per_shard=2), rejected=True, lineage=True)
    assert len(hub.files(REPO)) == 3 + 5 + 1 + 5
    done = push(a_run(tmp_path / "few", 9, rows_per_shard=5))
    assert done.deleted == [
        *(f"data/train-0000{index}-of-00005.parquet" for index in range(5)),
        *(f"lineage/records-0000{index}-of-00005.parquet" for index in range(5)),
        "rejected/rejected-00000-of-00001.parquet",
    ]
    assert sorted(hub.files(REPO)) == [
        "README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "manifest.json", "recipe.yaml",
    ]  # fmt: skip
    first, second = hub.repos[REPO].commits
    assert not [line for line in first["lines"] if line["key"] == "deletedFile"]
    assert {line["value"]["path"] for line in second["lines"] if line["key"] == "deletedFile"} == set(done.deleted)


def test_files_of_others_stay(hub: Hub, small: Path) -> None:
    push(small)
    tree = hub.repos[REPO].branches["main"][-1][1]
    hub.blobs["n" * 40] = b"notes"
    tree["notes.md"] = tree["data/test-00000-of-00001.parquet"] = ("file", "n" * 40, 5)
    tree["report.html"] = ("file", "n" * 40, 5)
    done = push(small, message="again")
    assert {"notes.md", "data/test-00000-of-00001.parquet"} <= set(hub.files(REPO))
    assert done.deleted == ["report.html"]  # of a run before: it would tell of other rows
    assert hub.repos[REPO].commits[-1]["summary"] == "again"


def test_a_report_goes_along_unless_it_is_not_wanted(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path)
    factory.report(path)
    with (path / "report.html").open("a") as file:
        file.write("<!-- another day -->")
    assert "report.html" not in {upload.path for upload in push(path, report=False).files}
    done = push(path, report=True)
    assert b"another day" not in hub.files(REPO)["report.html"]
    assert hub.files(REPO)["report.html"] == (path / "report.html").read_bytes()
    assert "`report.html` shows the run" in done.card


# --- who sees it --------------------------------------------------------------------------------------


def test_a_public_repository_takes_nothing_that_was_not_meant_to_be_public(hub: Hub, small: Path) -> None:
    hub.make(REPO, private=False)
    with pytest.raises(UserError, match="is public, so everybody would see these files at once"):
        push(small)
    assert not [asked for asked in hub.log if asked.method in ("PUT", "POST")]
    assert not push(small, public=True).private
    assert not hub.repos[REPO].private


def test_a_private_repository_stays_private(hub: Hub, small: Path) -> None:
    hub.make(REPO, private=True)
    with pytest.raises(UserError, match="is private, and a push does not change that"):
        push(small, public=True)
    assert hub.repos[REPO].private and not hub.repos[REPO].commits


def test_a_public_one_is_made_public_only_when_asked(hub: Hub, small: Path) -> None:
    push(small, public=True)
    assert not hub.repos[REPO].private


def test_a_repository_of_something_else_is_left_alone(hub: Hub, small: Path) -> None:
    hub.make(REPO, private=True, files={"README.md": b"my own words", "data/train-00000-of-00009.parquet": b"rows"})
    with pytest.raises(UserError, match=r"no push of the factory has written \(README.md, data/train-00000-of-00009"):
        push(small)
    assert hub.files(REPO)["README.md"] == b"my own words"
    assert push(small, replace=True).deleted == ["data/train-00000-of-00009.parquet"]


def test_another_dataset_is_not_replaced_without_asking(hub: Hub, small: Path, tmp_path: Path) -> None:
    push(small)
    before = hub.files(REPO)
    other = a_run(tmp_path / "other", rows=3, name="letters")
    for dry in (True, False):
        with pytest.raises(
            UserError, match=r"holds another dataset \('tickets', this is 'letters'\); choose another repo"
        ):
            push(other, dry_run=dry)
    assert hub.files(REPO) == before
    longer = a_run(tmp_path / "longer", rows=9)
    assert push(longer).changed, "the same dataset, made anew"
    assert push(other, replace=True).changed
    assert json.loads(hub.files(REPO)["manifest.json"])["name"] == "letters"


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"no JSON", b'{"name": "tickets"}', b"\xff"])
def test_a_manifest_of_something_else_is_no_push_of_ours(hub: Hub, small: Path, content: bytes) -> None:
    hub.make(REPO, private=True, files={"manifest.json": content})
    with pytest.raises(UserError, match="holds a manifest.json that is no run's; choose another repository"):
        push(small)
    assert push(small, replace=True).changed


@pytest.mark.parametrize("name", ["data/train-extra.jsonl", "data/train-00000-of-00001-0a1b2c3d4e5f6071.parquet"])
def test_rows_of_others_that_the_card_would_take_in_are_never_mixed_with_ours(
    hub: Hub, small: Path, tmp_path: Path, name: str
) -> None:
    hub.make(REPO, private=True, files={name: b"rows", "data/notes.txt": b"stay", "data/train-old/a.jsonl": b"stay"})
    with pytest.raises(UserError, match=rf"no push of the factory has written \({name}\)"):
        push(small)
    assert push(small, replace=True).deleted == [name]
    assert {"data/notes.txt", "data/train-old/a.jsonl"} < set(hub.files(REPO))
    assert len(downloaded(tmp_path, hub)) == 6


def test_a_new_branch_is_judged_as_the_copy_that_it_will_be(hub: Hub, small: Path, tmp_path: Path) -> None:
    other = a_run(tmp_path / "other", rows=4, name="letters", rows_per_shard=1)
    push(other)
    for dry in (True, False):
        with pytest.raises(UserError, match="holds another dataset"):
            push(small, revision="v2", dry_run=dry)
    assert set(hub.repos[REPO].branches) == {"main"}
    shorter = a_run(tmp_path / "shorter", rows=4, name="letters")
    gone = [f"data/train-0000{number}-of-00004.parquet" for number in range(4)]
    assert push(shorter, revision="v2", dry_run=True).deleted == gone
    assert push(shorter, revision="v2").deleted == gone


def test_a_branch_is_made_and_the_main_one_stays_as_it_was(hub: Hub, small: Path) -> None:
    done = push(small, revision="v2")
    assert hub.files(REPO) == {}
    assert sorted(hub.files(REPO, "v2"))[0] == "README.md"
    assert 'revision="v2"' in done.card
    assert not push(small, revision="v2").changed


@pytest.mark.parametrize(
    ("token", "repo", "sentence"),
    [
        (STRANGER, REPO, "the Hub does not accept the token; set HF_TOKEN"),
        (READER, REPO, "the token may not write there"),
        (OWNER, "them/tickets", "the token may not write there"),
        (None, REPO, "a push needs a token: set HF_TOKEN"),
        (OWNER, "tickets", "expected a repository as OWNER/NAME"),
        (OWNER, "me/../you", "expected a repository as OWNER/NAME"),
    ],
)
def test_who_may_not(
    hub: Hub, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, repo: str, sentence: str
) -> None:
    point(monkeypatch, tmp_path, hub, token)
    with pytest.raises(UserError, match=sentence):
        push(small, repo)
    assert not hub.repos


def test_a_card_that_the_hub_does_not_take(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path, license="proprietary-nonsense")
    with pytest.raises(UserError, match='does not take this .*"license" must be one of'):
        push(path)
    assert not hub.repos[REPO].commits


# --- dry run ------------------------------------------------------------------------------------------


def test_a_dry_run_shows_everything_and_does_nothing(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    path = a_run(tmp_path)
    before = everything(path)
    point(monkeypatch, tmp_path, hub, None)
    done = command("push", path, REPO, "--dry-run", "--rejected", "--no-report")
    assert done.code == 0, done.err
    for upload in push(path, dry_run=True, rejected=True).files:
        assert [upload.path, f"{upload.size:,}", upload.sha256[:12]] in [line.split() for line in done.out.splitlines()]
    assert '\nrows = load_dataset("me/tickets", split="train")\n' in done.out
    assert f"nothing was sent to {hub.url}/datasets/{REPO} (private)" in done.out
    assert "me/tickets would be made, private" in done.out
    assert everything(path) == before
    assert {asked.method for asked in hub.log} == {"GET"}
    assert not hub.repos


def test_a_dry_run_tells_what_would_be_deleted(hub: Hub, tmp_path: Path) -> None:
    push(a_run(tmp_path / "many", 9, rows_per_shard=5))
    done = push(a_run(tmp_path / "few", 9), dry_run=True)
    assert done.deleted == ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    assert len(hub.repos[REPO].commits) == 1


def test_a_dry_run_needs_no_network(hub: Hub, small: Path) -> None:
    hub.stop()
    done = push(small, dry_run=True)
    assert done.deleted is None
    assert len(done.files) == 4
    assert "what would be deleted is not known" in done.notes[0]
    assert "same command" not in done.notes[0]
    with pytest.raises(HubError, match="cannot be reached"):
        push(small)


def test_the_command_prints_where_the_dataset_is(hub: Hub, small: Path, command: Command) -> None:
    done = command("push", small, REPO, "--no-report")
    assert done.code == 0, done.err
    assert f"{hub.url}/datasets/{REPO} (private)" in done.out
    assert "4 files" in done.out
    assert "pushing 4/4 files" in done.err
    assert "nothing to do" in command("push", small, REPO, "--quiet", "--no-report").out
    os.environ["HF_TOKEN"] = STRANGER
    refused = command("push", small, REPO, "--quiet", "--no-report")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: me/tickets: the Hub does not accept the token")
