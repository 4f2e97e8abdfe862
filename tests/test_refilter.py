"""A run judged again gives what the changed recipe gives, asks nothing unasked, and leaves the old run as it was."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory import dataset, refiltering, rundir
from factory.comparison import Moved
from factory.engines.protocol import Request
from factory.errors import RecipeError, RunDirError, UserError
from factory.exporting import export
from factory.pipeline import Pipeline
from factory.refiltering import RefilterResult
from factory.terminal.judged import refilter_text
from factory.terminal.layout import WIDTH

from .driver import in_process
from .small_runs import Model, answer, committed, data, jsonl, prompt_file, recipe, run, self_instruct, text_of, tickets

ROWS = 60
NOUNS = ["parcel", "lamp", "shoe", "invoice", "card", "mail"]


def reply(request: Request) -> str:
    """Summaries that are alike in groups of ten; a mark of 1 to 5; titles."""
    text = text_of(request)
    number = int(re.search(r"Ticket (\d+)", text)[1]) if "Ticket" in text else 0
    if text.startswith("Summarise"):
        noun, extra = NOUNS[number % 6], " ".join(f"w{number}x{place}" for place in range(number // 6))
        return f"Ticket {number} the customer has a {noun} and says {extra}".strip()
    if text.startswith("Rate"):
        return str(1 + number % 5)
    return answer(request)


def chain(folder: Path, rows: int = ROWS, last: dict[str, Any] | None = None, **head: Any) -> Path:
    """prompt -> rouge_l -> judge -> prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", tickets(rows))
    prompt_file(folder / "summary.jinja", "text", "Summarise")
    prompt_file(folder / "rate.jinja", "summary", "Rate")
    prompt_file(folder / "title.jinja", "summary", "Give a title to")
    steps = [
        {"rows": {"path": "rows.jsonl"}},
        {"prompt": {"name": "summarise", "prompt": "summary.jinja", "output": "summary"}},
        {"rouge_l": {"name": "novelty", "field": "summary", "threshold": 0.6}},
        {"judge": {"name": "quality", "prompt": "rate.jinja", "column": "quality", "scale": [1, 5], "minimum": 2}},
        {"prompt": {"name": "entitle", "prompt": "title.jinja", "output": "title", **(last or {})}},
    ]
    return recipe(folder, steps, **head)


def model() -> Model:
    return Model(reply)


def again(old: Path, new: Path, *settings: str, **options: Any) -> RefilterResult:
    return factory.refilter(old, new, settings, progress=False, **options)


