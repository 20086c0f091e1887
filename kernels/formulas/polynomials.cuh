// Mathematical functions for float where there is no CUDA: a few multiplications, additions and
// selections, without a branch, a table or a call, so that compilers vectorise a loop over them.
// Errors are below 2 units in the last place, with the same bits on every instruction set. Each
// function reduces its argument to a short interval (Cody and Waite, 1980), and evaluates a minimax
// polynomial there (Remez).
#pragma once
#include "types.cuh"
#ifndef __CUDACC__
#include <math.h>
#include <string.h>

namespace polynomials {

inline uint32 bits(float x) {
    uint32 word;
    memcpy(&word, &x, sizeof word);
    return word;
}

inline float number(uint32 word) {
    float x;
    memcpy(&x, &word, sizeof x);
    return x;
}

inline float with_sign_of(float x, float size) {
    return number(bits(size) | (bits(x) & 0x80000000u));
}

inline float magnitude(float x) { return number(bits(x) & 0x7FFFFFFFu); }

// 1.5 * 2^23: adding it to a number rounds that to an integer, in the last bits of the sum.
constexpr float ROUNDER = 12582912.0f;

inline float rounded(float sum) { return sum - ROUNDER; }

// x = n ln 2 + r, |r| <= ln 2 / 2. The first part of ln 2 has so few bits that n times it is exact.
struct Reduced {
    float r;
    uint32 n;  // modulo 2^32: far out, n is arbitrary

