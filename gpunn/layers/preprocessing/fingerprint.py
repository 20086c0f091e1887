"""FarmHash's 64-bit fingerprint, with which TensorFlow chooses among codes for unknown values.

This is `Fingerprint64` of G. Pike's FarmHash. It never changes, so that files keep their meaning.
"""

from __future__ import annotations

MASK = (1 << 64) - 1
K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _fetch(s: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(s[at : at + size], "little")


def _rotate(x: int, by: int) -> int:
    x &= MASK
    return (x >> by | x << 64 - by) & MASK


def _shift_mix(x: int) -> int:
    x &= MASK
    return x ^ x >> 47


def _mixed(u: int, v: int, factor: int) -> int:
    a = _shift_mix((u ^ v) * factor)
    b = _shift_mix((v ^ a) * factor)
    return b * factor & MASK


def _weak(s: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_fetch(s, at + 8 * k) for k in range(4))
    a = a + w & MASK
    b = _rotate(b + a + z, 21)
    c = a
    a = a + x + y & MASK
    b += _rotate(a, 44)
    return a + z & MASK, b + c & MASK


def fingerprint(s: bytes) -> int:
    """Return a number below 2**64 that depends only on the bytes.

    >>> fingerprint(b"")
    11160318154034397263
    """
    n = len(s)
    factor = K2 + n * 2
    if n > 64:
        return _of_many(s)
    if n > 32:
        a, b = _fetch(s, 0) * K2, _fetch(s, 8)
        c, d = _fetch(s, n - 8) * factor, _fetch(s, n - 16) * K2
        y = _rotate(a + b, 43) + _rotate(c, 30) + d & MASK
        z = _mixed(y, a + _rotate(b + K2, 18) + c & MASK, factor)
        e, f = _fetch(s, 16) * factor, _fetch(s, 24)
        g, h = (y + _fetch(s, n - 32)) * factor, (z + _fetch(s, n - 24)) * factor
        u, v = _rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g
        return _mixed(u & MASK, v & MASK, factor)
    if n > 16:
        a, b = _fetch(s, 0) * K1, _fetch(s, 8)
        c, d = _fetch(s, n - 8) * factor, _fetch(s, n - 16) * K2
        u, v = _rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + K2, 18) + c
        return _mixed(u & MASK, v & MASK, factor)
    if n >= 8:
        a, b = _fetch(s, 0) + K2 & MASK, _fetch(s, n - 8)
        c, d = _rotate(b, 37) * factor + a, (_rotate(a, 25) + b) * factor
        return _mixed(c & MASK, d & MASK, factor)
    if n >= 4:
        return _mixed(n + (_fetch(s, 0, 4) << 3), _fetch(s, n - 4, 4), factor)
    if n:
        y, z = s[0] + (s[n >> 1] << 8), n + (s[n - 1] << 2)
        return _shift_mix(y * K2 & MASK ^ z * K0 & MASK) * K2 & MASK
    return K2


def _of_many(s: bytes) -> int:
    """Return the fingerprint of more than 64 bytes."""
    n, seed = len(s), 81
    x, y = seed * K2 + _fetch(s, 0) & MASK, seed * K1 + 113 & MASK
    z = _shift_mix(y * K2 + 113) * K2 & MASK
    v, w = (0, 0), (0, 0)
    at, end = 0, (n - 1) // 64 * 64
    while at != end:
        x = _rotate(x + y + v[0] + _fetch(s, at + 8), 37) * K1 & MASK
        y = _rotate(y + v[1] + _fetch(s, at + 48), 42) * K1 & MASK
        x ^= w[1]
        y = y + v[0] + _fetch(s, at + 40) & MASK
        z = _rotate(z + w[0], 33) * K1 & MASK
        v = _weak(s, at, v[1] * K1 & MASK, x + w[0] & MASK)
        w = _weak(s, at + 32, z + w[1] & MASK, y + _fetch(s, at + 16) & MASK)
        z, x = x, z
        at += 64
    factor, rest = K1 + ((z & 0xFF) << 1), n - 1 & 63
    at = end + rest - 63
    w = (w[0] + rest & MASK, w[1])
    v = (v[0] + w[0] & MASK, v[1])
    w = (w[0] + v[0] & MASK, w[1])
    x = _rotate(x + y + v[0] + _fetch(s, at + 8), 37) * factor & MASK
    y = _rotate(y + v[1] + _fetch(s, at + 48), 42) * factor & MASK
    x ^= w[1] * 9 & MASK
    y = y + v[0] * 9 + _fetch(s, at + 40) & MASK
    z = _rotate(z + w[0], 33) * factor & MASK
    v = _weak(s, at, v[1] * factor & MASK, x + w[0] & MASK)
    w = _weak(s, at + 32, z + w[1] & MASK, y + _fetch(s, at + 16) & MASK)
    z, x = x, z
    first = _mixed(v[0], w[0], factor) + _shift_mix(y) * K0 + z & MASK
    return _mixed(first, _mixed(v[1], w[1], factor) + x & MASK, factor)
