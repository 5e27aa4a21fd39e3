"""8-bit AVR chips: avr-gcc, and libsimavr for exact cycles."""

from levsha.targets.avr.dialect import ARDUINO
from levsha.targets.avr.uno import Uno

__all__ = ["ARDUINO", "Uno"]
