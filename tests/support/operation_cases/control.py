"""Cases of conditionals and loops."""

from __future__ import annotations

from typing import Any

from .case import floats, ints, of, oracle
from .differences import UNREAD

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


def scanned(k: Any, f: Any, *xs: Any, part: Any = (1,), **options: Any) -> Any:
    """Return a part of what `scan` returns: by default the stacked results."""
    found = k.scan(f, *xs, **options)
    for key in part:
        found = found[key]
    return found


def decayed(carry: Any, x: Any) -> Any:
    return 0.5 * carry + x, carry * x


def paired(k: Any) -> Any:
    """A step with two carries, two sequences and two results."""

    def f(carry: Any, row: Any) -> Any:
        (a, b), (x, y) = carry, (row["x"], row["y"])
        return (k.tanh(b + x), a * y), {"sum": a + b, "old": a}

    return f


SCANS = [
    of(floats(5, 3), by=lambda k, x: scanned(k, decayed, x[0], x)),
    of(floats(5, 3), by=lambda k, x: scanned(k, decayed, x[0], x, part=(0,), reverse=True)),
    of(floats(5, 3), by=lambda k, x: scanned(k, decayed, x[0], x, reverse=True)),
    of(floats(5), by=lambda k, x: scanned(k, decayed, x[0], x)),
    of(floats(1, 3), by=lambda k, x: scanned(k, decayed, x[0], x)),
    of(floats(3), by=lambda k, x: scanned(
        k, lambda c, _: (c * x, c + x), x, length=4)),
    of(floats(3), by=lambda k, x: scanned(
        k, lambda c, _: (k.sin(c), c), x, part=(0,), length=3)),
    of(ints(4, 2), by=lambda k, x: scanned(k, lambda c, y: (c + y, c * y), x[0], x)),
    of(floats(4, 2), floats(4, 2, seed=1), by=lambda k, x, y: scanned(
        k, paired(k), (x[0], y[0]), {"x": x, "y": y}, part=(1, "sum"))),
    of(floats(4, 2), floats(4, 2, seed=1), by=lambda k, x, y: scanned(
        k, paired(k), (x[0], y[0]), {"x": x, "y": y}, part=(0, 1), reverse=True)),
    of(floats(4, 2, 3), floats(3, 3), floats(3), by=lambda k, x, w, b: scanned(
        k, lambda h, row: (k.tanh(row @ w + h @ w + b),) * 2, x[0], x)),
    of(floats(4, 3, 3), by=lambda k, x: scanned(
        k, lambda c, row: (k.scan(decayed, c, row)[0],) * 2, x[0, 0], x)),
    of(floats(4, 3), by=lambda k, x: scanned(k, lambda c, y: (c + k.sum(y), y), 0.0, x, part=(0,))),
    of(floats(4, 3), floats(3, 2), by=lambda k, *xs: k.scan(decayed, xs[0][0], xs[1])),
]  # fmt: skip
oracle("scan", *SCANS, scale="largest", differs=[UNREAD], **EDGES)
PAIRS: Any = lambda k: lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])  # noqa: E731
oracle(
    "associative_scan",
    *(
        of(floats(n, 2), by=lambda k, x, r=r: k.associative_scan(lambda a, b: a * b, x, reverse=r))
        for n in (1, 2, 5, 8) for r in (False, True)
    ),
    of(floats(2, 5), floats(2, 5, seed=1), by=lambda k, x, y: k.associative_scan(
        PAIRS(k), (x, y), axis=1)[1]),
    of(floats(2, 7), floats(2, 7, seed=1), by=lambda k, x, y: k.associative_scan(
        PAIRS(k), (x, y), axis=-1, reverse=True)[1]),
    of(ints(6), by=lambda k, x: k.associative_scan(lambda a, b: a + b, x)),
    of(floats(4, 3), floats(3, 2), by=lambda k, *xs: k.associative_scan(PAIRS(k), xs)),
    scale="largest", differs=[UNREAD], **EDGES,
)  # fmt: skip
