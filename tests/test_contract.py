"""What every piece owes: found, documented, a recipe that loads, the same bytes for the same seed, and no harm from a kill.

A new method is held to all of this without a line being added here.
"""

from __future__ import annotations

import fnmatch
import inspect
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

import factory
from factory.datasets_io.pairs import Pair, Preference
from factory.engines.protocol import Request
from factory.exporting import formats
from factory.prompts import load_prompt
from factory.recipe import Step, load_recipe
from factory.recipe.named_files import overlap
from factory.recipe.pieces import KINDS, Piece, pieces
from factory.recipe.private import PrivateSource
from factory.recipe.schema import StepOptions
from factory.resources import recipes, resource

from .driver import in_subprocess, workplace
from .privacy.tiny import saved
from .small_runs import Model, answer, committed, data, text_of

ROOT = Path(__file__).resolve().parent.parent
ROWS = 8
PIECES = list(pieces().values())
METHODS = [piece for piece in PIECES if piece.kind == "method"]
HOOKS = {
    "check": ["options", "base"],
    "prompts": ["options", "base"],
    "files": ["options", "base"],
    "columns": ["options", "base", "incoming"],
    "remarks": ["options", "base"],
    "expects": ["options"],
    "logprobs": ["options"],
    "sift": ["options", "base"],
    "private_files": ["options", "base"],
    "releases": ["options"],
}
# The same for steps that learn private texts; noise with a seed gives the same bytes, on texts that are said to be public.
QUICK_PRIVATE = {
    "model": "tiny",
    "revision": "null",
    "data.private": "false",
    "noise_seed": "1",
    "steps": "2",
    "batch_size": "8",
    "max_tokens": "8",
    "keep_cut": "true",
    "rows": "8",
    "backend": "transformers",
}
each_piece = pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
ASKING = [method for method in METHODS if getattr(method.module(), "ASKS", True)]
# What makes training short, by the name of the option, in steps that learn a table or compare rows with one.
QUICK = {
    "epochs": "2",
    "fewest_steps": "1",
    "train.max_steps": "3",
    "train.max_seconds": "null",
    "model": "scratch",
    "seeds": "1",
}
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda piece: piece.name)


each_asking_method = pytest.mark.parametrize("method", ASKING, ids=lambda piece: piece.name)


