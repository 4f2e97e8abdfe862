"""What must hold of every run: balance, provenance, even use of real texts and ways, a reason for each rejection."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.context.context import request_key
from factory.engines.protocol import Completion, Request
from factory.errors import RecipeError, SourceError
from factory.runner import RunResult

from ...small_runs import MODEL, Model, data, jsonl, recipe, run, step, text_of

CLASSES = {"boast": "a boast in disguise.", "plain": "an ordinary post."}
ROWS = [
    {"text": f"Real {label} {number} about {number * 37 % 101}.", "label": label}
    for label in CLASSES
    for number in range(9)
]
ALL = ["simple", "grounded", "similar", "taxonomy"]


def faithful(folder: Path, rows: list[dict[str, Any]] | None = None, *, head: Any = None, **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", ROWS if rows is None else rows)
    method = {"task": "short posts", "classes": CLASSES, "accept": 20, "per_request": 4, "nodes": 5, **options}
    return recipe(folder, [{"rows": {"path": "rows.jsonl"}}, {"faithful_text": method}], **(head or {}))


def count_of(request: Request) -> int:
    found = re.search(r"from 1 to (\d+)", text_of(request))
    return int(found.group(1)) if found else 1


def is_naming(request: Request) -> bool:
    return "ways" in text_of(request).split("\n")[0]


def answer(request: Request) -> str:
    """As many ways or texts as are asked for, all distinct, in the dress that chat models give them."""
    name = request_key(MODEL, request)[:8]
    if is_naming(request):
        return "Sure! Here are the ways:\n" + "\n".join(
            f"{n}. Tells of {name} {n}" for n in range(1, count_of(request) + 1)
        )
    return "\n".join(f'{n}. "Oh {name}: text {n}"' for n in range(1, count_of(request) + 1))


def read(out: Path, part: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted((out / part).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def rejected(result: RunResult) -> dict[str, int]:
    found: dict[str, int] = step(result, "faithful_text")["rejected"]
    return found


# --- balance, provenance, coverage ----------------------------------------------------------------------------


@pytest.mark.parametrize("strategies", [*([name] for name in ALL), ALL, {"simple": 1, "taxonomy": 3}])
@pytest.mark.parametrize("accept", [1, 20, {"boast": 7, "plain": 23}])
def test_every_class_ends_with_exactly_its_rows(strategies: Any, accept: Any, tmp_path: Path) -> None:
    result = run(faithful(tmp_path, strategies=strategies, accept=accept), tmp_path / "out", Model(answer))
    wanted = accept if isinstance(accept, dict) else dict.fromkeys(CLASSES, accept)
    assert Counter(row["label"] for row in read(tmp_path / "out")) == wanted
    assert result.manifest["status"] == "complete"
    assert {row["strategy"] for row in read(tmp_path / "out")} <= set(strategies)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all strategies."""
    out = tmp_path_factory.mktemp("mixed")
    run(faithful(out, strategies=ALL, accept=200, keep_ground=True), out / "out", Model(answer))
    return out / "out"


def test_rows_name_their_ground_and_node_and_are_made_from_them(mixed: Path) -> None:
    lineage = {row["record_id"]: row for row in read(mixed, "lineage")}
    rows = read(mixed)
    for row in rows:
        parents = row["provenance"]["parents"]
        if row["strategy"] == "simple":
            assert (row["ground_id"], row["node"], row["ground"], parents) == (None, None, None, [])
            continue
        ground = lineage[row["ground_id"]]
        assert ground["provenance"]["step"] == "rows"
        assert f'"{row["ground"]}"' in ground["fields"] and row["ground_label"] in CLASSES
        assert parents[0] == row["ground_id"]
        if row["strategy"] == "similar":
            assert len(set(parents)) == 3
            assert all(f'"{row["label"]}"' in lineage[parent]["fields"] for parent in parents), "of the class itself"
        else:
            assert row["provenance"]["root"] == row["ground_id"]
        assert (row["node"] is not None) == (row["strategy"] == "taxonomy")
        if row["node"] is not None:
            node = lineage[parents[1]]
            assert row["node"] in node["fields"] and f'"{row["label"]}"' in node["fields"]
    counts = Counter(row["strategy"] for row in rows)
    assert max(counts.values()) - min(counts.values()) <= 2 * 4, "shares are of requests, of four texts and two classes"


