"""Tokens of a tokenizer as bytes, and texts as tokens that give exactly these bytes again.

With SmolLM2 " State-gov" becomes the tokens of " State", "-", "gov". Where the tokenizer's own result does not give the
bytes back (it normalizes, or does not know a character), single characters or bytes are put together instead; if that
is not possible either, the text cannot be written, and the caller says so.

Known are byte-level tokenizers (GPT-2, Llama 3, SmolLM2, Qwen) and those that mark blanks with U+2581, with byte tokens
(Llama 2, Mistral, Gemma) or without. Special tokens stand for no text here, whatever a value looks like.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from factory.errors import UserError

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BLANK = "\u2581"
_ANCHORS = (",", "a", ".")  # texts before a chunk, so that tokenizers that add a blank at the beginning add it there


class TokenizerError(UserError):
    """A tokenizer that rows cannot be written with."""


class Pieces:
    """The tokens of a tokenizer of transformers.

    Attributes:
        bytes: What each token stands for, by id; None for special and unused ones.
        opening: Special tokens that the tokenizer itself puts before a text.
        eos: Its token for the end.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Take over a (fast) tokenizer; it is not changed.

        Raises:
            TokenizerError: If it has no token for the end, or does not show what its tokens stand for.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise TokenizerError("the tokenizer is none of the tokenizers library; choose a model with a fast one.")
        if tokenizer.eos_token_id is None:
            raise TokenizerError("the tokenizer has no token for the end of a text; give it an eos_token.")
        self.eos: int = tokenizer.eos_token_id
        settings = backend.to_str()
        self._own = type(backend).from_str(settings)
        self._own.no_padding()
        self._own.no_truncation()
        self.opening = self._opening()
        self._own.encode_special_tokens = True
        self.bytes = _token_bytes(tokenizer, json.loads(settings))
        self._single: dict[bytes, int] = {}
        for token, content in enumerate(self.bytes):
            if content and not _BYTE.fullmatch(self._own.id_to_token(token) or ""):
                self._single.setdefault(content, token)
        for token, content in enumerate(self.bytes):
            if content:
                self._single.setdefault(content, token)

    def single(self, text: str) -> int | None:
        """The one token of a text, if there is one."""
        return self._single.get(text.encode())

    def read(self, tokens: list[int]) -> bytes:
        """The bytes of tokens; special ones give none."""
        return b"".join(self.bytes[token] or b"" for token in tokens)

    def beginning(self, text: str) -> tuple[int, ...] | None:
        """Tokens of a text at the beginning of a sentence (perhaps after a blank that the tokenizer adds)."""
        tokens = self._tokens(text)
        return tuple(tokens) if self._gives(tokens, text) or self._gives(tokens, " " + text) else self._assembled(text)

    def continuing(self, text: str) -> tuple[int, ...] | None:
        """Tokens of a text that follows another; None if no tokens give it."""
        for anchor in _ANCHORS:
            tokens, before = self._tokens(anchor + text), self._tokens(anchor)
            if tokens[: len(before)] == before and self._gives(tokens[len(before) :], text):
                return tuple(tokens[len(before) :])
        tokens = self._tokens(text)
        return tuple(tokens) if self._gives(tokens, text) else self._assembled(text)

    def _opening(self) -> tuple[int, ...]:
        plain, full = self._own.encode("a", add_special_tokens=False).ids, self._own.encode("a").ids
        return next((tuple(full[:at]) for at in range(len(full)) if full[at : at + len(plain)] == plain), ())

    def _tokens(self, text: str) -> list[int]:
        text.encode()  # the library's own error for what is no Unicode names neither
        tokens: list[int] = self._own.encode(text, add_special_tokens=False).ids
        return tokens

    def _gives(self, tokens: list[int], text: str) -> bool:
        parts = [self.bytes[token] for token in tokens]
        return None not in parts and b"".join(part for part in parts if part) == text.encode()

    def _assembled(self, text: str) -> tuple[int, ...] | None:
        tokens: list[int] = []
        for character in text:
            token = self.single(character)
            if token is not None:
                tokens.append(token)
                continue
            for byte in character.encode():
                token = self._single.get(bytes([byte]))
                if token is None:
                    return None
                tokens.append(token)
        return tuple(tokens)


def _token_bytes(tokenizer: Any, settings: dict[str, Any]) -> list[bytes | None]:
    decoder = json.dumps(settings.get("decoder"))
    byte_level = '"ByteLevel"' in decoder
    if not byte_level and '"Metaspace"' not in decoder and _BLANK not in json.loads(f"[{decoder}]").__repr__():
        kind = settings.get("model", {}).get("type", "unknown")
        raise TokenizerError(
            f"a tokenizer of kind {kind} does not give texts back exactly; choose a model with a byte-level tokenizer "
            "or one that marks blanks."
        )
    found: list[bytes | None] = [None] * (max(tokenizer.get_vocab().values()) + 1)
    for text, token in tokenizer.get_vocab().items():
        found[token] = _from_characters(text) if byte_level else _from_marks(text)
    for token, added in tokenizer.added_tokens_decoder.items():
        found[token] = None if added.special else added.content.encode()
    unknown = settings.get("model", {}).get("unk_token")
    for token in {*tokenizer.all_special_ids, tokenizer.get_vocab().get(unknown)}:
        if token is not None:
            found[token] = None
    return found


def _from_characters(text: str) -> bytes | None:
    codes = _byte_codes()
    return bytes(codes[each] for each in text) if all(each in codes for each in text) else None


def _from_marks(text: str) -> bytes:
    byte = _BYTE.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else text.replace(_BLANK, " ").encode()


@cache
def _byte_codes() -> dict[str, int]:
    """Byte of each character that GPT-2's byte-level alphabet writes bytes with (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}
