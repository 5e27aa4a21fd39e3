"""The parser, the characters and the two encoders: exactly those of z80ai, checked against their definition."""

import gzip
import hashlib
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levsha.applications.chat import graph_predictor
from levsha.data.pairs import (
    Pairs,
    context_of,
    cut_text,
    make_samples,
    parse_pair,
    read_pairs,
    split_samples,
    text_rows,
    typed_query,
)
from levsha.data.reading import Reading, survey
from levsha.data.z80ai import read_z80ai
from levsha.errors import LevshaError
from levsha.evidence.metrics import accuracy, sample_logits
from levsha.recipes.tinychat.net import CONTEXT_NGRAMS, QUERY_NGRAMS, z80ai_graph
from levsha.recipes.tinychat.recipe import RECIPE
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


INSIDE = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # what str.splitlines takes for ends of lines and no editor does
ENDS = ("\n", "\r\n", "\r")


@pytest.mark.parametrize("mark", INSIDE)
def test_only_ends_of_lines_end_lines(tmp_path: Path, mark: str) -> None:
    pairs = read_pairs(write(tmp_path, GOOD + f"the shop|OPEN{mark}DAILY\n"))
    assert pairs.responses[-1].decode() == f"OPEN{mark}DAILY" and pairs.reading.ignored == 0


@pytest.mark.parametrize("end", ENDS)
def test_files_of_every_system_read_the_same(tmp_path: Path, end: str) -> None:
    plain = read_pairs(write(tmp_path, GOOD))
    pairs = read_pairs(write(tmp_path, GOOD.replace("\n", end)))
    assert (pairs.queries, pairs.responses, pairs.reading) == (plain.queries, plain.responses, plain.reading)


@given(st.lists(st.tuples(st.text(st.sampled_from("ab|# " + INSIDE), max_size=9), st.sampled_from(ENDS))))
def test_any_lines_with_any_ends_are_found_again(lines: list[tuple[str, str]]) -> None:
    text = GOOD + "".join(line + end for line, end in lines)
    with tempfile.TemporaryDirectory() as folder:
        pairs = read_pairs(write(Path(folder), text))
    wanted = [pair for pair in map(parse_pair, [*GOOD.split("\n"), *(line for line, _ in lines)]) if pair]
    assert list(zip(pairs.queries, pairs.responses, strict=True)) == wanted
    # "\r" before an empty line that ends in "\n" is one end of a line, as on Windows
    merged = sum(a[1] == "\r" and b == ("", "\n") for a, b in pairwise(lines))
    assert pairs.reading.lines == 40 + len(lines) - merged


no_bar = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|\n\r\0\ufeff"), min_size=2, max_size=8)


@given(st.lists(st.tuples(no_bar, no_bar)))
def test_pairs_that_were_written_are_read_again(written: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = read_pairs(write(Path(folder), GOOD + "".join(f"{q}|{r}\n" for q, r in written)))
        RECIPE.keep(first, Path(folder))
        again = read_pairs(Path(folder) / "pairs.txt")
    assert (again.queries, again.responses) == (first.queries, first.responses)
    assert again.unique_queries == first.unique_queries and again.reading.used == again.reading.lines


def test_what_is_not_used_is_counted_by_its_reason() -> None:
    lines = [
        "# shop hours",
        "",
        "open at nine|YES",
        "open at ten",
        "x|Y",
        "closed|  ",
        "   ",
        "# | #",
        "Open at nine|yes",
    ]
    reading = survey(lines)
    assert (reading.used, reading.ignored, reading.blank, reading.comments) == (2, 4, 2, 1)
    assert dict(reading.reasons) == {"no |": 1, "query under 2 characters": 2, "no reply": 1}
    assert (reading.first_ignored_line, reading.first_ignored, reading.duplicates) == (4, '"open at ten"', 1)
    assert reading.sentences()[0].startswith("most lines are ignored: 2 of 9 lines used; 4 ignored (")
    assert reading.sentences()[0].endswith('the first: line 4 "open at ten"; 1 comment; 2 blank')


@given(st.lists(st.text(st.sampled_from("ab|#\t ,É" + INSIDE), max_size=70)))
def test_every_line_is_counted_once(lines: list[str]) -> None:
    reading = survey(lines)
    assert reading.used + reading.ignored + reading.blank + reading.comments == reading.lines == len(lines)
    assert reading.used == sum(parse_pair(line) is not None for line in lines)
    assert sum(count for _, count in reading.reasons) == reading.ignored
    assert bool(reading.ignored) == bool(reading.first_ignored_line)
    assert all(sentence.isprintable() for sentence in reading.sentences())


@pytest.mark.parametrize(("used", "ignored", "warned"), [(20, 19, False), (20, 20, False), (20, 21, True)])
def test_a_warning_where_most_lines_are_ignored(tmp_path: Path, used: int, ignored: int, warned: bool) -> None:
    lines = [f"query {i}|R" for i in range(used)] + ["nothing"] * ignored + ["# why"] * 50 + [""] * 50
    pairs = read_pairs(write(tmp_path, "\n".join(lines)))
    assert pairs.reading.warning == warned
    assert pairs.sentences()[0].startswith("most lines are ignored") == warned


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("ring the bell\tDING", "most hold one tab: write | instead of it"),
        ("ring the bell;DING", "most hold one semicolon: write | instead of it"),
        ("ring the bell,DING", "most hold one comma: write | instead of it"),
        ("ring\tthe\tbell", ""),
        ("ring the bell", ""),
    ],
)
def test_another_separator_is_noticed(tmp_path: Path, line: str, hint: str) -> None:
    pairs = read_pairs(write(tmp_path, GOOD + f"{line}\n{line}\nno idea\n"))
    assert ("instead" in pairs.sentences()[0]) == bool(hint) and hint in pairs.sentences()[0]
    with pytest.raises(LevshaError) as caught:
        read_pairs(write(tmp_path, f"{line}\n" * 30))
    assert hint in str(caught.value) and 'the first: line 1 "ring' in str(caught.value)


