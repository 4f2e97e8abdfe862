"""Which operation a row gets, and how an answer becomes the evolved task."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.methods.evol_instruct import Options, operations, prompts
from factory.methods.evol_instruct.operations import CODE, FORMATS, PAPER, SMALL_FORMATS, evolved
from factory.recipe.schema import StepOptions

DRAWS = 6000
UNIFORM = dict.fromkeys(PAPER, 1.0)
CHI_SQUARE_5_AT_0_001 = 20.515  # five degrees of freedom, one chance in a thousand


def drawn(weights: dict[str, float]) -> list[str]:
    return [operations.draw(f"42/evol_instruct/{number:020x}/{number % 4 + 1}", weights) for number in range(DRAWS)]


def test_operations_are_drawn_uniformly_by_default() -> None:
    assert Options().operations == UNIFORM
    counts = Counter(drawn(UNIFORM))
    expected = DRAWS / len(PAPER)
    assert set(counts) == set(PAPER)
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < CHI_SQUARE_5_AT_0_001


def test_weights_are_followed() -> None:
    weights = {"deepen": 3.0, "in_breadth": 1.0, "concretise": 0.0}
    counts = Counter(drawn(weights))
    assert set(counts) == {"deepen", "in_breadth"}
    assert counts["deepen"] / DRAWS == pytest.approx(0.75, abs=0.03)


def test_the_chi_square_test_can_fail() -> None:
    counts = Counter(drawn({**UNIFORM, "deepen": 1.4}))
    expected = DRAWS / len(PAPER)
    assert sum((count - expected) ** 2 / expected for count in counts.values()) > CHI_SQUARE_5_AT_0_001


def test_an_operation_more_changes_only_the_draws_that_it_wins() -> None:
    before, after = drawn({name: 1.0 for name in PAPER[:5]}), drawn(UNIFORM)
    assert all(new in (old, PAPER[5]) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("small", [False, True])
def test_data_formats_all_come_up(small: bool) -> None:
    formats = Counter(operations.data_format(str(number), small=small) for number in range(900))
    assert set(formats) == set(SMALL_FORMATS if small else FORMATS)


@pytest.mark.parametrize(
    ("answer", "task"),
    [
        ("Name three rivers and say where they rise.", "Name three rivers and say where they rise."),
        ("Rewritten task: Name three rivers.", "Name three rivers."),
        ("#Rewritten Prompt#:\nName three rivers.", "Name three rivers."),
        ("**Rewritten Task:** Name three rivers.", "Name three rivers."),
        ("Created task:\n\nName three rivers.", "Name three rivers."),
        ("Sure! Here is the rewritten version of the task:\n\nName three rivers.", "Name three rivers."),
        ("Here's a harder task:\nName three rivers.", "Name three rivers."),
        ('"Name three rivers."', "Name three rivers."),
        ("“Name three rivers.”", "Name three rivers."),
        ("```\nName three rivers.\n```", "Name three rivers."),
        ("<think>One more constraint …</think>\nName three rivers.", "Name three rivers."),
        ('"A" and "B": which is first?', '"A" and "B": which is first?'),
        ("Here are three clauses. Which is odd?", "Here are three clauses. Which is odd?"),
        ("Rewrite the task list: one line each.", "Rewrite the task list: one line each."),
        ("Sort this:\n```csv\na,b\n1,2\n```", "Sort this:\n```csv\na,b\n1,2\n```"),
        ("Sort this:\n```csv\na,b\n1,2\n", "Sort this:\n```csv\na,b\n1,2\n```"),
        ("  ", ""),
        ("...", ""),
        ('"', ""),
        ("Rewritten task:", ""),
        ("<think>let me see", ""),
        ("a</think>Name X.", "Name X."),
        ("Revised task: Name X.", "Name X."),
        ("Task: Name X.", "Name X."),
        ("The rewritten task is: Name 3 long rivers", "Name 3 long rivers"),
        ("Rewritten Task (with one more constraint): Name three long rivers", "Name three long rivers"),
        ("Sure, here is a harder version: Name X.", "Name X."),
        ("Certainly! Below is the rewritten version.\n\nName X.", "Name X."),
        ("Sure!\n\nName X.", "Name X."),
        ("Sure! Here's the new version:\n\n---\n\nName X.\n\n---\n\nLet me know if you want changes!", "Name X."),
        ("Write X.\n\nNote: I added a constraint.", "Write X."),
        ("Write X.\n\nNote: use metric units.", "Write X.\n\nNote: use metric units."),
        (
            "New tasks should be sorted by date. Write a function.",
            "New tasks should be sorted by date. Write a function.",
        ),
        ("The new task force has three members. Name them.", "The new task force has three members. Name them."),
        ("New prompt engineering techniques: list three.", "New prompt engineering techniques: list three."),
        ("New instruction sets such as RISC-V: compare two.", "New instruction sets such as RISC-V: compare two."),
        ("Harder tasks need more time. Explain.", "Harder tasks need more time. Explain."),
        ("Here are three sentences:\nI is.\nCorrect them.", "Here are three sentences:\nI is.\nCorrect them."),
        ("Here's a recipe for soup:\n\nBoil. Improve it.", "Here's a recipe for soup:\n\nBoil. Improve it."),
    ],
)
def test_what_a_model_says_around_the_task_is_left_out(answer: str, task: str) -> None:
    assert evolved("", answer) == task


@pytest.mark.parametrize(
    ("begun", "answer", "task"),
    [
        ("Name three rivers, without", " lakes.", "Name three rivers, without lakes."),
        ("Sort it:\n\n```json\n", '{\n  "a": 1\n}\n', 'Sort it:\n\n```json\n{\n  "a": 1\n}\n```'),
        ("2.", " Name a lake.", "Name a lake."),
        ("2.", " Name a lake.\n3. Name a pond.", "Name a lake."),
        ("Name a river, and say why", " it flows.\n\nSure! Here it is again.", "Name a river, and say why it flows."),
        ("Name a river, using only", "", ""),
        ("Sort it:\n\n```json\n", " \n```", ""),
    ],
)
def test_a_task_that_the_prompt_has_begun_is_gone_on_with(begun: str, answer: str, task: str) -> None:
    assert evolved(begun, answer) == task


@given(st.text(max_size=300))
def test_no_answer_breaks_the_reading(answer: str) -> None:
    for begun in ("", "Name a river, ", "2."):
        task = evolved(begun, answer)
        assert task == task.strip()
        assert task.count("```") % 2 == 0


@pytest.mark.parametrize("shown", [*SMALL_FORMATS, "none"])
def test_forms_of_small_models_are_regular_expressions_that_something_fits(shown: str) -> None:
    examples = {
        "json": '{\n  "city": "Oslo",\n  "people": 709\n}\n',
        "csv": "day,sun,rain\nMon,3,0\nTue,1,6\n",
        "sql": "CREATE TABLE trips (\n  id INTEGER,\n  city TEXT\n);\n",
    }
    form = operations.small_form("complicate_input" if shown in examples else "deepen", shown)
    assert form.regex is not None
    assert re.fullmatch(form.regex, examples.get(shown, " its source is high up."))


def test_every_operation_has_a_prompt_that_renders_for_chat_and_base_models() -> None:
    for small in (False, True):
        options = Options(operations=dict.fromkeys(PAPER + CODE, 1.0), small_model=small)
        assert isinstance(options, StepOptions)
        for prompt in prompts(options, Path()):
            values: dict[str, object] = {
                "instruction": "NAME THREE RIVERS.",
                "opening": "NAME THREE RIVERS",
                "format": "json",
                "first": "NAME THREE RIVERS.",
                "second": "B",
            }
            for pick in range(12) if "pick" in prompt.header.inputs else (0,):
                for chat in (True, False):
                    rendered = prompt.render({**values, "pick": pick}, chat=chat)
                    text = rendered.text or "\n".join(message.content for message in rendered.messages)
                    assert "NAME THREE RIVERS" in text
                    assert "{{" not in text and "{%" not in text


def test_what_all_requests_of_an_operation_share_comes_first() -> None:
    """The prefix cache of an engine serves what stands before the task."""
    for name in PAPER[:4] + CODE:
        options = Options(operations={name: 1.0})
        text = prompts(options, Path())[0].render({"instruction": "<<TASK>>"}, chat=True).messages[0].content
        assert text.index("<<TASK>>") > 0.8 * len(text)


@pytest.mark.parametrize("name", ["deepn", "code_decoi"])
def test_an_unknown_operation_is_refused_with_a_hint(name: str) -> None:
    with pytest.raises(ValueError, match=rf"no operation is called '{name}' \(did you mean"):
        Options(operations={name: 1.0})
    with pytest.raises(ValueError, match="at least one operation needs a weight above 0"):
        Options(operations={"deepen": 0.0})
