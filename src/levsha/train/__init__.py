"""Training in torch: one thread, no spinning.  Set before torch is imported, hence here."""

import os

os.environ.setdefault(
    "OMP_WAIT_POLICY", "passive"
)  # spinning threads make a step up to 18 times slower on a busy machine
os.environ.setdefault("GOMP_SPINCOUNT", "0")
