"""Writing files so that a crash, a full disk or Ctrl-C never leaves half a file behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from pathlib import Path
from typing import Any

from levsha.errors import LevshaError

TEMPORARY = re.compile(r"\..+\.\d+\.tmp")  # as write_file names them


REMEDIES = {
    errno.ENOSPC: "Free some space, or write elsewhere",
    errno.EDQUOT: "Free some space, or write elsewhere",
    errno.EFBIG: "Free some space, or write elsewhere",
    errno.EACCES: "Write elsewhere, or change who may write there",
    errno.EPERM: "Write elsewhere, or change who may write there",
    errno.EROFS: "Write elsewhere: that disk is read-only",
    errno.ENAMETOOLONG: "Give a shorter name",
    errno.EISDIR: "Give the name of a file",
}


def cache_folder() -> Path:
    """Return the user's folder for what can be made or fetched again; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "levsha"


def remove_stale(folder: Path, pattern: str = ".*.tmp") -> None:
    """Remove what a process left that was killed while it wrote; pattern: of the names, with **/ for folders below as well."""
    with contextlib.suppress(OSError):  # a folder that cannot be read: whoever writes there says why
        for stale in folder.glob(pattern):
            if TEMPORARY.fullmatch(stale.name):
                stale.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write `content` under a temporary name, then rename; LevshaError names the path where it cannot be written."""
    data = content.encode() if isinstance(content, str) else content
    if os.path.isdir(path) or not path.name:  # Path.is_dir would raise where one may not look
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
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError, intact: str = "what was there before") -> LevshaError:
    """Return the error for a file that could not be written: what is in the way, what is `intact`, and what to do."""
    for folder in path.parents:
        if os.path.lexists(folder) and not os.path.isdir(folder):
            what = "a link to nothing" if folder.is_symlink() else "a file"
            return LevshaError(f"{folder}: is {what}; give a folder. {path} cannot be written there.")
    remedy = REMEDIES.get(error.errno or 0, "Mend that, or write elsewhere")
    return LevshaError(
        f"{path}: cannot be written ({error.strerror}); {intact} is intact. {remedy}, and repeat the command."
    )


def read_kept(path: Path) -> dict[str, Any]:
    """Return a JSON object that an earlier run kept to save work; empty where there is none or it is damaged."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
