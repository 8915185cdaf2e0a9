/* AVX2 with FMA and F16C (Haswell, Zen and later). */
#define ISA avx2
#define LANES 8
#define BYTES 32
#define ROWS 6
#define GROUPS 2
#define LOOKUP_TOKENS 4
#define LOOKUP_VECTORS 2
#define ROWS_ARE_BIASED 0
#define SCANS_BY_TABLE 0
typedef float vf256 __attribute__((ext_vector_type(8)));
typedef int32_t vi256 __attribute__((ext_vector_type(8)));
typedef uint8_t vb256 __attribute__((ext_vector_type(32)));
typedef uint16_t vw256 __attribute__((ext_vector_type(32)));
#define vf vf256
#define vi vi256
#define vb vb256
#define vw vw256
/* |row| * sign(row) query: both within +-127, so that two products fit into 16 bits. */
#define DOT4(sum, rows, query)                                                              \
  (sum) + (vi)_mm256_madd_epi16(                                                            \
              _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)(rows)),                        \
                                   _mm256_sign_epi8((__m256i)(query), (__m256i)(rows))),    \
              _mm256_set1_epi16(1))
#define TABLE __m256i
#define LOAD_TABLE(from) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(from)))
#define LOOKUP(table, index) (vb)_mm256_shuffle_epi8(table, (__m256i)(index))
#define PAGE_BF16(query, page, n, dim) NAME(page_f)(query, page, n, dim, BF16)

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
INLINE vf NAME(widen_f16)(const uint16_t *from) {
  return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}

INLINE vf NAME(widen_bf16)(const uint16_t *from) {
  __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from));
  return (vf)_mm256_slli_epi32(wide, 16);
}

INLINE int64_t NAME(scan_row)(const uint8_t *signs, int64_t n_words, const struct scan_query *query) {
  const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                          2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
  __m256i sums = _mm256_setzero_si256();
  for (int64_t half = 0; half < n_words * 2; ++half) {
    int32_t four;
    memcpy(&four, signs + half * 4, 4);
    __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(four), spread);
    __m256i up = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
    __m256i taken = _mm256_and_si256(
        up, _mm256_loadu_si256((const __m256i *)(query->job->query + half * 32)));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), taken);
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  vi each = (vi)sums;
  int64_t sum = 0;
  for (int lane = 0; lane < LANES; ++lane) sum += each[lane];
  return sum;
}
#include "kernels.h"
#include "fde.h"
#pragma clang attribute pop
#include "isa_end.h"
