"""Cases of convolution, pooling, and images made of blocks."""

from __future__ import annotations

from typing import Any

from .case import floats, ints, of, oracle
from .differences import OUTSIDE_IMAGES, POOLED_NAN

VOLUMES = floats(2, 4, 5, 4, 4)
X, KERNEL = floats(2, 7, 6, 3), floats(3, 2, 3, 4, seed=1)
SUMS: Any = {"values": "keras", "scale": "largest", "ulps": 32, "edges": ("zeros", "tiny", "nan")}
FIRST = {"data_format": "channels_first"}

oracle(
    "conv",
    *(
        of(X, KERNEL, strides=strides, padding=padding, dilation_rate=dilation)
        for strides, padding, dilation in (
            (1, "valid", 1), ((2, 1), "same", 1), ((3, 2), "valid", 1), (1, "same", (2, 3)),
            (2, "same", 1), (1, "valid", 2), (2, "valid", 2), ((2, 3), "same", (3, 2)),
        )
    ),
    of(floats(2, 3, 7, 6), KERNEL, strides=2, padding="same", **FIRST),
    of(floats(2, 9, 3), floats(4, 3, 5), strides=2),
    of(floats(2, 9, 3), floats(4, 3, 5), padding="same", dilation_rate=2),
    of(floats(2, 3, 9), floats(4, 3, 5), **FIRST), of(X, floats(9, 2, 3, 4)),
    of(VOLUMES, floats(2, 3, 2, 4, 3)), of(VOLUMES, floats(3, 2, 3, 4, 3), strides=2),
    of(VOLUMES, floats(2, 3, 2, 4, 3), strides=(1, 2, 1), padding="same"),
    of(VOLUMES, floats(2, 2, 2, 2, 4), padding="same", dilation_rate=(2, 1, 2)),
    of(VOLUMES, floats(2, 2, 2, 5, 3)), of(VOLUMES, floats(5, 2, 2, 4, 3)), of(VOLUMES, KERNEL),
    of(floats(2, 4, 3, 5, 4), floats(2, 3, 2, 4, 3), **FIRST),
    of(X, floats(3, 2, 2, 4)), of(floats(0, 7, 6, 3), KERNEL), of(X, KERNEL, strides=0),
    of(floats(7, 6, 3), KERNEL), of(X, floats(1, 1, 3, 2), strides=3, padding="same"),
    differs=[OUTSIDE_IMAGES], **SUMS,
)  # fmt: skip
oracle(
    "depthwise_conv", of(X, floats(2, 3, 3, 2), strides=2, padding="same"),
    of(X, floats(2, 3, 3, 2)), of(X, floats(2, 3, 3, 1), dilation_rate=2),
    of(X, floats(2, 3, 3, 1), dilation_rate=2, strides=2, padding="same"),
    of(floats(2, 9, 3), floats(4, 3, 2), strides=2), of(X, floats(2, 3, 2, 2)),
    of(floats(2, 3, 7, 6), floats(2, 3, 3, 2), **FIRST), differs=[OUTSIDE_IMAGES], **SUMS,
)  # fmt: skip
oracle(
    "separable_conv", of(X, floats(2, 3, 3, 2), floats(1, 1, 6, 5), strides=2),
    of(X, floats(2, 3, 3, 2), floats(1, 1, 6, 5), padding="same"),
    of(floats(2, 9, 3), floats(4, 3, 2), floats(1, 6, 2)),
    of(floats(2, 3, 7, 6), floats(2, 3, 3, 2), floats(1, 1, 6, 5), **FIRST),
    of(X, floats(2, 3, 3, 2), floats(1, 1, 6, 5), dilation_rate=2),
    of(X, floats(2, 3, 3, 2), floats(1, 1, 5, 5)), **SUMS,
)  # fmt: skip
SMALL = floats(2, 4, 3, 4)
oracle(
    "conv_transpose",
    *(
        of(SMALL, floats(*size, 5, 4), strides=strides, padding=padding)
        for size in ((3, 2), (1, 1), (4, 3))
        for strides in (1, 2, 4, (2, 1))
        for padding in ("valid", "same")
    ),
    of(SMALL, floats(3, 2, 5, 4), strides=2, dilation_rate=3),
    of(VOLUMES, floats(2, 3, 1, 5, 4)),
    of(VOLUMES, floats(3, 2, 2, 5, 4), strides=2, padding="same"),
    of(VOLUMES, floats(2, 3, 2, 5, 4), strides=(3, 1, 2), output_padding=0),
    of(VOLUMES, floats(2, 1, 2, 5, 4), dilation_rate=(2, 1, 1)), of(VOLUMES, floats(2, 2, 2, 5, 3)),
    of(floats(2, 4, 3, 5, 4), floats(2, 3, 2, 5, 4), strides=2, **FIRST),
    of(SMALL, floats(3, 2, 5, 4), strides=3, dilation_rate=2, padding="same"),
    of(floats(2, 4, 4), floats(3, 5, 4), strides=2),
    of(floats(2, 4, 4), floats(3, 5, 4), strides=2, padding="same"),
    of(floats(2, 4, 4, 3), floats(3, 2, 5, 4), **FIRST), of(SMALL, floats(3, 2, 5, 3)),
    values="keras", scale="largest", ulps=32, edges=(),
)  # fmt: skip
for name in ("max_pool", "average_pool"):
    oracle(
        name,
        *(
            of(X, pool_size=window, strides=strides, padding=padding)
            for window, strides, padding in (
                ((2, 2), (2, 2), "valid"), ((3, 2), (2, 1), "same"), ((2, 3), (1, 2), "valid"),
                (2, None, "valid"), (3, 1, "same"), (3, None, "same"), (2, 3, "valid"),
                (1, 1, "valid"), (2, 3, "same"),
            )
        ),
        of(floats(2, 3, 7, 6), pool_size=2, **FIRST),
        of(floats(2, 8, 3), pool_size=3, strides=2, padding="same"),
        of(floats(2, 8, 3), pool_size=3),
        of(X, pool_size=9), of(X, pool_size=0), of(floats(0, 7, 6, 3), pool_size=2),
        of(X, pool_size=2, strides=0), values="keras",
        edges=("zeros", "ties", "huge", "tiny", "inf", "nan"), scale="one",
        differs=[POOLED_NAN] if name == "max_pool" else [],
    )  # fmt: skip
