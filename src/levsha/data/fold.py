"""Capitals and their small letters, for the letters whose two cases are equally long in UTF-8: what a chip can fold in place.

`applications/fold.h` does to a line on the chip what `fold` does here; the tests hold one against the other.
"""

from __future__ import annotations

import re

LATIN_1 = [*range(0xC0, 0xD7), *range(0xD8, 0xDF)]  # without the multiplication sign
GREEK = [*range(0x391, 0x3A2), *range(0x3A3, 0x3AA)]  # without the gap where a capital final sigma would be
CYRILLIC = [*range(0x400, 0x430)]
CAPITALS = "".join(map(chr, [*LATIN_1, *GREEK, *CYRILLIC]))
"""The capitals beyond A-Z that `fold` knows: two bytes each in UTF-8, as their small letters."""

# A final sigma is a small sigma at the end of a word; both have the same capital, so they have to be the same letter here.
_SMALL = {capital.encode(): capital.lower().encode() for capital in CAPITALS} | {"ς".encode(): "σ".encode()}
_CAPITAL = re.compile(b"|".join(_SMALL))
_LETTER = re.compile(b"|".join({*_SMALL, *_SMALL.values()}))


def fold(text: bytes) -> bytes:
    """Return UTF-8 text in lower case, length kept: A-Z, CAPITALS, and final sigma as sigma; all else, broken UTF-8 too, stays.

    >>> fold("ÉTÉ ПРИВЕТ ΟΔΟΣ ΟΔΟς Ł ẞ ×".encode()).decode(), fold(b"\\xd0A\\x90")
    ('été привет οδοσ οδοσ Ł ẞ ×', b'\\xd0a\\x90')
    """
    return _CAPITAL.sub(lambda letter: _SMALL[letter[0]], text.lower())


def has_folded_letters(text: bytes) -> bool:
    """Say whether there is a letter beyond A-Z, capital or small, that `fold` makes one of: a chip that hears it has to fold.

    >>> has_folded_letters("привет".encode()), has_folded_letters("Hello, Łódź ß ÷".encode()), has_folded_letters(b"Hi")
    (True, True, False)
    """
    return _LETTER.search(text) is not None


def unknown_capitals(text: str) -> str:
    """Return the capitals that have small letters `fold` does not know, once each, in order of appearance.

    >>> unknown_capitals("Łódź, ŁÓDŹ, Բարև")
    'ŁŹԲ'
    """
    return "".join(dict.fromkeys(c for c in text if c.lower() != c and fold(c.encode()) == c.encode()))
