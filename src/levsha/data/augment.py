"""Queries as people type them: words dropped, swapped and doubled, letters lost, added, changed and swapped."""

from __future__ import annotations

import random

LETTERS = b"etaoinshrdlu"  # the most frequent of English


def noisy(
    text: bytes, rng: random.Random, typo: float = 0.5, drop: float = 0.35, swap: float = 0.2, double: float = 0.1
) -> bytes:
    """Return a noisy variant of a query; the probabilities are those of each kind of noise, a typo being tried twice."""
    words = text.split()
    if len(words) > 1 and rng.random() < drop:
        del words[rng.randrange(len(words))]
    if len(words) > 1 and rng.random() < swap:
        at = rng.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    if words and rng.random() < double:
        at = rng.randrange(len(words))
        words.insert(at, words[at])
    said = b" ".join(words)
    for _ in range(2):
        if len(said) > 2 and rng.random() < typo:
            said = _mistyped(said, rng)
    return said if len(said) > 1 else text


def recombined(text: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return the beginning of one query and the end of another, in either order: only a teacher knows the answer to it."""
    first, second = (text.split(), other.split()) if rng.random() < 0.5 else (other.split(), text.split())
    if not first or not second:
        return text
    return b" ".join(first[: rng.randint(1, len(first))] + second[rng.randrange(len(second)) :])


def _mistyped(said: bytes, rng: random.Random) -> bytes:
    at, letter = rng.randrange(len(said)), bytes([rng.choice(LETTERS)])
    before, here, after = said[:at], said[at : at + 1], said[at + 1 :]
    return (
        before + after,
        before + letter + here + after,
        before + letter + after,
        before + after[:1] + here + after[1:],
    )[rng.randrange(4)]
