"""Keys and tokens in what goes up: in every line of text, and in every text of the rows.

    require_none([Upload("recipe.yaml", …)], allow=False)
    ->  UserError: recipe.yaml:4: holds what looks like a Hugging Face token; take it out, …

The values of this process's own secrets are looked for as they are and as JSON and HTML write them, all others by their
form. A sentence about one names its place, never the secret.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from factory.datasets_io.parquet import text_safe
from factory.errors import UserError
from factory.hub.files import CARD, REPORT, TEXTS, Upload

FORMS = {
    "a Hugging Face token": r"hf_[A-Za-z0-9]{30,}",
    "an API key": r"sk-[A-Za-z0-9_-]{20,}",
    "an AWS key": r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    "a GitHub token": r"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})",
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----",
}
# What may stand before a key: any script but Latin letters, and the "\n" of JSON. "task-1234" holds no key.
_BEFORE, _BEHIND = r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4}))", r"(?![A-Za-z0-9])"
_FORMS = {
    what: re.compile(form if what == "a private key" else f"{_BEFORE}{form}{_BEHIND}") for what, form in FORMS.items()
}
NAMED = re.compile(r"(?:TOKEN|APIKEY|_KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE)$")
SHORTEST = 8  # characters of a value of the environment that is looked for
PASSWORD_IN_URL = re.compile(r"://[^/\s:@\"']+:[^/\s:@\"']+@")


def own_secrets(environment: Mapping[str, str], token: str | None = None, recipe: Any = None) -> dict[str, str]:
    """Values that must not leave this machine, by what they are called.

    Args:
        environment: Of this process.
        token: The one that the Hub is asked with.
        recipe: The resolved recipe, whose `api_key_env` names a secret too.
    """
    said = set(_key_names(recipe))
    found = {
        name: value
        for name, value in environment.items()
        if (name in said or NAMED.search(name.upper())) and len(value) >= SHORTEST
    }
    return found | ({"the Hub's token": token} if token and token not in found.values() else {})


def _key_names(written: Any) -> Iterator[str]:
    """Variables that hold a key, by a resolved recipe."""
    if isinstance(written, dict):
        if isinstance(written.get("api_key_env"), str):
            yield written["api_key_env"]
        written = list(written.values())
    for each in written if isinstance(written, list) else ():
        yield from _key_names(each)


def require_none(uploads: list[Upload], own: Mapping[str, str]) -> None:
    """Make sure that no file holds a secret.

    Args:
        uploads: What goes up.
        own: Of `own_secrets`.

    Raises:
        UserError: If one does, with its place.
    """
    for upload in sorted(uploads, key=lambda each: each.path in (CARD, REPORT)):  # which quote the other files
        looked = _in_text(upload, own) if upload.path in TEXTS else _in_rows(upload, own)
        for place, what in looked:
            raise UserError(
                f"{place}: holds {what}; take it out, or push with --allow-secrets if that is none or may be known."
            )


def _written(value: str) -> set[str]:
    """A value as it is, and as it stands in JSON and in HTML."""
    written = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], escape(value)}
    return {each for each in written if text_safe(each) == each}  # bytes that are no UTF-8 stand in no file of ours


def _found(text: str, own: Mapping[str, str]) -> str | None:
    for name, value in own.items():
        if any(each in text for each in _written(value)):
            return f"the value of {name}"
    for what, form in _FORMS.items():
        for match in form.finditer(text):
            if what != "an API key" or _random(match.group()):
                return f"what looks like {what}"
    return None


def _random(key: str) -> bool:
    """Whether there are digits in it, as in hardly any name of a package or a page."""
    return any(char.isdigit() for char in key)


def _in_text(upload: Upload, own: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    content = upload.source if isinstance(upload.source, bytes) else upload.source.read_bytes()
    text = content.decode("utf-8", "replace")
    for name, value in own.items():  # which may have several lines
        for at in sorted(text.find(each) for each in _written(value) if each in text):
            yield f"{upload.path}:{text.count(chr(10), 0, at) + 1}", f"the value of {name}"
    for number, line in enumerate(text.split("\n"), 1):
        if what := _found(line, {}):
            yield f"{upload.path}:{number}", what
        elif upload.path.endswith(".yaml") and PASSWORD_IN_URL.search(line):
            yield f"{upload.path}:{number}", "what looks like a password in a URL"


def _in_rows(upload: Upload, own: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Rows are sifted by Arrow; what it finds is looked at again."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not isinstance(upload.source, Path):
        return
    values = sorted({each for value in own.values() for each in _written(value)})
    pattern = "|".join([*(f"(?:{form})" for form in FORMS.values()), *map(re.escape, values)])
    first = 0
    for batch in pq.ParquetFile(upload.source).iter_batches():
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for texts in _texts(column):
                hits: Any = pc.indices_nonzero(pc.fill_null(pc.match_substring_regex(texts, pattern), False))
                for index in hits.to_pylist():
                    if what := _found(texts[index].as_py(), own):
                        yield f"{upload.path}: row {first + index + 1}, column '{name}'", what
        first += batch.num_rows


def _texts(column: Any) -> Iterator[Any]:
    """The texts in a column, also those in its lists and structs: one array of strings for each place, [rows]."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield column.cast(pa.string())
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _texts(part)
    elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        yield pc.binary_join(column, "\n")


def environment_secrets(token: str | None, recipe: Any) -> dict[str, str]:
    """Secrets of this process."""
    return own_secrets(os.environ, token, recipe)
