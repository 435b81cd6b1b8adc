"""Plans printed as C: row-wise bodies that gcc vectorises, products by gemm.c, threads that own their rows.

A thread runs its rows through the whole sequence, so no step waits for another thread. Packed sequences lie longest
first, so at each step the rows still alive are the first of a thread's own.
"""

import hashlib

from rnnzoo.kernels.fused.build import Source
from rnnzoo.kernels.fused.c_bodies import print_body
from rnnzoo.kernels.fused.loops import Body, Gemm, Loop
from rnnzoo.kernels.fused.plan import Plan
from rnnzoo.kernels.fused.products import WEIGHT

_PRELUDE = r"""
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

"""

_SINGLE = r"""
#define F(name) name##f
#if defined(__x86_64__) && defined(__GLIBC__)
#pragma omp declare simd notinbranch
float logf(float);
#pragma omp declare simd notinbranch
float sinf(float);
#pragma omp declare simd notinbranch
float cosf(float);
#if __GLIBC_PREREQ(2, 35)
#pragma omp declare simd notinbranch
float erff(float);
#pragma omp declare simd notinbranch
float exp2f(float);
#pragma omp declare simd notinbranch
float log2f(float);
#pragma omp declare simd notinbranch
float tanf(float);
#pragma omp declare simd notinbranch
float atanf(float);
#endif
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif
/* x - n ln 2 in two steps, and the rest of the series of exp behind its 1: within 2 ulp of a relative error */
static inline float reduced(float x, float n) {
  return FMA(n, -1.428606765330187e-6f, FMA(n, -0.693145751953125f, x));
}
static inline float series(float r) {
  float p = FMA(r, 1.f / 40320, 1.f / 5040);
  p = FMA(p, r, 1.f / 720); p = FMA(p, r, 1.f / 120); p = FMA(p, r, 1.f / 24);
  p = FMA(p, r, 1.f / 6); p = FMA(p, r, .5f);
  return FMA(p * r, r, r);
}
static inline float power_of_two(int32_t n) { int32_t bits = (n + 127) << 23; float f; memcpy(&f, &bits, 4); return f; }
static inline float ex(float x) {
  x = x < -105.f ? -105.f : x; x = x > 90.f ? 90.f : x;
  float n = rintf(x * 1.44269504f), p = 1.f + series(reduced(x, n));
  int32_t all = (int32_t)n, half = all >> 1; /* in two steps: one would leave the range at both ends */
  return p * power_of_two(half) * power_of_two(all - half);
}
static inline float sg(float x) { return 1.f / (1.f + ex(-x)); }
/* exp(x) - 1, halved on the way: 2^128 is no float */
static inline float em(float x) {
  x = x < -40.f ? -40.f : x; x = x > 89.f ? 89.f : x;
  float n = rintf(x * 1.44269504f), half = power_of_two((int32_t)n - 1);
  return 2.f * FMA(half, series(reduced(x, n)), half - .5f);
}
/* log(u), u = 1 + x, times what the sum has lost of x */
static inline float lp(float x) {
  float u = 1.f + x, y = logf(u), d = u - 1.f;
  return d == 0.f ? x : u == INFINITY ? u : y * (x / d);
}
/* e / (e + 2) with e = exp(2 |x|) - 1, which keeps its digits near 0 */
static inline float th(float x) {
  float a = 2.f * fabsf(x); a = a > 20.f ? 20.f : a;
  float n = rintf(a * 1.44269504f), scale = power_of_two((int32_t)n);
  float e = FMA(scale, series(reduced(a, n)), scale - 1.f);
  return copysignf(e / (e + 2.f), x);
}
"""

_DOUBLE = r"""
#define F(name) name
static inline double ex(double x) { return exp(x); }
static inline double sg(double x) { return 1. / (1. + exp(-x)); }
static inline double th(double x) { return tanh(x); }
static inline double em(double x) { return expm1(x); }
static inline double lp(double x) { return log1p(x); }
"""

_COMPARISONS = r"""
static inline real mx(real a, real b) { return a > b || a != a ? a : b; }
static inline real mn(real a, real b) { return a < b || a != a ? a : b; }
/* of the divisor's sign, as torch's remainder */
static inline real rm(real a, real b) { real z = F(fmod)(a, b); return z != 0 && (b < 0) != (z < 0) ? z + b : z; }
"""

_SHARE = r"""
/* alive: (T,) rows at each step; rows: (T,) rows before it; bounds: (threads + 1,) the rows that each thread owns;
   block: steps whose input products are computed at once. Where there are too few rows to own, a team of threads
   shares the columns of every product, and waits for its members after each part of a step. */
#define PART(w) w->panels(w->n) * me / team, w->panels(w->n) * (me + 1) / team
#define WAIT if (team > 1) { _Pragma("omp barrier") }
#define SHARE(name) \
void name(long T, long B, long threads, long team, long block, const long *bounds, const long *alive, \
          const long *rows, real **p, const real **c, const weight *w, long weights) { \
  if (threads < 2) { \
    for (long i = 0; i < weights; i++) w[i].pack(w + i, 0, w[i].panels(w[i].n)); \
    name##_rows(T, B, 0, 1, block, bounds[0], bounds[1], alive, rows, p, c, w); \
    return; \
  } \
  _Pragma("omp parallel num_threads(threads)") { \
    for (long i = 0; i < weights; i++) { \
      const long last = w[i].panels(w[i].n); \
      _Pragma("omp for nowait") for (long q = 0; q < last; q++) w[i].pack(w + i, q, q + 1); \
    } \
    _Pragma("omp barrier") \
    if (team > 1 && omp_get_num_threads() == team) \
      name##_rows(T, B, omp_get_thread_num(), team, block, 0, B, alive, rows, p, c, w); \
    else if (team > 1) { \
      if (omp_get_thread_num() == 0) name##_rows(T, B, 0, 1, block, 0, B, alive, rows, p, c, w); \
    } else { \
      _Pragma("omp for schedule(static, 1)") for (long i = 0; i < threads; i++) \
        name##_rows(T, B, 0, 1, block, bounds[i], bounds[i + 1], alive, rows, p, c, w); \
    } \
  } \
}
"""

