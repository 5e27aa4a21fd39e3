"""Kernels in AVR assembly, for every chip whose core multiplies (ATmega)."""