def test_cuts_are_counted(tmp_path: Path) -> None:
    long = f"{'q' * 61}|A\nfits|{'r' * 50}\ntoo long|{'r' * 51}\nall right|{'r' * 25}{'ß' * 12}\n"
    pairs = read_pairs(write(tmp_path, GOOD + long))
    reading = pairs.reading
    assert (reading.cut_queries, reading.cut_responses, reading.first_cut_line) == (1, 1, 41)
    assert "cut: 1 query longer than 60 bytes and 1 reply longer than 50 bytes, the first: line 41" in pairs.sentences()


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    odd = "# hello|WORLD\nring\x07bell|DING\nԲարև|HI\n"
    assert read_pairs(write(tmp_path, GOOD + odd)).sentences()[1:] == [
        "queries that start with #: 1, the first: line 41; a comment must hold no |",
        "queries with control characters: 1, the first: line 42; no chat lets them through",
        "queries with capitals that are not folded: 1, the first: line 43; write them small: a query in capitals is another query",
    ]


def test_a_clean_file_has_one_sentence(tmp_path: Path) -> None:
    assert read_pairs(write(tmp_path, GOOD)).sentences() == ["40 of 40 lines used"]
    assert Pairs((b"hi",), (b"HO",), "").reading == Reading()


def test_queries_in_capitals_are_the_same_queries(tmp_path: Path) -> None:
    words = ["привет", "été", "λογος", "ёжик", "hello"]
    text = "".join(f"{word} {i}|A\n{word.upper()} {i}|B\n" for word in words for i in range(4))
    pairs = read_pairs(write(tmp_path, text))
    assert len(pairs.queries) == 40 and len(pairs.unique_queries) == 20 and pairs.folds
    assert all(replies == {b"A", b"B"} for replies in pairs.replies)
    assert make_samples(pairs).query_N.max() == 19


@pytest.mark.parametrize(("query", "folds"), [("hello", False), ("中文 ok", False), ("привет", True), ("Été", True)])
def test_a_chat_folds_where_the_queries_have_such_letters(tmp_path: Path, query: str, folds: bool) -> None:
    assert read_pairs(write(tmp_path, GOOD + f"{query}|HI\n")).folds == folds


@given(st.text())
def test_a_typed_line_is_folded_only_for_a_net_that_learnt_folded_queries(line: str) -> None:
    typed, folded = typed_query(line), typed_query(line, folds=True)
    assert typed == typed_query(typed.decode("utf-8", "surrogateescape"))
    heard, lowered = (QUERY_NGRAMS.run(text_rows([query], 60).astype(np.int64)) for query in (typed, typed.lower()))
    assert heard.tolist() == lowered.tolist()
    assert len(folded) == len(typed) and (folded == typed.lower() or not typed.isascii())


def test_nets_of_files_that_read_as_ever_stay_valid_and_others_do_not(tmp_path: Path) -> None:
    for more in ("", "no bar\n", "привет|Привет\n", "HELLO|hi\r\n", "中\tԲ|É\n"):
        assert read_pairs(write(tmp_path, GOOD + more)).digest == hashlib.sha256((GOOD + more).encode()).hexdigest()
    for more in ("hello|A\u2028B\n", "ПРИВЕТ|HI\n", "Été|HI\n"):
        assert read_pairs(write(tmp_path, GOOD + more)).digest != hashlib.sha256((GOOD + more).encode()).hexdigest()


def test_the_line_of_a_bad_byte_is_counted_as_lines_are(tmp_path: Path) -> None:
    with pytest.raises(LevshaError, match="line 4: byte 0xe9 is not UTF-8"):
        read_pairs(write(tmp_path, b"\xef\xbb\xbfone|A\rtwo|B\r\nthr\x0bee|C\nfour \xe9|D\n"))


def corpus() -> Pairs:
    return RECIPE.read(TinyChat())


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
    given = read_z80ai(SHARED / "model.npz", 256)
    samples = make_samples(pairs)
    logits = sample_logits(graph_predictor(z80ai_graph(given)), pairs, samples, np.arange(len(samples.target_N)))
    assert given.charset == pairs.charset
    assert round(accuracy(logits, samples.target_N), 1) == 79.6
