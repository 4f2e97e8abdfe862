"""Answers to instructions and instances: the same decisions as a slow second implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.engines.protocol import Completion, Request
from factory.methods.self_instruct.parse import (
    Instance,
    clean,
    parse_answer,
    parse_blocks,
    parse_input_first,
    parse_instructions,
    parse_output_first,
    parse_verdict,
)
from factory.methods.self_instruct.rules import judge_instances

from . import fake_model, reference, runs

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "recorded.jsonl"


def answers(name: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not there: answers of the real model have not been recorded yet")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_parsed_alike(kind: str, text: str, cut: bool) -> None:
    if kind == "instructions":
        for opened in (True, False):
            found = [(item.text, item.problem) for item in parse_instructions(text, cut=cut, opened=opened)]
            assert found == reference.instructions(text, cut, opened)
    elif kind == "classification":
        assert parse_verdict(text) == reference.is_classification(text)
    elif kind == "one_call":
        items = [(item.text, item.problem, item.input, item.output) for item in parse_blocks(text, cut=cut)]
        assert items == reference.blocks(text, cut)
    else:
        parse, check = {
            "input_first": (parse_input_first, reference.input_first),
            "output_first": (parse_output_first, reference.output_first),
        }[kind]
        for opening in ("", "Class label:") if kind == "output_first" else ("",):
            instances = parse(opening + text, cut=cut)
            pairs = [(instance.input, instance.output, instance.problem) for instance in instances]
            assert pairs == check(opening + text, cut)
            assert judge_instances(instances) == reference.instance_reasons(pairs)


@pytest.mark.parametrize("name", ["handwritten.jsonl", "recorded.jsonl"])
def test_every_answer_is_parsed_and_its_instances_judged_as_by_the_reference(name: str) -> None:
    for line in answers(name):
        assert_parsed_alike(line["kind"], line["answer"], line["cut"])


@pytest.mark.parametrize("name", ["handwritten.jsonl", "recorded.jsonl"])
def test_every_candidate_is_decided_as_by_the_reference_with_the_same_reason_and_score(
    name: str, tmp_path: Path
) -> None:
    lines = [line for line in answers(name) if line["kind"] == "instructions"]
    pool = reference.Novelty([seed["instruction"] for seed in runs.shipped_seeds()])
    expected = []
    for line in lines:
        found = reference.instructions(line["answer"], line["cut"], False) or [("", "empty_answer")]
        expected += reference.decide(found, pool, reference.WORDS)
    accepted = [decision.text for decision in expected if decision.reason is None]
    run = replay(lines, tmp_path, accept=len(accepted) + 1)

    assert [row["instruction"] for row in run.data][:-1] == accepted
    turned_away = [(row["fields"]["instruction"], row["reason"], row["score"]) for row in run.rejected]
    decided = [(one.text, one.reason, one.score) for one in expected if one.reason is not None]
    assert [pair[:2] for pair in turned_away[: len(decided)]] == [pair[:2] for pair in decided]
    for (_, reason, score), (_, _, wanted) in zip(turned_away, decided, strict=False):
        assert reason != "too_similar" or score == pytest.approx(wanted, abs=1e-12)


def replay(lines: list[dict[str, Any]], folder: Path, accept: int) -> runs.Run:
    """Give those answers in order, then ever new instructions; every instruction gets one instance."""
    completions: dict[int, Completion] = {}
    for number in range(len(lines) + 50):
        text, cut = f"9. {runs.fresh(number)}", False
        if number < len(lines):
            text, cut = lines[number]["answer"], lines[number]["cut"]
        seed = runs.derive_seed(runs.SEED, runs.STEP, str(number), 0)
        completions[seed] = Completion(
            text=text, finish_reason="length" if cut else "stop", prompt_tokens=1, completion_tokens=1
        )

    def answer(request: Request) -> str | Completion:
        stage = fake_model.stage_of(request)
        if stage == "instructions":
            assert request.seed is not None
            return completions[request.seed]
        return "No" if stage == "classification" else "Output: It is done."

    engine = runs.bounded(answer)
    return runs.run(runs.write_recipe(folder, accept=accept, window=4), folder / "out", engine)


# --- texts made up by hypothesis ------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(
            "Input:",
            "Output:",
            "**Output**:",
            "**Input 2:**",
            "Input 1 :",
            "### Output:",
            "Output",
            "output:",
            "Outputs:",
        ),
        *("Example 1", "Example 2:", "**Example 3**:", "### Example #4", "Example", "Example 12. ", "Example 5 says"),
        *("Class label:", "**Class Label**: ", "Class label 2:", "Task:", "**Task:**", "Task: one", "Task 9: "),
        *("9.", "10)", "**11.** ", "**12. ", "1234.", "9:", "### 3. ", "1.2", " 4 . ", "#", "##", "###", "####### 1. "),
        *("4. Instruction:", "4. Input:", "4. Output:", "**Instruction:**", "<noinput>", "<NoInput>"),
        *("```", "```python", " ```", "`", "**", "*", ":", '"', "“", "”", "(", "'"),
        *("a", "b c", "NASA", "Name a river", "写诗", "é", "2020.", "ends:", "Yes", "no"),
    ]
)
GLUE = st.sampled_from(["\n", "\n", "\n", "\n\n", " ", "", "\n \n", "\t", "\r\n", "\n  "])
TEXTS = st.lists(st.tuples(PIECES, GLUE), max_size=14).map(lambda parts: "".join(part + glue for part, glue in parts))


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, cut=st.booleans(), kind=st.sampled_from(["input_first", "output_first", "one_call", "instructions"]))
def test_made_up_answers_are_parsed_as_by_the_reference(text: str, cut: bool, kind: str) -> None:
    assert_parsed_alike(kind, text, cut)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=80), cut=st.booleans())
def test_any_text_is_parsed_as_by_the_reference(text: str, cut: bool) -> None:
    for kind in ("instructions", "input_first", "output_first", "one_call", "classification"):
        assert_parsed_alike(kind, text, cut)


@settings(max_examples=100, deadline=None)
@given(
    items=st.lists(
        st.text(alphabet="abc XYZ,;!?-éß写", min_size=1, max_size=40).filter(lambda text: text.strip()), max_size=8
    )
)
def test_a_numbered_list_comes_back_item_by_item(items: list[str]) -> None:
    text = "\n".join(f"{number}. {item}" for number, item in enumerate(items, 9))
    assert [item.text for item in parse_instructions(text, opened=False)] == [clean(item) for item in items]


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet='abC NASA é写1.:*"“”\n\t', max_size=40))
def test_cleaning_leaves_single_spaces_no_final_colon_and_changes_no_letter_but_the_first(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split())
    assert not cleaned.endswith(":")
    assert cleaned[:1] == cleaned[:1].upper()
    assert cleaned.replace("**", "")[1:] in " ".join(text.split()).replace("**", "")


# --- what each deviation is about -----------------------------------------------------------------------------


def texts_of(answer: str, **options: bool) -> list[str]:
    return [item.text for item in parse_instructions(answer, **options) if item.problem is None]


def test_capitals_inside_an_instruction_stay() -> None:
    assert texts_of(" ask NASA about the Moon.") == ["Ask NASA about the Moon."]


def test_a_year_at_the_end_of_a_line_is_no_item() -> None:
    assert texts_of("9. What happened in\n2020. Explain it.", opened=False) == ["What happened in 2020. Explain it."]


def test_a_cut_answer_loses_its_last_item_and_no_other() -> None:
    assert [(item.text, item.problem) for item in parse_instructions(" One.\n10. Two.\n11. Thr", cut=True)] == [
        ("One.", None),
        ("Two.", None),
        ("Thr", "cut_off"),
    ]


def test_sentences_around_the_list_of_a_chat_model_are_no_instructions() -> None:
    answer = "Sure, here you go.\n\n9. Name a river.\n10. Name a lake.\n\nTell me if you need more."
    assert texts_of(answer, opened=False) == ["Name a river.", "Name a lake."]


def test_a_chat_answer_without_a_list_holds_no_instruction() -> None:
    assert [item.problem for item in parse_instructions("I cannot help with that.", opened=False)] == ["no_list"]


@pytest.mark.parametrize("number", ["9.", "9)", "9:", "9 .", "**9.**", "### 9.", "Task 9:", "**Task 9:**", "\t9."])
def test_numbers_are_recognised_in_many_typographies(number: str) -> None:
    assert texts_of(f"{number} Name a river.", opened=False) == ["Name a river."]


@pytest.mark.parametrize(
    "line", ["**9. Name a river.**", "9. **Name a river.**", '9. "Name a river."', "9. Name a river.:"]
)
def test_emphasis_quotes_and_final_colons_go(line: str) -> None:
    assert texts_of(line, opened=False) == ["Name a river."]


def test_two_asterisks_inside_an_instruction_are_left_alone() -> None:
    assert texts_of("9. Compute 2**3 and 3**2 now.", opened=False) == ["Compute 2**3 and 3**2 now."]


@pytest.mark.parametrize("form", ["Output:", "**Output:**", "**Output**:", "### Output:", "Output 1:", " Output :"])
def test_the_output_marker_is_recognised_in_many_typographies(form: str) -> None:
    assert parse_input_first(f"Input: a\n{form} b") == [Instance("a", "b")]


@pytest.mark.parametrize(
    "form",
    [
        "Example {}",
        "Example {}:",
        "**Example {}**",
        "**Example {}:**",
        "**Example {}**:",
        "### Example {}",
        "Example #{}.",
    ],
)
def test_example_headings_are_recognised_in_many_typographies(form: str) -> None:
    answer = "".join(f"{form.format(number)}\nInput: in {number}\nOutput: out {number}\n\n" for number in (1, 2))
    assert parse_input_first(answer) == [Instance("in 1", "out 1"), Instance("in 2", "out 2")]


def test_markers_inside_fenced_code_do_not_split_an_output() -> None:
    answer = "Output: A sample run:\n```\nInput: 5\nOutput: 25\n```\nDone."
    assert parse_input_first(answer) == [Instance("", answer.removeprefix("Output: "))]


def test_an_answer_that_stands_in_a_fence_as_a_whole_is_read() -> None:
    assert parse_input_first("Here it is:\n```text\nInput: a\nOutput: b\n```") == [Instance("a", "b")]


def test_an_announcement_before_the_input_is_not_part_of_it() -> None:
    assert parse_input_first("Sure! Here is an example:\n\nInput: a\nOutput: b") == [Instance("a", "b")]


def test_a_repeated_task_line_is_not_part_of_the_input() -> None:
    assert parse_input_first("Task: Add them.\nInput: 1, 2\nOutput: 3") == [Instance("1, 2", "3")]


def test_a_cut_behind_the_next_task_leaves_the_instance_whole() -> None:
    assert parse_input_first("Output: b\n\nTask: Anoth", cut=True) == [Instance("", "b")]


def test_a_cut_instance_is_handed_on_with_its_problem_and_the_ones_before_it_stay() -> None:
    answer = "Example 1\nInput: a\nOutput: b\nExample 2\nInput: c\nOutput: d an"
    assert parse_input_first(answer, cut=True) == [Instance("a", "b"), Instance("c", "d an", "cut_off")]
    assert parse_output_first("Class label: A\nInput: a\nClass label: B\nInput: b an", cut=True) == [
        Instance("a", "A"),
        Instance("b an", "B", "cut_off"),
    ]


def test_a_classification_answer_without_a_label_marker_holds_no_instance() -> None:
    assert parse_output_first("I would say that it is positive.") == []


def test_a_heading_between_labels_does_not_become_part_of_an_input() -> None:
    answer = "Example 1\nClass label: A\nInput: a\n\nExample 2\nClass label: B\nInput: b"
    assert parse_output_first(answer) == [Instance("a", "A"), Instance("b", "B")]


def test_the_answer_to_a_task_put_directly_is_its_output_whatever_it_looks_like() -> None:
    answer = "Example 1\nInput: a\n\nTask: none"
    assert parse_answer(answer) == [Instance("", answer)]
    assert parse_answer("Done.\n\nTask: And so on and", cut=True, chat=False) == [Instance("", "Done.")]
    assert parse_answer("Half of it", cut=True) == [Instance("", "Half of it", "cut_off")]


def test_blocks_mark_what_is_malformed_or_cut_and_keep_the_rest() -> None:
    answer = (
        " Name a river.\n4. Input:\n<noinput>\n4. Output:\nThe Nile.\n###\n5. Instruction: Add.\n5. Output:\n3\n"
        "###\n6. Instruction: Sort them.\n6. Input:\nb, a\n6. Output:\na, b\n###\n7. Instruction: Cut"
    )
    items = parse_blocks(answer, cut=True)
    assert [item.problem for item in items] == [None, "malformed", None, "cut_off"]
    assert [(item.text, item.input, item.output) for item in items if item.problem is None] == [
        ("Name a river.", "", "The Nile."),
        ("Sort them.", "b, a", "a, b"),
    ]


def test_a_block_that_was_closed_before_the_cut_is_whole() -> None:
    answer = "4. Instruction: Name a river.\n4. Input:\n<noinput>\n4. Output:\nThe Nile.\n###\n"
    assert [item.problem for item in parse_blocks(answer, cut=True)] == [None]
