"""gcc on this machine: what it can, and shared libraries that are kept in the user's cache."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from levsha.errors import LevshaError
from levsha.files import cache_folder, write_file
from levsha.targets.base import call

FLAGS = ("-std=gnu11", "-march=native", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-w")
MOST_KEPT = 256  # libraries in the cache; the oldest go first


@cache
def machine() -> str:
    """Return every macro that gcc defines for this processor: its version and all that the processor can; '' where there is no gcc."""
    command = ["gcc", "-march=native", "-dM", "-E", "-x", "c", os.devnull]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def loaded(text: str, level: str = "-O3") -> ctypes.CDLL:
    """Return the library of a C text, compiled unless the cache has it; LevshaError where that cannot be done. level: of optimisation."""
    path = _kept(text, level)
    for again in (True, False):
        if not path.exists():
            _compile(text, level, path)
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            if not again:
                raise LevshaError(f"{path}: cannot be loaded ({error}).") from None
            path.unlink(missing_ok=True)  # damaged: made anew, once
    raise AssertionError("the loop returns or raises")


def _kept(text: str, level: str) -> Path:
    """Where the library of a text lies: another text, compiler, processor or flag is another library."""
    digest = hashlib.sha256("\0".join((text, machine(), level, *FLAGS)).encode()).hexdigest()
    return cache_folder() / "native" / f"{digest[:32]}.so"


def _compile(text: str, level: str, path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "net.c").write_text(text)
        call(["gcc", level, *FLAGS, "-o", "net.so", "net.c"], "this machine", cwd=scratch)
        write_file(path, (Path(scratch) / "net.so").read_bytes())
    with contextlib.suppress(OSError):  # another process may tidy up as well
        kept = sorted(path.parent.glob("*.so"), key=lambda found: found.stat().st_mtime)
        for old in kept[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