def bytes_of(path: Path) -> dict[str, tuple[str, int]]:
    """Hash and time of change of every file of a directory."""
    return {
        str(file.relative_to(path)): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def rejected(out: Path, rule: str = "refilter") -> list[dict[str, Any]]:
    rows = pq.read_table(out / "rejected").to_pylist()
    return [row for row in rows if row["rule"] == rule]


def counts(moved: list[Moved]) -> dict[tuple[str, str], int]:
    return {(one.step, one.rule): one.count for one in moved}


def ids(out: Path) -> set[str]:
    return set(pq.read_table(out / "data", columns=["record_id"]).column(0).to_pylist())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe, and its finished run `old` in it."""
    folder = tmp_path_factory.mktemp("finished")
    assert run(chain(folder), folder / "old", model()).status == "complete"
    return folder


@pytest.mark.parametrize("settings", [(), ("novelty.threshold=0.6",), ("quality.minimum=2.0", "novelty.threshold=0.6")])
def test_without_a_change_the_dataset_is_the_same_to_the_byte(
    settings: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    before = bytes_of(finished / "old")
    result = again(finished / "old", tmp_path / "new", *settings)
    assert data(tmp_path / "new") == data(finished / "old")
    for folder in ("rejected", "lineage"):
        (one,), (other,) = ((place / folder).glob("*.parquet") for place in (finished / "old", tmp_path / "new"))
        assert one.read_bytes() == other.read_bytes()
    assert (result.run.status, result.run.exit_code, result.changes) == ("complete", 0, [])
    assert result.rows is not None
    assert (result.rows.stay, result.rows.changed, result.rows.entered, result.rows.left) == (
        result.run.rows,
        0,
        [],
        [],
    )
    assert bytes_of(finished / "old") == before


def test_nothing_comes_to_lie_in_the_old_directory_while_it_is_read(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = sorted(path.name for path in (finished / "old").iterdir()), []

    class Watching(Pipeline):
        async def run(self) -> None:
            await super().run()
            seen.append(sorted(path.name for path in (finished / "old").iterdir()))

    monkeypatch.setattr(refiltering, "Pipeline", Watching)
    again(finished / "old", tmp_path / "new", "novelty.threshold=0.8")
    assert seen == [before]


def test_a_tighter_threshold_gives_what_a_fresh_run_gives_and_asks_nothing(finished: Path, tmp_path: Path) -> None:
    before = bytes_of(finished / "old")
    result = again(finished / "old", tmp_path / "new", "novelty.threshold=0.45")
    run(chain(tmp_path / "recipe"), tmp_path / "fresh", model(), overrides=["novelty.threshold=0.45"])
    left = ids(finished / "old") - ids(tmp_path / "new")
    assert left and data(tmp_path / "new") == data(tmp_path / "fresh")
    assert result.rows is not None and not result.lacking
    assert counts(result.rows.left) == {("novelty", "rouge_l: too_similar"): len(left)}
    assert result.changes == ["novelty.threshold: 0.6 -> 0.45"]
    shown = result.rows.left[0].examples[0]
    assert shown.id in left and "title" in shown.fields and shown.filed is not None
    assert shown.filed.verdict.score is not None and 0.45 < shown.filed.verdict.score <= 0.6
    assert "the customer has a" in (shown.filed.verdict.evidence or "")
    assert bytes_of(finished / "old") == before
    assert committed(tmp_path / "new") == committed(finished / "old")


def test_rows_that_a_looser_threshold_lets_in_are_filed_and_counted(finished: Path, tmp_path: Path) -> None:
    result = again(finished / "old", tmp_path / "new", "novelty.threshold=0.8")
    filed = rejected(tmp_path / "new")
    assert filed and {(row["step"], row["reason"]) for row in filed} == {("quality", "not_generated")}
    assert data(tmp_path / "new") == data(finished / "old"), "nothing half-made is written"
    assert counts(result.lacking) == {("quality", "refilter: not_generated"): len(filed)}
    assert result.rows is not None and (result.rows.entered, result.rows.left) == ([], [])
    assert (result.run.status, result.run.exit_code) == ("partial", 4)
    assert result.run.message.startswith(f"{len(filed)} rows that were let in lack later steps (quality: {len(filed)})")
    assert "turned away in novelty by rouge_l: too_similar before" in filed[0]["evidence"]
    had_said = result.lacking[0].examples[0].filed
    assert had_said is not None and had_said.step == "novelty" and 0.6 < (had_said.verdict.score or 0) <= 0.8
    manifest = json.loads((tmp_path / "new/manifest.json").read_text())
    assert manifest["steps"][3]["rejected"]["refilter: not_generated"] == len(filed)
    assert manifest["overrides"] == ["novelty.threshold=0.8"]
    assert manifest["engine"] == "scripted answers (no model)"


@pytest.mark.parametrize(
    "settings", [("novelty.threshold=0.8",), ("quality.minimum=1",), ("novelty.threshold=0.8", "quality.maximum=4")]
)
def test_generate_asks_for_just_these_rows_and_gives_a_fresh_run(
    settings: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    lacking = again(finished / "old", tmp_path / "new", *settings).lacking
    engine, fresh = model(), model()
    result = again(finished / "old", tmp_path / "new", *settings, generate=True, engine=engine)
    run(chain(tmp_path / "recipe"), tmp_path / "fresh", fresh, overrides=settings)
    assert data(tmp_path / "new") == data(tmp_path / "fresh")
    assert result.run.status == "complete" and result.lacking == []
    assert sum(one.count for one in lacking) <= engine.asked < fresh.asked - 60
    assert not set(engine.keys) & committed(finished / "old")
    assert result.rows is not None and result.rows.entered


def test_generate_at_once_gives_the_same(finished: Path, tmp_path: Path) -> None:
    again(finished / "old", tmp_path / "one", "quality.minimum=1")
    again(finished / "old", tmp_path / "one", "quality.minimum=1", generate=True, engine=model())
    again(finished / "old", tmp_path / "other", "quality.minimum=1", generate=True, engine=model())
    assert data(tmp_path / "one") == data(tmp_path / "other")


def test_the_new_directory_is_an_ordinary_run(finished: Path, tmp_path: Path) -> None:
    again(finished / "old", tmp_path / "new", "quality.minimum=1")
    shown = factory.show(tmp_path / "new")
    assert shown.manifest["status"] == "partial"
    name = rejected(tmp_path / "new")[0]["record_id"]
    story = factory.why(tmp_path / "new", name)[0]
    assert story.verdict is not None and story.verdict.reason == "not_generated" and story.exchanges
    exported = export(tmp_path / "new", tmp_path / "chat", instruction="text", output="title")
    assert exported.rows["train"] == shown.manifest["rows"]
    lacking, engine = len(rejected(tmp_path / "new")), model()
    went_on = run(finished / "recipe.yaml", tmp_path / "new", engine, overrides=["quality.minimum=1"])
    assert (went_on.status, engine.asked) == ("complete", lacking)
    run(chain(tmp_path / "recipe"), tmp_path / "fresh", model(), overrides=["quality.minimum=1"])
    assert data(tmp_path / "new") == data(tmp_path / "fresh")


def test_a_refiltered_run_can_be_judged_again(finished: Path, tmp_path: Path) -> None:
    again(finished / "old", tmp_path / "one", "quality.minimum=3")
    back = again(tmp_path / "one", tmp_path / "two", "quality.minimum=2", base=finished)
    assert data(tmp_path / "two") == data(finished / "old") and not back.lacking


@pytest.mark.parametrize("where", ["step", "recipe"])
def test_rows_that_the_old_run_never_reached_end_the_dataset(where: str, tmp_path: Path) -> None:
    head: dict[str, Any] = {"accept": 20} if where == "recipe" else {}
    recipe_file = chain(tmp_path, 600, {"accept": 20, "window": 4} if where == "step" else {"window": 4}, **head)
    run(recipe_file, tmp_path / "old", model())
    before = ids(tmp_path / "old")
    result = again(tmp_path / "old", tmp_path / "new", "quality.minimum=4")
    assert (result.run.status, result.lacking) == ("partial", [])
    assert "had ended before this place" in result.run.message
    assert set(result.ended) <= {"summarise", "quality", "entitle"} and result.ended
    assert ids(tmp_path / "new") & before and result.run.rows < 20
    assert len(rejected(tmp_path / "new")) < 600, "it ends a window after the first such row"
    assert not rejected(tmp_path / "new", "accept"), "there were not enough rows for any to be surplus"
    again(tmp_path / "old", tmp_path / "new", "quality.minimum=4", generate=True, engine=model())
    run(recipe_file, tmp_path / "fresh", model(), overrides=["quality.minimum=4"])
    assert data(tmp_path / "new") == data(tmp_path / "fresh")
    assert len(ids(tmp_path / "new")) == 20


def test_a_run_that_its_budget_ended_is_judged_as_far_as_it_went(tmp_path: Path) -> None:
    recipe_file = chain(tmp_path, ROWS, budget={"requests": ROWS + 30})
    assert run(recipe_file, tmp_path / "old", model()).status == "partial"
    same = again(tmp_path / "old", tmp_path / "same")
    assert data(tmp_path / "same") == data(tmp_path / "old")
    assert same.run.status == "partial" and "budget.requests of 90 is spent" in same.run.message
    tighter = again(tmp_path / "old", tmp_path / "tighter", "quality.minimum=4")
    assert tighter.rows is not None and 0 < tighter.run.rows < same.run.rows
    assert set(ids(tmp_path / "tighter")) < set(ids(tmp_path / "old"))


def with_filter(folder: Path, before: bool) -> Path:
    recipe_file = self_instruct(folder, 20)
    written = json.loads(recipe_file.read_text())
    written["steps"].insert(1 if before else 2, {"rouge_l": {"threshold": 0.9}})
    recipe_file.write_text(json.dumps(written))
    return recipe_file


def test_a_filter_behind_self_instruct_is_judged_again(tmp_path: Path) -> None:
    run(with_filter(tmp_path, before=False), tmp_path / "old")
    same = again(tmp_path / "old", tmp_path / "same")
    assert same.run.status == "complete" and data(tmp_path / "same") == data(tmp_path / "old")
    tighter = again(tmp_path / "old", tmp_path / "tighter", "rouge_l.threshold=0.2")
    assert tighter.rows is not None and tighter.rows.left and not tighter.rows.entered
    run(with_filter(tmp_path / "recipe", before=False), tmp_path / "fresh", overrides=["rouge_l.threshold=0.2"])
    assert data(tmp_path / "tighter") == data(tmp_path / "fresh")


def test_a_filter_before_self_instruct_changes_its_prompts_and_is_refused(tmp_path: Path) -> None:
    run(with_filter(tmp_path, before=True), tmp_path / "old")
    assert again(tmp_path / "old", tmp_path / "same", "rouge_l.threshold=0.9").run.status == "complete"
    with pytest.raises(
        UserError, match="the step 'self_instruct' asks something else: its prompts depend on other rows"
    ):
        again(tmp_path / "old", tmp_path / "new", "rouge_l.threshold=0.3")
    assert not (tmp_path / "new").exists()


def test_the_threshold_inside_self_instruct_is_refused_with_the_reason(tmp_path: Path) -> None:
    run(self_instruct(tmp_path, 10), tmp_path / "old")
    with pytest.raises(UserError, match=r"self_instruct\.threshold: 0\.7 -> 0\.6: .*like the pool of self_instruct"):
        again(tmp_path / "old", tmp_path / "new", "self_instruct.threshold=0.6")


def test_a_row_is_written_with_all_its_evolutions_or_not_at_all(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Name {number} rivers of the {NOUNS[number % 6]}", "output": "Nile"} for number in range(24)
    ]
    jsonl(tmp_path / "rows.jsonl", rows)
    steps = [{"rows": {"path": "rows.jsonl"}}, {"rouge_l": {"threshold": 0.8}}, {"evol_instruct": {"epochs": 2}}]
    recipe_file = recipe(tmp_path, steps)
    run(recipe_file, tmp_path / "old")
    result = again(tmp_path / "old", tmp_path / "new", "rouge_l.threshold=1.0")
    filed = rejected(tmp_path / "new")
    assert {row["step"] for row in filed} == {"evol_instruct"} and len(filed) == 18
    assert not {row["record_id"] for row in filed} & ids(tmp_path / "new"), "an epoch 0 row alone is half of it"
    assert data(tmp_path / "new") == data(tmp_path / "old") and sum(one.count for one in result.lacking) == 18
    again(tmp_path / "old", tmp_path / "new", "rouge_l.threshold=1.0", generate=True, engine=Model())
    run(recipe_file, tmp_path / "fresh", overrides=["rouge_l.threshold=1.0"])
    assert data(tmp_path / "new") == data(tmp_path / "fresh")


REFUSED: dict[str, str] = {
    "entitle.sampling.temperature=0.2": r"entitle\.sampling\.temperature: 1\.0 -> 0\.2: .*--set entitle\.sampling\.temperature=… --accept-changes",
    "summarise.keep_cut=true": r"summarise\.keep_cut: False -> True",
    "quality.scale=[0, 5]": r"quality\.scale",
    "quality.attempts=1": r"quality\.attempts: 2 -> 1.*novelty\.threshold.*quality\.minimum",
    "novelty.name=other": r"novelty\.name: 'novelty' -> 'other'",
    "seed=7": r"seed: 42 -> 7",
    "accept=5": r"accept: nothing -> 5",
    "rows.first=5": r"rows\.first: nothing -> 5",
    "engine.model=other": r"engine\.model: 'fake' -> 'other'",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_changes_requests_or_rows_is_refused(setting: str, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=REFUSED[setting]):
        again(finished / "old", tmp_path / "new", setting)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("noveltie.threshold=0.5", "no step or top-level key 'noveltie' (did you mean 'novelty'?)"),
        ("novelty.treshold=0.5", "unknown key (did you mean 'threshold'?)"),
        ("novelty.threshold=2", "expected at most 1.0, found 2"),
        ("novelty.field=sumary", "no column 'sumary'"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, sentence: str, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=re.escape(sentence)):
        again(finished / "old", tmp_path / "new", setting)
    assert not (tmp_path / "new").exists()


def test_what_touches_no_row_may_change(finished: Path, tmp_path: Path) -> None:
    result = again(finished / "old", tmp_path / "new", "name=strict", "engine.max_in_flight=3", "budget.requests=1000")
    assert result.run.manifest["name"] == "strict"
    assert data(tmp_path / "new") == data(finished / "old")


def copied(finished: Path, folder: Path) -> Path:
    shutil.copytree(finished, folder / "copy")
    return folder / "copy"


def set_status(status: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "old/manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"status": status}))

    return change


UNFIT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no run": (lambda folder: (folder / "old/manifest.json").unlink(), "holds no run"),
    "interrupted": (set_status("interrupted"), r"the run has not ended \(interrupted\)"),
    "failed": (set_status("failed"), r"the run has not ended \(failed\)"),
    "preview": (set_status("preview"), "holds a preview; run the recipe whole first"),
    "no journal": (lambda folder: (folder / "old/journal.sqlite").unlink(), "has no journal.sqlite"),
    "open journal": (lambda folder: (folder / "old/journal.sqlite-wal").touch(), "killed before it had closed"),
    "source changed": (lambda folder: jsonl(folder / "rows.jsonl", tickets(61)), r"there are changes: rows\.jsonl \(files\)"),
    "source missing": (lambda folder: (folder / "rows.jsonl").unlink(), r"--base FOLDER\.\n.*rows\.jsonl: no such file[^\n]*$"),
    "prompt changed": (lambda folder: prompt_file(folder / "title.jinja", "summary", "A title for"), r"title\.jinja \(prompts\)"),
    "recipe edited": (
        lambda folder: (folder / "old/recipe.yaml").write_text((folder / "recipe.yaml").read_text().replace("0.6", "0.5")),
        r"novelty\.threshold: 0\.6 -> 0\.5",
    ),
}  # fmt: skip


@pytest.mark.parametrize("unfit", UNFIT)
def test_a_run_that_cannot_be_judged_again_says_why(unfit: str, finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    change, sentence = UNFIT[unfit]
    change(folder)
    before = bytes_of(folder / "old")
    with pytest.raises(UserError, match=sentence):
        again(folder / "old", tmp_path / "new", "novelty.threshold=0.8")
    assert bytes_of(folder / "old") == before and not (tmp_path / "new").exists()


def test_a_damaged_row_source_is_not_looked_for_elsewhere(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    jsonl(folder / "rows.jsonl", tickets(61))
    shutil.copy(finished / "rows.jsonl", tmp_path / "rows.jsonl")
    with pytest.raises(UserError, match="not all that it was made from is found|there are changes"):
        again(folder / "old", tmp_path / "new", base=folder)


@pytest.mark.parametrize("new", ["old", "old/new", "."])
def test_the_two_directories_are_apart(new: str, finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    before = bytes_of(folder)
    with pytest.raises(RunDirError, match=r"choose another --out"):
        again(folder / "old", folder / new)
    assert bytes_of(folder) == before


@pytest.mark.parametrize("holds", ["another run", "files", "another threshold"])
def test_a_directory_that_holds_something_else_is_left_alone(holds: str, finished: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    if holds == "another run":
        run(finished / "recipe.yaml", new, model(), overrides=["novelty.threshold=0.8"])
    elif holds == "files":
        new.mkdir()
        (new / "thesis.doc").touch()
    else:
        again(finished / "old", new, "novelty.threshold=0.7")
    (new / ".lock").touch()
    before = {name: found for name, found in bytes_of(new).items() if name != ".lock"}
    with pytest.raises(RunDirError, match=r"holds (another run|files that are no run).*; choose an empty or new --out"):
        again(finished / "old", new, "novelty.threshold=0.8")
    assert {name: found for name, found in bytes_of(new).items() if name != ".lock"} == before


def test_a_run_that_is_going_on_is_not_judged_again(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    with rundir.RunDir(folder / "old").locked(), pytest.raises(RunDirError, match="a process is running here"):
        again(folder / "old", tmp_path / "new")


def test_a_run_does_not_begin_in_a_directory_that_is_being_read(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    with rundir.RunDir(folder / "old").left_alone(), pytest.raises(RunDirError, match="is running here"):
        run(folder / "recipe.yaml", folder / "old", model())


def killed(function: Callable[[], Any], arrange: Callable[[], None]) -> bool:
    """Do that in a process of its own after the accident was arranged; whether it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            arrange()
            function()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1] == 9


