"""What the instructions of machine code (SASS) compute with integers, on Pascal and on newer GPUs.

Sources: NVIDIA's list of instructions (CUDA Binary Utilities), and for the meaning of modifiers the
code that the compiler makes of known arithmetic, which the tests execute.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

WORD = 0xFFFFFFFF
Values = list[int | None]


def compute(
    name: str, modifiers: Sequence[str], results: Sequence[str], sources: Sequence[str], thread: Any
) -> Values:
    """Return the values of an instruction's results, a word each; [] if they are unknown.

    Args:
        name, modifiers, results, sources: of the instruction.
        thread: the `Thread` that executes it: its operands' values.
    """
    function = _FUNCTIONS.get(name.removeprefix("U"))
    if function is None:
        return []
    try:
        return function(modifiers, results, sources, thread)
    except TypeError:  # an operand is unknown: None
        return []


def signed(x: int, bits: int = 32) -> int:
    """Return the signed integer with these bits.

    >>> signed(0xFFFFFFFF), signed(5)
    (-1, 5)
    """
    x &= (1 << bits) - 1
    return x - (1 << bits) if x >> (bits - 1) else x


# The flags of Pascal (CC): whether a result is zero, its sign, which of two numbers was chosen, and
# the carry of a sum, which is up to 2.
ZERO, SIGN, FIRST, SECOND, CARRY = 1, 2, 4, 8, 16


def _carry(thread: Any) -> int:
    return thread.values["CC"] // CARRY


def _with_flags(results: Sequence[str], total: int) -> Values:
    low = total & WORD
    flags = (total >> 32 & 3) * CARRY + (low >> 31) * SIGN + (low == 0) * ZERO
    return [low, flags] if results[0].endswith(".CC") else [low]


def _sum(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """IADD, IADD3, VIADD: with carries in (.X) and out."""
    extended = "X" in m
    words = [s for s in sources if not _is_predicate(s)]
    carries = [s for s in sources if _is_predicate(s)]
    values = [t.value(s, extended) for s in words]
    if t.generation < 7:  # immediates of IADD3 are printed as 20 bits
        values = [
            signed(value, 20) & WORD if len(words) == 3 and text[0].isdigit() else value
            for text, value in zip(words, values, strict=True)
        ]
    if "RS" in m or "LS" in m:
        two = values[0] + values[1]
        total = (two >> 16 if "RS" in m else two << 16) + values[2]
        return [total & WORD]
    total = sum(values) + sum(t.value(c) for c in carries)
    if extended and not carries:
        total += _carry(t)
    if results[0].endswith(".CC"):
        return _with_flags(results, total)
    return [total & WORD, *(int(total >> 32 > number) for number in range(len(results) - 1))]


def _is_predicate(operand: str) -> bool:
    name = operand.lstrip("!").removeprefix("U")
    return name[0] == "P" and name != "PR"


def _multiply(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """IMAD and its forms."""
    a, b, c, *carry = sources
    if "MOV" in m and a == b == "RZ":
        return [t.value(c) & WORD]
    x, y = t.value(a), t.value(b)
    if "U32" not in m:
        x, y = signed(x), signed(y)
    more = t.value(carry[0]) if carry else 0
    if "WIDE" in m or "HI" in m:
        total = x * y + t.pair(c) + more
        found = [total >> 32 & WORD] if "HI" in m else [total & WORD, total >> 32 & WORD]
        return [*found, total >> 64 & 1]
    return [(x * y + t.value(c) + more) & WORD]


def _xmad(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """XMAD, Pascal's product of 16 bits."""
    a, b, c = sources
    halves = (t.value(s if ".H" in s or s[0] != "R" else f"{s}.H0") for s in (a, b))
    signs = [f for f in m if f in ("S16", "U16")] or ["U16", "U16"]
    x, y = (
        signed(half, 16) if sign == "S16" else half & 0xFFFF
        for half, sign in zip(halves, signs, strict=True)
    )  # fmt: skip
    product, z = x * y, t.value(c)
    whole = t.value(b.split(".H")[0])
    product = product << 16 if "PSL" in m else product
    if "CHI" in m:
        z = z >> 16
    elif "CLO" in m:
        z = z & 0xFFFF
    elif "CBCC" in m:
        z = z + (whole << 16)
    elif "CSFU" in m:
        z = z - ((x < 0) + (y < 0) << 16)
    total = product + z
    if "MRG" in m:
        return [(total & 0xFFFF) | (whole << 16 & WORD)]
    return _with_flags(results, total)


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "LT": lambda a, b: a < b, "LE": lambda a, b: a <= b, "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b, "EQ": lambda a, b: a == b, "NE": lambda a, b: a != b,
}  # fmt: skip


