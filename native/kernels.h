/* MaxSim and sign scans for one instruction set; included once for each by octavo.c.
 *
 * isa_*.h defines ISA (name), LANES (32-bit values of a vector), ROWS and GROUPS (the register tile
 * in page rows and vectors of lanes), vf, vi, vb (vectors of float, int32 and BYTES uint8), widen_f16,
 * DOT4 (int32 += four products of bytes) with ROWS_ARE_BIASED, LOOKUP (in a TABLE of 16 bytes) with
 * its own register tile of LOOKUP_TOKENS times LOOKUP_VECTORS, scan_row.
 */
INLINE vf NAME(load_f)(const float *from) {
  vf out;
  __builtin_memcpy(&out, from, sizeof out);
  return out;
}

INLINE vi NAME(load_i)(const int32_t *from) {
  vi out;
  __builtin_memcpy(&out, from, sizeof out);
  return out;
}

INLINE int32_t NAME(load_4)(const uint8_t *from) {
  int32_t out;
  __builtin_memcpy(&out, from, 4);
  return out;
}

/* (n, units) 32-bit values to lanes: blocks of GROUPS vectors, then single vectors; within each
 * [unit][lane]. Lanes without a token are zero. */
static void NAME(to_lanes)(uint32_t *to, const uint32_t *from, int n, int units) {
  int n_vectors = (n + LANES - 1) / LANES;
  for (int vector = 0; vector < n_vectors;) {
    int groups = vector + GROUPS <= n_vectors ? GROUPS : 1;
    for (int unit = 0; unit < units; ++unit)
      for (int lane = 0; lane < groups * LANES; ++lane) {
        int token = vector * LANES + lane;
        *to++ = token < n ? from[(int64_t)token * units + unit] : 0;
      }
    vector += groups;
  }
}

/* --- one register tile: R rows times G vectors of lanes ---------------------------------------- */
/* `ahead` is what the next tile will read: it is fetched a little with every dimension, `step` bytes
 * of it, because the processor alone does not look so far. */
INLINE void NAME(dots_f)(const float *rows, int dim, const float *query, vf sums[ROWS][GROUPS],
                         const int R, const int G, const void *ahead, const int step) {
  UNROLL for (int r = 0; r < R; ++r) UNROLL for (int g = 0; g < G; ++g) sums[r][g] = (vf)(0.f);
  for (int k = 0; k < dim; ++k) {
    vf q[GROUPS];
    __builtin_prefetch((const char *)ahead + k * step);
    UNROLL for (int g = 0; g < G; ++g) q[g] = NAME(load_f)(query + (k * G + g) * LANES);
    UNROLL for (int r = 0; r < R; ++r) {
      vf x = (vf)(rows[r * dim + k]);
      UNROLL for (int g = 0; g < G; ++g) sums[r][g] += x * q[g];
    }
  }
}

INLINE void NAME(tile_f)(const float *rows, int dim, const float *query, vf *best, const int R,
                         const int G, const void *ahead, const int step) {
  vf sums[ROWS][GROUPS];
  NAME(dots_f)(rows, dim, query, sums, R, G, ahead, step);
  UNROLL for (int g = 0; g < G; ++g) {
    vf most = best[g];
    UNROLL for (int r = 0; r < R; ++r) most = sums[r][g] > most ? sums[r][g] : most;
    best[g] = most;
  }
}

INLINE void NAME(tile_i8)(const uint8_t *rows, int dim, const int32_t *query, const vi *start,
                          vi *best, const int R, const int G) {
  const uint8_t *ahead = rows + R * dim;
  vi sums[ROWS][GROUPS];
  UNROLL for (int r = 0; r < R; ++r) UNROLL for (int g = 0; g < G; ++g) sums[r][g] = start[g];
  for (int k = 0; k < dim / 4; ++k) {
    vi q[GROUPS];
    __builtin_prefetch(ahead + k * R * 4);
    UNROLL for (int g = 0; g < G; ++g) q[g] = NAME(load_i)(query + (k * G + g) * LANES);
    UNROLL for (int r = 0; r < R; ++r) {
      vi x = (vi)(NAME(load_4)(rows + r * dim + 4 * k) ^ (ROWS_ARE_BIASED ? 0 : (int)0x80808080));
      UNROLL for (int g = 0; g < G; ++g) sums[r][g] = DOT4(sums[r][g], x, q[g]);
    }
  }
  UNROLL for (int g = 0; g < G; ++g) {
    vi most = best[g];
    UNROLL for (int r = 0; r < R; ++r) most = __builtin_elementwise_max(most, sums[r][g]);
    best[g] = most;
  }
}

