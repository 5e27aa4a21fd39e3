"""A run directory: what was asked, on what data, what came out, and who is writing in it."""

from __future__ import annotations

import atexit
import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from levsha.errors import LevshaError, warn
from levsha.files import read_kept, remove_stale
from levsha.ir import Graph
from levsha.net import Net
from levsha.targets import Conversation, Firmware, Target, find_image

FORMAT = 2  # of results.json; 1 had no notices, and the chip's columns under other names
ROOMS = ("splits", "training", "nets", "firmware", "certificates", "measurements")


class Run:
    """Reads and writes the files of one run; see docs/formats.md for the list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make the folder and keep other writers out; LevshaError where it cannot be written or is in use."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / ".lock", "w")  # noqa: SIM115 (held open to hold the lock)
        except OSError as error:
            raise LevshaError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another folder with --out."
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise LevshaError(
                    f"{self.folder}: another levsha run is at work in it; wait for it, or choose another folder with --out."
                ) from None
            for room in (self.folder, *(self.folder / name for name in ROOMS)):
                remove_stale(room, "**/.*.tmp" if room != self.folder else ".*.tmp")
            yield

    def results(self) -> dict[str, Any]:
        """Return results.json; LevshaError where there is none."""
        path = self.folder / "results.json"
        try:
            found = json.loads(path.read_text())
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                made = found.get("recipe", "RECIPE") if isinstance(found, dict) else "RECIPE"
                raise LevshaError(
                    f"{path}: was made by an older Levsha; make it anew with levsha run {made} --out {self.folder}: what was trained is used again."
                )
            return found
        except FileNotFoundError:
            raise LevshaError(
                f"{self.folder}: is no finished run (no results.json); make one with levsha run RECIPE --out {self.folder}."
            ) from None
        except (OSError, ValueError) as error:
            raise LevshaError(f"{path}: cannot be read ({error}); make it again with levsha run.") from None

    def claim(self, recipe: str) -> None:
        """Raise LevshaError where the folder holds a finished run of another recipe, or a results.json that Levsha did not write."""
        path = self.folder / "results.json"
        kept = read_kept(path)
        if path.exists() and "recipe" not in kept:
            raise LevshaError(f"{path}: was not written by Levsha; choose another folder with --out.")
        found = kept.get("recipe", recipe)
        if found != recipe:
            raise LevshaError(f"{self.folder}: holds a run of {found}; choose another folder with --out.")

    def require(self, recipe: str) -> None:
        """Raise LevshaError unless the run is one of this recipe."""
        if self.results()["recipe"] != recipe:
            raise LevshaError(
                f"{self.folder}: is a run of {self.results()['recipe']}; this command needs one of {recipe}."
            )

    def forget_results(self) -> None:
        """Remove results.json."""
        (self.folder / "results.json").unlink(missing_ok=True)

    def variants(self) -> list[str]:
        """Return the integer variants the run made."""
        return [
            v["name"]
            for v in self.results()["variants"]
            if (self.folder / "nets" / f"{v['name']}.safetensors").exists()
        ]

    def pick(self, name: str | None) -> str:
        """Return the variant asked for, or the one the run recommends; a warning where it is much worse than its source; LevshaError lists what there is."""
        made, recommended = self.variants(), self.results().get("recommended")
        if name is None and not made:
            raise LevshaError(f"{self.folder}: has no integer net; make one with levsha run; --help says how.")
        name = name or recommended or next((v for v in made if not self.collapse(v)), made[0])
        if name not in made:
            raise LevshaError(f"{self.folder}: has no integer variant {name!r}; it has {', '.join(made) or 'none'}.")
        if self.collapse(name):
            warn(f"{name}: {self.collapse(name)}")
        return name

    def collapse(self, name: str) -> str:
        """Return by how much, and why, a variant is much worse than its float source; empty where it is not."""
        return next((v.get("collapse", "") for v in self.results()["variants"] if v["name"] == name), "")

    def net(self, name: str) -> Net:
        """Return an integer net of the run."""
        return Net.load(self.folder / "nets" / f"{name}.safetensors")

    def firmware(self, name: str, target: Target) -> Firmware:
        """Return the firmware of a variant: where the target keeps images, the one that was written, if it is of this net."""
        target.require()
        net = self.net(name)
        firmware = target.firmware(net.graph, net.application, net.title, net.meaning)
        if target.flash_bytes is not None:
            return firmware.at(self.image(name, net.graph))
        folder = tempfile.mkdtemp(prefix="levsha-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return firmware.built(Path(folder))

    def talk(self, name: str, target: Target) -> Conversation:
        """Start a conversation with the firmware of a variant."""
        return self.firmware(name, target).talk()

    def image(self, name: str, graph: Graph) -> Path:
        """Return the firmware image of a variant; LevshaError where none was written, or it is of another net."""
        results = self.results()
        note = next((v.get("note") for v in results["variants"] if v["name"] == name), "")
        if note and not (self.folder / "firmware" / name).exists():
            raise LevshaError(f"{self.folder}: there is no firmware of {name} ({note}).")
        return find_image(self.folder / "firmware" / name, graph, f"levsha run {results['recipe']} --out {self.folder}")
