"""What is imported when, and how long a command takes that loads nothing."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("torch", "vllm", "transformers", "datasets", "pyarrow", "numba", "httpx", "gguf", "huggingface_hub"),
    *("datasketch", "scipy", "py3langid"),
)
CHECK = "from factory.recipe import load_recipe; load_recipe(Path('recipes/quickstart.yaml'))"
ROOT = Path(__file__).resolve().parent.parent


def imported_by(code: str) -> set[str]:
    """Top-level modules that are loaded after that code, in a fresh interpreter."""
    script = f"import sys; from pathlib import Path; {code}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import factory.cli",
        CHECK,
        "import factory; factory.load_recipe",
        "from factory.catalogue import init; from factory.resources import recipes; recipes()",
        "from factory.context import Context",
        "from factory.recipe import load_recipe; load_recipe(Path('recipes/clean.yaml'))",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    assert imported_by(code) & set(HEAVY) == set()


def test_the_command_line_alone_needs_no_pydantic_and_no_yaml() -> None:
    assert not imported_by("import factory.cli") & {"pydantic", "yaml", "jinja2", "numpy", "asyncio"}


def test_looking_at_all_pieces_loads_no_engine() -> None:
    assert not imported_by("from factory.catalogue import ls; ls()") & {
        "torch",
        "vllm",
        "transformers",
        "datasets",
        "datasketch",
        "scipy",
        "py3langid",
    }


def test_the_public_names_are_there_and_a_wrong_one_points_at_factory_boy() -> None:
    import factory

    for name in factory.__all__:
        assert getattr(factory, name) is not None
    with pytest.raises(AttributeError, match="factory_boy"):
        _ = factory.DjangoModelFactory


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(("arguments", "limit_s"), [(["--help"], 0.5), (["check", "recipes/quickstart.yaml"], 0.8)])
def test_a_command_that_loads_nothing_answers_at_once(arguments: list[str], limit_s: float) -> None:
    """Time on a core, as the machine may be busy, the best of five; three times the limit is allowed for slow ones."""
    command = [sys.executable, "-m", "factory.cli", *arguments]
    fastest = float("inf")
    for _ in range(5):
        begun = _seconds_of_children()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
        fastest = min(fastest, _seconds_of_children() - begun)
        if fastest < limit_s:
            break
    assert done.returncode in (0, 2)
    assert fastest < 3 * limit_s


def test_a_function_of_the_package_is_never_hidden_by_a_module_of_its_name() -> None:
    """Importing `package.name` sets the attribute `name` of the package to the module."""
    import factory

    folder = Path(factory.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert not modules & set(factory.__all__)
