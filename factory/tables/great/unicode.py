"""Which tokens may follow in free text: those that keep it UTF-8, have no quote, and leave room to end it in time.

Tokens of byte-level tokenizers may end in the middle of a character: "é" may be two tokens of a byte each. After the
first byte of a character only tokens that go on with it are allowed, and so many tokens before the greatest length that
the character can be completed, none that would begin another. The states are those of the table of well-formed byte
sequences in section 3.9 of the Unicode standard.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]
WHOLE = 0  # between characters
_ONE, _TWO, _THREE, _E0, _ED, _F0, _F4, _DEAD = 1, 2, 3, 4, 5, 6, 7, 8
_STATES = 8
_UNREACHED = 99
_FIRST = [
    *[WHOLE] * 0x80,
    *[_DEAD] * 0x42,
    *[_ONE] * 0x1E,
    _E0,
    *[_TWO] * 12,
    _ED,
    *[_TWO] * 2,
    _F0,
    *[_THREE] * 3,
    _F4,
]
_LATER = {  # least and greatest byte, and the state after it
    _ONE: (0x80, 0xBF, WHOLE), _TWO: (0x80, 0xBF, _ONE), _THREE: (0x80, 0xBF, _TWO), _E0: (0xA0, 0xBF, _ONE),
    _ED: (0x80, 0x9F, _ONE), _F0: (0x90, 0xBF, _TWO), _F4: (0x80, 0x8F, _TWO),
}  # fmt: skip


class TextTokens:
    """The tokens of a vocabulary that may stand in free text."""

    def __init__(self, contents: Sequence[bytes | None], closing: int) -> None:
        """Sort these tokens by what they do.

        Args:
            contents: Bytes of each token, None for special ones.
            closing: Token that ends a text; no other token that has one of its bytes may stand in a text.
        """
        self._contents = contents
        self._closing = closing
        self._banned = frozenset(contents[closing] or b"")

    @cached_property
    def _ends(self) -> list[dict[int, int]]:
        """By state before it: the state after each token that may follow."""
        found: list[dict[int, int]] = [{} for _ in range(_STATES)]
        for token, content in enumerate(self._contents):
            if not content or not self._banned.isdisjoint(content):
                continue
            for before in [WHOLE] if content[0] < 0x80 or content[0] > 0xBF else range(1, _STATES):
                after = _run(before, content)
                if after != _DEAD:
                    found[before][token] = after
        return found

    @cached_property
    def _needed(self) -> list[int]:
        """By state: the fewest tokens that complete the character."""
        needed = [0] + [_UNREACHED] * (_STATES - 1)
        for _ in range(3):  # a character has at most three further bytes
            for state in range(1, _STATES):
                ahead = [needed[after] + 1 for after in set(self._ends[state].values())]
                needed[state] = min([needed[state], *ahead])
        return needed

    @cached_property
    def _allowed(self) -> dict[tuple[int, int], Tokens]:
        return {}

    def allowed(self, state: int, left: int) -> Tokens:
        """Sorted tokens that may follow, if `left` more may be written, and the closing one where it may stand."""
        known = (state, min(left, 4))
        if known not in self._allowed:
            needed = self._needed
            kept = [token for token, after in self._ends[state].items() if needed[after] < known[1]]
            closing = [self._closing] if state == WHOLE else []
            self._allowed[known] = np.array(sorted(kept + closing), dtype=np.int64)
        return self._allowed[known]

    def after(self, state: int, token: int, left: int) -> int | None:
        """The state after a token, if it may follow with `left` more to be written; None if it may not."""
        after = self._ends[state].get(token)
        return after if after is not None and self._needed[after] < left else None


def _run(state: int, content: bytes) -> int:
    for byte in content:
        if state == WHOLE:
            state = _FIRST[byte] if byte < len(_FIRST) else _DEAD
        else:
            low, high, after = _LATER[state]
            state = after if low <= byte <= high else _DEAD
        if state == _DEAD:
            break
    return state