/* --- one page ---------------------------------------------------------------------------------- */
/* Calls TILE(row, R, vector, offset of its lanes, G) until all rows met all lanes. The last tile
 * overlaps the one before: a row that counts twice changes no maximum. */
#define EACH_TILE(n_rows, n_vectors, units, TILE)                                                 \
  for (int64_t row = 0; row < (n_rows);) {                                                        \
    int whole = (n_rows) >= ROWS;                                                                 \
    if (whole && row > (n_rows)-ROWS) row = (n_rows)-ROWS;                                        \
    int64_t offset_ = 0;                                                                          \
    for (int vector = 0; vector < (n_vectors);) {                                                 \
      int groups = vector + GROUPS <= (n_vectors) ? GROUPS : 1;                                   \
      if (whole && groups == GROUPS) { TILE(row, ROWS, vector, offset_, GROUPS); }                  \
      else if (whole) { TILE(row, ROWS, vector, offset_, 1); }                                      \
      else if (groups == GROUPS) { TILE(row, 1, vector, offset_, GROUPS); }                         \
      else { TILE(row, 1, vector, offset_, 1); }                                                    \
      offset_ += (int64_t)(units)*groups * LANES;                                                   \
      vector += groups;                                                                           \
    }                                                                                             \
    row += whole ? ROWS : 1;                                                                      \
  }

/* Rows reach the tile through a buffer in the first-level cache: half precision is widened on the
 * way, and float32 is copied, which the processor fetches ahead better than a dozen rows at once. */
INLINE float NAME(page_f)(const struct maxsim_query *query, const uint8_t *rows, int64_t n_rows,
                          const int dim, const int storage) {
  const int size = storage == FP32 ? 4 : 2;
  vf best[MAX_QUERY / LANES];
  float tile[ROWS * MAX_DIM] __attribute__((aligned(64)));
  int64_t loaded = -1;
  for (int v = 0; v < query->n_vectors; ++v) best[v] = (vf)(-INFINITY);
#define TILE_F(row, R, v, at, G)                                                     \
  if (loaded != row) {                                                               \
    for (int64_t k = 0; k < R * dim; k += LANES) {                                   \
      int64_t from = row * dim + k;                                                  \
      vf x = storage == FP32   ? NAME(load_f)((const float *)rows + from)            \
             : storage == FP16 ? NAME(widen_f16)((const uint16_t *)rows + from)      \
                               : NAME(widen_bf16)((const uint16_t *)rows + from);    \
      __builtin_memcpy(tile + k, &x, sizeof x);                                      \
    }                                                                                \
    loaded = row;                                                                    \
  }                                                                                  \
  NAME(tile_f)(tile, dim, (const float *)query->lanes + at, best + v, R, G,          \
               rows + (row + R) * dim * size, R * size);
  EACH_TILE(n_rows, query->n_vectors, dim, TILE_F)
  double sum = 0;
  for (int token = 0; token < query->n_query; ++token) sum += best[token / LANES][token % LANES];
  return (float)sum;
}

INLINE float NAME(page_i8)(const struct maxsim_query *query, const uint8_t *rows, int64_t n_rows,
                           float page_scale, const int dim) {
  vi best[MAX_QUERY / LANES], start[MAX_QUERY / LANES];
  for (int v = 0; v < query->n_vectors; ++v) {
    best[v] = (vi)(INT32_MIN);
    start[v] = ROWS_ARE_BIASED ? NAME(load_i)(query->bias + v * LANES) : (vi)(0);
  }
#define TILE_I8(row, R, v, at, G) \
  NAME(tile_i8)(rows + row * dim, dim, (const int32_t *)query->lanes + at, start + v, best + v, R, G)
  EACH_TILE(n_rows, query->n_vectors, dim / 4, TILE_I8)
  double sum = 0;
  for (int token = 0; token < query->n_query; ++token)
    sum += (double)query->scale[token] * best[token / LANES][token % LANES];
  return (float)(sum * page_scale);
}

/* --- sign bits: table look-ups, 16 rows to every 16 bytes of a vector ---------------------------- */
enum { NAME(PIECES) = BYTES / 16, NAME(CHUNK) = 32 };

/* Table indices of V * BYTES rows for every group of four dimensions; rows that are not there
 * repeat the last. */
