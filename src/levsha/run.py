"""A run directory: what was asked, on what data, what came out, and who is writing in it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from levsha.errors import LevshaError
from levsha.files import read_kept, remove_stale
from levsha.ir import Graph
from levsha.store import load_graph

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
            return json.loads(path.read_text())
        except FileNotFoundError:
            raise LevshaError(
                f"{self.folder}: is no finished run (no results.json); make one with levsha run RECIPE --out {self.folder}."
            ) from None
        except (OSError, ValueError) as error:
            raise LevshaError(f"{path}: cannot be read ({error}); make it again with levsha run.") from None

    def claim(self, recipe: str) -> None:
        """Raise LevshaError where the folder holds a finished run of another recipe."""
        found = read_kept(self.folder / "results.json").get("recipe", recipe)
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
        """Return the variant asked for, or the one the run recommends; LevshaError lists what there is."""
        made, recommended = self.variants(), self.results().get("recommended")
        if name is None and made:
            return recommended or made[0]
        if name is None:
            raise LevshaError(f"{self.folder}: has no integer net; make one with levsha run; --help says how.")
        if name not in made:
            raise LevshaError(f"{self.folder}: has no integer variant {name!r}; it has {', '.join(made) or 'none'}.")
        return name

    def graph(self, name: str) -> Graph:
        """Return an integer net of the run."""
        return load_graph(self.folder / "nets" / f"{name}.safetensors")[0]

    def firmware(self, name: str) -> Path:
        """Return the firmware image of a variant; LevshaError where none was written."""
        path = self.folder / "firmware" / name / "firmware.elf"
        if not path.exists():
            why = (
                next((v.get("note") for v in self.results()["variants"] if v["name"] == name), "") or "it was not built"
            )
            raise LevshaError(f"{self.folder}: there is no firmware of {name} ({why}).")
        return path
