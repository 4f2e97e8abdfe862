"""What both ways of drawing share."""

import importlib.util

import pytest

from factory.engines.protocol import Sampling
from factory.errors import UserError
from factory.privacy.tuned import drawing
from factory.privacy.tuned.drawing import backend_of, check_asked, open_drawer, special_ids, text_of
from factory.privacy.tuned.transformers_drawer import TransformersDrawer
from tests.privacy.tuned import small


def test_a_backend_that_is_named_is_taken_and_the_choice_depends_on_the_number_of_texts(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backend_of("vllm", 1) == "vllm" and backend_of("transformers", 10**6) == "transformers"
    assert (
        backend_of("auto", drawing.VLLM_FROM - 1) == "transformers" and backend_of("auto", drawing.VLLM_FROM) == "vllm"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert backend_of("auto", 1) == "vllm"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert backend_of("auto", 10**6) == "transformers"


def test_special_tokens_are_all_of_them():
    words = small.tokenizer(start=True)
    assert special_ids(words) == set(words.convert_tokens_to_ids(["<end>", "<other>", "<begin>"]))


def test_the_text_of_tokens_is_the_text_that_they_were_made_of():
    words = small.tokenizer(start=True)
    for text in ("my invoice , paid twice .", " it's late", "ürgent\n\n📦"):
        assert text_of(words, words(text, add_special_tokens=False)["input_ids"], Sampling()) == text
    ids = words("one, two; three", add_special_tokens=False)["input_ids"]
    assert text_of(words, ids, Sampling(stop=(";", ", "))) == "one"


def test_what_the_model_cannot_read_is_refused():
    check_asked([[1, 2], [3]], 5, Sampling(max_tokens=10), 17, "small")
    with pytest.raises(
        UserError, match="a text of 11 tokens takes 18 with what stands before it, and the model small reads"
    ):
        check_asked([[1, 2], [3]], 5, Sampling(max_tokens=11), 17, "small")
    with pytest.raises(UserError, match="nothing to begin from"):
        check_asked([[1], []], 0, Sampling(), None, "small")
    check_asked([[1], []], 1, Sampling(), None, "small")


def test_a_drawer_is_opened_over_a_folder(tmp_path):
    base = small.base()
    base.model.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    drawer = open_drawer(
        str(tmp_path), small.prompt(base), backend="transformers", texts=1, dtype="float32", context=40
    )
    assert isinstance(drawer, TransformersDrawer)
    assert drawer.description.startswith("transformers ") and drawer.description.endswith(", cpu float32")
    (drawn,) = drawer.draw([base.ids("Delivery: ")], [3], Sampling(max_tokens=8))
    assert drawn.token_count <= 8
    with pytest.raises(UserError, match="reads at most 40"):
        drawer.draw([base.ids("Delivery: ")], [3], Sampling(max_tokens=40))
    drawer.close()
    with pytest.raises(ValueError, match="closed"):
        drawer.draw([[1]], [3], Sampling(max_tokens=8))