    explicit Reduced(float x) {
        const float sum = x * 1.44269504f + ROUNDER, whole = rounded(sum);
        r = (x - whole * 0.693145751953125f) - whole * 1.42860682030941723e-6f;
        n = bits(sum) - bits(ROUNDER);
    }
};

// 2^n for n from -126 to 127, and 0 for -127.
inline float power_of_two(uint32 n) { return number((n + 127u) << 23); }

// (exp(r) - 1 - r) / r^2 for |r| <= ln 2 / 2
template <typename T> inline T exp_rest(T r) {
    const T low = T(0.499999938059) + T(0.166665230851) * r;
    const T high = T(0.0416683410031) + T(0.0083685035575) * r;
    const T square = r * r;
    return low + (high + T(0.00138158888897) * square) * square;
}

// exp(r) for these r
template <typename T> inline T exp_near(T r) { return T(1) + (r + r * r * exp_rest(r)); }

// exp(x) = 2^n exp(r). 2^n itself may not be a float: a part of it is multiplied last.
inline float exp(float x) {
    const Reduced z(x);
    const uint32 half = uint32(int32(z.n) >> 1);
    const float finite = exp_near(z.r) * power_of_two(half) * power_of_two(z.n - half);
    const float above = x > 89.0f ? HUGE_VALF : finite;
    return x < -104.0f ? 0.0f : above;
}

// exp(x) - 1 = 2^n (1 - 2^-n + exp(r) - 1)
inline float expm1(float x) {
    const Reduced z(x);
    const float y = (1.0f - 0.5f * power_of_two(1u - z.n)) + z.r + z.r * z.r * exp_rest(z.r);
    const float finite = y * power_of_two(z.n - 1u) * 2.0f;
    const float above = x > 89.0f ? HUGE_VALF : finite;
    return with_sign_of(x, x < -18.0f ? -1.0f : above);
}

// tanh |x| = 1 - 2 / (exp(2 |x|) + 1), which is 1 beyond 10; x + x^3 times a polynomial near 0.
inline float tanh(float x) {
    const float size = magnitude(x), square = x * x;
    const Reduced z(2.0f * size);
    const float power = exp_near(z.r) * power_of_two(z.n);
    const float outer = size > 10.0f ? 1.0f : 1.0f - 2.0f / (power + 1.0f);
    float y = -0.00590925345033f;
    y = y * square + 0.0208091390501f;
    y = y * square - 0.0537881624405f;
    y = y * square + 0.133319823254f;
    y = y * square - 0.333333005987f;
    const float inner = y * square * x + x;
    return with_sign_of(x, size < 0.6f ? inner : outer);
}

// The exponent k such that the number with these bits, divided by 2^k, is in [2/3, 4/3).
inline int32 exponent(uint32 word) { return int32(word - 0x3F2AAAABu) >> 23; }

// k ln 2 + log(1 + f) for |f| <= 1/3
inline float log_sum(float k, float f) {
    const float square = f * f, fourth = square * square;
    const float a = 0.333332453108f - 0.249998213616f * f;
    const float b = 0.200089931467f - 0.166794959343f * f;
    const float c = 0.140261437636f - 0.121972166779f * f;
    const float d = 0.138944592474f - 0.128379171361f * f;
    const float y = (a + b * square) + (c + d * square) * fourth;
    const float rest = y * f * square + k * 1.42860682030941723e-6f - 0.5f * square;
    return f + rest + k * 0.693145751953125f;
}

// The logarithm for arguments that are not positive; y otherwise.
inline float log_of(float x, float y) {
    const float infinity = HUGE_VALF, nan = NAN;
    const float finite = x < infinity ? y : x;
    return x > 0.0f ? finite : (x == 0.0f ? -infinity : nan);
}

inline float log(float x) {
    const bool subnormal = x < 1.17549435e-38f;
    const uint32 word = bits(subnormal ? x * 8388608.0f : x);
    const int32 k = exponent(word);
    const float f = number(word - (uint32(k) << 23)) - 1.0f;
    return log_of(x, log_sum(float(k) - (subnormal ? 23.0f : 0.0f), f));
}

// With 1 + x = 2^k (1 + f), f = 2^-k x + (2^-k - 1) avoids the rounding error of 1 + x.
inline float log1p(float x) {
    const float sum = 1.0f + x;
    const int32 k = exponent(bits(sum));
    const uint32 shift = uint32(k) << 23;
    const float part = number(bits(x) - shift), quadruple = number(bits(4.0f) - shift);
    const float y = log_sum(float(k), part + (0.25f * quadruple - 1.0f));
    return with_sign_of(x, log_of(sum, y));
}

// erfc |x| = exp(-x^2) g(t), t = (|x| - 3) / (|x| + 3). In double: x^2 would need two floats.
inline float erfc(float x) {
    const double a = magnitude(x);
    const double t = (a - 3.0) / (a + 3.0);
    const double t2 = t * t, t4 = t2 * t2;
    const double low = (0.17900115126409 - 0.32623356383158 * t) +
                       (0.24560379759452 - 0.15011578173841 * t) * t2;
    const double middle = (0.071665863928141 - 0.024394232068202 * t) +
                          (0.0042688768000632 + 0.00071573245626711 * t) * t2;
    const double high = (-0.00059456977340901 + 2.8878776911708e-5 * t) +
                        5.5915167201184e-5 * t2;
    const double g = low + (middle + high * t4) * t4;
    const double rounder = 6755399441055744.0;  // 1.5 * 2^52
    const double sum = a * a * -1.4426950408889634 + rounder;
    const double r = a * a * -1.0 - (sum - rounder) * 0.69314718055994531;
    uint64 word;
    memcpy(&word, &sum, sizeof word);
    word = (word << 52) + (1023ull << 52);
    double power;
    memcpy(&power, &word, sizeof power);
    const double inner = exp_near(r) * power * g;
    const double y = a > 10.2 ? 0.0 : inner;
    return float(x < 0.0f ? 2.0 - y : y);
}

// An angle |x| < MOST_ANGLE: the remainder after the nearest quarter turns, in r, and their number.
// In double: so many of them would need three floats.
constexpr float MOST_ANGLE = 1e6f;

struct Angle {
    double rest;
    float r;
    uint32 quarters;

