"""What the model is shown: one golden rendering of each prompt file, and the requests of the small variant.

`FACTORY_WRITE_GOLDEN=1 pytest tests/methods/self_instruct/test_prompts.py` writes the golden files anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from factory.engines.protocol import Constraint
from factory.methods.self_instruct import Options, prompts
from factory.prompts import Prompt, shipped_prompt
from factory.records import derive_seed
from factory.resources import resource

from . import fake_model, reference, runs

GOLDEN = Path(__file__).parent / "golden"
TASKS: list[dict[str, Any]] = [
    {
        "instruction": "Is the remark {{ friendly }} or hostile?",
        "is_classification": True,
        "instances": [
            {"input": "Nice <hat> & coat!", "output": "Friendly"},
            {"input": "Go away.", "output": "Hostile"},
        ],
    },
    {
        "instruction": "Name three rivers of Spain.",
        "is_classification": False,
        "instances": [{"input": "", "output": "Ebro, Tajo, Duero."}],
    },
    {
        "instruction": "Add the numbers.",
        "is_classification": False,
        "instances": [{"input": "1 and 2\n3 and 4", "output": "3\n7"}, {"input": "5 and 6", "output": "11"}],
    },
    {
        "instruction": "Say whether the sky is blue.",
        "is_classification": True,
        "instances": [{"input": "", "output": "Yes"}],
    },
]
INSTRUCTION = "Explain what === user === means in {% raw %} text."


def names() -> list[str]:
    folder = resource("prompts/self_instruct")
    assert folder is not None
    return sorted(path.stem for path in folder.glob("*.jinja"))


def rendering(prompt: Prompt, name: str) -> str:
    shown: list[Any] = [task["instruction"] for task in TASKS] if name.startswith("instructions") else TASKS
    values = {"demonstrations": shown, "instruction": INSTRUCTION}
    chat, text = prompt.render(values, chat=True), prompt.render(values, chat=False)
    parts = [f"[{message.role}]\n{message.content}|" for message in chat.messages] + [f"[text]\n{text.text}|"]
    return "\n".join(parts) + "\n"


@pytest.mark.parametrize("name", names())
def test_prompts_render_as_their_golden_file_says(name: str) -> None:
    """A bar marks the end of each message, so that white space there shows."""
    rendered = rendering(shipped_prompt(f"self_instruct/{name}"), name)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("FACTORY_WRITE_GOLDEN"):
        path.write_text(rendered, encoding="utf-8")
    assert rendered == path.read_text(encoding="utf-8")


def test_every_golden_file_has_its_prompt() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == names()


@pytest.mark.parametrize("name", names())
def test_a_prompt_names_the_paper_or_project_it_follows(name: str) -> None:
    header = shipped_prompt(f"self_instruct/{name}").header
    assert "2212.10560" in header.source or "Alpaca" in header.source
    assert header.fidelity


def test_every_prompt_file_belongs_to_a_variant() -> None:
    used = set()
    for options in (Options(), Options(small_model=True), Options(variant="one_call")):
        used |= {prompt.id.removeprefix("self_instruct/") for prompt in prompts(options, Path())}
    assert used == set(names())


@pytest.mark.parametrize("shown", [(6, 2), (2, 1), (3, 0)])
def test_an_answer_is_stopped_behind_the_last_task_that_was_asked_for(shown: tuple[int, int]) -> None:
    options = Options.model_validate({"demonstrations": {"seed": shown[0], "machine": shown[1]}})
    last = sum(shown) + 8
    prompt = shipped_prompt("self_instruct/instructions").render({"demonstrations": ["x"] * sum(shown)}, chat=True)
    assert f"{last - 7} to {last}" in prompt.messages[0].content
    assert options.instruction_sampling().stop[0] == f"\n{last + 1}."


@pytest.mark.parametrize("options", [Options(), Options(variant="one_call"), Options(small_model=True)])
def test_no_stop_string_can_end_an_answer_in_the_middle_of_a_line(options: Options) -> None:
    for sampling in (options.instruction_sampling(), options.instance_sampling(), options.classification):
        assert all(stop.startswith("\n") for stop in sampling.stop)


# --- the small variant ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    folder = tmp_path_factory.mktemp("small")
    return runs.run(runs.write_recipe(folder, accept=12, window=4, small_model=True), folder / "out")


def test_small_models_get_a_begun_answer_of_one_line(small: runs.Run) -> None:
    seeds = {seed["instruction"] for seed in runs.shipped_seeds()}
    machine = {row["fields"]["instruction"] for row in small.lineage.values()} - seeds
    for number in range(8):
        request, _ = small.journal()["instructions", derive_seed(runs.SEED, runs.STEP, str(number), 0)]
        assert [message.role for message in request.messages] == ["user", "assistant"]
        lines = request.messages[1].content.split("\n")
        assert [line.split(". ")[0] for line in lines[:3]] == ["1", "2", "3"]
        assert lines[3:] == ["4."]
        shown = [line[3:] for line in lines[:3]]
        assert sum(text in machine for text in shown) <= 1
        assert set(shown) <= seeds if number < 4 else set(shown) <= seeds | machine
        assert request.sampling.stop == ("\n",)
        assert request.constraint is not None and request.constraint.regex


def test_small_models_are_held_to_yes_or_no_over_four_demonstrations(small: runs.Run) -> None:
    found = [request for (stage, _), (request, _) in small.journal().items() if stage == "classification"]
    for request in found:
        assert request.constraint == Constraint(choice=("Yes", "No"))
        replies = [message.content for message in request.messages if message.role == "assistant"]
        assert sorted(replies) == ["No", "No", "Yes", "Yes"]


def test_small_models_are_put_the_task_itself_and_their_answer_is_the_output(small: runs.Run) -> None:
    rows = [row for row in small.data if not row["is_classification"]]
    assert len(rows) > 5
    for row in rows:
        seed = derive_seed(runs.SEED, runs.STEP, row["instruction_id"], 0)
        request, completion = small.journal()["input_first", seed]
        assert [message.content.split("\n")[0] for message in request.messages] == [row["instruction"]]
        assert (row["input"], row["output"]) == ("", completion.text.strip())


def test_small_models_give_a_label_and_a_text_that_has_it(small: runs.Run) -> None:
    for row in small.data:
        if row["is_classification"]:
            seed = derive_seed(runs.SEED, runs.STEP, row["instruction_id"], 0)
            request, completion = small.journal()["output_first", seed]
            assert fake_model.stage_of(request) == "output_first_small"
            pairs = reference.output_first(completion.text, completion.finish_reason == "length")
            assert (row["input"], row["output"]) in [pair[:2] for pair in pairs]
