/* Whatever the compiler makes of vectors of 16 bytes: every processor, and the fall-back. */
#define ISA portable
#define LANES 4
#define BYTES 16
#define ROWS 4
#define GROUPS 2
#define LOOKUP_TOKENS 1
#define LOOKUP_VECTORS 2
#define ROWS_ARE_BIASED 0
#define SCANS_BY_TABLE 1
typedef float vfp __attribute__((ext_vector_type(4)));
typedef int32_t vip __attribute__((ext_vector_type(4)));
typedef int16_t vsp __attribute__((ext_vector_type(8)));
typedef uint16_t vwp __attribute__((ext_vector_type(16)));
#define vf vfp
#define vi vip
#define vb v16
#define vw vwp
#define DOT4(sum, rows, query) dot4_portable(sum, rows, query)
#define TABLE const uint8_t *
#define LOAD_TABLE(from) (from)
#define LOOKUP(table, index) lookup_portable(table, index)
#define PAGE_BF16(query, page, n, dim) NAME(page_f)(query, page, n, dim, BF16)

/* Products of bytes within +-127: two of them fit into 16 bits. */
INLINE vi dot4_portable(vi sum, vi rows, vi query) {
  vsp row = (vsp)rows, token = (vsp)query;
  vsp two = ((row << 8) >> 8) * ((token << 8) >> 8) + (row >> 8) * (token >> 8);
  vi wide = (vi)two;
  return sum + ((wide << 16) >> 16) + (wide >> 16);
}

INLINE v16 lookup_portable(const uint8_t *table, v16 index) {
  v16 out;
  for (int i = 0; i < 16; ++i) out[i] = table[index[i]];
  return out;
}

INLINE float half_to_float(uint16_t half) {
  uint32_t sign = (uint32_t)(half >> 15) << 31, exponent = half >> 10 & 31, rest = half & 1023;
  union { uint32_t bits; float value; } out;
  if (exponent == 0) {
    out.value = (float)rest * 0x1p-24f;
    out.bits |= sign;
  } else {
    out.bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | rest << 13;
  }
  return out.value;
}

INLINE vf NAME(widen_f16)(const uint16_t *from) {
  return (vf){half_to_float(from[0]), half_to_float(from[1]), half_to_float(from[2]),
              half_to_float(from[3])};
}

INLINE vf NAME(widen_bf16)(const uint16_t *from) {
  vi wide = {from[0], from[1], from[2], from[3]};
  return (vf)(wide << 16);
}

INLINE int64_t NAME(scan_row)(const uint8_t *signs, int64_t n_words, const struct scan_query *query) {
  return scan_row_by_table(signs, n_words, query);
}
#include "kernels.h"
#include "fde.h"
#include "isa_end.h"
