"""Levsha trains small neural networks, shrinks them and ships them as exact integers."""

__version__ = "0.1.0"
