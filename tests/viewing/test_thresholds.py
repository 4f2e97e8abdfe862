"""What a threshold comes to is what counting one by one gives, and nothing is said that is not known."""

from __future__ import annotations

import json
import random
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import factory
from factory.datasets_io.parquet import read_shards
from factory.engines.protocol import Request
from factory.novelty.rouge_l import RougeLPool
from factory.viewing.desk import Desk
from factory.viewing.thresholds import Rule, Scores, command, histogram, rules, what_if

from ..small_runs import WORDS, Model, answer, one_step, prompt_file, run, self_instruct, text_of
from .looked_at import desk_of, until


def rule_of(desk: Desk, reason: str) -> Rule:
    found = [rule for rule in rules(desk.shelf.index.columns(), desk.manifest) if rule.reason == reason]
    assert len(found) == 1
    return found[0]


def scores_of(desk: Desk, rule: Rule) -> Scores:
    shelf = desk.shelf
    until(lambda: not desk.rescorer(shelf).scores(rule).working)
    return desk.rescorer(shelf).scores(rule)


def test_a_judges_minimum_is_counted_on_both_sides(judged: tuple[Path, Path]) -> None:
    path, _ = judged
    rejected = [row["score"] for row in read_shards(path / "rejected") if row["reason"] == "below_minimum"]
    kept = [row["quality"] for row in read_shards(path / "data")]
    with desk_of(path) as desk:
        rule = rule_of(desk, "below_minimum")
        assert (rule.at_most, rule.at_equal, rule.threshold, rule.setting) == (False, True, 2.0, "minimum")
        scores = scores_of(desk, rule)
        for at in (0.5, 1, 1.5, 2, 3, 4, 5, 5.5):
            found = what_if(rule, scores, at)
            assert found["entering"] == sum(score >= at for score in rejected)
            assert found["leaving"] == sum(score < at for score in kept)
            assert found["kept"] == sum(score >= at for score in [*rejected, *kept])
            assert found["kept"] + found["rejected"] == len(rejected) + len(kept)


def test_novelty_of_kept_rows_is_measured_again(judged: tuple[Path, Path]) -> None:
    path, _ = judged
    texts = [row["summary"] for row in read_shards(path / "data")]
    pool = RougeLPool()
    expected = []
    for text in texts:
        nearest = pool.nearest(text)
        expected.append(0.0 if nearest is None else nearest.score)
        pool.add(text)
    rejected = [row["score"] for row in read_shards(path / "rejected") if row["rule"] == "rouge_l"]
    with desk_of(path) as desk:
        rule = rule_of(desk, "too_similar")
        assert (rule.at_most, rule.at_equal, rule.threshold, rule.setting) == (True, True, 0.6, "threshold")
        scores = scores_of(desk, rule)
        assert scores.known
        assert scores.kept_scores.tolist() == expected
        assert what_if(rule, scores, rule.threshold)["leaving"] == 0
        assert what_if(rule, scores, rule.threshold)["entering"] == 0
        for at in (0.2, 0.41, 0.6, 0.65, 0.9):
            found = what_if(rule, scores, at)
            assert found["entering"] == sum(score <= at for score in rejected)
            assert found["leaving"] == sum(score > at for score in expected)


def test_self_instruct_measures_its_accepted_instructions_against_all_before(tmp_path: Path) -> None:
    def few_words(request: Request) -> str:
        if "numbered list" not in text_of(request):
            return answer(request)
        draw = random.Random(text_of(request) + str(request.seed))
        tasks = [" ".join(draw.choices(WORDS[:14], k=7)).capitalize() + "." for _ in range(4)]
        return "\n".join(f"{number}. {task}" for number, task in enumerate(tasks, 9))

    path = run(self_instruct(tmp_path, accept=30, seed=5), tmp_path / "out", Model(few_words)).path
    with desk_of(path) as desk:
        rule = rule_of(desk, "too_similar")
        scores = scores_of(desk, rule)
        accepted = [row for row in read_shards(path / "lineage") if row["provenance"]["step"] == "self_instruct"]
        dropped = {row["record_id"] for row in read_shards(path / "rejected")}  # later, for want of an instance
        assert len(scores.kept) == len([row for row in accepted if row["record_id"] not in dropped]) >= 30
        assert scores.known
        assert 0.3 < scores.kept_scores.max() <= rule.threshold
        assert what_if(rule, scores, rule.threshold)["leaving"] == 0
        assert command(rule, "runs/x", 0.5) == ""


