/* What the machine could do at most; benchmarks put their figures beside these. */
#define EACH_OF_24(X) \
  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) \
  X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)

struct peak { int kind; int64_t iterations; };

#if defined(__x86_64__)
#define PEAK(name, features, type, zero, step)                                      \
  __attribute__((target(features))) static void name(int64_t iterations) {          \
    type x = zero, y = zero;                                                        \
    EACH_OF_24(PEAK_BEGIN_##type)                                                   \
    for (int64_t i = 0; i < iterations; ++i) {                                      \
      __asm__ volatile("" : "+v"(x), "+v"(y));                                      \
      EACH_OF_24(step)                                                              \
    }                                                                               \
    EACH_OF_24(PEAK_END)                                                            \
  }
#define PEAK_BEGIN___m512(i) __m512 a##i = _mm512_setzero_ps(); __asm__ volatile("" : "+v"(a##i));
#define PEAK_BEGIN___m512i(i) __m512i a##i = _mm512_setzero_si512(); __asm__ volatile("" : "+v"(a##i));
#define PEAK_END(i) __asm__ volatile("" ::"v"(a##i));
#define STEP_FP32(i) a##i = _mm512_fmadd_ps(x, y, a##i);
#define STEP_BF16(i) a##i = _mm512_dpbf16_ps(a##i, (__m512bh)(x), (__m512bh)(y));
#define STEP_INT8(i) a##i = _mm512_dpbusd_epi32(a##i, x, y);
PEAK(peak_fp32, "avx512f", __m512, _mm512_setzero_ps(), STEP_FP32)
PEAK(peak_bf16, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(), STEP_BF16)
PEAK(peak_int8, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(), STEP_INT8)
#endif

static void run_peak(const void *context, int64_t first, int64_t last) {
  const struct peak *peak = context;
  (void)first, (void)last;
#if defined(__x86_64__)
  if (peak->kind == FP32) peak_fp32(peak->iterations);
  if (peak->kind == BF16) peak_bf16(peak->iterations);
  if (peak->kind == INT8) peak_int8(peak->iterations);
#else
  (void)peak;
#endif
}

double octavo_peak(int kind, int64_t iterations) {
  usable(NULL);
  double per_step = 0;
  if (processor.avx512 && kind == FP32) per_step = 32;
  if (processor.bf16 && kind == BF16) per_step = 64;
  if (processor.avx512 && kind == INT8) per_step = 128;
  if (per_step == 0) return 0;
  struct peak peak = {kind, iterations};
  share_out(run_peak, &peak, queue.n_threads, 1);
  return per_step * 24 * (double)iterations;
}

struct bytes { const uint8_t *bytes; _Atomic int64_t sum; };

static void read_bytes(const void *context, int64_t first, int64_t last) {
  struct bytes *all = (struct bytes *)context;
  typedef uint64_t words __attribute__((ext_vector_type(8)));
  words sums[4] = {(words)(0), (words)(0), (words)(0), (words)(0)};
  for (int64_t block = first * 65536; block < last * 65536; block += 256)
    for (int i = 0; i < 4; ++i) {
      words each;
      memcpy(&each, all->bytes + block + 64 * i, sizeof each);
      sums[i] += each;
    }
  words sum = sums[0] + sums[1] + sums[2] + sums[3];
  atomic_fetch_add_explicit(&all->sum, (int64_t)sum[0], memory_order_relaxed);
}

int64_t octavo_read(const uint8_t *bytes, int64_t n) {
  struct bytes all = {bytes, 0};
  share_out(read_bytes, &all, n / 65536, 16);
  return all.sum;
}