def nth(count: int, place: Any, name: str) -> Callable[[], None]:
    """Kill the process at the n-th call of that function."""

    def arrange() -> None:
        function, calls = getattr(place, name), iter(range(1, count + 1))

        def counted(*arguments: Any, **named: Any) -> Any:
            if next(calls, None) == count:
                os.kill(os.getpid(), 9)
            return function(*arguments, **named)

        setattr(place, name, counted)

    return arrange


def half_copied() -> None:
    def copyfile(source: Path, path: Path) -> None:
        path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
        os.kill(os.getpid(), 9)

    shutil.copyfile = copyfile  # type: ignore[assignment]


ACCIDENTS: dict[str, Callable[[], None]] = {
    "before the directory is begun": nth(1, refiltering, "_begin"),
    "before the journal is copied": nth(1, refiltering, "copy_journal"),
    "in the middle of the copy": half_copied,
    "before the copy is renamed": nth(1, Path, "rename"),
    "before the first manifest": nth(1, rundir.RunDir, "write_manifest"),
    "before the run": nth(1, refiltering, "execute"),
    "before the second manifest": nth(2, rundir.RunDir, "write_manifest"),
    "while data are written": nth(1, dataset, "write_shards"),
    "while rejected rows are written": nth(2, dataset, "write_shards"),
    "before the swap": nth(1, rundir.RunDir, "install"),
    "in the swap": nth(3, Path, "rename"),
    "before the last manifest": nth(3, rundir.RunDir, "write_manifest"),
    "after the run": nth(1, refiltering, "compare"),
}


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_killed_at_any_moment_the_same_command_gives_the_same(accident: str, finished: Path, tmp_path: Path) -> None:
    whole, new = again(finished / "old", tmp_path / "whole", "novelty.threshold=0.8"), tmp_path / "new"
    before = bytes_of(finished / "old")
    assert killed(lambda: again(finished / "old", new, "novelty.threshold=0.8"), ACCIDENTS[accident])
    manifest = new / "manifest.json"
    ended = manifest.exists() and json.loads(manifest.read_text())["status"] in ("complete", "partial")
    assert ended == (accident == "after the run"), "half of it is taken for whole"
    result = again(finished / "old", new, "novelty.threshold=0.8")
    assert data(new) == data(tmp_path / "whole") and len(rejected(new)) == len(rejected(tmp_path / "whole"))
    assert (result.rows, result.run.rows) == (whole.rows, whole.run.rows)
    assert {path.name for path in new.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
    assert bytes_of(finished / "old") == before


def test_killed_while_it_asks_it_asks_the_rest(finished: Path, tmp_path: Path) -> None:
    new, settings = tmp_path / "new", ("novelty.threshold=0.8",)
    dying = nth(8, Model, "complete")
    assert killed(
        lambda: again(finished / "old", new, *settings, generate=True, engine=Model(reply, most_s=0.002)), dying
    )
    safe, engine = committed(new), model()
    again(finished / "old", new, *settings, generate=True, engine=engine)
    assert not set(engine.keys) & safe
    run(chain(tmp_path / "recipe"), tmp_path / "fresh", model(), overrides=settings)
    assert data(new) == data(tmp_path / "fresh")


def test_the_command_tells_what_came_of_it(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = in_process(copied(finished, tmp_path), monkeypatch, capsys)
    done = command("refilter", "old", "--out", "new", "--set", "novelty.threshold=0.8")
    filed = len(rejected(Path("new")))
    assert done.code == 4
    told = f"{filed} rows that were let in lack later steps (quality: {filed}); nothing is asked"
    assert told in done.err and done.err.index(told) < done.err.index("writing")
    assert re.search(rf"^not made +quality +refilter: not_generated +{filed}$", done.out, re.MULTILINE)
    assert re.search(r"novelty: rouge_l: too_similar, score 0\.[67]\d*, threshold 0\.6\n  evidence:", done.out)
    assert done.out.rstrip().endswith("--generate")
    tighter = command("refilter", "old", "--out", "tighter", "--set", "novelty.threshold=0.45", "--quiet")
    assert (tighter.code, tighter.err) == (0, "")
    assert "leave, for example, with what turns them away now:" in tighter.out
    refused = command("refilter", "old", "--out", "other", "--set", "seed=1")
    assert (refused.code, refused.out) == (2, "") and refused.err.startswith("error: seed: 42 -> 1")


def test_the_text_fits_and_the_next_command_can_be_typed(finished: Path, tmp_path: Path) -> None:
    result = again(finished / "old", tmp_path / "new", "novelty.threshold=0.8", base=finished)
    text = refilter_text(result)
    body, following = text.split("Next:\n")
    assert max(map(len, body.replace(str(tmp_path), "").splitlines())) <= WIDTH
    assert f"--base {finished}" in following and "--set novelty.threshold=0.8" in following


def test_a_journal_that_lacks_what_the_run_was_made_of_is_refused(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    with closing(sqlite3.connect(folder / "old/journal.sqlite")) as journal:
        journal.execute("DELETE FROM completions WHERE key = (SELECT min(key) FROM completions WHERE step = 'entitle')")
        journal.commit()
    with pytest.raises(UserError, match="the step 'entitle' asks something else for the row"):
        again(folder / "old", tmp_path / "new", "quality.minimum=2")
    assert not (tmp_path / "new").exists()


def test_rows_that_were_let_in_once_before_need_no_model(finished: Path, tmp_path: Path) -> None:
    again(finished / "old", tmp_path / "loose", "novelty.threshold=0.8", generate=True, engine=model())
    again(tmp_path / "loose", tmp_path / "tight", "novelty.threshold=0.45", base=finished)
    result = again(tmp_path / "tight", tmp_path / "back", "novelty.threshold=0.8", base=finished)
    assert data(tmp_path / "back") == data(tmp_path / "loose")
    assert result.rows is not None and not result.lacking
    entered = len(ids(tmp_path / "loose") - ids(tmp_path / "tight"))
    assert entered and counts(result.rows.entered) == {("novelty", "rouge_l: too_similar"): entered}
