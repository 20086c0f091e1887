"""Cases of element-wise operations on one tensor."""

from __future__ import annotations

import numpy as np

from .case import floats, of, oracle
from .differences import BEYOND_INT32, NEAR_0, NEAR_LARGEST, OF_NAN, ROOT_AT_0
from .edges import ENDS, INTEGERS, SMALL, TRUTHS

SHAPES = (), (1,), (0,), (3, 4), (2, 0, 3), (37,)
SHAPED = [of(floats(*shape)) for shape in SHAPES]

# Further ways to call them.
OPTIONS = {
    "round": [
        of(ENDS, decimals=2), of(ENDS, decimals=-1), of(INTEGERS, decimals=-2),
        of(INTEGERS, decimals=2),
    ],
    "leaky_relu": [of(ENDS, negative_slope=0.01)],
    "elu": [of(ENDS, alpha=0.5)],
    "celu": [of(ENDS, alpha=0.5)],
    "gelu": [of(ENDS[abs(ENDS) < 3e38], approximate=False)],
    "hard_shrink": [of(ENDS, threshold=0.0), of(ENDS, threshold=1.0)],
    "soft_shrink": [of(ENDS, threshold=1.0)],
    "squareplus": [of(ENDS, b=0.5)],
    "nan_to_num": [of(ENDS, nan=1.0, posinf=2.0, neginf=3.0), of(INTEGERS, nan=1.0)],
}  # fmt: skip

# -- exact, integers included

for name in (
    "abs", "absolute", "trunc", "isnan", "isinf", "isfinite", "isposinf", "isneginf",
    "signbit", "logical_not", "nan_to_num", "copy", "array",
):  # fmt: skip
    oracle(
        name, of(ENDS), of(INTEGERS), of(TRUTHS), SHAPED, OPTIONS.get(name, []), edges=(), ulps=0,
        differs=[OF_NAN] if name.startswith("abs") else [],
    )
oracle("sign", of(ENDS), of(INTEGERS), SHAPED, edges=(), ulps=0)
oracle("reciprocal", of(ENDS), of(SMALL), SHAPED, values="keras", edges=(), ulps=1)
for name in ("negative", "square", "round", "floor", "ceil", "fabs"):
    oracle(
        name, of(ENDS), of(SMALL), SHAPED, OPTIONS.get(name, []), edges=(), ulps=1,
        differs=[OF_NAN] if name == "fabs" else [],
    )
for name in ("relu", "stop_gradient", "convert_to_tensor"):
    oracle(name, of(ENDS), of(INTEGERS), SHAPED, values="keras", edges=(), ulps=0)
for name in ("bitwise_not", "bitwise_invert"):
    oracle(name, of(INTEGERS), of(TRUTHS), of(floats(3)), edges=(), ulps=0)
for name in ("zeros_like", "ones_like"):
    oracle(name, of(ENDS), of(INTEGERS), of(TRUTHS), SHAPED, edges=(), ulps=0)
oracle(
    "empty_like", *(of(x, by=lambda k, x: k.shape(k.empty_like(x))) for x in (ENDS, INTEGERS)),
    edges=(),
)  # fmt: skip
oracle(
    "full_like", of(ENDS, fill_value=2.5), of(INTEGERS, fill_value=2.5), of(INTEGERS, fill_value=3),
    of(TRUTHS, fill_value=2), of(floats(2, 0), fill_value=np.nan),
    of(floats(3), fill_value=1, dtype="int32"), edges=(), ulps=0,
)  # fmt: skip

# -- rounded

for name in (
    "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "log2", "log10", "exp2",
    "deg2rad", "rad2deg",
):  # fmt: skip
    oracle(name, of(ENDS), of(SMALL), of(TRUTHS), SHAPED, edges=(), ulps=6)
for name in ("erf", "erfc", "erfinv"):
    oracle(name, of(ENDS), of(SMALL), of(TRUTHS), SHAPED, edges=(), ulps=128)
oracle("rsqrt", of(ENDS), of(SMALL), SHAPED, values="keras", edges=(), ulps=6)
oracle("cbrt", of(ENDS), of(SMALL), SHAPED, edges=(), ulps=6, differs=[ROOT_AT_0])
oracle("sinc", of(ENDS), of(SMALL), SHAPED, edges=(), scale="one", ulps=6, differs=[NEAR_0])

# -- activations

for name in (
    "relu6", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "hard_shrink", "soft_shrink",
    "leaky_relu", "sparse_plus", "sparse_sigmoid", "sigmoid", "softplus", "log_sigmoid", "softsign",
    "silu", "swish", "elu", "selu", "celu", "gelu", "squareplus", "tanh_shrink",
):  # fmt: skip
    oracle(
        name, of(ENDS), of(SMALL), SHAPED, OPTIONS.get(name, []), values="keras", edges=(),
        scale="one", ulps=6,
        differs=[OF_NAN, NEAR_LARGEST] if name in ("elu", "celu", "selu", "silu", "swish") else [],
    )  # fmt: skip
oracle(
    "threshold", of(ENDS, threshold=0.5, default_value=-3.0),
    of(SMALL, threshold=1, default_value=7), values="keras", edges=(), ulps=0,
)  # fmt: skip

# -- types

DTYPES = (
    "bool", "int32", "float32", "float64", "uint8", "int8", "int16", "uint16", "uint32", "int64",
    "float16",
)  # fmt: skip
INSIDE = np.array([0.0, -0.0, 1.0, 2.5, 99.9, 100.0])  # values that every type can hold
oracle(
    "cast",
    *(
        of(x, dtype=dtype, smooth=dtype != "float16")
        for x in (INSIDE, SMALL[SMALL >= 0], TRUTHS)
        for dtype in DTYPES
    ),
    *(of(INTEGERS, dtype=dtype) for dtype in ("uint8", "int8", "int16", "uint16", "bool")),
    *(of(ENDS, dtype=dtype) for dtype in ("bool", "float32", "float64")),
    of(ENDS, dtype="float16", smooth=False),
    edges=(), ulps=0,
)  # fmt: skip
oracle(
    "saturate_cast",
    *(
        of(x, dtype=dtype)
        for x in (ENDS[:-1], INTEGERS, TRUTHS)
        for dtype in DTYPES
        if dtype not in ("uint32", "int64")
    ),
    *(of(INSIDE, dtype=dtype) for dtype in ("uint32", "int64")),
    of(ENDS[:-1], dtype="int64", refused=BEYOND_INT32, unseen=True), edges=(), smooth=False, ulps=0,
)  # fmt: skip
oracle(
    "dtype", *(
        of(x, by=lambda k, x: ["bool", "int32", "float32", "float64"].index(str(k.dtype(x))))
        for x in (TRUTHS, INTEGERS, ENDS)
    ), values="keras", edges=(),
)  # fmt: skip