INLINE void NAME(unpack_signs)(uint8_t *to, const uint8_t *blocks, int64_t first_piece,
                               int64_t n_pieces, int n_groups, const int V) {
  for (int piece = 0; piece < V * NAME(PIECES); piece += 2) { /* the two halves of a block */
    int64_t low = first_piece + piece < n_pieces ? first_piece + piece : n_pieces - 2;
    const uint8_t *from = blocks + (low / 2) * n_groups * 16;
    for (int group = 0; group < n_groups; ++group) {
      uint8_t *each = to + group * V * BYTES + piece * 16;
      v16 pair;
      __builtin_memcpy(&pair, from + group * 16, 16);
      v16 half = pair & (v16)(15);
      __builtin_memcpy(each, &half, 16);
      half = pair >> (v16)(4);
      __builtin_memcpy(each + 16, &half, 16);
    }
  }
}

/* Sums of up to 32 table entries, which fit into 8 bits, for T tokens and V vectors of rows. */
INLINE void NAME(look_up)(const uint8_t *tables, int64_t token_size, const uint8_t *indices,
                          int n_groups, vb sums[LOOKUP_TOKENS][LOOKUP_VECTORS], const int T,
                          const int V) {
  UNROLL for (int t = 0; t < T; ++t) UNROLL for (int v = 0; v < V; ++v) sums[t][v] = (vb)(0);
  for (int group = 0; group < n_groups; ++group) {
    vb index[LOOKUP_VECTORS];
    UNROLL for (int v = 0; v < V; ++v)
      __builtin_memcpy(&index[v], indices + (group * V + v) * BYTES, sizeof index[v]);
    UNROLL for (int t = 0; t < T; ++t) {
      TABLE table = LOAD_TABLE(tables + t * token_size + group * 16);
      UNROLL for (int v = 0; v < V; ++v) sums[t][v] += LOOKUP(table, index[v]);
    }
  }
}

/* Raises the bests of T tokens, kept as 8 bits (up to 128 dimensions) or 16. */
INLINE void NAME(best_sign_sums)(const uint8_t *tables, const uint8_t *indices, int n_groups,
                                 uint8_t *narrow, uint16_t *wide, const int T, const int V) {
  int64_t token_size = (int64_t)n_groups * 16;
  vb sums[LOOKUP_TOKENS][LOOKUP_VECTORS];
  if (n_groups <= NAME(CHUNK)) {
    NAME(look_up)(tables, token_size, indices, n_groups, sums, T, V);
    UNROLL for (int t = 0; t < T; ++t) {
      vb most;
      __builtin_memcpy(&most, narrow + t * BYTES, sizeof most);
      UNROLL for (int v = 0; v < V; ++v) most = __builtin_elementwise_max(most, sums[t][v]);
      __builtin_memcpy(narrow + t * BYTES, &most, sizeof most);
    }
    return;
  }
  vw totals[LOOKUP_TOKENS][LOOKUP_VECTORS];
  UNROLL for (int t = 0; t < T; ++t) UNROLL for (int v = 0; v < V; ++v) totals[t][v] = (vw)(0);
  for (int group = 0; group < n_groups; group += NAME(CHUNK)) {
    int n = n_groups - group < NAME(CHUNK) ? n_groups - group : NAME(CHUNK);
    NAME(look_up)(tables + group * 16, token_size, indices + group * V * BYTES, n, sums, T, V);
    UNROLL for (int t = 0; t < T; ++t) UNROLL for (int v = 0; v < V; ++v)
      totals[t][v] += __builtin_convertvector(sums[t][v], vw);
  }
  UNROLL for (int t = 0; t < T; ++t) {
    vw most;
    __builtin_memcpy(&most, wide + t * BYTES, sizeof most);
    UNROLL for (int v = 0; v < V; ++v) most = __builtin_elementwise_max(most, totals[t][v]);
    __builtin_memcpy(wide + t * BYTES, &most, sizeof most);
  }
}

INLINE void NAME(best_of_rows)(const struct maxsim_query *query, const uint8_t *blocks,
                               int64_t piece, int64_t n_pieces, uint8_t *scratch, const int n_groups,
                               const int V) {
  uint8_t *indices = scratch, *narrow = scratch + MAX_DIM / 4 * LOOKUP_VECTORS * BYTES;
  uint16_t *wide = (uint16_t *)narrow;
  int64_t token_size = (int64_t)n_groups * 16;
  const uint8_t *ahead = blocks + (piece / 2 + V * NAME(PIECES) / 2) * n_groups * 16;
  const uint8_t *end = ahead + V * NAME(PIECES) / 2 * n_groups * 16;
  int t = 0;
  NAME(unpack_signs)(indices, blocks, piece, n_pieces, n_groups, V);
  for (; t + LOOKUP_TOKENS <= query->n_query; t += LOOKUP_TOKENS) {
    /* What comes next is fetched while this is looked up, a little at a time. */
    for (int line = 0; line < 8 && ahead < end; ++line, ahead += 64) __builtin_prefetch(ahead);
    NAME(best_sign_sums)(query->lanes + t * token_size, indices, n_groups, narrow + t * BYTES,
                         wide + t * BYTES, LOOKUP_TOKENS, V);
  }
  for (; t < query->n_query; ++t)
    NAME(best_sign_sums)(query->lanes + t * token_size, indices, n_groups, narrow + t * BYTES,
                         wide + t * BYTES, 1, V);
}

