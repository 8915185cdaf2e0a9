/* Entry points, and the choice of an instruction set. See octavo.h. */
#include "octavo.h"

#include <math.h>
#include <string.h>

#include "queue.h"
#include "query.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name, ISA)
#define FUNCTIONS JOIN(functions, ISA)
#define UNROLL _Pragma("clang loop unroll(full)")
#define INLINE static inline __attribute__((always_inline))
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

typedef uint8_t v16 __attribute__((ext_vector_type(16)));

struct maxsim_query {
  const struct maxsim_job *job;
  int dim, n_query, n_vectors, pairs; /* pairs: the lanes are pairs of bfloat16 */
  const uint8_t *lanes;
  const int32_t *bias; /* what biased int8 rows add, to begin with: -128 * sum of the token */
  const float *scale, *offset;
};

struct scan_query {
  const struct scan_job *job;
  int64_t sum;
  const int16_t *tables; /* (n_words * 16, 16) sums of four query values by their signs */
};

struct functions;

struct fde_lanes {
  const struct functions *use;
  int dim, repetitions, bits, block_dim;
  int n_planes, n_plane_vectors;
  float *planes, *projections; /* in lanes */
  int64_t projection_size;
};

struct fde_query {
  const struct fde_job *job;
  const struct fde_lanes *matrices;
  int64_t (*blocks_at)(int64_t n_rows, const struct fde_lanes *);
  size_t (*scratch_bytes)(int64_t n_rows, const struct fde_lanes *);
  _Atomic int *failed;
};

struct functions {
  const char *isa;
  int lanes, scans_by_table;
  void (*to_lanes)(uint32_t *, const uint32_t *, int, int);
  void (*maxsim)(const void *, int64_t, int64_t);
  void (*scan)(const void *, int64_t, int64_t);
  void (*fde)(const void *, int64_t, int64_t);
};

/* Memory of the calling thread, kept for its next call and freed when it ends: as much as an
 * encoding takes comes from the system page by page, each time anew. NULL: out of memory. */
static pthread_key_t scratch_key;
static void make_scratch_key(void) { pthread_key_create(&scratch_key, free); }

static uint8_t *thread_scratch(size_t bytes) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  enum { HEAD = 64 };
  pthread_once(&once, make_scratch_key);
  size_t *kept = pthread_getspecific(scratch_key);
  if (!kept || *kept < bytes) {
    free(kept);
    kept = malloc(bytes + HEAD);
    pthread_setspecific(scratch_key, kept);
    if (!kept) return NULL;
    *kept = bytes;
  }
  return (uint8_t *)kept + HEAD;
}

/* Bytes between the cells of one row and of the next: whole vectors. */
static inline int64_t fde_cell_stride(const struct fde_lanes *lanes) {
  return (lanes->repetitions + 15) / 16 * 16;
}

static inline int64_t scan_row_by_table(const uint8_t *signs, int64_t n_words,
                                        const struct scan_query *query) {
  int64_t sum = 0;
  const int16_t *table = query->tables;
  for (int64_t byte = 0; byte < n_words * 8; ++byte, table += 32)
    sum += table[signs[byte] & 15] + table[16 + (signs[byte] >> 4)];
  return sum;
}

/* The row that fills an empty cell: of the occupied cells nearest by their bits, the first row. */
static int32_t nearest_row(const int32_t *begin, const int32_t *order, int cell, int n_cells) {
  int best = 99;
  int32_t row = 0;
  for (int other = 0; other < n_cells; ++other) {
    if (begin[other + 1] == begin[other]) continue;
    int distance = __builtin_popcount((unsigned)((cell ^ cell >> 1) ^ (other ^ other >> 1)));
    int32_t first = order[begin[other]];
    if (distance < best || (distance == best && first < row)) best = distance, row = first;
  }
  return row;
}

#include "isa_portable.h"
#if defined(__x86_64__)
#include "isa_avx2.h"
#include "isa_avx512.h"
#elif defined(__aarch64__)
#include "isa_neon.h"
#endif

/* --- which processor this is -------------------------------------------------------------------- */
static struct {
  int avx2, avx512, bf16, dotprod;
} processor;

