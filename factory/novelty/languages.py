"""The language of a text, by the package py3langid: 4.6 MB with its model, no network.

    identifier = LanguageIdentifier()
    identifier.identify("Quels sont les trois plus grands fleuves d'Europe ?")   -> Language(code="fr", confidence=0.99…)

Codes are those of ISO 639-1 where a language has one. Short texts, and texts that are mostly code or names, are guesses:
look at the confidence.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import msgspec

from factory.errors import UserError

INSTALL_LINE: Final = "pip install 'dataset-factory[language]'"


class Language(msgspec.Struct, frozen=True):
    """What a text is thought to be written in.

    Attributes:
        code: Code of the language, e.g. `en`.
        confidence: Probability that the model gives it, in [0, 1].
    """

    code: str
    confidence: float


class LanguageIdentifier:
    """A model of about a hundred languages; it takes a third of a second to load."""

    def __init__(self) -> None:
        """Load the model.

        Raises:
            UserError: If the package is not installed.
        """
        try:
            library = importlib.import_module("py3langid.langid")
        except ImportError as error:
            raise not_installed() from error
        self._model: Any = library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)

    @property
    def codes(self) -> list[str]:
        """Codes of all languages that it knows."""
        return sorted(self._model.labels)

    def identify(self, text: str) -> Language:
        """The most probable language."""
        code, confidence = self._model.classify(text)
        return Language(str(code), float(confidence))


def not_installed() -> UserError:
    """What to say where the package is missing."""
    return UserError(f"language: the package py3langid is needed and not installed; run: {INSTALL_LINE}.")
