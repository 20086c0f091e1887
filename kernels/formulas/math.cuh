// Mathematical functions, in one place, for float and double: accurate ones, never the fast
// approximations. On a GPU they are CUDA's; elsewhere polynomials, which compilers vectorise, and for
// double, where there is none, the C library's.
#pragma once
#include "doubles.cuh"
#include "polynomials.cuh"

namespace math {

#ifdef __CUDACC__
HD float exp(float x) { return ::expf(x); }
HD double exp(double x) { return ::exp(x); }
HD float expm1(float x) { return ::expm1f(x); }
HD double expm1(double x) { return ::expm1(x); }
HD float log(float x) { return ::logf(x); }
HD double log(double x) { return ::log(x); }
HD float log1p(float x) { return ::log1pf(x); }
HD double log1p(double x) { return ::log1p(x); }
HD float erfc(float x) { return ::erfcf(x); }
HD float tanh(float x) { return ::tanhf(x); }
HD double tanh(double x) { return ::tanh(x); }
HD float sin(float x) { return ::sinf(x); }
HD float cos(float x) { return ::cosf(x); }
HD float tan(float x) { return ::tanf(x); }
HD float sinh(float x) { return ::sinhf(x); }
HD float cosh(float x) { return ::coshf(x); }
HD float pow(float x, float y) { return ::powf(x, y); }
// For angles in turns: no reduction by multiples of pi, which would need memory, is necessary.
HD float cos_turns(float x) { return ::cospif(2 * x); }
HD double cos_turns(double x) { return ::cospi(2 * x); }
HD float sin_turns(float x) { return ::sinpif(2 * x); }
HD double sin_turns(double x) { return ::sinpi(2 * x); }
#else
using polynomials::exp;
using doubles::exp;
using polynomials::expm1;
using doubles::expm1;
using polynomials::log;
using doubles::log;
using polynomials::log1p;
using doubles::log1p;
using polynomials::erfc;
using polynomials::tanh;
using doubles::tanh;
using polynomials::sin;
using polynomials::cos;
using polynomials::tan;
using polynomials::sinh;
using polynomials::cosh;
using polynomials::pow;
using polynomials::cos_turns;
HD double cos_turns(double x) { return ::cos(6.283185307179586 * x); }
using polynomials::sin_turns;
HD double sin_turns(double x) { return ::sin(6.283185307179586 * x); }
#endif
HD double erfc(double x) { return ::erfc(x); }
HD float sqrt(float x) { return ::sqrtf(x); }
HD double sqrt(double x) { return ::sqrt(x); }
HD double sin(double x) { return ::sin(x); }
HD double cos(double x) { return ::cos(x); }
HD double tan(double x) { return ::tan(x); }
HD float asin(float x) { return ::asinf(x); }
HD double asin(double x) { return ::asin(x); }
HD float acos(float x) { return ::acosf(x); }
HD double acos(double x) { return ::acos(x); }
HD float atan(float x) { return ::atanf(x); }
HD double atan(double x) { return ::atan(x); }
HD double sinh(double x) { return ::sinh(x); }
HD double cosh(double x) { return ::cosh(x); }
HD float asinh(float x) { return ::asinhf(x); }
HD double asinh(double x) { return ::asinh(x); }
HD float acosh(float x) { return ::acoshf(x); }
HD double acosh(double x) { return ::acosh(x); }
HD float atanh(float x) { return ::atanhf(x); }
HD double atanh(double x) { return ::atanh(x); }
HD float floor(float x) { return ::floorf(x); }
HD double floor(double x) { return ::floor(x); }
HD float ceil(float x) { return ::ceilf(x); }
HD double ceil(double x) { return ::ceil(x); }
HD float rint(float x) { return ::rintf(x); }
HD double rint(double x) { return ::rint(x); }
HD double pow(double x, double y) { return ::pow(x, y); }
HD float fmod(float x, float y) { return ::fmodf(x, y); }
HD double fmod(double x, double y) { return ::fmod(x, y); }
HD float atan2(float x, float y) { return ::atan2f(x, y); }
HD double atan2(double x, double y) { return ::atan2(x, y); }
HD float magnitude(float x) { return ::fabsf(x); }
HD double magnitude(double x) { return ::fabs(x); }
HD float with_sign_of(float x, float size) { return ::copysignf(size, x); }
HD double with_sign_of(double x, double size) { return ::copysign(size, x); }
HD double times_power_of_2(double x, int n) { return ::ldexp(x, n); }
HD int exponent(double x) { return ::ilogb(x); }  // 2^exponent <= |x| < 2 2^exponent

template <typename T> HD T abs(T x) { return x < T(0) ? -x : x; }

template <typename T> HD T sign(T x) {
    return x > T(0) ? T(1) : (x < T(0) ? T(-1) : x);  // 0 and NaN are returned unchanged
}

// exp(-x) may overflow to infinity, but 1 / infinity is the correct result.
template <typename T> HD T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }

template <typename T> HD T clip(T x, T low, T high) {
    return x < low ? low : (x > high ? high : x);  // NaN stays NaN
}

// The remainder of a division rounded towards minus infinity: it has the sign of b.
template <typename T> HD T mod(T a, T b) {
    const T rest = fmod(a, b);
    if (b == T(0)) return rest;  // NaN
    if (rest == T(0)) return with_sign_of(b, T(0));
    return (b < T(0)) != (rest < T(0)) ? rest + b : rest;
}
template <typename T> HD T floor_divide(T a, T b) {
    if (b == T(0)) return a / b;
    const T rest = fmod(a, b);
    T quotient = (a - rest) / b;
    if (rest != T(0) && (b < T(0)) != (rest < T(0))) quotient -= T(1);
    if (quotient == T(0)) return with_sign_of(a / b, T(0));
    const T whole = floor(quotient);  // it is near an integer: round to the nearest
    return quotient - whole > T(0.5) ? whole + T(1) : whole;
}

// log(exp(a) + exp(b)), without overflow
template <typename T> HD T logaddexp(T a, T b) {
    const T difference = magnitude(a - b);
    const T larger = a > b ? a : b, y = larger + log1p(exp(-difference));
    return a == b ? a + T(0.69314718055994531) : y;  // the difference of infinities is NaN
}

template <typename T> HD T minus_infinity() { return -T(1e300 * 1e300); }
template <typename T> HD T not_a_number() { return minus_infinity<T>() - minus_infinity<T>(); }

template <typename T> HD bool is_finite(T x) { return x - x == T(0); }

// The upper 64 bits of a product of two 64-bit integers, from products of their halves.
HD uint64 high_product_of_halves(uint64 a, uint64 b) {
    const uint64 mask = 0xFFFFFFFFu;
    const uint64 low = (a & mask) * (b & mask), cross = (a >> 32) * (b & mask);
    const uint64 middle = (low >> 32) + (cross & mask) + (a & mask) * (b >> 32);
    return (a >> 32) * (b >> 32) + (cross >> 32) + (middle >> 32);
}

// The same in the way that is fastest for a single product.
HD uint64 high_product(uint64 a, uint64 b) {
#ifdef __CUDACC__
    return __umul64hi(a, b);
#elif defined(__SIZEOF_INT128__) && !defined(WITHOUT_INT128)
    return uint64((unsigned __int128)(a) * b >> 64);
#else
    return high_product_of_halves(a, b);
#endif
}

}  // namespace math
