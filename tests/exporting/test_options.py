"""Ids, system messages, texts, tokens, benchmarks, and what the command prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factory.datasets_io.rows import read_rows
from factory.errors import UserError
from factory.exporting import export
from factory.exporting.tokens import Lengths

from ..driver import Command, in_process
from .directories import JUDGED, directory, lines, pairs, record

TWO = [
    {"instruction": "Add.", "input": "2, 3", "output": "5", "sys": "Be brief."},
    {"instruction": "Name a river.", "input": "", "output": "The Inn.", "sys": None},
]
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(tmp_path, monkeypatch, capsys)


def rows(run: Path, out: Path, **options: Any) -> list[dict[str, Any]]:
    return lines(export(run, out, **options).files[0])


def test_ids_are_written_where_they_are_asked_for_and_hide_no_duplicate(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", [TWO[0], TWO[0], TWO[1]])
    assert [set(row) for row in rows(run, tmp_path / "a")] == [{"messages"}] * 2
    assert [row["record_id"] for row in rows(run, tmp_path / "b", ids=True)] == ["0" * 20, "0" * 19 + "2"]


def test_system_messages_are_where_each_format_has_them(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", TWO)
    chat = rows(run, tmp_path / "a", system="sys")
    assert [[one["role"] for one in row["messages"]] for row in chat] == [
        ["system", "user", "assistant"],
        ["user", "assistant"],
    ]
    said = rows(run, tmp_path / "b", system="sys", format="sharegpt")[0]["conversations"]
    assert said == [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Add.\n\n2, 3"},
        {"from": "gpt", "value": "5"},
    ]
    # In all rows or in none: readers take the columns of the first rows for those of all.
    assert [row["system"] for row in rows(run, tmp_path / "c", system="sys", format="alpaca")] == ["Be brief.", ""]
    assert all("system" not in row for row in rows(run, tmp_path / "d", format="alpaca"))
    talk = rows(run, tmp_path / "e", system="sys", format="prompt-completion", templates="conversational")
    assert talk[1] == {
        "prompt": [{"role": "user", "content": "Name a river."}],
        "completion": [{"role": "assistant", "content": "The Inn."}],
    }
    assert rows(run, tmp_path / "f", system="sys", format="text")[0] == {"text": "Be brief.\n\nAdd.\n\n2, 3\n\n5"}


def test_texts_alone_need_no_question(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", [{"text": "A ticket.", "label": "x"}, {"text": " "}, {"text": "Another."}])
    done = export(run, tmp_path / "a", format="text")
    assert lines(done.files[0]) == [{"text": "A ticket."}, {"text": "Another."}]
    assert done.left_out == {"empty output": 1}
    with pytest.raises(
        UserError, match=r"no column 'instruction'.*there are text, label; --format csv writes rows of any"
    ):
        export(run, tmp_path / "b")


def test_rows_are_on_the_same_side_in_every_format(tmp_path: Path) -> None:
    made = [
        {
            "instruction": f"T{n // 3}",
            "input": f"{n}",
            "output": f"o{n}",
            "text": f"t{n}",
            "root": None,
        }
        for n in range(120)
    ]
    run, sides = pairs(tmp_path / "run", made), []
    for format_ in ("alpaca", "messages", "text", "csv"):
        export(run, tmp_path / format_, format=format_, validation=0.3, test=0.3, ids=True, parquet=format_ == "text")
        found = read(tmp_path / format_)
        assert all(len({int(name, 16) // 3 for name in found[side]}) > 3 for side in found)
        for one, other in ((a, b) for a in found for b in found if a != b):
            assert not {int(name, 16) // 3 for name in found[one]} & {int(name, 16) // 3 for name in found[other]}
        sides.append(found)
    assert sides == [sides[0]] * 4


def test_a_preference_pair_is_on_the_side_of_its_rows_in_other_formats(tmp_path: Path) -> None:
    made: list[dict[str, Any]] = []
    for n in range(60):
        for root, score in enumerate(
            (9.0, 1.0, 5.0)
        ):  # the third answer is in no pair, and ties its root to the others
            told = {"input": "", "root": f"{n}-{root}"}
            made.append({"instruction": f"Q{n}", "output": f"a{n}-{root}", "score": score, **told})
            for own in (1.0, 9.0):
                made.append({"instruction": f"own {n}-{root}", "output": f"{own}", "score": own, **told})
    run = pairs(tmp_path / "run", made)
    for format_ in ("messages", "preference"):
        score = {"score": "score"} if format_ == "preference" else {}
        export(run, tmp_path / format_, format=format_, validation=0.3, test=0.3, ids=True, **score)
    for side, ids in read(tmp_path / "messages").items():
        rows = lines(tmp_path / "preference" / f"{side}.jsonl")
        assert rows and {row[name] for row in rows for name in ("chosen_id", "rejected_id")} <= ids


def read(out: Path) -> dict[str, set[str]]:
    """Ids in each split."""
    return {
        name: {row["record_id"] for path in out.glob(f"{name}.*") for row in read_rows(path)}
        for name in ("train", "validation", "test")
    }


def test_a_test_split_takes_its_share_and_moves_no_row_between_the_others(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", [{"instruction": f"T{n}", "output": "o"} for n in range(200)])

    def sides(name: str, **shares: float) -> dict[str, set[str]]:
        done = export(run, tmp_path / name, format="alpaca", **shares)
        assert sum(done.rows.values()) == 200
        return {path.stem: {row["instruction"] for row in lines(path)} for path in done.files}

    first, second = sides("a", validation=0.2), sides("b", validation=0.2, test=0.2)
    assert first["validation"] == second["validation"]
    assert 20 < len(second["test"]) < 60
    assert second["test"] < sides("c", test=0.4)["test"]
    assert second["test"] == sides("d", validation=0.5, test=0.2)["test"]


# --- tokens ----------------------------------------------------------------------------------------------


def test_the_figures_of_lengths_are_those_of_rows() -> None:
    assert Lengths.of([]) is None
    assert Lengths.of([7]) == Lengths(7, 7, 7, 7, 7)
    assert Lengths.of([*range(1, 101)]) == Lengths(1, 50, 95, 100, 5050)
    assert Lengths.of([1, 100]) == Lengths(1, 1, 100, 100, 101)


def _saved(folder: Path, template: str | None, *, bos: bool) -> Any:
    """A tokenizer of words, with a mark before every text if `bos`."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    marks = {"<s>": 0, "</s>": 1, "[UNK]": 2}
    words = [
        "user",
        "assistant",
        "system",
        "Add",
        ".",
        "2",
        ",",
        "3",
        "5",
        "Name",
        "a",
        "river",
        "The",
        "Inn",
        "Be",
        "brief",
        "A",
        "ticket",
        "Another",
    ]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({**marks, **{word: n for n, word in enumerate(words, 3)}}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if bos:
        inner.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    whole = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="[UNK]"
    )
    whole.chat_template = template
    whole.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