INLINE float NAME(page_bits)(const struct maxsim_query *query, const uint8_t *blocks,
                             int64_t n_rows, uint8_t *scratch, const int dim) {
  const int n_groups = dim / 4, is_narrow = n_groups <= NAME(CHUNK);
  int n_query = query->n_query;
  int64_t n_pieces = (n_rows + 31) / 32 * 2, piece = 0;
  uint8_t *narrow = scratch + MAX_DIM / 4 * LOOKUP_VECTORS * BYTES;
  uint16_t *wide = (uint16_t *)narrow;
  memset(narrow, 0, (size_t)n_query * BYTES * (is_narrow ? 1 : 2));
  /* Two vectors are a block of 32 rows or more, so only a single one may end within a block. */
  for (; piece + (LOOKUP_VECTORS - 1) * NAME(PIECES) < n_pieces; piece += LOOKUP_VECTORS * NAME(PIECES))
    NAME(best_of_rows)(query, blocks, piece, n_pieces, scratch, n_groups, LOOKUP_VECTORS);
  for (; piece + NAME(PIECES) < n_pieces; piece += 2 * NAME(PIECES))
    NAME(best_of_rows)(query, blocks, piece, n_pieces, scratch, n_groups, 2);
  if (piece < n_pieces) NAME(best_of_rows)(query, blocks, piece, n_pieces, scratch, n_groups, 1);
  double sum = 0;
  for (int t = 0; t < n_query; ++t) {
    vb bytes;
    vw words;
    __builtin_memcpy(&bytes, narrow + t * BYTES, sizeof bytes);
    __builtin_memcpy(&words, wide + t * BYTES, is_narrow ? 0 : sizeof words);
    int most = is_narrow ? __builtin_reduce_max(bytes) : __builtin_reduce_max(words);
    sum += (double)query->scale[t] * most + query->offset[t];
  }
  return (float)(sum / sqrt((double)dim));
}

/* --- a run of pages of one job ------------------------------------------------------------------ */
/* A constant dim frees the registers that row addresses would take. */
#define WITH_DIM(call)                            \
  switch (query->dim) {                           \
    case 64: { enum { D = 64 }; call; break; }    \
    case 128: { enum { D = 128 }; call; break; }  \
    default: { const int D = query->dim; call; }  \
  }

static void NAME(maxsim)(const void *context, int64_t first, int64_t last) {
  const struct maxsim_query *query = context;
  const struct maxsim_job *job = query->job;
  uint8_t scratch[MAX_DIM / 4 * LOOKUP_VECTORS * BYTES + MAX_QUERY * BYTES * 2] __attribute__((aligned(64)));
  for (int64_t i = first; i < last; ++i) {
    const void *page = job->pages[i];
    int64_t n = job->n_rows[i];
    float score = -INFINITY;
    if (n > 0) switch (job->storage) {
        case FP32: WITH_DIM(score = NAME(page_f)(query, page, n, D, FP32)) break;
        case FP16: WITH_DIM(score = NAME(page_f)(query, page, n, D, FP16)) break;
        case BF16: WITH_DIM(score = PAGE_BF16(query, page, n, D)) break;
        case INT8: WITH_DIM(score = NAME(page_i8)(query, page, n, job->page_scale[i], D)) break;
        case BITS: WITH_DIM(score = NAME(page_bits)(query, page, n, scratch, D)) break;
      }
    job->scores[i] = score;
  }
}

static void NAME(scan)(const void *context, int64_t first, int64_t last) {
  const struct scan_query *query = context;
  const struct scan_job *job = query->job;
  for (int64_t i = first; i < last; ++i) {
    int64_t row = job->among ? job->among[i] : i;
    const uint8_t *signs = job->signs + row * job->n_words * 8;
    /* sum of +q where the sign is up and -q where it is down */
    int64_t up = NAME(scan_row)(signs, job->n_words, query);
    job->scores[i] = job->scale * (float)(2 * up - query->sum);
  }
}
