"""Readers of samples: every kind reads back as the test wrote it, and what is refused says where, what and what to do."""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from levsha.data.area import average_areas
from levsha.data.idx import TYPES, parse_idx
from levsha.data.samples import Samples, read_samples
from levsha.errors import LevshaError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype(np.float32)
Y = np.array([0, 2, 1, 0, 1, 2])
PIXELS = RNG.integers(0, 256, (4, 5, 7), dtype=np.uint8)  # (N, rows, columns)


def refusal(path: Path, **options) -> str:
    with pytest.raises(LevshaError) as caught:
        read_samples(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def idx_bytes(array: np.ndarray) -> bytes:
    kind = next(code for code, name in TYPES.items() if np.dtype(name) == array.dtype.newbyteorder(">"))
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def npz(folder: Path, **arrays) -> Path:
    path = folder / "a.npz"
    np.savez(path, **arrays)
    return path


def csv(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def picture(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def deep_png() -> bytes:
    """A PNG of one pixel of 16 bits a colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes((1 + 42) * 5)))
        + chunk(b"IEND", b"")
    )


def class_folder(folder: Path) -> Path:
    for n, name in enumerate(("dog", "cat", "cat", "eel")):
        picture(folder / "pets" / name / f"{n}.png", PIXELS[n])
    return folder / "pets"


@pytest.mark.parametrize(
    "names", [("x", "y"), ("X", "labels"), ("data", "targets"), ("images", "Y"), ("inputs", "label")]
)
def test_npz_under_the_names_people_use(tmp_path: Path, names: tuple[str, str]) -> None:
    found = read_samples(npz(tmp_path, **dict(zip(names, (X, Y), strict=True))))
    assert np.array_equal(found.x, X) and found.x.dtype == np.float32 and found.y is not None
    assert np.array_equal(found.y, Y) and found.y.dtype == np.int64 and found.is_classes and len(found) == 6
    assert found.notices[0] == "a.npz: 6 samples of shape (3,), float32."


@given(
    hnp.arrays(
        st.sampled_from(["u1", "<i2", ">i4", "i8", "<f4", ">f8", "f2"]), st.tuples(st.integers(1, 4), st.integers(1, 4)),
        elements=st.integers(0, 100),
    )
)  # fmt: skip
def test_arrays_keep_type_and_values(tmp_path_factory: pytest.TempPathFactory, x: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("a")
    np.save(folder / "a.npy", x)
    np.savez_compressed(folder / "a.npz", x=x)
    save_file({"x": np.ascontiguousarray(x.astype(x.dtype.newbyteorder("<")))}, folder / "a.safetensors")
    found = [read_samples(folder / f"a.{kind}") for kind in ("npy", "npz", "safetensors")]
    for samples in found:
        assert np.array_equal(samples.x, x) and samples.y is None and samples.x.dtype.isnative
        assert samples.x.dtype == (np.float32 if x.dtype == np.float16 else x.dtype.newbyteorder("="))
    assert len({samples.digest for samples in found}) == 1 and len(found[0].digest) == 64


def test_a_single_array_of_another_name_is_the_inputs(tmp_path: Path) -> None:
    found = read_samples(npz(tmp_path, pixels=X > 0))
    assert found.x.dtype == np.uint8 and found.y is None and "without answers" in found.notices[0]


def test_answers_of_another_name_and_arrays_left_out(tmp_path: Path) -> None:
    found = read_samples(npz(tmp_path, x=X, truth=X[:, :2], ids=Y), target="truth")
    assert found.y is not None and found.y.dtype == np.float32 and np.array_equal(found.y, X[:, :2])
    assert found.notices[-1] == "Arrays that are not used: 'ids'."


@pytest.mark.parametrize(
    ("y", "as_classes", "want", "names"),
    [
        (Y.astype(np.uint8), None, Y, ()),
        (Y[:, None], None, Y, ()),
        (Y > 0, None, (Y > 0).astype(int), ()),
        (np.eye(3, dtype=int)[Y], None, Y, ()),
        (Y.astype(float), None, Y.astype(float), ()),
        (Y.astype(float), True, Y, ()),
        (Y, False, Y.astype(float), ()),
        (np.array([[3, 4], [1, 0]] * 3), None, np.array([[3.0, 4], [1, 0]] * 3), ()),
        (np.array(["b", "a", "c", "b", "c", "a"]), None, np.array([1, 0, 2, 1, 2, 0]), ("a", "b", "c")),
        (np.array([b"no", b"yes"] * 3), None, np.array([0, 1] * 3), ("no", "yes")),
    ],
)
def test_kinds_of_answers(
    tmp_path: Path, y: np.ndarray, as_classes: bool | None, want: np.ndarray, names: tuple
) -> None:
    found = read_samples(npz(tmp_path, x=X, y=y), as_classes=as_classes)
    assert found.y is not None and np.array_equal(found.y, want) and found.classes == names
    assert found.y.dtype == want.dtype and found.is_classes == (want.dtype.kind == "i")


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        (
            {"x": X, "data": X},
            "'x' or 'data' may be the inputs; its arrays are 'x', 'data'; save it with numpy.savez(path, x=x, y=y)",
        ),
        ({"x": X, "y": Y, "labels": Y}, "'y' or 'labels' may be the answers"),
        (
            {"x_train": X, "x_test": X},
            "holds no array for the inputs; its arrays are 'x_train', 'x_test'; call them 'x' and 'y'",
        ),
        ({"y": Y}, "holds no array for the inputs"),
        ({}, "its arrays are none"),
        ({"x": X, "y": Y[:4]}, "has 6 samples and 4 answers; give one answer for each sample"),
        (
            {"x": np.where(X[4, 1] == X, np.nan, X)},
            "x: row 4 (from 0) holds nan; in all 1 values in 1 of 6 rows are not finite",
        ),
        ({"x": np.full((3, 2), np.inf)}, "x: row 0 (from 0) holds inf; in all 6 values in 3 of 3 rows"),
        ({"x": X, "y": X[:, 0] * np.inf}, "y: row 0 (from 0) holds"),
        ({"x": np.array([["a", "b"]])}, "x: hold text; convert it with .astype('float32')"),
        ({"x": X + 1j}, "x: hold complex numbers"),
        ({"x": np.array([["2024-01-01"]], dtype="M8[D]")}, "x: hold dates"),
        ({"x": X[0]}, "x: is one row of 3 numbers; wanted is (samples, ...): write x[None]"),
        ({"x": np.float32(3)}, "x: is a single number"),
        ({"x": X[:0]}, "x: is empty, of shape (0, 3)"),
        (
            {"x": X, "y": Y - 1},
            "y: row 0 holds -1; integers are classes, 0 to 65535; write numbers to predict as floats",
        ),
        ({"x": X, "y": Y * 100_000}, "y: row 1 holds 200000"),
        ({"x": X, "y": np.zeros((6, 2, 2))}, "y: is of shape (6, 2, 2); allowed are (N,) and (N, outputs)"),
        ({"x": X, "y": np.array(["a", ""] * 3)}, "y: row 1 holds ''; give every class a printable name"),
        ({"x": X, "y": np.array([b"\xff"] * 6)}, "y: holds text that is not UTF-8"),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, arrays: dict, text: str) -> None:
    said = refusal(npz(tmp_path, **arrays))
    assert said.startswith(str(tmp_path / "a.npz")) and text in said


def test_whole_floats_as_classes_only(tmp_path: Path) -> None:
    assert "row 1 holds 0.5; classes are whole numbers" in refusal(
        npz(tmp_path, x=X[:2], y=np.array([1, 0.5])), as_classes=True
    )


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    objects = np.array([Trap(), None], dtype=object)
    np.savez(tmp_path / "a.npz", x=objects)
    np.save(tmp_path / "a.npy", objects)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(Trap()))
    for name in ("a.npz", "a.npy"):
        assert "holds Python objects, which are never unpickled; write an array" in refusal(tmp_path / name)
    assert "is no .npy file, it begins with" in refusal(tmp_path / "b.npy")
    assert "is a pickle, which is never read" in refusal(tmp_path / "c.pkl")
    assert not (tmp_path / "sprung").exists()


def test_damaged_arrays(tmp_path: Path) -> None:
    whole = npz(tmp_path, x=X, y=Y).read_bytes()
    np.save(tmp_path / "a.npy", X)
    npy = (tmp_path / "a.npy").read_bytes()
    for data in (whole[:-30], whole[: len(whole) // 2], whole[:90] + bytes(40) + whole[130:]):
        (tmp_path / "a.npz").write_bytes(data)
        assert "is damaged or cut short" in refusal(tmp_path / "a.npz")
    for data in (npy[:-1], npy[:20], npy[:8]):
        (tmp_path / "a.npy").write_bytes(data)
        assert "is damaged or cut short" in refusal(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(whole)
    assert "is no .npy file, it begins with b'PK" in refusal(tmp_path / "a.npy")
    (tmp_path / "a.npz").write_bytes(b"")
    assert "a.npz: is empty" in refusal(tmp_path / "a.npz")
    torch.save({"x": torch.zeros(2)}, tmp_path / "a.npz")
    assert "was written by torch.save, not by numpy" in refusal(tmp_path / "a.npz")
    (tmp_path / "a.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    assert "is no sound .safetensors file" in refusal(tmp_path / "a.safetensors")
    save_torch({"x": torch.zeros(2, 3, dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    assert "holds numbers of a type that numpy has not; save them as float32" in refusal(tmp_path / "a.safetensors")


@example(492, 64)  # the version of zip that a member needs
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_gives_samples_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("a")
    kept = io.BytesIO()
    np.savez(kept, x=X, y=Y)
    np.save(folder / "a.npy", X)
    for name, whole in (("a.npz", kept.getvalue()), ("a.npy", (folder / "a.npy").read_bytes())):
        data = bytearray(whole)
        data[at % len(data)] = byte
        (folder / name).write_bytes(data)
        try:
            assert isinstance(read_samples(folder / name), Samples)
        except LevshaError as error:
            assert str(folder) in str(error)


def test_a_table(tmp_path: Path) -> None:
    text = '"T, °C",sun,y\n1.5,2,0\n-3,4,1\n5,,0\n7,8,2\n'
    for name in ("t.csv", "t.csv.gz", "t.txt"):
        found = read_samples(csv(tmp_path, text, name))
        assert found.x.tolist() == [[1.5, 2], [-3, 4], [7, 8]] and found.y is not None and found.y.tolist() == [0, 1, 2]
        assert found.names == ("T", "sun") and found.units == ("°C", "") and found.x.dtype == np.float64
        assert f"{name}: 3 of 4 rows and 3 of 3 columns are used, separated by commas." == found.notices[0]
        assert "1 of 4 rows are left out: a cell is empty" in " ".join(found.notices)
        assert "y, 0 to 2, is read as numbers of classes." in found.notices


@pytest.mark.parametrize(
    ("header", "cells", "options", "want", "names"),
    [
        ("y", ["0.5", "2", "3"], {}, [0.5, 2, 3], ()),
        ("y", ["5", "2", "3"], {"as_classes": False}, [5.0, 2, 3], ()),
        ("y", ["-5", "2", "3"], {}, [-5.0, 2, 3], ()),
        ("Target [m]", ["1.0", "2.0", "3.0"], {}, [1.0, 2, 3], ()),
        ("label", ["1.0", "2.0", "0"], {}, [1, 2, 0], ()),
        ("class", ["up", "down", "up"], {}, [1, 0, 1], ("down", "up")),
        ("label", ["True", "FALSE", "true"], {}, [1, 0, 1], ("false", "true")),
        ("label", ["1", "2", "x"], {}, [0, 1, 2], ("1", "2", "x")),
        ("depth", ["1.5", "2", "3"], {"target": "depth"}, [1.5, 2, 3], ()),
        ("depth", ["1.5", "2", "3"], {"target": ["depth", "b"]}, [[1.5, 0.25], [2, 0.25], [3, 0.25]], ()),
        ("depth", ["1.5", "2", "3"], {}, None, ()),
        ("y", ["1.5", "2", "3"], {"drop": ["b"]}, [1.5, 2, 3], ()),
    ],
)
def test_answers_of_a_table(
    tmp_path: Path, header: str, cells: list, options: dict, want: list | None, names: tuple
) -> None:
    text = f"a,b,{header}\n" + "".join(f"{n}.5,0.25,{cell}\n" for n, cell in enumerate(cells))
    found = read_samples(csv(tmp_path, text), **options)
    assert found.classes == names and (found.y is None) == (want is None)
    if found.y is not None and want is not None:
        assert found.y.tolist() == want and found.y.dtype == np.array(want).dtype
    assert any("Right answers: " in notice or "Nothing is known" in notice for notice in found.notices)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a,b,y\n", {}, "has no rows below the header"),
        ("a,b\n1,x\n2,z\n", {}, "column 2 'b': is text ('x' in line 2)"),
        ("a,b\n1,2\n3,4\n5,x\n", {}, "line 4, column 2 'b': is 'x'"),
        ("a,b\n1,2\n3,inf\n4,5\n", {}, "line 3, column 2 'b': is 'inf'"),
        ("a,b\n1,2\n3\n", {}, "line 3: has 1 cells, the header has 2"),
        ("a,b\n1,2\n", {"target": "c"}, "has no column 'c' for --target-column; its columns are a, b"),
        ("a,b\n1,2\n", {"drop": ["c"]}, "has no column 'c' for --drop"),
        ("a,b\n1,2\n", {"drop": ["b"], "target": "b"}, "'b' is the target and in --drop"),
        ("y,label\n1,2\n", {}, "no column of inputs is left beside y, label"),
        ("a,label\n1,2.5\n3,1\n", {}, "line 2, column 2 'label': is '2.5'; classes are words or whole numbers from 0"),
        ("a,label\n1,-2\n3,1\n", {}, "line 2, column 2 'label': is '-2'"),
        ("a,b\n,1\n,2\n3,4\n", {}, "too many, 2 of 3 rows are left out"),
        ("", {}, "is empty"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path: Path, text: str, options: dict, said: str) -> None:
    assert said in refusal(csv(tmp_path, text), **options)


def test_one_row_is_enough(tmp_path: Path) -> None:
    assert read_samples(csv(tmp_path, "a,b\n1,2\n")).x.tolist() == [[1, 2]]


def test_folders_of_images(tmp_path: Path) -> None:
    pets = class_folder(tmp_path)
    (pets / ".DS_Store").write_bytes(b"x")
    (pets / "cat" / "notes.txt").write_text("x")
    found = read_samples(pets)
    assert (
        np.array_equal(found.x[:, 0], PIXELS[[1, 2, 0, 3]])
        and found.x.shape == (4, 1, 5, 7)
        and found.x.dtype == np.uint8
    )
    assert found.y is not None and found.y.tolist() == [0, 0, 1, 2] and found.classes == ("cat", "dog", "eel")
    assert found.notices[0] == "pets: 4 images of 7 x 5, grey, in 3 classes."
    assert "Left out, no PNG or JPEG images: 1, the first cat/notes.txt." in found.notices
    plain = read_samples(pets / "cat")
    assert np.array_equal(plain.x[:, 0], PIXELS[1:3]) and plain.y is None and plain.classes == ()


def test_colours_and_transparency(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    for n, (array, mode) in enumerate([(colour[..., :3], None), (colour, None), (colour[..., :3], "P")]):
        picture(tmp_path / "c" / f"{n}.png", array, mode)
    picture(tmp_path / "c" / "9.jpeg", np.full((5, 7, 3), 77, np.uint8))
    found = read_samples(tmp_path / "c")
    assert found.x.shape == (4, 3, 5, 7) and np.array_equal(found.x[0], colour[..., :3].transpose(2, 0, 1))
    assert np.array_equal(found.x[1], found.x[0]) and (found.x[3] == 77).all()
    assert "Transparency was left out: 1 images." in found.notices
    for n, mode in enumerate((None, "1")):
        picture(tmp_path / "grey" / f"{n}.png", PIXELS[0], mode)
    grey = read_samples(tmp_path / "grey")
    assert np.array_equal(grey.x[0, 0], PIXELS[0]) and set(np.unique(grey.x[1])) <= {0, 255}
    picture(tmp_path / "c" / "a.png", PIXELS[0])
    said = refusal(tmp_path / "c")
    assert (
        said
        == f"{tmp_path / 'c'}: holds images of 2 kinds: 4 in colour, 1 grey; {tmp_path / 'c/a.png'} is grey; save them all grey, or all in colour."
    )


def test_sizes_of_images(tmp_path: Path) -> None:
    pets = class_folder(tmp_path)
    picture(pets / "eel" / "b.png", np.full((9, 7), 5, np.uint8))
    said = refusal(pets)
    assert (
        said
        == f"{pets}: holds images of 2 sizes: 4 of 7 x 5, 1 of 7 x 9; {pets / 'eel/b.png'} is of 7 x 9; make them alike, or resize all: --size 5."
    )
    small = read_samples(pets, size=5).x[:, 0]
    assert np.array_equal(small[:4], average_areas(PIXELS[[1, 2, 0, 3]], 5, 5)) and (small[4] == 5).all()
    found = read_samples(pets, size=7)
    assert found.x.shape == (5, 1, 7, 7) and "Resized to 7 x 7 pixels: 5 of 5 images." in found.notices
    assert "--size: is 0; allowed are 1 to 4096" in refusal(pets, size=0)


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    pets = class_folder(tmp_path)
    whole = (pets / "cat" / "1.png").read_bytes()
    for data in (b"", b"GIF89a", whole[:40], whole[:-40]):
        (pets / "cat" / "1.png").write_bytes(data)
        assert f"{pets / 'cat' / '1.png'}: is no sound PNG or JPEG image (" in refusal(pets)
    Image.fromarray(np.zeros((5, 7), np.uint16)).save(pets / "cat" / "1.png")
    assert "1.png: has more than 8 bits a channel" in refusal(pets)
    (pets / "cat" / "1.png").write_bytes(deep_png())
    assert "1.png: has more than 8 bits a channel" in refusal(pets), "which pillow cuts without a word"
    (pets / "cat" / "1.png").unlink()
    Image.fromarray(np.zeros((5, 7, 4), np.uint8), "CMYK").save(pets / "cat" / "1.jpg")
    assert "1.jpg: has colours as CMYK, for printing; save it as RGB or grey." in refusal(pets)


def test_foreign_folders(tmp_path: Path) -> None:
    assert "is an empty folder; wanted are PNG or JPEG images" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "src").mkdir()
    assert f"{tmp_path}: holds src/, a.txt; wanted are PNG or JPEG images" in refusal(tmp_path)
    class_folder(tmp_path).rename(tmp_path / "train")
    assert f"give {tmp_path / 'train'}" in refusal(tmp_path)
    pets = class_folder(tmp_path / "more")
    (pets / "ant").mkdir()
    assert f"{pets / 'ant'}: holds no PNG or JPEG image; add some, or remove this class" in refusal(pets)
    (pets / "ant").rmdir()
    picture(pets / "a.png", PIXELS[0])
    assert "holds images (a.png) beside folders (cat)" in refusal(pets)


def write_idx(folder: Path, part: str = "train", count: int = 4, suffix: str = "") -> Path:
    for kind, array in (("images-idx3", PIXELS), ("labels-idx1", Y[:count].astype(np.uint8))):
        data = idx_bytes(array)
        (folder / f"{part}-{kind}-ubyte{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    return folder / f"{part}-images-idx3-ubyte{suffix}"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files(tmp_path: Path, suffix: str) -> None:
    for path in (write_idx(tmp_path, suffix=suffix), tmp_path):
        found = read_samples(path)
        assert np.array_equal(found.x[:, 0], PIXELS) and found.x.shape == (4, 1, 5, 7) and found.x.dtype == np.uint8
        assert found.y is not None and found.y.tolist() == Y[:4].tolist() and found.y.dtype == np.int64
    write_idx(tmp_path, "t10k", suffix=suffix)
    assert read_samples(tmp_path).notices[-1] == f"Left out: t10k-images-idx3-ubyte{suffix}."
    (tmp_path / f"train-labels-idx1-ubyte{suffix}").unlink()
    assert read_samples(tmp_path).y is None


@given(
    hnp.arrays(
        st.sampled_from(["u1", "i1", ">i2", ">i4", ">f4", ">f8"]), hnp.array_shapes(max_dims=4, max_side=5), elements=st.integers(0, 99)
    )
)  # fmt: skip
def test_idx_of_any_type_and_shape(array: np.ndarray) -> None:
    found = parse_idx(idx_bytes(array), "a")
    assert np.array_equal(found, array) and found.dtype == array.dtype.newbyteorder("=")


@given(
    st.one_of(
        st.binary(max_size=64),
        st.builds(lambda kind, axes, rest: bytes([0, 0, kind, axes]) + rest, st.sampled_from(list(TYPES)), st.integers(0, 255), st.binary(max_size=64)),
        st.builds(lambda sizes, rest: bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + rest, st.lists(st.integers(0, 2**32 - 1), max_size=40), st.binary(max_size=9)),
    )
)  # fmt: skip
def test_any_bytes_as_idx_give_an_array_or_a_sentence(data: bytes) -> None:
    try:
        assert parse_idx(data, "f").size > 0
    except LevshaError as error:
        assert str(error).startswith("f: ")


def test_idx_files_that_are_refused(tmp_path: Path) -> None:
    path = write_idx(tmp_path)
    whole, labels = path.read_bytes(), tmp_path / "train-labels-idx1-ubyte"
    for data, text in (
        (whole[:-1], "has 155 bytes, but 156 belong to the 4 x 5 x 7 numbers its header tells of"),
        (whole + b"\0", "has 157 bytes"),
        (whole[:9], "is cut short: 9 bytes, its header alone has 16"),
        (b"\x89PNG" + whole, "is no IDX file, it begins with 89 50 4e 47"),
        (b"", "is empty"),
        (gzip.compress(whole)[:-9], "is damaged gzip"),
        (idx_bytes(np.zeros((0, 5, 7), np.uint8)), "give one sample or more"),
    ):
        path.write_bytes(data)
        assert refusal(path).startswith(f"{path}: ") and text in refusal(path)
    path.write_bytes(whole)
    assert "holds 4 single numbers, as labels are; give the file of the images" in refusal(labels)
    write_idx(tmp_path, count=3)
    assert "has 4 samples and 3 answers" in refusal(path)
    labels.write_bytes(idx_bytes(PIXELS))
    assert "a file of labels has one number for each image" in refusal(path)
    write_idx(tmp_path)
    path.rename(tmp_path / "a-images-idx3-ubyte")
    write_idx(tmp_path, "b")
    assert "give one of them" in refusal(tmp_path)
    assert "they can be reduced, not enlarged: give 5 or less" in refusal(tmp_path / "b-images-idx3-ubyte", size=6)
    assert read_samples(tmp_path / "b-images-idx3-ubyte", size=3).x.shape == (4, 1, 3, 3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("net.pth", "that is a model; --data takes samples"), ("net.onnx", "that is a model"), ("a.png", "is a single image; give the folder"),
        ("a.xlsx", "is of no kind that is read; allowed are .npz with x and y"), ("noend", "is of no kind that is read"),
    ],
)  # fmt: skip
def test_files_of_another_kind(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(b"1234")
    assert text in refusal(tmp_path / name)


def test_missing_files_and_flags_that_do_not_fit(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.npz") == f"{tmp_path / 'a.npz'}: does not exist; give a file or a folder of samples."
    (tmp_path / "b.npz").symlink_to(tmp_path / "nowhere")
    assert "it is a link to nothing" in refusal(tmp_path / "b.npz")
    path = npz(tmp_path, x=X, y=Y)
    assert "--size: is 3, but" in refusal(path, size=3) and "images of bytes (rows, columns) can be reduced" in refusal(
        path, size=3
    )
    assert "--size: is 3; it is for images" in refusal(csv(tmp_path, "a,b\n1,2\n"), size=3)
    assert read_samples(npz(tmp_path, x=PIXELS), size=3).x.shape == (4, 3, 3)
    assert "--drop: is ['a']; it is for columns" in refusal(path, drop=["a"])
    assert "--target-column: are 2 names" in refusal(path, target=["a", "b"])
    assert "holds no array for the answers, 'z'" in refusal(path, target="z")
    assert "--target-column: is 'y'; it is for columns" in refusal(tmp_path, target="y")


def test_an_archive_without_arrays(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.txt", "no array")
    assert "its arrays are none" in refusal(tmp_path / "a.npz")


def test_digests_and_rows(tmp_path: Path) -> None:
    found = read_samples(npz(tmp_path, x=X, y=Y))
    again = read_samples(npz(tmp_path, x=X, y=Y, other=X))
    assert found.digest == again.digest != read_samples(npz(tmp_path, x=X, y=Y[::-1])).digest
    part = found.rows(np.array([4, 0]))
    assert np.array_equal(part.x, X[[4, 0]]) and part.y is not None and part.y.tolist() == [1, 0]
    assert part.digest != found.digest
