"""`factory evaluate` as a user meets it: sources, columns, real texts; one sentence for what is wrong."""

from __future__ import annotations

import csv
import json
import random
import re
from pathlib import Path

import pytest

import factory as package
from factory.datasets_io.rows import read_rows
from factory.records import source_id

from .driver import Command, in_process, write_rows
from .evaluation.grammar import texts

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "text"


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(workplace(tmp_path), monkeypatch, capsys)


def workplace(folder: Path) -> Path:
    """Real texts, and synthetic ones of two strategies: shuffled words of grounds, and other texts of the same kind."""
    real = [
        {"tweet": each.text, "mood": "1" if each.label == "happy" else "0"} for each in texts(240, 1, labelled=True)
    ]
    test = [{"tweet": each.text, "mood": "1" if each.label == "happy" else "0"} for each in texts(80, 2, labelled=True)]
    write_rows(folder / "real.jsonl", real)
    write_rows(folder / "test.jsonl", test)
    random_ = random.Random(1)
    shuffled = []
    for each, row in zip(texts(240, 1, labelled=True)[:120], real, strict=False):
        words = each.text.split()
        random_.shuffle(words)
        ground = source_id(row, 0)
        shuffled.append({"text": " ".join(words), "label": each.label, "way": "shuffled", "ground_id": ground})
    other = [{"text": each.text, "label": each.label, "way": "other"} for each in texts(130, 3, labelled=True)]
    write_rows(folder / "made.jsonl", [*shuffled, *other, {"text": " ", "label": "sad", "way": "other"}])
    return folder


REAL = (
    "--real",
    "real.jsonl",
    "--real-text",
    "tweet",
    "--real-label",
    "mood",
    "--values",
    "1=happy",
    "--values",
    "0=sad",
)
QUICK = ("--draws", "2", "--resamples", "50")


