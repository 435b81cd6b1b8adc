/* c (m, n) = or += a (m, k) @ w of many rows, shared by threads; lays out the matrix as well. */
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
