/* Scoring kernels of Octavo: MaxSim over ragged pages, fixed-dimensional encodings, scans of sign
 * bits. rag/scoring/native.py is the only caller; it checks every shape before it calls.
 *
 * All kernels share one shape. The query is turned once into lanes (one token a lane) and stays in
 * the first-level cache; page rows are read in their natural order and broadcast. A register tile
 * holds a few rows times a few lanes, so the best row of a token is a lane-wise maximum: no matrix
 * of similarities, no padding, no sum across lanes. Every dot product is added up in the order of
 * the dimensions, so a page scores the same bits alone and among any others.
 *
 * One translation unit is compiled for every instruction set (isa_*.h give the primitives,
 * kernels.h and fde.h the code); octavo_select() or the processor chooses one at run time.
 */
#ifndef OCTAVO_H
#define OCTAVO_H

#include <stdint.h>

#define OCTAVO_ABI 3
#define OCTAVO_EXPORT __attribute__((visibility("default")))

enum { MAX_DIM = 1024, MAX_QUERY = 1024 };
enum storage { FP32, FP16, BF16, INT8, BITS };

/* What a job of MaxSim reads; pages[i] is the first row (block of 32 rows for BITS) of page i. */
struct maxsim_job {
  int32_t storage, dim, n_query;
  const void *query;         /* (n_query, dim) of the storage's type; tables (n_query, dim/4, 16) */
  const float *query_scale;  /* (n_query,) INT8, BITS */
  const float *query_offset; /* (n_query,) BITS */
  const void *const *pages;
  const int64_t *n_rows;
  const float *page_scale;   /* INT8 */
  int64_t n_pages;
  float *scores;             /* -inf for a page without rows */
};

/* The matrices of fixed-dimensional encodings, as they are and turned into lanes. */
struct fde_matrices {
  int32_t dim, repetitions, bits, block_dim;
  const float *planes;      /* (bits * repetitions, dim), plane of bit t, repetition r at t * R + r */
  const float *projections; /* (repetitions, block_dim, dim), or NULL: block_dim is dim */
};
struct fde_lanes;

/* out is (n_pages, repetitions * 2^bits * block_dim). */
struct fde_job {
  const struct fde_lanes *matrices;
  int32_t is_query, fill;
  const float *const *pages;
  const int64_t *n_rows;    /* at least 1 */
  int64_t n_pages;
  float *out;
};

/* Dot products of one 8-bit query with rows of signs: scores[i] = scale * sum of +-query. */
struct scan_job {
  const uint8_t *signs;  /* rows of n_words 64-bit words, lowest bit first */
  int64_t n_words;
  const int8_t *query;   /* (n_words * 64,) */
  float scale;
  const int64_t *among;  /* (n,) row numbers, or NULL: rows 0 to n */
  int64_t n;
  float *scores;
};

OCTAVO_EXPORT int octavo_abi(void);
OCTAVO_EXPORT const char *octavo_isa(void);
OCTAVO_EXPORT int octavo_select(const char *isa); /* 0, or -1: not built in, or not this processor */
OCTAVO_EXPORT void octavo_threads(int n);
/* What a query (n, dim) of float32 becomes for INT8 (codes of n * dim bytes) or BITS (tables of
 * n * dim * 4 bytes); the same bits as query_to_int8 and query_to_tables of rag/scoring/quantize.py. */
OCTAVO_EXPORT void octavo_round_query(int storage, const float *query, int n, int dim, void *codes,
                                      float *scale, float *offset);
OCTAVO_EXPORT int octavo_maxsim(const struct maxsim_job *job); /* -1: out of memory */
/* For the instruction set in use; NULL: out of memory. */
OCTAVO_EXPORT struct fde_lanes *octavo_fde_prepare(const struct fde_matrices *matrices);
OCTAVO_EXPORT void octavo_fde_release(struct fde_lanes *lanes);
OCTAVO_EXPORT int octavo_fde(const struct fde_job *job);
OCTAVO_EXPORT int octavo_scan(const struct scan_job *job);
/* Multiply-adds with registers alone, on every thread; kind FP32, BF16 or INT8. Returns how many
 * operations (a multiply-add counts two) one thread did, 0 where the set has no such instruction. */
OCTAVO_EXPORT double octavo_peak(int kind, int64_t iterations);
OCTAVO_EXPORT int64_t octavo_read(const uint8_t *bytes, int64_t n); /* reads all whole blocks of 65,536 */

#endif
