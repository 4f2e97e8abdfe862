"""What must hold of every run: novelty, windows, demonstrations, reasons, counts, labels, reproducibility."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from factory.engines.protocol import Completion, Request
from factory.records import derive_seed

from . import fake_model, reference, runs
from .audit import Audit

ACCEPT, WINDOW = 40, 6
FORMS: dict[str, dict[str, Any]] = {
    "paper": {},
    "paper, base model": {"head": {"engine": {"chat": False}}},
    "small": {"small_model": True},
    "small, base model": {"small_model": True, "head": {"engine": {"chat": False}}},
    "one call": {"variant": "one_call"},
    "one call, base model": {"variant": "one_call", "head": {"engine": {"chat": False}}},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, runs.Run]:
    """One finished run of each form of the method."""
    found = {}
    for name, options in FORMS.items():
        folder = tmp_path_factory.mktemp("run")
        found[name] = runs.run(runs.write_recipe(folder, accept=ACCEPT, window=WINDOW, **options), folder / "out")
    return found


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(finished: dict[str, runs.Run], form: str) -> runs.Run:
    return finished[form]


@pytest.fixture
def paper(finished: dict[str, runs.Run]) -> runs.Run:
    return finished["paper"]


def requests_of(run: runs.Run) -> dict[int, list[dict[str, Any]]]:
    """Candidates by the number of the request whose answer they were read from."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in [*run.lineage.values(), *run.rejected]:
        number = runs.numbers().get(row["provenance"]["seed"])
        if number is not None:
            found[number].append(row)
    return found


def seed_ids(run: runs.Run) -> set[str]:
    return {name for name, row in run.lineage.items() if row["provenance"]["step"] == "seeds"}


# --- the whole run, against the reference ---------------------------------------------------------------------


def test_the_run_comes_to_what_the_reference_makes_of_the_same_answers(run: runs.Run, form: str) -> None:
    small, one_call = form.startswith("small"), form.startswith("one call")
    audit = Audit(run, wanted=ACCEPT, chat="base model" not in form, small=small, one_call=one_call)
    assert audit.differences(run) == []


def test_exactly_the_wanted_instructions_are_kept_each_with_one_to_five_instances(run: runs.Run) -> None:
    counts: dict[str, int] = defaultdict(int)
    for row in run.data:
        counts[row["instruction_id"]] += 1
    assert run.result.status == "complete"
    assert run.result.exit_code == 0
    assert len(counts) == ACCEPT
    assert set(counts.values()) <= {1, 2, 3, 4, 5}
    assert len({row["instruction"] for row in run.data}) == ACCEPT


def test_no_accepted_instruction_is_too_similar_to_a_seed_or_to_an_earlier_one(run: runs.Run) -> None:
    pool = reference.Novelty([seed["instruction"] for seed in runs.shipped_seeds()])
    for row in run.lineage.values():
        if row["provenance"]["step"] == runs.STEP:
            text = row["fields"]["instruction"]
            score, nearest = pool.best(text)
            assert score <= 0.7
            assert row["fields"]["rouge_l"] == pytest.approx(score, abs=1e-12)
            assert score == 0 or row["fields"]["nearest"] in nearest
            pool.add(text)


def test_no_row_repeats_a_seed(run: runs.Run) -> None:
    seeds = {seed["instruction"].casefold() for seed in runs.shipped_seeds()}
    assert not seeds & {row["instruction"].casefold() for row in run.data}


def test_every_rejected_row_has_a_rule_a_reason_and_where_it_measures_its_score(run: runs.Run) -> None:
    assert run.rejected
    for row in run.rejected:
        assert row["rule"] and row["reason"], row
        assert row["provenance"]["requests"]
        if row["reason"] == "too_similar":
            assert row["score"] > row["threshold"] == 0.7
            assert row["evidence"]
        if row["reason"] in ("no_instance", "blacklisted_word", "preamble", "malformed"):
            assert row["evidence"]


def test_the_fake_model_gives_cause_for_every_rule(finished: dict[str, runs.Run]) -> None:
    reasons = {reason for run in finished.values() for reason in run.reasons()}
    assert reasons >= {
        *("too_short", "too_long", "blacklisted_word", "banned_prefix", "punctuation_start", "non_ascii_start"),
        *("empty", "empty_answer", "too_similar", "cut_off", "preamble", "malformed", "no_instance", "surplus"),
        *("empty_output", "input_equals_output", "ends_with_colon", "contradicting_outputs", "over_max_instances"),
    }


