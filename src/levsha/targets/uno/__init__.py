"""Arduino UNO: ATmega328P at 16 MHz, avr-gcc, and libsimavr for exact cycles."""

from levsha.targets.uno.target import CLOCK_HZ, FLASH_BYTES, RAM_BYTES, Firmware, Uno

__all__ = ["CLOCK_HZ", "FLASH_BYTES", "RAM_BYTES", "Firmware", "Uno"]
