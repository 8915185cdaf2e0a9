/* Fixed-dimensional encodings of one page after another; included once for each instruction set.
 * Source: Dhulipala et al. 2024, MUVERA (arXiv:2405.19504); cells and fill as in Google's reference. */

/* Which side of every plane each row lies on: (n_rows, n_planes) of 0 and 1. */
INLINE void NAME(sides)(const float *rows, int64_t n_rows, const struct fde_lanes *query,
                        uint8_t *sides, const int dim) {
  int n_planes = query->n_planes;
  typedef uint8_t side_vector __attribute__((ext_vector_type(LANES)));
#define TILE_SIDES(row, R, v, at, G)                                                          \
  {                                                                                           \
    vf sums[ROWS][GROUPS];                                                                    \
    NAME(dots_f)(rows + row * dim, dim, query->planes + at, sums, R, G,           \
                 rows + (row + R) * dim, R * 4);                      \
    UNROLL for (int r = 0; r < R; ++r) UNROLL for (int g = 0; g < G; ++g) {                   \
      side_vector side = __builtin_convertvector(sums[r][g] > (vf)(0.f), side_vector) & (side_vector)(1); \
      int at_plane = (v + g) * LANES;                                                         \
      uint8_t *to = sides + (row + r) * n_planes + at_plane;                                  \
      if (at_plane + LANES <= n_planes) __builtin_memcpy(to, &side, sizeof side);             \
      else for (int lane = 0; at_plane + lane < n_planes; ++lane) to[lane] = side[lane];      \
    }                                                                                         \
  }
  EACH_TILE(n_rows, query->n_plane_vectors, dim, TILE_SIDES)
#undef TILE_SIDES
}

/* sums (cells, dim): of the rows of each cell, in row order. */
INLINE void NAME(sum_rows)(float *sums, const float *rows, const int32_t *order,
                           const int32_t *begin, int n_cells, const int dim) {
  enum { AT_ONCE = 8 }; /* vectors; more would not fit into registers */
  for (int cell = 0; cell < n_cells; ++cell)
    for (int k = 0; k < dim; k += AT_ONCE * LANES) {
      int n = (dim - k) / LANES < AT_ONCE ? (dim - k) / LANES : AT_ONCE;
      vf total[AT_ONCE];
      UNROLL for (int j = 0; j < AT_ONCE; ++j) total[j] = (vf)(0.f);
      if (n == AT_ONCE)
        for (int32_t i = begin[cell]; i < begin[cell + 1]; ++i) {
          const float *row = rows + (int64_t)order[i] * dim + k;
          UNROLL for (int j = 0; j < AT_ONCE; ++j) total[j] += NAME(load_f)(row + j * LANES);
        }
      else
        for (int32_t i = begin[cell]; i < begin[cell + 1]; ++i) {
          const float *row = rows + (int64_t)order[i] * dim + k;
          for (int j = 0; j < n; ++j) total[j] += NAME(load_f)(row + j * LANES);
        }
      for (int j = 0; j < n; ++j)
        __builtin_memcpy(sums + (int64_t)cell * dim + k + j * LANES, &total[j], sizeof total[j]);
    }
}

/* out (cells, block_dim) = blocks (cells, dim) times one repetition's projection. */
INLINE void NAME(project)(float *out, const float *blocks, int n_cells, const float *matrix,
                          int block_dim, const int dim) {
  int n_vectors = (block_dim + LANES - 1) / LANES;
#define TILE_PROJECT(row, R, v, at, G)                                                        \
  {                                                                                           \
    vf sums[ROWS][GROUPS];                                                                    \
    NAME(dots_f)(blocks + row * dim, dim, matrix + at, sums, R, G,                        \
                 blocks + (row + R) * dim, R * 4);                           \
    UNROLL for (int r = 0; r < R; ++r) UNROLL for (int g = 0; g < G; ++g) {                   \
      int column = (v + g) * LANES;                                                           \
      float *to = out + (row + r) * block_dim + column;                                       \
      if (column + LANES <= block_dim) __builtin_memcpy(to, &sums[r][g], sizeof(vf));         \
      else for (int lane = 0; column + lane < block_dim; ++lane) to[lane] = sums[r][g][lane]; \
    }                                                                                         \
  }
  EACH_TILE(n_cells, n_vectors, dim, TILE_PROJECT)
#undef TILE_PROJECT
}

