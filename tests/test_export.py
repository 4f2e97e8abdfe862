"""Fine-tuning files: the right text in the right layout, and splits that do not leak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.datasets_io.pairs import Pair
from factory.engines.scripted import ScriptedEngine
from factory.errors import UserError
from factory.exporting import Exported, export, formats
from factory.exporting.families import Families
from factory.exporting.item import Item
from factory.exports import alpaca, messages, prompt_completion
from factory.records import digest
from factory.runner import run

from .driver import workplace, write_rows
from .exporting import directories

PAIR = Pair("Add the numbers.", "2, 3", "5")


def made(folder: Path, rows: list[dict[str, object]], *, name: str = "run") -> Path:
    """A run directory whose rows have instruction, input and output."""
    workplace(folder)
    write_rows(folder / "rows.jsonl", rows)
    (folder / "prompt.jinja").write_text("---\ninputs: [instruction]\n---\n=== user ===\n{{ instruction }}\n")
    recipe = folder / "demo.yaml"
    recipe.write_text(recipe.read_text().replace("output: summary", "output: output"))
    numbers = iter(range(10_000))
    run(recipe, folder / name, engine=ScriptedEngine(lambda request: f"Answer {next(numbers)}."), progress=False)
    return folder / name


def lines(done: Exported) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in done.files}


def questions(rows: list[dict[str, Any]]) -> set[str]:
    return {row["messages"][0]["content"] for row in rows}


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[dict[str, object]] = [
        {"instruction": f"Task {n}.", "input": "" if n % 2 else f"Text: {n}"} for n in range(100)
    ]
    return made(tmp_path_factory.mktemp("hundred"), rows)


def test_there_are_seven_formats() -> None:
    assert formats() == ["alpaca", "csv", "messages", "preference", "prompt-completion", "sharegpt", "text"]


def test_each_format_writes_a_pair_as_its_readers_expect() -> None:
    question = "Add the numbers.\n\n2, 3"
    assert messages.convert(PAIR) == {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "5"}]
    }
    assert alpaca.convert(PAIR) == {"instruction": "Add the numbers.", "input": "2, 3", "output": "5"}
    assert prompt_completion.convert(PAIR) == {"prompt": f"{question}\n\n", "completion": "5"}
    system = Pair("Hi.", "", "Hello.", "Be kind.")
    assert messages.convert(system)["messages"][0] == {"role": "system", "content": "Be kind."}  # type: ignore[index]
    assert messages.convert(system)["messages"][1]["content"] == "Hi."  # type: ignore[index]
    assert alpaca.convert(system)["system"] == "Be kind."


def layouts(input_text: str) -> set[str]:
    found = set()
    for number in range(400):
        instruction = f"Do thing {number:03}."
        row = prompt_completion.convert_varied(Pair(instruction, input_text, "Out"))
        prompt = str(row["prompt"])
        assert row["completion"] == ("Out" if prompt.endswith("\n") else " Out")
        found.add(prompt.replace(instruction, "<instruction>").replace(input_text or "\0", "<input>"))
    return found


def test_all_layouts_of_self_instruct_are_reached() -> None:
    assert layouts("some words") == {
        "<instruction>\nInput: <input>\nOutput:",
        "<instruction>\n\nInput: <input>\n\nOutput:",
        "Task: <instruction>\nInput: <input>\nOutput:",
        "Task: <instruction>\n\nInput: <input>\n\nOutput:",
        "<instruction>\n\n<input>\n\nOutput:",
        "Task: <instruction>\n\n<input>\n",
        "<instruction>\n<input>\n",
    }
    assert (
        layouts("")
        == layouts(" \n")
        == {
            "<instruction>\nOutput:",
            "<instruction>\n\nOutput:",
            "Task: <instruction>\nOutput:",
            "Task: <instruction>\n\nOutput:",
            "<instruction>\n\n",
            "<instruction>\n",
        }
    )


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("Review: Good soup.", "Good soup."),
        ("Text:\n\nOne.\n\nTwo.", "One.\nTwo."),
        ("Short story: Once.", "Once."),
        ("http://a.example/b: it", "http://a.example/b: it"),
        ("https://a.example", "https://a.example"),
        ("12:30", "12:30"),
        ("Meet at 12:30 in Rome", "Meet at 12:30 in Rome"),
        ("Question: a\nContext: b", "Question: a\nContext: b"),
        ("Dear all,\n\nNote: come.", "Dear all,\n\nNote: come."),
        ("Text:", "Text:"),
        ("", ""),
    ],
)
def test_a_single_leading_field_name_is_cut_and_nothing_else(text: str, stripped: str) -> None:
    assert prompt_completion.strip_field_name(text) == stripped


def test_half_of_the_field_names_stay() -> None:
    kept = sum(
        "Text:" in str(prompt_completion.convert_varied(Pair(f"Do {n}.", "Text: words", "x"))["prompt"])
        for n in range(400)
    )
    assert 150 < kept < 250


def test_values_are_not_taken_for_templates() -> None:
    pair = Pair("Explain {{ layout }}.", "{% if x %}", "{{ instruction }}")
    row = prompt_completion.convert_varied(pair)
    assert "Explain {{ layout }}." in str(row["prompt"])
    assert str(row["completion"]).strip() == "{{ instruction }}"


def test_a_split_takes_about_its_share_and_the_same_rows_each_time(hundred: Path, tmp_path: Path) -> None:
    done = export(hundred, tmp_path / "one", validation=0.3)
    assert done.rows["train"] + done.rows["validation"] == 100
    assert 15 <= done.rows["validation"] <= 45
    assert lines(done) == lines(export(hundred, tmp_path / "two", validation=0.3))
    larger = export(hundred, tmp_path / "three", validation=0.5)
    assert questions(lines(done)["validation"]) < questions(lines(larger)["validation"])


def test_a_row_keeps_its_split_when_rows_are_added(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"instruction": f"Task {n}."} for n in range(60)]
    few = lines(export(made(tmp_path, rows[:30], name="few"), tmp_path / "a", validation=0.4))
    many = lines(export(made(tmp_path, rows[::-1], name="many"), tmp_path / "b", validation=0.4))
    for split in ("train", "validation"):
        assert questions(few[split]) <= questions(many[split])


def test_rows_with_the_same_question_stay_together(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"instruction": f"Task {n % 20}.", "n": n} for n in range(100)]
    parts = lines(export(made(tmp_path, rows), tmp_path / "out", validation=0.4))
    assert len(parts["train"]) + len(parts["validation"]) == 100
    assert not questions(parts["train"]) & questions(parts["validation"])


def test_rows_without_one_root_go_by_their_instruction(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Task {n // 3}" + (" " if n % 2 else ""), "input": str(n), "output": "o", "root": None}
        for n in range(90)
    ]
    run_dir = directories.pairs(tmp_path / "run", rows)
    parts = lines(export(run_dir, tmp_path / "out", format="alpaca", validation=0.4))
    split = {name: {row["instruction"].strip() for row in part} for name, part in parts.items()}
    assert split["train"] | split["validation"] == {f"Task {n}" for n in range(30)}
    assert not split["train"] & split["validation"]


@given(st.data())
def test_families_never_straddle_whatever_ties_them_together(data: st.DataObject) -> None:
    roots, asked = st.sampled_from(["a", "b", "c", "d", "e", None]), st.sampled_from("123456")
    drawn = data.draw(st.lists(st.tuples(roots, roots, asked), max_size=30))
    items = [
        Item(
            {}, tuple(dict.fromkeys(root for root in two if root)), instruction, instruction, Pair(instruction, "", "o")
        )
        for *two, instruction in drawn
    ]
    families = Families(items)
    shares = [families.share(item) for item in items]
    for item, share in zip(items, shares, strict=True):
        for other, other_share in zip(items, shares, strict=True):
            if set(item.roots) & set(other.roots) or item.asked == other.asked:
                assert share == other_share
    assert shares[::-1] == [Families(items[::-1]).share(item) for item in items[::-1]]


def test_a_family_keeps_the_side_that_earlier_versions_gave_it() -> None:
    rooted = Item({}, ("5f0c",), "Name a river.", "Name a river.", Pair("Name a river.", "", "o"))
    unrooted = Item({}, (), "Name  a River.", "Name a river.\n\nx", Pair("Name  a River.", "x", "o"))
    assert Families([rooted]).share(rooted) == int(digest("split", "5f0c")[:12], 16) / 16**12
    assert Families([unrooted]).share(unrooted) == int(digest("split", "name a river.")[:12], 16) / 16**12


def test_duplicates_and_empty_answers_are_left_out_and_counted(tmp_path: Path) -> None:
    row = {"instruction": "a", "output": "b", "root": "r"}
    rows = [row, dict(row), {**row, "output": " "}, {**row, "output": None}]
    done = export(directories.pairs(tmp_path / "run", rows), tmp_path / "out")
    assert done.rows == {"train": 1}
    assert done.left_out == {"exact duplicate": 1, "empty output": 2}


def test_values_that_are_no_text_are_written_as_json(tmp_path: Path) -> None:
    directory = made(tmp_path, [{"instruction": "a", "n": 3, "tags": ["x", "ü"]}])
    rows = lines(export(directory, tmp_path / "out", format="alpaca", instruction="n", input="tags"))
    assert rows["train"] == [{"instruction": "3", "input": '["x", "ü"]', "output": "Answer 0."}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"format": "message"},
            "no format is called 'message' (did you mean 'messages'?); there are alpaca, csv, mess",
        ),
        ({"format": "chatml"}, "format: no format is called 'chatml'; there are"),
        ({"validation": 1.0}, "validation: expected a share in [0, 1), found 1.0."),
        ({"validation": -0.1}, "validation: expected a share in [0, 1), found -0.1."),
        ({"validation": float("nan")}, "validation: expected a share in [0, 1), found nan."),
        ({"test": 1.5}, "test: expected a share in [0, 1), found 1.5."),
        ({"validation": 0.6, "test": 0.4}, "expected shares that leave rows to train on, found 0.6 and 0.4"),
        ({"templates": "self-instruct"}, "templates: 'self-instruct' goes with --format prompt-completion."),
        ({"templates": "plain", "format": "text", "parquet": True, "shard_rows": -1}, "shard_rows: expected 1 or more"),
        ({"templates": "conversational"}, "'conversational' goes with --format preference or prompt-completion."),
        ({"templates": "own"}, "templates: expected one of plain, found 'own'."),
        ({"shard_rows": 0}, "shard_rows: expected 1 or more, found 0."),
        ({"max_tokens": 9}, "max_tokens: needs a tokenizer to count with; name one with --tokenizer"),
        ({"format": "csv", "tokenizer": "embedded"}, "tokenizer: the format csv has no token counts; leave it out."),
        ({"format": "csv", "parquet": True}, "parquet: the format csv is a kind of file itself"),
        ({"formulas": "run"}, "formulas: expected one of neutralise, keep, found 'run'."),
        ({"pair": "rows"}, "pair: expected one of answers, tasks, found 'rows'."),
        ({"margin": float("nan")}, "margin: expected a number from 0 on, found nan."),
        ({"system": "sys"}, "no column 'sys'; name one with --system"),
        ({"format": "preference"}, "no rows make a preference pair (100 no other answer; no judge has scored"),
        (
            {"format": "preference", "score": "inptu"},
            "no column 'inptu' (did you mean 'input'?); name one with --score",
        ),
        ({"format": "preference", "pair": "tasks"}, "no column 'parent_id'"),
        ({"decontaminate": ["none.jsonl"]}, "decontaminate: none.jsonl: no such file or folder"),
        ({"tokenizer": "./none"}, "tokenizer ./none: no such folder, and no Hub id"),
        (
            {"output": "outptu"},
            "no column 'outptu' (did you mean 'output'?); name one with --output, there are instruc",
        ),
        ({"instruction": "x"}, "no column 'x'; name one with --instruction"),
        ({"input": "inptu"}, "no column 'inptu' (did you mean 'input'?); name one with --input"),
        ({"output": "provenance"}, "no column 'provenance'; name one with --output"),
    ],
)
def test_what_cannot_be_exported_leaves_no_trace(
    hundred: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        export(hundred, tmp_path / "out", **arguments)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_split_without_rows_gets_no_file(tmp_path: Path) -> None:
    directory = made(tmp_path, [{"instruction": "a"}])
    done = export(directory, tmp_path / "out", validation=0.0001)
    assert done.rows == {"train": 1, "validation": 0}
    assert [path.name for path in done.files] == ["train.jsonl"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["export.json", "train.jsonl"]


def test_the_run_directory_and_the_exported_files_load_with_datasets(
    hundred: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(hundred), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.num_rows == 100
    assert rows.column_names == ["instruction", "input", "output", "record_id", "provenance"]
    assert rows[0]["instruction"] == "Task 0."
    assert rows[0]["provenance"]["step"] == "prompt"
    for format_ in set(formats()) - {"preference"}:
        done = export(hundred, tmp_path / format_, format=format_, validation=0.3)
        loaded = datasets.load_dataset(str(tmp_path / format_), cache_dir=str(tmp_path / "cache"))
        assert {name: part.num_rows for name, part in loaded.items()} == done.rows
