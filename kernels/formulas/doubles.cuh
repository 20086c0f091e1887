// Mathematical functions for double where there is no CUDA, as polynomials, which compilers
// vectorise. Errors are below 2 units in the last place, with the same bits on every instruction
// set. See polynomials.cuh for how they are constructed.
#pragma once
#include "polynomials.cuh"
#ifndef __CUDACC__

namespace doubles {

using polynomials::bits;
using polynomials::number;
using polynomials::WIDE_ROUNDER;

constexpr double LN2_HIGH = 0.693147180369123816490, LN2_LOW = 1.90821492927058770002e-10;

inline double magnitude(double x) { return ::fabs(x); }
inline double with_sign_of(double x, double size) {
    return number(bits(size) | (bits(x) & (1ull << 63)));
}

// 2^n from n + WIDE_ROUNDER, for n from -1022 to 1023
inline double power_of_two(double sum) { return number((bits(sum) << 52) + (1023ull << 52)); }

// x = n ln 2 + r, |r| <= ln 2 / 2
struct Reduced {
    double n, r;

    explicit Reduced(double x) {
        n = (x * 1.4426950408889634 + WIDE_ROUNDER) - WIDE_ROUNDER;
        r = (x - n * LN2_HIGH) - n * LN2_LOW;
    }
    // exp(r) - 1
    double rest() const {
        const double r2 = r * r, r4 = r2 * r2;
        const double a = 0.500000000000001 + 0.16666666666666674 * r;
        const double b = 0.04166666666652068 + 0.008333333333322106 * r;
        const double c = 0.0013888888948221916 + 0.0001984126988689938 * r;
        const double d = 2.4801486872881474e-5 + 2.7557241988233707e-6 * r;
        const double e = 2.763282636688916e-7 + 2.5110181088616394e-8 * r;
        return r + r2 * ((a + b * r2) + ((c + d * r2) + e * r4) * r4);
    }
};

inline double exp(double x) {
    const Reduced z(x);
    const double half = 0.5 * z.n + WIDE_ROUNDER, other = z.n - (half - WIDE_ROUNDER);
    const double power = power_of_two(half) * (1.0 + z.rest());
    const double finite = power * power_of_two(other + WIDE_ROUNDER);
    const double above = x > 710.0 ? HUGE_VAL : finite;
    return x < -746.0 ? 0.0 : above;
}

// exp(x) - 1 = 2^n (1 - 2^-n + exp(r) - 1)
inline double expm1(double x) {
    const Reduced z(x);
    const double y = (1.0 - 0.5 * power_of_two((1.0 - z.n) + WIDE_ROUNDER)) + z.rest();
    const double finite = y * power_of_two((z.n - 1.0) + WIDE_ROUNDER) * 2.0;
    const double above = x > 710.0 ? HUGE_VAL : finite;
    return with_sign_of(x, magnitude(x < -40.0 ? -1.0 : above));
}

// tanh |x| = 1 - 2 / (exp(2 |x|) + 1), which is 1 beyond 20; near 0, a rational function (Cephes).
inline double tanh(double x) {
    const double size = magnitude(x), z = x * x;
    const Reduced twice(2.0 * (size > 20.0 ? 20.0 : size));
    const double power = (1.0 + twice.rest()) * power_of_two(twice.n + WIDE_ROUNDER);
    const double p = -1614.6876844170845 + (-99.28772310019186 - 0.9643991794250523 * z) * z;
    const double q = 4844.063053251255 + (2235.4883906010045 + (112.81167849163293 + z) * z) * z;
    const double inner = x + x * (z * (p / q)), outer = 1.0 - 2.0 / (power + 1.0);
    return with_sign_of(x, magnitude(size < 0.625 ? inner : outer));
}

// k ln 2 + log(1 + f) for |f| <= 1/3
inline double log_sum(double k, double f) {
    const double s = f / (2.0 + f), z = s * s, z2 = z * z, z4 = z2 * z2;
    const double a = 0.666666666666666 + 0.4000000000005656 * z;
    const double b = 0.2857142855585096 + 0.22222224294561693 * z;
    const double c = 0.1818166595087194 + 0.15391110674040498 * z;
    const double d = 0.13173602947003038 + 0.13843120458427235 * z;
    const double rest = z * ((a + b * z2) + (c + d * z2) * z4), half = 0.5 * f * f;
    return k * LN2_HIGH - ((half - (s * (half + rest) + k * LN2_LOW)) - f);
}

// The logarithm for arguments that are not positive; y otherwise.
inline double log_of(double x, double y) {
    const double infinity = HUGE_VAL, nan = NAN;
    const double finite = x < infinity ? y : x, not_0 = x == 0.0 ? -infinity : nan;
    return x > 0.0 ? finite : not_0;
}

// The exponent k such that the number with these bits, divided by 2^k, is in [2/3, 4/3), plus 1023.
inline uint64 exponent(uint64 word) { return (word + 0x000AAAAAAAAAAAABull) >> 52; }
inline double exponent_of(uint64 above) {
    return number(above | (1075ull << 52)) - (4503599627370496.0 + 1023.0);
}

inline double log(double x) {
    const bool subnormal = x < 2.2250738585072014e-308;
    const uint64 word = bits(subnormal ? x * 18014398509481984.0 : x), above = exponent(word);
    const double f = number(word - ((above - 1023u) << 52)) - 1.0;
    return log_of(x, log_sum(exponent_of(above) - (subnormal ? 54.0 : 0.0), f));
}

// With 1 + x = 2^k (1 + f), f = 2^-k x + (2^-k - 1) avoids the rounding error of 1 + x.
inline double log1p(double x) {
    const double sum = 1.0 + x;
    const uint64 above = exponent(bits(sum)), shift = (above - 1023u) << 52;
    const double part = number(bits(x) - shift), quadruple = number(bits(4.0) - shift);
    const double y = log_sum(exponent_of(above), part + (0.25 * quadruple - 1.0));
    return with_sign_of(x, magnitude(log_of(sum, y)));
}

}  // namespace doubles
#endif
