"""Everything that is printed fits 80 columns, and nothing of it steers a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.catalogue import Entry, ls
from factory.engines.protocol import Completion, Message, Request
from factory.inspection import Shown, Story
from factory.planner import Plan, PlanLine
from factory.records import Provenance, Record, Verdict
from factory.runner import RunResult
from factory.terminal.layout import WIDTH, field_text, table
from factory.terminal.listing import catalogue_text
from factory.terminal.plans import plan_text
from factory.terminal.runs import result_text, shown_text
from factory.terminal.stories import story_text

LONG = "a_step_with_a_very_long_name_that_somebody_chose_to_tell_two_steps_of_a_kind_apart"
REASON = "answer: a_reason_that_goes_on_and_on_and_on_until_it_is_far_longer_than_any_line_of_a_table_should_be"


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def manifest(**changed: Any) -> dict[str, Any]:
    stage = {"requests": 1_234_567, "asked": 2, "reused": 1, "prompt_tokens": 987_654_321, "completion_tokens": 5}
    steps = [
        {"step": "rows", "method": "rows", "kept": 3, "rejected": {}, "stages": {}, "notes": []},
        {
            "step": LONG,
            "method": "prompt",
            "kept": 1,
            "rejected": {REASON: 12, "accept: surplus": 3},
            "stages": {"requests": stage},
            "notes": ["One sentence after the other, and none of them is short enough for a single line of text. " * 3],
        },
    ]
    return {
        "name": "demo",
        "status": "partial",
        "message": "a budget was spent, " * 20,
        "model": "m@main",
        "engine": "scripted",
        "rows": 1,
        "steps": steps,
        "requests": {"asked": 2, "reused": 1},
        "tokens": {"prompt": 1, "completion": 2},
        "seconds": 3725.0,
        **changed,
    }


def record(**fields: object) -> Record:
    return Record("ab" * 10, fields, Provenance(step=LONG, method="prompt"))


def test_a_table_aligns_text_left_and_numbers_right() -> None:
    assert table(("step", "kept"), [("rows", "1,234"), ("prompt", "7")]) == (
        "step     kept\n------  -----\nrows    1,234\nprompt      7"
    )


def test_a_table_wraps_text_that_is_too_long_and_loses_none_of_it() -> None:
    text = table(("step", "rejected by", "count"), [(LONG, REASON, "12,345"), ("short", "x", "1")])
    assert widest(text) <= WIDTH
    first = text.splitlines()[2:-1]
    widths = [len(dashes) for dashes in text.splitlines()[1].split("  ")]
    assert "".join(line[: widths[0]].strip() for line in first) == LONG
    second = "".join(line[widths[0] + 2 :][: widths[1]].strip() for line in first)
    assert second.replace(" ", "") == REASON.replace(" ", "")
    assert first[0].endswith("12,345")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.text("ab c", max_size=90), st.text("de f", max_size=90), st.integers(0, 10**9)), min_size=1)
)
def test_a_table_of_two_texts_and_a_number_always_fits(rows: list[tuple[str, str, int]]) -> None:
    assert widest(table(("one", "two", "count"), [(one, two, f"{count:,}") for one, two, count in rows])) <= WIDTH


def test_the_end_of_a_run_fits() -> None:
    result = RunResult(
        Path("runs/demo"),
        "partial",
        "a budget was spent, " * 20,
        1,
        4,
        manifest(),
        [record(text="word " * 500, n=None)],
    )
    text = result_text(result, preview=True)
    assert widest(text) <= WIDTH
    assert text.startswith(f"[{'ab' * 10}]\n  text:\n    word word")
    assert "… (2,500 characters)" in text
    assert "partial: a budget was spent" in text
    assert "factory why runs/demo abababababababababab" in text


def test_a_long_path_stays_whole_at_the_end_of_a_run_and_one_row_is_one_row() -> None:
    path = Path("runs") / ("long" * 10)
    text = result_text(RunResult(path, "complete", "", 1, 0, manifest(), [record(text="a")]), preview=False)
    assert f"1 row in {path}/data (rejected ones in\n  {path}/rejected)" in text


def test_blank_lines_of_a_field_end_without_spaces() -> None:
    assert field_text("text", "a\n\nb") == "  text:\n    a\n\n    b"
    assert field_text("input", "") == "  input:"


def test_a_run_without_rows_recommends_only_what_works() -> None:
    text = result_text(RunResult(Path("runs/demo"), "complete", "", 0, 0, manifest(), []), preview=False)
    assert text.endswith("Next:\n  factory show runs/demo")


def test_what_comes_next_can_be_typed_whatever_the_path_and_exports_no_score() -> None:
    first = record(instruction="Name a river.", output="The Rhine", quality=0.5)
    result = RunResult(Path("my runs/one"), "complete", "", 1, 0, manifest(), [first])
    text = result_text(result, preview=False)
    assert "show 'my runs/one'\n" in text
    assert f"why 'my runs/one' {first.id}\n" in text
    assert "export 'my runs/one' demo-chat" in text
    judged = record(text="A ticket that is long.", summary="Short.", quality=0.5, note=None)
    text = result_text(RunResult(Path("a"), "complete", "", 1, 0, manifest(), [judged]), preview=False)
    assert text.endswith("--instruction text --output summary")


def test_show_leaves_out_what_the_journal_held_when_a_run_began() -> None:
    held = {"journal": {"answers": 9, "prompt_tokens": 8, "completion_tokens": 7}}
    assert "journal   9 answers of all sessions, 8 tokens in, 7 out" in shown_text(Shown(manifest(**held), [], []))
    assert "journal   9" not in shown_text(Shown(manifest(status="running", **held), [], []))


def test_show_fits() -> None:
    rejected = {
        "record_id": "cd" * 10,
        "step": LONG,
        "rule": "rouge_l",
        "reason": "too_similar",
        "score": 0.81234,
        "threshold": 0.7,
        "evidence": "the nearest text " * 30,
        "fields": '{"text": "a"}',
    }
    kept = {"record_id": "ab" * 10, "provenance": {}, "text": "x" * 300}
    text = shown_text(Shown(manifest(message=""), [kept], [rejected]))
    assert text.startswith("demo  (partial)\n")
    assert "987,654,321 in, 5 out" in text
    assert "1:02:05" in text
    assert "(score 0.812, threshold 0.7)" in text
    assert widest(text) <= len(LONG) + 4  # a name is never broken


def test_show_of_a_run_that_is_going_on_says_that_counts_come_later() -> None:
    told = shown_text(Shown(manifest(message="", status="running", engine=""), [], [], in_use=True))
    assert told.splitlines()[0] == "demo  (running; its counts are written when it ends, 'factory view' shows its"
    assert "engine    not known yet" in told
    ended = shown_text(Shown(manifest(message="", status="running", engine=""), [], []))
    assert "ended without warning" in ended


def test_a_plan_fits() -> None:
    lines = [
        PlanLine(LONG, "requests", 10, 20, 30, 5, 123_456_789, 987_654_321, "estimated from " + "this and that, " * 12),
        PlanLine("b", "requests", 1, 2, 2, 0, 3, 4, ""),
    ]
    plan = Plan(lines, False, 3, 3600.0, 1.0, 2000.0, ["the recipe differs from the one there: " + "a: 1 -> 2; " * 20])
    text = plan_text(plan)
    assert "22-32" in text
    assert re.search(r"total +11 +22-32 +5 +123M +988M", text)
    assert "time: up to 1:00:00 (1.00 GPU hours on a GPU) at 2,000 tokens/s" in text
    assert widest(text) <= WIDTH


def test_a_long_kind_of_request_breaks_behind_its_step() -> None:
    line = PlanLine("self_instruct", "classification", 10, 2_000, 300_000, 500_000, 9_999_999, 9_999_999, "")
    text = plan_text(Plan([line], False, 3, None, None, None))
    assert re.search(r"^self_instruct/ +10  2,000-300,000 .*\nclassification$", text, re.MULTILINE)
    assert widest(text) <= WIDTH


def story(state: str, verdict: Verdict | None = None, **fields: object) -> Story:
    provenance = {
        "step": LONG,
        "method": "prompt",
        "parents": ["ef" * 10] * 9,
        "prompt": "prompts/a_folder/with_a_long_name.jinja",
        "prompt_hash": "0" * 16,
        "seed": 2**31 - 1,
    }
    request = Request(messages=(Message("system", "Be brief."), Message("user", "Say " * 300)))
    completion = Completion(text="Yes " * 300, finish_reason="length", prompt_tokens=1, completion_tokens=1)
    return Story("ab" * 10, state, dict(fields), provenance, verdict, LONG, [(request, completion)])


def test_a_story_fits_and_clips_what_is_long_unless_all_is_wanted() -> None:
    verdict = Verdict(keep=False, rule="answer", reason="cut_off", score=1.0, threshold=512.0, evidence="cut")
    stories = [story("rejected", verdict, text="a"), story("on the way", note="b")]
    short, full = story_text(stories, full=False), story_text(stories, full=True)
    assert short.startswith(f"[{'ab' * 10}] rejected\n")
    assert "by answer: cut_off, score 1, threshold 512" in " ".join(short.split())
    assert "answer 1 (length):" in short
    assert "characters)" in short
    assert "characters)" not in full
    assert full.count("Yes") == 600
    assert widest(short) <= len(LONG) + 6  # a name is never broken


def test_a_lineage_tells_the_last_parent_from_the_others() -> None:
    def one(name: str, *parents: str) -> Story:
        provenance = {"step": "made", "method": "made", "parents": list(parents), "prompt": None}
        return Story(name, "kept", {"text": name * 4}, provenance, None, "made", [])

    text = story_text([one("a", "b", "c"), one("b", "d"), one("c", "d"), one("d")], full=False)
    assert text.split("\n\n")[1].splitlines() == [
        "lineage:",
        "[a] made: aaaa",
        "├─ [b] made: bbbb",
        "│  └─ [d] made: dddd",
        "└─ [c] made: cccc",
    ]
    assert "made by made\n" in text


def test_what_a_model_writes_does_not_steer_the_terminal() -> None:
    text = story_text([story("kept", text="\x1b[2J\x07gone\r\u202eback", tab="a\tb")], full=True)
    assert "\\x1b[2J\\x07gone\\r\\u202eback" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_the_catalogue_fits() -> None:
    text = catalogue_text([*ls(), Entry("method", "long", "words and more words " * 20)])
    assert widest(text) <= WIDTH


@pytest.mark.parametrize("columns", ["40", "200"])
def test_fields_follow_a_narrow_terminal_but_not_a_wide_one(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = story_text([story("kept", text="word " * 100)], full=True)
    fields = [line for line in text.splitlines() if "word" in line]
    assert 30 < max(map(len, fields)) <= min(80, int(columns))