for name in ("adaptive_max_pool", "adaptive_average_pool"):
    oracle(
        name,
        *(of(X, output_size=size) for size in (3, (7, 6), (2, 3), (5, 4), 1, (9, 8), (1, 4))),
        of(floats(2, 3, 7, 6), output_size=(3, 4), **FIRST), of(floats(2, 8, 3), output_size=3),
        of(floats(2, 8, 3), output_size=4), of(floats(2, 3, 8), output_size=5, **FIRST),
        of(X, output_size=0), of(X, output_size=(2, 3, 4)), of(floats(0, 7, 6, 3), output_size=2),
        of(floats(2, 0, 6, 3), output_size=2), of(floats(7, 6), output_size=2), values="keras",
        edges=("zeros", "ties", "huge", "tiny", "inf", "nan"), scale="one", ulps=8,
        differs=[POOLED_NAN] if name == "adaptive_max_pool" else [],
    )  # fmt: skip
for name in ("space_to_depth", "depth_to_space"):
    oracle(
        name, of(floats(2, 4, 6, 8), block_size=2), of(floats(1, 8, 2, 6), block_size=2, **FIRST),
        of(floats(1, 9, 3, 9), block_size=3), of(floats(1, 5, 4, 3), block_size=2),
        of(ints(1, 4, 4, 4), block_size=2), of(floats(4, 4, 4), block_size=2),
        of(floats(1, 4, 4, 4), block_size=0), values="keras", edges=("nan",), ulps=0,
    )  # fmt: skip