def test_every_id_is_given_once_and_every_parent_is_known(run: runs.Run) -> None:
    ids = [row["record_id"] for row in run.data + run.rejected]
    ids_without_tasks = [name for name in ids if name not in run.lineage]
    assert len(set(ids_without_tasks)) == len(ids_without_tasks)
    for row in run.data + run.rejected:
        assert row["provenance"]["parents"]
        assert set(row["provenance"]["parents"]) <= set(run.lineage)


# --- demonstrations and the window ----------------------------------------------------------------------------


def test_a_request_shows_eight_tasks_at_most_two_of_them_the_models_own(paper: runs.Run) -> None:
    seeds = seed_ids(paper)
    both = 0
    for candidates in requests_of(paper).values():
        parents = candidates[0]["provenance"]["parents"]
        machine = [name for name in parents if name not in seeds]
        assert len(parents) == len(set(parents)) == 8
        assert len(machine) <= 2
        both += len(machine) == 2
    assert both > 5


def test_the_first_window_of_requests_shows_seeds_only(paper: runs.Run) -> None:
    seeds = seed_ids(paper)
    requests = requests_of(paper)
    assert set(range(WINDOW)) <= set(requests)
    for number in range(WINDOW):
        assert set(requests[number][0]["provenance"]["parents"]) <= seeds


def test_a_request_shows_what_was_accepted_a_window_before_it_and_nothing_later(paper: runs.Run) -> None:
    seeds = seed_ids(paper)
    number_of = {row["record_id"]: number for number, candidates in requests_of(paper).items() for row in candidates}
    distances = []
    for number, candidates in requests_of(paper).items():
        for parent in candidates[0]["provenance"]["parents"]:
            if parent not in seeds:
                distances.append(number - number_of[parent])
    assert min(distances) == WINDOW
    assert max(distances) > WINDOW


def test_the_prompt_shows_the_tasks_that_provenance_names_in_that_order(paper: runs.Run) -> None:
    journal = paper.journal()
    for number, candidates in requests_of(paper).items():
        request, _ = journal["instructions", derive_seed(runs.SEED, runs.STEP, str(number), 0)]
        shown = [paper.lineage[name]["fields"]["instruction"] for name in candidates[0]["provenance"]["parents"]]
        lines = [f"{place}. {text}" for place, text in enumerate(shown, 1)]
        assert "\n".join(lines) in fake_model.text_of(request)


def test_one_call_requests_show_three_seeds(finished: dict[str, runs.Run]) -> None:
    run = finished["one call"]
    for candidates in requests_of(run).values():
        assert len(candidates[0]["provenance"]["parents"]) == 3
        assert set(candidates[0]["provenance"]["parents"]) <= seed_ids(run)


def test_instance_requests_share_their_beginning(paper: runs.Run) -> None:
    """The demonstrations are fixed, so that an engine can keep their prefix."""
    for stage in ("classification", "input_first", "output_first"):
        texts = [fake_model.text_of(request) for (name, _), (request, _) in paper.journal().items() if name == stage]
        shared = os.path.commonprefix(texts)
        assert len(texts) > 3
        assert len(shared) > 0.8 * min(map(len, texts))


# --- labels ---------------------------------------------------------------------------------------------------


def test_classification_tasks_go_output_first_and_the_others_input_first(paper: runs.Run) -> None:
    journal = paper.journal()
    assert any(row["is_classification"] for row in paper.data) and not all(
        row["is_classification"] for row in paper.data
    )
    for row in paper.data:
        seed = derive_seed(runs.SEED, runs.STEP, row["instruction_id"], 0)
        verdict = reference.is_classification(journal["classification", seed][1].text)
        assert row["is_classification"] == verdict
        assert (("output_first", seed) in journal) == verdict
        assert (("input_first", seed) in journal) == (not verdict)
        assert row["provenance"]["prompt"] == f"self_instruct/{'output_first' if verdict else 'input_first'}"
        assert len(row["provenance"]["requests"]) == 2
        assert row["provenance"]["parents"] == [row["instruction_id"]]


def test_rows_have_the_columns_of_the_paper(run: runs.Run, form: str) -> None:
    for row in run.data:
        assert list(row)[:5] == ["instruction", "input", "output", "is_classification", "instruction_id"]
        assert row["output"] and row["input"] is not None
        assert (row["is_classification"] is None) == form.startswith("one call")
        assert row["instruction_id"] in run.lineage


