"""The products of gemm.c and gemm_tiles.c against torch's in float64, at sizes on both sides of every border."""

from itertools import product

import pytest
import torch

from rnnzoo.kernels.fused.products import Products, in_tiles

ROWS = [*range(1, 18), 28, 29, 32, 33, 57]  # a tile has 6, 8, 14 or 16 rows
COLUMNS = [1, 8, 15, 16, 17, 31, 32, 33, 65, 97, 200]  # a panel has 8, 16 or 32, and up to four are taken at once
LENGTHS = [1, 2, 511, 512, 513, 1030]  # 512 or 1024 are summed at once


@pytest.fixture(params=["float32", "float64", "bfloat16"])
def products(request):
    narrow = request.param == "bfloat16"
    if narrow and not in_tiles():
        pytest.skip("this processor has no tiles of bfloat16 (AMX)")
    return Products.of(torch.float64 if request.param == "float64" else torch.float32, narrow)


def draw(products, *shape):
    """Numbers that the products do not round."""
    a = torch.randn(*shape, dtype=products.dtype)
    return a.bfloat16().float() if products.narrow else a


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
def test_rows_times_a_matrix(products, turned):
    for m, n, k in product(ROWS, COLUMNS, LENGTHS):
        a, w = draw(products, m, k + 3)[:, 1 : k + 1], draw(products, k, n)
        given = w.t().contiguous() if turned else w
        whole = torch.full((m, n + 2), 5.0, dtype=products.dtype)
        out = whole[:, 1 : n + 1]
        wanted = a.double() @ w.double()
        products.all_rows(a, given, turned, out, add=False)
        near(out, wanted, k)
        products.all_rows(a, given, turned, out, add=True)
        near(out / 2, wanted, k)
        assert (whole[:, [0, -1]] == 5).all(), "it wrote beside its columns"


@pytest.mark.usefixtures("_threads")
def test_sums_of_outer_products_and_of_rows(products):
    for P, Q, N in product(ROWS, COLUMNS, LENGTHS):
        left, right = draw(products, N, P + 2)[:, 1 : P + 1], draw(products, N, Q + 1)[:, 1:]
        for cut in {0, 1, N // 2}:
            pieces = [(left[:cut], right[:cut]), (left[cut:], right[cut:])] if cut else [(left, right)]
            got, sums = products.outer(pieces, (True, True))
            near(got, left.double().t() @ right.double(), N)
            near(sums[0], left.double().sum(0), N)
            near(sums[1], right.double().sum(0), N)
        got, (one, other) = products.outer([(left, right)], (False, True))
        assert one is None
        near(other, right.double().sum(0), N)


def test_no_rows_at_all_are_zeros(products):
    empty = torch.empty(0, 5, dtype=products.dtype)
    got, sums = products.outer([(empty.new_ones(2, 5),) * 2, (empty, empty)], (True, True))
    assert (got == 2).all()
    assert all((total == 2).all() for total in sums)


def test_a_row_with_nan_or_infinity_leaves_the_others_alone(products):
    a = draw(products, 15, 33)
    a[3, 7], a[14, 0] = torch.nan, torch.inf
    w = draw(products, 33, 40).abs() + 0.5
    w = w.bfloat16().to(w.dtype)
    out = torch.empty(15, 40, dtype=products.dtype)
    products.all_rows(a, w, False, out, add=False)
    assert out[3].isnan().all()
    assert out[14].isinf().all()
    keep = [r for r in range(15) if r not in (3, 14)]
    near(out[keep], a[keep].double() @ w.double(), 33)