def asked(recipe_file: Path, out: Path) -> list[str]:
    """Prompts of a run."""
    prompts: list[str] = []

    def noting(request: Request) -> str:
        prompts.append(text_of(request))
        return answer(request)

    run(recipe_file, out, Model(noting))
    return prompts


def test_each_real_text_and_direction_is_visited_evenly(mixed: Path) -> None:
    for strategy, per_class in (("grounded", 18), ("taxonomy", 18), ("similar", 9)):
        for label in CLASSES:
            chosen = [row for row in read(mixed) if row["strategy"] == strategy and row["label"] == label]
            visits = Counter(row["ground_id"] for row in chosen)
            counts = [visits[name] // 4 for name in visits] + [0] * (per_class - len(visits))
            assert max(counts) - min(counts) <= 1, (strategy, label, counts)
            if strategy != "similar":
                assert len({row["ground_label"] for row in chosen}) == 2, "real texts of any class are rewritten"


def test_ways_are_dealt_evenly(mixed: Path) -> None:
    for label in CLASSES:
        uses = Counter(row["node"] for row in read(mixed) if row["node"] and row["label"] == label)
        assert len(uses) == 5
        assert max(uses.values()) - min(uses.values()) <= 4, "a request has four texts"


def test_a_request_of_taxonomy_shows_its_own_way_and_ground(tmp_path: Path) -> None:
    prompts = asked(faithful(tmp_path, strategies=["taxonomy"]), tmp_path / "out")
    for row in read(tmp_path / "out"):
        assert any(row["node"] in text and "Real " in text for text in prompts)


# --- what is turned away --------------------------------------------------------------------------------------


def test_copies_and_duplicates_are_rejected_in_request_order(tmp_path: Path) -> None:
    def copying(request: Request) -> str:
        text = text_of(request)
        real = re.findall(r"Real (?:boast|plain) \d+ about \d+", text)
        return f"1. {real[0].upper()}\n2. Same for all!\n3. Oh {request.seed}: one\n4. real boast 0 about 0"

    result = run(faithful(tmp_path), tmp_path / "out", Model(copying))
    counts = rejected(result)
    assert Counter(row["label"] for row in read(tmp_path / "out")) == {"boast": 20, "plain": 20}
    assert counts["text: copy_of_ground"] > 30 and counts["text: copy_of_real_text"] > 30
    texts = [row["text"] for row in read(tmp_path / "out")]
    assert texts[0] == "Same for all!" and texts.count("Same for all!") == 1
    assert counts["text: duplicate"] > 30
    for row in read(tmp_path / "out", "rejected"):
        if row["reason"] in ("duplicate", "copy_of_ground"):
            assert row["evidence"]


def test_a_text_too_near_to_the_one_it_was_shown_is_a_copy(tmp_path: Path) -> None:
    def near(request: Request) -> str:
        (real, *_) = re.findall(r"Real (?:boast|plain) \d+ about \d+", text_of(request))
        start = real.split(" about")[0]
        return f"1. {real} indeed\n2. {real} or so they said about {request.seed}\n3. {start}"

    result = run(faithful(tmp_path, copy_above=0.8), tmp_path / "out", Model(near))
    copies = [row for row in read(tmp_path / "out", "rejected") if row["reason"] == "copy_of_ground"]
    assert len(copies) > 10 and {round(row["score"], 3) for row in copies} == {0.833, 1.0}
    assert {row["threshold"] for row in copies} == {0.8}
    assert result.rows == 40
    run(faithful(tmp_path), tmp_path / "all", Model(near))
    assert any(row["text"].endswith("indeed") for row in read(tmp_path / "all"))


def test_cut_and_empty_answers_are_rejected(tmp_path: Path) -> None:
    def cut(request: Request) -> Completion | str:
        if request.seed is not None and request.seed % 3 == 0:
            return ""
        return Completion(text=answer(request), finish_reason="length", prompt_tokens=9, completion_tokens=9)

    result = run(faithful(tmp_path), tmp_path / "out", Model(cut))
    assert result.rows == 40
    assert rejected(result)["parse: cut_off"] > 5 and rejected(result)["parse: empty_answer"] > 1
    assert not [row for row in read(tmp_path / "out") if row["text"].endswith("text 4")]


def test_a_model_that_says_one_thing_only_is_given_up(tmp_path: Path) -> None:
    engine = Model(lambda request: "1. The same.\n2. And this.")
    stop = {"rate": 0.1, "over": 15}
    result = run(faithful(tmp_path, strategies=ALL[:2], stop=stop), tmp_path / "out", engine)
    assert (result.rows, result.manifest["status"]) == (2, "partial")
    assert result.exit_code == 4
    message = re.sub(r"\s+", " ", result.message)
    assert "'boast': stop: " in message and "2 of 20 rows" in message and "0 of 20 rows" in message
    assert engine.asked <= 2 * (15 + 32)


def test_one_class_given_up_does_not_end_the_other(tmp_path: Path) -> None:
    def half(request: Request) -> str:
        return answer(request) if "an ordinary post" in text_of(request) else "No."

    result = run(faithful(tmp_path, stop={"rate": 0.1, "over": 15}), tmp_path / "out", Model(half))
    assert result.manifest["status"] == "partial"
    assert Counter(row["label"] for row in read(tmp_path / "out")) == {"plain": 20}
    assert "'boast'" in result.message and "'plain'" not in result.message


# --- bad input ------------------------------------------------------------------------------------------------


def test_rows_that_are_no_real_texts_have_one_outcome_each(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        {"text": " ", "label": "boast"},
        {"text": None, "label": "boast"},
        {"text": "REAL boast 1, about 37", "label": "plain"},
        {"text": "Strange.", "label": "boost"},
        {"text": "Unlabelled.", "label": None},
    ]
    result = run(faithful(tmp_path, rows), tmp_path / "out", Model(answer))
    counts = {reason: count for reason, count in rejected(result).items() if reason.startswith("source")}
    assert counts == {"source: empty_text": 2, "source: duplicate_text": 1, "source: unknown_label": 2}
    assert result.rows == 40
    used = {row["ground_id"] for row in read(tmp_path / "out")}
    assert not used & {row["record_id"] for row in read(tmp_path / "out", "rejected") if row["rule"] == "source"}


def test_labels_are_mapped_and_a_file_of_unknown_ones_is_refused(tmp_path: Path) -> None:
    rows = [{"tweet": row["text"], "sarcastic": 1 if row["label"] == "boast" else 0} for row in ROWS]
    named: dict[str, Any] = {"text": "tweet", "label": "sarcastic", "strategies": ["similar"], "keep_ground": True}
    values = {"1": "boast", "0": "plain"}
    run(faithful(tmp_path / "a", rows, values=values, **named), tmp_path / "a" / "out", Model(answer))
    assert all(row["ground_label"] == row["label"] for row in read(tmp_path / "a" / "out"))
    with pytest.raises(SourceError, match=r"no real text came in.*'1' \(9\), '0' \(9\), which 'values' can map"):
        run(faithful(tmp_path / "b", rows, **named), tmp_path / "b" / "out", Model(answer))


def test_a_class_without_real_texts_is_made_from_the_others_or_refused_where_they_must_be_shown(tmp_path: Path) -> None:
    rows = [row for row in ROWS if row["label"] == "plain"]
    result = run(faithful(tmp_path / "a", rows), tmp_path / "a" / "out", Model(answer))
    assert Counter(row["label"] for row in read(tmp_path / "a" / "out")) == {"boast": 20, "plain": 20}
    assert step(result, "faithful_text")["notes"] == ["no text of the class 'boast' came in: its rows are made without"]
    with pytest.raises(SourceError, match="no text of the class 'boast' came in, but similar shows some"):
        run(faithful(tmp_path / "b", rows, strategies=ALL), tmp_path / "b" / "out", Model(answer))


def test_a_class_with_two_real_texts_shows_both(tmp_path: Path) -> None:
    rows = [row for row in ROWS if row["label"] == "plain"] + ROWS[:2]
    result = run(faithful(tmp_path, rows, strategies=["similar"]), tmp_path / "out", Model(answer))
    assert step(result, "faithful_text")["notes"] == ["similar shows 2 of 3 texts of 'boast': there are no more"]
    boasts = [row for row in read(tmp_path / "out") if row["label"] == "boast"]
    assert len(boasts) == 20
    assert {len(set(row["provenance"]["parents"])) for row in boasts} == {2}


def test_ways_that_are_too_few_are_asked_for_again_without_those_known(tmp_path: Path) -> None:
    seen: list[str] = []

    def few(request: Request) -> str:
        if not is_naming(request):
            return answer(request)
        seen.append(text_of(request))
        return "1. Speaks of rain\n2. speaks of RAIN.\n3. " + request_key(MODEL, request)[:9]

    result = run(faithful(tmp_path, strategies=["taxonomy"]), tmp_path / "out", Model(few))
    assert len(seen) == 6
    assert sum("- Speaks of rain" in text for text in seen) == 4
    assert rejected(result)["nodes: duplicate"] == 10
    assert len({row["node"] for row in read(tmp_path / "out")}) >= 7


def test_an_answer_without_ways_leaves_the_other_strategies_or_ends_the_class(tmp_path: Path) -> None:
    def none(request: Request) -> str:
        return "I would rather not say." if is_naming(request) else answer(request)

    result = run(faithful(tmp_path / "a", strategies=ALL), tmp_path / "a" / "out", Model(none))
    assert (result.rows, rejected(result)["nodes: no_list"]) == (40, 6)
    assert {row["strategy"] for row in read(tmp_path / "a" / "out")} == {"simple", "grounded", "similar"}
    assert "the model named no way to be 'boast'" in step(result, "faithful_text")["notes"][0]
    result = run(faithful(tmp_path / "b", strategies=["taxonomy"]), tmp_path / "b" / "out", Model(none))
    assert (result.rows, result.exit_code) == (0, 4)
    assert "named no way to be 'plain' in 3 rounds of requests; 0 of 20 rows" in re.sub(r"\s+", " ", result.message)


def test_simple_needs_no_rows_at_all(tmp_path: Path) -> None:
    method = {"task": "posts", "classes": CLASSES, "strategies": ["simple"], "accept": 5}
    result = run(recipe(tmp_path, [{"faithful_text": method}]), tmp_path / "out", Model(answer))
    assert result.rows == 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategies": ["simpel"]}, "strategies"),
        ({"strategies": ["simple", "simple"]}, "named twice"),
        ({"strategies": {"simple": 0}}, "expected more than 0"),
        ({"values": {"1": "boasts"}}, "did you mean 'boast'"),
        ({"values": {"1": "boast"}}, "no value for the class 'plain'"),
        ({"accept": {"boast": 3}}, "no number for the class 'plain'"),
        ({"classes": {}}, "classes"),
        ({"text": "txt"}, "no column 'txt' .did you mean 'text'"),
        ({"label": "text"}, "both the column 'text'"),
        ({"small_model": True}, "one text at a time"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        factory.load_recipe(faithful(tmp_path, **options))


# --- replay and plan ------------------------------------------------------------------------------------------

FORMS: dict[str, dict[str, Any]] = {
    "chat": {},
    "base": {"head": {"engine": {"chat": False}}},
    "small": {"small_model": True, "per_request": None},
    "small base": {"small_model": True, "per_request": None, "head": {"engine": {"chat": False}}},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_finished_run_is_played_back_without_a_request_and_the_order_of_answers_does_not_matter(
    form: str, tmp_path: Path
) -> None:
    def lax(request: Request) -> str:
        known = answer(request)
        return known if count_of(request) > 1 else f" Oh {request_key(MODEL, request)[:8]}: rain."

    recipe_file = faithful(tmp_path, strategies=ALL, **FORMS[form])
    run(recipe_file, tmp_path / "one", Model(lax))
    run(recipe_file, tmp_path / "two", Model(lax, most_s=0.004))
    assert data(tmp_path / "one") == data(tmp_path / "two")
    assert Counter(row["label"] for row in read(tmp_path / "one")) == {"boast": 20, "plain": 20}
    again = Model(lax)
    run(recipe_file, tmp_path / "one", again)
    assert again.asked == 0


def test_a_small_model_goes_on_with_what_the_prompt_has_begun(tmp_path: Path) -> None:
    recipe_file = faithful(tmp_path, small_model=True, per_request=None)
    run(recipe_file, tmp_path / "out", Model(lambda request: f" and so on {request.seed}."))
    assert all(row["text"].startswith("Real and so on") for row in read(tmp_path / "out"))


def test_more_rows_cost_only_what_is_new_and_another_real_text_only_what_shows_it(tmp_path: Path) -> None:
    run(faithful(tmp_path, strategies=["grounded"], accept=72), tmp_path / "out", Model(answer))
    engine = Model(answer)
    run(faithful(tmp_path, strategies=["grounded"], accept=76), tmp_path / "out", engine)
    assert engine.asked <= 6
    engine = Model(answer)
    rows = [*ROWS, {"text": "A new one.", "label": "plain"}]
    run(faithful(tmp_path, rows, strategies=["grounded"], accept=76), tmp_path / "out", engine)
    assert 0 < engine.asked <= 6


def test_a_spent_budget_ends_the_run_and_more_of_it_goes_on(tmp_path: Path) -> None:
    head = {"budget": {"requests": 6}}
    result = run(faithful(tmp_path, strategies=ALL, head=head), tmp_path / "out", Model(answer))
    assert result.exit_code == 4 and 0 < result.rows < 40
    part = data(tmp_path / "out")
    result = run(faithful(tmp_path, strategies=ALL, head=head), tmp_path / "out", Model(answer))
    assert data(tmp_path / "out") == part
    result = run(faithful(tmp_path, strategies=ALL), tmp_path / "out", Model(answer))
    assert result.rows == 40


@pytest.mark.parametrize("strategies", [["simple"], ["grounded"], ALL])
def test_the_plan_is_a_range_that_holds(strategies: list[str], tmp_path: Path) -> None:
    recipe_file = faithful(tmp_path, strategies=strategies)
    plan, engine = factory.plan(recipe_file, tmp_path / "out"), Model(answer)
    run(recipe_file, tmp_path / "out", engine)
    assert plan.total("ask") <= engine.asked <= plan.total("ask_high")
    assert plan.rows == 0
    after = factory.plan(recipe_file, tmp_path / "out")
    assert (after.total("ask"), after.rows, after.exact) == (0, 40, True)


def test_the_plan_counts_a_range_where_the_real_texts_are_yet_to_be_made(tmp_path: Path) -> None:
    (tmp_path / "say.jinja").write_text("---\ninputs: [topic]\n---\n=== user ===\nSay something on {{ topic }}.\n")
    jsonl(tmp_path / "rows.jsonl", [{"topic": f"thing {number}", "label": "plain"} for number in range(9)])
    method = {"task": "short posts", "classes": CLASSES, "accept": 20, "per_request": 4, "nodes": 5}
    steps = [
        {"rows": {"path": "rows.jsonl"}},
        {"prompt": {"prompt": "say.jinja", "output": "text"}},
        {"faithful_text": {**method, "strategies": ["grounded", "taxonomy"]}},
    ]
    recipe_file = recipe(tmp_path, steps)
    plan, engine = factory.plan(recipe_file, tmp_path / "out"), Model(answer)
    result = run(recipe_file, tmp_path / "out", engine)
    assert result.rows == 40
    assert plan.total("ask") <= engine.asked <= plan.total("ask_high")


def test_similar_rows_are_judged_by_what_has_seen_none_of_their_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are shown with a part of the others only, so that they share a fold and yet leave enough to learn from."""
    from factory.filters import discriminator

    seen: list[tuple[Any, Any]] = []
    assign = discriminator.assign
    monkeypatch.setattr(
        discriminator, "assign", lambda examples, folds: seen.append((examples, assign(examples, folds))) or seen[-1][1]
    )
    rows = [{"text": f"Real {label} {n} about {n * 37 % 101}.", "label": label} for label in CLASSES for n in range(80)]
    path = faithful(tmp_path, rows, strategies=["similar"], accept=240)
    text = path.read_text() + "\n"
    import yaml

    steps = yaml.safe_load(text)
    steps["steps"].append({"discriminator": {"real": {"path": "rows.jsonl"}}})
    path.write_text(yaml.safe_dump(steps))
    run(path, tmp_path / "out", Model(answer))
    examples, assigned = seen[-1]
    folds = {example.source: int(fold) for example, fold in zip(examples, assigned, strict=True) if example.real}
    made = [(example, int(fold)) for example, fold in zip(examples, assigned, strict=True) if not example.real]
    assert len(made) == 480
    assert all({folds[name] for name in (example.source, *example.more)} == {fold} for example, fold in made)
    assert {1 + len(example.more) for example, _ in made} <= {2, 3}
    assert len(set(folds.values())) == 5
    assert max(Counter(fold for _, fold in made).values()) < len(made) / 2, "the rows are not all tied together"
