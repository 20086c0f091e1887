"""Cases of operations that few programs need."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..case import Call, bools, floats, ints, of, oracle
from ..differences import AT_ONE_POINT, ROW_OF_NAN

# -- functions of elements

DIVIDED = [
    of(ints(3, 4), ints(4)), of(ints(5), ints()), of(np.array([0, 0, 6, 46341], np.int32),
                                                    np.array([0, 5, 0, 46341], np.int32)),
    of(floats(3), ints(3)), of(bools(3), bools(3)), of(ints(3), ints(4)), of(ints(0), ints(0)),
]  # fmt: skip
for name in ("gcd", "lcm"):
    oracle(name, DIVIDED, edges=(), ulps=0)
oracle(
    "ldexp", of(floats(3, 4), ints(4)), of(floats(5), np.array([-200, 0, 1, 127, 300], np.int32)),
    of(ints(3), ints(3)), of(floats(), ints()), of(floats(3), floats(3)), of(floats(3), ints(4)),
    edges=("zeros", "huge", "tiny", "inf", "nan"), ulps=0,
)  # fmt: skip
oracle(
    "nextafter", of(floats(3, 4), floats(4, seed=1)), of(floats(5), floats(5)),
    of(np.zeros(2), np.array([1.0, -1.0])), of(floats(3), floats(4)), smooth=False, ulps=0,
    edges=("zeros", "huge", "inf", "nan"),
)  # fmt: skip
oracle("i0", of(floats(3, 4)), of(np.linspace(-9, 9, 37)), of(np.linspace(20, 80, 13)),
       of(ints(5)), of(floats()), of(floats(0)), edges=("zeros", "nan"), ulps=32)  # fmt: skip
NUMBERS = [of(floats(3, 4)), of(ints(3)), of(bools(3)), of(floats()), of(floats(0, 3))]
for name in ("real", "imag", "conj", "conjugate", "isreal"):
    oracle(name, NUMBERS, ulps=0)
oracle("angle", NUMBERS, edges=("zeros", "ties", "tiny", "inf", "nan"), ulps=1)
oracle(
    "view",
    *(of(floats(3, 4), by=lambda k, x, n=n: k.view(x, n)) for n in ("int32", "float32")),
    of(floats(3, 4), by=lambda k, x: k.view(x, x.dtype)), of(ints(3, 4), dtype="float64"),
    of(ints(2, 4), dtype="float32"), of(ints(), dtype="float32"), of(ints(3, 3), dtype="float64"),
    of(ints(), dtype="float64"), edges=("nan", "inf"), smooth=False, ulps=0,
)  # fmt: skip

# -- without NaN

PLACES = [
    *(
        of(x, axis=axis, keepdims=bool(k % 2))
        for x in (floats(3, 4), ints(3, 4), floats(3, 4).round()) for k, axis in enumerate(
            (None, 0, -1))
    ),
    of(np.array([[np.nan, np.nan], [np.nan, -np.inf], [1.0, np.nan]]), axis=1),
    of(np.array([np.nan, np.nan])), of(floats(3, 4), axis=2), of(floats(0)),
]  # fmt: skip
for name in ("nanargmax", "nanargmin"):
    oracle(name, PLACES, values="keras", edges=("ties", "inf", "nan"), ulps=0)

# -- windows of samples, and ranges

for name in ("bartlett", "blackman", "hamming", "hanning"):
    oracle(
        name, *(of(by=lambda k, n=n, name=name: getattr(k, name)(n)) for n in (0, 1, 2, 5, 12)),
        of(by=lambda k, name=name: getattr(k, name)("five")), edges=(), scale="one",
    )  # fmt: skip
oracle(
    "kaiser", *(of(by=lambda k, n=n, b=b: k.kaiser(n, b)) for n in (1, 5, 12) for b in (0.0, 4.0)),
    edges=(), ulps=16,
)  # fmt: skip
oracle(
    "geomspace", *(of(by=lambda k, how=how: k.geomspace(1.0, 1000.0, **how)) for how in (
        {}, {"num": 4}, {"num": 5, "endpoint": False}, {"num": 1}, {"num": 0})),
    of(by=lambda k: k.geomspace(-8.0, -1.0, 4)), of(by=lambda k: k.geomspace(8.0, 1.0, 4)),
    of(floats(3, low=0.5, high=2), floats(3, low=2, high=4),
       by=lambda k, a, b: k.geomspace(a, b, 5)),
    of(floats(3, low=0.5, high=2), floats(3, low=2, high=4),
       by=lambda k, a, b: k.geomspace(a, b, 5, axis=-1)),
    of(by=lambda k: k.geomspace(0.0, 1.0, 4)), edges=(), ulps=16, scale="largest",
)  # fmt: skip

# -- signals

CLOSE: Any = {"scale": "largest", "ulps": 32}
oracle(
    "corrcoef", of(floats(3, 9)), of(floats(1, 5)), of(floats(7)), of(ints(3, 5)),
    of(np.array([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0]]), smooth=False), edges=("nan",), **CLOSE,
)  # fmt: skip
CORRELATED = (((7,), (3,)), ((7,), (4,)), ((3,), (7,)), ((4,), (4,)), ((1,), (1,)))
oracle(
    "correlate",
    *(
        of(floats(*a), floats(*b, seed=1), mode=mode, smooth=mode != "same")
        for mode in ("valid", "full", "same") for a, b in CORRELATED
    ),
    of(ints(5), ints(2)), of(floats(0), floats(2)), of(floats(5), floats(2), mode="other"),
    edges=("zeros",), **CLOSE,
)  # fmt: skip
oracle(
    "cdist", of(floats(3, 4), floats(2, 4, seed=1)), of(floats(2, 3, 4), floats(2, 5, 4, seed=1)),
    of(floats(2, 3, 4), floats(5, 4, seed=1)), of(floats(3, 2), floats(3, 2)),
    of(floats(3, 4), floats(3, 5)), of(floats(4), floats(4)), values="keras",
    edges=("zeros", "ties", "nan"), differs=[AT_ONE_POINT], **CLOSE,
)  # fmt: skip
oracle(
    "histogram", of(floats(50)), of(floats(50), bins=7), of(floats(50), bins=4, range=(-1.0, 0.5)),
    of(ints(30), bins=5), of(np.ones(3)), of(np.array([0.0, 1.0, 2.0, 3.0]), bins=3),
    of(floats(4), range=(1.0, 0.0)), of(floats(4), bins=0), edges=("zeros", "ties"), smooth=False,
    **CLOSE,
)  # fmt: skip


def unique(x: np.ndarray, **options: Any) -> Call:
    return of(x, by=lambda k, x: k.unique(x, **options), eager_only=True, smooth=False)


oracle(
    "unique", unique(ints(9)), unique(floats(3, 4).round()), unique(bools(5)), unique(ints(0)),
    *(
        unique(ints(3, 4), **{name: True})
        for name in ("return_index", "return_inverse", "return_counts")
    ),
    unique(np.tile(ints(9, low=0, high=2), (2, 1)).T, axis=0, return_counts=True),
    unique(ints(9), return_index=True, return_inverse=True, return_counts=True),
    *(
        of(ints(9), by=lambda k, x, n=n: k.unique(x, size=n, fill_value=7, return_counts=True),
           eager_only=True, smooth=False, values="keras")
        for n in (3, 12)
    ),
    unique(ints(9), axis=1), edges=(), ulps=0,
)  # fmt: skip

SEGMENTS = np.array([0, 0, 2, 1, 2, 2, 2])
for name in ("segment_min", "segment_prod"):

    def segments(x: np.ndarray, ids: Any = SEGMENTS, name: str = name, **options: Any) -> Call:
        return of(x, by=lambda k, x: getattr(k, name)(x, np.array(ids), **options))

    oracle(
        name, *(segments(x) for x in (floats(7, 4), ints(7, 4), floats(7))),
        *(segments(floats(7, 4), num_segments=count) for count in (3, 4)),
        of(
            floats(5), ints(5, low=-1, high=4),
            by=lambda k, x, ids, n=name: getattr(k, n)(x, ids, num_segments=3),
        ),
        segments(np.array([0.0, 2.0, 0.0, 3.0, 0.0, 5.0, 7.0])), segments(floats(7, 2, 3)),
        segments(floats(0, 4), np.zeros(0, int), num_segments=2),
        segments(floats(1), [0]), segments(floats(3), [0, 1]),
        values="keras", edges=("zeros", "nan") if name == "segment_min" else (), ulps=16,
        scale="largest", differs=[ROW_OF_NAN],
    )  # fmt: skip

# -- windows of images

IMAGES = floats(2, 3, 5, 6)
WINDOWS: tuple[dict[str, Any], ...] = (
    {"kernel_size": 2}, {"kernel_size": (2, 3), "stride": 2},
    {"kernel_size": 2, "dilation": (2, 1)}, {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "padding": (1, 2), "stride": (2, 1)},
)  # fmt: skip
oracle(
    "unfold", *(of(IMAGES, **how) for how in WINDOWS), of(IMAGES, kernel_size=7),
    of(floats(3, 5, 6), kernel_size=2), values="keras", edges=("zeros", "nan"), ulps=0,
)  # fmt: skip
oracle(
    "fold",
    *(
        of(floats(2, 3 * int(np.prod(np.broadcast_to(how["kernel_size"], 2))), n),
           output_size=(5, 6), **how)
        for how, n in zip(WINDOWS, (20, 4, 15, 30, 27), strict=True)
    ),
    of(floats(2, 12, 19), output_size=(5, 6), kernel_size=2),
    of(floats(2, 11, 20), output_size=(5, 6), kernel_size=2), values="keras", edges=("zeros",),
    **CLOSE,
)  # fmt: skip

# -- functions

BRANCHES = [lambda x: -x, lambda x: x * x, lambda x: x + 1]
oracle(
    "switch",
    *(of(floats(3), by=lambda k, x, n=n: k.switch(n, BRANCHES, x)) for n in (0, 1, 2, -1, 9)),
    of(np.int32(1), floats(3), by=lambda k, n, x: k.switch(n, BRANCHES, x)),
    of(floats(3), by=lambda k, x: k.switch(0, [], x)), values="keras", edges=("nan",), ulps=0,
)  # fmt: skip
oracle(
    "vectorize", of(floats(3), floats(3, seed=1), by=lambda k, a, b: k.vectorize(
        lambda a, b: a * b + a)(a, b)),
    of(floats(2, 3), floats(3, seed=1), by=lambda k, a, b: k.vectorize(
        lambda a, b: a * b + a)(a, b)),
    of(floats(4, 3), floats(4, 3, seed=1), by=lambda k, a, b: k.vectorize(
        lambda a, b: k.sum(a * b), signature="(n),(n)->()")(a, b)),
    of(floats(4, 2, 3), floats(3, seed=1), by=lambda k, a, b: k.vectorize(
        k.matmul, signature="(m,n),(n)->(m)")(a, b), values="keras"),
    of(floats(3), floats(2, seed=1), by=lambda k, a, b: k.vectorize(
        lambda a, b: a * k.sum(b), excluded={1})(a, b)),
    of(floats(3), by=lambda k, a: k.vectorize("no function")(a)), edges=(),
)  # fmt: skip

# -- labels

LOGITS, STEPS = 3 * floats(3, 6, 4), np.array([6, 1, 4], np.int32)


def beams(*arrays: np.ndarray, **options: Any) -> Call:
    return of(*arrays, strategy="beam_search", eager_only=True, **options)


oracle(
    "ctc_decode",
    *(of(LOGITS, STEPS, mask_index=k, merge_repeated=bool(k % 2)) for k in range(4)),
    of(3 * floats(2, 1, 3), np.array([1, 1], np.int32)),
    *(beams(LOGITS, STEPS, beam_width=n, mask_index=n % 4) for n in (1, 2, 5, 300)),
    beams(LOGITS, STEPS, beam_width=20, top_paths=3), of(floats(3, 6), STEPS),
    of(LOGITS, STEPS, strategy="fastest"),
    values="keras", edges=(), smooth=False, ulps=16, scale="largest",
)  # fmt: skip
