"""The instructions of PTX that NVRTC makes of the kernels, and what each computes.

`OPERATIONS` has an entry for each form of an opcode, such as ``cvt.rzi.s32.f32``. The semantics
are those of NVIDIA's "PTX ISA" manual; the C++ functions are in ``operations.h``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

__all__ = ["OPERATIONS", "Operation"]


@dataclass(frozen=True)
class Operation:
    """One form of an instruction.

    Attributes:
        result: the type of the result, "" if there is none.
        operands: the type of each operand after the destination; "address" for a place in memory.
        meaning: a C++ expression of the operands, which it calls a, b, c and d.
    """

    result: str
    operands: tuple[str, ...]
    meaning: str


# The form; the types of its result and operands; its meaning. Braces enclose alternatives. T is
# the last type of the form, S the one before it, U the unsigned type of T's width, W the type of
# twice that width.
_TABLE = """
abs.f32                                   T(T)           fabsf(a)
abs.f64                                   T(T)           fabs(a)
neg.{f32,f64}                             T(T)           -a
neg.{s16,s32,s64}                         T(T)           T(U(0) - U(a))
add{,.rn}.{f32,f64}                       T(T,T)         a + b
add.rz.f32                                T(T,T)         add_rounded(MODE, a, b)
add.{s16,s32,s64,u16,u32,u64}             T(T,T)         T(U(a) + U(b))
sub{,.rn}.{f32,f64}                       T(T,T)         a - b
sub.{s16,s32,s64,u16,u32,u64}             T(T,T)         T(U(a) - U(b))
mul{,.rn}.{f32,f64}                       T(T,T)         a * b
mul.rz.f32                                T(T,T)         mul_rounded(MODE, a, b)
mul.lo.{s16,s32,s64,u16,u32,u64}          T(T,T)         T(u64(a) * u64(b))
mul.hi.{s32,s64,u32,u64}                  T(T,T)         high_product(a, b)
mul.wide.{s16,s32,u16,u32}                W(T,T)         W(a) * W(b)
mad.wide.u32                              W(T,T,W)       W(a) * W(b) + c
mad.lo.{s32,u32}                          T(T,T,T)       T(U(a) * U(b) + U(c))
fma.rn.f32                                T(T,T,T)       fmaf(a, b, c)
fma.rn.f64                                T(T,T,T)       fma(a, b, c)
fma.{rz,rm}.f32                           T(T,T,T)       fma_rounded(MODE, a, b, c)
div.rn.{f32,f64}                          T(T,T)         a / b
div.approx.f32                            T(T,T)         divided_roughly(a, b)
div.{s32,s64,u32,u64}                     T(T,T)         quotient<T>(a, b)
rem.{s32,s64,u32,u64}                     T(T,T)         remainder_of<T>(a, b)
rcp.rn.{f32,f64}                          T(T)           T(1) / a
rcp.approx.ftz.f32                        T(T)           flushed(1 / flushed(a))
rcp.approx.ftz.f64                        T(T)  flushed(upper_half(1 / flushed(upper_half(a))))
rsqrt.approx.ftz.f32                      T(T)           flushed(1 / sqrtf(flushed(a)))
rsqrt.approx.ftz.f64                 T(T)  flushed(upper_half(1 / sqrt(flushed(upper_half(a)))))
sqrt.rn.f32                               T(T)           sqrtf(a)
sqrt.rn.f64                               T(T)           sqrt(a)
ex2.approx.f32                            T(T)           T(exp2(f64(a)))
ex2.approx.ftz.f32                        T(T)           flushed(T(exp2(f64(flushed(a)))))
lg2.approx.f32                            T(T)           T(log2(f64(a)))
copysign.{f32,f64}                        T(T,T)         copysign(b, a)
min.{f32,f64}                             T(T,T)         lesser(a, b)
max.{f32,f64}                             T(T,T)         larger(a, b)
min.{s32,s64,u32,u64}                     T(T,T)         b < a ? b : a
max.{s32,s64,u32,u64}                     T(T,T)         a < b ? b : a
and.{b16,b32,b64,pred}                    T(T,T)         T(a & b)
or.{b16,b32,b64,pred}                     T(T,T)         T(a | b)
xor.{b16,b32,b64,pred}                    T(T,T)         T(a ^ b)
not.{b16,b32,b64}                         T(T)           T(~a)
not.pred                                  T(T)           !a
shl.{b16,b32,b64}                         T(T,u32)       shift_left<T>(a, b)
shr.{s16,s32,s64,u16,u32,u64}             T(T,u32)       shift_right<T>(a, b)
bfe.{u32,u64}                             T(T,u32,u32)   extracted(a, b, c)
bfi.b64                                   T(T,T,u32,u32) inserted(a, b, c, d)
clz.b64                                   u32(T)         a ? u32(__builtin_clzll(a)) : 64u
popc.b32                                  u32(T)         u32(__builtin_popcount(a))
setp.{eq,ne}.{b16,b32,b64,s16,s32,s64,u16,u32} pred(T,T)      a COMPARED b
setp.{lt,le,gt,ge}.{s16,s32,s64,u16,u32,u64} pred(T,T)      a COMPARED b
setp.{eq,lt,le,gt,ge}.{f32,f64}           pred(T,T)      a COMPARED b
setp.ne.{f32,f64}                         pred(T,T)      a < b || a > b
setp.{equ,neu,ltu,leu,gtu,geu}.{f32,f64}  pred(T,T)      a != a || b != b || a COMPARED b
setp.num.{f32,f64}                        pred(T,T)      a == a && b == b
setp.nan.{f32,f64}                        pred(T,T)      a != a || b != b
selp.{b16,b32,b64,f32,f64,s16,u16,u32,u64} T(T,T,pred)    c ? a : b
mov.{b32,b64,f32,f64,pred,u16,u32,u64}    T(T)           a
cvta.to.global.u64                        T(T)           a
cvt.f64.f32                               S(T)           S(a)
cvt.rn.f32.{f64,s16,s32,s64,u16,u32,u64}  S(T)           S(a)
cvt.rn.f64.{s16,s32,s64,u16,u32,u64}      S(T)           S(a)
cvt.sat.f32.f32                           S(T)           saturated(a)
cvt.{rni,rzi,rmi,rpi}.{f32.f32,f64.f64}   S(T)           ROUNDED(a)
cvt.{rni,rzi}.{s32,s64,u32,u64}.{f32,f64} S(T)          to_integer<S>(ROUNDED(a))
cvt.{s16.s8,s32.s8,s64.s32,s64.s8}        S(T)           S(a)
cvt.{u16.u8,u16.u32,u16.u64}              S(T)           S(a)
cvt.{u32.u8,u32.u16,u32.u64,u64.u8}       S(T)           S(a)
cvt.{u64.u16,u64.u32}                     S(T)           S(a)
add.cc.u32                                T(T,T)         carried(u64(a) + b, carry)
addc.cc.u32                               T(T,T)         carried(u64(a) + b + carry, carry)
addc.u32                                  T(T,T)         a + b + carry
sub.cc.u32                                T(T,T)         carried(u64(a) - b, carry)
subc.cc.u32                               T(T,T)         carried(u64(a) - b - carry, carry)
subc.u32                                  T(T,T)         a - b - carry
mad.lo.cc.u32                             T(T,T,T)       carried(u64(a * b) + c, carry)
madc.lo.cc.u32                            T(T,T,T)       carried(u64(a * b) + c + carry, carry)
madc.hi.cc.u32                       T(T,T,T)  carried(u64(high_product(a, b)) + c + carry, carry)
madc.hi.u32                               T(T,T,T)       high_product(a, b) + c + carry
ld.{param,local}.{b32,f32,f64,s8,u8,s32,u32,u64}     T(address) *(const T*)(a)
ld.{shared,global}.{f32,f64,s8,u8,s16,u16,s32,u32,s64,u64} T(address) *(const T*)(a)
ld.{shared,global}.{v2.f32,v4.f32,v2.f64} T(address)     *(const T*)(a)
ld.global.nc{,.v2}.{f32,f64,u32,u64}      T(address)     *(const T*)(a)
ld.volatile.global.{f32,f64,s8,u8,s32,u32} T(address)    *(const volatile T*)(a)
st.{param,local,shared,global}.{b32,f32,f64,u8,u16,u32,u64} (address,T) *(T*)(a) = b
st.shared.{v2.f32,v4.f32,v2.f64}          (address,T)    *(T*)(a) = b
st.volatile.global.u32                    (address,T)    *(volatile T*)(a) = b
atom.global.add.{f64,u32,u64}             T(address,T)   atomicAdd((T*)(a), b)
atom.global.min.s64                       T(address,T)   atomicMin((T*)(a), b)
atom.global.max.s64                       T(address,T)   atomicMax((T*)(a), b)
bar.sync                                  (u32)          __syncthreads()
bar.warp.sync                             (u32)          __syncwarp(a)
membar.gl                                 ()             __threadfence()
nanosleep.u32                             (T)            (void)0
shfl.sync.bfly.b32                        T(T,u32,u32,u32) butterfly(a, b, c, d, exists)
vote.sync.ballot.b32                      u32(pred,u32)  __ballot_sync(b, a)
"""

_COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ROUNDED = {"rni": "nearbyint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
_MODES = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD"}
_TYPE = re.compile(r"pred|[bsuf](?:8|16|32|64)")


def _forms(pattern: str) -> Iterator[str]:
    pieces = re.split(r"\{([^}]*)\}", pattern)
    for chosen in product(
        *(piece.split(",") if i % 2 else [piece] for i, piece in enumerate(pieces))
    ):
        yield "".join(chosen)


def _operation(form: str, signature: str, meaning: str) -> Operation:
    modifiers = form.split(".")
    types = [modifier for modifier in modifiers if _TYPE.fullmatch(modifier)]
    last = types[-1] if types else ""
    kind, bits = last[:1], last[1:]
    names = {"T": last, "S": types[-2] if len(types) > 1 else "", "U": f"u{bits}"}
    if bits in ("16", "32"):
        names["W"] = f"{kind}{2 * int(bits)}"
    for modifier in modifiers:
        if modifier in _ROUNDED:
            names["ROUNDED"] = _ROUNDED[modifier]
        if modifier in _MODES:
            names["MODE"] = _MODES[modifier]
        if modifiers[0] == "setp" and modifier[:2] in _COMPARED:
            names["COMPARED"] = _COMPARED[modifier[:2]]

    def named(text: str) -> str:
        return re.sub(r"\b[A-Z]+\b", lambda found: names.get(found[0], found[0]), text)

    result, operands = named(signature).rstrip(")").split("(")
    return Operation(result, tuple(filter(None, operands.split(","))), named(meaning))


def _operations() -> Iterator[tuple[str, Operation]]:
    for row in _TABLE.strip().splitlines():
        pattern, signature, meaning = row.split(maxsplit=2)
        for form in _forms(pattern):
            yield form, _operation(form, signature, meaning)


OPERATIONS = dict(_operations())
