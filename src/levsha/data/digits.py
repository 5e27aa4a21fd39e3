"""The small set of handwritten digits that comes along, as IDX files beside this one: nothing is fetched for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from levsha.data.idx import read_idx

ABOUT = (
    "1797 handwritten digits of 8 x 8 pixels, 0 to 16 (Alpaydin, Kaynak, Optical Recognition of Handwritten "
    "Digits, UCI Machine Learning Repository, CC BY 4.0: its test set, as it ships with scikit-learn)."
)


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (1797, 8, 8), 0 to 16, and what they are, int64 (1797,)."""
    images, labels = (
        read_idx(Path(__file__).with_name(f"digits-{part}-ubyte.gz")) for part in ("images-idx3", "labels-idx1")
    )
    return images, labels.astype(np.int64)
