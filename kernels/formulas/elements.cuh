// The functions of expressions (gpunn/backends/contract/expression.py), under the same names: of
// one value, or of several in turn. They behave as NumPy's, at NaN and infinity too. A truth value
// is 1 or 0, and any value other than 0 is true.
#pragma once
#include "math.cuh"

namespace elements {

template <typename T> HD T copy(T x) { return x; }
template <typename T> HD T negative(T x) { return -x; }
template <typename T> HD T abs(T x) { return math::magnitude(x); }
template <typename T> HD T sign(T x) {
    return x > T(0) ? T(1) : (x < T(0) ? T(-1) : x + T(0));  // of -0 it is 0; of NaN, NaN
}
template <typename T> HD T square(T x) { return x * x; }
template <typename T> HD T reciprocal(T x) { return T(1) / x; }
template <typename T> HD T sqrt(T x) { return math::sqrt(x); }
template <typename T> HD T relu(T x) { return x <= T(0) ? T(0) : x; }  // of -0 it is 0
template <typename T> HD T sigmoid(T x) { return math::sigmoid(x); }
template <typename T> HD T exp(T x) { return math::exp(x); }
template <typename T> HD T expm1(T x) { return math::expm1(x); }
template <typename T> HD T log(T x) { return math::log(x); }
template <typename T> HD T log1p(T x) { return math::log1p(x); }
template <typename T> HD T sin(T x) { return math::sin(x); }
template <typename T> HD T cos(T x) { return math::cos(x); }
template <typename T> HD T tan(T x) { return math::tan(x); }
template <typename T> HD T arcsin(T x) { return math::asin(x); }
template <typename T> HD T arccos(T x) { return math::acos(x); }
template <typename T> HD T arctan(T x) { return math::atan(x); }
template <typename T> HD T sinh(T x) { return math::sinh(x); }
template <typename T> HD T cosh(T x) { return math::cosh(x); }
template <typename T> HD T tanh(T x) { return math::tanh(x); }
template <typename T> HD T arcsinh(T x) { return math::asinh(x); }
template <typename T> HD T arccosh(T x) { return math::acosh(x); }
template <typename T> HD T arctanh(T x) { return math::atanh(x); }
template <typename T> HD T erfc(T x) { return math::erfc(x); }
template <typename T> HD T floor(T x) { return math::floor(x); }
template <typename T> HD T ceil(T x) { return math::ceil(x); }
template <typename T> HD T round(T x) { return math::rint(x); }
template <typename T> HD T isnan(T x) { return x != x ? T(1) : T(0); }
template <typename T> HD T isinf(T x) {
    return math::magnitude(x) == -math::minus_infinity<T>() ? T(1) : T(0);
}
template <typename T> HD T isfinite(T x) { return math::is_finite(x) ? T(1) : T(0); }
template <typename T> HD T logical_not(T x) { return x == T(0) ? T(1) : T(0); }

template <typename T> HD T add(T a, T b) { return a + b; }
template <typename T> HD T subtract(T a, T b) { return a - b; }
template <typename T> HD T multiply(T a, T b) { return a * b; }
template <typename T> HD T divide(T a, T b) { return a / b; }
template <typename T> HD T maximum(T a, T b) { return (a > b) | (a != a) ? a : b; }
template <typename T> HD T minimum(T a, T b) { return (a < b) | (a != a) ? a : b; }
template <typename T> HD T at_least(T x, T low) { return x < low ? low : x; }  // low is never NaN
template <typename T> HD T at_most(T x, T high) { return x > high ? high : x; }
template <typename T> HD T clip(T x, T low, T high) { return math::clip(x, low, high); }
template <typename T> HD T power(T a, T b) { return math::pow(a, b); }

// The remainder of a division rounded towards minus infinity: it has the sign of b.
template <typename T> HD T mod(T a, T b) {
    const T rest = math::fmod(a, b);
    if (b == T(0)) return rest;  // NaN
    if (rest == T(0)) return math::with_sign_of(b, T(0));
    return (b < T(0)) != (rest < T(0)) ? rest + b : rest;
}
template <typename T> HD T floor_divide(T a, T b) {
    if (b == T(0)) return a / b;
    const T rest = math::fmod(a, b);
    T quotient = (a - rest) / b;
    if (rest != T(0) && (b < T(0)) != (rest < T(0))) quotient -= T(1);
    if (quotient == T(0)) return math::with_sign_of(a / b, T(0));
    const T whole = math::floor(quotient);  // it is near an integer: round to the nearest
    return quotient - whole > T(0.5) ? whole + T(1) : whole;
}

template <typename T> HD T arctan2(T a, T b) { return math::atan2(a, b); }

// log(exp(a) + exp(b)), without overflow
template <typename T> HD T logaddexp(T a, T b) {
    const T difference = math::magnitude(a - b);
    const T larger = a > b ? a : b, y = larger + math::log1p(math::exp(-difference));
    return a == b ? a + T(0.69314718055994531) : y;  // the difference of infinities is NaN
}
template <typename T> HD T equal(T a, T b) { return a == b ? T(1) : T(0); }
template <typename T> HD T not_equal(T a, T b) { return a != b ? T(1) : T(0); }
template <typename T> HD T less(T a, T b) { return a < b ? T(1) : T(0); }
template <typename T> HD T less_equal(T a, T b) { return a <= b ? T(1) : T(0); }
template <typename T> HD T greater(T a, T b) { return a > b ? T(1) : T(0); }
template <typename T> HD T greater_equal(T a, T b) { return a >= b ? T(1) : T(0); }
template <typename T> HD T logical_and(T a, T b) {
    return (a != T(0)) & (b != T(0)) ? T(1) : T(0);
}
template <typename T> HD T logical_or(T a, T b) {
    return (a != T(0)) | (b != T(0)) ? T(1) : T(0);
}
template <typename T> HD T logical_xor(T a, T b) {
    return (a != T(0)) != (b != T(0)) ? T(1) : T(0);
}

template <typename T> HD T where(T condition, T a, T b) { return condition != T(0) ? a : b; }

}  // namespace elements
