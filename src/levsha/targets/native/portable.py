"""Vectors as gcc has them for any processor: 8 sums, one product after the other, widened to 32 bits."""

from __future__ import annotations

import numpy as np

from levsha.targets.native.vectors import Vectors

_TEXT = """#define $FULL static inline __attribute__((always_inline))
typedef int16_t $h8 __attribute__((vector_size(16)));
typedef int8_t $q8 __attribute__((vector_size(8)));
typedef uint8_t $u8 __attribute__((vector_size(8)));
typedef struct { int32_t a, b, c, d; } $b8;
typedef struct { int32_t a, b; } $p8;
typedef const int16_t *$wb8, *$wp8;
$FULL $v8 $load_8(const int32_t *p) { $v8 v; memcpy(&v, p, sizeof v); return v; }
$FULL $v8 $fill_8(int32_t n) { const $v8 v = { n, n, n, n, n, n, n, n }; return v; }
$FULL $v8 $max_8($v8 a, $v8 b) { const $v8 more = a > b; return (a & more) | (b & ~more); }
$FULL $v8 $min_8($v8 a, $v8 b) { const $v8 less = a < b; return (a & less) | (b & ~less); }
$FULL $b8 $bytes_u_8(const uint8_t *p) { const $b8 x = { p[0], p[1], p[2], p[3] }; return x; }
$FULL $b8 $bytes_s_8(const int8_t *p) { const $b8 x = { p[0], p[1], p[2], p[3] }; return x; }
$FULL $p8 $pairs_8(const int16_t *p) { const $p8 x = { p[0], p[1] }; return x; }
$FULL $wb8 $weights_b_8(const int16_t *w) { return w; }
$FULL $wp8 $weights_p_8(const int16_t *w) { return w; }
$FULL $v8 $widen_i16_8(const int16_t *p) { $h8 v; memcpy(&v, p, sizeof v); return __builtin_convertvector(v, $v8); }
$FULL $v8 $widen_i8_8(const int8_t *p) { $q8 v; memcpy(&v, p, sizeof v); return __builtin_convertvector(v, $v8); }
$FULL $v8 $widen_u8_8(const uint8_t *p) { $u8 v; memcpy(&v, p, sizeof v); return __builtin_convertvector(v, $v8); }
$FULL $v8 $dot_p_8($v8 sum, $p8 x, $wp8 w) { return sum + x.a * $widen_i16_8(w) + x.b * $widen_i16_8(w + 8); }
$FULL $v8 $dot_b_8($v8 sum, $b8 x, $wb8 w)
{
    return sum + x.a * $widen_i16_8(w) + x.b * $widen_i16_8(w + 8) + x.c * $widen_i16_8(w + 16) + x.d * $widen_i16_8(w + 24);
}
$FULL void $store_1_8(void *p, $v8 v) { const $q8 low = __builtin_convertvector(v, $q8); memcpy(p, &low, sizeof low); }
$FULL void $store_2_8(void *p, $v8 v) { const $h8 low = __builtin_convertvector(v, $h8); memcpy(p, &low, sizeof low); }
$FULL void $store_4_8(void *p, $v8 v) { memcpy(p, &v, sizeof v); }
#undef $FULL
"""


def _arrange(weight_LK: np.ndarray) -> np.ndarray:
    return weight_LK.T.ravel()


PORTABLE = Vectors("portable", (), _TEXT, (8,), "int16_t", _arrange)
