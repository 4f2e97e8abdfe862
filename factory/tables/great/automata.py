"""Which tokens may follow within a cell, so that every path ends in a cell of the domain, and each cell has one path.

    automaton = automata.of("age", Domain(((30, 41),)))
    automaton.start.allowed                       # the one token " ", as all numbers begin with a blank
    node = automaton.start.next(blank)            # allowed: "3" and "4"
    node.next(four)                               # allowed: "0" and "1"; after "41" none, but `final`: the cell may end

A node is a set of threads: chunks of known cells (categories, the missing cell) that begin alike, a state of `digits`,
`dates` or `floats`, or a place in free text. Nodes are made when they are first reached, and equal sets of threads are
one node. Constrained decoding with automata over tokens is in Willard & Louf (2307.09702); here tokenizations are those
of `codec` and no others, as the model has learnt no others, and as the probability of a cell is then that of its one
path (free text excepted, which has many).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from factory.tables.column import CATEGORICAL, Column
from factory.tables.domain import Cell, Domain
from factory.tables.great.codec import Chunk, CodecError, RowCodec
from factory.tables.great.dates import Dates
from factory.tables.great.digits import Digits
from factory.tables.great.floats import Floats
from factory.tables.great.unicode import WHOLE, TextTokens, Tokens
from factory.tables.great.writing import plain_dates, quoted

Thread = tuple[Any, ...]
_CHUNKS, _SPELLED, _PENDING, _FREE, _END = range(5)
_KEPT = 512  # automata; where rows narrow domains there may be one for each row
_NO_TOKENS: Tokens = np.zeros(0, dtype=np.int64)


class Language(Protocol):
    """A set of texts, character by character."""

    @property
    def start(self) -> Any:
        """The state before the first character."""

    def characters(self, state: Any) -> Iterable[str]:
        """The characters that may come next."""

    def step(self, state: Any, character: str) -> Any:
        """The state after one of these."""

    def final(self, state: Any) -> bool:
        """Whether the text may end."""


class Node:
    """A place within a cell.

    Attributes:
        final: Whether the cell may end here.
    """

    def __init__(self, automaton: Automaton, threads: frozenset[Thread]) -> None:
        """Stand where these threads stand."""
        self._automaton = automaton
        self._threads = threads
        self._next: dict[int, Node] = {}
        self._ended: dict[int, Tokens] = {}
        self.final = any(automaton.ends(thread) for thread in threads)

    @cached_property
    def allowed(self) -> Tokens:
        """Ids of the tokens that may follow, sorted; the end of the cell is not among them."""
        listed = np.array(sorted(self._ahead), dtype=np.int64)
        free = [self._automaton.free(thread) for thread in self._threads if thread[0] == _FREE]
        if free and not len(listed):
            return free[0]  # one array for all places like this one, as vocabularies are large
        return np.unique(np.concatenate([listed, *free])) if free else listed

    def choices(self, end: int) -> Tokens:
        """The tokens that may follow, sorted; with the token that ends the cell, if it may end here."""
        if not self.final:
            return self.allowed
        if end not in self._ended:
            self._ended[end] = np.unique(np.append(self.allowed, end))
        return self._ended[end]

    def next(self, token: int) -> Node:
        """The place after one of these tokens.

        Raises:
            KeyError: If the token may not follow.
        """
        if token not in self._next:
            threads = list(self._ahead.get(token, ()))
            for thread in self._threads:
                threads += self._automaton.freely(thread, token)
            if not threads:
                raise KeyError(token)
            self._next[token] = self._automaton.node(threads)
        return self._next[token]

    @cached_property
    def forced(self) -> tuple[Chunk, Node]:
        """The tokens that must follow, up to a choice or the end, and the place after them."""
        tokens: list[int] = []
        node = self
        while not node.final and len(node.allowed) == 1:
            tokens.append(int(node.allowed[0]))
            node = node.next(tokens[-1])
        return tuple(tokens), node

    @cached_property
    def _ahead(self) -> dict[int, list[Thread]]:
        """Threads after each token; the many tokens of free text are left out."""
        ahead: dict[int, list[Thread]] = {}
        for thread in self._threads:
            for token, after in self._automaton.ahead(thread):
                ahead.setdefault(token, []).append(after)
        return ahead


class Automaton:
    """The paths of a column's cells within a domain.

    Attributes:
        start: The place before the cell.
    """

    def __init__(self, automata: Automata, column: Column, domain: Domain) -> None:
        """Allow these cells."""
        self._automata = automata
        self._codec = automata.codec
        self._nodes: dict[frozenset[Thread], Node] = {}
        self._chunks = sorted(self._codec.value(column.name, cell) for cell in _listed(column, domain))
        threads: list[Thread] = [(_CHUNKS, 0, len(self._chunks), 0)] if self._chunks else []
        language = _language(column, domain)
        if language is not None:
            self._language = language
            threads.append((_SPELLED, language.start, True))
        if domain.text:
            threads.append((_FREE, -len(self._codec.open_quote), automata.max_text_tokens))
        self.start = self.node(threads)

    def node(self, threads: Iterable[Thread]) -> Node:
        """The place of these threads."""
        key = frozenset(
            (_SPELLED, self._language.step(thread[1], thread[2]), False)
            if thread[0] == _PENDING and not thread[3]
            else thread
            for thread in threads
        )
        if key not in self._nodes:
            self._nodes[key] = Node(self, key)
        return self._nodes[key]

    def ends(self, thread: Thread) -> bool:
        """Whether a thread may end."""
        if thread[0] == _CHUNKS:
            return bool(thread[3] == len(self._chunks[thread[1]]))
        if thread[0] == _SPELLED:
            return self._language.final(thread[1])
        return bool(thread[0] == _END)

    def ahead(self, thread: Thread) -> Iterator[tuple[int, Thread]]:
        """The tokens that a thread may go on with, and the thread after each, in free text aside."""
        if thread[0] == _CHUNKS:
            yield from self._branches(*thread[1:])
        elif thread[0] == _SPELLED:
            _, state, first = thread
            for character in self._language.characters(state):
                chunk = self._codec.character(character, first=first)
                if chunk is None:
                    raise CodecError(f"the tokenizer has no token for {character!r}, which numbers or dates need.")
                yield chunk[0], (_PENDING, state, character, chunk[1:])
        elif thread[0] == _PENDING:
            _, state, character, chunk = thread
            yield chunk[0], (_PENDING, state, character, chunk[1:])
        elif thread[0] == _FREE:
            _, place, left = thread
            if place < WHOLE:
                yield self._codec.open_quote[place], (_FREE, place + 1, left)

    def free(self, thread: Thread) -> Tokens:
        """The tokens that free text may go on with."""
        _, place, left = thread
        return self._automata.text.allowed(place, left) if place >= WHOLE else _NO_TOKENS

    def freely(self, thread: Thread, token: int) -> list[Thread]:
        """The thread after a token of free text, if it may follow."""
        if thread[0] != _FREE or thread[1] < WHOLE:
            return []
        _, place, left = thread
        if place == WHOLE and token == self._codec.close_quote:
            return [(_END,)]
        after = self._automata.text.after(place, token, left)
        return [] if after is None else [(_FREE, after, left - 1)]

    def _branches(self, first: int, last: int, depth: int) -> Iterator[tuple[int, Thread]]:
        at = first + (len(self._chunks[first]) == depth)
        while at < last:
            token = self._chunks[at][depth]
            end = bisect_right(self._chunks, token, at, last, key=lambda chunk: chunk[depth])
            yield token, (_CHUNKS, at, end, depth + 1)
            at = end


class Automata:
    """The automata of a schema's columns, made when they are first asked for.

    Attributes:
        codec: How rows are written.
        max_text_tokens: Most tokens of a free text between its quotes.
        text: Tokens that may stand in free text.
    """

    def __init__(self, codec: RowCodec, max_text_tokens: int = 64) -> None:
        """Prepare for this codec; the automata themselves are made when they are asked for."""
        self.codec = codec
        self.max_text_tokens = max_text_tokens
        self.text = TextTokens(codec.pieces.bytes, codec.close_quote)
        self._made: dict[tuple[str, Domain], Automaton] = {}

    def of(self, column: str, domain: Domain) -> Automaton:
        """The automaton of a column within a domain that is not empty."""
        known = (column, domain)
        made = self._made.pop(known, None) or Automaton(self, self.codec.schema.named[column], domain)
        self._made[known] = made  # at the end again, so that the first is the one that was not asked for the longest
        if len(self._made) > _KEPT:
            del self._made[next(iter(self._made))]
        return made


def _listed(column: Column, domain: Domain) -> Iterator[Cell]:
    """The cells that are listed rather than spelled."""
    if domain.null:
        yield None
    if not domain.text:
        yield from domain.texts
    if column.kind in CATEGORICAL:
        yield from domain.codes()


def _language(column: Column, domain: Domain) -> Language | None:
    if column.kind in CATEGORICAL or not domain.intervals:
        return None
    if column.kind == "date":
        around = "" if plain_dates(column) else '"'
        form = column.form if plain_dates(column) else quoted(column.form)[1:-1]
        return Dates(domain.intervals, form, around, around)
    return Floats(domain.intervals) if column.kind == "float" else Digits(domain.intervals, column.places)