static void look_at_processor(void) {
#if defined(__x86_64__)
  unsigned a, b, c, d, b7, c7, d7, a71;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* what the system saves on a switch */
  if ((low & 6) != 6 || !(c & bit_FMA) || !(c & bit_F16C)) return;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return;
  processor.avx2 = (b7 & bit_AVX2) != 0;
  processor.avx512 = processor.avx2 && (low & 0xE6) == 0xE6 && (b7 & bit_AVX512F) &&
                     (b7 & bit_AVX512BW) && (b7 & bit_AVX512VL) && (b7 & bit_AVX512DQ) &&
                     (c7 & bit_AVX512VNNI);
  processor.bf16 = processor.avx512 && __get_cpuid_count(7, 1, &a71, &b, &c, &d) && (a71 & 1 << 5);
#elif defined(__aarch64__) && defined(__linux__)
  processor.dotprod = (getauxval(AT_HWCAP) & 1 << 20) != 0; /* HWCAP_ASIMDDP */
#elif defined(__aarch64__)
  processor.dotprod = 1; /* every Apple processor of this kind */
#endif
}

static const struct functions *usable(const char *isa) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, look_at_processor);
#if defined(__x86_64__)
  if (processor.avx512 && (!isa || !strcmp(isa, "avx512"))) return &functions_avx512;
  if (processor.avx2 && (!isa || !strcmp(isa, "avx2"))) return &functions_avx2;
#elif defined(__aarch64__)
  if (processor.dotprod && (!isa || !strcmp(isa, "neon"))) return &functions_neon;
#endif
  return !isa || !strcmp(isa, "portable") ? &functions_portable : NULL;
}

static const struct functions *_Atomic selected;

static const struct functions *in_use(void) {
  const struct functions *found = atomic_load_explicit(&selected, memory_order_acquire);
  return found ? found : usable(NULL);
}

int octavo_abi(void) { return OCTAVO_ABI; }
const char *octavo_isa(void) { return in_use()->isa; }

int octavo_select(const char *isa) {
  const struct functions *found = usable(isa);
  if (found) atomic_store_explicit(&selected, found, memory_order_release);
  return found ? 0 : -1;
}

void octavo_threads(int n) {
  pthread_mutex_lock(&queue.lock);
  queue.n_threads = n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
  pthread_mutex_unlock(&queue.lock);
}

/* --- jobs ---------------------------------------------------------------------------------------- */
static void *aligned(size_t bytes) {
  void *out = NULL;
  return posix_memalign(&out, 64, bytes ? bytes : 64) ? NULL : out;
}

static uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

int octavo_maxsim(const struct maxsim_job *job) {
  const struct functions *use = in_use();
  struct maxsim_query query = {.job = job, .dim = job->dim, .n_query = job->n_query,
                               .n_vectors = (job->n_query + use->lanes - 1) / use->lanes,
                               .scale = job->query_scale, .offset = job->query_offset};
  int64_t padded = (int64_t)query.n_vectors * use->lanes, elements = (int64_t)job->n_query * job->dim;
  uint8_t *lanes = NULL;
  int32_t *bias = NULL;
  if (job->storage == BITS) {
    query.lanes = job->query;
  } else {
    lanes = aligned((size_t)(padded * job->dim) * 4);
    bias = aligned((size_t)padded * sizeof *bias);
    uint16_t *pairs = NULL;
    query.pairs = job->storage == BF16 && processor.bf16 && use->lanes == 16;
    if (query.pairs) pairs = aligned((size_t)elements * 2);
    if (!lanes || !bias || (query.pairs && !pairs)) {
      free(lanes), free(bias), free(pairs);
      return -1;
    }
    if (query.pairs) {
      for (int64_t i = 0; i < elements; ++i) pairs[i] = to_bf16(((const float *)job->query)[i]);
      use->to_lanes((uint32_t *)lanes, (const uint32_t *)pairs, job->n_query, job->dim / 2);
      free(pairs);
    } else {
      int units = job->storage == INT8 ? job->dim / 4 : job->dim;
      use->to_lanes((uint32_t *)lanes, job->query, job->n_query, units);
    }
    if (job->storage == INT8)
      for (int64_t token = 0; token < padded; ++token) {
        const int8_t *codes = (const int8_t *)job->query + token * job->dim;
        int32_t sum = 0;
        if (token < job->n_query)
          for (int k = 0; k < job->dim; ++k) sum += codes[k];
        bias[token] = -128 * sum;
      }
    query.lanes = lanes;
    query.bias = bias;
  }
  share_out(use->maxsim, &query, job->n_pages, 1);
  free(lanes), free(bias);
  return 0;
}

