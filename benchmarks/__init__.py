"""Timings and ratios; importing this sets the threads' waiting policy before any benchmark imports torch."""

import levsha.train  # noqa: F401