# --- the same again -------------------------------------------------------------------------------------------


def test_answers_in_any_order_give_the_same_bytes(paper: runs.Run, tmp_path: Path) -> None:
    expected = runs.data_bytes(paper.result.path)
    for salt in ("one", "two"):
        folder = tmp_path / salt
        folder.mkdir()
        recipe = runs.write_recipe(folder, accept=ACCEPT, window=WINDOW)
        runs.run(recipe, folder / "out", fake_model.SlowEngine(fake_model.answer, salt))
        assert runs.data_bytes(folder / "out") == expected


def test_requests_in_flight_do_not_decide_anything(paper: runs.Run, tmp_path: Path) -> None:
    recipe = runs.write_recipe(tmp_path, accept=ACCEPT, window=WINDOW, head={"engine": {"max_in_flight": 1}})
    runs.run(recipe, tmp_path / "out")
    assert runs.data_bytes(tmp_path / "out") == runs.data_bytes(paper.result.path)


def test_a_second_run_asks_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    recipe = runs.write_recipe(tmp_path, accept=12, window=WINDOW)
    runs.run(recipe, tmp_path / "out")
    first = runs.data_bytes(tmp_path / "out")
    again = runs.run(recipe, tmp_path / "out")
    assert again.engine.asked == 0  # type: ignore[attr-defined]
    assert runs.data_bytes(tmp_path / "out") == first


def test_more_accepted_begins_with_what_fewer_had(tmp_path: Path, paper: runs.Run) -> None:
    """A larger `accept` goes on where a smaller one ended: no row twice, none lost, all answers reused."""
    runs.run(runs.write_recipe(tmp_path, accept=12, window=WINDOW), tmp_path / "out")
    few = runs.rows(tmp_path / "out" / "data")
    more = runs.run(runs.write_recipe(tmp_path, accept=ACCEPT, window=WINDOW), tmp_path / "out")
    assert more.data[: len(few)] == few
    assert runs.data_bytes(tmp_path / "out") == runs.data_bytes(paper.result.path)


SCRIPT = """
import sys, types
from pathlib import Path
here, folder = Path(sys.argv[1]), Path(sys.argv[2])
package = types.ModuleType("self_instruct_tests")
package.__path__ = [str(here)]
sys.modules["self_instruct_tests"] = package
from self_instruct_tests import runs
runs.run(runs.write_recipe(folder, accept=int(sys.argv[3]), window=int(sys.argv[4])), folder / "out")
"""


def test_the_hash_seed_of_the_process_decides_nothing(tmp_path: Path, paper: runs.Run) -> None:
    for hash_seed in ("0", "4711"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(folder), str(ACCEPT), str(WINDOW)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            timeout=60,
        )
        assert runs.data_bytes(folder / "out") == runs.data_bytes(paper.result.path)


def test_another_seed_gives_another_dataset(tmp_path: Path, paper: runs.Run) -> None:
    runs.run(runs.write_recipe(tmp_path, accept=12, window=WINDOW, head={"seed": 8}), tmp_path / "out")
    texts = {row["instruction"] for row in runs.rows(tmp_path / "out" / "data")}
    assert not texts & {row["instruction"] for row in paper.data[:12]}


# --- novelty at the edge --------------------------------------------------------------------------------------


def scripted(lists: list[str], verdict: str = "No", instances: str = "Output: It is done.") -> Any:
    """Those answers to the first requests for instructions, ever new ones after them."""

    def answer(request: Request) -> str | Completion:
        stage = fake_model.stage_of(request)
        if stage == "instructions":
            number = runs.numbers()[request.seed or 0]
            return lists[number] if number < len(lists) else f"9. {runs.fresh(number)}"
        return verdict if stage == "classification" else instances

    return answer


