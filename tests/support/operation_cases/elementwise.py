"""Of operations on each element."""

from __future__ import annotations

import numpy as np
import torch

from gpunn import ops

from .case import bools, case, floats, ints

SHAPES = ((), (1,), (0,), (3, 4), (2, 0, 3), (37,))
BROADCAST = (
    ((3, 4), (3, 4)), ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3,)), ((3,), ()),
    ((2, 1, 3), (4, 1)), ((0, 3), (1, 3)), ((1,), (1,)), ((1, 1), (5,)), ((), ()),
)  # fmt: skip

# Of one tensor: the same in PyTorch, and between which numbers it is tried.
UNARY = {
    "abs": (torch.abs, None), "absolute": (torch.abs, None), "negative": (torch.neg, None),
    "square": (torch.square, None), "sign": (torch.sign, None), "exp": (torch.exp, None),
    "expm1": (torch.expm1, None), "log": (torch.log, (0.1, 5)), "log1p": (torch.log1p, (-0.9, 5)),
    "sqrt": (torch.sqrt, (0.1, 5)), "rsqrt": (torch.rsqrt, (0.1, 5)),
    "reciprocal": (torch.reciprocal, (0.1, 5)), "sin": (torch.sin, (-9, 9)),
    "cos": (torch.cos, (-9, 9)), "tan": (torch.tan, (-1.3, 1.3)),
    "arcsin": (torch.arcsin, (-0.9, 0.9)), "arccos": (torch.arccos, (-0.9, 0.9)),
    "arctan": (torch.arctan, (-9, 9)), "sinh": (torch.sinh, None), "cosh": (torch.cosh, None),
    "tanh": (torch.tanh, None), "arcsinh": (torch.arcsinh, (-9, 9)),
    "arccosh": (torch.arccosh, (1.2, 9)), "arctanh": (torch.arctanh, (-0.9, 0.9)),
    "floor": (torch.floor, (-9, 9)), "ceil": (torch.ceil, (-9, 9)),
    "round": (torch.round, (-9, 9)), "isnan": (torch.isnan, None), "isinf": (torch.isinf, None),
    "isfinite": (torch.isfinite, None), "logical_not": (torch.logical_not, None),
    "sigmoid": (torch.sigmoid, (-9, 9)), "relu": (torch.relu, None),
    "softplus": (torch.nn.functional.softplus, (-9, 9)),
    "stop_gradient": (lambda x: x.detach(), None), "erf": (torch.erf, (-4, 4)),
    "erfc": (torch.erfc, (-4, 4)), "erfinv": (torch.erfinv, (-0.99, 0.99)),
    "log2": (torch.log2, (0.1, 5)), "log10": (torch.log10, (0.1, 5)), "exp2": (torch.exp2, (-5, 5)),
    "trunc": (torch.trunc, (-9, 9)), "fabs": (torch.abs, None), "signbit": (torch.signbit, None),
    "deg2rad": (torch.deg2rad, (-9, 9)), "rad2deg": (torch.rad2deg, (-9, 9)),
    "isposinf": (torch.isposinf, None), "isneginf": (torch.isneginf, None),
    "nan_to_num": (torch.nan_to_num, None),
}  # fmt: skip

for name, (theirs, ends) in UNARY.items():
    low, high = ends or (None, 1.0)
    for shape in SHAPES:
        case(name, getattr(ops, name), theirs, floats(*shape, low=low, high=high))

for name in ("abs", "negative", "square", "sign", "relu"):
    case(name, getattr(ops, name), UNARY[name][0], ints(3, 4))
for name in ("exp", "sqrt", "sigmoid", "isfinite", "tanh", "log1p"):
    case(name, getattr(ops, name), UNARY[name][0], ints(3, 4, low=0))
case("logical_not", ops.logical_not, torch.logical_not, bools(3, 4))
case("round", lambda x: ops.round(x, 2), lambda x: torch.round(x, decimals=2), floats(9))
case("round", ops.round, lambda x: x, ints(4))