def _compare(m: Sequence[str], sources: Sequence[str], t: Any) -> bool:
    (how,) = set(m) & set(_COMPARISONS)
    a, b = t.value(sources[0]) & WORD, t.value(sources[1]) & WORD
    if "U32" not in m:
        a, b = signed(a), signed(b)
    if "X" in m and a == b:  # the lower words decide: their difference
        flags = t.values["CC"]
        a, b = (0, 0) if flags & ZERO else (1, 0) if flags // CARRY else (0, 1)
    elif "EX" in m and a == b:
        return bool(t.value(sources[3]))
    return _COMPARISONS[how](a, b)


def _combined(m: Sequence[str], holds: int, other: int | None) -> int | None:
    """The result of a comparison with a predicate, which one of them may decide alone."""
    if "AND" in m:
        return 0 if holds == 0 or other == 0 else None if other is None else 1
    if "OR" in m:
        return 1 if holds == 1 or other == 1 else None if other is None else 0
    return None if other is None else holds ^ other


def _setp(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    holds, other = int(_compare(m, sources, t)), t.value(sources[2])
    return [_combined(m, holds, other), _combined(m, 1 - holds, other)]


def _iset(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    found = _combined(m, int(_compare(m, sources, t)), t.value(sources[2]))
    return _with_flags(results, WORD * found)


def _psetp(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    a, b, c = (t.value(s) for s in sources)
    return [(a & b & c) if set(m) == {"AND"} else None, None]


def _csetp(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    negative = int(bool(t.values["CC"] & SIGN))
    return [negative & t.value(sources[1])] if tuple(m) == ("SFT", "AND") else []


def _plop(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    *predicates, first, second = sources
    a, b, c = (t.value(p) for p in predicates)
    at = (a << 2) | (b << 1) | c
    return [int(lut, 16) >> at & 1 for lut in (first, second)]


def _select(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    a, b, which = sources
    return [t.value(a if t.value(which) + 0 else b) & WORD]


def _icmp(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    a, b, c = sources
    return [t.value(a if _compare(m, (c, "RZ"), t) else b) & WORD]


def _least(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """IMNMX; in two words: first the upper ones, whose flags say which of the numbers is chosen."""
    a, b = t.value(sources[0]) & WORD, t.value(sources[1]) & WORD
    x, y = (a, b) if "U32" in m else (signed(a), signed(b))
    least = t.value(sources[2])
    if "XLO" in m and (chosen := t.values["CC"]) & (FIRST | SECOND):
        return [a if chosen & FIRST else b]
    first = (x <= y) == bool(least)
    found = a if first else b
    if "XHI" in m:
        return [found, 0 if x == y else FIRST if first else SECOND]
    return [found]


def _lea(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """LEA: a shifted and added, in two words."""
    carries = [s for s in sources if _is_predicate(s)]
    a, b, *rest = [s for s in sources if not _is_predicate(s)]
    distance = int(rest[-1], 16)
    negated = a.startswith("-") and "HI" not in m
    x = t.value(a.removeprefix("-") if negated else a) & WORD
    if "HI" in m:
        upper = (WORD if x >> 31 else 0) if "SX32" in m else t.value(rest[0]) & WORD
        x = ((upper << 32 | x) << distance) >> 32 & WORD
    else:
        x = x << distance & WORD
        x = (x ^ WORD) + 1 if negated else x  # 2^32 for 0: the sum has a carry, see `Thread.value`
    total = x + t.value(b, "X" in m) + sum(t.value(c) for c in carries)
    if "X" in m and not carries:
        total += _carry(t)
    if results[0].endswith(".CC"):
        return _with_flags(results, total)
    return [total & WORD, total >> 32 & 1]


def _iscadd(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    a, b, distance = sources
    x = t.value(a.removeprefix("-")) << int(distance, 16) & WORD
    total = ((x ^ WORD) + 1 if a.startswith("-") else x) + t.value(b)
    return _with_flags(results, total)


def _shift(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """SHL and SHR."""
    x, distance = t.value(sources[0]) & WORD, t.value(sources[1])
    if "L" in m:
        return [x << distance & WORD if distance < 32 else 0]
    return [x >> distance if "U32" in m else signed(x) >> distance & WORD]


def _funnel(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """SHF: two words shifted; the upper or the lower one is the result."""
    low, distance, high = (t.value(s) for s in sources)
    if "L" in m:
        if "U32" in m and "HI" not in m:
            return [low << distance & WORD if distance < 32 else 0]
        return [((high << 32 | low) << distance) >> 32 & WORD]
    whole = high << 32 | low
    if "S32" in m or "S64" in m:
        whole = signed(whole, 64)
    if "HI" in m and ("U32" in m or "S32" in m):
        return [whole >> 32 >> min(distance, 63) & WORD]
    return [whole >> distance >> (32 if "HI" in m else 0) & WORD]


def _lut(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """LOP3: any function of three bits."""
    words = [t.value(s) for s in sources[:3]]
    table = int(sources[3], 16)
    found = 0
    for at in range(8):
        if table >> at & 1:
            term = WORD
            for bit, word in zip((4, 2, 1), words, strict=True):
                term &= word if at & bit else word ^ WORD
            found |= term
    return [int(found != 0), found] if len(results) == 2 else [found & WORD]


def _logic(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    a, b = (t.value(s) & WORD for s in sources[:2])
    found = a & b if "AND" in m else a | b if "OR" in m else a ^ b if "XOR" in m else b
    return [int(found != 0), found] if len(results) == 2 else _with_flags(results, found)


def _permute(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    a, selector, c = (t.value(s) for s in sources)
    whole, found = c << 32 | a, 0
    for at in range(4):
        choice = selector >> (4 * at) & 15
        byte = whole >> (8 * (choice & 7)) & 255
        found |= ((255 if byte >> 7 else 0) if choice & 8 else byte) << (8 * at)
    return [found]


def _bit_field(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    x, field = t.value(sources[0]), t.value(sources[1])
    place, length = field & 255, field >> 8 & 255
    found = x >> place & ((1 << length) - 1)
    return [found if "U32" in m or not length else signed(found, length) & WORD]


def _move(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    value = t.value(sources[0])
    if "64" in m:
        whole = t.pair(sources[0])
        return [whole & WORD, whole >> 32]
    return [value & WORD]


def _zeros(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    return [0, 0] if sources[0] == "SRZ" else []


def _halves(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    """HFMA2.MMA R, -RZ, RZ, a, b: the compiler's way to load a constant."""
    if tuple(sources[:2]) != ("-RZ", "RZ"):
        return []
    low, high = (struct.unpack("<H", struct.pack("<e", float(s)))[0] for s in sources[:1:-1])
    return [high << 16 | low]


def _single(word: int | None) -> float:
    number: float = struct.unpack("<f", (word + 0).to_bytes(4, "little"))[0]
    return number


def _magnitude(operand: str, t: Any) -> int:
    """The value of an operand, which may be the magnitude of a signed integer."""
    if "|" not in operand:
        return int(t.value(operand) + 0)
    value = abs(signed(t.value(operand.strip("-|"))))
    return -value if operand[0] == "-" else value


def _absolute(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    return [abs(signed(t.value(sources[0])))]


def _to_float(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    if "F64" in m:
        return []
    wide = "U64" in m or "S64" in m
    x = t.pair(sources[0]) if wide else _magnitude(sources[0], t)
    if "U32" not in m and "U64" not in m and "U16" not in m:
        x = signed(x, 64 if wide else 32)
    return [struct.unpack("<I", struct.pack("<f", float(x)))[0]]


def _reciprocal(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    if "RCP" not in m or sources[0].startswith(("-", "|")):
        return []
    x = _single(t.value(sources[0]))
    return [struct.unpack("<I", struct.pack("<f", 1 / x))[0]] if x else []


def _to_integer(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    if "F64" in m:
        x = struct.unpack("<d", (t.pair(sources[0]) + 0).to_bytes(8, "little"))[0]
    else:
        x = _single(t.value(sources[0]))
    found = int(x)
    return [found & WORD, found >> 32 & WORD]


def _resize(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    x = _magnitude(sources[0], t)
    found = signed(x, 16) & WORD if "S16" in m else x & WORD
    return _with_flags(results, found)


def _flags_of_predicates(
    m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any
) -> Values:
    mask = int(sources[-1], 16)
    return [(t.value(sources[0]) & mask) | (t.value(sources[1]) & ~mask)]


def _no_check(m: Sequence[str], results: Sequence[str], sources: Sequence[str], t: Any) -> Values:
    return [0]  # no operand of a quotient is extreme


_Function = Callable[[Sequence[str], Sequence[str], Sequence[str], Any], Values]
_FUNCTIONS: dict[str, _Function] = {
    **dict.fromkeys(("IADD", "IADD3", "IADD32I", "VIADD"), _sum),
    "IMAD": _multiply, "XMAD": _xmad, "ISETP": _setp, "ISET": _iset, "PSETP": _psetp,
    "CSETP": _csetp,
    "PLOP3": _plop, "SEL": _select, "FSEL": _select, "ICMP": _icmp, "IMNMX": _least,
    "VIMNMX": _least, "LEA": _lea, "ISCADD": _iscadd, "ISCADD32I": _iscadd,
    "SHL": lambda m, *rest: _shift((*m, "L"), *rest), "SHR": _shift, "SHF": _funnel,
    "LOP3": _lut, "LOP": _logic, "LOP32I": _logic, "PRMT": _permute, "BFE": _bit_field,
    **dict.fromkeys(("MOV", "MOV32I", "S2R", "S2UR", "LDC", "R2UR"), _move),
    "CS2R": _zeros, "HFMA2": _halves, "I2F": _to_float, "I2FP": _to_float, "MUFU": _reciprocal,
    "F2I": _to_integer, "IABS": _absolute, "I2I": _resize, "P2R": _flags_of_predicates,
    "FCHK": _no_check,
}  # fmt: skip
