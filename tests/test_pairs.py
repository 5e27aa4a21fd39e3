"""The parser, the characters and the two encoders: exactly those of z80ai, checked against their definition."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levsha.data.pairs import (
    Pairs,
    context_of,
    cut_text,
    make_samples,
    parse_pair,
    read_pairs,
    split_samples,
    text_rows,
)
from levsha.errors import LevshaError
from levsha.evidence.metrics import accuracy, sample_logits
from levsha.recipes.tinychat.net import CONTEXT_NGRAMS, QUERY_NGRAMS, read_z80ai
from levsha.recipes.tinychat.predict import graph_predictor
from levsha.recipes.tinychat.recipe import read_data
from levsha.recipes.tinychat.settings import TinyChat

SHARED = Path(__file__).parents[2] / "shared" / "data" / "tinychat"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the reference data is not on this machine")


def hash_of(text: str, seed: int = 0) -> int:
    h = seed
    for c in text:
        h = (h * 31 + ord(c)) & 0xFFFF
    return h % 128


def query_counts(text: str) -> list[int]:
    counts = [0] * 128
    wrapped = " " + text.lower() + " "
    for i in range(len(wrapped) - 2):
        counts[hash_of(wrapped[i : i + 3])] += 1
    return counts


def context_counts(said: str) -> list[int]:
    counts = [0] * 128
    recent = said[-8:].lower().rjust(8)
    for n in (1, 2, 3):
        for i in range(8 - n + 1):
            counts[hash_of(recent[i : i + n], 7 * i)] += 1
    return counts


ascii_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@given(ascii_text)
def test_query_encoder_is_the_definition(text: str) -> None:
    rows = text_rows([text.encode()], 60).astype(np.int64)
    assert QUERY_NGRAMS.run(rows)[0].tolist() == query_counts(text)


@given(ascii_text)
def test_context_encoder_is_the_definition(said: str) -> None:
    rows = text_rows([context_of(said.encode())], 8).astype(np.int64)
    assert CONTEXT_NGRAMS.run(rows)[0].tolist() == context_counts(said)


def test_golden_vectors() -> None:
    """Buckets worked out by hand from the definition: ' hi' = ((32 * 31 + 104) * 31 + 105) & 0xFFFF = 34 081, 33 in 128."""
    counts = QUERY_NGRAMS.run(text_rows([b"Hi"], 60).astype(np.int64))[0]
    assert np.flatnonzero(counts).tolist() == sorted({34081 % 128, hash_of("hi ")}) and 34081 % 128 == 33
    start = CONTEXT_NGRAMS.run(np.full((1, 8), 32))[0]
    assert start.sum() == 21 and start[32] == 2  # a space at position 0 is in bucket 32, and one more n-gram is


def test_a_context_of_eight_characters_matters_and_the_ninth_does_not() -> None:
    assert context_of(b"") == b" " * 8
    assert context_of(b"HELLO WORLD") == b"LO WORLD"


@given(st.text(st.sampled_from("ab "), max_size=90))
def test_cut_is_the_reference_rule(text: str) -> None:
    want = text
    if len(text) > 60:
        want = text[:60].rsplit(" ", 1)[0] if " " in text[40:60] else text[:60]
    assert cut_text(text.encode(), 60, 40) == want.encode()


@given(st.text(max_size=80))
def test_parser_never_fails(line: str) -> None:
    pair = parse_pair(line)
    assert pair is None or (len(pair[0]) <= 60 and 1 <= len(pair[1]) <= 50)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "pairs.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


GOOD = "".join(f"query {i}|R{i % 7}!\n" for i in range(40))


def test_characters_are_in_the_reference_order(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path, GOOD + "one more|b?a 1\n"))
    assert pairs.charset == b" ABR0123456!?\0"


def test_gz_and_plain_give_the_same(tmp_path: Path) -> None:
    plain = read_pairs(write(tmp_path, GOOD))
    (tmp_path / "p.gz").write_bytes(gzip.compress(GOOD.encode()))
    assert read_pairs(tmp_path / "p.gz") == plain


def test_russian_text_works(tmp_path: Path) -> None:
    text = "".join(f"привет {i}|Здравствуй\n" for i in range(30))
    pairs = read_pairs(write(tmp_path, text))
    assert pairs.responses[0].decode() == "ЗДРАВСТВУЙ"
    assert make_samples(pairs).target_N.max() == len(pairs.charset) - 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"no bar here\nnone here\n", "no line of the form query|response in 2 lines"),
        (b"hello|HI\n", "1 unique queries; at least 20"),
        (b"a|b\x00c\n", "is binary (a zero byte at 3)"),
        (b"one|two\nthr\xffee|four\n", "line 2: byte 0xff is not UTF-8"),
        (gzip.compress(GOOD.encode())[:-9], "truncated .gz"),
        (b"\x1f\x8bjunk", "damaged or truncated .gz"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(LevshaError, match="pairs") as caught:
        read_pairs(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(LevshaError, match="No such file"):
        read_pairs(tmp_path / "none.txt")
    with pytest.raises(LevshaError, match="is a directory"):
        read_pairs(tmp_path)


def corpus() -> Pairs:
    return read_data(TinyChat())


def test_the_corpus_is_as_large_as_promised() -> None:
    pairs = corpus()
    assert len(pairs.queries) >= 2_500
    assert len(pairs.unique_queries) >= 1_500
    assert len(set(pairs.responses)) >= 300


@pytest.mark.parametrize("by", ["samples", "queries"])
def test_splits_share_nothing_and_lose_nothing(by: str) -> None:
    samples = make_samples(corpus())
    train, test = split_samples(samples, by, 3)
    assert sorted([*train, *test]) == list(range(len(samples.target_N)))
    assert 0.08 < len(test) / len(samples.target_N) < 0.12
    if by == "queries":
        assert not set(samples.query_N[train]) & set(samples.query_N[test])
    np.testing.assert_array_equal(split_samples(samples, by, 3)[1], test)


@needs_shared
def test_reference_data_has_the_reference_counts() -> None:
    pairs = read_pairs(SHARED / "training-data.txt.gz")
    counts = (
        len(pairs.queries),
        len(make_samples(pairs).target_N),
        len(pairs.unique_queries),
        len(set(pairs.responses)),
    )
    assert counts == (2990, 14814, 2280, 502)
    assert pairs.charset == b" ABCDEFGHIJKLMNOPQRSTUVWXYZ012345678!/?\0"


@needs_shared
def test_the_net_of_z80ai_reaches_what_it_is_known_to_reach() -> None:
    pairs = read_pairs(SHARED / "training-data.txt.gz")
    graph, charset = read_z80ai(SHARED / "model.npz")
    samples = make_samples(pairs)
    logits = sample_logits(graph_predictor(graph), pairs, samples, np.arange(len(samples.target_N)))
    assert charset == pairs.charset
    assert round(accuracy(logits, samples.target_N), 1) == 79.6
