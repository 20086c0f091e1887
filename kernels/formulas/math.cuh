// The functions of mathematics, in one place, for float and double: accurate ones, never the fast
// approximations. On a card they are CUDA's; elsewhere the polynomials for float, which compilers
// vectorise, and the C library's for double.
#pragma once
#include "polynomials.cuh"

namespace math {

#ifdef __CUDACC__
HD float exp(float x) { return ::expf(x); }
HD float expm1(float x) { return ::expm1f(x); }
HD float log(float x) { return ::logf(x); }
HD float log1p(float x) { return ::log1pf(x); }
HD float erfc(float x) { return ::erfcf(x); }
HD float tanh(float x) { return ::tanhf(x); }
// Of angles in turns: no reduction by multiples of pi, which would take memory, is needed.
HD float cos_turns(float x) { return ::cospif(2 * x); }
HD double cos_turns(double x) { return ::cospi(2 * x); }
HD float sin_turns(float x) { return ::sinpif(2 * x); }
HD double sin_turns(double x) { return ::sinpi(2 * x); }
#else
using polynomials::exp;
using polynomials::expm1;
using polynomials::log;
using polynomials::log1p;
using polynomials::erfc;
using polynomials::tanh;
using polynomials::cos_turns;
HD double cos_turns(double x) { return ::cos(6.283185307179586 * x); }
using polynomials::sin_turns;
HD double sin_turns(double x) { return ::sin(6.283185307179586 * x); }
#endif
HD double exp(double x) { return ::exp(x); }
HD double expm1(double x) { return ::expm1(x); }
HD double log(double x) { return ::log(x); }
HD double log1p(double x) { return ::log1p(x); }
HD double erfc(double x) { return ::erfc(x); }
HD double tanh(double x) { return ::tanh(x); }
HD float sqrt(float x) { return ::sqrtf(x); }
HD double sqrt(double x) { return ::sqrt(x); }
HD double cos(double x) { return ::cos(x); }
HD double floor(double x) { return ::floor(x); }
HD double ceil(double x) { return ::ceil(x); }
HD double pow(double x, double y) { return ::pow(x, y); }
HD double times_power_of_2(double x, int n) { return ::ldexp(x, n); }
HD int exponent(double x) { return ::ilogb(x); }  // 2^exponent <= |x|, and twice that is above

template <typename T> HD T abs(T x) { return x < T(0) ? -x : x; }

template <typename T> HD T sign(T x) {
    return x > T(0) ? T(1) : (x < T(0) ? T(-1) : x);  // 0 and NaN stay what they are
}

// exp(-x) may overflow to infinity, and 1 / infinity is the right answer.
template <typename T> HD T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }

template <typename T> HD T clip(T x, T low, T high) {
    return x < low ? low : (x > high ? high : x);  // NaN stays NaN
}

template <typename T> HD T minus_infinity() { return -T(1e300 * 1e300); }

template <typename T> HD bool is_finite(T x) { return x - x == T(0); }

// The upper 64 bits of a product of two 64-bit numbers.
HD uint64 high_product(uint64 a, uint64 b) {
#ifdef __CUDACC__
    return __umul64hi(a, b);
#else
    return uint64((unsigned __int128)(a) * b >> 64);
#endif
}

}  // namespace math