@pytest.fixture(scope="module", autouse=True)
def adult(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Rows in the form of Adult and tickets, which are not shipped, where recipes look for them; and a tiny model."""
    folder = tmp_path_factory.mktemp("adult")
    for name in ("adult_train.csv", "adult_test.csv"):
        rows = [
            f"{20 + number % 60},{('9th', 'HS-grad')[number % 2]},{(5, 9)[number % 2]},{('<=50K', '>50K')[number % 3 == 0]}"
            for number in range(90)
        ]
        (folder / name).write_text("\n".join(["age,education,education-num,income", *rows]) + "\n")
    for name, start in (("tickets.csv", 0), ("tickets_test.csv", 3000)):
        rows = [
            f"my {('invoice', 'parcel', 'lamp')[number % 3]} {number} is wrong,{('billing', 'delivery', 'technical')[number % 3]},C{number}"
            for number in range(start, start + 1200)
        ]
        (folder / name).write_text("\n".join(["text,label,customer", *rows]) + "\n")
    saved(folder / "tiny")
    before = Path.cwd()
    os.chdir(folder)
    yield
    os.chdir(before)


def quick(name: str) -> list[str]:
    """Settings that make the training steps of a shipped recipe short."""
    found = []
    loaded = load_recipe(recipes()[name])
    for step in loaded.steps:
        if "table" in type(step.options).model_fields:
            held = {
                **step.options.model_dump(),
                **{f"train.{key}": 0 for key in step.options.model_dump().get("train", {})},
            }
            found += [f"{step.name}.{option}={value}" for option, value in QUICK.items() if option in held]
        if "max_grad_norm" in type(step.options).model_fields:
            found += [f"{step.name}.{option}={value}" for option, value in QUICK_PRIVATE.items()]
    return found


def steps_of(name: str) -> list[tuple[str, Step]]:
    """Every step of that method in a shipped recipe, with the recipe's name."""
    found = []
    for recipe_name, path in recipes().items():
        found += [(recipe_name, step) for step in load_recipe(path).steps if step.piece.name == name]
    return found


def test_every_file_in_the_folders_of_pieces_is_one() -> None:
    for kind, folder in KINDS.items():
        files = {path.stem for path in (ROOT / "factory" / folder).iterdir() if not path.name.startswith("_")}
        assert files == {piece.name for piece in PIECES if piece.kind == kind and piece.entry_point is None}


@each_piece
def test_a_piece_says_what_it_does_with_an_example(piece: Piece) -> None:
    text = piece.module().__doc__ or ""
    assert piece.summary == text.splitlines()[0]
    assert 20 <= len(piece.summary) <= 110
    assert piece.summary.endswith(".")
    assert "{" in text or "`" in text, "an input and an output belong here"


@each_piece
def test_a_piece_has_options_and_says_what_each_of_them_does(piece: Piece) -> None:
    options = piece.module().Options
    assert issubclass(options, StepOptions)
    assert options.model_config["extra"] == "forbid"
    text = inspect.getdoc(options) or ""
    own = [name for name in options.model_fields if name not in StepOptions.model_fields]
    assert own
    for name in own:
        assert f"\n    {name}: " in text, f"Options of {piece.name} do not say what '{name}' does"


@each_piece
def test_the_hooks_of_a_piece_are_called_as_they_are_written(piece: Piece) -> None:
    module: ModuleType = piece.module()
    assert inspect.isasyncgenfunction(module.run)
    assert list(inspect.signature(module.run).parameters) == ["records", "ctx", "options"]
    for name, parameters in HOOKS.items():
        hook = getattr(module, name, None)
        assert hook is None or list(inspect.signature(hook).parameters) == parameters
    assert set(getattr(module, "NEUTRAL", ())) <= set(module.Options.model_fields)
    assert set(getattr(module, "JUDGES", ())) <= set(module.Options.model_fields)


@each_piece
def test_no_prompt_text_is_hidden_in_options(piece: Piece) -> None:
    assert not [name for name in piece.module().Options.model_fields if "template" in name or name.endswith("_text")]


@each_method
def test_a_method_has_a_recipe_of_its_name(method: Piece) -> None:
    assert method.name in recipes()
    assert method.name in {name for name, _ in steps_of(method.name)}


PRIVATE = [method for method in METHODS if getattr(method.module(), "READS_PRIVATE", ())]


@pytest.mark.parametrize("method", PRIVATE, ids=lambda piece: piece.name)
def test_a_method_that_reads_private_rows_says_which_and_what_becomes_of_them(method: Piece, tmp_path: Path) -> None:
    module: ModuleType = method.module()
    sources = {name: module.Options.model_fields[name].annotation for name in module.READS_PRIVATE}
    assert set(sources.values()) == {PrivateSource}, "only these have a ledger"
    (tmp_path / "private.csv").write_text("text,label\na,b\n")
    loaded = [load_recipe(path, check_files=False) for path in recipes().values()]
    steps = [step for recipe in loaded for step in recipe.steps if step.piece.name == method.name]
    assert steps, "a recipe shows how it is used"
    for step in steps:
        private = {
            name: getattr(step.options, name).model_copy(update={"path": "private.csv", "private": True})
            for name in sources
        }
        public = {name: None for name in ("validation",) if name in module.Options.model_fields}
        options = step.options.model_copy(update={**private, **public})
        assert set(module.private_files(options, tmp_path)) == {tmp_path / "private.csv"}
        hook = getattr(module, "files", None)
        read = [] if hook is None else hook(options, tmp_path)
        assert not [path for path in read if overlap(path, tmp_path / "private.csv")], "its hash would be published"
        assert module.releases(options) == ""


def choices(model: type[BaseModel]) -> dict[str, list[object]]:
    """Options with few values: true or false, or one of several words."""
    found: dict[str, list[object]] = {}
    for name, field in model.model_fields.items():
        if field.annotation is bool:
            found[name] = [False, True]
        elif typing.get_origin(field.annotation) is typing.Literal:
            found[name] = list(typing.get_args(field.annotation))
    return found


@each_asking_method
def test_every_prompt_of_a_method_loads_and_is_used_by_some_options(method: Piece) -> None:
    folder = resource(f"prompts/{method.name}")
    assert folder is not None
    shipped = sorted(folder.glob("*.jinja"))
    assert shipped
    used: set[Path] = set()
    for _, step in steps_of(method.name):
        several = choices(type(step.options))
        for values in itertools.product(*several.values()):
            options = step.options.model_copy(update=dict(zip(several, values, strict=True)))
            used |= {prompt.path for prompt in step.module.prompts(options, ROOT)}
    assert used == set(shipped)
    for path in shipped:
        header = load_prompt(path).header
        assert header.source
        assert header.fidelity, f"{path} does not say how near it is to its source"


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "prompts" / "finetune").glob("*.jinja")])
def test_prompts_of_exports_load(name: str) -> None:
    assert load_prompt(ROOT / "prompts" / "finetune" / f"{name}.jinja").header.inputs