int octavo_scan(const struct scan_job *job) {
  const struct functions *use = in_use();
  struct scan_query query = {.job = job};
  for (int64_t i = 0; i < job->n_words * 64; ++i) query.sum += job->query[i];
  int64_t n_groups = use->scans_by_table ? job->n_words * 16 : 0;
  int16_t *tables = aligned((size_t)n_groups * 16 * sizeof *tables);
  if (!tables) return -1;
  for (int64_t group = 0; group < n_groups; ++group)
    for (int signs = 0; signs < 16; ++signs) {
      int sum = 0;
      for (int bit = 0; bit < 4; ++bit) sum += signs >> bit & 1 ? job->query[group * 4 + bit] : 0;
      tables[group * 16 + signs] = (int16_t)sum;
    }
  query.tables = tables;
  share_out(use->scan, &query, job->n, 128);
  free(tables);
  return 0;
}

static int64_t fde_blocks_at(int64_t n_rows, const struct fde_lanes *lanes) {
  int64_t bytes = n_rows * lanes->n_planes + (n_rows + 1) * fde_cell_stride(lanes);
  return (bytes + 63) / 64 * 64;
}

static size_t fde_scratch_bytes(int64_t n_rows, const struct fde_lanes *lanes) {
  int64_t cells = 1 << lanes->bits;
  return (size_t)(fde_blocks_at(n_rows, lanes) + cells * lanes->dim * 4 + n_rows * 4);
}

void octavo_fde_release(struct fde_lanes *lanes) {
  if (lanes) free(lanes->planes), free(lanes->projections);
  free(lanes);
}

struct fde_lanes *octavo_fde_prepare(const struct fde_matrices *from) {
  const struct functions *use = in_use();
  int n_planes = from->repetitions * from->bits, n_lanes = use->lanes;
  int n_vectors = (n_planes + n_lanes - 1) / n_lanes;
  int64_t projected = (from->block_dim + n_lanes - 1) / n_lanes * n_lanes;
  struct fde_lanes *lanes = malloc(sizeof *lanes);
  if (!lanes) return NULL;
  *lanes = (struct fde_lanes){.use = use, .dim = from->dim, .repetitions = from->repetitions,
                              .bits = from->bits, .block_dim = from->block_dim,
                              .n_planes = n_planes, .n_plane_vectors = n_vectors,
                              .projection_size = projected * from->dim};
  lanes->planes = aligned((size_t)n_vectors * n_lanes * from->dim * sizeof *lanes->planes);
  if (from->projections)
    lanes->projections =
        aligned((size_t)(lanes->projection_size * from->repetitions) * sizeof *lanes->projections);
  if (!lanes->planes || (from->projections && !lanes->projections)) {
    octavo_fde_release(lanes);
    return NULL;
  }
  use->to_lanes((uint32_t *)lanes->planes, (const uint32_t *)from->planes, n_planes, from->dim);
  for (int r = 0; from->projections && r < from->repetitions; ++r)
    use->to_lanes((uint32_t *)(lanes->projections + r * lanes->projection_size),
                  (const uint32_t *)(from->projections + (int64_t)r * from->block_dim * from->dim),
                  from->block_dim, from->dim);
  return lanes;
}

int octavo_fde(const struct fde_job *job) {
  _Atomic int failed = 0;
  struct fde_query query = {.job = job, .matrices = job->matrices, .blocks_at = fde_blocks_at,
                            .scratch_bytes = fde_scratch_bytes, .failed = &failed};
  /* A few pages at a time share their memory; enough parts are left to share out. */
  int64_t grain = job->n_pages / (queue.n_threads * 8);
  share_out(job->matrices->use->fde, &query, job->n_pages, grain < 1 ? 1 : grain > 4 ? 4 : grain);
  return failed ? -1 : 0;
}

#include "peaks.h"
