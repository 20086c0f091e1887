"""Cases of conditionals and loops."""

from __future__ import annotations

from typing import Any

from .case import floats, ints, of, oracle

EDGES: Any = {"edges": ("zeros", "tiny", "nan"), "values": "keras"}
oracle(
    "cond",
    *(
        of(x, by=lambda k, x: k.cond(k.sum(x) > 0, lambda: x * 2, lambda: x * x))
        for x in (abs(floats(3)), -abs(floats(3)))
    ),
    of(floats(3), by=lambda k, x: k.cond(
        x[0] > 0, lambda: (x, [x[1]]), lambda: (-x, [x[2]]))[1][0]),
    of(floats(3), by=lambda k, x: k.cond(True, lambda: x, lambda: x * 2)),
    of(ints(3), by=lambda k, x: k.cond(x[0] > 0, lambda: x, lambda: x * 2)),
    of(floats(3), by=lambda k, x: k.cond(x > 0, lambda: x, lambda: x * 2)), **EDGES,
)  # fmt: skip
for name in ("map", "vectorized_map"):
    oracle(
        name,
        of(floats(4, 3), by=lambda k, x, n=name: getattr(k, n)(lambda row: k.sum(row * row), x)),
        of(floats(4, 3), floats(4, 1), by=lambda k, *xs, n=name: getattr(k, n)(
            lambda two: two[0] * two[1], xs)),
        of(floats(4, 3), by=lambda k, x, n=name: getattr(k, n)(
            lambda row: (row, k.sum(row)), x)[1]),
        of(floats(4, 3), by=lambda k, x, n=name: getattr(k, n)(lambda row: {"a": row}, x)["a"]),
        of(floats(4, 3), by=lambda k, x, n=name: getattr(k, n)(lambda row: row["a"] * 2, {"a": x})),
        of(floats(4, 3), floats(3, 1), by=lambda k, *xs, n=name: getattr(k, n)(
            lambda two: two[0] * two[1], xs)),
        of(floats(), by=lambda k, x, n=name: getattr(k, n)(lambda row: row, x)), **EDGES,
    )  # fmt: skip
oracle(
    "fori_loop", of(floats(3), by=lambda k, x: k.fori_loop(1, 4, lambda i, v: v * x + i, x)),
    of(floats(3), by=lambda k, x: k.fori_loop(4, 1, lambda i, v: v * x, x)),
    of(floats(3), by=lambda k, x: k.fori_loop(
        0, 2, lambda i, v: (v[0] + i, v[1] * x), (x, x))[1]), **EDGES,
)  # fmt: skip
oracle(
    "while_loop",
    of(floats(3), by=lambda k, x: k.while_loop(
        lambda i, v: i < 3, lambda i, v: (i + 1, v * x), (0, x))[1]),
    *(
        of(floats(3), by=lambda k, x, n=n: k.while_loop(
            lambda v: True, lambda v: v * 2, x, maximum_iterations=n))
        for n in (3, 0)
    ),
    of(floats(3), by=lambda k, x: k.while_loop(lambda v: False, lambda v: (v * 2,), (x,))[0]),
    **EDGES,
)  # fmt: skip
oracle(
    "custom_gradient",
    of(floats(3), by=lambda k, x: k.custom_gradient(
        lambda x: (k.exp(x), lambda *args, upstream: upstream * x))(x)),
    of(floats(2, 3), floats(2, 3), by=lambda k, x, y: k.custom_gradient(
        lambda x, y: (x * y, lambda *args, upstream: (upstream, upstream * args[0])))(x, y)),
    **EDGES,
)  # fmt: skip
