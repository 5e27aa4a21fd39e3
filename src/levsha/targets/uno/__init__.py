"""Arduino UNO: ATmega328P at 16 MHz, avr-gcc, and libsimavr for exact cycles."""

from levsha.targets.uno.target import Firmware, Uno

__all__ = ["Firmware", "Uno"]
