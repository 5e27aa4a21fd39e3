"""fold() and the chip's chat_fold(): the same letters, the same bytes."""

import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levsha.data.fold import CAPITALS, fold, has_folded_letters, unknown_capitals
from levsha.targets import TARGETS

FLAGS = [
    "-std=c99",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover",
]
# Each text lies in an allocation of just its length, so that the sanitizer sees a step beside it.
MAIN = """#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "fold.h"
int main(void)
{
    int n;
    while ((n = getchar()) != EOF) {
        uint8_t *text = malloc((size_t)n);
        if (fread(text, 1, (size_t)n, stdin) != (size_t)n) return 1;
        chat_fold(text, (uint8_t)n);
        fwrite(text, 1, (size_t)n, stdout);
        free(text);
    }
    return 0;
}
"""
letters = st.text(st.sampled_from(CAPITALS + CAPITALS.lower() + "Zz ς×÷ßÿ|"))
broken = st.lists(st.sampled_from([b"\xc3", b"\xce", b"\xcf", b"\xd0", b"\x80", b"\x97", b"\xa2", b"\xaf", b"A"]))


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory):
    if TARGETS["host"].missing():
        pytest.skip(TARGETS["host"].missing())
    folder = tmp_path_factory.mktemp("fold")
    (folder / "fold.h").write_text(files("levsha.applications").joinpath("fold.h").read_text())
    (folder / "main.c").write_text(MAIN)
    subprocess.run(["gcc", *FLAGS, "-o", "fold", "main.c"], cwd=folder, check=True)

    def run(texts: list[bytes]) -> bytes:
        typed = b"".join(bytes([len(text)]) + text for text in texts)
        return subprocess.run([folder / "fold"], input=typed, capture_output=True, check=True).stdout

    return run


def test_every_capital_folds_to_its_small_letter_and_stays_as_long() -> None:
    for capital in "ABCXYZ" + CAPITALS:
        folded = fold(capital.encode())
        assert folded.decode() == capital.lower() and len(folded) == len(capital.encode())


def test_no_other_character_changes_but_a_final_sigma() -> None:
    known = set(CAPITALS) | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    others = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and chr(c) not in known]
    changed = [c for c in others if fold(c.encode()) != c.encode()]
    assert changed == ["ς"]


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("ПРИВЕТ", "привет"),
        ("Ёлка ЂЏ", "ёлка ђџ"),
        ("ÇA VA, ÞÓR? 3×4", "ça va, þór? 3×4"),
        ("ΚΑΛΟΣ ΚΌΣΜΟΣ", "καλοσ κΌσμοσ"),
        ("καλος", "καλοσ"),
    ],
)
def test_words(typed: str, folded: str) -> None:
    assert fold(typed.encode()).decode() == folded


@given(letters)
def test_fold_is_lower_letter_by_letter_but_for_the_final_sigma(text: str) -> None:
    assert fold(text.encode()).decode() == "".join(c.lower() for c in text).replace("ς", "σ")


@given(letters.filter(lambda text: not set("ßÿ") & set(text)))
def test_a_word_is_one_word_in_capitals_and_in_small_letters(text: str) -> None:
    assert fold(text.upper().encode()) == fold(text.lower().encode())


@given(st.binary() | broken.map(b"".join))
def test_fold_is_idempotent_and_keeps_the_length_of_any_bytes(text: bytes) -> None:
    assert fold(fold(text)) == fold(text) and len(fold(text)) == len(text)


@given(st.binary().map(lambda text: bytes(byte & 127 for byte in text)))
def test_ascii_is_lowered_as_ever(text: bytes) -> None:
    assert fold(text) == text.lower() and not has_folded_letters(text)


@given(st.text())
def test_a_chat_has_to_fold_where_another_case_would_be_typed(text: str) -> None:
    beyond_ascii = [c for c in text if c in CAPITALS + CAPITALS.lower() + "ς"]
    assert has_folded_letters(text.encode()) == bool(beyond_ascii)


def test_unknown_capitals_are_those_of_other_scripts() -> None:
    assert unknown_capitals("Hello ПРИВЕТ Ñ ß 中") == ""
    assert unknown_capitals("ԲԱՐև Ά Ő Ґ Բ") == "ԲԱՐΆŐҐ"


def test_the_chip_folds_every_sequence_of_one_and_two_bytes_alike(chip) -> None:
    texts = [bytes([a]) for a in range(256)] + [bytes([a, b]) for a in range(256) for b in range(256)]
    assert chip(texts) == b"".join(map(fold, texts))


def test_the_chip_folds_any_line_alike(chip) -> None:
    rng = np.random.default_rng(5)
    crowd = np.array(
        [0, 0x41, 0x5A, 0x7F, 0x80, 0x82, 0x8F, 0x90, 0x97, 0x9E, 0xA2, 0xAF, 0xC3, 0xCE, 0xCF, 0xD0, 0xD1]
    )
    texts = [rng.integers(0, 256, rng.integers(0, 256), np.uint8).tobytes() for _ in range(2000)]
    texts += [rng.choice(crowd, rng.integers(0, 61)).astype(np.uint8).tobytes() for _ in range(20000)]
    assert chip(texts) == b"".join(map(fold, texts))


def test_the_chip_pays_little_flash(tmp_path: Path) -> None:
    if TARGETS["uno"].missing():
        pytest.skip(TARGETS["uno"].missing())
    (tmp_path / "fold.h").write_text(files("levsha.applications").joinpath("fold.h").read_text())
    use = (
        '#include <stdint.h>\n#include "fold.h"\nextern uint8_t text[60];\nvoid f(uint8_t n) { chat_fold(text, n); }\n'
    )
    (tmp_path / "f.c").write_text(use)
    subprocess.run(
        ["avr-gcc", "-std=c99", "-Os", "-Wall", "-Werror", "-mmcu=atmega328p", "-c", "f.c"], cwd=tmp_path, check=True
    )
    sizes = subprocess.run(["avr-size", "f.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    flash, data, bss = map(int, sizes.split("\n")[1].split()[:3])
    assert flash <= 128 and data == bss == 0
