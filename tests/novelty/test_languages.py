"""Languages by a package that is optional."""

from __future__ import annotations

import sys

import pytest

from factory.errors import UserError
from factory.novelty.languages import LanguageIdentifier


def test_the_missing_package_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(UserError, match=r"pip install 'dataset-factory\[language\]'"):
        LanguageIdentifier()


def test_sentences_are_told_by_their_language_and_code_is_a_guess() -> None:
    pytest.importorskip("py3langid")
    identifier = LanguageIdentifier()
    for code, text in (
        ("en", "List the ingredients of a pizza and explain how it is baked."),
        ("de", "Nenne drei große Flüsse in Europa und beschreibe sie."),
        ("fr", "Quels sont les trois plus grands fleuves d'Europe ?"),
        ("zh", "请写一首关于春天的诗"),
    ):
        found = identifier.identify(text)
        assert found.code == code
        assert found.confidence > 0.8
        assert code in identifier.codes
    assert identifier.identify("def f(x):\n    return x + 1").confidence < 0.5
