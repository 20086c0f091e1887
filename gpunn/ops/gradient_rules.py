"""The derivative of each primitive: elements, reductions, shapes, products.

A rule maps ``dy``, the gradient of a result ``y``, to the gradients of the primitive's inputs: what
they change in y, times dy, in terms of other operations. It is given ``dy, y, *inputs``, and the
attributes by name. None means that an input has no gradient, or that a function is flat. Elements
that move, convolution, pooling and normalization are in `gpunn.ops.library.large_gradient_rules`,
factors of matrices in `gpunn.ops.matrices.rules`.

A derivative that is 0 for some elements selects it with `where`: 0 times dy is NaN where dy is
infinite, as after sqrt(relu(x)).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .conversion import convert
from .primitive import Gradients
from .products import product
from .shapes import reduced_to
from .tensor import Tensor, ops

Rule = Callable[..., Gradients]
LN2, LN10 = math.log(2), math.log(10)


def _root(dy: Tensor, y: Tensor, x: Tensor) -> Gradients:
    none = y == 0
    return (ops.where(none, 0.0, dy) * 0.5 / ops.where(none, 1.0, y),)


def _bell(x: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * ops.exp(-ops.square(x))


def _power(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    none = b == 0
    of_a = ops.where(none, 0.0, dy) * (b * ops.power(a, ops.where(none, 0.0, b - 1)))
    # Of an exponent of numbers too, which nothing asks for: all are numbers after a tape's block.
    above = a > 0  # for other bases the gradient is 0
    return of_a, ops.where(above, dy * (y * ops.log(ops.where(above, a, 1.0))), 0.0)


def _arctan2(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    squares = a * a + b * b
    slope = ops.divide_no_nan(1.0, squares)  # at (0, 0), where there is no gradient, use 0
    return dy * (b * slope), dy * (-a * slope)


def _hypot(dy: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Gradients:
    dy = ops.where(ops.equal(y, 0.0), 0.0, dy)  # at (0, 0), where there is no gradient, use 0
    return dy * ops.divide_no_nan(a, y), dy * ops.divide_no_nan(b, y)


Axes = tuple[int, ...]


def _kept(t: Tensor, x: Tensor, axis: Axes) -> Tensor:
    """Return a reduction's result with the reduced axes kept at length 1."""
    return ops.reshape(t, [1 if a in axis else n for a, n in enumerate(x.shape)])


def _extreme(dy: Tensor, y: Tensor, x: Tensor, axis: Axes, keepdims: bool) -> Gradients:
    """Share the gradient evenly among equal extremes, as TensorFlow does; NaN where one is NaN."""
    y = _kept(y, x, axis)
    hits = ops.equal(x, y)
    share = _kept(dy, x, axis) / ops.sum(convert(hits, x.dtype), axis, keepdims=True)
    return (ops.where(hits, share, ops.where(ops.isnan(y), y, 0.0)),)


def _prod(dy: Tensor, y: Tensor, x: Tensor, axis: Axes, keepdims: bool) -> Gradients:
    """Compute for each element the product of all others, from those before and those after it;
    a division would fail where one is 0."""
    places = list(range(-len(axis), 0))
    apart = ops.moveaxis(x, axis, places)
    rows = ops.reshape(apart, (*apart.shape[: x.ndim - len(axis)], -1)) if x.size else apart
    before = ops.cumprod(_shifted(rows, 1, 1), -1)
    behind = ops.flip(ops.cumprod(_shifted(ops.flip(rows, -1), 1, 1), -1), -1)
    others = ops.moveaxis(ops.reshape(before * behind, apart.shape), places, axis)
    return (others * _kept(dy, x, axis),)


def _cumprod(dy: Tensor, y: Tensor, x: Tensor, axis: int) -> Gradients:
    """Compute for x_k the product before it times the gradient propagated from after it:
    h_k = dy_k + x_(k+1) h_(k+1)."""
    before = _shifted(ops.moveaxis(y, axis, -1), 1, 1)
    factors = _shifted(ops.flip(ops.moveaxis(x, axis, -1), -1), 1, 0)
    back, by = ops.flip(ops.moveaxis(dy, axis, -1), -1), 1
    while by < x.shape[axis]:  # each round covers twice as many elements
        back = back + factors * _shifted(back, by, 0)
        factors = factors * _shifted(factors, by, 0)
        by *= 2
    return (ops.moveaxis(before * ops.flip(back, -1), -1, axis),)


def _shifted(x: Tensor, by: int, first: int) -> Tensor:
    """Shift the last axis by ``by`` positions, and fill the front with a number."""
    n = x.shape[-1]
    widths = [(0, 0)] * (x.ndim - 1) + [(min(by, n), 0)]
    return ops.pad(x[..., : max(n - by, 0)], widths, constant_values=first)


def _matmul(
    dy: Tensor, y: Tensor, a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool
) -> Gradients:
    def of_a() -> Tensor:
        if transpose_a:
            return _summed(product(b, dy, transpose_b, True), a)
        return _summed(product(dy, b, False, not transpose_b), a)

    def of_b() -> Tensor:
        if transpose_b:
            return _summed(product(dy, a, True, transpose_a), b)
        return _summed(product(a, dy, not transpose_a, False), b)

    return of_a, of_b