# where the rows of a step begin in a buffer, and, of a block, where those of a thread would if they began at row 0
_STEP = {
    "seq": "+at*{0}",
    "turn": "",
    "block": "+(block*lo+done-lo)*{0}",
}


def print_c(plan: Plan, double: bool) -> Source:
    """The source of a library with ``forward``, ``infer`` and ``backward``, each with the source's tag behind."""
    head = f"typedef {'double' if double else 'float'} real;\n" + WEIGHT + _PRELUDE + (_DOUBLE if double else _SINGLE)
    head += _COMPARISONS + _SHARE
    last = range(len(plan.widths))
    ends = "".join(
        f"memcpy(l{k}+from*{n},n{k}+from*{n},(r1-from)*{n}*sizeof(real));" for k, n in enumerate(plan.widths)
    )
    # a row that ends here leaves its state behind
    ends = f"const long from=t+1==T?r0:alive[t+1]>r0?alive[t+1]:r0;if(from<r1){{{ends}}}" if last else ""
    loops = (("forward", plan.forward, ends), ("infer", plan.infer, ends), ("backward", plan.backward, ""))
    own = "".join(_function(plan, f"{name}@", loop, end) for name, loop, end in loops)
    tag = hashlib.sha256(own.encode()).hexdigest()[:16]
    return Source(head, own.replace("@", f"_{tag}"), tag)


def _function(plan: Plan, name: str, loop: Loop, end: str) -> str:
    """One loop over time, for the rows from lo to hi."""
    order, N = plan.order, len(plan.order)
    constants = "".join(f"const real*restrict c{k}=c[{k}];" for k in range(len(plan.gradients)))
    weights = [b for b, buffer in loop.buffers.items() if buffer.kind == "weight"]
    named = "".join(f"const weight*{b}=w+{k};" for k, b in enumerate(weights))
    pointers = ""
    for b, buffer in loop.buffers.items():
        if buffer.kind == "start":
            past = f"t?p[{order.index('n' + b[1:])}]+rows[t-1]*{buffer.width}:p[{order.index(b)}]"
            pointers += f"const real*restrict {b}={past};"
        elif buffer.kind != "weight":
            pointers += f"real*restrict {b}=p[{order.index(b)}]{_STEP[buffer.kind].format(buffer.width)};"
    parts = "\n".join(print_body(loop, part) if isinstance(part, Body) else _gemm(part, loop) for part in loop.parts)
    swaps = "".join(
        f"{{real*z=p[{i}];p[{i}]=p[{j}];p[{j}]=z;}}"
        for i, j in ((order.index(a), order.index(b)) for a, b in loop.swaps)
    )
    back = loop is plan.backward
    ahead = _ahead(loop, order) if loop.ahead else ""
    times = "for(long t=T-1;t>=0;t--)" if back else "for(long t=0;t<T;t++)"
    return f"""
static void {name}_rows(long T,long B,long me,long team,long block,long lo,long hi,const long*alive,
 const long*rows,real**given,const real**c,const weight*w){{
real*p[{N}];memcpy(p,given,sizeof p);{constants}{named}
long done=0;
{times}{{
const long r0=lo,r1=alive[t]<hi?alive[t]:hi,at=rows[t];
if(r1>r0){{{ahead}{pointers}
{parts}
if(me==0){{{end}}}}}
done+=r1>r0?r1-r0:0;
{swaps}}}}}
SHARE({name})
"""


def _gemm(part: Gemm, loop: Loop) -> str:
    p, operand = part.product, part.operand
    n = loop.buffers[operand.buffer].width
    a = f"{operand.buffer}+r0*{n}+{operand.column}"
    return f"{p.weight}->gemm({p.weight},PART({p.weight}),r1-r0,{a},{n},{p.name}+r0*{p.length},{p.length},0);WAIT"


def _ahead(loop: Loop, order: list[str]) -> str:
    """At the first step of a block: its rows side by side, and their products."""
    n = loop.buffers["u"].width
    gemms = "".join(
        f"{g.product.weight}->gemm({g.product.weight},PART({g.product.weight}),m,a+{g.operand.column},{n},"
        f"p[{order.index(g.product.name)}]+block*lo*{g.product.length},{g.product.length},0);"
        for g in loop.ahead
    )
    u, x = f"p[{order.index('u')}]", f"p[{order.index('x')}]"
    return f"""if(t%block==0){{
long m=0;const real*a={u}+(at+lo)*{n};
for(long z=t;z<T&&z<t+block&&alive[z]>lo;z++){{
const long more=(alive[z]<hi?alive[z]:hi)-lo;
if(block>1&&me==0)memcpy({x}+(block*lo+m)*{n},{u}+(rows[z]+lo)*{n},more*{n}*sizeof(real));
m+=more;}}
if(block>1){{a={x}+block*lo*{n};WAIT}}
{gemms}done=0;WAIT}}
"""