# Of two.
BINARY = {
    "add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply,
    "maximum": torch.maximum, "minimum": torch.minimum, "arctan2": torch.arctan2,
    "logaddexp": torch.logaddexp, "hypot": torch.hypot, "fmax": torch.fmax, "fmin": torch.fmin,
    "logaddexp2": torch.logaddexp2,
}  # fmt: skip
DIVIDING = {
    "fmod": torch.fmod,
    "divide": torch.divide, "true_divide": torch.true_divide, "mod": torch.remainder,
    "floor_divide": lambda a, b: torch.floor_divide(a.detach(), b.detach()),
}  # fmt: skip
COMPARING = {
    "equal": torch.eq, "not_equal": torch.ne, "less": torch.less, "less_equal": torch.less_equal,
    "greater": torch.greater, "greater_equal": torch.greater_equal,
    "logical_and": torch.logical_and, "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}  # fmt: skip

for shape, other in BROADCAST:
    for name, theirs in BINARY.items():
        case(name, getattr(ops, name), theirs, floats(*shape), floats(*other, seed=1))
    for name, theirs in DIVIDING.items():
        divisor = floats(*other, low=0.3, high=2)
        smooth = name not in ("mod", "floor_divide")
        case(name, getattr(ops, name), theirs, floats(*shape), divisor, smooth=smooth)
        case(name, getattr(ops, name), theirs, floats(*shape), -divisor, smooth=smooth)
    for name, theirs in COMPARING.items():
        case(name, getattr(ops, name), theirs, ints(*shape, low=0, high=2), ints(*other, seed=1))
        case(name, getattr(ops, name), theirs, floats(*shape), floats(*other, seed=1))
    case("power", ops.power, torch.pow, floats(*shape, low=0.2, high=2), floats(*other))
    case(
        "divide_no_nan", ops.divide_no_nan,
        lambda a, b: torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b)),
        floats(*shape), floats(*other).round(),
    )  # fmt: skip
    case("where", ops.where, torch.where, bools(*shape), floats(*other), floats())
    case("where", ops.where, torch.where, bools(*other), floats(*shape), floats(*other))

# The derivative of the rest by the second: not 0, but -floor(a / b).
case(
    "mod", ops.mod, lambda a, b: a - torch.floor(a / b).detach() * b,
    floats(3, 4), floats(4, low=0.3, high=2),
)  # fmt: skip
for name in ("add", "subtract", "multiply", "maximum", "minimum"):
    case(name, getattr(ops, name), BINARY[name], ints(3, 4), ints(4, seed=1))
    case(
        name,
        lambda x, n=name: getattr(ops, n)(x, 2.5),
        lambda x, n=name: BINARY[n](x, torch.tensor(2.5, dtype=x.dtype)),
        floats(5),
    )
for name in ("mod", "floor_divide"):
    case(name, getattr(ops, name), DIVIDING[name], ints(3, 4), ints(4, low=1))
    case(name, getattr(ops, name), DIVIDING[name], ints(3, 4), -ints(4, low=1))
case("divide", ops.divide, torch.divide, ints(3, 4), ints(4, low=1))
case("add", lambda x: ops.add(1, x) + 2, lambda x: x + 3, floats(3))
case("subtract", lambda x: 1 - x, lambda x: 1 - x, floats(3))
case("divide", lambda x: 1 / x, lambda x: 1 / x, floats(3, low=1, high=2))
case("multiply", ops.multiply, torch.multiply, bools(4), bools(4, seed=1))
case("multiply", lambda x: x * x * x, lambda x: x * x * x, floats(3))
for exponent in (0, 1, 2, 3, -1, 0.5, 2.5):
    case(
        "power", lambda x, n=exponent: ops.power(x, n), lambda x, n=exponent: torch.pow(x, n),
        floats(5, low=0.3, high=2),
    )  # fmt: skip
for exponent in (0, 1, 2, 3, -2):  # of negative numbers too
    case(
        "power", lambda x, n=exponent: x**n, lambda x, n=exponent: x**n, floats(5),
    )  # fmt: skip
