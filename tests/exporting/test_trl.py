"""Our rows through TRL's own functions, where it is installed: they are what its SFT and DPO trainers prepare data with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory.exporting import export

from .directories import JUDGED, directory, lines, record

trl = pytest.importorskip("trl.data_utils", reason="TRL is not installed: pip install trl")
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


@pytest.fixture
def tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")
    whole.chat_template = TEMPLATE
    return whole


@pytest.fixture
def run(tmp_path: Path) -> Path:
    kept = [
        record(name, {"instruction": "Add.", "input": "2, 3", "output": text, "score": score, "sys": "Be brief."}, "r")
        for name, text, score in (("a", "5", 2), ("b", "6", 1))
    ]
    return directory(tmp_path / "run", kept, steps=[JUDGED])


def row(run: Path, **options: Any) -> dict[str, Any]:
    return lines(export(run, run / "out", **options).files[0])[0]


def test_messages_are_conversational_and_render(run: Path, tokenizer: Any) -> None:
    made = row(run, ids=True, system="sys")
    assert trl.is_conversational(made)
    text = trl.maybe_apply_chat_template(made, tokenizer)["text"]
    assert text == "<system>Be brief.</><user>Add.\n\n2, 3</><assistant>5</>"


def test_prompt_completion_is_read_in_both_layouts(run: Path, tokenizer: Any) -> None:
    made = row(run, format="prompt-completion")
    assert not trl.is_conversational(made)
    assert trl.maybe_apply_chat_template(made, tokenizer) == made
    made = row(run, format="prompt-completion", templates="conversational")
    assert trl.is_conversational(made)
    assert trl.maybe_apply_chat_template(made, tokenizer) == {
        "prompt": "<user>Add.\n\n2, 3</><assistant>",
        "completion": "5</>",
    }


def test_preference_pairs_are_read_in_both_layouts(run: Path, tokenizer: Any) -> None:
    made = row(run, format="preference", ids=True)
    assert trl.is_conversational(made)
    assert trl.maybe_extract_prompt(made) == made
    assert trl.maybe_apply_chat_template(made, tokenizer) == {
        "prompt": "<user>Add.\n\n2, 3</><assistant>",
        "chosen": "5</>",
        "rejected": "6</>",
    }
    made = row(run, format="preference", templates="plain")
    assert not trl.is_conversational(made)
    assert trl.maybe_extract_prompt(made) == made


def test_an_implicit_prompt_is_found_again(run: Path) -> None:
    made = row(run, format="preference")
    implicit = {name: made["prompt"] + made[name] for name in ("chosen", "rejected")}
    assert trl.extract_prompt(implicit) == made


def test_text_is_no_conversation(run: Path, tokenizer: Any) -> None:
    made = row(run, format="text")
    assert not trl.is_conversational(made)
    assert trl.maybe_apply_chat_template(made, tokenizer) == made


def test_unpaired_preferences_come_out_of_ours(run: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pairs = datasets.Dataset.from_list([row(run, format="preference")])
    assert trl.unpair_preference_dataset(pairs)["label"][:] == [True, False]