CHAT = "<s>{% for m in messages %}{{ m.role }} {{ m.content }} </s>{% endfor %}"


def test_rows_are_counted_through_the_chat_template_of_the_tokenizer(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", TWO)
    tokenizer = _saved(tmp_path / "tok", CHAT, bos=True)
    for format_ in ("messages", "sharegpt", "alpaca"):
        done = export(run, tmp_path / format_, format=format_, tokenizer=str(tmp_path / "tok"))
        chats = [[("user", "Add.\n\n2, 3"), ("assistant", "5")], [("user", "Name a river."), ("assistant", "The Inn.")]]
        counts = [
            len(
                tokenizer.apply_chat_template(
                    [{"role": role, "content": text} for role, text in chat], return_dict=False
                )
            )
            for chat in chats
        ]
        assert done.tokens == Lengths.of(counts)
    plain = export(run, tmp_path / "plain", format="prompt-completion", tokenizer=str(tmp_path / "tok"))
    assert plain.tokens == Lengths.of(
        [len(tokenizer(text)["input_ids"]) for text in ("Add.\n\n2, 3\n\n5", "Name a river.\n\nThe Inn.")]
    )


def test_text_is_what_the_template_writes_with_one_mark_at_the_beginning_when_it_is_tokenised(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", TWO)
    for bos in (True, False):
        folder = tmp_path / f"tok{bos}"
        tokenizer = _saved(folder, CHAT, bos=bos)
        done = export(run, tmp_path / f"out{bos}", format="text", tokenizer=str(folder))
        texts = [row["text"] for row in lines(done.files[0])]
        assert texts[0] == ("" if bos else "<s>") + "user Add.\n\n2, 3 </s>assistant 5 </s>"
        ids = [tokenizer(text)["input_ids"] for text in texts]
        assert all(one.count(0) == 1 and one[0] == 0 for one in ids)
        assert done.tokens == Lengths.of([len(one) for one in ids])


def test_rows_that_are_too_long_are_left_out_whole_and_counted(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", TWO)
    _saved(tmp_path / "tok", CHAT, bos=True)
    whole = export(run, tmp_path / "a", tokenizer=str(tmp_path / "tok"))
    assert whole.tokens is not None
    most = whole.tokens.most
    assert whole.tokens.least < most
    same = export(run, tmp_path / "b", tokenizer=str(tmp_path / "tok"), max_tokens=most)
    assert (same.rows, same.left_out) == (whole.rows, {})
    less = export(run, tmp_path / "c", tokenizer=str(tmp_path / "tok"), max_tokens=most - 1)
    assert (less.rows, less.left_out) == ({"train": 1}, {f"longer than {most - 1} tokens": 1})
    assert less.tokens == Lengths(*[whole.tokens.least] * 5)
    assert lines(less.files[0])[0] in lines(whole.files[0])


def test_the_longer_half_of_a_preference_counts(tmp_path: Path) -> None:
    kept = [
        record(n, {"instruction": "Add", "output": t, "score": s}, "r")
        for n, t, s in (("a", "5", 2), ("b", "5 5 5 5", 1))
    ]
    run = directory(tmp_path / "run", kept, steps=[JUDGED])
    _saved(tmp_path / "tok", CHAT, bos=True)
    done = export(run, tmp_path / "out", format="preference", tokenizer=str(tmp_path / "tok"))
    assert done.tokens is not None and done.tokens.most == 1 + len(
        ["user", "Add", "</s>", "assistant", "5", "5", "5", "5", "</s>"]
    )


def test_a_tokenizer_without_a_template_says_so_and_one_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", TWO)
    _saved(tmp_path / "bare", None, bos=False)
    done = export(run, tmp_path / "a", format="text", tokenizer=str(tmp_path / "bare"))
    assert done.notes == [f"{tmp_path / 'bare'} has no chat template: messages are counted as plain texts"]
    assert lines(done.files[0])[0] == {"text": "Add.\n\n2, 3\n\n5"}
    strict = "{% if messages[0].role == 'system' %}{{ raise_exception('No system here') }}{% endif %}x"
    _saved(tmp_path / "strict", strict, bos=False)
    with pytest.raises(
        UserError, match=r"its chat template refuses messages of system, user, assistant \(No system here\)"
    ):
        export(run, tmp_path / "b", system="sys", tokenizer=str(tmp_path / "strict"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the folder has no tokenizer.json or tokenizer_config.json"):
        export(run, tmp_path / "b", tokenizer=str(tmp_path / "empty"))
    assert not (tmp_path / "b").exists()


# --- benchmarks --------------------------------------------------------------------------------------------


def test_what_overlaps_with_a_benchmark_is_removed_and_listed_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "quiz.jsonl").write_text(
        json.dumps({"q": "Which is the capital?", "a": "New York City"}) + "\n" + json.dumps({"q": WORDS}) + "\n"
    )
    made = [
        {"instruction": f"Say {WORDS} please.", "input": "", "output": "Fine."},
        {"instruction": "Count.", "input": "", "output": f"So: {WORDS}!"},
        {"instruction": "Which is the CAPITAL", "input": "", "output": "Of what?"},
        {"instruction": "Name a large town.", "input": "", "output": "New York City"},
        {
            "instruction": "Count to eleven.",
            "input": "",
            "output": "one two three four five six seven eight nine ten eleven",
        },
    ]
    done = export(pairs(tmp_path / "run", made), tmp_path / "out", decontaminate=[str(tmp_path / "quiz.jsonl")])
    assert done.rows == {"train": 2}
    assert done.left_out == {"overlaps with a benchmark": 3}
    assert done.removed == tmp_path / "out" / "removed.jsonl"
    found = lines(done.removed)
    assert [(Path(row["file"]).name, row["row"], row["ngrams_shared"]) for row in found] == [
        ("quiz.jsonl", 2, 2),
        ("quiz.jsonl", 2, 2),
        ("quiz.jsonl", 1, 1),
    ]
    assert found[0]["shares"] == " ".join(WORDS.split()[:13])
    assert found[0]["record_id"] == "0" * 20
    assert found[0]["removed"]["messages"][1]["content"] == "Fine."
    (tmp_path / "other.txt").write_text("nothing of that kind\n")
    clean = export(pairs(tmp_path / "run", made), tmp_path / "out", decontaminate=[str(tmp_path / "other.txt")])
    assert (clean.removed, clean.left_out, clean.notes) == (None, {}, ["no row overlaps with a benchmark"])
    assert not done.removed.exists()


@pytest.mark.parametrize("format_", ["messages", "alpaca", "csv", "text"])
def test_a_short_question_of_a_benchmark_is_kept_out_of_every_format(tmp_path: Path, format_: str) -> None:
    (tmp_path / "quiz.txt").write_text(f"Which is the capital of France?\nSay it {WORDS} again\n")
    made = [
        {"instruction": "Which is the capital", "input": "of France?", "output": "Paris", "note": "x"},
        {"instruction": f"Say it {WORDS}", "input": "", "output": "no", "note": "x"},
        {"instruction": "Name a town.", "input": "", "output": "Which is the capital of France?", "note": "x"},
    ]
    run = pairs(tmp_path / "run", made)
    done = export(run, tmp_path / "out", format=format_, decontaminate=[str(tmp_path / "quiz.txt")], ids=True)
    assert (done.rows, done.left_out) == ({"train": 1}, {"overlaps with a benchmark": 2})
    assert done.removed is not None
    found = [(row["record_id"], row["row"], row["ngrams_shared"]) for row in lines(done.removed)]
    assert found == [("0" * 20, 1, 1), (f"{1:020x}", 2, len(WORDS.split()) + 2 - 12)]


@pytest.mark.parametrize("format_", ["csv", "text", "preference"])
def test_benchmarks_are_kept_out_of_every_format(tmp_path: Path, format_: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"q": ["nothing of that kind", WORDS]}), tmp_path / "quiz.parquet")
    kept = [
        record("a", {"instruction": "Q1", "output": WORDS, "score": 2}, "r"),
        record("b", {"instruction": "Q1", "output": "y", "score": 1}, "r"),
        record("c", {"instruction": "Q2", "output": "x", "score": 2}, "r"),
        record("d", {"instruction": "Q2", "output": "y", "score": 1}, "r"),
    ]
    run = directory(tmp_path / "run", kept, steps=[JUDGED])
    done = export(run, tmp_path / "out", format=format_, decontaminate=[str(tmp_path / "quiz.parquet")])
    assert done.left_out["overlaps with a benchmark"] == 1
    assert done.removed is not None
    (row,) = lines(done.removed)
    assert (Path(row["file"]).name, row["row"]) == ("quiz.parquet", 2)
    assert row.get("chosen_id", row.get("record_id")) == "a"


# --- the command -------------------------------------------------------------------------------------------


def test_the_command_prints_files_reasons_and_tokens(command: Command, tmp_path: Path) -> None:
    pairs(
        tmp_path / "run",
        [{"instruction": f"Add {n}.", "input": "", "output": "=5"} for n in range(9)] + [TWO[0], TWO[0]],
    )
    _saved(tmp_path / "tok", CHAT, bos=True)
    done = command("export", "run", "out", "--shard-rows", "4", "--tokenizer", "./tok", "--max-tokens", "10", "--ids")
    assert done.code == 0, done.err
    assert done.out == (
        "out/train-00000-of-00003.jsonl … train-00002-of-00003.jsonl: 9 rows in 3 files\n"
        "left out: 1 (exact duplicate)\n"
        "left out: 1 (longer than 10 tokens)\n"
        "tokens in a row: 10 to 10, median 10, p95 10; 90 in all\n"
    )
    done = command("export", "run", "out", "--format", "csv", "--test", "0.00001", "--formulas", "neutralise")
    assert done.out == (
        "out/train.csv: 11 rows\n"
        "test: no rows, no file written\n"
        "formulas: 9 cells would be calculated by a spreadsheet and begin with an\n"
        "  apostrophe now; --formulas keep leaves them\n"
    )
    directory(tmp_path / "none", [])
    for form in ("csv", "messages"):
        done = command("export", "none", "nowhere", "--format", form)
        assert (done.code, done.err) == (2, "error: none: the run kept no row; 'factory show none' tells why.\n")
    assert not (tmp_path / "nowhere").exists()
    done = command("export", "run", "out", "--format", "preference", "--margin", "1")
    assert done.code == 2
    assert done.err.startswith("error: run: no rows make a preference pair (11 no other answer; no judge has scored")
