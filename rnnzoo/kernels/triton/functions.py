"""Functions of one number that Triton lacks, in either dtype; NaN comes through all of them.

Made of triton.language alone, not of libdevice, which Triton's interpreter cannot run.
"""

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def tanh(x):
    """A series near 0, where the other form loses its digits; no exponent is positive, so nothing overflows."""
    a = tl.abs(x)
    q = x * x
    p = -1382 / 155925 + q * (21844 / 6081075)
    p = -17 / 315 + q * (62 / 2835 + q * p)
    p = x * (1 + q * (-1 / 3 + q * (2 / 15 + q * p)))
    e = tl.exp(-2 * a)
    t = (1 - e) / (1 + e)
    return tl.where(a < 0.1, p, tl.where(x < 0, -t, t))


@triton.jit
def maximum(a, b):
    return tl.where((a > b) | (a != a), a, b)


@triton.jit
def minimum(a, b):
    return tl.where((a < b) | (a != a), a, b)


@triton.jit
def expm1(x):
    """(e - 1) x / log e with e = exp x: the error of e, which is all that counts near 0, cancels (Kahan)."""
    e = tl.exp(x)
    near = tl.where((e == 1) | (e < 1e-20) | (e > 1e30), 2.0, e)
    t = (near - 1) * x / tl.log(near)
    return tl.where(e == 1, x, tl.where(e < 1e-20, -1.0, tl.where(e > 1e30, e, t)))


@triton.jit
def log1p(x):
    """As expm1: log(w) x / (w - 1) with w = 1 + x."""
    w = 1 + x
    far = (w == 1) | (w > 1e30)
    t = tl.log(w) * x / tl.where(far, 1.0, w - 1)
    return tl.where(w == 1, x, tl.where(w > 1e30, tl.log(w), t))


@triton.jit
def log10(x):
    return tl.log(x) * 0.4342944819032518


@triton.jit
def tan(x):
    return tl.sin(x) / tl.cos(x)


@triton.jit
def atan(x):
    """A polynomial (Abramowitz & Stegun 4.4.49), then one step by the tangent of the difference."""
    a = tl.abs(x)
    z = tl.where(a > 1, 1 / a, a)
    q = z * z
    y = z * (0.9998660 + q * (-0.3302995 + q * (0.1801410 + q * (-0.0851330 + q * 0.0208351))))
    s = tl.sin(y)
    c = tl.cos(y)
    d = (z * c - s) / (c + z * s)
    y += d - d * d * d / 3
    y = tl.where(a > 1, 1.5707963267948966 - y, y)
    return tl.where(x < 0, -y, y)


@triton.jit
def asin(x):
    return atan(x / tl.sqrt((1 - x) * (1 + x)))


@triton.jit
def acos(x):
    return 2 * atan(tl.sqrt((1 - x) / (1 + x)))


@triton.jit
def sinh(x):
    """By halves of the exponent where exp x alone would overflow."""
    a = tl.abs(x)
    e = expm1(tl.where(a > 40, 0.0, a))
    h = tl.exp(0.5 * a)
    t = tl.where(a > 40, (0.5 * h) * h, 0.5 * (e + e / (e + 1)))
    return tl.where(x != x, x, tl.where(x < 0, -t, t))


@triton.jit
def cosh(x):
    h = tl.exp(0.5 * tl.abs(x))
    return (0.5 * h) * h + 0.5 / h / h


@triton.jit
def asinh(x):
    a = tl.abs(x)
    b = tl.where(a > 1e8, 1.0, a)
    t = tl.where(a > 1e8, tl.log(a) + 0.6931471805599453, log1p(b + b * b / (1 + tl.sqrt(b * b + 1))))
    return tl.where(x != x, x, tl.where(x < 0, -t, t))


@triton.jit
def acosh(x):
    b = tl.where(x > 1e8, 1.0, x - 1)
    t = tl.where(x > 1e8, tl.log(x) + 0.6931471805599453, log1p(b + tl.sqrt(b * (2 + b))))
    return tl.where(x >= 1, t, float("nan"))


@triton.jit
def atanh(x):
    a = tl.abs(x)
    t = 0.5 * log1p(2 * a / (1 - a))
    return tl.where(a <= 1, tl.where(x < 0, -t, t), float("nan"))


@triton.jit
def trunc(x):
    return tl.where(x < 0, tl.ceil(x), tl.floor(x))


@triton.jit
def nearest(x):
    """The nearest whole number, the even one of two."""
    low = tl.floor(x)
    d = x - low
    odd = low - 2 * tl.floor(0.5 * low)
    return tl.where(d > 0.5, low + 1, tl.where(d == 0.5, low + odd, low))


@triton.jit
def power(x, y):
    """x ** y as C has it, in float64: an error in the exponent would be y log x times as large in the result."""
    b = x.to(tl.float64)
    e = y.to(tl.float64)
    whole = tl.floor(e) == e
    odd = e - 2 * tl.floor(0.5 * e) == 1
    p = tl.exp(e * tl.log(tl.abs(b)))
    p = tl.where(b < 0, tl.where(odd, -p, tl.where(whole | (b == float("-inf")), p, float("nan"))), p)
    return tl.where((e == 0) | (b == 1), 1.0, p).to(x.dtype)


@triton.jit
def _halves(x):
    """A number of float64 as the sum of two whose products are exact (Veltkamp); of huge ones no halves are needed."""
    high = 134217729.0 * x
    high = high - (high - x)
    return high, x - high


@triton.jit
def fmod(x, y):
    """What is left of x when y is taken from it as often as it goes, of x's sign: x - q y, with the product's error."""
    a = tl.abs(x.to(tl.float64))
    b = tl.abs(y.to(tl.float64))
    q = tl.floor(a / b)
    p = q * b
    q1, q2 = _halves(q)
    b1, b2 = _halves(b)
    z = (a - p) - (((q1 * b1 - p) + q1 * b2 + q2 * b1) + q2 * b2)
    z = tl.where(z < 0, z + b, z)
    z = tl.where(z >= b, z - b, z)
    z = tl.where((b == float("inf")) & (a < b), a, z)
    return tl.where(x < 0, -z, z).to(x.dtype)


@triton.jit
def remainder(a, b):
    """The same of b's sign, as torch's."""
    z = fmod(a, b)
    return tl.where((z != 0) & ((b < 0) != (z < 0)), z + b, z)
