"""Where prompts, seed tasks and recipes are found: beside a checkout, else inside the installed wheel.

Example: `resource("prompts/self_instruct/instructions.jinja")` is that file in the checkout that the
package was imported from, or the copy that the wheel carries.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
KINDS = ("prompts", "seeds", "recipes")


def roots() -> list[Path]:
    """Folders that hold `prompts/`, `seeds/` and `recipes/`, best first."""
    checkout = PACKAGE.parent
    found = [checkout] if (checkout / "pyproject.toml").is_file() else []
    packaged = PACKAGE / "_data"
    return [*found, packaged] if packaged.is_dir() else found


def resource(relative: str) -> Path | None:
    """The shipped file or folder of that relative path, or None."""
    for root in roots():
        if _exists(root / relative):
            return root / relative
    return None


def find(path: str, base: Path) -> Path | None:
    """A user's path: absolute, else beside the recipe, else in the working directory, else shipped."""
    given = expanded(path)
    for candidate in (given,) if given.is_absolute() else (base / given, Path.cwd() / given):
        if _exists(candidate):
            return candidate
    return resource(path) if path.startswith(tuple(f"{kind}/" for kind in KINDS)) else None


def expanded(path: str) -> Path:
    """The path, with `~` as the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user
        return Path(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name can be, or in a folder that may not be read
        return False


def recipes() -> dict[str, Path]:
    """Recipes that ship with the factory, by name."""
    folder = resource("recipes")
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}
