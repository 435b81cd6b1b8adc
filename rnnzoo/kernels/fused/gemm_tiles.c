/* Products of rows with a matrix, as gemm.c has them, of numbers rounded to bfloat16 and added up in float32, in the
   tiles of a processor with AMX: a tile is 16 rows of 64 bytes, and one instruction multiplies (16, 32) by (32, 16).

   A matrix is laid out once a sequence, in panels of 32 columns: for every 32 rows two tiles, in which the numbers of two
   rows lie side by side, as the instruction wants them. Rows are rounded where they are read. */
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(__AMX_BF16__) || !defined(__AVX512BF16__)
#error "no AMX"
#endif

enum { MR = 32, NR = 32, KB = 32, TILE = 1024, KC = 1024 /* rows of a matrix at once */, OC = 512 /* of an outer one */ };

static inline long blocks_of(long k) { return (k + KB - 1) / KB; }

/* The system keeps tiles for processes that have asked for them; 0 where it grants them. */
long permitted(void) { return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XFEATURE_XTILEDATA */); }

long panels(long n) { return (n + NR - 1) / NR; }
long panel_bytes(long k) { return blocks_of(k) * 2 * TILE; }

static inline __mmask16 first(long n) { return n >= 16 ? 0xffff : n > 0 ? (1u << n) - 1 : 0; }
static inline __m512 some(const float *p, long n) { return _mm512_maskz_loadu_ps(first(n), p); }

/* 32 numbers that lie side by side, rounded */
static inline __m512i rounded(const float *p, long n) {
  return (__m512i)_mm512_cvtne2ps_pbh(some(p + 16, n - 16), some(p, n));
}

/* numbers of two rows, rounded, in pairs */
static inline __m512i pairs(__m512 a, __m512 b) {
  __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(a));
  __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(b));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/* 16 rows of 16 pairs, turned */
