/* Queries in 8 bits. Additions are in one order and products stand alone, so that numpy, which does
 * the same in the same order, gives the same bits. */

static void round_to_int8(const float *query, int n, int dim, int8_t *codes, float *scale) {
  for (int row = 0; row < n; ++row, query += dim, codes += dim) {
    float largest = 0;
    for (int k = 0; k < dim; ++k) largest = fmaxf(largest, fabsf(query[k]));
    float divisor = largest > 0 ? largest : 1;
    for (int k = 0; k < dim; ++k) codes[k] = (int8_t)rintf(query[k] / divisor * 127.f);
    scale[row] = largest / 127.f;
  }
}

/* What the 16 combinations of four signs make of four values; the lowest of them is taken off. */
static float combine_signs(const float *values, float sums[16]) {
  float lowest = INFINITY;
  for (int signs = 0; signs < 16; ++signs) {
    float sum = signs & 1 ? values[0] : -values[0];
    sum += signs & 2 ? values[1] : -values[1];
    sum += signs & 4 ? values[2] : -values[2];
    sum += signs & 8 ? values[3] : -values[3];
    sums[signs] = sum;
    lowest = fminf(lowest, sum);
  }
  for (int signs = 0; signs < 16; ++signs) sums[signs] -= lowest;
  return lowest;
}

static void round_to_tables(const float *query, int n, int dim, uint8_t *tables, float *scale,
                            float *offset) {
  int n_groups = dim / 4;
  float sums[MAX_DIM / 4][16];
  for (int row = 0; row < n; ++row, query += dim, tables += n_groups * 16) {
    float widest = 0, span = 0, total = 0;
    for (int group = 0; group < n_groups; ++group) {
      if (group % 32 == 0) span = 0;
      total += combine_signs(query + group * 4, sums[group]);
      float most = 0;
      for (int signs = 0; signs < 16; ++signs) most = fmaxf(most, sums[group][signs]);
      span += most;
      widest = fmaxf(widest, span);
    }
    float divisor = widest > 0 ? widest : 1;
    for (int group = 0; group < n_groups; ++group)
      for (int signs = 0; signs < 16; ++signs)
        tables[group * 16 + signs] = (uint8_t)rintf(sums[group][signs] / divisor * 239.f);
    scale[row] = widest / 239.f;
    offset[row] = total;
  }
}

void octavo_round_query(int storage, const float *query, int n, int dim, void *codes, float *scale,
                        float *offset) {
  if (storage == INT8) round_to_int8(query, n, dim, codes, scale);
  if (storage == BITS) round_to_tables(query, n, dim, codes, scale, offset);
}
