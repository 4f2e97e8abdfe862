"""Where files are found: beside the recipe, in the working directory, in a checkout, in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import resources
from factory.resources import find, recipes, resource


def test_beside_the_recipe_comes_before_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, here = tmp_path / "base", tmp_path / "here"
    for folder in (base, here):
        folder.mkdir()
        (folder / "both.txt").touch()
    (here / "one.txt").touch()
    monkeypatch.chdir(here)
    assert find("both.txt", base) == base / "both.txt"
    assert find("one.txt", base) == here / "one.txt"
    assert find(str(base / "both.txt"), tmp_path) == base / "both.txt"
    assert find("none.txt", base) is None
    assert find(str(tmp_path / "one.txt"), base) is None


def test_shipped_files_come_last_and_only_from_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = find("seeds/self_instruct.jsonl", tmp_path)
    assert shipped is not None
    assert shipped.is_file()
    assert find("pyproject.toml", tmp_path) is None
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "self_instruct.jsonl").touch()
    assert find("seeds/self_instruct.jsonl", tmp_path) == tmp_path / "seeds/self_instruct.jsonl"


def test_home_folders_are_understood_also_those_of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.txt").touch()
    assert find("~/mine.txt", Path("/")) == tmp_path / "mine.txt"
    assert find("~nobody-of-that-name/mine.txt", tmp_path) is None


@pytest.mark.parametrize("path", ["x" * 5000, "a/" * 3000, "null\0byte", "a\nb"])
def test_text_that_can_be_no_path_is_not_found(tmp_path: Path, path: str) -> None:
    assert find(path, tmp_path) is None


def test_a_wheel_carries_what_a_checkout_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "factory"
    (package / "_data" / "recipes").mkdir(parents=True)
    (package / "_data" / "recipes" / "tiny.yaml").write_text("name: tiny\n")
    monkeypatch.setattr(resources, "PACKAGE", package)
    assert resource("recipes/tiny.yaml") == package / "_data/recipes/tiny.yaml"
    assert list(recipes()) == ["tiny"]
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "nowhere" / "factory")
    assert resource("recipes") is None
    assert recipes() == {}
