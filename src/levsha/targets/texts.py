"""Texts that every target's firmware shares."""

from __future__ import annotations

from importlib.resources import files


def mark_header() -> str:
    """Return mark.h: what a firmware tells a simulator."""
    return files("levsha.applications").joinpath("mark.h").read_text()
