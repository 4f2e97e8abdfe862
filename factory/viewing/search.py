"""Search for a text in all records: case does not count, any script, hits in the order of the rows.

A search goes on where it stopped: `Search("rivers", index).reach(50)` ends as soon as it has fifty hits or has used up
its time, and what it has found stays. At a million records one page of hits is there in milliseconds where the text is
frequent, and the whole file is read in a third of a second where it is not there at all.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from factory.viewing.batches import KEY_DIGITS
from factory.viewing.index import Index, Ints, Segment
from factory.viewing.texts import BETWEEN, fold

MOST_CHARS = 1000
PATIENCE_S = 0.35
_ID = re.compile(r"[0-9a-f]{8,40}")


class Search:
    """Hits of one query in an index that may still grow."""

    def __init__(self, query: str, index: Index) -> None:
        """Nothing is read yet."""
        self.query = query
        self._index = index
        self._needle = fold(query.replace(BETWEEN, " ")).encode("utf-8", "replace")
        self._prefix = query.strip().lower() if _ID.fullmatch(query.strip().lower()) else ""
        self._hits: list[Ints] = []
        self._read = 0
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        """Whether everything that is indexed has been read."""
        return self._read >= len(self._index.segments)

    @property
    def share(self) -> float:
        """Share of the segments that have been read, in [0, 1]."""
        return self._read / max(1, len(self._index.segments))

    def hits(self) -> Ints:
        """Rows found so far, in order."""
        if len(self._hits) > 1:
            self._hits = [np.concatenate(self._hits)]
        return self._hits[0] if self._hits else np.zeros(0, np.int64)

    def reach(self, enough: Callable[[Ints], bool], patience_s: float = PATIENCE_S) -> Ints:
        """Read on until there is enough, everything has been read, or the time is over; at least one segment.

        Returns:
            All rows found so far.
        """
        until = time.monotonic() + patience_s
        with self._lock:
            while not self.done:
                if self._hits and enough(self.hits()):
                    break
                self._scan(self._index.segments[self._read])
                self._read += 1
                if time.monotonic() > until:
                    break
            return self.hits()

    def _scan(self, segment: Segment) -> None:
        found = set(self._by_id(segment)) if self._prefix else set()
        block = self._index.read(segment.folded_at, int(segment.folded_ends[-1]))
        ends, length = segment.folded_ends.tolist(), len(self._needle)
        at = block.find(self._needle)
        while at >= 0:
            row = bisect_right(ends, at) - 1
            within = at + length <= ends[row + 1]  # else it begins in one text and ends in the next
            if within:
                found.add(segment.first + row)
            at = block.find(self._needle, ends[row + 1] if within else at + 1)
        if found:
            self._hits.append(np.array(sorted(found), np.int64))

    def _by_id(self, segment: Segment) -> list[int]:
        """Rows whose id begins with the query."""
        digits = self._prefix[:KEY_DIGITS]
        keys = self._index.columns().keys[segment.first : segment.first + segment.count]
        shift = np.uint64(4 * (KEY_DIGITS - len(digits)))
        return [int(segment.first + row) for row in np.flatnonzero(keys >> shift == np.uint64(int(digits, 16)))]


def excerpt(text: str, query: str, width: int) -> str:
    """A piece of a text that shows the query, or its beginning; "…" where something is left out."""
    found = re.search(re.escape(query), text, re.IGNORECASE) if query else None
    first = max(0, found.start() - width // 3) if found is not None and found.end() > width else 0
    piece = text[first : first + width]
    return f"{'…' if first else ''}{piece}{'…' if first + width < len(text) else ''}"