def test_what_later_steps_read_is_not_taken_for_what_the_novelty_test_has_judged(tmp_path: Path) -> None:
    file = self_instruct(tmp_path, accept=12, seed=5)
    told = json.loads(file.read_text())
    prompt_file(tmp_path / "title.jinja", "instruction", "Give a title")
    told["steps"].append({"prompt": {"prompt": "title.jinja", "output": "title"}})
    file.write_text(json.dumps(told))
    path = run(file, tmp_path / "out", Model()).path
    with desk_of(path) as desk:
        for rule in rules(desk.shelf.index.columns(), desk.manifest):
            if rule.step == "self_instruct" and rule.field == "instruction":
                scores = scores_of(desk, rule)
                assert scores.known
                assert what_if(rule, scores, rule.threshold)["leaving"] == 0
                accepted = [row for row in read_shards(path / "lineage") if "rouge_l" in json.loads(row["fields"])]
                assert len(scores.kept) <= len(accepted)


def test_the_border_shows_the_nearest_of_each_side(judged: tuple[Path, Path]) -> None:
    with desk_of(judged[0]) as desk:
        rule = rule_of(desk, "too_similar")
        scores = scores_of(desk, rule)
        numbers = np.concatenate([scores.rejected_scores, scores.kept_scores])
        found = what_if(rule, scores, 0.5)
        assert [score for _, score in found["passing"]] == sorted(numbers[numbers <= 0.5], reverse=True)[:6]
        assert [score for _, score in found["failing"]] == sorted(numbers[numbers > 0.5])[:6]
        bars = histogram(rule, scores)
        assert sum(bars["kept"]) == len(scores.kept)
        assert sum(bars["rejected"]) == len(scores.rejected)
        assert bars["edges"][0] < numbers.min() <= numbers.max() < bars["edges"][-1]


def test_the_command_that_is_named_runs(judged: tuple[Path, Path], tmp_path: Path) -> None:
    with desk_of(judged[0]) as desk:
        for reason, at in (("below_minimum", 3.0), ("too_similar", 0.5)):
            words = shlex.split(command(rule_of(desk, reason), str(judged[0]), at))
            assert words[:2] == ["factory", "refilter"]
            new = tmp_path / reason
            factory.refilter(words[2], new, [words[-1]], base=judged[0].parent, progress=False)
            assert 0 < pq.read_table(new / "data").num_rows < pq.read_table(judged[0] / "data").num_rows
        shown = command(rule_of(desk, "below_minimum"), "my runs/it's", 3.0)
        assert shlex.split(shown)[2] == "my runs/it's"


@pytest.mark.parametrize(("limit", "unit"), [("min_words", "words"), ("max_chars", "chars")])
def test_lengths_are_counted_again(tmp_path: Path, limit: str, unit: str) -> None:
    texts = [" ".join(["word"] * (1 + place % 9)) for place in range(40)]
    value = {"min_words": 4, "max_chars": 30}[limit]
    file = one_step(tmp_path, [{"text": f"{text} {place}"} for place, text in enumerate(texts)])
    told = json.loads(file.read_text())
    told["steps"].append({"quality": {"field": "text", "length": {limit: value}}})
    file.write_text(json.dumps(told))
    run(file, tmp_path / "out", Model())
    size = (lambda text: len(text.split())) if unit == "words" else len
    kept = [size(row["text"]) for row in read_shards(tmp_path / "out" / "data")]
    with desk_of(tmp_path / "out") as desk:
        rule = rule_of(desk, {"min_words": "too_short", "max_chars": "too_long"}[limit])
        assert rule.setting == f"length.{limit}"
        assert scores_of(desk, rule).kept_scores.tolist() == kept
        assert what_if(rule, scores_of(desk, rule), rule.threshold)["leaving"] == 0


MANY = [" ".join(WORDS[place : place + 1 + place % 9]) for place in range(40)]


