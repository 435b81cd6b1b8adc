/* Products of rows with a matrix, for the loops over time: the matrix is laid out once a sequence, in panels of NR
   columns, and a tile of MR rows by NR columns stays in registers. Compiled once per dtype (`real`, of REAL bytes, with
   `lane` for a whole number as wide), for this processor.

   Why not BLAS: the rows of one step are few, its matrix is the same at every step, and a library that packs, threads
   and dispatches anew at each call gets 30 to 50 % of what the processor can do here. */
#if defined(__AVX512F__)
#define BYTES 64
enum { MR = 14, NV = 2 };
#elif defined(__AVX__)
#define BYTES 32
enum { MR = 6, NV = 2 };
#else
#define BYTES 16
enum { MR = 8, NV = 2 };
#endif
#define LANES (BYTES / REAL)
enum { W = LANES, NR = NV * W, NP = 4, KC = 512, OC = 256, AT_ONCE = 16, LEFT = (MR + W - 1) / W * W, AHEAD = 64 };
typedef real vec __attribute__((vector_size(BYTES)));
typedef lane lanes __attribute__((vector_size(BYTES)));
typedef real loose __attribute__((vector_size(BYTES), aligned(sizeof(real))));

/* `packed` are panels of (k, NR) */
long panels(long n) { return (n + NR - 1) / NR; }
long panel_bytes(long k) { return k * NR * sizeof(real); }

/* W rows of W numbers, turned: in step s every two rows that are s apart change their halves of 2 s columns */
#define LOW(i, s) ((i) & (s) ? W + (i) - (s) : (i))
#define HIGH(i, s) ((i) & (s) ? W + (i) : (i) + (s))
#define TWO(F, i, s) F(i, s), F(i + 1, s)
#define FOUR(F, i, s) TWO(F, i, s), TWO(F, i + 2, s)
#define EIGHT(F, i, s) FOUR(F, i, s), FOUR(F, i + 4, s)
#define SIXTEEN(F, i, s) EIGHT(F, i, s), EIGHT(F, i + 8, s)
#define EXCHANGE(s) \
  for (int i = 0; i < W; i++) \
    if (!(i & (s))) { \
      vec a = r[i], b = r[i + (s)]; \
      r[i] = __builtin_shuffle(a, b, (lanes){ALL(LOW, 0, s)}); \
      r[i + (s)] = __builtin_shuffle(a, b, (lanes){ALL(HIGH, 0, s)}); \
    }
static inline __attribute__((always_inline)) void turn(vec *r) {
#if LANES == 16
#define ALL SIXTEEN
#elif LANES == 8
#define ALL EIGHT
#elif LANES == 4
#define ALL FOUR
#else
#define ALL TWO
#endif
#pragma GCC unroll 16
  EXCHANGE(1)
#if LANES > 2
#pragma GCC unroll 16
  EXCHANGE(2)
#endif
#if LANES > 4
#pragma GCC unroll 16
  EXCHANGE(4)
#endif
#if LANES > 8
#pragma GCC unroll 16
  EXCHANGE(8)
#endif
}

/* Lays out the panels from `first` to `last`. */
void pack(const weight *w, long first, long last) {
  for (long q = first; q < last; q++) {
    real *out = (real *)w->packed + q * NR * w->k;
    const long columns = least(w->n - q * NR, NR);
    if (columns < NR) memset(out, 0, panel_bytes(w->k));
    if (w->turned) {
      const real *rows = w->w + q * NR * w->ld;
      for (long p = 0; p < w->k; p += W)
        for (long j = 0; j < columns; j += W)
          if (p + W <= w->k && j + W <= columns) {
            vec r[W];
#pragma GCC unroll 16
            for (int i = 0; i < W; i++) r[i] = *(const loose *)(rows + (j + i) * w->ld + p);
            turn(r);
#pragma GCC unroll 16
            for (int i = 0; i < W; i++) *(vec *)(out + (p + i) * NR + j) = r[i];
          } else
            for (long i = j; i < least(j + W, columns); i++)
              for (long z = p; z < least(p + W, w->k); z++) out[z * NR + i] = rows[i * w->ld + z];
    } else
      for (long p = 0; p < w->k; p++) memcpy(out + p * NR, w->w + p * w->ld + q * NR, columns * sizeof(real));
  }
}

/* A panel is read once a step, from far away if it is large, so its numbers are asked for before they are needed: by a
   tile some of its `own`, or where more tiles read the panel, by each some of the next panel (`ahead`, `stride` bytes at
   a time), for then memory is at work all the time. */
#define OWN 1, 0, 0