static inline void turn(__m512i *r, __m512i *out) {
  __m512i t[16], s[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 2; j++) {
      s[4 * i + 2 * j] = _mm512_unpacklo_epi64(t[4 * i + j], t[4 * i + 2 + j]);
      s[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(t[4 * i + j], t[4 * i + 2 + j]);
    }
  for (int j = 0; j < 4; j++) {
    __m512i a = _mm512_shuffle_i32x4(s[j], s[4 + j], 0x88), b = _mm512_shuffle_i32x4(s[8 + j], s[12 + j], 0x88);
    __m512i c = _mm512_shuffle_i32x4(s[j], s[4 + j], 0xdd), d = _mm512_shuffle_i32x4(s[8 + j], s[12 + j], 0xdd);
    out[j] = _mm512_shuffle_i32x4(a, b, 0x88);
    out[4 + j] = _mm512_shuffle_i32x4(c, d, 0x88);
    out[8 + j] = _mm512_shuffle_i32x4(a, b, 0xdd);
    out[12 + j] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
}

/* 32 rows of p, 16 columns, in pairs of rows; what lies behind `rows` or `columns` is 0. Where `sums` is there, it is or
   gets the sum of the rows. */
static inline void pairs_of_rows(const float *p, long ld, long rows, long columns, float *sums, int add, __m512i *out) {
  __m512 sum = sums && add ? some(sums, columns) : _mm512_setzero_ps();
  for (long r = 0; r < 16; r++) {
    __m512 a = 2 * r < rows ? some(p + 2 * r * ld, columns) : _mm512_setzero_ps();
    __m512 b = 2 * r + 1 < rows ? some(p + (2 * r + 1) * ld, columns) : _mm512_setzero_ps();
    sum += a + b;
    out[r] = pairs(a, b);
  }
  if (sums) _mm512_mask_storeu_ps(sums, first(columns), sum);
}

/* Lays out the panels from `first` to `last`. */
void pack(const weight *w, long first, long last) {
  for (long q = first; q < last; q++) {
    __m512i *out = (__m512i *)((char *)w->packed + q * panel_bytes(w->k));
    for (long p = 0; p < w->k; p += KB)
      for (long j = q * NR; j < q * NR + NR; j += 16, out += 16) {
        if (!w->turned)
          pairs_of_rows(w->w + p * w->ld + j, w->ld, w->k - p, w->n - j, 0, 0, out);
        else {
          __m512i rows[16];
          for (long i = 0; i < 16; i++)
            rows[i] = j + i < w->n ? rounded(w->w + (j + i) * w->ld + p, w->k - p) : _mm512_setzero_si512();
          turn(rows, out);
        }
      }
  }
}

/* Sets the tiles up for blocks of `rows` rows: 0 to 3 are sums, 4 and 5 rows, 6 and 7, and 5 where it is free, a panel's */
static void set_up(long rows) {
  struct { unsigned char palette, start, none[14]; unsigned short bytes[16]; unsigned char rows[16]; } c = {1};
  for (int i = 0; i < 8; i++) c.bytes[i] = 64, c.rows[i] = 16;
  if (rows > 16)
    c.rows[2] = c.rows[3] = c.rows[5] = rows - 16;
  else
    c.rows[0] = c.rows[1] = c.rows[2] = c.rows[3] = c.rows[4] = rows;
  _tile_loadconfig(&c);
}

/* more than 16 rows times a panel, or up to 16 rows times one panel or two; sums go to, or are added to, c */
static inline void two_by_two(long blocks, const char *a, const char *b, float *c, long ldc, int add) {
  if (add) {
    _tile_loadd(0, c, 4 * ldc); _tile_loadd(1, c + 16, 4 * ldc);
    _tile_loadd(2, c + 16 * ldc, 4 * ldc); _tile_loadd(3, c + 16 * ldc + 16, 4 * ldc);
  } else {
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  }
  for (long k = 0; k < blocks; k++, a += 2 * TILE, b += 2 * TILE) {
    _tile_loadd(4, a, 64); _tile_loadd(6, b, 64); _tile_loadd(7, b + TILE, 64); _tile_loadd(5, a + TILE, 64);
    _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, 4 * ldc); _tile_stored(1, c + 16, 4 * ldc);
  _tile_stored(2, c + 16 * ldc, 4 * ldc); _tile_stored(3, c + 16 * ldc + 16, 4 * ldc);
}
static inline void one_by_two(long blocks, const char *a, const char *b, float *c, long ldc, int add) {
  if (add) {
    _tile_loadd(0, c, 4 * ldc); _tile_loadd(1, c + 16, 4 * ldc);
  } else {
    _tile_zero(0); _tile_zero(1);
  }
  for (long k = 0; k < blocks; k++, a += 2 * TILE, b += 2 * TILE) {
    _tile_loadd(4, a, 64); _tile_loadd(6, b, 64); _tile_loadd(7, b + TILE, 64);
    _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, c, 4 * ldc); _tile_stored(1, c + 16, 4 * ldc);
}
static inline void one_by_four(long blocks, const char *a, const char *b, const char *d, float *c, long ldc, int add) {
  if (add) {
    _tile_loadd(0, c, 4 * ldc); _tile_loadd(1, c + 16, 4 * ldc);
    _tile_loadd(2, c + 32, 4 * ldc); _tile_loadd(3, c + 48, 4 * ldc);
  } else {
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  }
  for (long k = 0; k < blocks; k++, a += 2 * TILE, b += 2 * TILE, d += 2 * TILE) {
    _tile_loadd(4, a, 64); _tile_loadd(5, b, 64); _tile_loadd(6, b + TILE, 64); _tile_loadd(7, d, 64);
    _tile_dpbf16ps(0, 4, 5); _tile_dpbf16ps(1, 4, 6); _tile_dpbf16ps(2, 4, 7);
    _tile_loadd(5, d + TILE, 64);
    _tile_dpbf16ps(3, 4, 5);
  }
  _tile_stored(0, c, 4 * ldc); _tile_stored(1, c + 16, 4 * ldc);
  _tile_stored(2, c + 32, 4 * ldc); _tile_stored(3, c + 48, 4 * ldc);
}

/* rows, laid out in tiles, times the panels from `first` to `last`, each `apart` bytes behind the one before */
static void times_panels(long rows, long blocks, const char *a, const char *b, long apart, long first, long last, long n,
                         float *c, long ldc, int add) {
  for (long q = first; q < last; q++) {
    const char *panel = b + q * apart;
    const long columns = least(n - q * NR, NR);
    float *at = c + q * NR;
    if (columns == NR && rows > 16)
      two_by_two(blocks, a, panel, at, ldc, add);
    else if (columns == NR && q + 1 < last && n - q * NR >= 2 * NR)
      one_by_four(blocks, a, panel, panel + apart, at, ldc, add), q++;
    else if (columns == NR)
      one_by_two(blocks, a, panel, at, ldc, add);
    else {
      float sums[MR][NR];
      if (rows > 16)
        two_by_two(blocks, a, panel, sums[0], NR, 0);
      else
        one_by_two(blocks, a, panel, sums[0], NR, 0);
      for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) at[i * ldc + j] = add ? at[i * ldc + j] + sums[i][j] : sums[i][j];
    }
  }
}

/* c (m, n) = or += a (m, k) @ w, in the columns of the panels from `first` to `last` */
void gemm(const weight *w, long first, long last, long m, const float *a, long lda, float *c, long ldc, int add) {
  __m512i laid[KC / KB][MR] __attribute__((aligned(64)));
  const long count = (m + MR - 1) / MR;
  long before = 0;
  for (long i = 0; i < count; i++) {
    const long r = i * MR, rows = least(m - r, MR);
    if (rows != before) set_up(before = rows);
    for (long p = 0; p < w->k; p += KC) {
      const long k = least(w->k - p, KC), blocks = blocks_of(k);
      for (long j = 0; j < rows; j++)
        for (long z = 0; z < blocks; z++) laid[z][j] = rounded(a + (r + j) * lda + p + z * KB, k - z * KB);
      times_panels(rows, blocks, (char *)laid, (char *)w->packed + p / KB * 2 * TILE, panel_bytes(w->k), first, last,
                   w->n, c + r * ldc, ldc, add || p);
    }
  }
  _tile_release();
}

long outer_bytes(long threads, long P, long Q) {
  const long down = row_shares(threads, P, Q), across = threads / down;
  const long own = (panels(Q) + across - 1) / across + ((P + MR - 1) / MR + down - 1) / down;
  return threads * own * panel_bytes(OC);
}

/* out (P, Q) = or += left (N, P)^T @ right (N, Q), and where they are there, left_sums (P) and right_sums (Q) = or += the
   sums of their rows. `packed`: room of outer_bytes. Each thread has a part of out, and lays out what it needs for it by
   itself, OC rows at a time as they lie. */
void outer(long threads, long N, long P, long Q, const float *left, long ldl, const float *right, long ldr, float *out,
           float *left_sums, float *right_sums, void *packed, int add) {
  const long count = (P + MR - 1) / MR, columns = panels(Q), down = row_shares(threads, P, Q), across = threads / down;
  const long room = outer_bytes(threads, P, Q) / threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
  for (long t = 0; t < threads; t++) {
    const long i0 = share(count, t % down, down), i1 = share(count, t % down + 1, down);
    const long q0 = share(columns, t / down, across), q1 = share(columns, t / down + 1, across);
    for (long p = 0; p < N && i0 < i1 && q0 < q1; p += OC) {
      const long k = least(N - p, OC), blocks = blocks_of(k);
      __m512i *const rights = (__m512i *)((char *)packed + t * room), *const lefts = rights + (q1 - q0) * blocks * NR;
      const int more = add || p;
      for (long z = 0; z < blocks; z++) {
        const long r = p + z * KB, rows = k - z * KB;
        for (long j = q0 * NR; j < q1 * NR; j += 16)
          pairs_of_rows(right + r * ldr + j, ldr, rows, Q - j, i0 == 0 && right_sums ? right_sums + j : 0, more || z,
                        rights + ((j / NR - q0) * blocks + z) * NR + j % NR);
        for (long j = i0 * MR; j < i1 * MR; j += 16) {
          __m512i found[16];
          pairs_of_rows(left + r * ldl + j, ldl, rows, P - j, q0 == 0 && left_sums ? left_sums + j : 0, more || z,
                        found);
          turn(found, lefts + ((j / MR - i0) * blocks + z) * MR + j % MR);
        }
      }
      for (long i = i0; i < i1; i++) {
        set_up(least(P - i * MR, MR));
        times_panels(least(P - i * MR, MR), blocks, (char *)(lefts + (i - i0) * blocks * MR),
                     (char *)rights - q0 * panel_bytes(k), panel_bytes(k), q0, q1, Q, out + i * MR * Q, Q, more);
      }
      _tile_release();
    }
  }
}
