"""Every prompt as it is rendered, chat and base form; `python test_prompts.py` writes the file anew after an edit."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.prompts import load_prompt, shipped_prompt

GOLDEN = Path(__file__).parent / "golden"
FOLDER = Path(__file__).parents[3] / "prompts" / "faithful_text"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
VALUES = {
    "task": "short posts",
    "label": "boast",
    "description": "a boast in disguise.",
    "count": 3,
    "ground": "Bus {{ late }} again",
    "grounds": ["Bus late again", "No milk"],
    "node": "complains about a prize",
    "known": ["complains about a luxury"],
    "opening": "Bus",
    "pick": 1,
}


def rendered(name: str) -> str:
    prompt = load_prompt(FOLDER / f"{name}.jinja")
    chat = prompt.render(VALUES, chat=True)
    parts = [f"[{message.role}]\n{message.content}" for message in chat.messages]
    return "\n".join([*parts, "[base]", prompt.render(VALUES, chat=False).text or "", ""])


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_is_rendered_as_it_was(name: str) -> None:
    assert rendered(name) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_small")])
def test_what_all_requests_of_a_class_share_comes_first(name: str) -> None:
    prompt = shipped_prompt(f"faithful_text/{name}")
    texts = [
        prompt.render({**VALUES, "ground": ground, "node": ground, "grounds": [ground]}, chat=True).messages[0].content
        for ground in ("aaa", "bbb")
    ]
    if texts[0] != texts[1]:
        assert texts[0].index("aaa") > 0.8 * (len(texts[0]) - 40), "values that vary come last, for the prefix cache"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in NAMES:
        (GOLDEN / f"{name}.txt").write_text(rendered(name), encoding="utf-8")