EXAMPLES = {
    "pair": Pair("Name the capital.", "Italy", "Answer: Rome", "Be kind."),
    "preference": Preference(Pair("Name the capital.", "Italy", "", "Be kind."), "Answer: Rome", "Answer: Oslo"),
}


@pytest.mark.parametrize("name", formats())
def test_every_export_converts_and_is_documented(name: str) -> None:
    module = __import__(f"factory.exports.{name.replace('-', '_')}", fromlist=["convert"])
    assert module.__doc__.strip()
    assert module.TAKES in ("pair", "preference", "row")
    layouts = getattr(module, "VARIANTS", {})
    for convert in (module.convert, *layouts.values()):
        assert list(inspect.signature(convert).parameters) == [module.TAKES]
        assert convert.__doc__
    assert getattr(module, "LAYOUT", "plain") not in layouts
    assert name in (ROOT / "factory" / "cli" / "shipping.py").read_text()
    if module.TAKES == "row":
        return
    for convert in (module.convert, *layouts.values()):
        row = convert(EXAMPLES[module.TAKES])
        assert "Answer: Rome" in json.dumps(row)
        assert all("Answer" in json.dumps(one) for one in module.sequences(row))


# --- runs ---------------------------------------------------------------------------------------------


def reply(request: Request) -> str:
    """What the fake model writes, also in the form of the prompts that ask for several things in one answer."""
    text = text_of(request)
    if "Instruction:" not in text.split("###")[-1]:
        return answer(request)
    tasks = [answer(request.__class__(text=f"numbered list {number}", seed=request.seed)) for number in range(2)]
    return "\n".join(
        f" {task.splitlines()[0][3:]}\n{n}. Input:\n<noinput>\n{n}. Output:\nIt is {task[3:20]}.\n###\n{n + 1}. Instruction:"
        for n, task in enumerate(tasks, 4)
    )


@pytest.mark.parametrize("name", list(recipes()))
def test_the_same_seed_gives_the_same_bytes_whatever_is_answered_first(name: str, tmp_path: Path) -> None:
    results = [
        factory.run(
            recipes()[name],
            tmp_path / out,
            overrides=quick(name),
            engine=Model(reply, most_s=most),
            limit=ROWS,
            progress=False,
        )
        for out, most in (("one", 0.0), ("two", 0.004))
    ]
    assert [result.rows for result in results] == [ROWS, ROWS]
    assert data(tmp_path / "one") == data(tmp_path / "two")
    other = factory.run(
        recipes()[name],
        tmp_path / "other",
        overrides=["seed=43", *quick(name)],
        engine=Model(reply),
        limit=ROWS,
        progress=False,
    )
    assert other.rows == ROWS
    asks = any(step.piece.kind == "method" for step in load_recipe(recipes()[name]).steps)
    assert (data(tmp_path / "other") != data(tmp_path / "one")) == asks


