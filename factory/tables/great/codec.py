"""Rows as tokens: each cell is tokenized once, and a sentence is put together from such chunks.

    codec = RowCodec(tokenizer, schema)
    codec.row({"age": 39, "sex": 0}, ["sex", "age"])   # tokens of "sex is", " Male", ",", " age is", " ", "3", "9", EOS

A chunk never merges with its neighbours, so that what a model learns and what the automata of `automata` allow is the
same whatever follows. Numbers and dates go character by character (their first may hold the blank before it, where the
tokenizer has such a token), so that ranges are ranges of digits. The sentence itself is that of `writing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from factory.errors import UserError
from factory.tables.column import CATEGORICAL, ORDERED, Column
from factory.tables.domain import Cell
from factory.tables.great.pieces import Pieces, TokenizerError
from factory.tables.great.writing import MISSING, SentenceError, Writer, quoted, written_name
from factory.tables.schema import Cells, Schema, Table

Chunk = tuple[int, ...]
_LONGEST_FLOAT = len("-2.2250738585072014e-308")


class CodecError(UserError):
    """A name or a value that cannot be written in the tokens of a tokenizer."""


class RowCodec:
    """Writes rows of a schema as tokens, and reads them.

    Attributes:
        schema: What the columns hold; identifiers are left out of sentences.
        pieces: The tokenizer's tokens.
        opening: Tokens before each sentence that the tokenizer itself would put there.
        comma: Token between columns.
        eos: Token at the end.
        open_quote: Tokens of a quote after a blank, before free text.
        close_quote: Token of the quote after free text.
    """

    def __init__(self, tokenizer: object, schema: Schema) -> None:
        """Prepare names; cells are tokenized when they are first met.

        Args:
            tokenizer: A fast tokenizer of transformers; it is not changed.
            schema: Columns.

        Raises:
            TokenizerError: If the tokenizer cannot write rows at all.
            CodecError: If it cannot write a column's name.
        """
        self.schema = schema
        self.pieces = Pieces(tokenizer)
        self.opening, self.eos = self.pieces.opening, self.pieces.eos
        self._writer = Writer(schema)
        comma, quote, opened = self.pieces.single(","), self.pieces.single('"'), self.pieces.continuing(' "')
        if comma is None or quote is None or opened is None:
            raise TokenizerError("the tokenizer has no tokens for a comma and a quote; choose another.")
        self.comma, self.close_quote, self.open_quote = comma, quote, opened
        self._names: dict[str, tuple[Chunk, Chunk]] = {
            name: self._name(name, f"{written_name(name)} is") for name in self._writer.columns
        }
        self._values: dict[str, dict[Cell, Chunk]] = {name: {} for name in self._names}
        self._cells: dict[str, dict[Chunk, Cell]] = {name: {} for name in self._names}
        self._characters: dict[tuple[str, bool], Chunk | None] = {}

    def row(self, cells: Mapping[str, Cell], order: Sequence[str]) -> list[int]:
        """The tokens of a row, its columns in that order.

        Raises:
            CodecError: If the tokenizer cannot write a value and give it back.
        """
        tokens = list(self.opening)
        first, comma = True, self.comma
        for name in order:
            cell = cells[name]
            known = self._values[name].get(cell)
            tokens += self._names[name][0 if first else 1]
            tokens += self.value(name, cell) if known is None else known
            tokens.append(comma)
            first = False
        tokens[-1 if order else len(tokens) :] = [self.eos]
        return tokens

    def decode(self, tokens: Sequence[int]) -> Cells:
        """The cells of the tokens of a row, its order and end as they may be.

        Raises:
            SentenceError: If they are none.
        """
        tokens = [token for token in tokens[len(self.opening) :] if token != self.eos]
        try:
            sentence = self.pieces.read(tokens).decode()
        except UnicodeDecodeError as error:
            raise SentenceError(f"bytes that are no text, at {error.start}.") from error
        return self.decode_text(sentence.removeprefix(" "))  # no sentence begins with a blank, some tokenizers add one

    def cell(self, column: str, tokens: Chunk) -> Cell:
        """The cell of a chunk that `value` gives, or that has the same text.

        Raises:
            SentenceError: If it is none.
        """
        known = self._cells[column]
        if tokens in known:
            return known[tokens]
        cell = self._writer.cell(column, self.pieces.read(list(tokens)).decode().removeprefix(" "))
        if not isinstance(cell, str):
            known[tokens] = cell
        return cell

    def encode_text(self, cells: Mapping[str, Cell], order: Sequence[str]) -> str:
        """The sentence of a row."""
        return self._writer.write(cells, order)

    def decode_text(self, sentence: str) -> Cells:
        """The cells of a sentence.

        Raises:
            SentenceError: If it is not one that `encode_text` gives.
        """
        return self._writer.read(sentence)

    def name(self, column: str, *, first: bool) -> Chunk:
        """Tokens of a column's name and "is", at the beginning of a sentence or after a comma."""
        return self._names[column][0 if first else 1]

    def value(self, column: str, cell: Cell) -> Chunk:
        """Tokens of a cell with the blank before it, without what follows it.

        Raises:
            CodecError: If the tokenizer cannot write it and give it back.
        """
        known = self._values[column].get(cell)
        if known is None:
            known = self._values[column][cell] = self._value(self._writer.columns[column], cell)
        return known

    def character(self, character: str, *, first: bool) -> Chunk | None:
        """Tokens of a character of a number or date; with the blank before it if it is the first."""
        known = (character, first)
        if known not in self._characters:
            self._characters[known] = self._character(character, first)
        return self._characters[known]

    def longest(self, table: Table | None = None, *, max_text_tokens: int = 0) -> int:
        """Most tokens of a row in any order: of this table, or a bound for all rows that the schema allows.

        Args:
            table: Rows; None for all that the schema allows.
            max_text_tokens: What to reckon for a free text where there is no table.
        """
        around = len(self.opening) + max((len(one) - len(two) for one, two in self._names.values()), default=0)
        around += sum(len(later) + 1 for _, later in self._names.values())
        if table is None:
            columns = self._writer.columns.values()
            return around + sum(self._longest(column, max_text_tokens) for column in columns)
        lengths = [0] * table.rows
        for name in self._names:
            for at, cell in enumerate(table.cells[name]):
                lengths[at] += len(self.value(name, cell))
        return around + max(lengths, default=0)

    def _longest(self, column: Column, max_text_tokens: int) -> int:
        missing = len(self.value(column.name, None)) if column.nullable else 0
        if column.kind in CATEGORICAL:
            return max([missing, *(len(self.value(column.name, code)) for code in range(len(column.categories)))])
        if column.kind == "text":
            return max(missing, len(self.open_quote) + max_text_tokens + 1)
        texts = ["x" * _LONGEST_FLOAT]
        if column.kind == "date":
            days = [datetime(2026, month, day, tzinfo=UTC) for month in range(1, 13) for day in range(22, 29)]
            texts = [quoted(day.strftime(column.form)) for day in days]
        elif column.kind != "float":
            texts = [self._writer.written(column.name, code) for code in (column.low, column.high)]
        return max(missing, 1 + max(len(text.encode()) for text in texts))

    def _name(self, name: str, text: str) -> tuple[Chunk, Chunk]:
        first, later = self.pieces.beginning(text), self.pieces.continuing(" " + text)
        if first is None or later is None:
            raise CodecError(f"column {name!r}: the tokenizer cannot write its name and give it back; rename it.")
        return first, later

    def _value(self, column: Column, cell: Cell) -> Chunk:
        try:
            chunk = self._chunk(column, cell)
        except UnicodeEncodeError:
            chunk = None
        if chunk is None:
            raise CodecError(
                f"column {column.name!r}: the tokenizer cannot write {self._writer.written(column.name, cell)!r} and give it back; "
                "change the value or choose a model with a byte-level tokenizer."
            )
        return chunk

    def _chunk(self, column: Column, cell: Cell) -> Chunk | None:
        if cell is None:
            return self.pieces.continuing(" " + MISSING)
        text = self._writer.written(column.name, cell)
        if column.kind in ORDERED:
            tokens: list[int] = []
            for at, character in enumerate(text):
                chunk = self.character(character, first=at == 0)
                if chunk is None:
                    return None
                tokens += chunk
            return tuple(tokens)
        if column.kind in CATEGORICAL:
            return self.pieces.continuing(" " + text)
        content = self.pieces.continuing(text[1:-1])
        return None if content is None else (*self.open_quote, *content, self.close_quote)

    def _character(self, character: str, first: bool) -> Chunk | None:
        single = self.pieces.single(character)
        alone = (single,) if single is not None else self.pieces.continuing(character)
        if not first:
            return alone
        together, blank = self.pieces.continuing(" " + character), self.pieces.continuing(" ")
        if together is not None and len(together) == 1:
            return together
        return None if alone is None or blank is None else (*blank, *alone)
