/* Every kernel of the best instruction set of this processor against plain loops: a program of its
 * own, for processors that the test suite does not run on (tests/integration/test_native_on_arm.py).
 * Prints what differs; leaves with 0 where nothing does. */
#include <math.h>
#include <stdio.h>

#include "octavo.c"

static int n_checks, n_failed;
static uint64_t state = 88172645463325252ull;

static uint32_t next_random(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)(state >> 16);
}

static float random_float(void) { return (float)(next_random() % 20001) / 10000 - 1; }

static void expect(const char *what, int dim, int n_query, int64_t n_rows, double found,
                   double wanted, double allowed) {
  ++n_checks;
  if (fabs(found - wanted) <= allowed) return;
  if (++n_failed <= 20)
    printf("%s of %s, dim %d, %d query rows, %d page rows: %.9g, not %.9g\n", what, octavo_isa(),
           dim, n_query, (int)n_rows, found, wanted);
}

/* --- numbers of 16 bits ------------------------------------------------------------------------- */
static float from_bf16(uint16_t code) {
  uint32_t bits = (uint32_t)code << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static double from_fp16(uint16_t code) {
  int exponent = code >> 10 & 31, rest = code & 1023;
  double value = exponent ? ldexp(1024 + rest, exponent - 25) : ldexp(rest, -24);
  return code >> 15 ? -value : value;
}

/* --- MaxSim -------------------------------------------------------------------------------------- */
enum { N_PAGES = 9, MOST_ROWS = 70 };
static const int64_t LENGTHS[N_PAGES] = {0, 1, 3, 5, 7, 13, 31, 33, MOST_ROWS};

static double best_sum(const double *query, const double *rows, int dim, int n_query, int64_t n) {
  double sum = 0;
  for (int t = 0; t < n_query; ++t) {
    double best = -INFINITY;
    for (int64_t row = 0; row < n; ++row) {
      double dot = 0;
      for (int k = 0; k < dim; ++k) dot += query[t * dim + k] * rows[row * dim + k];
      if (dot > best) best = dot;
    }
    sum += best;
  }
  return sum;
}

static void check_maxsim(int storage, int dim, int n_query) {
  static const char *const names[] = {"fp32", "fp16", "bf16", "int8"};
  static const int sizes[] = {4, 2, 2, 1};
  size_t n_values = (size_t)n_query * dim, row_bytes = (size_t)dim * sizes[storage];
  float *query = malloc(n_values * 4), *scale = malloc((size_t)n_query * 4), scores[N_PAGES];
  int8_t *codes = malloc(n_values);
  double *wide = malloc(n_values * 8), *rounded = malloc(n_values * 8);
  double *rows = malloc((size_t)MOST_ROWS * dim * 8);
  double length = 0;
  for (size_t i = 0; i < n_values; ++i) {
    query[i] = random_float(), codes[i] = (int8_t)((int)(next_random() % 255) - 127);
    wide[i] = query[i], rounded[i] = from_bf16(to_bf16(query[i]));
    if (storage == INT8) wide[i] = codes[i] * 0.5;
    length += fabs(wide[i]);
  }
  for (int t = 0; t < n_query; ++t) scale[t] = 0.5f;
  uint8_t *data[N_PAGES];
  const void *pages[N_PAGES];
  float page_scale[N_PAGES];
  for (int i = 0; i < N_PAGES; ++i) {
    /* Of their exact size, and at odd addresses where bytes allow it. */
    size_t shift = storage == INT8 ? (size_t)i % 4 : 0, bytes = (size_t)LENGTHS[i] * row_bytes + shift;
    data[i] = malloc(bytes ? bytes : 1);
    for (int64_t k = 0; k < LENGTHS[i] * dim; ++k) {
      float value = random_float();
      uint16_t half = (uint16_t)((next_random() & 0x83FF) | (next_random() % 16) << 10);
      uint16_t brain = to_bf16(value);
      if (storage == FP32) memcpy(data[i] + k * 4, &value, 4);
      if (storage == FP16) memcpy(data[i] + k * 2, &half, 2);
      if (storage == BF16) memcpy(data[i] + k * 2, &brain, 2);
      if (storage == INT8) data[i][shift + (size_t)k] = (uint8_t)(1 + next_random() % 255);
    }
    pages[i] = data[i] + shift;
    page_scale[i] = 0.25f * (float)i;
  }
  struct maxsim_job job = {storage, dim, n_query, storage == INT8 ? (void *)codes : query, scale, NULL,
                           pages, LENGTHS, page_scale, N_PAGES, scores};
  if (octavo_maxsim(&job)) printf("out of memory\n"), ++n_failed;
  for (int i = 0; i < N_PAGES; ++i) {
    double largest = 0;
    for (int64_t k = 0; k < LENGTHS[i] * dim; ++k) {
      uint16_t half;
      float value;
      if (storage == FP32) memcpy(&value, data[i] + k * 4, 4), rows[k] = value;
      if (storage == FP16) memcpy(&half, data[i] + k * 2, 2), rows[k] = from_fp16(half);
      if (storage == BF16) memcpy(&half, data[i] + k * 2, 2), rows[k] = from_bf16(half);
      if (storage == INT8) rows[k] = (((const uint8_t *)pages[i])[k] - 128) * (double)page_scale[i];
      if (fabs(rows[k]) > largest) largest = fabs(rows[k]);
    }
    if (LENGTHS[i] == 0) {
      expect(names[storage], dim, n_query, 0, scores[i] == -INFINITY, 1, 0);
      continue;
    }
    double wanted = best_sum(wide, rows, dim, n_query, LENGTHS[i]);
    double allowed = 1e-6 * length * largest + fabs(wanted) * 1.2e-7;
    if (storage == BF16 && fabs(scores[i] - wanted) > allowed) /* the query may be rounded, too */
      wanted = best_sum(rounded, rows, dim, n_query, LENGTHS[i]);
    expect(names[storage], dim, n_query, LENGTHS[i], scores[i], wanted, allowed);
  }
  for (int i = 0; i < N_PAGES; ++i) free(data[i]);
  free(query), free(scale), free(codes), free(wide), free(rounded), free(rows);
}

static void check_bits(int dim, int n_query) {
  int n_groups = dim / 4;
  uint8_t *tables = malloc((size_t)n_query * n_groups * 16);
  float *scale = malloc((size_t)n_query * 4), *offset = malloc((size_t)n_query * 4), scores[N_PAGES];
  /* Entries of 32 groups add up to 255 at most. */
  for (int i = 0; i < n_query * n_groups * 16; ++i) tables[i] = (uint8_t)(next_random() % 8);
  for (int t = 0; t < n_query; ++t) scale[t] = 0.5f + (float)t, offset[t] = random_float();
  uint8_t *data[N_PAGES];
  const void *pages[N_PAGES];
  for (int i = 0; i < N_PAGES; ++i) {
    int64_t n_blocks = (LENGTHS[i] + 31) / 32;
    size_t shift = (size_t)i % 4, bytes = (size_t)(n_blocks * n_groups * 16);
    data[i] = malloc(bytes + shift + 1);
    pages[i] = data[i] + shift;
    uint8_t *blocks = data[i] + shift;
    for (size_t k = 0; k < bytes; ++k) blocks[k] = (uint8_t)next_random();
    for (int64_t row = LENGTHS[i]; row < n_blocks * 32; ++row) /* again the block's first row */
      for (int group = 0; group < n_groups; ++group) {
        uint8_t *block = blocks + (row / 32 * n_groups + group) * 16, first = block[0] & 15;
        int at = (int)(row % 32);
        block[at % 16] = at < 16 ? (uint8_t)((block[at] & 0xF0) | first)
                                 : (uint8_t)((block[at - 16] & 15) | first << 4);
      }
  }
  struct maxsim_job job = {BITS, dim, n_query, tables, scale, offset, pages, LENGTHS, NULL, N_PAGES,
                           scores};
  if (octavo_maxsim(&job)) printf("out of memory\n"), ++n_failed;
  for (int i = 0; i < N_PAGES; ++i) {
    double sum = 0;
    for (int t = 0; t < n_query; ++t) {
      int best = 0;
      for (int64_t row = 0; row < LENGTHS[i]; ++row) {
        int each = 0;
        for (int group = 0; group < n_groups; ++group) {
          uint8_t pair = ((const uint8_t *)pages[i])[(row / 32 * n_groups + group) * 16 + row % 16];
          each += tables[(t * n_groups + group) * 16 + (row % 32 < 16 ? pair & 15 : pair >> 4)];
        }
        if (each > best) best = each;
      }
      sum += (double)scale[t] * best + offset[t];
    }
    double wanted = sum / sqrt(dim);
    if (LENGTHS[i]) expect("bits", dim, n_query, LENGTHS[i], scores[i], wanted, fabs(wanted) * 1.2e-7);
    else expect("bits", dim, n_query, 0, scores[i] == -INFINITY, 1, 0);
  }
  for (int i = 0; i < N_PAGES; ++i) free(data[i]);
  free(tables), free(scale), free(offset);
}

/* --- scans and encodings ------------------------------------------------------------------------- */
static void check_scan(int64_t n_words, int64_t n, int is_extreme) {
  size_t size = (size_t)n_words * 64;
  int8_t *query = malloc(size);
  uint8_t *signs = malloc((size_t)(n * n_words) * 8 + 1);
  int64_t *among = malloc((size_t)n * 8 + 8);
  float *scores = malloc((size_t)n * 4 + 4);
  for (size_t i = 0; i < size; ++i)
    query[i] = is_extreme ? 127 : (int8_t)((int)(next_random() % 255) - 127);
  for (int64_t i = 0; i < n * n_words * 8; ++i) signs[i] = is_extreme ? 255 : (uint8_t)next_random();
  for (int64_t i = 0; i < n; ++i) among[i] = n - 1 - i;
  for (int with = 0; with < 2; ++with) {
    struct scan_job job = {signs, n_words, query, 0.5f, with ? among : NULL, n, scores};
    if (octavo_scan(&job)) printf("out of memory\n"), ++n_failed;
    for (int64_t i = 0; i < n; ++i) {
      const uint8_t *row = signs + (with ? among[i] : i) * n_words * 8;
      int64_t sum = 0;
      for (size_t bit = 0; bit < size; ++bit) sum += row[bit / 8] >> bit % 8 & 1 ? query[bit] : -query[bit];
      expect("scan", (int)size, 1, n, scores[i], 0.5 * (double)sum, fabs((double)sum) * 1.2e-7);
    }
  }
  free(query), free(signs), free(among), free(scores);
}

static void check_fde(int dim, int repetitions, int bits, int block_dim, int is_query, int fill) {
  int n_cells = 1 << bits, is_projected = block_dim != 0, width = is_projected ? block_dim : dim;
  size_t n_planes = (size_t)repetitions * bits, size = (size_t)repetitions * n_cells * width;
  float *planes = malloc(n_planes * dim * 4 + 4), *out = malloc(N_PAGES * size * 4);
  float *projections = malloc((size_t)repetitions * width * dim * 4), *rows[N_PAGES];
  for (size_t i = 0; i < n_planes * dim; ++i) planes[i] = random_float();
  for (size_t i = 0; i < (size_t)repetitions * width * dim; ++i) projections[i] = random_float();
  for (int i = 1; i < N_PAGES; ++i) {
    rows[i] = malloc((size_t)LENGTHS[i] * dim * 4);
    for (int64_t k = 0; k < LENGTHS[i] * dim; ++k) rows[i][k] = random_float();
  }
  struct fde_matrices matrices = {dim, repetitions, bits, width, planes,
                                  is_projected ? projections : NULL};
  struct fde_lanes *lanes = octavo_fde_prepare(&matrices);
  struct fde_job job = {lanes, is_query, fill, (const float *const *)rows + 1, LENGTHS + 1,
                        N_PAGES - 1, out};
  if (!lanes || octavo_fde(&job)) printf("out of memory\n"), ++n_failed;
  octavo_fde_release(lanes);
  double *sum = malloc((size_t)dim * 8);
  for (int i = 1; i < N_PAGES; ++i)
    for (int r = 0; r < repetitions; ++r) {
      uint32_t sides[MOST_ROWS]; /* first plane highest */
      int is_sure = 1;
      for (int64_t row = 0; row < LENGTHS[i]; ++row) {
        sides[row] = 0;
        for (int bit = 0; bit < bits; ++bit) {
          const float *plane = planes + ((size_t)bit * repetitions + r) * dim;
          double dot = 0;
          for (int k = 0; k < dim; ++k) dot += (double)plane[k] * rows[i][row * dim + k];
          if (fabs(dot) < 1e-5) is_sure = 0; /* float32 may see the other side */
          sides[row] = sides[row] << 1 | (dot > 0);
        }
      }
      for (int cell = 0; is_sure && cell < n_cells; ++cell) {
        uint32_t own = (uint32_t)(cell ^ cell >> 1);
        int n = 0, nearest = 99;
        int64_t nearest_at = 0;
        for (int k = 0; k < dim; ++k) sum[k] = 0;
        for (int64_t row = 0; row < LENGTHS[i]; ++row) {
          int distance = __builtin_popcount(sides[row] ^ own);
          if (distance < nearest) nearest = distance, nearest_at = row;
          if (distance == 0) {
            ++n;
            for (int k = 0; k < dim; ++k) sum[k] += rows[i][row * dim + k];
          }
        }
        if (n == 0 && !is_query && fill)
          for (int k = 0; k < dim; ++k) sum[k] = rows[i][nearest_at * dim + k];
        for (int column = 0; column < width; ++column) {
          double wanted = is_projected ? 0 : sum[column];
          const float *from = projections + ((size_t)r * width + (size_t)column) * dim;
          for (int k = 0; is_projected && k < dim; ++k) wanted += sum[k] * from[k];
          if (!is_query && n > 1) wanted /= n;
          float found = out[(size_t)(i - 1) * size + ((size_t)r * n_cells + (size_t)cell) * width + (size_t)column];
          expect(is_query ? "query FDE" : "page FDE", dim, block_dim, LENGTHS[i], found, wanted, 1e-5 * dim);
        }
      }
    }
  for (int i = 1; i < N_PAGES; ++i) free(rows[i]);
  free(planes), free(out), free(projections), free(sum);
}

int main(int n_arguments, char **arguments) {
  static const int dims[] = {16, 32, 48, 64, 128, 144, 320, 1024}, counts[] = {1, 3, 4, 5, 16, 33, 70};
  static const int blocks[] = {0, 1, 4, 16, 17, 32};
  if (n_arguments > 1 && octavo_select(arguments[1])) {
    printf("the instruction set %s is not of this processor\n", arguments[1]);
    return 2;
  }
  octavo_threads(3);
  for (int d = 0; d < 8; ++d)
    for (int c = 0; c < 7; ++c) {
      if (dims[d] * counts[c] > 10000) continue; /* the plain loops are slow */
      for (int storage = FP32; storage <= INT8; ++storage) check_maxsim(storage, dims[d], counts[c]);
      check_bits(dims[d], counts[c]);
    }
  check_maxsim(FP32, 16, MAX_QUERY), check_maxsim(INT8, 16, MAX_QUERY), check_bits(16, MAX_QUERY);
  for (int64_t n_words = 1; n_words < 20; n_words += 3)
    for (int64_t n = 0; n < 300; n += 59) check_scan(n_words, n, (n_words & 4) != 0);
  for (int bits = 0; bits <= 8; ++bits)
    for (int b = 0; b < 6; ++b)
      for (int kind = 0; kind < 3; ++kind) check_fde(dims[b], 1 + b % 3, bits, blocks[(b + bits) % 6], kind == 0, kind == 1);
  printf("%s: %d checks, %d failed\n", octavo_isa(), n_checks, n_failed);
  return n_failed != 0;
}
