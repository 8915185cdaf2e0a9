/* AVX-512 with VNNI (Ice Lake, Zen 4 and later); bfloat16 dot products where the processor has them. */
#define ISA avx512
#define AVX512 "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"
#define AVX512_BF16 AVX512 ",avx512bf16"
#define LANES 16
#define BYTES 64
#define ROWS 12
#define GROUPS 2
#define LOOKUP_TOKENS 4
#define LOOKUP_VECTORS 4
#define ROWS_ARE_BIASED 1 /* the dot product takes one unsigned side */
#define SCANS_BY_TABLE 0
typedef float vf512 __attribute__((ext_vector_type(16)));
typedef int32_t vi512 __attribute__((ext_vector_type(16)));
typedef uint8_t vb512 __attribute__((ext_vector_type(64)));
typedef uint16_t vw512 __attribute__((ext_vector_type(64)));
#define vf vf512
#define vi vi512
#define vb vb512
#define vw vw512
#define DOT4(sum, rows, query) (vi)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(rows), (__m512i)(query))
#define TABLE __m512i
#define LOAD_TABLE(from) _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(from)))
#define LOOKUP(table, index) (vb)_mm512_shuffle_epi8(table, (__m512i)(index))
#define PAGE_BF16(query, page, n, dim)                                  \
  (query)->pairs ? page_bf16_pairs_avx512(query, (const uint8_t *)(page), n, dim) \
                 : NAME(page_f)(query, page, n, dim, BF16)

__attribute__((target(AVX512_BF16))) static float
page_bf16_pairs_avx512(const struct maxsim_query *, const uint8_t *, int64_t, int);

#pragma clang attribute push(__attribute__((target(AVX512))), apply_to = function)
INLINE vf NAME(widen_f16)(const uint16_t *from) {
  return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}

INLINE vf NAME(widen_bf16)(const uint16_t *from) {
  __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
  return (vf)_mm512_slli_epi32(wide, 16);
}

INLINE int64_t NAME(scan_row)(const uint8_t *signs, int64_t n_words, const struct scan_query *query) {
  const __m512i one = _mm512_set1_epi8(1);
  const int8_t *values = query->job->query;
  __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                     _mm512_setzero_si512()};
  /* Four sums at once: a dot product takes four times as long as it takes to begin the next. */
#define ADD_WORD(i)                                                                   \
  {                                                                                   \
    uint64_t mask;                                                                    \
    memcpy(&mask, signs + (word + i) * 8, 8);                                         \
    sums[i] = _mm512_dpbusd_epi32(sums[i], _mm512_maskz_mov_epi8(mask, one),          \
                                  _mm512_loadu_si512(values + (word + i) * 64));      \
  }
  int64_t word = 0;
  for (; word + 4 <= n_words; word += 4) {
    ADD_WORD(0) ADD_WORD(1) ADD_WORD(2) ADD_WORD(3)
    __builtin_prefetch(signs + word * 8 + 1024);
  }
  for (; word < n_words; ++word) ADD_WORD(0)
#undef ADD_WORD
  return _mm512_reduce_add_epi32(
      _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3])));
}

#include "kernels.h"
#include "fde.h"
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target(AVX512_BF16))), apply_to = function)
INLINE void tile_bf16_pairs(const uint8_t *rows, int dim, const int32_t *query, vf *best,
                            const int R, const int G) {
  vf sums[ROWS][GROUPS];
  UNROLL for (int r = 0; r < R; ++r) UNROLL for (int g = 0; g < G; ++g) sums[r][g] = (vf)(0.f);
  for (int k = 0; k < dim / 2; ++k) {
    __m512bh q[GROUPS];
    __builtin_prefetch(rows + 2 * R * dim + k * R * 4);
    UNROLL for (int g = 0; g < G; ++g) q[g] = (__m512bh)_mm512_loadu_si512(query + (k * G + g) * LANES);
    UNROLL for (int r = 0; r < R; ++r) {
      int32_t pair;
      __builtin_memcpy(&pair, rows + 2 * r * dim + 4 * k, 4);
      __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
      UNROLL for (int g = 0; g < G; ++g) sums[r][g] = (vf)_mm512_dpbf16_ps((__m512)sums[r][g], x, q[g]);
    }
  }
  UNROLL for (int g = 0; g < G; ++g) {
    vf most = best[g];
    UNROLL for (int r = 0; r < R; ++r) most = sums[r][g] > most ? sums[r][g] : most;
    best[g] = most;
  }
}

INLINE float page_bf16_any(const struct maxsim_query *query, const uint8_t *rows, int64_t n_rows,
                           const int dim) {
  vf best[MAX_QUERY / LANES];
  for (int v = 0; v < query->n_vectors; ++v) best[v] = (vf)(-INFINITY);
#define TILE_BF16(row, R, v, at, G) \
  tile_bf16_pairs(rows + row * 2 * dim, dim, (const int32_t *)query->lanes + at, best + v, R, G)
  EACH_TILE(n_rows, query->n_vectors, dim / 2, TILE_BF16)
  double sum = 0;
  for (int token = 0; token < query->n_query; ++token) sum += best[token / LANES][token % LANES];
  return (float)sum;
}

static float page_bf16_pairs_avx512(const struct maxsim_query *query, const uint8_t *rows,
                                    int64_t n_rows, int dim) {
  return dim == 128 ? page_bf16_any(query, rows, n_rows, 128)
                    : page_bf16_any(query, rows, n_rows, dim);
}
#pragma clang attribute pop
#include "isa_end.h"
