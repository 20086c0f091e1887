// Transposed matrices.
#pragma once
#include "vectors.hpp"

namespace {

// out (b, a) = x (a, b), whose rows are ldo and ldx elements apart, or += with `add`: in squares of
// vectors, and element-wise at the edges.
template <typename T>
void turn(const T* x, int64 ldx, int64 a, int64 b, T* out, int64 ldo, bool add) {
    typedef Vector<T> V;
    const int64 whole_a = a - a % V::lanes, whole_b = b - b % V::lanes;
    for (int64 i = 0; i < whole_a; i += V::lanes)
        for (int64 j = 0; j < whole_b; j += V::lanes) {
            typename V::type square[V::lanes];
            UNROLLED
            for (int k = 0; k < V::lanes; ++k) square[k] = V::load(x + (i + k) * ldx + j);
            transpose<T>(square);
            UNROLLED
            for (int k = 0; k < V::lanes; ++k) {
                T* to = out + (j + k) * ldo + i;
                V::store(to, add ? V::load(to) + square[k] : square[k]);
            }
        }
    for (int64 j = 0; j < b; ++j)
        for (int64 i = j < whole_b ? whole_a : 0; i < a; ++i) {
            T& to = out[j * ldo + i];
            to = add ? to + x[i * ldx + j] : x[i * ldx + j];
        }
}

}  // namespace
