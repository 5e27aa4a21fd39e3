"""A table as a file in a run's folder, so that the run can be checked, asked and explained without the file it came from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from levsha.data.table import Table
from levsha.errors import LevshaError
from levsha.files import write_file
from levsha.store import read_safetensors, stable

DATA = "data.safetensors"
KIND = "levsha-table-1"


def keep_table(table: Table, folder: Path) -> None:
    """Write a table into a run's folder."""
    about = {key: value for key, value in asdict(table).items() if key not in ("x_NI", "y_NO")}
    arrays = {"x": table.x_NI, "y": table.y_NO}
    write_file(folder / DATA, stable(save(arrays, {"kind": KIND, "about": json.dumps(about)})))


def kept_table(folder: Path) -> Table:
    """Return the table of a run's folder; LevshaError where it is missing or damaged."""
    metadata, arrays = read_safetensors(folder / DATA)
    if metadata.get("kind") != KIND:
        raise LevshaError(f"{folder / DATA}: is no table of a run ({KIND}); make it again with levsha run regression.")
    about = json.loads(metadata["about"])
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
    return Table(x_NI=arrays["x"].astype(np.float64), y_NO=arrays["y"], **fields)
