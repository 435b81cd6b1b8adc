"""The scan h_t = a_t h_{t-1} + b_t as one Triton kernel, and its gradient as another.

A program owns some columns and goes through time, CHUNK steps at once: a tile's prefix by an associative scan, then the
state that comes into it. `T` steps of `M` columns; states are REAL, whatever the dtype of what is given.
"""

import triton
import triton.language as tl


@triton.jit
def _after(a1, b1, a2, b2):
    """x -> a2 (a1 x + b1) + b2."""
    return a1 * a2, a2 * b1 + b2


@triton.jit
def forward(a, b, h0, h, T, M, REAL: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    k = tl.arange(0, CHUNK)
    state = tl.load(h0 + m, mask=m < M, other=0.0).to(REAL)
    for start in range(0, T, CHUNK):
        t = start + k
        here = (t < T)[:, None] & (m < M)[None, :]
        place = t.to(tl.int64)[:, None] * M + m[None, :]
        # behind the end the state stays as it is
        across, own = tl.associative_scan(
            (
                tl.load(a + place, mask=here, other=1.0).to(REAL),
                tl.load(b + place, mask=here, other=0.0).to(REAL),
            ),
            0,
            _after,
        )
        all = across * state[None, :] + own
        tl.store(h + place, all, mask=here)
        state = tl.sum(tl.where((k == CHUNK - 1)[:, None], all, 0.0), 0)


@triton.jit
def backward(
    a, h, h0, dh, da, db, dh0, T, M, REAL: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr
):  # the same from the end: db_t = a_{t+1} db_{t+1} + dh_t
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    k = tl.arange(0, CHUNK)
    state = tl.zeros([BLOCK], dtype=REAL)
    for start in range(0, T, CHUNK):
        t = T - 1 - start - k
        here = (t >= 0)[:, None] & (m < M)[None, :]
        place = t.to(tl.int64)[:, None] * M + m[None, :]
        across, own = tl.associative_scan(
            (
                tl.load(a + place + M, mask=here & (t + 1 < T)[:, None], other=1.0).to(REAL),
                tl.load(dh + place, mask=here, other=0.0).to(REAL),
            ),
            0,
            _after,
        )
        all = across * state[None, :] + own
        before = tl.load(h + place - M, mask=here & (t > 0)[:, None], other=0.0).to(REAL)
        first = tl.load(h0 + m, mask=m < M, other=0.0).to(REAL)
        before = tl.where((t == 0)[:, None], first[None, :], before)
        tl.store(db + place, all, mask=here)
        tl.store(da + place, all * before, mask=here)
        state = tl.sum(tl.where((k == CHUNK - 1)[:, None], all, 0.0), 0)
    tl.store(dh0 + m, state * tl.load(a + m, mask=m < M, other=0.0).to(REAL), mask=m < M)
