"""AVX-512 with VNNI: four products of bytes are added to each of 16 (or 8) sums in one instruction, exactly: none of its steps saturates.

It wants activations without a sign; bytes with one are read as 128 more, and the sums start with 128 times the weights less.
"""

from __future__ import annotations

import numpy as np

from levsha.targets.native.vectors import Vectors

_TEXT = """
#define $FULL static inline __attribute__((always_inline))
$FULL $v@ $load_@(const int32_t *p) { return ($v@)MM_loadu_WHOLE((const void *)p); }
$FULL $v@ $fill_@(int32_t n) { return ($v@)MM_set1_epi32(n); }
$FULL $v@ $max_@($v@ a, $v@ b) { return ($v@)MM_max_epi32((REG)a, (REG)b); }
$FULL $v@ $min_@($v@ a, $v@ b) { return ($v@)MM_min_epi32((REG)a, (REG)b); }
typedef REG $b@;
typedef REG $p@;
typedef REG $wb@;
typedef REG $wp@;
$FULL REG $bytes_u_@(const uint8_t *p) { int32_t n; memcpy(&n, p, 4); return MM_set1_epi32(n); }
$FULL REG $bytes_s_@(const int8_t *p) { int32_t n; memcpy(&n, p, 4); return MM_xor_WHOLE(MM_set1_epi32(n), MM_set1_epi8(-128)); }
$FULL REG $pairs_@(const int16_t *p) { int32_t n; memcpy(&n, p, 4); return MM_set1_epi32(n); }
$FULL REG $weights_b_@(const int8_t *w) { return MM_loadu_WHOLE((const void *)w); }
$FULL REG $weights_p_@(const int16_t *w) { return MM_loadu_WHOLE((const void *)w); }
$FULL $v@ $dot_b_@($v@ sum, REG x, REG w) { return ($v@)MM_dpbusd_epi32((REG)sum, x, w); }
$FULL $v@ $dot_p_@($v@ sum, REG x, REG w) { return ($v@)MM_dpwssd_epi32((REG)sum, x, w); }
$FULL $v@ $widen_u8_@(const uint8_t *p) { return ($v@)MM_cvtepu8_epi32(QUARTER); }
$FULL $v@ $widen_i8_@(const int8_t *p) { return ($v@)MM_cvtepi8_epi32(QUARTER); }
$FULL $v@ $widen_i16_@(const int16_t *p) { return ($v@)MM_cvtepi16_epi32(HALF); }
$FULL void $store_1_@(void *p, $v@ v) { STORE_1(p, MM_cvtepi32_epi8((REG)v)); }
$FULL void $store_2_@(void *p, $v@ v) { STORE_2(p, MM_cvtepi32_epi16((REG)v)); }
$FULL void $store_4_@(void *p, $v@ v) { MM_storeu_WHOLE(p, (REG)v); }
#undef $FULL
"""
_WIDTHS = {
    "16": {
        "MM": "_mm512", "REG": "__m512i", "WHOLE": "si512", "QUARTER": "_mm_loadu_si128((const void *)p)",
        "HALF": "_mm256_loadu_si256((const void *)p)", "STORE_1": "_mm_storeu_si128", "STORE_2": "_mm256_storeu_si256",
    },
    "8": {
        "MM": "_mm256", "REG": "__m256i", "WHOLE": "si256", "QUARTER": "_mm_loadl_epi64((const void *)p)",
        "HALF": "_mm_loadu_si128((const void *)p)", "STORE_1": "_mm_storel_epi64", "STORE_2": "_mm_storeu_si128",
    },
}  # fmt: skip


def _text(lanes: str) -> str:
    text = _TEXT.replace("@", lanes)
    for name, meaning in _WIDTHS[lanes].items():
        text = text.replace(name, meaning)
    return text


def _arrange(weight_LK: np.ndarray) -> np.ndarray:
    return weight_LK.ravel()


VNNI = Vectors(
    "vnni", ("__AVX512VNNI__", "__AVX512VL__", "__AVX512BW__"), "#include <immintrin.h>\n" + _text("16") + _text("8"), (16, 8), "int8_t",
    _arrange, offset=128, registers=8,
)  # fmt: skip
