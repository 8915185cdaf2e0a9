/* Arm NEON with dot products of bytes (Armv8.2 and later: Graviton 2, Apple M1). */
#define ISA neon
#define LANES 4
#define BYTES 16
#define ROWS 6
#define GROUPS 4
#define LOOKUP_TOKENS 4
#define LOOKUP_VECTORS 4
#define ROWS_ARE_BIASED 0
#define SCANS_BY_TABLE 1
typedef float vf128 __attribute__((ext_vector_type(4)));
typedef int32_t vi128 __attribute__((ext_vector_type(4)));
typedef uint16_t vw128 __attribute__((ext_vector_type(16)));
#define vf vf128
#define vi vi128
#define vb v16
#define vw vw128
#define DOT4(sum, rows, query) \
  (vi)vdotq_s32((int32x4_t)(sum), (int8x16_t)(rows), (int8x16_t)(query))
#define TABLE uint8x16_t
#define LOAD_TABLE(from) vld1q_u8(from)
#define LOOKUP(table, index) (vb)vqtbl1q_u8(table, (uint8x16_t)(index))
#define PAGE_BF16(query, page, n, dim) NAME(page_f)(query, page, n, dim, BF16)

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
INLINE vf NAME(widen_f16)(const uint16_t *from) {
  return (vf)vcvt_f32_f16((float16x4_t)vld1_u16(from));
}

INLINE vf NAME(widen_bf16)(const uint16_t *from) {
  return (vf)vshll_n_u16(vld1_u16(from), 16);
}

INLINE int64_t NAME(scan_row)(const uint8_t *signs, int64_t n_words, const struct scan_query *query) {
  return scan_row_by_table(signs, n_words, query);
}
#include "kernels.h"
#include "fde.h"
#pragma clang attribute pop
#include "isa_end.h"
