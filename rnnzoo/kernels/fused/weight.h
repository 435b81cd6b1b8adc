/* A matrix (k, n), row by row, or (n, k) where it is turned, `ld` numbers a row; `packed`: room for its panels, 64-byte
   aligned. And what multiplies by it, whose panels they are: gemm.c, or gemm_tiles.c. */
typedef struct weight weight;
struct weight {
  const real *w;
  long n, k, ld, turned;
  void *packed;
  long (*panels)(long);
  void (*pack)(const weight *, long, long);
  void (*gemm)(const weight *, long, long, long, const real *, long, real *, long, int);
};
