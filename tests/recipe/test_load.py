"""From a recipe file to typed steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory import check
from factory.errors import RecipeError, UserError
from factory.recipe import Recipe, load_recipe
from factory.resources import recipes

from ..driver import RECIPE, workplace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return workplace(tmp_path)


def loaded(folder: Path, text: str, *overrides: str) -> Recipe:
    (folder / "recipe.yaml").write_text(text)
    return load_recipe(folder / "recipe.yaml", overrides)


def test_a_recipe_keeps_its_text_and_resolves_its_defaults(folder: Path) -> None:
    recipe = load_recipe(folder / "demo.yaml")
    assert recipe.text == RECIPE
    assert recipe.base == folder
    assert [step.name for step in recipe.steps] == ["rows", "prompt"]
    resolved = recipe.resolved()
    assert resolved["seed"] == 42
    assert resolved["steps"][0] == {
        "rows": {"name": "rows", "path": "rows.jsonl", "first": None, "header": None, "quotes": True}
    }
    assert resolved["steps"][1]["prompt"]["schema"] is None
    assert json.loads(json.dumps(resolved)) == resolved


def test_a_path_may_be_text(folder: Path) -> None:
    assert check(str(folder / "demo.yaml")) == load_recipe(str(folder / "demo.yaml"))


def test_a_step_may_be_a_bare_word_or_have_nothing_behind_its_colon(folder: Path) -> None:
    for step in ("seeds", "seeds:", "seeds: {}"):
        recipe = loaded(folder, RECIPE.split("steps:")[0] + f"steps:\n  - {step}\n  - self_instruct\n")
        assert recipe.steps[0].options.path == "seeds/self_instruct.jsonl"  # type: ignore[attr-defined]


def test_steps_of_a_kind_are_told_apart_by_name(folder: Path) -> None:
    more = "  - prompt: {name: again, prompt: prompt.jinja, output: other}\n"
    recipe = loaded(folder, RECIPE + more, "again.output=third", "prompt.output=first")
    assert [step.options.output for step in recipe.steps[1:]] == ["first", "third"]  # type: ignore[attr-defined]


def test_columns_are_followed_from_step_to_step(folder: Path) -> None:
    loaded(folder, RECIPE + "  - rouge_l: {field: summary, group_by: text}\n")
    with pytest.raises(RecipeError, match="no column 'other'; the rows have summary, text"):
        loaded(folder, RECIPE + "  - rouge_l: {field: other}\n")


def test_columns_behind_a_step_with_problems_are_not_judged(folder: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(folder, RECIPE.replace("output:", "outptu:") + "  - rouge_l: {field: summary}\n")
    assert len(caught.value.problems) == 1


def test_a_window_left_open_follows_the_engine_where_it_decides_what_is_asked(folder: Path) -> None:
    text = RECIPE.split("steps:")[0] + "steps: [seeds, self_instruct]\n"
    assert loaded(folder, text, "engine.max_in_flight=10").resolved()["steps"][1]["self_instruct"]["window"] == 40
    assert loaded(folder, RECIPE, "engine.max_in_flight=10").resolved()["steps"][1]["prompt"]["window"] is None


def test_files_are_not_looked_at_on_request(folder: Path) -> None:
    (folder / "rows.jsonl").unlink()
    assert load_recipe(folder / "demo.yaml", check_files=False).head.name == "demo"
    with pytest.raises(RecipeError, match="no such file or folder"):
        load_recipe(folder / "demo.yaml")


def test_problems_come_in_the_order_of_the_file(folder: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(folder, "nmae: x\nseed: x\nsteps:\n  - rows: {pth: 1}\n  - nothing\n")
    lines = [problem.line for problem in caught.value.problems]
    assert lines == sorted(lines)
    assert len(lines) >= 5


def test_byte_order_mark_and_windows_line_ends_do_no_harm(folder: Path) -> None:
    (folder / "demo.yaml").write_bytes(b"\xef\xbb\xbf" + RECIPE.replace("\n", "\r\n").encode())
    assert load_recipe(folder / "demo.yaml").head.name == "demo"


@pytest.mark.parametrize("name", list(recipes()))
def test_every_shipped_recipe_loads(name: str) -> None:
    recipe = load_recipe(recipes()[name], check_files=False)  # Adult is not shipped
    assert recipe.head.name == name
    assert recipe.head.description


def test_a_recipe_that_is_not_there_offers_the_nearest_shipped_one() -> None:
    with pytest.raises(UserError, match=r"^quick_start: no such recipe \(did you mean 'quickstart'\?\)\.$"):
        load_recipe(Path("quick_start"))


def test_a_limit_on_money_needs_prices(folder: Path) -> None:
    text = RECIPE.replace("steps:", "budget: {money: 5}\nsteps:", 1)
    with pytest.raises(RecipeError, match="budget: a limit on money needs 'prices"):
        loaded(folder, text)
    priced = RECIPE.replace("steps:", "budget: {money: 5, prices: {prompt: 1, completion: 2}}\nsteps:", 1)
    assert loaded(folder, priced).head.budget.money == 5


def test_a_recipe_that_asks_nothing_needs_no_model(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    text = "name: demo\nengine: {model: embeded}\nsteps:\n  - rows: {path: rows.jsonl}\n  - exact: {field: text}\n"
    (tmp_path / "demo.yaml").write_text(text)
    assert [step.name for step in load_recipe(tmp_path / "demo.yaml").steps] == ["rows", "exact"]
    (tmp_path / "demo.yaml").write_text(text + "  - prompt: {prompt: prompts/prompt/answer.jinja, output: answer}\n")
    with pytest.raises(RecipeError, match="no model is called 'embeded'"):
        load_recipe(tmp_path / "demo.yaml")
