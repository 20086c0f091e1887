// The functions of expressions, by their names in gpunn/backends/shared/functions.py, and others that
// formulas are written with. They behave as NumPy's, at NaN and infinity too.
#pragma once
#include "generated_elements.cuh"

namespace elements {

template <typename T> HD T at_least(T x, T low) { return x < low ? low : x; }  // low is never NaN
template <typename T> HD T at_most(T x, T high) { return x > high ? high : x; }
template <typename T> HD T clip(T x, T low, T high) { return math::clip(x, low, high); }

}  // namespace elements
