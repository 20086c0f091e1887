// The types of PTX and what its instructions compute, for the C++ that `translation` writes.

#include <fenv.h>

typedef bool pred;
typedef unsigned char u8; typedef signed char s8; typedef u8 b8;
typedef unsigned short u16; typedef short s16; typedef u16 b16;
typedef unsigned int u32; typedef int s32; typedef u32 b32;
typedef unsigned long long u64; typedef long long s64; typedef u64 b64;
typedef float f32; typedef double f64;

// The same bits as another type.
template <typename T, typename S> static inline T bits(S x) {
    static_assert(sizeof(T) == sizeof(S), "another width");
    T y;
    memcpy(&y, &x, sizeof y);
    return y;
}

template <typename T> constexpr bool is_signed = T(-1) < T(0);
template <typename T> constexpr u32 width = 8 * sizeof(T);
template <typename T> constexpr T lowest = is_signed<T> ? T(u64(1) << (width<T> - 1)) : T(0);
template <typename T> constexpr T highest = T(~u64(lowest<T>));

// Counts above the width are clamped to it.
template <typename T> static inline T shift_left(T x, u32 count) {
    return count < width<T> ? T(x << count) : T(0);
}
template <typename T> static inline T shift_right(T x, u32 count) {
    return count < width<T> ? T(x >> count) : is_signed<T> && x < 0 ? T(-1) : T(0);
}

static inline s32 high_product(s32 a, s32 b) { return s32(s64(a) * b >> 32); }
static inline u32 high_product(u32 a, u32 b) { return u32(u64(a) * b >> 32); }
static inline u64 high_product(u64 a, u64 b) { return u64((unsigned __int128)(a) * b >> 64); }
static inline s64 high_product(s64 a, s64 b) { return s64(__int128(a) * b >> 64); }

// PTX leaves a division by zero to the GPU, on which all bits are set.
template <typename T> static inline T quotient(T a, T b) {
    if (b == 0) return T(-1);
    return is_signed<T> && b == T(-1) ? T(u64(0) - u64(a)) : T(a / b);
}
template <typename T> static inline T remainder_of(T a, T b) {
    if (b == 0) return a;
    return is_signed<T> && b == T(-1) ? T(0) : T(a % b);
}

// A whole number as an integer: clamped to the range. NaN is 0 if neither type has 64 bits.
template <typename D, typename S> static inline D to_integer(S x) {
    if (x != x) return sizeof(S) < 8 && sizeof(D) < 8 ? D(0) : D(u64(1) << (width<D> - 1));
    if (x <= S(lowest<D>)) return lowest<D>;
    return x >= S(ldexp(1.0, width<D> - is_signed<D>)) ? highest<D> : D(x);
}
static inline f32 saturated(f32 x) { return x > 0 ? x < 1 ? x : 1 : 0; }  // NaN is 0

// volatile: the compiler must not move the operation out of the changed rounding mode.
template <typename F> static inline f32 rounded(int mode, F operation) {
    const int before = fegetround();
    fesetround(mode);
    const volatile f32 result = operation();
    fesetround(before);
    return result;
}
static inline f32 add_rounded(int mode, volatile f32 a, volatile f32 b) {
    return rounded(mode, [&] { return a + b; });
}
static inline f32 mul_rounded(int mode, volatile f32 a, volatile f32 b) {
    return rounded(mode, [&] { return a * b; });
}
static inline f32 fma_rounded(int mode, volatile f32 a, volatile f32 b, volatile f32 c) {
    return rounded(mode, [&] { return fmaf(a, b, c); });
}

static inline f32 flushed(f32 x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }
static inline f64 flushed(f64 x) { return fabs(x) < 0x1p-1022 ? copysign(0, x) : x; }
static inline f64 upper_half(f64 x) { return bits<f64>(bits<u64>(x) & 0xFFFFFFFF00000000ull); }

// a * (1 / b), where 1 / b is 0 if b is so large that it would be subnormal.
static inline f32 divided_roughly(f32 a, f32 b) {
    return fabsf(b) > 0x1p126f ? a * copysignf(0, b) : a / b;
}
// The lesser and the larger, of which -0 is less than 0. NaN is returned only if both are NaN.
template <typename T> static inline T lesser(T a, T b) {
    return a != a ? b : b != b ? a : a == b ? (signbit(a) ? a : b) : a < b ? a : b;
}
template <typename T> static inline T larger(T a, T b) { return -lesser(-a, -b); }

static inline u64 inserted(u64 field, u64 into, u32 start, u32 length) {
    start &= 255;
    length &= 255;
    if (start > 63) return into;
    const u64 mask = (length > 63 ? ~u64(0) : (u64(1) << length) - 1) << start;
    return (into & ~mask) | (field << start & mask);
}
template <typename T>
static inline T extracted(T x, u32 start, u32 length) {
    start &= 255;
    length &= 255;
    const u32 bits = 8 * sizeof(T);
    const T field = start >= bits ? T(0) : T(x >> start);
    return length >= bits ? field : T(field & ((T(1) << length) - 1));
}

// The value of lane (own ^ bits), if it is not beyond the last lane of the segment; else one's own.
// `how` has the mask that segments share in bits 8 to 12, and the last lane of a segment in bits
// 0 to 4.
static inline u32 butterfly(u32 own, u32 bits, u32 how, u32 lanes, bool& exists) {
    const u32 lane = threadIdx.x % 32, segment = how >> 8 & 31;
    exists = (lane ^ bits) <= ((lane & segment) | (how & 31 & ~segment));
    const u32 found = __shfl_xor_sync(lanes, own, int(bits));
    return exists ? found : own;
}

// The lower half; the carry, or the borrow, is bit 32.
static inline u32 carried(u64 wide, bool& carry) {
    carry = wide >> 32 & 1;
    return u32(wide);
}