/* mr rows (a, `down` numbers a row, `along` numbers a column) times np panels, which lie `apart` numbers apart, written
   to or added to c */
static inline __attribute__((always_inline)) void tile(const int mr, const int np, long k, const real *a, long down,
                                                       long along, const real *b, long apart, real *c, long ldc,
                                                       long columns, int add, const int own, const char *ahead,
                                                       long stride) {
  vec sum[MR][NP * NV];
#pragma GCC unroll 16
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
    for (int j = 0; j < np * NV; j++) sum[i][j] = (vec){};
#pragma GCC unroll 4
  for (long p = 0; p < k; p++) {
    vec right[NP * NV];
#pragma GCC unroll 8
    for (int j = 0; j < np * NV; j++) {
      const real *at = b + j / NV * apart + p * NR + j % NV * W;
      right[j] = *(const vec *)at;
      if (own) __builtin_prefetch(at + AHEAD * NR);
    }
    if (!own) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += stride;
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
      vec left = a[i * down + p * along] - (vec){};
#pragma GCC unroll 8
      for (int j = 0; j < np * NV; j++) sum[i][j] += left * right[j];
    }
  }
  if (columns == np * NR) {
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
      for (int j = 0; j < np * NV; j++) {
        loose *at = (loose *)(c + i * ldc + j * W);
        *at = add ? *at + sum[i][j] : sum[i][j];
      }
  } else {
    real out[MR][NP * NR];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
      for (int j = 0; j < np * NV; j++) *(loose *)(out[i] + j * W) = sum[i][j];
    for (int i = 0; i < mr; i++)
      for (long j = 0; j < columns; j++) c[i * ldc + j] = add ? c[i * ldc + j] + out[i][j] : out[i][j];
  }
}

#define CASE(mr) \
  case mr: tile(mr, 1, k, a, down, along, b, 0, c, ldc, columns, add, OWN); break;
#if defined(__AVX512F__)
#define CASES CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) \
  CASE(13) CASE(14)
#define SHARED_CASES SHARED(7) SHARED(8) SHARED(9) SHARED(10) SHARED(11) SHARED(12)
#elif defined(__AVX__)
#define CASES CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#define SHARED_CASES SHARED(3) SHARED(4) SHARED(5)
#else
#define CASES CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#define SHARED_CASES SHARED(4) SHARED(5) SHARED(6) SHARED(7)
#endif
static void of_rows(long mr, long k, const real *a, long lda, const real *b, real *c, long ldc, long columns, int add) {
  const long down = lda, along = 1;
  switch (mr) { CASES }
}
static void of_block(long mr, long k, const real *a, const real *b, real *c, long ldc, long columns, int add) {
  const long down = 1, along = LEFT;
  switch (mr) { CASES }
}

/* The i-th of some blocks of rows that go by the same panel. */
#define SHARED(mr) \
  case mr: tile(mr, 1, k, a, lda, 1, b, 0, c, ldc, columns, add, 0, ahead, stride); break;
static void of_shared(long mr, long k, const real *a, long lda, const real *b, real *c, long ldc, long columns, int add,
                      const char *ahead, long stride) {
  switch (mr) {
    SHARED_CASES
    default: of_rows(mr, k, a, lda, b, c, ldc, columns, add); /* full tiles have no register left to ask by */
  }
}

/* Where rows are so few that the sums of one panel would wait for each other: those of two panels, or of four. */
static long side_by_side(long m) { return m == 1 ? 4 : m < 4 ? 2 : 1; }
#define FEW(mr, np) \
  case 4 * np + mr: tile(mr, np, k, a, lda, 1, b, apart, c, ldc, columns, add, OWN); break;
static void of_few(long mr, long np, long k, const real *a, long lda, const real *b, long apart, real *c, long ldc,
                   long columns, int add) {
  switch (4 * np + mr) { FEW(1, 4) FEW(1, 2) FEW(2, 2) FEW(3, 2) }
}