case("power", lambda x: 2**x, lambda x: 2**x, floats(5))
case("power", ops.power, torch.pow, ints(5), ints(5, low=0, high=4))
case("where", lambda x: ops.where(x > 0, x, 0.0), torch.relu, floats(3, 4))
case("clip", lambda x: ops.clip(x, -0.5, 0.5), lambda x: torch.clip(x, -0.5, 0.5), floats(3, 4))
case("clip", lambda x: ops.clip(x, -1, 2), lambda x: torch.clip(x, -1, 2), ints(9))
case("clip", ops.clip, torch.clip, floats(3, 4), floats(3, 4) - 0.2, floats(3, 4) + 0.3)
case("cast", lambda x: ops.cast(x, "int32"), lambda x: x.int(), floats(9, low=-9, high=9))
case("cast", lambda x: ops.cast(x, "float64"), lambda x: x.double(), ints(9))
case("cast", lambda x: ops.cast(x, "bool"), lambda x: x.bool(), ints(9, low=-1, high=2))
case("cast", lambda x: ops.cast(x, "float32"), lambda x: x.float(), bools(9))
case(
    "cast",
    lambda x: ops.cast(ops.cast(x, "float64") * 3, "float32"),
    lambda x: (x.double() * 3).float(),
    floats(9),
)
case("stop_gradient", lambda x: x * ops.stop_gradient(x), lambda x: x * x.detach(), floats(3))

for low, high in ((-5, -0.1), (0.1, 5)):
    case(
        "cbrt", ops.cbrt, lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3),
        floats(9, low=low, high=high),
    )  # fmt: skip
case("sinc", ops.sinc, torch.sinc, floats(9))
case("sinc", ops.sinc, torch.sinc, floats(3, 4).round(), smooth=False)
case(
    "nan_to_num", lambda x: ops.nan_to_num(x, 1, 2, 3), lambda x: torch.nan_to_num(x, 1, 2, 3),
    np.array([np.nan, np.inf, -np.inf, 0.5]),
)  # fmt: skip
case("nan_to_num", ops.nan_to_num, torch.nan_to_num, ints(4))
for a, b in ((floats(9).round(), floats(9)), (floats(3, 1).round(), floats(2))):
    case(
        "heaviside",
        ops.heaviside,
        lambda a, b: torch.heaviside(a.detach(), b.detach()),
        a,
        b,
        smooth=False,
    )
near = floats(9)
for equal_nan in (False, True):
    for name, theirs in (
        ("isclose", torch.isclose), ("allclose", lambda *xs,
        **options: torch.tensor(torch.allclose(*xs, **options))),
    ):  # fmt: skip
        for beside in (near * (1 + 1e-3), near * (1 + np.linspace(0, 2e-2, 9)), near):
            given = [a.astype(np.float32).astype(float) for a in (near, beside)]
            for a in given:
                a[0] = np.nan
                a[1:3] = np.inf
            given[1][2] = -np.inf if beside is not near else np.inf
            case(
                name,
                lambda a, b, n=name, e=equal_nan: getattr(ops, n)(a, b, rtol=1e-2, equal_nan=e),
                lambda a, b, f=theirs, e=equal_nan: f(a, b, rtol=1e-2, equal_nan=e),
                *given,
            )
case(
    "saturate_cast",
    lambda x: ops.saturate_cast(x, "int32"),
    lambda x: torch.clip(x.double(), -(2.0**31), 2.0**31 - 1).int(),
    np.array([3e9, -3e9, 2.5, -2.5, np.inf, -np.inf]),
)
case("saturate_cast", lambda x: ops.saturate_cast(x, "float32"), lambda x: x.float(), ints(4))
for name, theirs in (
    ("bitwise_and", torch.bitwise_and), ("bitwise_or", torch.bitwise_or),
    ("bitwise_xor", torch.bitwise_xor),
):  # fmt: skip
    case(name, getattr(ops, name), theirs, ints(3, 4), ints(4, seed=1))
    case(name, getattr(ops, name), theirs, bools(3, 4), bools(4, seed=1))
for name in ("bitwise_not", "bitwise_invert"):
    case(name, getattr(ops, name), torch.bitwise_not, ints(3, 4))
    case(name, getattr(ops, name), torch.bitwise_not, bools(4))
places = np.array([0, 1, 5, 30], np.int32)
for name in ("left_shift", "bitwise_left_shift"):
    case(name, getattr(ops, name), torch.bitwise_left_shift, ints(3, 4), places)
for name in ("right_shift", "bitwise_right_shift"):
    case(name, getattr(ops, name), torch.bitwise_right_shift, ints(3, 4), places)