def _summed(gradient: Tensor, factor: Tensor) -> Tensor:
    """Sum the gradient over the stack if the factor is one matrix, used for all."""
    same = gradient.shape == factor.shape
    return gradient if same else ops.sum(gradient, 0, keepdims=True)


RULES: dict[str, Rule | None] = {
    # -- functions of one element
    "negative": lambda dy, y, x: (-dy,),
    "abs": lambda dy, y, x: (ops.where(x == 0, 0.0, dy * ops.sign(x)),),
    "square": lambda dy, y, x: (dy * (2 * x),),
    "reciprocal": lambda dy, y, x: (-dy * y * y,),
    "sqrt": lambda dy, y, x: (dy * 0.5 / y,),
    "root": _root,  # of a sum of squares: the derivative at 0 is 0
    "cbrt": lambda dy, y, x: (dy / (3.0 * y * y),),
    "exp": lambda dy, y, x: (dy * y,),
    "exp2": lambda dy, y, x: (dy * (y * LN2),),
    "expm1": lambda dy, y, x: (dy * ops.exp(x),),  # computed anew, since y + 1 would round to 0
    "log": lambda dy, y, x: (dy / x,),
    "log2": lambda dy, y, x: (dy / (x * LN2),),
    "log10": lambda dy, y, x: (dy / (x * LN10),),
    "log1p": lambda dy, y, x: (dy / (x + 1),),
    "sin": lambda dy, y, x: (dy * ops.cos(x),),
    "cos": lambda dy, y, x: (-dy * ops.sin(x),),
    "tan": lambda dy, y, x: (dy * (1 + y * y),),
    "arcsin": lambda dy, y, x: (dy / ops.sqrt(1 - x * x),),
    "arccos": lambda dy, y, x: (-dy / ops.sqrt(1 - x * x),),
    "arctan": lambda dy, y, x: (dy / (1 + x * x),),
    "sinh": lambda dy, y, x: (dy * ops.cosh(x),),
    "cosh": lambda dy, y, x: (dy * ops.sinh(x),),
    "tanh": lambda dy, y, x: (dy * (1 - y * y),),
    "arcsinh": lambda dy, y, x: (dy / ops.sqrt(x * x + 1),),
    "arccosh": lambda dy, y, x: (dy / ops.sqrt(x * x - 1),),
    "arctanh": lambda dy, y, x: (dy / (1 - x * x),),
    "sigmoid": lambda dy, y, x: (dy * y * (1 - y),),
    "relu": lambda dy, y, x: (ops.where(y <= 0, 0.0, dy),),  # uses y, so that x need not be kept
    "erf": lambda dy, y, x: (dy * _bell(x),),
    "erfc": lambda dy, y, x: (-dy * _bell(x),),
    "erfinv": lambda dy, y, x: (dy / _bell(y),),
    **dict.fromkeys(("sign", "round", "floor", "ceil", "trunc", "floor_divide")),  # flat
    # -- of two
    "add": lambda dy, y, a, b: (dy, dy),
    "subtract": lambda dy, y, a, b: (dy, -dy),
    "multiply": lambda dy, y, a, b: (dy * b, dy * a),
    "divide": lambda dy, y, a, b: (dy / b, -dy * (y / b)),
    "mod": lambda dy, y, a, b: (dy, -dy * ops.floor_divide(a, b)),
    # (a - y) / b is an integer up to rounding; a / b may be rounded up to the next integer.
    "fmod": lambda dy, y, a, b: (dy, -dy * ops.round((a - y) / b)),
    "power": _power,
    "maximum": lambda dy, y, a, b: (ops.where(a < b, 0.0, dy), ops.where(a >= b, 0.0, dy)),
    "minimum": lambda dy, y, a, b: (ops.where(a > b, 0.0, dy), ops.where(a <= b, 0.0, dy)),
    "arctan2": _arctan2,
    "hypot": _hypot,
    "logaddexp": lambda dy, y, a, b: (dy * ops.sigmoid(a - b), dy * ops.sigmoid(b - a)),
    "where": lambda dy, y, condition, a, b: (
        None, ops.where(condition, dy, 0.0), ops.where(condition, 0.0, dy)
    ),
    # -- other dtypes; rounding has the derivative of a cast between floats
    "cast": lambda dy, y, x, dtype: (
        ops.cast(dy, x.dtype) if x.dtype.startswith("float") else None,
    ),
    "rounding": lambda dy, y, x, dtype: (dy,),
    "check": lambda dy, y, x, **how: (dy,),
    # -- reductions
    "sum": lambda dy, y, x, axis, keepdims: (ops.broadcast_to(_kept(dy, x, axis), x.shape),),
    "max": _extreme,
    "min": _extreme,
    "prod": _prod,
    "cumsum": lambda dy, y, x, axis: (ops.flip(ops.cumsum(ops.flip(dy, axis), axis), axis),),
    "cumprod": _cumprod,
    # -- shapes, and elements that move
    "reshape": lambda dy, y, x, shape: (ops.reshape(dy, x.shape),),
    "transpose": lambda dy, y, x, axes: (ops.transpose(dy, np.argsort(axes).tolist()),),
    "broadcast_to": lambda dy, y, x, shape: (reduced_to(dy, x.shape),),
    # -- products
    "matmul": _matmul,
}
