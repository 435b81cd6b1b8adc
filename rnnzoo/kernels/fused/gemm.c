/* Products of rows with a matrix, for the loops over time: the matrix is laid out once a sequence, in panels of NR
   columns, and a tile of MR rows by NR columns stays in registers. Compiled once per dtype (`real`), for this processor.

   Why not BLAS: the rows of one step are few, its matrix is the same at every step, and a library that packs, threads
   and dispatches anew at each call gets 30 to 50 % of what the processor can do here. */
#include <string.h>

#if defined(__AVX512F__)
enum { BYTES = 64, MR = 14, NV = 2 };
#elif defined(__AVX__)
enum { BYTES = 32, MR = 6, NV = 2 };
#else
enum { BYTES = 16, MR = 8, NV = 2 };
#endif
enum { W = BYTES / sizeof(real), NR = NV * W, KC = 512 };
typedef real vec __attribute__((vector_size(BYTES)));
typedef real loose __attribute__((vector_size(BYTES), aligned(sizeof(real))));

/* `packed` are panels of (k, NR) */
static inline long least(long a, long b) { return a < b ? a : b; }

long panels(long n) { return (n + NR - 1) / NR; }
long panel_bytes(long k) { return k * NR * sizeof(real); }

/* Lays out the panels from `first` to `last`. */
void pack(const weight *w, long first, long last) {
  for (long q = first; q < last; q++) {
    real *out = (real *)w->packed + q * NR * w->k;
    long columns = least(w->n - q * NR, NR);
    if (columns < NR) memset(out, 0, panel_bytes(w->k));
    if (w->turned) {
      for (long p0 = 0; p0 < w->k; p0 += 16)
        for (long j = 0; j < columns; j++) {
          const real *row = w->w + (q * NR + j) * w->ld;
          for (long p = p0; p < least(p0 + 16, w->k); p++) out[p * NR + j] = row[p];
        }
    } else
      for (long p = 0; p < w->k; p++) memcpy(out + p * NR, w->w + p * w->ld + q * NR, columns * sizeof(real));
  }
}

/* mr rows (a, `down` numbers a row, `along` numbers a column) times a panel, written to or added to c */
static inline __attribute__((always_inline)) void tile(const int mr, long k, const real *a, long down, long along,
                                                       const real *b, real *c, long ldc, long columns, int add) {
  vec sum[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) sum[i][j] = (vec){};
#pragma GCC unroll 4
  for (long p = 0; p < k; p++) {
    vec right[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) right[j] = *(const vec *)(b + p * NR + j * W);
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
      vec left = a[i * down + p * along] - (vec){};
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) sum[i][j] += left * right[j];
    }
  }
  if (columns == NR) {
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) {
        loose *at = (loose *)(c + i * ldc + j * W);
        *at = add ? *at + sum[i][j] : sum[i][j];
      }
  } else {
    real out[MR][NR];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) *(loose *)(out[i] + j * W) = sum[i][j];
    for (int i = 0; i < mr; i++)
      for (long j = 0; j < columns; j++) c[i * ldc + j] = add ? c[i * ldc + j] + out[i][j] : out[i][j];
  }
}

#define CASE(mr) \
  case mr: tile(mr, k, a, down, along, b, c, ldc, columns, add); break;
#if defined(__AVX512F__)
#define CASES CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) \
  CASE(13) CASE(14)
#elif defined(__AVX__)
#define CASES CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#else
#define CASES CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#endif
static void of_rows(long mr, long k, const real *a, long lda, const real *b, real *c, long ldc, long columns, int add) {
  const long down = lda, along = 1;
  switch (mr) { CASES }
}
static void of_block(long mr, long k, const real *a, const real *b, real *c, long ldc, long columns, int add) {
  const long down = 1, along = MR;
  switch (mr) { CASES }
}

/* c (m, n) = or += a (m, k) @ w, in the columns of the panels from `first` to `last` */
void gemm(const weight *w, long first, long last, long m, const real *a, long lda, real *c, long ldc, int add) {
  const long n = w->n, blocks = (m + MR - 1) / MR;
  for (long p = 0; p < w->k; p += KC)
    for (long q = first; q < last; q++)
      for (long i = 0; i < blocks; i++) { /* as even as can be: a tile of one row costs as much as one of five */
        long r = m * i / blocks, mr = m * (i + 1) / blocks - r;
        of_rows(mr, least(w->k - p, KC), a + r * lda + p, lda, (real *)w->packed + (q * w->k + p) * NR, c + r * ldc + q * NR,
                ldc, least(n - q * NR, NR), add || p > 0);
      }
}

/* The same over many rows, shared by threads; lays out the matrix as well. */
void gemm_all(long threads, const weight *w, long m, const real *a, long lda, real *c, long ldc, int add) {
  enum { ROWS = 4 * MR };
  const long last = panels(w->n);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for
    for (long q = 0; q < last; q++) pack(w, q, q + 1);
#pragma omp for schedule(dynamic, 1)
    for (long r = 0; r < m; r += ROWS) gemm(w, 0, last, least(m - r, ROWS), a + r * lda, lda, c + r * ldc, ldc, add);
  }
}

/* out (P, Q) = or += left (N, P)^T @ right (N, Q), and where `sums` is there, sums (P) = or += the sum of left's rows.
   `packed`: room for KC rows of right in panels; it is 64-byte aligned. */
void outer(long threads, long N, long P, long Q, const real *left, long ldl, const real *right, long ldr, real *out,
           real *sums, real *packed, int add) {
  const long blocks = (P + MR - 1) / MR, columns = panels(Q);
#pragma omp parallel num_threads(threads) if (threads > 1)
  for (long p = 0; p < N; p += KC) {
    const long k = least(N - p, KC);
    const weight w = {right + p * ldr, Q, k, ldr, 0, packed};
#pragma omp for
    for (long q = 0; q < columns; q++) pack(&w, q, q + 1);
#pragma omp for schedule(dynamic, 1)
    for (long i = 0; i < blocks; i++) {
      real block[KC][MR];
      const long from = i * MR, mr = least(P - from, MR);
      if (mr == MR)
        for (long r = 0; r < k; r++) memcpy(block[r], left + (p + r) * ldl + from, sizeof block[r]);
      else
        for (long r = 0; r < k; r++)
          for (long j = 0; j < MR; j++) block[r][j] = j < mr ? left[(p + r) * ldl + from + j] : 0;
      if (sums) {
        real sum[MR] = {0};
        for (long r = 0; r < k; r++)
          for (long j = 0; j < MR; j++) sum[j] += block[r][j];
        for (long j = 0; j < mr; j++) sums[from + j] = add || p ? sums[from + j] + sum[j] : sum[j];
      }
      for (long q = 0; q < columns; q++)
        of_block(mr, k, block[0], packed + q * NR * k, out + from * Q + q * NR, Q, least(Q - q * NR, NR), add || p > 0);
    }
  }
}
long outer_bytes(long Q) { return panels(Q) * panel_bytes(KC); }
