"""A run directory: its lock, its manifest, and the swap of the dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import factory
from factory.errors import JournalError, RunDirError
from factory.rundir import RunDir

from .small_runs import one_step, tickets

WHOLE = {
    "format": 1, "name": "n", "status": "complete", "message": "", "fingerprint": "f", "recipe": {}, "model": "m",
    "rows": 0, "steps": [], "requests": {}, "seconds": 0.0,
}  # fmt: skip


def manifest(path: Path, content: str) -> RunDir:
    path.mkdir(exist_ok=True)
    (path / "manifest.json").write_text(content, encoding="utf-8")
    return RunDir(path)


def test_nothing_is_made_before_the_directory_is_locked(tmp_path: Path) -> None:
    directory = RunDir(tmp_path / "deep" / "run")
    assert not (tmp_path / "deep").exists()
    assert directory.manifest() is None
    with directory.locked():
        assert (tmp_path / "deep" / "run").is_dir()


def test_a_lock_is_free_again_after_it_was_held_and_names_its_holder_meanwhile(tmp_path: Path) -> None:
    for _ in range(2):
        with RunDir(tmp_path).locked():
            assert int((tmp_path / ".lock").read_text()) > 0
            holder = rf"another process \(id {(tmp_path / '.lock').read_text()}\)"
            with pytest.raises(RunDirError, match=holder), RunDir(tmp_path).locked():
                pass


def test_a_file_system_without_locks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunDirError, match=r"cannot be locked \(No locks available\)"), RunDir(tmp_path).locked():
        pass


@pytest.mark.parametrize("content", ["{", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), ""])
def test_a_broken_manifest_is_named(content: str, tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match=r"manifest\.json: cannot be read"):
        manifest(tmp_path, content).manifest()


@pytest.mark.parametrize("content", ["[]", "7", '{"name": "a web app", "manifest_version": 3}'])
def test_another_kind_of_manifest_is_not_taken_for_ours(content: str, tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="not the manifest of a run"):
        manifest(tmp_path, content).manifest()


def test_a_directory_without_a_run_is_named_where_one_is_needed(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="holds no run"):
        RunDir(tmp_path).require_manifest()


def test_a_manifest_is_replaced_whole_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    directory = RunDir(tmp_path)
    for number in range(2):
        found = {**WHOLE, "n": number, "text": "ü"}
        directory.write_manifest(found)
        assert directory.manifest() == found
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_manifest_that_cannot_be_written_is_a_sentence_and_the_old_one_stays(tmp_path: Path) -> None:
    directory = RunDir(tmp_path)
    directory.write_manifest({"format": 1, "fingerprint": "f", "recipe": {}})
    before = (tmp_path / "manifest.json").read_text()
    (tmp_path / ".manifest.json.new").symlink_to("/dev/full")
    with pytest.raises(JournalError, match=r"manifest\.json: cannot be written \(No space left on device\)"):
        directory.write_manifest({"format": 1, "more": "x" * 100_000})
    assert (tmp_path / "manifest.json").read_text() == before


def test_the_swap_replaces_what_is_new_and_leaves_the_rest(tmp_path: Path) -> None:
    directory = RunDir(tmp_path)
    for folder, text in ((tmp_path, "old"), (directory.staging, "new")):
        (folder / "data").mkdir(parents=True)
        (folder / "data" / f"{text}.parquet").write_text(text)
        (folder / "README.md").write_text(text)
    (tmp_path / "journal.sqlite").write_text("journal")
    directory.install()
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["README.md", "data", "data/new.parquet", "journal.sqlite"]
    assert (tmp_path / "README.md").read_text() == "new"


def test_leftovers_of_a_crash_are_cleared_and_do_not_make_a_directory_foreign(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in (".new", ".old", ".spool"):
        (out / name / "data").mkdir(parents=True)
    for name in (".lock", ".manifest.json.new", ".recipe.yaml.new", ".journal.sqlite.new", ".journal.sqlite.new-wal"):
        (out / name).write_text("half")
    recipe = factory.load_recipe(one_step(tmp_path, tickets(2)))
    RunDir(out).claim(recipe, accept_changes=False)  # type: ignore[arg-type]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == []


def test_a_directory_of_the_same_recipe_is_claimed_and_of_another_is_not(tmp_path: Path) -> None:
    recipe = factory.load_recipe(one_step(tmp_path, tickets(2)))
    from factory.recipe import fingerprint

    resolved = recipe.resolved()  # type: ignore[attr-defined]
    directory = manifest(
        tmp_path / "out", json.dumps({**WHOLE, "fingerprint": fingerprint(resolved), "recipe": resolved})
    )
    directory.claim(recipe, accept_changes=False)  # type: ignore[arg-type]
    other = factory.load_recipe(one_step(tmp_path, tickets(2), seed=1))
    with pytest.raises(RunDirError, match="seed: 42 -> 1"):
        directory.claim(other, accept_changes=False)  # type: ignore[arg-type]
    directory.claim(other, accept_changes=True)  # type: ignore[arg-type]


def test_a_preview_never_replaces_a_finished_dataset(tmp_path: Path) -> None:
    directory = RunDir(tmp_path)
    (tmp_path / "data").mkdir()
    for status, rows in (("complete", 100), ("running", 0), ("failed", 3)):  # of a later session that did not end
        directory.write_manifest(
            {**WHOLE, "status": status, "rows": rows, "dataset": {"status": "complete", "rows": 100}}
        )
        directory.keep_from_preview(100)
        with pytest.raises(RunDirError, match="finished dataset of 100 rows"):
            directory.keep_from_preview(5)
    directory.write_manifest({**WHOLE, "dataset": {"status": "preview", "rows": 100}})
    directory.keep_from_preview(5)