    explicit Angle(float x) {
        const double rounder = 6755399441055744.0;  // 1.5 * 2^52
        const double whole = (double(x) * 0.63661977236758134 + rounder) - rounder;
        rest = double(x) - whole * 1.57079632673412561417;  // exact
        rest -= whole * 6.07710050650619224932e-11;
        r = float(rest);
        quarters = uint32(int32(whole));
    }
    float sine() const { return with_sign_of(r, sine_near(r)); }
    float cosine() const { return cosine_near(r); }

    // sin(r) and cos(r), |r| <= pi / 4
    template <typename T> static T sine_near(T r) {
        const T z = r * r;
        const T y = (T(-0.000195149565) * z + T(0.00833215844)) * z - T(0.166666552);
        return y * z * r + r;
    }
    template <typename T> static T cosine_near(T r) {
        const T z = r * r;
        const T y = (T(2.44327847e-5) * z - T(0.00138873131)) * z + T(0.0416666456);
        return y * z * z + (T(1) - T(0.5) * z);
    }
};

inline float sin_near(float x) {
    const Angle angle(x);
    const float sine = angle.sine(), cosine = angle.cosine();
    const float y = (angle.quarters & 1u) != 0 ? cosine : sine;
    return number(bits(y) ^ ((angle.quarters & 2u) << 30));
}

inline float cos_near(float x) {
    const Angle angle(x);
    const float sine = angle.sine(), cosine = angle.cosine();
    const float y = (angle.quarters & 1u) != 0 ? sine : cosine;
    return number(bits(y) ^ (((angle.quarters + 1u) & 2u) << 30));
}

inline float tan_near(float x) {
    const Angle angle(x);
    const double tangent = Angle::sine_near(angle.rest) / Angle::cosine_near(angle.rest);
    const float near = float(tangent), far = float(-1.0 / tangent);
    return (angle.quarters & 1u) != 0 ? far : with_sign_of(angle.r, near);
}

// Larger angles, which are rare, call the C library.
inline float sin(float x) { return magnitude(x) < MOST_ANGLE ? sin_near(x) : ::sinf(x); }
inline float cos(float x) { return magnitude(x) < MOST_ANGLE ? cos_near(x) : ::cosf(x); }
inline float tan(float x) { return magnitude(x) < MOST_ANGLE ? tan_near(x) : ::tanf(x); }

// The remainder after the nearest quarter turns, in r, and their number.
struct Turns {
    float r;
    uint32 quarters;

