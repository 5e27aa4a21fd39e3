"""avr-gcc's C: constants lie in program memory and are read by instructions of their own."""

from __future__ import annotations

from levsha.emit.dialect import PORTABLE, Dialect

_PROGMEM = """#include <avr/pgmspace.h>
#define $FLASH PROGMEM
#define $U8(p) pgm_read_byte(p)
#define $I16(p) ((int16_t)pgm_read_word(p))
#define $I32(p) ((int32_t)pgm_read_dword(p))
#define $BRANCHES 1
#define $KERNEL __attribute__((noinline, optimize("O2")))   /* inner loops want registers and speed, the rest wants to be small */
"""

AVR = Dialect("avr-gcc", _PROGMEM)
ARDUINO = Dialect("arduino", f"#if defined(__AVR__)\n{_PROGMEM}#else\n{PORTABLE.prologue}#endif\n")
"""For a library that is compiled for boards with an AVR and for others."""
