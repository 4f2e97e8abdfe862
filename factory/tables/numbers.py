"""Numbers as whole numbers, exactly: decimal text scaled by powers of ten, and doubles by their bits.

`scaled("19.9", 2)` is 1990, `unscaled(1990, 2)` is "19.90"; both are exact for any number of digits, which neither
floats nor `decimal` with its 28 digits are. A double becomes the whole number of its bits, put so that order is kept.
"""

from __future__ import annotations

import re
import struct

LONGEST = 4000  # digits; Python converts no longer text to a number
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?")
_SIGN = 1 << 63


def scaled(text: str, places: int) -> int:
    """A decimal number times 10 ** places.

    >>> scaled("-0.5", 2), scaled("1e3", 0), scaled("12345678901234567890.1", 1)
    (-50, 1000, 123456789012345678901)

    Raises:
        ValueError: If it is no number, or has more places.
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None or not (found[2] or found[3]) or len(text) > LONGEST:
        raise ValueError(f"{text[:80]} is no number")
    sign, whole, fraction, exponent = found[1], found[2], found[3] or "", int(found[4] or 0)
    digits: int = int(whole + fraction)
    shift = exponent - len(fraction) + places
    if shift >= 0:
        code = int(digits * 10**shift)
    else:
        code, rest = divmod(digits, int(10**-shift))
        if rest:
            raise ValueError("more decimal places than the column has")
    return -code if sign == "-" else code


def unscaled(code: int, places: int) -> str:
    """The decimal number of a code, with exactly that many places.

    >>> unscaled(-5, 2), unscaled(12, 0)
    ('-0.05', '12')
    """
    if not places:
        return str(code)
    whole, fraction = divmod(abs(code), 10**places)
    return f"{'-' if code < 0 else ''}{whole}.{fraction:0{places}d}"


def code_of_float(number: float) -> int:
    """The bits of a double as a whole number that orders as the doubles do; -0.0 counts as 0.0.

    >>> code_of_float(-1.5) < code_of_float(0.0) < code_of_float(1e-300) < code_of_float(2.0)
    True
    """
    bits = int(struct.unpack("<Q", struct.pack("<d", number + 0.0))[0])
    return bits if bits < _SIGN else _SIGN - bits


def float_of(code: int) -> float:
    """The double of a code.

    >>> float_of(code_of_float(-0.1))
    -0.1
    """
    bits = code if code >= 0 else _SIGN - code
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])