    explicit Turns(float x) {
        const float inner = x - rounded(x * 0.0009765625f + ROUNDER) * 1024.0f;
        const float rest = magnitude(x) < 16777216.0f ? inner : x - x;  // 0 if x is finite
        const float sum = 4.0f * rest + ROUNDER;
        r = rest - 0.25f * rounded(sum);
        quarters = bits(sum);
    }
    // sin(2 pi r) and cos(2 pi r), |r| <= 1/8
    float sine() const {
        const float z = r * r;
        float y = -75.393566581946f;
        y = y * z + 81.592354033775f;
        y = y * z - 41.341661461569f;
        return r * (y * z - 1.7484555e-7f + 6.2831855f);
    }
    float cosine() const {
        const float z = r * r;
        float y = 59.24091913432f;
        y = y * z - 85.443616709322f;
        y = y * z + 64.939325721811f;
        y = y * z - 19.739208693546f;
        return y * z + 1.0f;
    }
};

inline float sin_turns(float x) {
    const Turns turns(x);
    const float sine = turns.sine(), cosine = turns.cosine();
    const float y = (turns.quarters & 1u) != 0 ? cosine : sine;
    return number(bits(y) ^ ((turns.quarters & 2u) << 30));
}

inline float cos_turns(float x) {
    const Turns turns(x);
    const float sine = turns.sine(), cosine = turns.cosine();
    const float y = (turns.quarters & 1u) != 0 ? sine : cosine;
    return number(bits(y) ^ (((turns.quarters + 1u) & 2u) << 30));
}

// The following functions compute in double precision, and round at the end: large factors, or
// differences of nearly equal values, then lose no accuracy of the float results.

inline uint64 bits(double x) {
    uint64 word;
    memcpy(&word, &x, sizeof word);
    return word;
}

inline double number(uint64 word) {
    double x;
    memcpy(&x, &word, sizeof x);
    return x;
}

constexpr double WIDE_ROUNDER = 6755399441055744.0;  // 1.5 * 2^52, see ROUNDER
constexpr double LOG2_E = 1.4426950408889634;

// 2^x for |x| < 1000, to 30 bits
inline double exp2_wide(double x) {
    const double sum = x + WIDE_ROUNDER;
    const double r = (x - (sum - WIDE_ROUNDER)) * 0.69314718055994531;
    return exp_near(r) * number((bits(sum) << 52) + (1023ull << 52));
}

// The base-2 logarithm of a > 0, to 33 bits: k + 2 artanh(f / (2 + f)) / ln 2, where
// a = 2^k (1 + f), 2/3 <= 1 + f < 4/3
inline double log2_wide(double a) {
    const uint64 word = bits(a), above = (word + 0x000AAAAAAAAAAAABull) >> 52;  // k + 1023
    const double k = number(above | (1075ull << 52)) - (4503599627370496.0 + 1023.0);
    const double f = number(word - ((above - 1023u) << 52)) - 1.0;
    const double s = f / (2.0 + f), z = s * s;
    const double low = 2.8853900817779268 + 0.96179669392597561 * z;
    const double middle = 0.57707801635558531 + 0.41219858311113238 * z;
    const double high = 0.32059889797532522 + 0.26230818925253882 * z;
    const double z2 = z * z;
    return k + s * (low + (middle + (high + 0.22195308321368668 * z2) * z2) * z2);
}

// x^y as in C99 at 0, 1, infinity and NaN.
inline float pow(float x, float y) {
    const double wide = x, power = y, a = ::fabs(wide), infinity = HUGE_VAL, nan = NAN;
    const bool large = ::fabs(power) >= 16777216.0;  // all of these are even
    const double half = 0.5 * power;
    const bool whole = large | ((power + WIDE_ROUNDER) - WIDE_ROUNDER == power);
    const bool even = large | ((half + WIDE_ROUNDER) - WIDE_ROUNDER == half);
    const double finite = log2_wide(a), not_0 = a == 0.0 ? -infinity : finite;
    const double log2 = a < infinity ? not_0 : a;
    const double product = a == 1.0 ? 0.0 : power * log2;
    const double below = product > 200.0 ? 200.0 : product;
    const double size = exp2_wide(below < -200.0 ? -200.0 : below);
    const double one = number((bits(wide) & (1ull << 63)) | (1023ull << 52));  // with its sign
    const double with_sign = size * (whole & !even ? one : 1.0);
    const bool none = (wide < 0.0) & (a < infinity) & !whole;
    const double some = none | (power != power) ? nan : with_sign;
    return float((power == 0.0) | (wide == 1.0) ? 1.0 : some);
}

// (exp |x| + exp -|x|) / 2
inline float cosh(float x) {
    const double a = ::fabs(double(x)), power = exp2_wide((a > 100.0 ? 100.0 : a) * LOG2_E);
    return float(a == a ? 0.5 * (power + 1.0 / power) : a);
}

// (exp x - exp -x) / 2; near 0, where the two are nearly equal, a polynomial
inline float sinh(float x) {
    const double wide = x, a = ::fabs(wide), z = wide * wide;
    const double power = exp2_wide((a > 100.0 ? 100.0 : a) * LOG2_E);
    const double outer = 0.5 * (power - 1.0 / power);
    const double rest = 1.0 / 6 + (1.0 / 120 + (1.0 / 5040 + 1.0 / 362880 * z) * z) * z;
    const double inner = a + a * z * rest, size = a < 0.75 ? inner : outer;
    return with_sign_of(x, float(a == a ? size : a));
}

}  // namespace polynomials
#endif
