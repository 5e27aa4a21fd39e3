"""`query|response` text files -> pairs, characters, samples and splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from levsha.data.fold import fold, has_folded_letters
from levsha.data.reading import (
    PAIR,
    QUERY_BYTES,
    QUERY_CUT,
    RESPONSE_BYTES,
    RESPONSE_CUT,
    Reading,
    kind_of,
    sides,
    survey,
)
from levsha.data.text import lines_of, read_text
from levsha.errors import LevshaError

CONTEXT_BYTES = 8
FEWEST_QUERIES = 20
WANTED = "query|response lines, one pair a line"
READ_OTHERWISE = b"\0lines end at \\n, \\r\\n, \\r; letters are folded"  # no text holds a zero byte
END = b"\0"


@dataclass(frozen=True)
class Pairs:
    """Queries and upper-cased responses as UTF-8 bytes, in file order.

    digest: SHA-256 of the file's text and of how it is read, see `digest_of`. reading: what became of every line.
    """

    queries: tuple[bytes, ...]
    responses: tuple[bytes, ...]
    digest: str
    reading: Reading = field(default_factory=Reading)

    def sentences(self) -> list[str]:
        """Return what a user should know of how the file was read; the first is a warning where `reading.warning` says so."""
        return self.reading.sentences()

    @cached_property
    def folds(self) -> bool:
        """Whether any query has letters beyond A-Z that `fold` knows: the chat has to fold what is typed."""
        return any(map(has_folded_letters, self.queries))

    @cached_property
    def charset(self) -> bytes:
        """Bytes that responses use: space, letters, digits, the rest, each sorted, and the end mark last."""
        used = {bytes([b]) for response in self.responses for b in response} - {b" "}
        letters, digits = sorted(b for b in used if b.isalpha()), sorted(b for b in used if b.isdigit())
        others = sorted(used - set(letters) - set(digits))
        return b" " + b"".join([*letters, *digits, *others]) + END

    @cached_property
    def unique_queries(self) -> tuple[bytes, ...]:
        """Every query once, folded, in order of first appearance: the net cannot tell upper from lower case."""
        return tuple(dict.fromkeys(map(fold, self.queries)))

    @cached_property
    def replies(self) -> tuple[frozenset[bytes], ...]:
        """All the responses listed for each unique query."""
        listed: dict[bytes, set[bytes]] = {query: set() for query in self.unique_queries}
        for query, response in zip(self.queries, self.responses, strict=True):
            listed[fold(query)].add(response)
        return tuple(frozenset(listed[query]) for query in self.unique_queries)


@dataclass(frozen=True)
class Samples:
    """Next-character samples, legend N samples: query_N (index into unique_queries), context_NL (bytes), target_N (class)."""

    query_N: np.ndarray
    context_NL: np.ndarray
    target_N: np.ndarray
    prefix_N: np.ndarray  # which distinct beginning of a response came before


def cut_text(raw: bytes, most: int, cut_from: int) -> bytes:
    """Return at most `most` bytes, cut at the last space from `cut_from` on where there is one.

    >>> cut_text(b"a bb ccc", 5, 2), cut_text(b"abcdefgh", 5, 2)
    (b'a bb', b'abcde')
    """
    if len(raw) <= most:
        return raw
    return raw[:most].rsplit(b" ", 1)[0] if b" " in raw[cut_from:most] else raw[:most]


def cut_line(text: str, most: int, cut_from: int) -> bytes:
    """Return a line of data as UTF-8, cut as cut_text does and never inside a character."""
    return cut_text(text.encode(), most, cut_from).decode("utf-8", "ignore").encode()


def typed_query(line: str, folds: bool = False) -> bytes:
    """Return what a chat makes of a line that somebody typed: control characters dropped, spaces stripped, cut.

    folds: `Pairs.folds` of the data the net learnt from. The chat of such a net folds the line, on a chip with applications/fold.h;
    any other takes the letters as typed, since the net itself counts A-Z as a-z.

    >>> typed_query("  hi\\tthere \\x07"), typed_query("Hi ДА").decode(), typed_query("Hi ДА", folds=True).decode()
    (b'hithere', 'Hi ДА', 'hi да')
    """
    raw = bytes(byte for byte in line.encode("utf-8", "surrogateescape") if byte >= 32 and byte != 127)
    query = cut_text(raw.strip(b" "), QUERY_BYTES, QUERY_CUT)
    return fold(query) if folds else query


def parse_pair(line: str) -> tuple[bytes, bytes] | None:
    """Split a line at its first `|`; None where there is no pair in it (no `|`, a query under 2 characters, no response).

    >>> parse_pair(" Hello there | hi | you "), parse_pair("# a comment"), parse_pair("a|B")
    ((b'Hello there', b'HI | YOU'), None, None)
    """
    if kind_of(line) != PAIR:
        return None
    query, response = sides(line)
    return cut_line(query, QUERY_BYTES, QUERY_CUT), cut_line(response, RESPONSE_BYTES, RESPONSE_CUT)


def read_pairs(path: Path) -> Pairs:
    """Read a pairs file, plain or .gz; LevshaError says what is wrong with it and where."""
    text = read_text(path, WANTED)
    lines = lines_of(text)
    reading, pairs = survey(lines), [pair for pair in map(parse_pair, lines) if pair]
    ignored = f" ({reading.loss})" if reading.loss else ""
    if not pairs:
        raise LevshaError(
            f"{path}: no line of the form query|response in {len(lines)} lines{ignored}; write one pair a line."
        )
    queries, responses = zip(*pairs, strict=True)
    unique = len(set(map(fold, queries)))
    if unique < FEWEST_QUERIES:
        raise LevshaError(
            f"{path}: {unique} unique queries; at least {FEWEST_QUERIES} are needed to train and to hold some out{ignored}."
        )
    return Pairs(queries, responses, digest_of(text, queries), reading)


def digest_of(text: str, queries: Iterable[bytes]) -> str:
    """Return the SHA-256 that stands for the pairs of a text.

    It is the text's own, so that nets trained on it stay valid. Where the first version of Levsha read the text otherwise
    (it also ended lines at U+2028 and the like, and folded A-Z only), it is another, so that nets trained on that are made again.
    """
    as_ever = text.splitlines() == lines_of(text) and all(fold(query) == query.lower() for query in queries)
    return hashlib.sha256(text.encode() + (b"" if as_ever else READ_OTHERWISE)).hexdigest()


def text_rows(texts: list[bytes] | tuple[bytes, ...], width: int) -> np.ndarray:
    """Return byte rows of shape (N, width), each text ended by zeros."""
    return np.array([list(text[:width].ljust(width, b"\0")) for text in texts], np.uint8).reshape(len(texts), width)


def context_of(said: bytes) -> bytes:
    """Return the last 8 bytes said, spaces in front: what the net sees of its own answer."""
    return said[-CONTEXT_BYTES:].rjust(CONTEXT_BYTES)


def make_samples(pairs: Pairs) -> Samples:
    """Return a sample for every character of every response, the end mark included."""
    number = {query: index for index, query in enumerate(pairs.unique_queries)}
    class_of = {byte: index for index, byte in enumerate(pairs.charset)}
    prefixes: dict[bytes, int] = {}
    rows = []
    for query, response in zip(map(fold, pairs.queries), pairs.responses, strict=True):
        for end, byte in enumerate(response + END):
            prefix = prefixes.setdefault(response[:end], len(prefixes))
            rows.append((number[query], context_of(response[:end]), class_of[byte], prefix))
    query, context, target, prefix = zip(*rows, strict=True)
    return Samples(np.array(query), text_rows(context, CONTEXT_BYTES), np.array(target), np.array(prefix))


def split_samples(samples: Samples, by: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices (train, test), 90 to 10: by = "samples" at random, or "queries": no test query is in train."""
    rng = np.random.default_rng([1000, seed])
    owner = np.arange(len(samples.target_N)) if by == "samples" else samples.query_N
    count = int(owner.max()) + 1
    held_out = np.zeros(count, bool)
    held_out[rng.permutation(count)[: count // 10]] = True
    return np.flatnonzero(~held_out[owner]), np.flatnonzero(held_out[owner])
