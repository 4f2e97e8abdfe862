"""Whatever a user gets wrong: one sentence each, with its place and a remedy, exit code 2, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .driver import PROMPT, RECIPE, Command, asked, dedent, in_process, workplace, write_rows

ENGINE = "engine: {kind: scripted, script: script.json, model: m}\n"


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(workplace(tmp_path), monkeypatch, capsys)


def complaints(factory: Command, folder: Path, recipe: str, *arguments: str) -> list[str]:
    """What `factory check` and `factory run` say of a recipe; both must say the same."""
    (folder / "bad.yaml").write_text(dedent(recipe))
    done = factory("run", "bad.yaml", "--out", "runs/bad", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert not (folder / "runs" / "bad").exists()
    assert asked(folder) == 0
    assert factory("check", "bad.yaml", *arguments).err == done.err
    return done.err.replace(f"{folder}/", "").splitlines()


def steps(*lines: str, engine: str = ENGINE) -> str:
    return f"name: bad\n{engine}steps:\n" + "".join(f"  - {line}\n" for line in lines)


ROWS_STEP = "rows: {path: rows.jsonl}"
PROMPT_STEP = "prompt: {prompt: prompt.jinja, output: summary}"


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (
            RECIPE.replace("name:", "nmae:"),
            ["bad.yaml:1:1: name: is required", "bad.yaml:1:1: nmae: unknown key (did you mean 'name'?)"],
        ),
        (
            RECIPE.replace("script:", "scirpt:"),
            ["bad.yaml:2:26: engine.scirpt: unknown key (did you mean 'script'?)"],
        ),
        (
            steps(ROWS_STEP, "prompt: {prompt: prompt.jinja, outptu: x, sampling: {max_token: 3}}"),
            [
                "bad.yaml:5:36: steps[1].prompt.outptu: unknown key (did you mean 'output'?)",
                "bad.yaml:5:58: steps[1].prompt.sampling.max_token: unknown key (did you mean 'max_tokens'?)",
            ],
        ),
        (
            steps(
                "rows: {path: rows.jsonl, first: many}",
                "prompt: {prompt: prompt.jinja, attempts: 2.5, keep_cut: perhaps, sampling: {temperature: hot, stop: x}}",
            ),
            [
                "bad.yaml:4:37: steps[0].rows.first: expected a whole number, found 'many'",
                "bad.yaml:5:46: steps[1].prompt.attempts: expected a whole number, found 2.5",
                "bad.yaml:5:61: steps[1].prompt.keep_cut: expected true or false, found 'perhaps'",
                "bad.yaml:5:94: steps[1].prompt.sampling.temperature: expected a number, found 'hot'",
                "bad.yaml:5:105: steps[1].prompt.sampling.stop: expected a list, found 'x'",
            ],
        ),
        (
            steps(ROWS_STEP, "prompt: {prompt: prompt.jinja, attempts: 0, sampling: {top_p: 0, temperature: 9}}"),
            [
                "bad.yaml:5:46: steps[1].prompt.attempts: expected at least 1, found 0",
                "bad.yaml:5:67: steps[1].prompt.sampling.top_p: expected more than 0.0, found 0",
                "bad.yaml:5:83: steps[1].prompt.sampling.temperature: expected at most 5.0, found 9",
            ],
        ),
        (
            "name: my data\nseed: -1\nengine: {kind: vlm}\nsteps: [rows]\n",
            [
                "bad.yaml:1:7: name: expected letters, digits, '_', '-' and '.', beginning with a letter or digit, "
                "found 'my data'",
                "bad.yaml:2:7: seed: expected at least 0, found -1",
                "bad.yaml:3:16: engine.kind: expected one of 'auto', 'vllm', 'server', 'transformers' or 'scripted', "
                "found 'vlm' (did you mean 'vllm'?)",
                "bad.yaml:4:9: steps[0].rows.path: is required",
            ],
        ),
        (
            steps(ROWS_STEP, "promt: {prompt: prompt.jinja}", "wavelets"),
            [
                "bad.yaml:5:5: steps[1].promt: no method, filter or source is called 'promt' (did you mean 'prompt'?)",
                "bad.yaml:6:5: steps[2].wavelets: no method, filter or source is called 'wavelets'; "
                "'factory ls' lists them",
            ],
        ),
        (
            steps(ROWS_STEP, PROMPT_STEP, PROMPT_STEP.replace("summary", "title")),
            ["bad.yaml:6:5: steps[2].prompt: a step is called 'prompt' already; tell them apart with 'name:'"],
        ),
        (
            steps(PROMPT_STEP, ROWS_STEP),
            [
                "bad.yaml:4:5: steps[0].prompt: 'prompt' needs records: put a source such as 'rows' or 'seeds' first",
                "bad.yaml:5:5: steps[1].rows: a source can only be the first step",
            ],
        ),
        (
            "name: bad\nsteps:\n  - rows:\n    path: rows.jsonl\n",
            [
                "bad.yaml:3:5: steps[0]: expected one method with its options, e.g. '- self_instruct: {accept: 100}', "
                "found the keys rows, path: indent options below their method"
            ],
        ),
        ("name: bad\nsteps: rows\n", ["bad.yaml:2:8: steps: expected a list of steps, each '- method: {options}'"]),
        ("name: bad\n", ["bad.yaml:1:1: steps: expected a list of steps, each '- method: {options}'"]),
        (
            "name: bad\nname: worse\nseed: x\nsteps: [rows]\n",
            [
                "bad.yaml:2:1: name: the key 'name' already stands at line 1, column 1: keep one of the two",
                "bad.yaml:3:7: seed: expected a whole number, found 'x'",
                "bad.yaml:4:9: steps[0].rows.path: is required",
            ],
        ),
        ("", ["bad.yaml:1:1: the file is empty: expected a mapping of options such as 'name: my_dataset'"]),
        ("just words", ["bad.yaml:1:1: found a text: expected a mapping of options such as 'name: my_dataset'"]),
        (
            "name: [bad\nsteps: }",
            ["bad.yaml:2:6: expected ',' or ']' in the brackets that open at line 1, column 7: close or quote them"],
        ),
    ],
)
def test_a_recipe_that_does_not_fit_the_schema(
    factory: Command, tmp_path: Path, recipe: str, expected: list[str]
) -> None:
    assert complaints(factory, tmp_path, recipe) == expected


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("{model: embeded}", "2:17: engine.model: no model is called 'embeded' (did you mean 'embedded'?)"),
        (
            "{model: gpt2}",
            "2:17: engine.model: no model is called 'gpt2': expected 'embedded', a folder, or a Hub id like "
            "'owner/name'",
        ),
        (
            "{model: ./models/none}",
            "2:17: engine.model: no model at './models/none': expected a folder with config.json",
        ),
        (
            "{model: ~nobody/here}",
            "2:17: engine.model: no model at '~nobody/here': expected a folder with config.json",
        ),
        ("{kind: scripted}", "2:9: engine: kind scripted needs 'script', a JSON file of answers"),
        (
            "{kind: scripted, script: none.json}",
            "2:34: engine.script: no file 'none.json' beside the recipe",
        ),
        (
            "{kind: server, model: m}",
            "2:9: engine: kind server needs 'urls', e.g. ['http://127.0.0.1:8000/v1']",
        ),
        (
            "{urls: ['http://localhost/v1']}",
            "2:9: engine: kind server needs 'model', the name that the server lists its model by",
        ),
        (
            "{kind: server, model: m, urls: ['localhost:8000/v1']}",
            "2:40: engine.urls: expected URLs such as 'http://127.0.0.1:8000/v1', found 'localhost:8000/v1'",
        ),
        (
            "{kind: server, model: m, urls: ['http://me:hush@host/v1']}",
            "2:40: engine.urls: a URL must not carry a name or password: use 'api_key_env'",
        ),
        (
            "{kind: vllm, model: m, urls: ['http://host/v1']}",
            "2:16: engine.kind: kind vllm takes no 'urls': remove them, or write kind server",
        ),
    ],
)
def test_an_engine_that_cannot_start(factory: Command, tmp_path: Path, engine: str, expected: str) -> None:
    recipe = steps(ROWS_STEP, PROMPT_STEP, engine=f"engine: {engine}\n")
    assert complaints(factory, tmp_path, recipe) == [f"bad.yaml:{expected}"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["rows: {path: none.jsonl}", "prompt: {prompt: none.jinja}", "rouge_l: {threshold: 2}"],
            [
                "4:18: steps[0].rows.path: none.jsonl: no such file or folder (looked beside the recipe and in the "
                "working directory)",
                "5:22: steps[1].prompt.prompt: none.jinja: no such prompt file (looked beside the recipe and in the "
                "working directory)",
                "6:26: steps[2].rouge_l.threshold: expected at most 1.0, found 2",
            ],
        ),
        (
            ["seeds: {path: none.jsonl}", "self_instruct: {accept: 3}"],
            [
                "4:19: steps[0].seeds.path: none.jsonl: no such seeds file (looked beside the recipe, in the working "
                "directory, and among those that ship)"
            ],
        ),
        (
            [ROWS_STEP, "prompt: {prompt: prompt.jinja, output: text}"],
            ["5:44: steps[1].prompt.output: the rows have a column text already; give the new one another name"],
        ),
        (
            [ROWS_STEP, PROMPT_STEP, "rouge_l: {field: sumary}"],
            ["6:22: steps[2].rouge_l.field: no column 'sumary' (did you mean 'summary'?); the rows have summary, text"],
        ),
        (
            [ROWS_STEP, "self_instruct: {accept: 3}"],
            ["5:20: steps[1].self_instruct: self_instruct works on seed tasks: put the source 'seeds' before it"],
        ),
    ],
)
def test_files_and_columns_that_are_not_there(
    factory: Command, tmp_path: Path, lines: list[str], expected: list[str]
) -> None:
    assert complaints(factory, tmp_path, steps(*lines)) == [f"bad.yaml:{line}" for line in expected]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (PROMPT.replace("Summarise", "{{ other }}"), "uses other, which the header's 'inputs' does not declare"),
        (PROMPT.replace("[text]", "[text, other]"), "declares other in 'inputs' but never uses it"),
        ("hello {{ text }}", "no header: a prompt file begins with '---', YAML with 'inputs', and '---'"),
        (PROMPT.replace("{{ text }}", "{{ text }"), "prompt.jinja:5: unexpected '}'"),
        (PROMPT.replace("{{ text }}", "{{ text | nofilter }}"), "No filter named 'nofilter'"),
        (PROMPT.replace("=== user", "=== usr"), "section 'usr' is unknown; use one of system, user, assistant, text"),
    ],
)
def test_a_prompt_file_that_is_broken(factory: Command, tmp_path: Path, prompt: str, expected: str) -> None:
    (tmp_path / "prompt.jinja").write_text(prompt)
    (complaint,) = complaints(factory, tmp_path, steps(ROWS_STEP, PROMPT_STEP))
    assert complaint.startswith("bad.yaml:5:22: steps[1].prompt.prompt: prompt.jinja:")
    assert expected in complaint


def test_a_prompt_whose_variable_is_no_column_names_the_columns(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "prompt.jinja").write_text(PROMPT.replace("text", "txt"))
    assert complaints(factory, tmp_path, steps(ROWS_STEP, PROMPT_STEP)) == [
        "bad.yaml:5:22: steps[1].prompt.prompt: prompt.jinja: needs the column txt (did you mean 'text'?); the rows "
        "have text"
    ]


def test_a_prompt_written_where_its_file_belongs_is_shown_in_part(factory: Command, tmp_path: Path) -> None:
    recipe = steps(ROWS_STEP, f"prompt: {{prompt: '{'Summarise this text, please. ' * 20}'}}")
    (complaint,) = complaints(factory, tmp_path, recipe)
    assert "…: no such prompt file" in complaint
    assert len(complaint) < 250


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ("{type: object}", "5:44: steps[1].prompt.schema: expected 'type: object' and 'properties'"),
        ("[a, b]", "5:44: steps[1].prompt.schema: expected a mapping"),
        ("{type: object, properties: {a: {type: strng}}}", "5:82: steps[1].prompt.schema.properties.a.type: not a"),
        ("{type: object, properties: {a: {pattern: '('}}}", "steps[1].prompt.schema.properties.a.pattern: not a valid"),
        ("{type: object, properties: {a: {$ref: '#/x'}}}", "'$ref: #/x' leads nowhere; expected one such as"),
        ("{type: object, properties: {a: {$ref: 'http://127.0.0.1:1/x'}}}", "'$ref: http://127.0.0.1:1/x' leads"),
        ("{type: object, properties: {text: {}}}", "the rows have a column text already; give the new one another"),
        ("none.json", "5:44: steps[1].prompt.schema: none.json: no such schema file"),
        ("rows.jsonl", "5:44: steps[1].prompt.schema: rows.jsonl:2:1: not JSON: Extra data"),
    ],
)
def test_a_json_schema_that_cannot_be_used(factory: Command, tmp_path: Path, schema: str, expected: str) -> None:
    (complaint,) = complaints(
        factory, tmp_path, steps(ROWS_STEP, f"prompt: {{prompt: prompt.jinja, schema: {schema}}}")
    )
    assert complaint.startswith("bad.yaml:5:")
    assert expected in complaint


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "rows.jsonl",
            b'{"text": "a"}\n{"text": \n\n[1]\n{"text": "b"}\n{"text" "c"}\n',
            [
                "rows.jsonl:2:1: not JSON: Expecting value",
                'rows.jsonl:4: expected an object like {"text": …}, found a list',
                "rows.jsonl:6:9: not JSON: Expecting ':' delimiter",
            ],
        ),
        ("empty.jsonl", b"", ["empty.jsonl: has no rows; expected at least one"]),
        ("blank.jsonl", b"\n \n", ["blank.jsonl: has no rows; expected at least one"]),
        ("empty.csv", b"", ["empty.csv:1: expected a header line of distinct column names, found nothing"]),
        ("header.csv", b"text\n", ["header.csv: has no rows; expected at least one"]),
        (
            "twice.csv",
            b"text,text\n1,2\n",
            ["twice.csv:1: expected a header line of distinct column names, found text, text"],
        ),
        (
            "ragged.csv",
            b'text,b\n1,2\n1,2,3\n4\n"a\nb",5\n"x"y,3\n',
            [
                "ragged.csv:3: 3 cells where the header has 2",
                "ragged.csv:4: 1 cells where the header has 2",
                "ragged.csv:7: not CSV: ',' expected after '\"'; where quotation marks are part of the text, set 'quotes: false'",
            ],
        ),
        (
            "open.csv",
            b'text,b\n1,2\n"3,4\n5,6\n',
            [
                "open.csv:3: not CSV: a quote that opens here is never closed; where quotation marks are part of the text, "
                "set 'quotes: false'"
            ],
        ),
        (
            "latin.csv",
            b"text\nok\ncaf\xe9\n",
            ["latin.csv:3: not UTF-8 text (byte 4 of the line); save the file as UTF-8"],
        ),
        (
            "latin.jsonl",
            b'{"text": "a"}\n[1]\n{"text": "caf\xe9"}\n',
            [
                'latin.jsonl:2: expected an object like {"text": …}, found a list',
                "latin.jsonl:3: not UTF-8 text (byte 14 of the line); save the file as UTF-8",
            ],
        ),
        (
            "one.json",
            b'{"text": "a"}',
            ["one.json: expected a list of objects, found one object; for one object a line, name it .jsonl"],
        ),
        (
            "mixed.json",
            b'[{"text": "a"}, 3]',
            ['mixed.json: row 2: expected an object like {"text": …}, found a number'],
        ),
        ("cut.json", b'[{"text": "a"},', ["cut.json:1:16: not JSON: Expecting value"]),
        (
            "words.txt",
            b"hello",
            [
                "words.txt: format not known; expected .jsonl, .ndjson, .json, .csv, .tsv, .parquet, "
                "or a folder of Parquet files"
            ],
        ),
    ],
)
def test_rows_that_cannot_be_read_are_all_reported_with_their_line(
    factory: Command, tmp_path: Path, name: str, content: bytes, expected: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    found = complaints(factory, tmp_path, steps(f"rows: {{path: {name}}}", PROMPT_STEP))
    assert found == [f"bad.yaml:4:18: steps[0].rows.path: {line}" for line in expected]


def test_rows_that_nothing_can_hold_are_refused(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(f'{{"text": {"[" * 50_000}{"]" * 50_000}}}\n{{"text": {"9" * 5000}}}\n')
    found = complaints(factory, tmp_path, steps(ROWS_STEP, PROMPT_STEP))
    assert [line.split(": ")[2] for line in found] == ["rows.jsonl:1", "rows.jsonl:2"]


def test_a_file_that_only_claims_to_be_parquet(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"hello")
    (tmp_path / "folder").mkdir()
    (complaint,) = complaints(factory, tmp_path, steps("rows: {path: rows.parquet}", PROMPT_STEP))
    assert "rows.path: rows.parquet: not a Parquet file: " in complaint
    (complaint,) = complaints(factory, tmp_path, steps("rows: {path: folder}", PROMPT_STEP))
    assert "rows.path: folder: a folder without Parquet files; expected .jsonl" in complaint


def test_not_more_broken_rows_are_reported_than_anybody_reads(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("oops\n" * 1000)
    assert len(complaints(factory, tmp_path, steps(ROWS_STEP, PROMPT_STEP))) == 20
    (tmp_path / "seeds.jsonl").write_text("oops\n" * 1000)
    found = complaints(factory, tmp_path, steps("seeds: {path: seeds.jsonl}", "self_instruct: {accept: 3}"))
    assert len(found) == 21
    assert found[-1].endswith("seeds.jsonl: and 980 more")


def test_every_broken_seed_task_is_reported_with_its_line(factory: Command, tmp_path: Path) -> None:
    good = {"instruction": "a", "instances": [{"input": "", "output": "x"}]}
    write_rows(
        tmp_path / "seeds.jsonl",
        [
            good,
            {**good, "instruction": " "},
            {**good, "instances": [{"output": ""}]},
            {**good, "instances": {}},
            {**good, "is_classification": "yes"},
        ],
    )
    with (tmp_path / "seeds.jsonl").open("a") as file:
        file.write('\n{"instruction": "b"\n')
    found = complaints(factory, tmp_path, steps("seeds: {path: seeds.jsonl}", "self_instruct: {accept: 3}"))
    assert found == [
        f"bad.yaml:4:19: steps[0].seeds.path: seeds.jsonl:{line}"
        for line in [
            "2: 'instruction' is missing or empty",
            "3: an instance needs an 'output' text that is not empty, and an 'input' text that may be",
            '4: \'instances\' must be a list of at least one {"input": …, "output": …}',
            "5: 'is_classification' must be true or false, found 'yes'",
            "7:1: not JSON: Expecting ',' delimiter",
        ]
    ]


def test_an_empty_seeds_file(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text("")
    assert complaints(factory, tmp_path, steps("seeds: {path: seeds.jsonl}", "self_instruct: {accept: 3}")) == [
        "bad.yaml:4:19: steps[0].seeds.path: seeds.jsonl: has no seed tasks; expected one JSON object a line with "
        "'instruction' and 'instances'"
    ]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("prompt.acept=3", "prompt.acept: unknown key (did you mean 'accept'?)"),
        ("promt.accept=3", "promt.accept: no step or top-level key 'promt' (did you mean 'prompt'?)"),
        ("prompt.accept=0", "prompt.accept: expected at least 1, found 0"),
        ("prompt.accept=many", "prompt.accept: expected a whole number, found 'many'"),
        ("prompt.accept=yes", "prompt.accept: expected a whole number, found 'yes'"),
        ("prompt.accept=1e3", "prompt.accept: expected a whole number, found 1000.0"),
        (
            "engine.kind=vlm",
            "engine.kind: expected one of 'auto', 'vllm', 'server', 'transformers' or 'scripted', found",
        ),
        ("engine={kind: vlm}", "engine: kind: expected one of 'auto', 'vllm', 'server', 'transformers' or"),
        ("steps.0.rows=1", "steps.0.rows: a step is set by its name, e.g. --set self_instruct.accept=100"),
        ("prompt", "prompt: expected KEY=VALUE, e.g. --set self_instruct.accept=100"),
        ("prompt=3", "prompt: 'prompt' is a step: name one of its options, e.g. --set self_instruct.accept=100"),
        ("=3", "=3: expected KEY=VALUE, e.g. --set self_instruct.accept=100"),
        ("seed=1.5", "seed: expected a whole number, found 1.5"),
        ("name.x=1", "name.x: 'name' holds no keys: set it as a whole"),
        ("engine.urls.0=x", "engine.urls.0: expected a list, found {'0': 'x'}"),
        ("prompt.accept=[1", "prompt.accept: the bracket that opens here is never closed: add ']'"),
        ("rows.path=none.csv", "rows.path: none.csv: no such file or folder (looked beside the recipe and in the"),
        ("output.language=en", "output.language: expected a list, found 'en'"),
        ("engine.model=embeded", "engine.model: no model is called 'embeded' (did you mean 'embedded'?)"),
    ],
)
def test_a_setting_that_does_not_fit(factory: Command, tmp_path: Path, setting: str, expected: str) -> None:
    kind = ["--set", "engine.kind=transformers"] if setting.startswith("engine.model") else []
    (complaint,) = complaints(factory, tmp_path, RECIPE, "--set", setting, *kind)
    assert complaint.startswith(f"--set {expected}")


def test_all_bad_settings_are_reported_at_once_together_with_the_file(factory: Command, tmp_path: Path) -> None:
    recipe = RECIPE.replace("summary}", "summary, accept: x}")
    found = complaints(factory, tmp_path, recipe, "--set", "a=1", "--set", "seed=x", "--set", "prompt.acept=1")
    assert found == [
        "--set a: no step or top-level key 'a'; known: name, description, seed, engine, accept, budget, table, "
        "output, rows, prompt",
        "--set prompt.acept: unknown key (did you mean 'accept'?)",
        "--set seed: expected a whole number, found 'x'",
        "bad.yaml:5:61: steps[1].prompt.accept: expected a whole number, found 'x'",
    ]


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(factory: Command, tmp_path: Path) -> None:
    secret = "hf_" + "a1" * 17
    (complaint,) = complaints(factory, tmp_path, RECIPE, "--set", f"engine.api_key_env={secret}")
    assert complaint.startswith("--set engine.api_key_env: recipes hold no secrets")
    assert secret not in complaint


def test_short_options_go_through_the_same_schema(factory: Command, tmp_path: Path) -> None:
    assert "--set engine.kind: expected one of" in complaints(factory, tmp_path, RECIPE, "--engine", "x")[0]
    assert "--set engine.model: expected text of at least 1" in complaints(factory, tmp_path, RECIPE, "--model", "")[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "none.yaml"], "none.yaml: no such recipe; 'factory init' writes one, 'factory ls' lists those"),
        (["run", "quikstart"], "quikstart: no such recipe (did you mean 'quickstart'?)."),
        (["check", "."], ".: is a folder; give the recipe file in it."),
        (["check", "latin.yaml"], "latin.yaml: is not UTF-8 text (byte 9); save it as UTF-8."),
        (["run", "demo.yaml", "--out", "rows.jsonl"], "rows.jsonl: cannot be written (File exists); choose another"),
        (["run", "demo.yaml", "--out", "rows.jsonl/x"], "rows.jsonl/x: cannot be written (Not a directory); choose"),
        (["run", "demo.yaml", "--out", "."], ".: holds files that are no run ("),
        (["show", "."], ".: holds no run (no manifest.json); give the folder that 'factory run' wrote."),
        (["why", "none", "abcd"], "none: holds no run (no manifest.json); give the folder that 'factory run' wrote."),
        (["export", "none", "out"], "none: holds no run (no manifest.json); give the folder that 'factory run' wrote."),
        (["init", "quikstart"], "no recipe is called 'quikstart' (did you mean 'quickstart'?); 'factory init --list'"),
        (["init", "quickstart", "--out", "demo.yaml"], "demo.yaml: exists already; give another file with --out."),
        (["init", "quickstart", "--out", "no/x.yaml"], "no/x.yaml: cannot be written: No such file or directory."),
    ],
)
def test_a_command_on_what_is_not_there(factory: Command, tmp_path: Path, arguments: list[str], expected: str) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    before = sorted(tmp_path.iterdir())
    done = factory(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {expected}")
    assert done.err.count("\n") == 1
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != ".lock"] == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "demo.yaml", "--limit", "0"], "--limit"),
        (["run", "demo.yaml", "--limt", "3"], "No such option: --limt"),
        (["run"], "Missing argument 'RECIPE'"),
        (["rum", "demo.yaml"], "No such command 'rum'"),
    ],
)
def test_a_command_that_is_not_one(factory: Command, arguments: list[str], expected: str) -> None:
    done = factory(*arguments)
    assert done.code == 2
    assert expected in done.err
    assert done.out == ""


def test_an_unknown_or_short_record_id(factory: Command) -> None:
    factory("run", "demo.yaml")
    assert factory("why", "runs/demo", "zzzz").err == (
        "error: runs/demo: no record 'zzzz'; take an id from the column 'record_id' of data/ or rejected/.\n"
    )
    assert factory("why", "runs/demo", "a").err == (
        "error: runs/demo: 'a' is too short for a record id; give at least 4 digits.\n"
    )
    assert factory("why", "runs/demo", "").code == 2


def test_an_ambiguous_record_id_names_two(factory: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.inspection.SHORTEST_ID", 1)
    write_rows(tmp_path / "rows.jsonl", [{"text": f"Ticket {number}"} for number in range(40)])
    factory("run", "demo.yaml")
    done = factory("why", "runs/demo", "a")
    assert done.code == 2
    assert "records begin with 'a', e.g. a" in done.err


def test_what_a_row_lacks_is_a_rejection_and_not_the_end(factory: Command, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"text": "a"}, {"note": "no text"}, {"text": "b"}])
    done = factory("run", "demo.yaml")
    assert done.code == 0
    assert "2 rows" in done.out
    assert "prompt: missing_column" in done.out


def test_odd_values_in_rows_are_kept_as_well_as_a_file_can(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "half \\ud83d a pair", "n": 123456789012345678901234567890}\n')
    done = factory("run", "demo.yaml", "--limit", "1")
    assert done.code == 0
    assert "half ? a pair" in done.out
    assert "123456789012345678901234567890" in done.out


def test_a_setting_that_was_fine_is_kept_in_the_manifest(factory: Command, tmp_path: Path) -> None:
    factory("run", "demo.yaml", "--set", "prompt.sampling.temperature=1e-1", "--set", "prompt.sampling.stop=[no, '1']")
    manifest = json.loads((tmp_path / "runs/demo/manifest.json").read_text())
    sampling = manifest["recipe"]["steps"][1]["prompt"]["sampling"]
    assert (sampling["temperature"], sampling["stop"]) == (0.1, ["no", "1"])
    assert manifest["overrides"] == ["prompt.sampling.temperature=1e-1", "prompt.sampling.stop=[no, '1']"]
