/* What gemm.c and gemm_tiles.c share out alike. */
#include <string.h>

static inline long least(long a, long b) { return a < b ? a : b; }

/* Of `threads` that share the rows of blocks and the columns of panels, how many share the rows: what each of them has to
   lay out is to be as little as can be. */
static long row_shares(long threads, long P, long Q) {
  long best = 1;
  for (long n = 2; n <= threads; n++)
    if (threads % n == 0 && P / n + Q * n / threads < P / best + Q * best / threads) best = n;
  return best;
}
static inline long share(long n, long k, long shares) { return n * k / shares; }
