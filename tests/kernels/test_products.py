"""The products of gemm.c against torch's in float64, at sizes on both sides of every border of its tiles."""

from itertools import product

import pytest
import torch

from rnnzoo.kernels.fused.products import Products

ROWS = [*range(1, 17), 28, 29, 57]  # a tile has 6, 8 or 14 rows
COLUMNS = [1, 8, 15, 16, 17, 31, 32, 33, 65]  # a panel has 8, 16 or 32
LENGTHS = [1, 2, 511, 512, 513, 1030]  # 512 are summed at once


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=[1, 3])
def _threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def near(got, wanted, length):
    """`got` within what sums of `length` terms of size 1 can lose."""
    eps = torch.finfo(got.dtype).eps
    assert (got.double() - wanted).abs().max() <= 4 * eps * (4 + length)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("turned", [False, True])
def test_rows_times_a_matrix(dtype, turned):
    products = Products.of(dtype)
    for m, n, k in product(ROWS, COLUMNS, LENGTHS):
        a, w = torch.randn(m, k + 3, dtype=dtype)[:, 1 : k + 1], torch.randn(k, n, dtype=dtype)
        given = w.t().contiguous() if turned else w
        whole = torch.full((m, n + 2), 5.0, dtype=dtype)
        out = whole[:, 1 : n + 1]
        wanted = a.double() @ w.double()
        products.all_rows(a, given, turned, out, add=False)
        near(out, wanted, k)
        products.all_rows(a, given, turned, out, add=True)
        near(out / 2, wanted, k)
        assert (whole[:, [0, -1]] == 5).all(), "it wrote beside its columns"


@pytest.mark.usefixtures("_threads")
def test_sums_of_outer_products_and_of_rows(dtype):
    products = Products.of(dtype)
    for P, Q, N in product(ROWS, COLUMNS, LENGTHS):
        left, right = torch.randn(N, P + 2, dtype=dtype)[:, 1 : P + 1], torch.randn(N, Q + 1, dtype=dtype)[:, 1:]
        for cut in {0, 1, N // 2}:
            pieces = [(left[:cut], right[:cut]), (left[cut:], right[cut:])] if cut else [(left, right)]
            got, sums = products.outer(pieces, sums=True)
            near(got, left.double().t() @ right.double(), N)
            near(sums, left.double().sum(0), N)
        assert products.outer([(left, right)], sums=False)[1] is None


def test_no_rows_at_all_are_zeros(dtype):
    empty = torch.empty(0, 5, dtype=dtype)
    got, sums = Products.of(dtype).outer([(torch.ones(2, 5, dtype=dtype),) * 2, (empty, empty)], sums=True)
    assert (got == 2).all()
    assert (sums == 2).all()


def test_a_row_with_nan_or_infinity_leaves_the_others_alone(dtype):
    a = torch.randn(15, 33, dtype=dtype)
    a[3, 7], a[14, 0] = torch.nan, torch.inf
    w = torch.rand(33, 40, dtype=dtype) + 0.1
    out = torch.empty(15, 40, dtype=dtype)
    Products.of(dtype).all_rows(a, w, False, out, add=False)
    assert out[3].isnan().all()
    assert out[14].isinf().all()
    keep = [r for r in range(15) if r not in (3, 14)]
    near(out[keep], a[keep].double() @ w.double(), 33)
