"""The complementary error function, which array modules lack."""

from __future__ import annotations

from typing import Any

from gpunn.common.numeric.normal import LONG, SHORT, SQUEEZE


def erfc(backend: Any, x: Any, out: Any) -> None:
    """out = 1 - erf(x), accurate also where x is large; ``out`` may be x.

    The formula is in `gpunn.common.numeric.normal`.
    """
    xp = backend.xp
    z = backend.scratch(x.shape, x.dtype, "z")
    t = backend.scratch(x.shape, x.dtype, "t")
    u = backend.scratch(x.shape, x.dtype, "u")
    below = backend.scratch(x.shape, bool, "below")
    xp.less(x, 0.0, out=below)
    xp.absolute(x, out=z)
    xp.multiply(z, SQUEEZE, out=t)
    xp.add(t, 1.0, out=t)
    xp.reciprocal(t, out=t)
    xp.multiply(z, z, out=z)
    xp.multiply(t, 2.0, out=u)
    xp.subtract(u, 1.0, out=u)
    *rest, last = SHORT if x.dtype.itemsize == 4 else LONG
    xp.multiply(u, last, out=out)
    for coefficient in reversed(rest[1:]):
        xp.add(out, coefficient, out=out)
        xp.multiply(out, u, out=out)
    xp.add(out, rest[0], out=out)
    xp.subtract(out, z, out=out)
    xp.exp(out, out=out)
    xp.multiply(out, t, out=out)  # erfc(|x|), subtracted from 2 below for negative x
    xp.multiply(below, 2.0, out=u, dtype=x.dtype)
    xp.subtract(u, out, out=out)
    xp.absolute(out, out=out)
