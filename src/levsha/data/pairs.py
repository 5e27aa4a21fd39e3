"""`query|response` text files -> pairs, characters, samples and splits."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from levsha.errors import LevshaError

QUERY_BYTES, QUERY_CUT = 60, 40
RESPONSE_BYTES, RESPONSE_CUT = 50, 30
CONTEXT_BYTES = 8
END = b"\0"


@dataclass(frozen=True)
class Pairs:
    """Queries and upper-cased responses as UTF-8 bytes, in file order; digest: SHA-256 of the file's text."""

    queries: tuple[bytes, ...]
    responses: tuple[bytes, ...]
    digest: str

    @cached_property
    def charset(self) -> bytes:
        """Bytes that responses use: space, letters, digits, the rest, each sorted, and the end mark last."""
        used = {bytes([b]) for response in self.responses for b in response} - {b" "}
        letters, digits = sorted(b for b in used if b.isalpha()), sorted(b for b in used if b.isdigit())
        others = sorted(used - set(letters) - set(digits))
        return b" " + b"".join([*letters, *digits, *others]) + END

    @cached_property
    def unique_queries(self) -> tuple[bytes, ...]:
        """Every query once, lower-cased, in order of first appearance: the net cannot tell upper from lower case."""
        return tuple(dict.fromkeys(query.lower() for query in self.queries))

    @cached_property
    def replies(self) -> tuple[frozenset[bytes], ...]:
        """All the responses listed for each unique query."""
        listed: dict[bytes, set[bytes]] = {query: set() for query in self.unique_queries}
        for query, response in zip(self.queries, self.responses, strict=True):
            listed[query.lower()].add(response)
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


def typed_query(line: str) -> bytes:
    """Return what a chat makes of a line that somebody typed: control characters dropped, spaces stripped, cut.

    >>> typed_query("  hi\\tthere \\x07")
    b'hithere'
    """
    raw = bytes(byte for byte in line.encode("utf-8", "surrogateescape") if byte >= 32 and byte != 127)
    return cut_text(raw.strip(b" "), QUERY_BYTES, QUERY_CUT)


def parse_pair(line: str) -> tuple[bytes, bytes] | None:
    """Split a line at its first `|`; None where there is no pair in it (no `|`, a query under 2 characters, no response).

    >>> parse_pair(" Hello there | hi | you "), parse_pair("# a comment"), parse_pair("a|B")
    ((b'Hello there', b'HI | YOU'), None, None)
    """
    query, bar, response = line.partition("|")
    query, response = query.strip(), response.strip().upper()
    if not bar or len(query) < 2 or not response:
        return None
    return cut_line(query, QUERY_BYTES, QUERY_CUT), cut_line(response, RESPONSE_BYTES, RESPONSE_CUT)


def read_pairs(path: Path) -> Pairs:
    """Read a pairs file, plain or .gz; LevshaError says what is wrong with it and where."""
    text = _read_text(path)
    pairs = [pair for pair in map(parse_pair, text.splitlines()) if pair]
    if not pairs:
        raise LevshaError(
            f"{path}: no line of the form query|response in {len(text.splitlines())} lines; write one pair a line."
        )
    queries, responses = zip(*pairs, strict=True)
    if len({query.lower() for query in queries}) < 20:
        raise LevshaError(
            f"{path}: {len({query.lower() for query in queries})} unique queries; at least 20 are needed to train and to hold some out."
        )
    return Pairs(queries, responses, hashlib.sha256(text.encode()).hexdigest())


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except IsADirectoryError:
        raise LevshaError(f"{path}: is a directory; give a text file of query|response lines, plain or .gz.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LevshaError(f"{path}: is a damaged or truncated .gz file ({error}); get it again.") from None
    except OSError as error:
        raise LevshaError(
            f"{path}: cannot be read ({error.strerror}); give a text file of query|response lines, plain or .gz."
        ) from None
    if not raw.strip():
        raise LevshaError(f"{path}: is empty; write query|response lines into it, one pair a line.")
    if b"\0" in raw:
        raise LevshaError(
            f"{path}: is binary (a zero byte at {raw.index(0)}); give a text file of query|response lines, plain or .gz."
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise LevshaError(
            f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8."
        ) from None


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
    for query, response in zip(pairs.queries, pairs.responses, strict=True):
        for end, byte in enumerate(response + END):
            prefix = prefixes.setdefault(response[:end], len(prefixes))
            rows.append((number[query.lower()], context_of(response[:end]), class_of[byte], prefix))
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
