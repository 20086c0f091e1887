// The functions of elements. A truth value is 1 or 0; any value but 0 is true.
// Written by `make formulas` from gpunn/backends/shared/functions.py; do not edit.
#pragma once
#include "math.cuh"

namespace elements {

template <typename T> HD T copy(T x) { return x; }
template <typename T> HD T negative(T x) { return -x; }
template <typename T> HD T abs(T x) { return math::magnitude(x); }
template <typename T> HD T sign(T x) { return x > T(0) ? T(1) : (x < T(0) ? T(-1) : x + T(0)); }
template <typename T> HD T square(T x) { return x * x; }
template <typename T> HD T reciprocal(T x) { return T(1) / x; }
template <typename T> HD T sqrt(T x) { return math::sqrt(x); }
template <typename T> HD T relu(T x) { return x <= T(0) ? T(0) : x; }
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
template <typename T> HD T isnan(T x) { return (x != x) ? T(1) : T(0); }
template <typename T> HD T isinf(T x) { return (math::magnitude(x) == -math::minus_infinity<T>()) ? T(1) : T(0); }
template <typename T> HD T isfinite(T x) { return (math::is_finite(x)) ? T(1) : T(0); }
template <typename T> HD T logical_not(T x) { return (x == T(0)) ? T(1) : T(0); }
template <typename T> HD T add(T a, T b) { return a + b; }
template <typename T> HD T subtract(T a, T b) { return a - b; }
template <typename T> HD T multiply(T a, T b) { return a * b; }
template <typename T> HD T divide(T a, T b) { return a / b; }
template <typename T> HD T maximum(T a, T b) { return (a > b) | (a != a) ? a : b; }
template <typename T> HD T minimum(T a, T b) { return (a < b) | (a != a) ? a : b; }
template <typename T> HD T power(T a, T b) { return math::pow(a, b); }
template <typename T> HD T floor_divide(T a, T b) { return math::floor_divide(a, b); }
template <typename T> HD T mod(T a, T b) { return math::mod(a, b); }
template <typename T> HD T arctan2(T a, T b) { return math::atan2(a, b); }
template <typename T> HD T logaddexp(T a, T b) { return math::logaddexp(a, b); }
template <typename T> HD T equal(T a, T b) { return (a == b) ? T(1) : T(0); }
template <typename T> HD T not_equal(T a, T b) { return (a != b) ? T(1) : T(0); }
template <typename T> HD T less(T a, T b) { return (a < b) ? T(1) : T(0); }
template <typename T> HD T less_equal(T a, T b) { return (a <= b) ? T(1) : T(0); }
template <typename T> HD T greater(T a, T b) { return (a > b) ? T(1) : T(0); }
template <typename T> HD T greater_equal(T a, T b) { return (a >= b) ? T(1) : T(0); }
template <typename T> HD T logical_and(T a, T b) { return ((a != T(0)) & (b != T(0))) ? T(1) : T(0); }
template <typename T> HD T logical_or(T a, T b) { return ((a != T(0)) | (b != T(0))) ? T(1) : T(0); }
template <typename T> HD T logical_xor(T a, T b) { return ((a != T(0)) != (b != T(0))) ? T(1) : T(0); }
template <typename T> HD T where(T condition, T a, T b) { return condition != T(0) ? a : b; }

}  // namespace elements
