"""How long rows are for a model: counted by its own tokenizer, through its chat template.

`Tokenizer("embedded").counts([["Hello there."]])` is `[3]`. Text stands for itself and gets the marks that the tokenizer
puts around every text; a list of messages is what the chat template writes, with no other marks. Nothing is ever cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from factory.datasets_io.pairs import Message
from factory.engines.embedded import EMBEDDED_NAME, embedded_model_dir
from factory.engines.model_source import first_line
from factory.errors import UserError

FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


class Lengths(NamedTuple):
    """Tokens of the rows that were written."""

    least: int
    median: int
    p95: int
    most: int
    total: int

    @classmethod
    def of(cls, counts: Sequence[int]) -> Lengths | None:
        """The figures of some rows, None of none; a share of rows has at most as many tokens as its figure says."""
        if not len(counts):
            return None
        found = np.asarray(counts, dtype=np.int64)
        median, p95 = (int(np.quantile(found, share, method="inverted_cdf")) for share in (0.5, 0.95))
        return cls(int(found.min()), median, p95, int(found.max()), int(found.sum()))


class Tokenizer:
    """A tokenizer of the transformers library."""

    def __init__(self, name: str) -> None:
        """Load it.

        Args:
            name: A folder, a Hub id, or `embedded`.

        Raises:
            UserError: If it does not load, or transformers is not installed.
        """
        self.name = EMBEDDED_NAME if name == "embedded" else name
        self._tokenizer = _loaded(name)
        self.has_template = bool(getattr(self._tokenizer, "chat_template", None))
        bos = getattr(self._tokenizer, "bos_token", None)
        self._own_mark = bos if bos and self._ids(["a"], marks=True)[0][:1] == [self._tokenizer.bos_token_id] else ""

    def chat(self, messages: list[Message]) -> str:
        """A conversation as the chat template writes it, for a text that is tokenised later.

        Raises:
            UserError: If the template refuses it.
        """
        return self._rendered(messages).removeprefix(self._own_mark)

    def counts(self, rows: Sequence[Sequence[str | list[Message]]]) -> list[int]:
        """Tokens of each row, those of its longest sequence where it has several: [rows]."""
        parts = [(index, one) for index, sequences in enumerate(rows) for one in sequences]
        texts = [(index, one) for index, one in parts if isinstance(one, str)]
        chats = [(index, self._rendered(one)) for index, one in parts if not isinstance(one, str)]
        found = [0] * len(rows)
        for some, marks in ((texts, True), (chats, not self.has_template)):
            ids = self._ids([text for _, text in some], marks=marks) if some else []
            for (index, _), tokens in zip(some, ids, strict=True):
                found[index] = max(found[index], len(tokens))
        return found

    def _rendered(self, messages: list[Message]) -> str:
        if not self.has_template:
            return "\n\n".join(message["content"] for message in messages)
        from jinja2 import TemplateError

        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False))
        except (TemplateError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UserError(
                f"tokenizer {self.name}: its chat template refuses messages of {roles} ({first_line(error)}); leave out "
                "--system, or take another tokenizer."
            ) from error

    def _ids(self, texts: list[str], *, marks: bool) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(texts, add_special_tokens=marks, verbose=False)["input_ids"]
        return found


def _loaded(name: str) -> Any:
    folder = embedded_model_dir() if name == "embedded" else Path(name).expanduser()
    if folder.is_dir() and not any((folder / file).exists() for file in FILES):
        raise UserError(f"tokenizer {name}: the folder has no {' or '.join(FILES[:2])}; name the one of a model.")
    if not folder.is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise UserError(f"tokenizer {name}: no such folder, and no Hub id of the form owner/name; or take 'embedded'.")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise UserError("--tokenizer needs transformers: pip install 'dataset-factory[train]'.") from error
    try:
        return AutoTokenizer.from_pretrained(str(folder) if folder.is_dir() else name)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise UserError(
            f"tokenizer {name}: does not load ({first_line(error)}); name a folder with a tokenizer, a Hub id, or "
            "'embedded'."
        ) from error
