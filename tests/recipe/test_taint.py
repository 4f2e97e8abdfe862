"""Who may read private rows: every refusal with its place and its sentence, and what is fine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import factory
from factory.errors import OptionError, RecipeError, UserError
from factory.privacy.ledger import Run
from factory.recipe import Recipe, load_recipe
from factory.recipe.pieces import pieces
from factory.recipe.private import PrivateSource
from factory.recipe.taint import require_public

from .. import private_pieces
from ..driver import PROMPT

HEAD = "name: demo\nengine: {kind: scripted, script: script.json, model: m}\nsteps:\n"
PRIVATE = "noisy: {data: {path: tickets.csv}}"
INF = "noisy: {data: {path: tickets.csv}, epsilon: null}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    private_pieces.register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    private_pieces.tickets(tmp_path / "tickets.csv")
    (tmp_path / "public.csv").write_text("text,label\n" + "".join(f"Public {n}.,{'ab'[n % 2]}\n" for n in range(40)))
    (tmp_path / "shots.jinja").write_text(PROMPT)
    (tmp_path / "script.json").write_text('{"answers": ["a"]}')
    return tmp_path


def loaded(folder: Path, *steps: str, overrides: tuple[str, ...] = (), check_files: bool = True) -> Recipe:
    (folder / "recipe.yaml").write_text(HEAD + "".join(f"  - {step}\n" for step in steps))
    return load_recipe(folder / "recipe.yaml", overrides, check_files=check_files)


def problems(folder: Path, *steps: str, **given: object) -> dict[str, str]:
    """Message by place."""
    with pytest.raises(RecipeError) as caught:
        loaded(folder, *steps, **given)  # type: ignore[arg-type]
    return {problem.path: problem.message for problem in caught.value.problems}


def pay(path: Path) -> Path:
    """The ledger of a file that a differentially private step has read."""
    ledger = path.with_name(f"{path.name}.privacy.jsonl")
    ledger.write_text("")
    return ledger


TABLE = "{path: tickets.csv, private: true}"
DECLARED = [
    (["rows: {path: tickets.csv, private: true}"], "steps[0].rows.private", "rows of a source are kept in lineage/"),
    (["seeds: {path: tickets.csv, private: true}"], "steps[0].seeds.private", "rows of a source are kept in lineage/"),
    (
        [PRIVATE, "discriminator: {real: {path: public.csv, private: true}}"],
        "steps[1].discriminator.real.private",
        "'discriminator' may not read it, as keeping, dropping or measuring rows by private ones tells which those are; give",
    ),
    (
        [PRIVATE, "evaluate: {real: {path: public.csv}, test: {path: tickets.csv, private: true}}"],
        "steps[1].evaluate.test.private",
        "'evaluate' may not read it, as keeping, dropping or measuring",
    ),
    ([f"tvae: {{table: {TABLE}}}"], "steps[0].tvae.table.private", "no method for tables has a differentially private"),
    (
        ["noisy: {data: {path: tickets.csv}, validation: {path: public.csv, private: true}}"],
        "steps[0].noisy.validation.private",
        "choosing by the loss on private texts asks them a question that no accountant has counted",
    ),
]


@pytest.mark.parametrize("check_files", [True, False])
@pytest.mark.parametrize(("steps", "place", "sentence"), DECLARED)
def test_a_source_that_is_declared_private_is_refused_where_it_is_declared(
    folder: Path, steps: list[str], place: str, sentence: str, check_files: bool
) -> None:
    found = problems(folder, *steps, check_files=check_files)
    assert list(found) == [place]
    assert found[place].startswith(sentence)


def test_what_may_read_it_instead_is_told_from_the_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ["rows: {path: tickets.csv, private: true}"]
    assert "private rows may be read by" in problems(folder, *steps)["steps[0].rows.private"]
    assert "'noisy' in 'data'" in problems(folder, *steps)["steps[0].rows.private"]
    for name, piece in list(pieces().items()):
        if getattr(piece.module(), "READS_PRIVATE", ()):
            monkeypatch.delitem(pieces(), name)
    assert problems(folder, *steps)["steps[0].rows.private"].endswith(
        "no method that is installed may read private rows"
    )


def test_a_declaration_on_the_command_line_is_refused_there(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"^--set rows.private: rows of a source are kept in lineage/"):
        loaded(folder, "rows: {path: public.csv}", overrides=("rows.private=true",))


def test_a_table_of_the_recipe_is_refused_once_where_it_stands(folder: Path) -> None:
    text = HEAD.replace("steps:", f"table: {TABLE}\nsteps:") + "  - tvae\n  - gaussian_copula\n"
    (folder / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(folder / "recipe.yaml")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("table.private", 3)
    assert "no method for tables" in problem.message


SAME = [
    (["rows: {path: tickets.csv}", PRIVATE], "steps[0].rows.path", "rows of a source"),
    (["rows: {path: ./folder/../tickets.csv}", PRIVATE], "steps[0].rows.path", "rows of a source"),
    (["rows: {path: link.csv}", PRIVATE], "steps[0].rows.path", "rows of a source"),
    (["rows: {path: hard.csv}", PRIVATE], "steps[0].rows.path", "rows of a source"),
    (["rows: {path: folder}", "noisy: {data: {path: folder/inner.csv}}"], "steps[0].rows.path", "rows of a source"),
    (["rows: {path: linked}", PRIVATE], "steps[0].rows.path", "rows of a source"),
    (["rows: {path: far}", PRIVATE], "steps[0].rows.path", "rows of a source"),
    (["rows: {path: folder/inner.csv}", "noisy: {data: {path: folder}}"], "steps[0].rows.path", "rows of a source"),
    (
        [PRIVATE, "decontaminate: {field: text, against: [public.csv, tickets.csv]}"],
        "steps[1].decontaminate.against[1]",
        "keeping",
    ),
    ([PRIVATE, "discriminator: {real: {path: tickets.csv}}"], "steps[1].discriminator.real.path", "keeping"),
    ([PRIVATE, "evaluate: {real: {path: tickets.csv}}"], "steps[1].evaluate.real.path", "keeping"),
    ([PRIVATE, "tvae: {table: {path: tickets.csv}}"], "steps[1].tvae.table.path", "no method for tables"),
    (
        [PRIVATE, "prompt: {prompt: tickets.csv, output: out}"],
        "steps[1].prompt.prompt",
        "prompts of 'prompt' would show private rows to the model",
    ),
    (
        ["noisy: {data: {path: tickets.csv}, validation: {path: tickets.csv}}"],
        "steps[0].noisy.validation.path",
        "choosing by the loss on private texts",
    ),
    (
        ["noisy: {data: {path: tickets.csv}, examples: tickets.csv}"],
        "steps[0].noisy.examples",
        "'noisy' accounts only for what 'data' names; give public rows here",
    ),
    (
        [PRIVATE, "noisy: {name: other, data: {path: tickets.csv, private: false}}"],
        "steps[1].noisy.data.path",
        "what was private once stays private; take out 'private: false'",
    ),
]


@pytest.mark.parametrize("check_files", [True, False])
@pytest.mark.parametrize(("steps", "place", "sentence"), SAME)
def test_a_file_that_is_private_in_one_step_is_private_in_all(
    folder: Path, steps: list[str], place: str, sentence: str, check_files: bool
) -> None:
    (folder / "folder").mkdir()
    private_pieces.tickets(folder / "folder" / "inner.csv")
    (folder / "link.csv").symlink_to("tickets.csv")
    os.link(folder / "tickets.csv", folder / "hard.csv")
    for name, target in (("linked", "../tickets.csv"), ("far", "..")):
        (folder / name).mkdir()
        (folder / name / "link").symlink_to(target)
    (folder / "linked" / "nowhere").symlink_to("nothing")
    found = problems(folder, *steps, check_files=check_files)
    assert list(found) == [place]
    private = ("tickets.csv", "link.csv", "hard.csv", "folder", "inner.csv", "linked", "far")
    assert found[place].startswith(tuple(f"{name} is private in the step 'noisy', and " for name in private))
    assert sentence in found[place]


def test_a_file_that_is_not_there_yet_is_told_by_its_name(folder: Path) -> None:
    steps = ["rows: {path: later.csv}", "noisy: {data: {path: later.csv}}"]
    found = problems(folder, *steps, check_files=False)
    assert found["steps[0].rows.path"].startswith("later.csv is private in the step 'noisy'")


LEDGER = [
    (["rows: {path: public.csv}"], "steps[0].rows.path", "rows of a source"),
    ([PRIVATE, "decontaminate: {field: text, against: [public.csv]}"], "steps[1].decontaminate.against[0]", "keeping"),
    ([PRIVATE, "evaluate: {real: {path: public.csv}}"], "steps[1].evaluate.real.path", "keeping"),
    (
        ["noisy: {data: {path: public.csv, private: false}}"],
        "steps[0].noisy.data.path",
        "what was private once stays private; take out 'private: false'",
    ),
    (
        ["noisy: {data: {path: tickets.csv}, validation: {path: public.csv}}"],
        "steps[0].noisy.validation.path",
        "choosing by the loss",
    ),
]


@pytest.mark.parametrize(("steps", "place", "sentence"), LEDGER)
def test_a_file_with_a_ledger_stays_private(folder: Path, steps: list[str], place: str, sentence: str) -> None:
    loaded(folder, *steps)
    ledger = pay(folder / "public.csv")
    for check_files in (True, False):
        found = problems(folder, *steps, check_files=check_files)
        assert list(found) == [place]
        assert found[place].startswith(f"public.csv was declared private before (its ledger is {ledger}), and ")
        assert sentence in found[place]
    ledger.unlink()
    loaded(folder, *steps)


def test_a_ledger_of_a_folder_of_its_files_and_of_what_links_lead_to_counts(folder: Path) -> None:
    (folder / "shards").mkdir()
    shard = folder / "shards" / "a.jsonl"
    shard.write_text('{"text": "a"}\n')
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "link.jsonl").symlink_to("../shards/a.jsonl")
    for beside, path in [
        ("shards", "shards/a.jsonl"),
        ("shards/a.jsonl", "shards"),
        ("shards/a.jsonl", "elsewhere/link.jsonl"),
        ("shards/a.jsonl", "elsewhere"),
    ]:
        require_public([path], "IN")
        ledger = pay(folder / beside)
        with pytest.raises(
            UserError, match=rf"^IN {path}: was declared private before \(its ledger is .*privacy.jsonl\)"
        ):
            require_public([path], "IN")
        ledger.unlink()


def test_a_recipe_that_was_loaded_before_there_was_a_ledger_is_not_run(folder: Path) -> None:
    recipe = loaded(folder, "rows: {path: public.csv}")
    pay(folder / "public.csv")
    with pytest.raises(RecipeError, match=r"recipe.yaml: steps\[0\].rows.path: public.csv was declared private before"):
        factory.run(recipe, folder / "out", progress=False)
    assert not (folder / "out" / "data").exists()


def test_rows_that_stay_private_taint_every_later_step(folder: Path) -> None:
    steps = [INF, "exact: {field: text}", "prompt: {prompt: shots.jinja, output: out}"]
    found = problems(folder, *steps)
    assert list(found) == ["steps[1].exact", "steps[2].prompt"]
    for message in found.values():
        assert message.startswith(
            "what 'noisy' gives out stays private: epsilon is infinite, so there is no noise; only"
        )
    loaded(folder, *steps, overrides=("noisy.epsilon=1.0",))
    loaded(folder, *steps, overrides=("noisy.data.path=public.csv", "noisy.data.private=false"))
    assert "noise from a seed can be repeated" in "".join(
        problems(folder, *steps, overrides=("noisy.epsilon=1.0", "noisy.noise_seed=3")).values()
    )


def test_a_private_step_passes_private_rows_on_and_they_stay_private(folder: Path) -> None:
    recipe = loaded(folder, INF, "noisy: {name: again, data: {path: tickets.csv}}")
    assert recipe.stays_private == "what 'noisy' gives out stays private: epsilon is infinite, so there is no noise"
    assert recipe.remarks()[0] == f"NOT PRIVATE: {recipe.stays_private}; do not share the dataset"
    found = problems(folder, INF, "noisy: {name: again, data: {path: tickets.csv}}", "exact: {field: text}")
    assert list(found) == ["steps[2].exact"]


def test_what_is_sound_is_let_through(folder: Path) -> None:
    recipe = loaded(
        folder,
        "rows: {path: public.csv}",
        "noisy: {data: {path: tickets.csv}, validation: {path: public.csv}, examples: public.csv}",
        "exact: {field: text}",
        "decontaminate: {field: text, against: [public.csv]}",
        "prompt: {prompt: shots.jinja, output: out}",
        "evaluate: {real: {path: public.csv}, label: out}",
    )
    assert recipe.stays_private == ""
    assert [step.name for step in recipe.private_steps] == ["noisy"]
    assert loaded(folder, "rows: {path: tickets.csv}").private_steps == []
    pay(folder / "tickets.csv")
    assert loaded(folder, PRIVATE).stays_private == ""


def test_a_column_that_is_called_like_a_folder_of_private_files_is_no_file(folder: Path) -> None:
    (folder / "text").mkdir()
    private_pieces.tickets(folder / "text" / "tickets.csv")
    loaded(folder, "noisy: {data: {path: text/tickets.csv}}", "exact: {field: text}")


@pytest.mark.parametrize("hook", ["private_files", "releases"])
def test_a_piece_that_does_not_say_all_may_read_nothing(
    folder: Path, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(private_pieces, hook)
    found = problems(folder, PRIVATE)
    assert found["steps[0].noisy"].startswith(f"'noisy' declares READS_PRIVATE and lacks {hook}")


def test_a_piece_that_publishes_the_hash_of_its_private_file_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_pieces, "files", lambda options, base: [options.data.find(base)])
    assert problems(folder, PRIVATE)["steps[0].noisy"].startswith("tickets.csv is private in the step 'noisy'")


def test_what_a_piece_says_of_its_private_files_counts_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_pieces.tickets(folder / "more.csv")
    loaded(folder, "rows: {path: more.csv}", PRIVATE)
    monkeypatch.setattr(
        private_pieces, "private_files", lambda options, base: [base / "tickets.csv", base / "more.csv"]
    )
    found = problems(folder, "rows: {path: more.csv}", PRIVATE)
    assert found["steps[0].rows.path"].startswith("more.csv is private in the step 'noisy'")


def test_rows_of_a_run_that_stay_private_are_no_source(folder: Path) -> None:
    run = folder / "runs" / "inf"
    (run / "data").mkdir(parents=True)
    (run / "data" / "train.jsonl").write_text('{"text": "a"}\n')
    manifest = {"privacy": {"output_private": False, "why": "", "claims": []}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    loaded(folder, "rows: {path: runs/inf/data/train.jsonl}")
    manifest["privacy"] |= {"output_private": True, "why": "no noise"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    for path in ("runs/inf/data", "runs/inf/data/train.jsonl"):
        (message,) = problems(folder, f"rows: {{path: {path}}}").values()
        assert "belongs to a run whose rows stay private (no noise), and rows of a source" in message


def test_a_claim_on_rows_that_were_made_of_private_ones_is_refused(folder: Path) -> None:
    run = folder / "inf"
    (run / "data").mkdir(parents=True)
    private_pieces.tickets(run / "data" / "made.csv")
    (run / "manifest.json").write_text(json.dumps({"privacy": {"output_private": True, "why": "no noise"}}))
    found = problems(folder, "noisy: {data: {path: inf/data/made.csv}}")
    assert found == {
        "steps[0].noisy.data.path": "made.csv belongs to a run whose rows stay private (no noise); a claim would protect "
        "these, not those behind them"
    }


def test_a_file_has_one_ledger_whatever_links_lead_to_it(folder: Path) -> None:
    (folder / "link.csv").symlink_to("tickets.csv")
    ledgers = {PrivateSource(path=name).ledger_in(folder).path for name in ("link.csv", "tickets.csv", "./tickets.csv")}
    assert ledgers == {folder.resolve() / "tickets.csv.privacy.jsonl"}


def test_a_ledger_elsewhere_leaves_a_mark_that_every_recipe_follows(folder: Path) -> None:
    (folder / "safe").mkdir()
    texts = PrivateSource(path="tickets.csv", ledger="safe/all.jsonl")
    ledger = texts.ledger_in(folder)
    run = ledger.begin(Run(what="w", method="m", at="now", noise_multiplier=1.0, sample_rate=0.1, planned=9))
    ledger.spend(run, steps=3)
    assert ledger.mark() == ""
    assert list(problems(folder, "rows: {path: tickets.csv}")) == ["steps[0].rows.path"]
    for named in (None, "safe/all.jsonl", "tickets.csv.privacy.jsonl"):
        found = PrivateSource(path="tickets.csv", ledger=named).ledger_in(folder)
        assert found.path == (folder / "safe" / "all.jsonl").resolve() and found.runs()[0].spent == 3
    with pytest.raises(
        OptionError, match=r"have the ledger .*all\.jsonl, so that what was spent before would not be added"
    ):
        PrivateSource(path="tickets.csv", ledger="other.jsonl").ledger_in(folder)
    (folder / "safe" / "all.jsonl").unlink()
    for named in (None, "safe/all.jsonl"):
        with pytest.raises(OptionError, match=r"says that the privacy ledger .* is not there, so that nobody can say"):
            PrivateSource(path="tickets.csv", ledger=named).ledger_in(folder)


def test_a_mark_that_cannot_be_left_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("factory.privacy.ledger.leave_mark", refused)
    ledger = PrivateSource(path="tickets.csv", ledger="all.jsonl").ledger_in(folder)
    assert "tickets.csv.privacy.jsonl cannot be written (Permission denied), so that nothing beside" in ledger.mark()
    assert PrivateSource(path="tickets.csv").ledger_in(folder).mark() == ""


def test_a_folder_whose_files_have_ledgers_adds_all_of_them_up(folder: Path) -> None:
    (folder / "all").mkdir()
    for name in ("a", "b"):
        private_pieces.tickets(folder / "all" / f"{name}.csv")
        own = PrivateSource(path=f"all/{name}.csv").ledger_in(folder)
        own.spend(
            own.begin(Run(what=name, method="m", at="now", noise_multiplier=1.0, sample_rate=0.1, planned=9)), steps=3
        )
    both = PrivateSource(path="all", ledger="all/b.csv.privacy.jsonl").ledger_in(folder)
    assert [(run.what, run.spent) for run in both.runs()] == [("a", 3), ("b", 3)]


def test_a_model_that_learnt_private_rows_without_noise_writes_no_other_dataset(folder: Path) -> None:
    model = folder / "runs" / "inf" / "artifacts" / "dp_lora" / "peft"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    made = {"privacy": {"output_private": True, "why": "no noise"}}
    (folder / "runs" / "inf" / "manifest.json").write_text(json.dumps(made))
    ask, steps = "prompt: {prompt: shots.jinja, output: out}", "rows: {path: public.csv}"
    named = ("engine.model=runs/inf/artifacts/dp_lora/peft",)
    message = "peft belongs to a run whose rows stay private (no noise); what it writes may repeat private rows"
    assert problems(folder, steps, ask, overrides=named) == {"": message}
    assert problems(folder, steps, ask, overrides=named, check_files=False) == {"": message}
    loaded(folder, steps, overrides=named)
    deeper = ("engine.script=runs/inf/artifacts/dp_lora/peft/config.json",)
    assert list(problems(folder, steps, ask, overrides=deeper).values()) == [message.replace("peft", "config.json")]
    script = ("engine.script=tickets.csv",)
    pay(folder / "tickets.csv")
    assert "was declared private before" in "".join(problems(folder, steps, ask, overrides=script).values())


def test_private_false_is_not_part_of_what_a_recipe_is(folder: Path) -> None:
    """Run directories from before there was the option stay usable."""
    resolved = loaded(folder, "rows: {path: public.csv}", "evaluate: {real: {path: public.csv}}").resolved()
    assert "private" not in json.dumps(resolved)
    said = loaded(folder, "noisy: {data: {path: public.csv, private: false}}").resolved()
    assert said["steps"][0]["noisy"]["data"]["private"] is False