class Crashing:
    """A process that runs recipes in children that die; see `crash_driver`."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).parent / "crash_driver.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, **command: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()
        return int(json.loads(self._process.stdout.readline())["code"])

    def close(self) -> None:
        self._process.communicate(timeout=30)  # ends its input, and closes both pipes


@pytest.fixture(scope="module")
def crashing() -> Iterator[Crashing]:
    driver = Crashing()
    yield driver
    driver.close()


@each_asking_method
def test_a_kill_costs_nothing_but_what_was_in_flight(method: Piece, tmp_path: Path, crashing: Crashing) -> None:
    out, whole, log = tmp_path / "out", tmp_path / "whole", tmp_path / "asked.log"
    command = {"recipe": str(recipes()[method.name]), "log": str(log), "options": {"limit": 60}, "latency_s": 0.4}
    assert crashing.run(**command, out=str(whole)) == 0
    log.unlink()
    assert [crashing.run(**command, out=str(out), kill_after_s=seconds) for seconds in (0.25, 0.35)] == [-9, -9]
    known = committed(out)
    before = len(log.read_text().splitlines())
    assert crashing.run(**command, out=str(out)) == 0
    asked_again = {line.split()[1] for line in log.read_text().splitlines()[before:]}
    assert not asked_again & known
    assert data(out) == data(whole)


# --- pieces of others ---------------------------------------------------------------------------------

SHOUT = '''"""Every text in capitals.

`{"text": "hi"}` becomes `{"text": "HI"}`.
"""
from factory.recipe.schema import StepOptions


class Options(StepOptions):
    """Options.

    Attributes:
        field: Column.
    """

    field: str


async def run(records, ctx, options):
    async for record in records:
        fields = {**record.fields, options.field: record.fields[options.field].upper()}
        yield type(record)(record.id, fields, record.provenance)
'''


def another_package(folder: Path, **entry_points: str) -> str:
    """A distribution with those entry points in `factory.pieces`; returns its place on the path."""
    site = folder / "site"
    metadata = site / "shouting-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
    (metadata / "entry_points.txt").write_text(f"[factory.pieces]\n{lines}")
    (site / "shouting.py").write_text(SHOUT)
    return str(site)


def test_a_method_of_another_package_is_found_and_runs(tmp_path: Path) -> None:
    site = another_package(tmp_path, shout="shouting")
    folder = workplace(tmp_path)
    with (folder / "demo.yaml").open("a") as recipe:
        recipe.write("  - shout: {field: text}\n")
    assert re.search(
        r"^method  shout +Every text in capitals\.$", in_subprocess(folder, "ls", PYTHONPATH=site).out, re.M
    )
    done = in_subprocess(folder, "run", "demo.yaml", "--limit", "1", PYTHONPATH=site)
    assert done.code == 0, done.err
    assert "text: TICKET 0: MY ORDER NEVER CAME." in done.out
    done = in_subprocess(folder, "check", "demo.yaml", "--set", "shout.feild=x", PYTHONPATH=site)
    assert done.err == "--set shout.feild: unknown key (did you mean 'field'?)\n"
    assert "no method, filter or source is called 'shout'" in in_subprocess(folder, "check", "demo.yaml").err


def test_a_broken_piece_of_another_package_spoils_only_the_recipes_that_name_it(tmp_path: Path) -> None:
    site = another_package(tmp_path, broken="no_such_module", empty="json", prompt="shouting")
    folder = workplace(tmp_path)
    assert in_subprocess(folder, "check", "demo.yaml", PYTHONPATH=site).code == 0
    listed = in_subprocess(folder, "ls", PYTHONPATH=site)
    assert listed.code == 0, listed.err
    assert "method  self_instruct" in listed.out
    assert "broken" in listed.out
    for name, said in (
        ("broken", "does not load: No module named 'no_such_module'"),
        ("empty", "lacks Options and run"),
    ):
        (folder / "bad.yaml").write_text((folder / "demo.yaml").read_text() + f"  - {name}\n")
        done = in_subprocess(folder, "check", "bad.yaml", PYTHONPATH=site)
        assert done.code == 2
        assert f"steps[2].{name}: entry point factory.pieces:{name}" in done.err
        assert said in done.err


# --- layers -------------------------------------------------------------------------------------------


def test_a_module_imports_only_from_layers_below_it(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("lint-imports")
    if not script.exists() or "[tool.importlinter]" not in (ROOT / "pyproject.toml").read_text():
        pytest.skip("import-linter is not installed or has no contract")
    command = [str(script), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_the_contract_of_layers_covers_pieces_by_their_folder() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    covered = next(contract["modules"] for contract in contracts if contract["type"] == "independence")
    for piece in PIECES:
        assert any(fnmatch.fnmatchcase(piece.module_name, pattern) for pattern in covered)