INLINE void NAME(encode)(const struct fde_query *query, const float *rows, int64_t n_rows,
                         float *out, uint8_t *scratch, const int dim) {
  const struct fde_job *job = query->job;
  const struct fde_lanes *lanes = query->matrices;
  int R = lanes->repetitions, n_cells = 1 << lanes->bits;
  int64_t stride = fde_cell_stride(lanes), half = n_rows / 2;
  uint8_t *sides = scratch, *cells = sides + n_rows * lanes->n_planes + stride;
  float *blocks = (float *)(scratch + query->blocks_at(n_rows, lanes));
  int32_t *order = (int32_t *)(blocks + (int64_t)n_cells * dim), begin[257], early[256], late[256];
  NAME(sides)(rows, n_rows, lanes, sides, dim);
  for (int64_t row = 0; row < n_rows; ++row) {
    uint8_t *cell = cells + row * stride;
    /* Whole vectors: what is read and written past the last repetition counts for nothing. */
    for (int r = 0; r < R; r += 16) {
      v16 number = (v16)(0);
      for (int bit = 0; bit < lanes->bits; ++bit) {
        v16 side;
        __builtin_memcpy(&side, sides + row * lanes->n_planes + bit * R + r, 16);
        number = number << 1 | (side ^ (number & 1));
      }
      __builtin_memcpy(cell + r, &number, 16);
    }
  }
  for (int r = 0; r < R; ++r) {
    /* Rows by cell, in their order. Two halves at a time: a count that is raised twice in a row
     * has to wait for itself. */
    memset(early, 0, sizeof early), memset(late, 0, sizeof late);
    for (int64_t row = 0; row < half; ++row) {
      ++early[cells[row * stride + r]];
      ++late[cells[(row + half) * stride + r]];
    }
    if (n_rows % 2) ++late[cells[(n_rows - 1) * stride + r]];
    begin[0] = 0;
    for (int cell = 0; cell < n_cells; ++cell) {
      int32_t n_early = early[cell], n_late = late[cell];
      early[cell] = begin[cell];
      late[cell] = begin[cell] + n_early;
      begin[cell + 1] = begin[cell] + n_early + n_late;
    }
    for (int64_t row = 0; row < half; ++row) {
      order[early[cells[row * stride + r]]++] = (int32_t)row;
      order[late[cells[(row + half) * stride + r]]++] = (int32_t)(row + half);
    }
    if (n_rows % 2) order[late[cells[(n_rows - 1) * stride + r]]++] = (int32_t)(n_rows - 1);
    NAME(sum_rows)(blocks, rows, order, begin, n_cells, dim);
    if (!job->is_query)
      for (int cell = 0; cell < n_cells; ++cell) {
        int32_t n = begin[cell + 1] - begin[cell];
        float *block = blocks + (int64_t)cell * dim;
        if (n > 1) {
          float share = 1.f / (float)n;
          for (int k = 0; k < dim; ++k) block[k] *= share;
        } else if (n == 0 && job->fill)
          memcpy(block, rows + (int64_t)nearest_row(begin, order, cell, n_cells) * dim,
                 (size_t)dim * sizeof *block);
      }
    float *to = out + (int64_t)r * n_cells * lanes->block_dim;
    if (lanes->projections)
      NAME(project)(to, blocks, n_cells, lanes->projections + r * lanes->projection_size,
                    lanes->block_dim, dim);
    else
      memcpy(to, blocks, (size_t)n_cells * dim * sizeof *to);
  }
}

static void NAME(fde)(const void *context, int64_t first, int64_t last) {
  const struct fde_query *query = context;
  const struct fde_job *job = query->job;
  const struct fde_lanes *lanes = query->matrices;
  int64_t size = (int64_t)lanes->repetitions * (1 << lanes->bits) * lanes->block_dim, longest = 0;
  for (int64_t i = first; i < last; ++i)
    if (job->n_rows[i] > longest) longest = job->n_rows[i];
  uint8_t *scratch = thread_scratch(query->scratch_bytes(longest, lanes));
  if (!scratch) {
    atomic_store_explicit(query->failed, 1, memory_order_relaxed);
    return;
  }
  for (int64_t i = first; i < last; ++i) {
    float *out = job->out + i * size;
    if (lanes->dim == 128) NAME(encode)(query, job->pages[i], job->n_rows[i], out, scratch, 128);
    else NAME(encode)(query, job->pages[i], job->n_rows[i], out, scratch, lanes->dim);
  }
}