@pytest.mark.parametrize(
    ("lengths", "kept"), [((10, 10), True), ((7, 13), False), ((8, 12), False), ((9, 11), False), ((9, 10), False)]
)
def test_a_score_of_exactly_the_threshold_is_kept(tmp_path: Path, lengths: tuple[int, int], kept: bool) -> None:
    """2 * 7 / 20 is kept where rouge_score's own arithmetic gives 0.7 and not 0.7000000000000001."""
    shared = [f"word{place}" for place in range(7)]
    texts = [
        " ".join(["Alpha", *shared[1:], *(f"{name}{place}" for place in range(length - 7))])
        for name, length in zip(("left", "right"), lengths, strict=True)
    ]
    scorer = reference.Novelty([texts[0]])
    assert (scorer.best(texts[1])[0] <= 0.7) == kept
    engine = runs.bounded(scripted([f"9. {texts[0]}\n10. {texts[1]}"]))
    run = runs.run(runs.write_recipe(tmp_path, accept=3, window=1), tmp_path / "out", engine)
    assert (texts[1] in [row["instruction"] for row in run.data]) == kept


def test_instructions_of_one_answer_are_compared_with_each_other(tmp_path: Path) -> None:
    engine = runs.bounded(
        scripted(["9. Name three rivers of northern Spain.\n10. Name three rivers of northern Spain!"])
    )
    run = runs.run(runs.write_recipe(tmp_path, accept=2, window=1), tmp_path / "out", engine)
    similar = [row for row in run.rejected if row["reason"] == "too_similar"]
    assert [(row["score"], row["evidence"]) for row in similar] == [(1.0, "Name three rivers of northern Spain.")]


def test_two_outputs_for_one_input_drop_the_whole_task(tmp_path: Path) -> None:
    pairs = "Example 1\nInput: q\nOutput: yes\n\nExample 2\nInput: q\nOutput: no\n\nExample 3\nInput: r\nOutput: no"
    folder = tmp_path / "out"
    recipe = runs.write_recipe(tmp_path, accept=1, window=1, stop={"acceptance_below": {"rate": 0.5, "over": 4}})
    run = runs.run(recipe, folder, runs.bounded(scripted([], instances=pairs)))
    assert run.data == []
    assert run.reasons()["contradicting_outputs"] >= 12
    assert run.reasons()["no_instance"] >= 4


def test_more_than_five_instances_are_sampled_not_cut_off(tmp_path: Path) -> None:
    pairs = "\n".join(f"Example {n}\nInput: case {n}\nOutput: result {n}" for n in range(1, 10))
    recipe = runs.write_recipe(tmp_path, accept=12, window=2)
    run = runs.run(recipe, tmp_path / "out", runs.bounded(scripted([], instances=pairs)))
    chosen: dict[str, list[str]] = defaultdict(list)
    for row in run.data:
        chosen[row["instruction_id"]].append(row["input"])
    assert {len(cases) for cases in chosen.values()} == {5}
    assert len({tuple(cases) for cases in chosen.values()}) > 6
    assert all(cases == sorted(cases) for cases in chosen.values())
    over = [row for row in run.rejected if row["reason"] == "over_max_instances"]
    assert len(over) == 12 * 4
    assert {(row["score"], row["threshold"]) for row in over} == {(9.0, 5.0)}


# --- other scripts than Latin ---------------------------------------------------------------------------------


def test_chinese_instructions_are_compared_with_each_other(tmp_path: Path) -> None:
    texts = [
        "请写一首关于春天和花朵的短诗。",
        "请写一首关于春天和花朵的短诗吧。",
        "解释为什么天空在傍晚会变成红色。",
        "把下面的句子翻译成英文并说明语法。",
        "解释为什么天空在傍晚会变成橙色。",
    ]
    lists = ["\n".join(f"{number}. {text}" for number, text in enumerate(texts, 9))]
    recipe = runs.write_recipe(tmp_path, accept=4, window=1, rules={"non_ascii_start": False})
    run = runs.run(recipe, tmp_path / "out", runs.bounded(scripted(lists)))
    assert [row["instruction"] for row in run.data][:3] == [texts[0], texts[2], texts[3]]
    similar = [row for row in run.rejected if row["reason"] == "too_similar"]
    assert [(row["fields"]["instruction"], row["evidence"]) for row in similar] == [
        (texts[1], texts[0]),
        (texts[4], texts[2]),
    ]


def test_chinese_instructions_are_turned_away_by_the_papers_rule(tmp_path: Path) -> None:
    recipe = runs.write_recipe(tmp_path, accept=1, window=1)
    run = runs.run(recipe, tmp_path / "out", runs.bounded(scripted(["9. 请写一首关于春天和花朵的短诗。"])))
    assert [row["reason"] for row in run.rejected][:1] == ["non_ascii_start"]
