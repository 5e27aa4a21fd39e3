"""Writing files so that a crash, a full disk or Ctrl-C never leaves half a file behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from levsha.errors import LevshaError

TEMPORARY = re.compile(r"\..+\.\d+\.tmp")  # as write_file names them


def remove_stale(folder: Path, pattern: str = ".*.tmp") -> None:
    """Remove what a process left that was killed while it wrote; pattern: of the names, with **/ for folders below as well."""
    for stale in folder.glob(pattern):
        if TEMPORARY.fullmatch(stale.name):
            stale.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write `content` under a temporary name, then rename; LevshaError names the path where it cannot be written."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_dir() or not path.name:
        raise LevshaError(f"{path}: is a folder; give the name of a file.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # without it, a power cut may undo the renaming
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):  # the folder itself may be missing; the first error says so
            temporary.unlink(missing_ok=True)
        raise LevshaError(
            f"{path}: cannot be written ({error.strerror}); what was there before is intact. Free some space, or write elsewhere."
        ) from None


def read_kept(path: Path) -> dict[str, Any]:
    """Return a JSON object that an earlier run kept to save work; empty where there is none or it is damaged."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
