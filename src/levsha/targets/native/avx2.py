"""AVX2: pairs of 16-bit products, added to 8 sums. The instruction for bytes is left alone: it saturates at 16 bits."""

from __future__ import annotations

import numpy as np

from levsha.targets.native.vectors import Vectors

_TEXT = """#include <immintrin.h>
#define $FULL static inline __attribute__((always_inline))
$FULL $v8 $load_8(const int32_t *p) { return ($v8)_mm256_loadu_si256((const void *)p); }
$FULL $v8 $fill_8(int32_t n) { return ($v8)_mm256_set1_epi32(n); }
$FULL $v8 $max_8($v8 a, $v8 b) { return ($v8)_mm256_max_epi32((__m256i)a, (__m256i)b); }
$FULL $v8 $min_8($v8 a, $v8 b) { return ($v8)_mm256_min_epi32((__m256i)a, (__m256i)b); }
typedef struct { __m256i even, odd; } $b8;   /* bytes 0 and 2, and bytes 1 and 3, as int16 */
typedef $b8 $wb8;
typedef __m256i $p8;
typedef __m256i $wp8;
$FULL $p8 $pairs_8(const int16_t *p) { int32_t n; memcpy(&n, p, 4); return _mm256_set1_epi32(n); }
$FULL $b8 $bytes_u_8(const uint8_t *p)
{
    const __m256i four = $pairs_8((const void *)p);
    const $b8 x = { _mm256_and_si256(four, _mm256_set1_epi16(255)), _mm256_srli_epi16(four, 8) };
    return x;
}
$FULL $b8 $bytes_s_8(const int8_t *p)
{
    const __m256i four = $pairs_8((const void *)p);
    const $b8 x = { _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8), _mm256_srai_epi16(four, 8) };
    return x;
}
$FULL $wp8 $weights_p_8(const int16_t *w) { return _mm256_loadu_si256((const void *)w); }
$FULL $wb8 $weights_b_8(const int16_t *w) { const $wb8 both = { $weights_p_8(w), $weights_p_8(w + 16) }; return both; }
$FULL $v8 $dot_p_8($v8 sum, $p8 x, $wp8 w) { return sum + ($v8)_mm256_madd_epi16(x, w); }
$FULL $v8 $dot_b_8($v8 sum, $b8 x, $wb8 w) { return $dot_p_8($dot_p_8(sum, x.even, w.even), x.odd, w.odd); }
$FULL $v8 $widen_u8_8(const uint8_t *p) { return ($v8)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p)); }
$FULL $v8 $widen_i8_8(const int8_t *p) { return ($v8)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)); }
$FULL $v8 $widen_i16_8(const int16_t *p) { return ($v8)_mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)p)); }
$FULL void $store_1_8(void *p, $v8 v)
{
    const __m256i low = _mm256_shuffle_epi8((__m256i)v, _mm256_set1_epi32(0x0c080400));
    _mm_storel_epi64(p, _mm_unpacklo_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}
$FULL void $store_2_8(void *p, $v8 v)
{
    const __m256i low = _mm256_shuffle_epi8((__m256i)v, _mm256_set1_epi64x(0x0d0c090805040100));
    _mm_storeu_si128(p, _mm_unpacklo_epi64(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}
$FULL void $store_4_8(void *p, $v8 v) { _mm256_storeu_si256(p, (__m256i)v); }
#undef $FULL
"""


def _arrange(weight_LK: np.ndarray) -> np.ndarray:
    """Of four, those that meet even bytes before those that meet odd ones."""
    if weight_LK.shape[1] == 2:
        return weight_LK.ravel()
    return np.concatenate([weight_LK[:, [0, 2]].ravel(), weight_LK[:, [1, 3]].ravel()])


AVX2 = Vectors("avx2", ("__AVX2__",), _TEXT, (8,), "int16_t", _arrange)