/* c (m, n) = or += a (m, k) @ w, in the columns of the panels from `first` to `last` */
void gemm(const weight *w, long first, long last, long m, const real *a, long lda, real *c, long ldc, int add) {
  const long n = w->n, blocks = (m + MR - 1) / MR, apart = w->k * NR;
  for (long p = 0; p < w->k; p += KC) {
    const long k = least(w->k - p, KC), more = add || p > 0;
    const real *b = (real *)w->packed + first * apart + p * NR;
    long q = first;
    for (long np = side_by_side(m); np > 1; np /= 2)
      for (; q + np <= last; q += np, b += np * apart)
        of_few(m, np, k, a + p, lda, b, apart, c + q * NR, ldc, least(n - q * NR, np * NR), more);
    for (; q < last; q++, b += apart) {
      const long columns = least(n - q * NR, NR);
      for (long i = 0; i < blocks; i++) { /* as even as can be: a tile of one row costs as much as one of five */
        const long r = m * i / blocks, mr = m * (i + 1) / blocks - r;
        if (blocks == 1)
          of_rows(mr, k, a + p, lda, b, c + q * NR, ldc, columns, more);
        else
          of_shared(mr, k, a + r * lda + p, lda, b, c + r * ldc + q * NR, ldc, columns, more,
                    (const char *)(b + apart) + share(k * NR * sizeof(real), i, blocks), NR * sizeof(real) / blocks);
      }
    }
  }
}

/* n numbers, and zeros up to `room` */
static inline __attribute__((always_inline)) void part(const real *p, long n, const long room, real *out) {
  if (n >= room)
    for (long j = 0; j < room; j += W) *(vec *)(out + j) = *(const loose *)(p + j);
  else
    for (long j = 0; j < room; j++) out[j] = j < n ? p[j] : 0;
}

/* sums (n) = or += those of k rows */
static inline __attribute__((always_inline)) void add_rows(const real *rows, long k, const long room, long n, real *sums,
                                                           int add) {
  real sum[NR > LEFT ? NR : LEFT] = {0};
  for (long r = 0; r < k; r++)
    for (long j = 0; j < room; j++) sum[j] += rows[r * room + j];
  for (long j = 0; j < n; j++) sums[j] = add ? sums[j] + sum[j] : sum[j];
}

long outer_bytes(long threads, long P, long Q) {
  const long down = row_shares(threads, P, Q), across = threads / down, blocks = (P + MR - 1) / MR;
  const long own = ((panels(Q) + across - 1) / across * NR + (blocks + down - 1) / down * LEFT) * OC * sizeof(real);
  return threads * own;
}

/* out (P, Q) = or += left (N, P)^T @ right (N, Q), and where they are there, left_sums (P) and right_sums (Q) = or += the
   sums of their rows. `packed`: room of outer_bytes. Each thread has a part of out, and lays out what it needs for it by
   itself, OC rows at a time as they lie: what another has written is as far away as memory. Of AT_ONCE rows it lays out
   the same columns before it goes on, for the parts lie so far apart that the first cache cannot hold them all. */
void outer(long threads, long N, long P, long Q, const real *left, long ldl, const real *right, long ldr, real *out,
           real *left_sums, real *right_sums, void *packed, int add) {
  const long blocks = (P + MR - 1) / MR, columns = panels(Q), down = row_shares(threads, P, Q), across = threads / down;
  const long room = outer_bytes(threads, P, Q) / sizeof(real) / threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (long t = 0; t < threads; t++) {
    const long i0 = share(blocks, t % down, down), i1 = share(blocks, t % down + 1, down);
    const long q0 = share(columns, t / down, across), q1 = share(columns, t / down + 1, across);
    real *const rights = (real *)packed + t * room, *const lefts = rights + (q1 - q0) * NR * OC;
    for (long p = 0; p < N && i0 < i1 && q0 < q1; p += OC) {
      const long k = least(N - p, OC);
      const int more = add || p;
      for (long r = 0; r < k; r += AT_ONCE) {
        const long end = least(r + AT_ONCE, k);
        for (long q = q0; q < q1; q++)
          for (long z = r; z < end; z++)
            part(right + (p + z) * ldr + q * NR, least(Q - q * NR, NR), NR, rights + ((q - q0) * k + z) * NR);
        for (long i = i0; i < i1; i++) {
          const long from = share(P, i, blocks);
          for (long z = r; z < end; z++)
            part(left + (p + z) * ldl + from, least(P - from, LEFT), LEFT, lefts + ((i - i0) * k + z) * LEFT);
        }
      }
      for (long i = i0; i < i1; i++) {
        const long from = share(P, i, blocks), mr = share(P, i + 1, blocks) - from;
        const real *block = lefts + (i - i0) * k * LEFT;
        if (left_sums && q0 == 0) add_rows(block, k, LEFT, mr, left_sums + from, more);
        for (long q = q0; q < q1; q++) {
          const real *panel = rights + (q - q0) * k * NR;
          const long there = least(Q - q * NR, NR);
          if (right_sums && i == 0) add_rows(panel, k, NR, there, right_sums + q * NR, more);
          of_block(mr, k, block, panel, out + from * Q + q * NR, Q, there, more);
        }
      }
    }
  }
}