def test_one_table_by_strategy_with_intervals_and_lines(factory: Command, tmp_path: Path) -> None:
    done = factory("evaluate", "made.jsonl", "--by", "way", *REAL, "--test", "test.jsonl", "--out", "e.json", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    for title in ("utility: ", "believability: ", "diversity, ", "first two words", "drift ", "overlap: "):
        assert title in done.out
    summary, utility = (part.splitlines() for part in done.out.split("\n\n")[:2])
    assert summary[:2] == ["all in all", summary[1]]
    assert summary[1].split() == ["source", "macro-F1", "judged", "real", "distinct", "pairs"]
    assert [line.split("  ")[0] for line in summary[3:]] == ["shuffled", "other", "real texts", "most frequent class"]
    assert [line.count("[") for line in summary[3:]] == [3, 3, 2, 1]
    assert [line.split("  ")[0] for line in utility[3:7]] == ["shuffled", "other", "real texts", "most frequent class"]
    assert all(line.count("[") == 2 for line in utility[3:7])
    assert "classes: shuffled: happy 50%, sad 50%; other: happy 50%, sad 50%" in done.out
    assert "note: made: 1 row without text left out." in done.out
    saved = json.loads((tmp_path / "e.json").read_text())
    assert saved["made_by"] == "factory evaluate"
    lines = {line["name"]: line for line in saved["evaluation"]["sources"]}
    assert lines["shuffled"]["texts"] == 120
    assert lines["shuffled"]["believability"]["auc"]["low"] > lines["other"]["believability"]["auc"]["high"]
    again = factory("evaluate", "made.jsonl", "--by", "way", *REAL, "--test", "test.jsonl", "--out", "e.json", *QUICK)
    assert again == done
    assert json.loads((tmp_path / "e.json").read_text()) == saved


def test_grounds_are_known_by_their_ids_and_are_never_tested_on(factory: Command) -> None:
    done = factory("evaluate", "made.jsonl", *REAL, *QUICK)
    assert done.code == 0
    flat = " ".join(done.out.split())
    assert "of 240 real texts were held out by hash, none of the 120 that served as grounds" in flat
    assert re.search(r"grounds in test 120 0 \d", flat)


def test_a_run_directory_is_a_source_and_its_rows_lead_to_their_grounds(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "name: r\nengine: {kind: scripted, script: s.json, model: m}\nsteps:\n  - rows: {path: real.jsonl}\n"
        "  - prompt: {prompt: p.jinja, output: text}\n"
    )
    (tmp_path / "p.jinja").write_text("---\ninputs: [tweet]\n---\n=== user ===\n{{ tweet }}\n")
    (tmp_path / "s.json").write_text(json.dumps({"answers": ["Answer {hash} of {hash}."]}))
    assert factory("run", "r.yaml", "--quiet").code == 0
    mapping = "{path: real.jsonl, text: tweet, label: mood}"
    result = package.evaluate(["runs/r", "made.jsonl"], mapping, label=None, draws=1, resamples=20)
    assert [line.name for line in result.sources] == ["r", "made"]
    assert result.test == 0
    assert "240 served as grounds" in result.notes[1]
    assert result.sources[0].believability.auc.value > 0.99


def test_what_a_model_wrote_steers_no_terminal_and_long_names_fit(factory: Command, tmp_path: Path) -> None:
    rows = [{"text": f"\x1b[31m{each.text}", "way": f"{'long ' * 20}\n\x1b[2J"} for each in texts(60, 4)]
    write_rows(tmp_path / "odd.jsonl", rows)
    done = factory("evaluate", "odd.jsonl", "--by", "way", "--real", "real.jsonl", "--real-text", "tweet", *QUICK)
    assert done.code == 0
    assert done.out.replace("\n", "").isprintable()
    assert max(map(len, done.out.splitlines())) <= 80


def test_unlabelled_texts_are_measured_without_utility(factory: Command) -> None:
    done = factory("evaluate", "made.jsonl", "--real", "real.jsonl", "--real-text", "tweet", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("all in all")
    assert "utility: " not in done.out
    assert "most frequent class" not in done.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none.jsonl", *REAL), "none.jsonl: no such file or folder."),
        (("made.jsonl", *REAL, "--text", "txt"), "no column 'txt' (did you mean 'text'?)"),
        (("made.jsonl", *REAL, "--by", "wya"), "no column 'wya' (did you mean 'way'?)"),
        (("made.jsonl", *REAL, "--label", "lab"), "made.jsonl: no column 'lab'"),
        (("made.jsonl", "--real", "gone.csv"), "gone.csv: no such file or folder"),
        (("made.jsonl", "--real", "{path: real.jsonl, txt: tweet}"), "--real: txt: unknown key (did you mean 'text'?)"),
        (("made.jsonl", "--real", "{path: real.jsonl"), "--real"),
        (("made.jsonl", "--real", "real.jsonl"), "real.jsonl: no column 'text'"),
        (("made.jsonl", *REAL[:-2]), "values that 'values' does not name: '0' (120)"),
        (("made.jsonl", *REAL, "--values", "happy"), "expected VALUE=CLASS"),
        (("made.jsonl", *REAL, "--out", "made.jsonl"), "made.jsonl: exists and is no evaluation"),
        (("made.jsonl", *REAL, "--out", "no/e.json"), "there is no folder no"),
        (("made.jsonl", *REAL, "--by", "text"), "--by text: 250 different values; expected at most 50"),
        (("empty.jsonl", *REAL), "empty.jsonl: has no text in the column 'text'"),
        (("one.jsonl", *REAL), "one: expected at least 2 texts, found 1"),
        (("real.jsonl", *REAL, "--text", "tweet", "--real-text", "tweet"), "a set is called 'real'"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    factory: Command, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    write_rows(tmp_path / "empty.jsonl", [{"text": ""}, {"text": None}])
    write_rows(tmp_path / "one.jsonl", [{"text": "A text"}])
    before = (tmp_path / "made.jsonl").read_bytes()
    done = factory("evaluate", *arguments, *QUICK)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert (tmp_path / "made.jsonl").read_bytes() == before


STEP = """\
name: e
engine: {kind: scripted, script: s.json, model: m}
steps:
  - rows: {path: made.jsonl}
  - evaluate: {real: {path: real.jsonl, text: tweet, label: mood, values: {"1": happy, "0": sad}}, by: way, draws: 1, resamples: 50}
"""


def test_the_step_passes_everything_on_and_notes_the_figures(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(STEP)
    (tmp_path / "s.json").write_text('{"answers": ["x"]}')
    assert factory("run", "e.yaml", "--quiet").code == 0
    rows = list(read_rows(tmp_path / "runs" / "e"))
    assert len(rows) == 251
    shown = " ".join(factory("show", "runs/e").out.split())
    for begins in (
        "note: evaluate: shuffled (120 texts): judged real 0.",
        "note: evaluate: other (130 texts): ",
        "most frequent class: macro-F1",
    ):
        assert begins in shown
    manifest = (tmp_path / "runs/e/manifest.json").read_text()
    notes = next(step["notes"] for step in json.loads(manifest)["steps"] if step["step"] == "evaluate")
    assert factory("run", "e.yaml", "--quiet").code == 0
    again = json.loads((tmp_path / "runs/e/manifest.json").read_text())["steps"]
    assert next(step["notes"] for step in again if step["step"] == "evaluate") == notes
    assert "judged real" not in factory("plan", "e.yaml").out


def test_the_step_measures_also_where_the_dataset_has_enough_before_its_end(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(STEP.replace("steps:", "accept: 200\nsteps:"))
    (tmp_path / "s.json").write_text('{"answers": ["x"]}')
    assert factory("run", "e.yaml", "--quiet").code == 0
    assert "shuffled (120 texts): judged real" in " ".join(factory("show", "runs/e").out.split())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("text: tweet", "text: twet", "no column 'twet' (did you mean 'tweet'?)"),
        ("real.jsonl", "rael.jsonl", "rael.jsonl: no such file or folder"),
        ("by: way", "by: wya", "no column 'wya' (did you mean 'way'?)"),
        ("resamples", "resample", "unknown key (did you mean 'resamples'?)"),
    ],
)
def test_the_step_is_checked(factory: Command, tmp_path: Path, old: str, new: str, sentence: str) -> None:
    (tmp_path / "e.yaml").write_text(STEP.replace(old, new))
    (tmp_path / "s.json").write_text('{"answers": ["x"]}')
    done = factory("check", "e.yaml")
    assert done.code == 2
    assert "steps[1].evaluate." in done.err
    assert sentence in done.err


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the texts of iSarcasmEval")
def test_on_real_texts_the_other_half_is_believed_and_shuffled_words_are_not(factory: Command, tmp_path: Path) -> None:
    with (SHARED / "isarcasmeval" / "train.En.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["tweet"].strip()]
    random_ = random.Random(2)
    random_.shuffle(rows)
    real, half = rows[:800], rows[800:1600]
    write_rows(tmp_path / "r.jsonl", [{"text": row["tweet"], "label": row["sarcastic"]} for row in real])
    made = [{"text": row["tweet"], "label": row["sarcastic"], "way": "half"} for row in half]
    for row in half:
        words = row["tweet"].split()
        random_.shuffle(words)
        made.append({"text": " ".join(words), "label": row["sarcastic"], "way": "shuffled"})
    write_rows(tmp_path / "m.jsonl", made)
    result = package.evaluate(["m.jsonl"], "r.jsonl", by="way", draws=2, resamples=200)
    half_, shuffled = result.sources
    assert half_.believability.auc.low - 0.02 <= 0.5 <= half_.believability.auc.high + 0.02
    assert shuffled.believability.auc.low > 0.6
    assert half_.drift.vocabulary.value == pytest.approx(result.real.drift.vocabulary.value, abs=0.03)


def test_what_the_step_cannot_measure_is_noted_and_ends_no_run(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"answers": ["x"]}')
    for number, (old, new, note) in enumerate(
        [
            (
                "made.jsonl",
                "one.jsonl",
                "note: evaluate: nothing was evaluated: way: expected at least 2 texts, found 1.",
            ),
            ("made.jsonl", "none.jsonl", "note: evaluate: nothing was evaluated: no record has a text"),
            ("by: way", "by: text", "expected at least 2 texts"),
        ]
    ):
        write_rows(tmp_path / "one.jsonl", [{"text": "A text", "label": "sad", "way": "way"}])
        write_rows(tmp_path / "none.jsonl", [{"text": " ", "label": "sad", "way": "way"}])
        (tmp_path / "e.yaml").write_text(STEP.replace(old, new, 1))
        assert factory("run", "e.yaml", "--quiet", "--out", f"runs/{number}").code == 0
        assert note in " ".join(factory("show", f"runs/{number}").out.split())