def changed_by(path: Path, desk: Desk, rule: Rule, at: float) -> tuple[int, int]:
    """Rows that enter and leave when the command that is named is carried out."""
    words = shlex.split(command(rule, str(path), at))
    new = path.parent / f"new-{len(list(path.parent.iterdir()))}"
    factory.refilter(path, new, [words[-1]], base=path.parent, progress=False)
    before, after = ({row["record_id"] for row in read_shards(run / "data")} for run in (path, new))
    return len(after - before), len(before - after)


@pytest.mark.parametrize(
    "filter_",
    [
        {"decontaminate": {"field": "text", "against": ["known.txt"], "ngram": 2}},
        {"decontaminate": {"field": "text", "against": ["known.txt"], "ngram": 2, "min_share": 0.05}},
        {"quality": {"field": "text", "length": {"min_words": 3}}},
        {"quality": {"field": "text", "length": {"max_words": 7}}},
    ],
)
def test_the_named_command_does_what_the_page_counts(tmp_path: Path, filter_: dict[str, Any]) -> None:
    (tmp_path / "known.txt").write_text(f"{' '.join(WORDS)}\n")
    longer = 9 if "decontaminate" in filter_ else 0  # shorter rows are not told by a number of n-grams alone
    texts = [
        f"{text} {' '.join(f'w{place}x{n}' for n in range(place % 4 + longer))}" for place, text in enumerate(MANY)
    ]
    file = one_step(tmp_path, [{"text": text} for text in texts if len(text.split()) != 2])
    told = json.loads(file.read_text())
    told["steps"].append(filter_)
    file.write_text(json.dumps(told))
    path = run(file, tmp_path / "out", Model()).path
    with desk_of(path) as desk:
        (rule,) = rules(desk.shelf.index.columns(), desk.manifest)
        scores = scores_of(desk, rule)
        exact = sorted(set(scores.rejected_scores))
        for at in (*exact[:: max(1, len(exact) // 4)], 4.5):
            if at <= 1 or "min_share" not in str(filter_):
                found = what_if(rule, scores, float(at))
                entering, leaving = changed_by(path, desk, rule, float(at))
                assert (found["entering"], found["leaving"] or 0) == (entering, leaving), at


def test_the_command_has_every_digit(judged: tuple[Path, Path]) -> None:
    with desk_of(judged[0]) as desk:
        for at in (1 / 3, 6 / 13, 1e-7, 0.1 + 0.2, 3.0):
            said = command(rule_of(desk, "too_similar"), "runs/x", at).rpartition("=")[2]
            assert float(said) == at
            assert "e" not in said


def test_a_novelty_test_that_has_turned_nothing_away_can_be_tightened(tmp_path: Path) -> None:
    texts = [f"{word} is what this one is about and {word} it stays" for word in WORDS]
    file = one_step(tmp_path, [{"text": text} for text in texts])
    told = json.loads(file.read_text())
    told["steps"].append({"rouge_l": {"field": "text", "threshold": 0.95}})
    file.write_text(json.dumps(told))
    run(file, tmp_path / "out", Model())
    with desk_of(tmp_path / "out") as desk:
        rule = rule_of(desk, "too_similar")
        assert histogram(rule, desk.rescorer(desk.shelf).scores(rule))["kept"]
        scores = scores_of(desk, rule)
        assert (len(scores.rejected), len(scores.kept)) == (0, len(WORDS))
        assert what_if(rule, scores, 0.95)["leaving"] == 0
        assert what_if(rule, scores, 0.5)["leaving"] == len(WORDS) - 1
        assert command(rule, "x", 0.5) == "factory refilter x --out NEW --set rouge_l.threshold=0.5"


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    texts = [f"the very same words again and again number {place // 3}" for place in range(30)]
    file = one_step(tmp_path, [{"text": text} for text in texts])
    told = json.loads(file.read_text())
    told["steps"].append({"quality": {"field": "text", "symbols": {"min_letters": 0.99, "min_chars": 5}}})
    file.write_text(json.dumps(told))
    run(file, tmp_path / "out", Model())
    with desk_of(tmp_path / "out") as desk:
        rule = rule_of(desk, "few_letters")
        scores = scores_of(desk, rule)
        assert not scores.known
        assert "only a looser threshold" in scores.note
        assert what_if(rule, scores, 1.0)["leaving"] is None
