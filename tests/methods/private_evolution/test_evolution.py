"""What must hold of every evolution: whose votes decide, what the model sees, how many rows there are, and why others went."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.engines.protocol import Completion, Request
from factory.methods.private_evolution.evolution import quotas

from ...small_runs import Model, data, run, step, text_of
from .small import CLASSES, COMMON, PRIVATE_WORD, Words, answer, evolving, ledger, private_rows, read

TEST: dict[str, Any] = {"noise_seed": 1}


def last_round(out: Path) -> tuple[dict[str, str], dict[str, float], dict[str, str]]:
    """Texts and classes of all candidates of the last vote, and the votes of those that lost."""
    texts = {row["record_id"]: row["text"] for row in read(out)}
    labels = {row["record_id"]: row["label"] for row in read(out)}
    lost: dict[str, float] = {}
    for row in read(out, "rejected"):
        if row["reason"] == "not_selected" and row["evidence"].endswith("round 3"):
            fields = json.loads(row["fields"])
            texts[row["record_id"]], labels[row["record_id"]] = fields["text"], fields["label"]
            lost[row["record_id"]] = row["score"]
    return texts, lost, labels


# --- what wins ------------------------------------------------------------------------------------------------


def test_without_noise_it_is_plain_evolution(tmp_path: Path) -> None:
    """The votes of the last round, counted here once more from the texts alone."""
    run(evolving(tmp_path, epsilon="inf"), tmp_path / "out", Model(answer))
    texts, lost, labels = last_round(tmp_path / "out")
    assert len(texts) == 8 * 3
    encode = Words()
    counts: Counter[str] = Counter()
    for row in private_rows():
        own = [name for name in texts if labels[name] == row["label"]]
        (vector,) = encode([row["text"]])
        scores = {name: round(float(vector @ encode([texts[name]])[0]), 5) for name in own}
        best = max(scores.values())
        winners = [name for name in own if scores[name] == best]
        counts[winners[0] if len(winners) == 1 else f"tie {row['label']}"] += 1
    assert sum(counts.values()) == 300
    for name, votes in lost.items():
        assert votes >= counts[name], "as counted, and perhaps one of several that are equally near"
    for label in CLASSES:
        kept = [name for name in texts if name not in lost and labels[name] == label]
        least = max(votes for name, votes in lost.items() if labels[name] == label)
        ties = counts[f"tie {label}"]
        assert all(counts[name] + ties >= least for name in kept)


def common(rows: list[dict[str, Any]]) -> float:
    """Share of texts that are about what most private texts are about."""
    found = 0
    for row in rows:
        things, moods = COMMON[row["label"]]
        found += bool(re.match(f"The ({'|'.join(things)}) is ({'|'.join(moods)})", row["text"]))
    return found / len(rows)


def test_votes_draw_the_texts_towards_the_private_ones_and_noise_drowns_them(tmp_path: Path) -> None:
    found = {}
    for name, options in (("sound", {"epsilon": 8.0}), ("drowned", {"noise_multiplier": 1e6})):
        run(evolving(tmp_path / name, rounds=8, **options, **TEST), tmp_path / name / "out", Model(answer))
        found[name] = common(read(tmp_path / name / "out"))
    assert found["sound"] >= 0.5 and found["drowned"] <= 0.25, found


@pytest.mark.parametrize("options", [{"select": "sample"}, {"threshold": 2.0}, {"nearest": 3}, {"lookahead": 2}])
def test_every_way_to_select_keeps_as_many_rows_of_each_class(options: dict[str, Any], tmp_path: Path) -> None:
    result = run(evolving(tmp_path, shares={"billing": 3, "delivery": 1}, **options), tmp_path / "out", Model(answer))
    assert result.status == "complete", result.message
    assert Counter(row["label"] for row in read(tmp_path / "out")) == {"billing": 6, "delivery": 2}
    assert len({row["text"] for row in read(tmp_path / "out")}) == 8
    reasons = step(result, "private_evolution")["rejected"]
    assert reasons["private_evolution: not_selected"] == 8 * 2 * 3
    assert reasons.get("private_evolution: lookahead", 0) == (8 * 3 * 3 * 2 if "lookahead" in options else 0)


def test_sample_never_draws_what_has_no_votes_where_others_have_some(tmp_path: Path) -> None:
    run(evolving(tmp_path, select="sample", epsilon="inf", rows=2, variations=6), tmp_path / "out", Model(answer))
    texts, lost, labels = last_round(tmp_path / "out")
    assert any(votes > 0 for votes in lost.values()), "what has votes may lose all the same"
    with closing(sqlite3.connect(tmp_path / "out" / "journal.sqlite")) as journal:
        votes = [json.loads(value) for (value,) in journal.execute("SELECT value FROM artifacts WHERE kind = 'votes'")]
    assert len(votes) == 3 and all(sum(each) == 300 for each in votes)
    kept = [name for name in texts if name not in lost]
    for label in CLASSES:
        drawn = [name for name in kept if labels[name] == label]
        assert len(drawn) == 1
        left = sum(count for name, count in lost.items() if labels[name] == label)
        assert left < 150, "the one that was drawn had votes"


def released(out: Path, kind: str = "votes") -> list[list[float]]:
    with closing(sqlite3.connect(out / "journal.sqlite")) as journal:
        found = journal.execute("SELECT value FROM artifacts WHERE kind = ?", (kind,)).fetchall()
    return [json.loads(value) for (value,) in found]


@pytest.mark.parametrize("nearest", [1, 3])
def test_each_private_text_votes_once_a_round_and_is_embedded_by_itself(nearest: int, tmp_path: Path) -> None:
    run(evolving(tmp_path, epsilon="inf", nearest=nearest), tmp_path / "out", Model(answer))
    for votes in released(tmp_path / "out"):
        assert sum(votes) == pytest.approx(300 * nearest**0.5)
    assert set(Words.calls) == {1} and len(Words.calls) == 300 + 8 + 3 * 16, "private texts once, candidates once"


def test_with_lookahead_a_text_is_compared_by_the_mean_of_its_variations(tmp_path: Path) -> None:
    run(evolving(tmp_path, lookahead=3), tmp_path / "out", Model(answer))
    assert Words.calls.count(3) == 3 * 24 and Words.calls.count(1) == 300


def test_the_threshold_is_taken_from_votes_and_what_is_below_counts_as_none(tmp_path: Path) -> None:
    run(evolving(tmp_path, threshold=1e9), tmp_path / "out", Model(answer))
    assert {row["variation"] for row in read(tmp_path / "out")} == {"first"}, "nothing has votes: the first ones stay"
    run(evolving(tmp_path / "other", threshold=0.5), tmp_path / "other" / "out", Model(answer))
    assert {row["variation"] for row in read(tmp_path / "other" / "out")} != {"first"}


def test_lengths_drift_from_that_of_the_text_and_have_a_floor(tmp_path: Path) -> None:
    asked: dict[str, list[int]] = {"first": [], "rephrase": []}

    def noting(request: Request) -> str:
        (words,) = re.findall(r"in about (\d+) words", text_of(request))
        asked["rephrase" if "Write another one like it" in text_of(request) else "first"].append(int(words))
        return answer(request)

    words = {"first": 40, "drift": 6.0, "fewest": 4}
    result = run(evolving(tmp_path, kinds={"rephrase": 1}, words=words, rows=20), tmp_path / "out", Model(noting))
    assert "fill" not in step(result, "private_evolution")["stages"]
    assert 34 < sum(asked["first"]) / 20 < 46 and len(set(asked["first"])) > 8
    assert min(asked["rephrase"]) == 4 and 6 < sum(asked["rephrase"]) / len(asked["rephrase"]) < 9
    assert max(asked["rephrase"]) > 12


def test_without_classes_there_is_no_label(tmp_path: Path) -> None:
    result = run(evolving(tmp_path, classes=None), tmp_path / "out", Model(answer))
    assert result.rows == 8
    assert all("label" not in row for row in read(tmp_path / "out"))


def test_quotas_add_up() -> None:
    assert quotas(7, {"a": 1, "b": 1, "c": 5}) == {"a": 1, "b": 1, "c": 5}
    assert quotas(2, {"a": 1, "b": 1, "c": 1}) == {"a": 1, "b": 1, "c": 0}
    assert sum(quotas(101, {"a": 0.2, "b": 0.31, "c": 0.49}).values()) == 101


# --- what the model sees, and what is kept --------------------------------------------------------------------


@pytest.mark.parametrize("small", [False, True])
def test_private_texts_reach_neither_the_model_nor_any_file_of_the_run(small: bool, tmp_path: Path) -> None:
    prompts: list[str] = []

    def noting(request: Request) -> str:
        prompts.append(text_of(request) + json.dumps(request.constraint.regex if request.constraint else ""))
        return answer(request)

    labels = {"label_counts": {"epsilon": 0.5}}
    result = run(evolving(tmp_path, small_model=small, lookahead=1, **labels), tmp_path / "out", Model(noting))
    assert result.rows == 8 and len(prompts) > 100
    assert all(about in "".join(prompts) for about in CLASSES.values())
    assert not [text for text in prompts if PRIVATE_WORD in text.lower()]
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or PRIVATE_WORD.encode() not in path.read_bytes().lower(), path
    with closing(sqlite3.connect(tmp_path / "out" / "journal.sqlite")) as journal:
        kinds = Counter(kind for (kind,) in journal.execute("SELECT kind FROM artifacts"))
    assert kinds == {"run": 1, "counts": 1, "votes": 3}


def test_published_files_tell_no_count_and_no_hash_of_the_private_texts(tmp_path: Path) -> None:
    rows = private_rows(297)
    result = run(evolving(tmp_path, rows, noise_multiplier=2.0), tmp_path / "out", Model(answer))
    (known,) = ledger(tmp_path).runs()
    published = [
        path
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and "journal" not in path.name and path.name != "recipe.yaml"
    ]
    assert {"manifest.json", "README.md"} <= {path.name for path in published}
    for path in published:
        content = path.read_bytes()
        assert not re.search(rb"\b(297|149|148)\b", content), path
        assert known.what.encode() not in content, path
    assert "290 private texts" in " ".join(step(result, "private_evolution")["notes"])


def test_every_text_is_kept_or_rejected_once_and_leads_back_to_a_first_one(tmp_path: Path) -> None:
    run(evolving(tmp_path), tmp_path / "out", Model(answer))
    kept, lost = read(tmp_path / "out"), read(tmp_path / "out", "rejected")
    found = {row["record_id"]: row for row in [*kept, *lost]}
    assert len(found) == len(kept) + len(lost) == 8 + 3 * 16
    assert (
        Counter(row["variation"] == "first" for row in [*kept, *(json.loads(row["fields"]) for row in lost)])[True] == 8
    )
    for row in found.values():
        fields = row if "text" in row else json.loads(row["fields"])
        parents = row["provenance"]["parents"]
        assert (parents == []) == (fields["variation"] == "first")
        assert all(parent in found for parent in parents)
    for row in lost:
        assert row["rule"] == "private_evolution" and row["score"] <= row["threshold"]


# --- answers that cannot be used ------------------------------------------------------------------------------


def test_unusable_answers_are_rejected_and_asked_for_again(tmp_path: Path) -> None:
    def faulty(request: Request) -> str | Completion:
        text, number = answer(request), (request.seed or 0) % 7
        if number == 0:
            return ""
        if number == 1:
            return Completion(text=text, finish_reason="length", prompt_tokens=9, completion_tokens=9)
        if number == 2:
            found = re.search(r"^The .*, order \d+\.$", text_of(request), re.MULTILINE)
            return found.group() if found else text
        return "Same for all." if number == 3 else text

    result = run(evolving(tmp_path, attempts=8, kinds={"rephrase": 1}), tmp_path / "out", Model(faulty))
    assert (result.status, result.rows) == ("complete", 8)
    reasons = step(result, "private_evolution")["rejected"]
    assert reasons["parse: empty_answer"] > 3 and reasons["parse: cut_off"] > 3
    assert reasons["text: unchanged"] > 1 and reasons["text: duplicate"] > 3


def test_a_model_that_writes_nothing_ends_it_before_anything_is_spent(tmp_path: Path) -> None:
    result = run(evolving(tmp_path), tmp_path / "out", Model(lambda request: " "))
    assert (result.exit_code, result.rows) == (4, 0)
    assert "8 rows were asked for; 0 texts could be used (too few of 'billing', 'delivery')" in result.message
    assert ledger(tmp_path).runs() == []
    assert result.manifest["privacy"]["output_private"] is False, "nothing was learnt from private texts"


def test_one_class_that_the_model_cannot_write_leaves_the_other(tmp_path: Path) -> None:
    def half(request: Request) -> str:
        return answer(request) if CLASSES["billing"] in text_of(request) else ""

    result = run(evolving(tmp_path), tmp_path / "out", Model(half))
    assert (result.exit_code, result.rows) == (4, 4)
    assert "too few of 'delivery'" in result.message


def test_a_budget_ends_it_with_the_winners_of_the_last_vote(tmp_path: Path) -> None:
    path = evolving(tmp_path, **TEST, head={"budget": {"requests": 30}})
    result = run(path, tmp_path / "out", Model(answer))
    assert (result.exit_code, result.rows) == (4, 8)
    assert ledger(tmp_path).runs()[0].spent == 1
    again = run(path, tmp_path / "out", engine := Model(answer))
    assert (again.rows, engine.asked, ledger(tmp_path).runs()[0].spent) == (8, 0, 1)
    whole = run(evolving(tmp_path, **TEST), tmp_path / "out", Model(answer))
    assert (whole.status, ledger(tmp_path).runs()[0].spent) == ("complete", 3)
    other = evolving(tmp_path / "other", **TEST)
    run(other, tmp_path / "other" / "out", Model(answer))
    assert data(tmp_path / "out") == data(tmp_path / "other" / "out")


# --- previews and plans ---------------------------------------------------------------------------------------


def test_a_preview_reads_no_private_text_spends_nothing_and_is_gone_on_from(tmp_path: Path) -> None:
    path = evolving(tmp_path, **TEST)
    shown = run(path, tmp_path / "out", Model(answer), limit=5)
    assert (shown.status, shown.rows) == ("preview", 5)
    assert {(row["variation"], row["round"]) for row in read(tmp_path / "out")} == {("first", 0)}
    assert not ledger(tmp_path).path.exists() and Words.calls == []
    whole = run(path, tmp_path / "out", Model(answer))
    assert step(whole, "private_evolution")["stages"]["first"] == {
        **step(whole, "private_evolution")["stages"]["first"],
        "asked": 3,
        "reused": 5,
    }
    run(evolving(tmp_path / "other", **TEST), tmp_path / "other" / "out", Model(answer))
    assert data(tmp_path / "out") == data(tmp_path / "other" / "out")


def test_a_plan_counts_requests_and_spends_nothing(tmp_path: Path) -> None:
    path = evolving(tmp_path)
    planned = factory.plan(path, tmp_path / "out")
    lines = {line.stage: line for line in planned.lines}
    assert lines["first"].ask == 8
    assert lines["rephrase"].ask + lines["fill"].ask == 8 * 2 * 3
    assert lines["rephrase"].ask_high > lines["rephrase"].ask
    assert not planned.exact and not ledger(tmp_path).path.exists()
    assert any("a plan spends nothing" in note for note in planned.notes)
    run(path, tmp_path / "out", Model(answer))
    before = ledger(tmp_path).path.read_bytes()
    done = factory.plan(path, tmp_path / "out")
    assert (done.total("ask"), done.rows, done.exact) == (0, 8, True)
    assert ledger(tmp_path).path.read_bytes() == before


def test_records_that_come_in_are_passed_on(tmp_path: Path) -> None:
    path = evolving(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"text": "public", "label": "billing"}\n')
    steps = json.loads(path.read_text())
    steps["steps"] = [{"rows": {"path": "rows.jsonl"}}, *steps["steps"]]
    path.write_text(json.dumps(steps))
    result = run(path, tmp_path / "out", Model(answer))
    assert result.rows == 9 and read(tmp_path / "out")[0]["text"] == "public"


def test_a_small_model_goes_on_with_what_its_prompt_has_begun(tmp_path: Path) -> None:
    forms: set[bool] = set()

    def going_on(request: Request) -> str:
        forms.add(request.constraint is not None)
        begun = request.messages[-1]
        assert begun.role == "assistant"
        return f" wonder about order {request.seed}."

    run(evolving(tmp_path, small_model=True, **TEST), tmp_path / "out", Model(going_on))
    assert forms == {True}
    rows = read(tmp_path / "out") + [json.loads(row["fields"]) for row in read(tmp_path / "out", "rejected")]
    for row in rows:
        assert re.fullmatch(r"([\w, ]+ )?wonder about order \d+\.", row["text"]), row
    assert {row["text"].startswith("wonder") for row in rows} == {False}
    assert {row["variation"] for row in rows} == {"first", "rephrase", "fill"}
